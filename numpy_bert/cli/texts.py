"""Texts from a file or from standard input, one a line."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

from numpy_bert.errors import InputError
from numpy_bert.files import file_size, quoted

__all__ = ["read_lines"]


def read_lines(name: str) -> list[str]:
    r"""Return the lines of a file, or with ``-`` of standard input, without their ends.

    Lines end with ``\n`` or ``\r\n``, the last one may have no end; an empty line is an empty
    text, so that line and vector have one number. A byte order mark is no text.

    Raises
    ------
    InputError
        If it cannot be read, or a line, which is named, is not UTF-8.
    """
    try:
        with _opened(name) as file:
            return _decoded(file, "standard input" if name == "-" else name)
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


def _decoded(lines: Iterable[bytes], where: str) -> list[str]:
    """Decode each line by itself, so that a message can name it."""
    texts = []
    for number, line in enumerate(lines, 1):
        text = line.removesuffix(b"\n").removesuffix(b"\r")
        if number == 1:
            text = text.removeprefix(b"\xef\xbb\xbf")
        try:
            texts.append(text.decode("utf-8"))
        except UnicodeDecodeError as failure:
            raise InputError(
                f"{quoted(where)}: line {number}: is not UTF-8 (byte {failure.start}, "
                f"0x{text[failure.start]:02x}); convert the file, or mend the line."
            ) from None
    return texts
