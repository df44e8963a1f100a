"""``numpy-bert compare``: the first difference of two traces."""

from __future__ import annotations

import argparse

from numpy_bert.cli.reports import check_page, deliver, open_candidate
from numpy_bert.comparison.compare import compare
from numpy_bert.comparison.tolerances import Tolerances
from numpy_bert.traces.reading import open_trace

__all__ = ["run"]


def run(options: argparse.Namespace) -> int:
    """Compare two files."""
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
    )
    return deliver(report, options)
