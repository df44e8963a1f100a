"""The texts of a corpus: its records, good and bad, out of the lines of a file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from numpy_bert.errors import InputError
from numpy_bert.files import not_utf8, split_lines
from numpy_bert.messages import listed, quoted, shown
from numpy_bert.tables import BadRow, Columns, Line, table_rows
from numpy_bert.text.inputs import MOST_CHARACTERS

__all__ = [
    "COLUMN",
    "LONGEST_LINE",
    "BadRecord",
    "Record",
    "bad_record",
    "checked",
    "read_json_lines",
    "read_lines",
    "read_table",
]

# The column, or the member of an object, that has the texts where none is named.
COLUMN = "text"
# Bytes of a line; of a longer one the beginning is held, and no more.
LONGEST_LINE = 20_000_000
# Characters of a bad record that are kept.
_LONGEST_RAW = 100_000
_SURROGATE = re.compile("[\ud800-\udfff]")


class Record(NamedTuple):
    """A text, and the line, or of Parquet the row, where it begins; they count from 1."""

    number: int
    text: str


class BadRecord(NamedTuple):
    r"""What should be a text and is none.

    Attributes
    ----------
    number : int
        The line, or of Parquet the row, from 1.
    why : str
        What is wrong with it, as a sentence goes on behind its name: "is not UTF-8 (byte 3, 0xff)".
    raw : str
        What stands there, bytes that are not UTF-8 as ``\xff``; of what is long the first 100,000
        characters.
    """

    number: int
    why: str
    raw: str


def bad_record(number: int, why: str, raw: str) -> BadRecord:
    """Return a bad record, whose `raw` is cut where it is long."""
    return BadRecord(number, why, raw[:_LONGEST_RAW])


def checked(number: int, text: str, raw: str | None = None) -> Record | BadRecord:
    r"""Return the record of a text, a bad one if no encoder could take it.

    Examples
    --------
    >>> checked(7, "a test")
    Record(number=7, text='a test')
    >>> checked(7, "\ud800").why
    'has half of a surrogate pair (character 0, U+D800)'
    """
    if len(text) > MOST_CHARACTERS:
        why = f"has {len(text):,} characters; at most {MOST_CHARACTERS:,} are taken"
        return bad_record(number, why, text if raw is None else raw)
    if not text.isascii() and (found := _SURROGATE.search(text)):
        place = f"character {found.start()}, U+{ord(found[0]):04X}"
        safe = text.encode("utf-8", "backslashreplace").decode("utf-8")
        why = f"has half of a surrogate pair ({place})"
        return bad_record(number, why, safe if raw is None else raw)
    return Record(number, text)


def read_lines(lines: Iterable[bytes], where: str) -> Iterator[Record | BadRecord]:
    """Yield a record of each line; an empty one is an empty text."""
    for line in _decoded(split_lines(lines, where=where, error=InputError)):
        if line.why:
            yield bad_record(line.number, line.why, line.text)
        else:
            yield checked(line.number, line.text)


def read_json_lines(
    lines: Iterable[bytes], where: str, column: str = COLUMN
) -> Iterator[Record | BadRecord]:
    """Yield a record of each line, a string or an object with one; empty lines are passed over."""
    for line in _decoded(split_lines(lines, where=where, error=InputError)):
        if line.why:
            yield bad_record(line.number, line.why, line.text)
        elif line.text and not line.text.isspace():
            text, why = _json_text(line.text, column)
            if why:
                yield bad_record(line.number, why, line.text)
            else:
                yield checked(line.number, text, line.text)


def read_table(
    lines: Iterable[bytes], where: str, column: str = COLUMN, *, tabs: bool
) -> Iterator[Record | BadRecord]:
    """Yield a record of each row below the header, of the column that is named."""
    raw = split_lines(lines, where=where, error=InputError, keepends=True)
    rows = table_rows(_decoded(raw), tabs=tabs)
    header = next(rows, None)
    if header is None:
        raise InputError(f"{where}: must begin with the names of its columns; it is empty.")
    if isinstance(header, BadRow):
        raise InputError(f"{where}: line {header.number}: {header.why}.")
    place = Columns(header.fields, f"{where}: line {header.number}").place(column)
    for row in rows:
        if isinstance(row, BadRow):
            yield bad_record(*row)
        else:
            yield checked(row.number, row.fields[place])


def _decoded(lines: Iterable[bytes]) -> Iterator[Line]:
    """Yield lines as text, each with what is wrong with it."""
    for number, line in enumerate(lines, 1):
        if len(line) > LONGEST_LINE and len(line.rstrip(b"\r\n")) > LONGEST_LINE:
            start = line[:_LONGEST_RAW].decode("utf-8", "backslashreplace")
            yield Line(number, start, f"has more than {LONGEST_LINE:,} bytes", is_whole=False)
            continue
        try:
            text, why = line.decode("utf-8"), ""
        except UnicodeDecodeError as failure:
            text, why = line.decode("utf-8", "backslashreplace"), not_utf8(failure)
        if not why and "\0" in text:
            why = f"has a NUL byte (character {text.index(chr(0))})"
        yield Line(number, text, why)


def _json_text(line: str, column: str) -> tuple[str, str]:
    """Return the text of a line of JSON, or what is wrong with it."""
    try:
        value = json.loads(line)
    except json.JSONDecodeError as failure:
        return "", f"is not JSON ({failure.msg}: character {failure.pos})"
    except RecursionError:
        return "", "is nested too deeply"
    except ValueError:  # Python refuses to convert integers of more than 4300 digits
        return "", "has a number that is too long"
    if isinstance(value, str):
        return value, ""
    if not isinstance(value, dict):
        return "", f"must be an object or a string; it is {shown(value)}"
    if column not in value:
        return "", f"has no member {quoted(column)}; it has {listed(list(value)) or 'none'}"
    text = value[column]
    return (text, "") if isinstance(text, str) else ("", _no_string(column, text))


def _no_string(column: str, value: object) -> str:
    """Say that a member is no string, in JSON's words."""
    what = "null" if value is None else shown(value)
    return f"must have a string as {quoted(column)}; it has {what}"
