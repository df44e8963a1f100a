"""Texts to train on, read from files: a text a line, or a table with columns; no other kind."""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass
from pathlib import Path

from numpy_bert.errors import InputError
from numpy_bert.files import decode_lines, decode_text, read_bytes
from numpy_bert.messages import quoted, shown
from numpy_bert.tables import TABLES, BadRow, Columns, Line, other_kind, plain, table_rows

__all__ = [
    "NUMBER",
    "LabelledRows",
    "ScoredPairs",
    "as_number",
    "is_table",
    "read_documents",
    "read_labelled",
    "read_pairs",
    "read_scored",
    "read_texts",
]

# How a number is written.
NUMBER = re.compile(r"[+-]?([0-9]{1,300}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,9})?")
# Columns, of the last of which there may be several.
_TEXT, _PAIR, _LABEL, _SCORE, _NEGATIVE = "text", "text_pair", "label", "score", "negative"
_LEAST_DOCUMENTS = _LEAST_SCORES = 2
# Nobody trains on more with this package, and what is larger is somebody's mistake.
_LARGEST = 2_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledRows:
    """The rows of a table: texts, or pairs of texts, and the label of each as it is written."""

    texts: list[str] | list[tuple[str, str]]
    labels: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPairs:
    """Pairs of texts, and for each a number that says how alike its texts are."""

    texts: list[tuple[str, str]]
    scores: list[float]


def is_table(path: Path) -> bool:
    """Tell whether a file is a table, by the end of its name: .csv, .tsv or .tab.

    Examples
    --------
    >>> is_table(Path("reviews.CSV")), is_table(Path("texts.txt"))
    (True, False)
    """
    return path.suffix.lower() in TABLES


def read_texts(path: Path, column: str | None = None) -> list[str]:
    """Read a text from each line of a UTF-8 file, or from each row of a table.

    A line is what `numpy_bert.files.decode_lines` takes for one; empty ones are passed over.

    Parameters
    ----------
    path : Path
        The file. It is a table if its name ends in .csv, .tsv or .tab, and then its first row names
        the columns.
    column : str, optional
        The column of a table that has the texts; "text" by default, unless there is a text_pair.

    Raises
    ------
    InputError
        If a line is not UTF-8, the file is of another kind, a table has no such column, or there
        is no text. The message names the file and the line, or the columns that there are.
    """
    if is_table(path):
        return _read_column(path, column)
    if column is not None:
        raise InputError(
            f"{path}: must be a table (.csv, .tsv) to have a column {quoted(column)}; it is not."
        )
    found = [line for line in _stripped_lines(path) if line]
    if not found:
        raise InputError(f"{path}: must hold a text a line; it holds none.")
    return found


def read_documents(path: Path) -> list[list[str]]:
    """Read documents: a sentence a line, an empty line after each document but the last.

    Raises
    ------
    InputError
        If a line, which is named, is not UTF-8; if the file is a table, or of another kind; or if
        there are not two documents.

    References
    ----------
    .. [1] google-research/bert, README, "Pre-training with BERT".
    """
    found: list[list[str]] = [[]]
    if is_table(path):
        raise InputError(
            f"{path}: must hold documents, a sentence a line, with an empty line after each; it is "
            "a table."
        )
    for line in _stripped_lines(path):
        if line:
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    documents = [sentences for sentences in found if sentences]
    if len(documents) < _LEAST_DOCUMENTS:
        raise InputError(
            f"{path}: must hold at least two documents, a sentence a line, with an empty line "
            f"after each; it holds {len(documents) or 'none'}."
        )
    return documents


def read_scored(path: Path) -> ScoredPairs:
    """Read pairs of texts and how alike they are: the columns text, text_pair, label, a number.

    Raises
    ------
    InputError
        If `read_labelled` raises it, or a label is no number; the row is named.
    """
    rows = read_labelled(path)
    pairs = [texts for texts in rows.texts if not isinstance(texts, str)]
    if len(pairs) < len(rows.texts):
        raise InputError(f"{path}: line 1: there must be a column text_pair, for pairs of texts.")
    scores = []
    for row, label in enumerate(rows.labels, 1):
        scores.append(as_number(label))
        if not math.isfinite(scores[-1]):
            raise InputError(
                f"{path}: row {row}: label {quoted(label)} must be a number that says how alike "
                "the texts are."
            )
    if len(set(scores)) < _LEAST_SCORES:
        raise InputError(
            f"{path}: there must be two different scores at least, or nothing is more alike than "
            f"anything else; got one, {scores[0]:g}."
        )
    return ScoredPairs(texts=pairs, scores=scores)


def read_pairs(path: Path, text_column: str = _TEXT) -> dict[str, list[str] | list[float]]:
    """Read texts that belong together: the columns text and text_pair, and those of negatives.

    Parameters
    ----------
    path : Path
        The table. Columns whose names begin with "negative" are hard negatives, in their order, and
        "label" or "score" has a number for each pair. Others are passed over.
    text_column : str
        The column of the first texts.

    Returns
    -------
    dict of str to list
        The columns by their names: first texts, second ones, negatives, and numbers as "score".

    Raises
    ------
    InputError
        If the table is none of these, or a cell is empty or is no number; the file, the line and
        what must stand there are named.
    """
    table, text = _read_table(path), plain(text_column)
    if not {text, _PAIR} <= {*table.columns} or text == _PAIR:
        raise InputError(
            f"{path}: line 1: there must be columns {quoted(text)} and text_pair (and negative, "
            f"and label or score); got {table.columns}. Rename them there."
        )
    negatives = [name for name in table.columns if name.startswith(_NEGATIVE)]
    found: dict[str, list[str] | list[float]] = {}
    for name in (text, _PAIR, *negatives):
        column = [cell.strip() for cell in table.column(name)]
        if "" in column:
            line = table.lines[column.index("")]
            raise InputError(f"{path}: line {line}: has nothing in the column {quoted(name)}.")
        found[name] = column
    scores = [name for name in (_LABEL, _SCORE) if name in table.columns]
    if scores:
        found[_SCORE] = _numbers(table, scores[0])
    return found


