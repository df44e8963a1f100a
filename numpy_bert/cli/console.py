"""How the command line writes: results, notes, errors, tables."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence

from numpy_bert.errors import OutputError

__all__ = ["complain", "has_colours", "megabytes", "naming", "note", "show", "table"]

_COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")


def show(text: str, *, styled: bool = False) -> None:
    """Print a result; control characters in it are shown, not obeyed.

    Of a `styled` one the colours alone are obeyed; whoever made it has shown those in its parts.

    Raises
    ------
    OutputError
        If standard output is closed or full.
    BrokenPipeError
        If its reader went away.
    """
    if sys.stdout is None:
        raise OutputError("standard output: is closed.")
    try:
        print(_safe_between_colours(text) if styled else _safe(text), flush=True)
    except OSError as failure:
        # Nothing more can be written; keep the interpreter from trying again at its end.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(failure, BrokenPipeError):
            raise
        raise OutputError(f"standard output: could not be written ({failure.strerror}).") from None


def has_colours() -> bool:
    """Tell whether standard output is a terminal with colours that are wanted (NO_COLOR)."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    return is_terminal and os.environ.get("TERM") not in (None, "", "dumb")


def note(text: str) -> None:
    """Tell the person at the terminal something that is not the result."""
    _tell(f"numpy-bert: {text}")


@contextlib.contextmanager
def naming(where: object) -> Iterator[None]:
    """Let the warnings of a block begin with the name of the file that they are about."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in found:
        warnings.warn(f"{where}: {warning.message}", warning.category, stacklevel=3)


def complain(command: str, message: str) -> None:
    """Tell the person at the terminal why a command failed."""
    _tell(f"numpy-bert {command}: error: {message}")


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


def megabytes(size: int) -> str:
    """Write a number of bytes for a person.

    Examples
    --------
    >>> megabytes(90868376)
    '90.9 MB'
    """
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


def _tell(line: str) -> None:
    """Print to standard error; where that cannot be written, the result still counts."""
    with contextlib.suppress(OSError, AttributeError):
        print(_safe(line), file=sys.stderr, flush=True)


def _safe_between_colours(text: str) -> str:
    """Escape what could steer a terminal, line ends and colours excepted."""
    return "".join(part if _COLOUR.fullmatch(part) else _safe(part) for part in _COLOUR.split(text))


def _safe(text: str) -> str:
    """Escape what could steer a terminal, line ends excepted."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
