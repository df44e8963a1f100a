"""How the command line writes: results, notes, errors and tables for a person, arrays in a file."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TextIO

from numpy_bert.errors import OutputError
from numpy_bert.messages import quoted

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

__all__ = [
    "complain",
    "has_colours",
    "hold_standard_streams",
    "megabytes",
    "note",
    "percent",
    "results_as_json",
    "safe",
    "save_arrays",
    "show",
    "table",
    "tell",
]

_BLANKS = re.compile(r"\s+")
_COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")


def show(text: str, *, styled: bool = False) -> None:
    """Print a result; control characters in it are shown, not obeyed.

    The colours of a `styled` result alone are obeyed; whoever made it has shown the rest.

    Raises
    ------
    OutputError
        If standard output is closed or full.
    BrokenPipeError
        If its reader went away.
    """
    if not _is_open(sys.stdout):
        raise OutputError("standard output: is closed.")
    try:
        print(_safe_between_colours(text) if styled else safe(text), flush=True)
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
    is_terminal = _is_open(sys.stdout) and sys.stdout.isatty()
    return is_terminal and os.environ.get("TERM") not in (None, "", "dumb")


def note(text: str) -> None:
    """Tell the person at the terminal something that is not the result."""
    tell(f"numpy-bert: {text}")


def complain(command: str, message: str) -> None:
    """Tell the person at the terminal why a command failed; it has no name before it is known."""
    tell(f"numpy-bert {command}".rstrip() + f": error: {message}")


def tell(text: str) -> None:
    """Print to standard error; where that cannot be written, the result still counts.

    Where it is closed nothing is printed: `print` would take None for standard output.
    """
    if _is_open(sys.stderr):
        with contextlib.suppress(OSError):
            print(safe(text), file=sys.stderr, flush=True)


def safe(text: str) -> str:
    r"""Escape what could steer a terminal, except line ends.

    Examples
    --------
    >>> print(safe("a\x1b[31m, b"))
    a\x1b[31m, b
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def hold_standard_streams() -> None:
    """Keep the places of standard streams that are closed: the next file would take them.

    What a library writes to standard error would then stand in that file.
    """
    for place in range(3):
        try:
            os.fstat(place)
        except OSError:
            with contextlib.suppress(OSError):
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    right: str = "",
    nothing: str = "",
) -> str:
    """Write rows under a header in columns, two blanks apart, indented by two, each in one line.

    `right` has an ``r`` for each column whose cells stand at its right edge, else another letter.
    `nothing` is written where there are no rows.
    """
    if nothing and not rows:
        return f"  {nothing}"
    cells = [[_on_one_line(str(cell)) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = []
    for row in cells:
        padded = [
            cell.rjust(width) if right[column : column + 1] == "r" else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(("  " + "  ".join(padded)).rstrip())
    return "\n".join(lines)


def _on_one_line(text: str) -> str:
    """Return a text with a blank for each line end and the blanks around it."""
    # Every stretch of blanks is looked at once, however long it is.
    return _BLANKS.sub(lambda found: found[0] if set(found[0]).isdisjoint("\r\n") else " ", text)


def results_as_json(model: str, asked: Mapping[str, object], results: Sequence[Any]) -> str:
    """Write what was asked and the results, dataclasses or lists of them, each field in full."""
    import json
    from dataclasses import asdict

    def plain(result: Any) -> Any:
        return [plain(item) for item in result] if isinstance(result, list) else asdict(result)

    return json.dumps({"model": model, **asked, "results": plain(list(results))})


def percent(score: float) -> str:
    """Write a probability for a person.

    Examples
    --------
    >>> percent(0.98765), percent(0.00002)
    ('98.8 %', '0.002 %')
    """
    return f"{100 * score:.1f} %" if score >= 0.001 else f"{100 * score:.1g} %"


def megabytes(size: int) -> str:
    """Write a number of bytes for a person.

    Examples
    --------
    >>> megabytes(90868376)
    '90.9 MB'
    """
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


def save_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays to a .npz or .safetensors file by their names, or the last one to a .npy file.

    The file takes its name when all of it is there.
    """
    import numpy as np

    from numpy_bert.files import writing

    # Contiguous, because safetensors 0.8 writes a transposed array's values in the wrong order.
    whole: dict[str, Any] = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with writing(path, size=sum(array.nbytes for array in whole.values())) as file:
        if path.suffix == ".npy":
            # What is no file to NumPy, whose own way of writing one does not say why it failed.
            np.save(SimpleNamespace(write=file.write), list(whole.values())[-1], allow_pickle=False)
        elif path.suffix == ".npz":
            np.savez(file, **whole)
        else:
            from safetensors.numpy import save

            file.write(save(whole))
    note(f"wrote {quoted(path)}")


def _is_open(stream: TextIO | None) -> bool:
    """Tell whether a standard stream can be written to; one that never was open is None."""
    return stream is not None and not getattr(stream, "closed", False)


def _safe_between_colours(text: str) -> str:
    """Escape what could steer a terminal, except line ends and colours."""
    return "".join(part if _COLOUR.fullmatch(part) else safe(part) for part in _COLOUR.split(text))
