"""How compare and verify read traces, and print or save what they found."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from numpy_bert.cli.console import note, show
from numpy_bert.comparison.report import Report, as_html, as_text
from numpy_bert.errors import InputError
from numpy_bert.files import check_output, write_atomically
from numpy_bert.traces.names import NameMap, read_map
from numpy_bert.traces.reading import Trace, open_trace

__all__ = ["check_page", "deliver", "open_candidate"]


def open_candidate(options: argparse.Namespace) -> Trace:
    """Open the candidate, its names mapped as the user says."""
    names = NameMap(read_map(Path(options.map))) if options.map is not None else NameMap()
    return open_trace(options.candidate, names)


def check_page(options: argparse.Namespace, *inputs: str | None) -> None:
    """Check where the page is to go before anything is computed: over none of the inputs."""
    if options.html is None:
        return
    page = Path(options.html)
    check_output(page, force=options.force)
    for given in inputs:
        if given is not None and page.exists() and page.samefile(given):
            raise InputError(f"--html {page}: is one of the files that are compared; name another.")


def deliver(report: Report, options: argparse.Namespace) -> int:
    """Print the report, write the page, and return 0 or 1."""
    if options.json:
        show(json.dumps(report.as_dict(), allow_nan=False))
    else:
        show(as_text(report, verbose=options.verbose))
    if options.html is not None:
        page = as_html(report).encode("utf-8", errors="backslashreplace")
        write_atomically(Path(options.html), page)
        note(f"wrote {options.html}")
    return 0 if report.verdict == "pass" else 1
