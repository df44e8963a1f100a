"""Where the texts of a corpus come from: files and standard input, read a record at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from numpy_bert.errors import InputError
from numpy_bert.files import not_utf8, split_lines

__all__ = ["BadRecord", "Record", "Source", "open_source"]


class Record(NamedTuple):
    """A text, and the line (of Parquet the row, from 1) that it stands in, or begins in."""

    number: int
    text: str


class BadRecord(NamedTuple):
    r"""What should be a text and is none.

    Attributes
    ----------
    number : int
        The line, or of Parquet the row, from 1.
    why : str
        What is wrong with it, as the end of a sentence: "is not UTF-8 (byte 3, 0xff)".
    raw : str
        What stands there, bytes that are not UTF-8 as ``\xff``; the beginning of what is long.
    """

    number: int
    why: str
    raw: str


class Source:
    """An open corpus, to be iterated over once.

    Attributes
    ----------
    where : str
        The file's path, or "standard input".
    unit : str
        What the records' numbers count: "line" or "row".
    size : int or None
        How long it is: a file's bytes, Parquet's rows; None of what has no known end.
    position : int
        How much of that has been read.
    """

    where: str
    unit: str
    size: int | None
    position: int

    def __init__(self, path: Path) -> None:
        self.where, self.unit = str(path), "line"
        self.size, self.position = path.stat().st_size, 0
        self._path = path

    def __iter__(self) -> Iterator[Record | BadRecord]:
        with self._path.open("rb") as file:
            for number, line in enumerate(split_lines(file, where=self.where, error=InputError), 1):
                self.position += len(line) + 1
                try:
                    yield Record(number, line.decode("utf-8"))
                except UnicodeDecodeError as failure:
                    yield BadRecord(
                        number, not_utf8(failure), line.decode("utf-8", "backslashreplace")
                    )


@contextmanager
def open_source(
    name: str, *, column: str | None = None, form: str | None = None
) -> Iterator[Source]:
    """Open a corpus."""
    assert column is None
    assert form in (None, "text")
    assert name != "-"
    yield Source(Path(name))
