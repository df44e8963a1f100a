"""How the command line writes: notes, errors, tables, arrays."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["array_text", "error_lines", "megabytes", "note", "table"]


def note(text: str) -> None:
    """Tell the person at the terminal something that is not the result."""
    print(f"numpy-bert: {_safe(text)}", file=sys.stderr)


def error_lines(command: str, failure: Exception) -> str:
    """Write an error for a person; control characters are shown, not obeyed."""
    return f"numpy-bert {command}: error: {_safe(str(failure))}"


def table(header: Sequence[str], rows: Sequence[Sequence[object]], *, right: str = "") -> str:
    """Write rows under a header in columns, two blanks apart, indented by two.

    `right` has an ``r`` for each column whose cells stand at its right edge, else another letter.
    """
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = []
    for row in cells:
        padded = [
            cell.rjust(width) if right[column : column + 1] == "r" else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(("  " + "  ".join(padded)).rstrip())
    return "\n".join(lines)


def array_text(array: npt.NDArray[Any]) -> str:
    """Write an array as NumPy prints it: the corners of a large one, four decimals."""
    with np.printoptions(precision=4, suppress=True, threshold=50, edgeitems=3, linewidth=100):
        return str(array)


def megabytes(size: int) -> str:
    """Write a number of bytes for a person.

    Examples
    --------
    >>> megabytes(90868376)
    '90.9 MB'
    """
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


def _safe(text: str) -> str:
    """Escape what could steer a terminal, line ends excepted."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
