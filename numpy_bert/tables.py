"""CSV and tables separated by tabs, read a row at a time; and what is no text at all."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import NamedTuple

from numpy_bert.errors import InputError
from numpy_bert.messages import listed, quoted

__all__ = [
    "TABLES",
    "BadRow",
    "Columns",
    "Line",
    "Row",
    "other_kind",
    "plain",
    "table_rows",
]

TABLES = (".csv", ".tsv", ".tab")
# Longer than any field that is read, and within what csv takes on every system.
_LONGEST = 2**31 - 1
# No row that spans lines has more characters: a quote that is not closed by then never will be.
_LONGEST_ROW = 5_000_000
_BLANK_QUOTE = re.compile(r' +"')
_OPEN = "opens a quote that does not end"
# Files that do not hold a text a line, though some could be read as if they did.
_OTHERS = {
    "JSON": (".json", ".jsonl", ".ndjson"),
    "a page of markup": (".html", ".htm", ".xml"),
    "a table in binary": (".parquet", ".pq", ".feather", ".arrow", ".orc", ".avro", ".h5", ".hdf5"),
    "a spreadsheet": (".xlsx", ".xls", ".ods"),
    "a document": (".pdf", ".doc", ".docx", ".odt", ".rtf", ".epub"),
    "compressed": (".gz", ".tgz", ".bz2", ".xz", ".zst", ".lz4", ".zip", ".7z", ".tar", ".rar"),
    "a file of arrays or objects": (".npy", ".npz", ".pkl", ".pickle", ".pt", ".safetensors"),
    "a database": (".db", ".sqlite", ".sqlite3"),
}
# The first bytes of such files, whatever they are called.
_MAGIC = {
    b"PAR1": "a table in binary (Parquet)",
    b"ARROW1": "a table in binary (Arrow)",
    b"PK\x03\x04": "compressed (zip, as spreadsheets are)",
    b"\x1f\x8b": "compressed (gzip)",
    b"BZh": "compressed (bzip2)",
    b"\xfd7zXZ\x00": "compressed (xz)",
    b"\x28\xb5\x2f\xfd": "compressed (zstd)",
    b"%PDF-": "a document (PDF)",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
}


class Line(NamedTuple):
    """A line of a table, with its end.

    Attributes
    ----------
    number : int
        Its number, from 1.
    text : str
        What stands there.
    why : str
        What is wrong with it whatever row it belongs to, "" for nothing.
    is_whole : bool
        Whether `text` is all of it; else csv does not get it.
    """

    number: int
    text: str
    why: str = ""
    is_whole: bool = True


class Row(NamedTuple):
    """The fields of a row, and the line where it begins."""

    number: int
    fields: list[str]


class BadRow(NamedTuple):
    """What is no row: the line where it begins, what is wrong with it, and what stands there."""

    number: int
    why: str
    raw: str


def other_kind(suffix: str, start: bytes) -> str:
    """Say what kind of file is no text and no table, by the end of its name or its first bytes.

    Examples
    --------
    >>> other_kind(".docx", b""), other_kind(".txt", b"PAR1"), other_kind(".txt", b"text")
    ('a document', 'a table in binary (Parquet)', '')
    """
    for what, suffixes in _OTHERS.items():
        if suffix.lower() in suffixes:
            return what
    return next((what for magic, what in _MAGIC.items() if start.startswith(magic)), "")


def plain(name: str) -> str:
    """Return the name of a column as it is compared: its case and blanks around do not count."""
    return name.strip().lower()


class Columns:
    """The columns of a table, found by their names as `plain` has them; `str` lists them all.

    Examples
    --------
    >>> columns = Columns(["id", " Text "], "a.csv: line 1")
    >>> list(columns), columns.place("TEXT"), str(columns)
    (['id', 'text'], 1, "id, ' Text '")
    """

    def __init__(self, titles: Sequence[str], where: str) -> None:
        self._titles, self._where = titles, where
        self._places: dict[str, list[int]] = {}
        for place, title in enumerate(titles):
            self._places.setdefault(plain(title), []).append(place)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __str__(self) -> str:
        return listed(self._titles, 20) or "none"

    def place(self, name: str) -> int:
        """Return which column has a name, from 0; raise InputError unless one has."""
        places = self._places.get(plain(name), [])
        if len(places) != 1:
            raise InputError(
                f"{self._where}: has {'more than one' if places else 'no'} column {quoted(name)}; "
                f"the columns are {self}."
            )
        return places[0]


def table_rows(lines: Iterable[Line], *, tabs: bool) -> Iterator[Row | BadRow]:
    r"""Yield the rows of a table, the header first; each is to have as many fields as that.

    Fields stand between commas, or tabs, and may be in quotes. Empty lines are passed over. A line
    that opens a quote which never ends is bad, and each of those behind it is read by itself; so a
    stray quote costs a row, and not the rest of the table. A row that is wrong in another way is
    bad with all its lines.

    Parameters
    ----------
    lines : iterable of Line
        The lines.
    tabs : bool
        Whether fields are separated by tabs. Then a field that spans lines and has a tab in it is
        taken for a stray quote, too.

    Examples
    --------
    >>> lines = ["id,text\n", '1,"a, b"\n', '2,"c\n', "3,d\n"]
    >>> for row in table_rows([Line(n, text) for n, text in enumerate(lines, 1)], tabs=False):
    ...     print(row)
    Row(number=1, fields=['id', 'text'])
    Row(number=2, fields=['1', 'a, b'])
    BadRow(number=3, why='opens a quote that does not end', raw='2,"c')
    Row(number=4, fields=['3', 'd'])
    """
    own, width = _own_csv(), 0
    feed = _Feed(lines)
    kind = csv.excel_tab if tabs else csv.excel
    reader = own.reader(feed, dialect=kind, strict=True)
    while True:
        feed.begin()
        fields = list[str]()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except _OpenQuoteError as failure:
            why = str(failure)
        except own.Error as failure:
            why = _OPEN if feed.is_over else f"is no row of a table ({_reason(failure)})"
        else:
            why = _fault(fields, feed.held, kind)
        if why.startswith(_OPEN):
            feed.again()
        why = _bad_line(feed.held) or why
        if not why and fields and len(fields) != (width := width or len(fields)):
            why = f"must have {width} fields; it has {len(fields)}"
        if why:
            yield BadRow(feed.held[0].number, why, feed.raw())
        elif fields:
            yield Row(feed.held[0].number, fields)


class _OpenQuoteError(Exception):
    """A row would have to go on where it cannot."""


class _Feed:
    """The lines of a table as csv asks for them, of which those of the row at hand are held."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines, self._again = iter(lines), deque[Line]()
        self.begin()

    def begin(self) -> None:
        """Hold nothing: a new row begins."""
        self.held, self._size, self.is_over = list[Line](), 0, False
        self._is_alone = bool(self._again)

    def again(self) -> None:
        """Have the lines of the row but the first come again, each to be a row by itself."""
        self._again.extendleft(reversed(self.held[1:]))
        del self.held[1:]

    def raw(self) -> str:
        """Return what stands in the row, without its last end."""
        return "".join(line.text for line in self.held).removesuffix("\n").removesuffix("\r")

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        if self.held and self._is_alone:
            raise _OpenQuoteError(f"{_OPEN} on this line, behind another one")
        if self._size > _LONGEST_ROW:
            raise _OpenQuoteError(f"{_OPEN} within {_LONGEST_ROW:,} characters")
        try:
            line = self._again.popleft() if self._again else next(self._lines)
        except StopIteration:
            self.is_over = bool(self.held)
            raise
        self.held.append(line)
        self._size += len(line.text)
        return line.text if line.is_whole else "\n"