def _numbers(table: _Table, name: str) -> list[float]:
    """Return a column of numbers; raise InputError naming the line of what is none."""
    cells = [cell.strip() for cell in table.column(name)]
    found = [as_number(cell) for cell in cells]
    for cell, number, line in zip(cells, found, table.lines, strict=True):
        if not math.isfinite(number):
            raise InputError(
                f"{table.path}: line {line}: {quoted(name)} must be a number that says how alike "
                f"the texts are; got {shown(cell)}."
            )
    return found


def read_labelled(path: Path, text_column: str = _TEXT) -> LabelledRows:
    """Read a table of texts and labels: CSV, or separated by tabs if its name ends in .tsv.

    The first row names the columns: text, label, and for pairs text_pair. Others are passed over.

    Parameters
    ----------
    path : Path
        The table.
    text_column : str
        The column of the texts, the first ones of pairs.

    Raises
    ------
    InputError
        If the table is none of these; the file, the line and what must stand there are named.
    """
    table, text = _read_table(path), plain(text_column)
    if not {text, _LABEL} <= {*table.columns}:
        raise InputError(
            f"{path}: line 1: there must be columns {quoted(text)} and label (and text_pair for "
            f"pairs); got {table.columns}. Rename them there."
        )
    labels = [label.strip() for label in table.column(_LABEL)]
    if "" in labels:
        line = table.lines[labels.index("")]
        raise InputError(f"{path}: line {line}: has no label.")
    texts = table.column(text)
    if _PAIR in table.columns and text != _PAIR:
        pairs = list(zip(texts, table.column(_PAIR), strict=True))
        return LabelledRows(texts=pairs, labels=labels)
    return LabelledRows(texts=texts, labels=labels)


def as_number(label: str) -> float:
    """Return the number that a label is, NaN where it is none or is not finite.

    Its digits are ASCII, without the underscores that Python's float allows for.

    Examples
    --------
    >>> as_number("-1e3"), as_number("1_000"), as_number("inf")
    (-1000.0, nan, nan)
    """
    value = float(label) if NUMBER.fullmatch(label) else math.nan
    return value if math.isfinite(value) else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """A table: its columns, the rows below them, and the line where each row begins."""

    path: Path
    columns: Columns
    rows: list[list[str]]
    lines: list[int]

    def column(self, name: str) -> list[str]:
        """Return a column; raise InputError unless there is one of the name."""
        place = self.columns.place(name)
        return [row[place] for row in self.rows]


def _read_table(path: Path) -> _Table:
    """Read a table whose rows all have a field for each column of the first."""
    source = decode_text(_read_source(path), where=str(path), error=InputError)
    lines = (Line(n, line) for n, line in enumerate(io.StringIO(source, newline=""), 1))
    rows = []
    for row in table_rows(lines, tabs=path.suffix.lower() != ".csv"):
        if isinstance(row, BadRow):
            raise InputError(
                f"{path}: line {row.number}: {row.why}. Put a text with a comma, a tab or a quote "
                "in it in quotes, and double the quotes in it."
            )
        rows.append(row)
    header = rows[0].fields if rows else []
    if len(rows) == 1:
        raise InputError(f"{path}: holds no row below its header.")
    return _Table(
        path=path,
        columns=Columns(header, f"{path}: line 1"),
        rows=[row.fields for row in rows[1:]],
        lines=[row.number for row in rows[1:]],
    )


def _read_column(path: Path, name: str | None) -> list[str]:
    """Read the texts of a column, the one that is called text where none is named."""
    table = _read_table(path)
    if name is None and (_TEXT not in table.columns or _PAIR in table.columns):
        raise InputError(
            f"{path}: line 1: the columns are {table.columns}; name the one that holds the texts "
            "(column=)."
        )
    found = [text.strip() for text in table.column(_TEXT if name is None else name)]
    if not any(found):
        raise InputError(f"{path}: holds no text in that column.")
    return [text for text in found if text]


def _stripped_lines(path: Path) -> list[str]:
    """Return the lines of a file without blanks around them."""
    lines = decode_lines(io.BytesIO(_read_source(path)), where=str(path), error=InputError)
    return [line.strip() for line in lines]


def _read_source(path: Path) -> bytes:
    """Return the bytes of a file that can be text; refuse another kind by its name."""
    data = read_bytes(path, error=InputError, limit=_LARGEST)
    what = other_kind(path.suffix, data[:16])
    if what:
        raise _refused(path, what)
    if b"\x00" in data:
        line = data[: data.index(b"\x00")].count(b"\n") + 1
        raise _refused(path, f"binary, or text in UTF-16 (line {line} has a NUL byte)")
    return data


def _refused(path: Path, what: str) -> InputError:
    """Return the error that says what a file is instead of text."""
    return InputError(
        f"{path}: must be a text a line in UTF-8, or a table (.csv, .tsv); it is {what}. Save the "
        "texts as one of these."
    )
