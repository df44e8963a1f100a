"""How compare and verify read traces, and print or save what they found."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from numpy_bert.cli.console import note, show
from numpy_bert.comparison.html_report import as_html
from numpy_bert.comparison.report import Report
from numpy_bert.comparison.text_report import as_text
from numpy_bert.files import check_output, write_atomically
from numpy_bert.traces.names import NameMap, read_map
from numpy_bert.traces.reading import Trace, open_trace

__all__ = ["check_page", "deliver", "open_candidate"]


def open_candidate(options: argparse.Namespace) -> Trace:
    """Open the candidate, its names mapped as the user says."""
    names = NameMap(read_map(Path(options.map))) if options.map is not None else NameMap()
    return open_trace(options.candidate, names)


def check_page(options: argparse.Namespace) -> None:
    """Check where the page is to go before anything is computed."""
    if options.html is not None:
        check_output(Path(options.html), force=options.force)


def deliver(report: Report, options: argparse.Namespace) -> int:
    """Print the report, write the page, and return 0 or 1."""
    if options.html is not None:
        write_atomically(Path(options.html), as_html(report).encode("utf-8"))
    if options.json:
        show(json.dumps(report.as_dict(), allow_nan=False))
    else:
        show(as_text(report, verbose=options.verbose))
    if options.html is not None:
        note(f"wrote {options.html}")
    return 0 if report.verdict == "pass" else 1