@cache
def _own_csv() -> ModuleType:
    """Return a copy of the module below csv whose fields may be of any length.

    The limit of 131,072 characters belongs to the module, and so to all who share it, threads too:
    lifting it there would lift it for others, and putting it back would undo what they have set.
    """
    spec = find_spec("_csv")
    assert spec is not None
    assert spec.loader is not None
    own = module_from_spec(spec)
    spec.loader.exec_module(own)
    own.field_size_limit(_LONGEST)
    return own


def _bad_line(lines: Sequence[Line]) -> str:
    """Say what is wrong with the first of a row's lines that is bad by itself."""
    for place, line in enumerate(lines):
        if line.why:
            return f"has a line {line.number} that {line.why}" if place else line.why
    return ""


def _reason(failure: Exception) -> str:
    """Return what csv says is wrong, in our words where its own are about Python."""
    text = str(failure)
    return "a carriage return outside quotes" if text.startswith("new-line") else quoted(text)


def _fault(fields: list[str], lines: list[Line], kind: type[csv.Dialect]) -> str:
    """Say whether quotes mean something else than csv takes them for."""
    is_long = len(lines) > 1 and kind is csv.excel_tab
    if is_long and any("\t" in field and "\n" in field for field in fields):
        return f"{_OPEN} before a tab and a line's end; to have both in a text, save it as .csv"
    seen = any(' "' in line.text for line in lines)
    if not seen or not any(map(_BLANK_QUOTE.match, fields)):
        return ""
    # Either such a field stands in quotes as a whole, and is read in the same way where blanks
    # before quotes are passed over, or its quotes were taken for text.
    texts = [line.text for line in lines]
    other = next(_own_csv().reader(texts, dialect=kind, skipinitialspace=True))
    if [field.strip() for field in fields] == [field.strip() for field in other]:
        return ""
    return (
        "has a field that begins with a blank and a quote, so the quote would be a part of it; "
        "take the blanks before quotes out"
    )
