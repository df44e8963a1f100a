"""What is trained on, read from files: texts a line, or a table with labels."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType

from numpy_bert.errors import InputError
from numpy_bert.files import decode_lines
from numpy_bert.messages import listed, quoted
from numpy_bert.training.sources import is_table, read_source, read_table_source

__all__ = [
    "NUMBER",
    "LabelledRows",
    "ScoredPairs",
    "as_number",
    "label_numbers",
    "read_documents",
    "read_labelled",
    "read_scored",
    "read_texts",
]

# Longer than any file that is read, and within what csv takes on every system.
_LONGEST = 2**31 - 1
_BLANK_QUOTE = re.compile(r' +"')
_LEAST_DOCUMENTS = _LEAST_SCORES = 2
# How a number is written.
NUMBER = re.compile(r"[+-]?([0-9]{1,300}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,9})?")
_TEXT, _PAIR, _LABEL = "text", "text_pair", "label"  # columns


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledRows:
    """The rows of a table: texts, or pairs of texts, and the label of each as it is written."""

    texts: list[str] | list[tuple[str, str]]
    labels: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPairs:
    """Pairs of texts, and a number for each of how alike they are."""

    texts: list[tuple[str, str]]
    scores: list[float]


def read_texts(path: Path, column: str | None = None) -> list[str]:
    """Read a text from each line of a UTF-8 file, or from each row of a table.

    A line is what `numpy_bert.files.decode_lines` takes for one; empty ones are passed over.

    Parameters
    ----------
    path : Path
        A table if its name ends in .csv, .tsv or .tab, and then its first row names the columns.
    column : str, optional
        Of a table, where the texts are; "text" by default, unless there is a text_pair too.

    Raises
    ------
    InputError
        Naming the file, and the line that is not UTF-8; if it is of another kind; if a table has no
        such column, and then naming those that it has; or if there is no text.
    """
    if is_table(path):
        return _read_column(path, column)
    if column is not None:
        raise InputError(f"{path}: has no columns, so no {quoted(column)}; a table was expected.")
    found = [line for line in _stripped_lines(path) if line]
    if not found:
        raise InputError(f"{path}: holds no text; a text a line was expected.")
    return found


def read_documents(path: Path) -> list[list[str]]:
    """Read documents: a sentence a line, an empty line after each document but the last.

    Raises
    ------
    InputError
        Naming the file, and the line that is not UTF-8; if it is a table, or of another kind; or if
        there are not two documents.

    References
    ----------
    .. [1] google-research/bert, README, "Pre-training with BERT".
    """
    found: list[list[str]] = [[]]
    if is_table(path):
        raise InputError(
            f"{path}: is a table; documents were expected, a sentence a line, with an empty line "
            "after each."
        )
    for line in _stripped_lines(path):
        if line:
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    documents = [sentences for sentences in found if sentences]
    if len(documents) < _LEAST_DOCUMENTS:
        raise InputError(
            f"{path}: has {len(documents)} document{'s' * (not documents)}; at least two were "
            "expected, a sentence a line, with an empty line after each document."
        )
    return documents


def read_scored(path: Path) -> ScoredPairs:
    """Read pairs of texts and how alike they are: the columns text, text_pair, label, a number.

    Raises
    ------
    InputError
        As of `read_labelled`, and naming a row whose label is no number.
    """
    rows = read_labelled(path)
    pairs = [texts for texts in rows.texts if not isinstance(texts, str)]
    if len(pairs) < len(rows.texts):
        raise InputError(f"{path}: line 1: has no column text_pair; pairs were expected.")
    scores = []
    for row, label in enumerate(rows.labels, 1):
        scores.append(as_number(label))
        if not math.isfinite(scores[-1]):
            raise InputError(
                f"{path}: row {row}: label {quoted(label)} is no number; how alike the texts are "
                "was expected."
            )
    if len(set(scores)) < _LEAST_SCORES:
        raise InputError(
            f"{path}: has one score, {scores[0]:g}; two different ones were expected at least, or "
            "nothing is more alike than anything else."
        )
    return ScoredPairs(texts=pairs, scores=scores)


def read_labelled(path: Path, text_column: str = _TEXT) -> LabelledRows:
    """Read a table of texts and labels: CSV, or tab-separated where the name ends in .tsv.

    Its first row names the columns: text, label, and for pairs text_pair. Others are passed over.

    Parameters
    ----------
    path : Path
        The table.
    text_column : str
        The column of the texts, the first ones of pairs.

    Raises
    ------
    InputError
        Naming the file, the line, and what was expected there.
    """
    table, text = _read_table(path), text_column.strip().lower()
    if table.count(text) == 0 or table.count(_LABEL) == 0:
        raise InputError(
            f"{path}: line 1: the columns are {table.columns}; {quoted(text)} and label (and "
            "text_pair for pairs) were expected."
        )
    labels = [label.strip() for label in table.column(path, _LABEL)]
    if "" in labels:
        line = table.lines[labels.index("")]
        raise InputError(f"{path}: line {line}: has no label.")
    texts = table.column(path, text)
    if table.count(_PAIR) and text != _PAIR:
        pairs = list(zip(texts, table.column(path, _PAIR), strict=True))
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


def label_numbers(labels: list[str], names: tuple[str, ...], where: str) -> list[int]:
    """Return the number of each label among the names.

    Raises
    ------
    InputError
        Naming the first that is none of them.
    """
    numbers = {name: number for number, name in enumerate(names)}
    for row, label in enumerate(labels, 1):
        if label not in numbers:
            raise InputError(
                f"{where}: row {row}: label {quoted(label)} is none of {listed(names, 10)}."
            )
    return [numbers[label] for label in labels]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """A table: its first row, the rows below it, and the line where each of these ends."""

    header: list[str]
    rows: list[list[str]]
    lines: list[int]

    @property
    def columns(self) -> str:
        """The names of the columns, for a message."""
        return listed(self.header, 20) or "none"

    def count(self, name: str) -> int:
        """Return how many columns have a name, whose case and blanks around it do not count."""
        return [title.strip().lower() for title in self.header].count(name.strip().lower())

    def column(self, path: Path, name: str) -> list[str]:
        """Return a column; raise InputError unless there is one of the name."""
        if self.count(name) != 1:
            what = "has no column" if not self.count(name) else "has more than one column"
            raise InputError(
                f"{path}: line 1: {what} {quoted(name)}; the columns are {self.columns}."
            )
        place = [title.strip().lower() for title in self.header].index(name.strip().lower())
        return [row[place] for row in self.rows]


def _read_table(path: Path) -> _Table:
    """Read a table whose rows all have a field for each column of the first."""
    kind = csv.excel_tab if path.suffix.lower() in (".tsv", ".tab") else csv.excel
    source, own = read_table_source(path), _own_csv()
    reader = own.reader(io.StringIO(source, newline=""), dialect=kind, strict=True)
    rows, lines = [], []
    try:
        header: list[str] = next(reader, [])
        for row in filter(None, reader):
            if len(row) != len(header):
                raise InputError(
                    f"{path}: line {reader.line_num}: has {len(row)} fields; {len(header)} "
                    "were expected. A field with a comma in it stands in quotes."
                )
            rows.append(row)
            lines.append(reader.line_num)
    except own.Error as failure:
        raise InputError(f"{path}: line {reader.line_num}: {failure}.") from None
    if header and not rows:
        raise InputError(f"{path}: holds no row below its header.")
    table = _Table(header=header, rows=rows, lines=lines)
    _check_quotes(path, table, source, kind)
    return table


@cache
def _own_csv() -> ModuleType:
    """Return what csv is written on as a module of our own, whose fields may be of any length.

    The limit of 131,072 characters is the module's, one for all who share it, threads too: lifted
    there, it would be lifted for others as well, and put back while they rely on their own.
    """
    spec = find_spec("_csv")
    assert spec is not None
    assert spec.loader is not None
    own = module_from_spec(spec)
    spec.loader.exec_module(own)
    own.field_size_limit(_LONGEST)
    return own


def _check_quotes(path: Path, table: _Table, source: str, kind: type[csv.Dialect]) -> None:
    """Refuse a table in which quotes mean something else than csv takes them for."""
    odd = False
    for row, line in zip([table.header, *table.rows], [1, *table.lines], strict=True):
        if kind is csv.excel_tab and any("\t" in field and "\n" in field for field in row):
            raise InputError(
                f"{path}: line {line}: a field that ends here spans lines and has a tab in it: its "
                "first quote was taken for the start of it. Double the quotes in a text and put it "
                "in quotes, or save the table as .csv."
            )
        odd = odd or any(_BLANK_QUOTE.match(field) for field in row)
    if not odd:
        return
    # Either such a field stands in quotes as a whole, and is read in the same way where blanks
    # before quotes are passed over, or its quotes were taken for text.
    again = _own_csv().reader(io.StringIO(source, newline=""), dialect=kind, skipinitialspace=True)
    for row, other in zip([table.header, *table.rows], filter(None, again), strict=False):
        if [field.strip() for field in row] != [field.strip() for field in other]:
            raise InputError(
                f"{path}: line {again.line_num}: a field begins with a blank and a quote, so the "
                "quote would be a part of it; take the blanks before quotes out."
            )


def _read_column(path: Path, name: str | None) -> list[str]:
    """Read the texts of a column, the one that is called text where none is named."""
    table = _read_table(path)
    if name is None and (not table.count(_TEXT) or table.count(_PAIR)):
        raise InputError(
            f"{path}: line 1: the columns are {table.columns}; name the one that holds the texts "
            "(column=)."
        )
    found = [text.strip() for text in table.column(path, _TEXT if name is None else name)]
    if not any(found):
        raise InputError(f"{path}: holds no text in that column.")
    return [text for text in found if text]


def _stripped_lines(path: Path) -> list[str]:
    """Return the lines of a file without blanks around them."""
    lines = decode_lines(io.BytesIO(read_source(path)), where=str(path), error=InputError)
    return [line.strip() for line in lines]
