"""``numpy-bert tune``: measure what is fast on this machine, and keep it."""

from __future__ import annotations

import argparse

from numpy_bert.cli.console import note, show
from numpy_bert.kernels.measure import Sizes, measure, steps
from numpy_bert.kernels.tuning import check_file, keep, tuning, user_file
from numpy_bert.progress import progress

__all__ = ["run"]


def run(options: argparse.Namespace) -> int:
    """Print what was measured and chosen, and write it; or print what is in force."""
    if options.show:
        show(str(tuning()))
        return 0
    path = options.output or user_file()
    check_file(path)
    sizes = Sizes()
    with progress(steps(sizes), "tuning", least=1, unit="steps") as report:
        measured = measure(sizes, report)
    show("\n".join(measured.lines) + "\n")
    show(str(keep(path, measured.choices)))
    if options.output:
        note(f"To use it, set the environment variable NUMPY_BERT_TUNING to {path}.")
    return 0
