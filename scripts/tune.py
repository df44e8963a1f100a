"""Measure which ways to compute are fast on this machine, and print its row of the built-in table.

The row is for TABLE of numpy_bert/kernels/choices.py; the lines before it are what was measured.
For a machine of one's own, `numpy-bert tune` measures the same and keeps it without a change of
code.

    python scripts/tune.py [--rounds 15]
"""

from __future__ import annotations

import argparse

import numpy_bert
from numpy_bert.kernels.machine import machine
from numpy_bert.kernels.measure import Sizes, measure, steps
from numpy_bert.progress import progress


def main() -> None:
    """Print what was measured, then the row."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=Sizes().rounds, help="turns of each way")
    options = parser.parse_args()
    print(numpy_bert.tuning(), flush=True)
    sizes = Sizes()._replace(rounds=options.rounds)
    with progress(steps(sizes), "tuning", least=1, unit="steps") as report:
        found = measure(sizes, report)
    print("", *found.lines, "", f"{machine()!r}: {found.choices!r},", sep="\n")


if __name__ == "__main__":
    main()
