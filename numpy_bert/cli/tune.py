"""``numpy-bert tune``: measure what is fast on this machine, and keep it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from numpy_bert.cli.console import note, show
from numpy_bert.cli.options import add_examples
from numpy_bert.messages import quoted
from numpy_bert.progress import progress

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command is for, and what it takes."""
    parser.description = (
        "Measure which ways to compute the same are the fastest on this machine (how products are "
        "cut, how an activation is computed, the size of a block) and keep them for later "
        "processes. It takes two minutes, best on a quiet machine; results change by roundings."
    )
    add_examples(
        parser,
        "numpy-bert tune",
        "numpy-bert tune --show",
    )
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        help="write another file than the user's own, for the environment variable "
        "NUMPY_BERT_TUNING",
    )
    either.add_argument(
        "--show", action="store_true", help="measure nothing; print what is in force, and why"
    )


def run(options: argparse.Namespace) -> int:
    """Print what was measured and chosen, and write it; or print what is in force."""
    from numpy_bert.kernels.measure import Sizes, measure, steps
    from numpy_bert.kernels.tuning import VARIABLE, in_force, tuning
    from numpy_bert.kernels.tuning_file import check_file, keep

    if options.show:
        show(str(tuning()))
        return 0
    path = check_file(options.output)
    sizes = Sizes()
    with progress(steps(sizes), "tuning", least=1, unit="steps") as report:
        measured = measure(sizes, report)
    show("\n".join(measured.lines) + "\n")
    keep(path, measured.choices)
    show(str(in_force(measured.choices, f"measured here by `numpy-bert tune`, in {path}")))
    if options.output:
        note(f"To use it, set the environment variable {VARIABLE} to {quoted(path)}.")
    elif stated := os.environ.get(VARIABLE):
        note(
            f"To use it, unset the environment variable {VARIABLE}, which is {quoted(stated)} now."
        )
    return 0
