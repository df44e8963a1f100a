"""Print row by row which bad inputs and faults are held: the catalogue, tests/catalogue.

    python scripts/report_faults.py [LETTER OR ROW ...]

A row is held if every test that begins with its id passes. What cannot be tested on one machine is
said by its test, in a line that begins with "Not here:". The exit code is 1 if a row is not held.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
_NOT_HERE = "Not here:"


class Outcomes:
    """What pytest says of each row's tests."""

    def __init__(self) -> None:
        self.passed = defaultdict[str, int](int)
        self.failed = defaultdict[str, list[str]](list)
        self.seconds = defaultdict[str, float](float)
        self.not_here = defaultdict[str, list[str]](list)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Take down what a row's tests say that they cannot do."""
        from tests.catalogue.rows import row_of

        for item in items:
            row, text = row_of(item.name), getattr(getattr(item, "obj", None), "__doc__", None)
            said = " ".join((text or "").partition(_NOT_HERE)[2].split())
            if row and said and said not in self.not_here[row]:
                self.not_here[row].append(said)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take down what became of a test."""
        from tests.catalogue.rows import row_of

        name = report.nodeid.rpartition("::")[2]
        row = row_of(name)
        if row is None:
            return
        self.seconds[row] += report.duration
        if report.outcome != "passed":
            self.failed[row].append(f"{name} {report.outcome}")
        elif report.when == "call":
            self.passed[row] += 1


def run(rows: Sequence[str], outcomes: Outcomes) -> None:
    """Run the tests of these rows."""
    files = sorted({f"tests/catalogue/test_{row[0].lower()}_*.py" for row in rows})
    paths = [str(path) for pattern in files for path in ROOT.glob(pattern)]
    wanted = " or ".join(f"test_{row.lower()}_" for row in rows)
    options: list[Any] = ["-q", "--no-header", "--tb=line", "-p", "no:cacheprovider", "-k", wanted]
    if paths:
        pytest.main([*options, "-m", "not network", *paths], plugins=[outcomes])


def verdict(row: str, outcomes: Outcomes) -> str:
    """Return what is said of a row."""
    if outcomes.failed[row]:
        return f"not held ({', '.join(outcomes.failed[row][:3])})"
    if not outcomes.passed[row]:
        return "no test"
    missing = " ".join(outcomes.not_here[row])
    return f"held; not here: {missing}" if missing else "held"


def chosen(given: Sequence[str]) -> list[str]:
    """Return the rows that are named, or whose letter is; all where none is."""
    from tests.catalogue.rows import ROWS

    names = [name.upper() for name in given]
    unknown = [name for name in names if name not in ROWS and not any(r[0] == name for r in ROWS)]
    if unknown:
        raise SystemExit(f"{', '.join(unknown)}: no such row or letter; the rows are A1 to L12.")
    return [row for row in ROWS if not names or row in names or row[0] in names]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", metavar="LETTER OR ROW")
    options = parser.parse_args(arguments)
    sys.path.insert(0, str(ROOT))
    rows, outcomes = chosen(options.rows), Outcomes()
    run(rows, outcomes)
    # Imported before pytest, numpy_bert would escape its looking after assertions.
    from bench_machine import print_machine

    from tests.catalogue.rows import LETTERS, ROWS

    print()
    print_machine()
    letter, held = "", 0
    for row in rows:
        if row[0] != letter:
            letter = row[0]
            print(f"\n**{letter}. {LETTERS[letter].capitalize()}**\n")
            print("| row | given | tests | seconds | |\n|---|---|---|---|---|")
        said = verdict(row, outcomes)
        held += said.startswith("held")
        cells = [row, ROWS[row], str(outcomes.passed[row]), f"{outcomes.seconds[row]:.1f}", said]
        print(f"| {' | '.join(cells)} |")
    print(f"\n{held} of {len(rows)} rows are held.")
    return int(held < len(rows))


if __name__ == "__main__":
    sys.exit(main())
