"""``numpy-bert compare``: the first difference of two traces, and what `verify` shares with it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from numpy_bert.cli.console import note, show
from numpy_bert.cli.options import add_examples, add_json, is_same_file
from numpy_bert.errors import InputError
from numpy_bert.files import check_output, is_listed, write_atomically
from numpy_bert.messages import quoted

if TYPE_CHECKING:
    from numpy_bert.comparison.report import Report
    from numpy_bert.traces.reading import Trace

__all__ = [
    "TRACE",
    "add_arguments",
    "add_comparison",
    "check_page",
    "deliver",
    "open_candidate",
    "run",
]

TRACE = "a trace: .safetensors, .npz, or a folder of .npy"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command is for, and what it takes."""
    parser.description = (
        "Compare two traces, without a model: ids, weights, then steps in order. Prints a table "
        "and the first tensor that differs. Exits with 0 if they are the same, 1 if they differ, "
        "2 if they could not be compared."
    )
    add_examples(
        parser,
        "numpy-bert compare reference.npz port.npz",
    )
    parser.add_argument("reference", metavar="REFERENCE", help=TRACE)
    parser.add_argument("candidate", metavar="CANDIDATE", help="another trace")
    for name in ("--atol", "--rtol"):
        parser.add_argument(
            name,
            metavar="NUMBER",
            nargs="+",
            default=[],
            help="allow this distance: a number, or GLOB:NUMBER for the tensors whose name the "
            "glob fits, * for anything; by default what the check allows, which clean runs keep",
        )
    parser.add_argument(
        "--check",
        choices=("max", "mean", "ulp", "nmse", "cosine"),
        default="max",
        help="what to measure: the largest distance of an element (max), their mean, the largest "
        "in units of the last place of its row's largest number (ulp), the squared distances over "
        "the squared reference (nmse), or one minus the cosine; max by default",
    )
    parser.add_argument(
        "--equal-nan",
        action="store_true",
        help="take a NaN in both traces at one place for no difference",
    )
    parser.add_argument(
        "--common",
        action="store_true",
        help="compare only what both hold; by default a step that the candidate lacks differs",
    )
    add_comparison(parser)


def add_comparison(parser: argparse.ArgumentParser) -> None:
    """Add what compare and verify both take."""
    parser.add_argument(
        "--map", metavar="FILE", help="a JSON object from the candidate's names to the steps'"
    )
    parser.add_argument(
        "--allow",
        metavar="GLOB",
        nargs="+",
        default=[],
        help="let the tensors of these names differ, or be missing",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="take an array of the candidate that nothing is held against for a failure",
    )
    parser.add_argument(
        "--all-positions", action="store_true", help="compare padding too, not tokens only"
    )
    parser.add_argument(
        "--fail-fast", action="store_true", help="stop at the first tensor that differs"
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="show the worst place of every step"
    )
    add_json(parser)
    parser.add_argument("--html", metavar="FILE", help="write a page with a picture, too")
    parser.add_argument("--force", action="store_true", help="replace the page if it exists")


def run(options: argparse.Namespace) -> int:
    """Compare two files."""
    from numpy_bert.comparison.compare import compare
    from numpy_bert.comparison.tolerances import Tolerances
    from numpy_bert.traces.reading import open_trace

    if not any(is_listed(Path(given)) for given in (options.reference, options.candidate)):
        raise InputError(
            f"{quoted(options.reference)}: does not exist. compare takes two traces; similarity "
            "says how alike two texts are."
        )
    tolerances = Tolerances(options.atol, options.rtol, options.check)
    check_page(options, options.reference, options.candidate, options.map)
    report = compare(
        open_trace(options.reference),
        open_candidate(options),
        tolerances,
        allow=options.allow,
        all_positions=options.all_positions,
        equal_nan=options.equal_nan,
        fail_fast=options.fail_fast,
        common=options.common,
    )
    return deliver(report, options)


def open_candidate(options: argparse.Namespace) -> Trace:
    """Open the candidate, its names mapped as the user says."""
    from numpy_bert.traces.names import NameMap, read_map
    from numpy_bert.traces.reading import open_trace

    names = NameMap(read_map(Path(options.map))) if options.map is not None else NameMap()
    return open_trace(options.candidate, names)


def check_page(options: argparse.Namespace, *inputs: str | None) -> None:
    """Check, before anything is computed, that the page may be written and is no input."""
    if options.html is None:
        return
    page = Path(options.html)
    check_output(page, force=options.force)
    if any(is_same_file(page, given) for given in inputs):
        raise InputError(f"--html {page}: is one of the files that are compared; name another.")


def deliver(report: Report, options: argparse.Namespace) -> int:
    """Print the report, write the page, and return 0 or 1."""
    from dataclasses import replace

    from numpy_bert.comparison.report import as_html, as_text

    report = replace(report, strict=options.strict)
    if options.json:
        show(json.dumps(report.as_dict(), allow_nan=False))
    else:
        show(as_text(report, verbose=options.verbose))
    if options.html is not None:
        page = as_html(report).encode("utf-8", errors="backslashreplace")
        write_atomically(Path(options.html), page)
        note(f"wrote {quoted(options.html)}")
    return 0 if report.verdict == "pass" else 1
