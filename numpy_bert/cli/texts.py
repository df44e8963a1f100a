"""Texts from a file or from standard input, one a line."""

from __future__ import annotations

import io
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

from numpy_bert.errors import InputError
from numpy_bert.files import decode_lines, file_size
from numpy_bert.messages import quoted

__all__ = ["read_lines"]


def read_lines(name: str) -> list[str]:
    """Return the lines of a file, or with ``-`` of standard input, as `decode_lines` has them.

    An empty line is an empty text, so that line and vector have one number.

    Raises
    ------
    InputError
        If it cannot be read, or a line, which is named, is not UTF-8.
    """
    try:
        with _opened(name) as file:
            where = "standard input" if name == "-" else name
            return decode_lines(file, where=where, error=InputError)
    except OSError as failure:
        raise InputError(f"--input {quoted(name)}: cannot be read ({failure.strerror}).") from None


def _opened(name: str) -> AbstractContextManager[BinaryIO]:
    """Open a regular file, or standard input, which stays open."""
    if name != "-":
        path = Path(name)
        file_size(path, error=InputError)
        return path.open("rb")
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("--input -: standard input is closed.")
    stream = getattr(sys.stdin, "buffer", None)
    return nullcontext(io.BytesIO(sys.stdin.read().encode()) if stream is None else stream)
