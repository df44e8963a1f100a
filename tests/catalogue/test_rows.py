"""Every row of the catalogue has a test that names it, in the file of its letter."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.catalogue.rows import LETTERS, ROWS, row_of

TESTS = [
    (path.name, node.name)
    for path in sorted(Path(__file__).parent.glob("test_*.py"))
    for node in ast.parse(path.read_text("utf-8")).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
]


def test_the_catalogue_has_154_rows() -> None:
    assert len(ROWS) == 154
    assert {row[0] for row in ROWS} == set(LETTERS)


@pytest.mark.parametrize("letter", LETTERS)
def test_every_row_of_a_letter_has_a_test(letter: str) -> None:
    files = [(name, test) for name, test in TESTS if name.startswith(f"test_{letter.lower()}_")]
    named = {row_of(test) for _, test in files}
    assert [row for row in ROWS if row[0] == letter and row not in named] == []
    assert [test for _, test in files if (row_of(test) or "?")[0] != letter] == []
