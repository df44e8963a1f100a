"""What is trained on, read from files: texts a line, or a table with labels."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

from numpy_bert.errors import InputError
from numpy_bert.files import listed, quoted, read_bytes

__all__ = [
    "LabelledRows",
    "ScoredPairs",
    "label_numbers",
    "read_documents",
    "read_labelled",
    "read_scored",
    "read_texts",
]

# Nobody trains on more with this package, and what is larger is somebody's mistake.
_LARGEST = 2_000_000_000
_LEAST_DOCUMENTS = _LEAST_SCORES = 2
_COLUMNS = ("text", "text_pair", "label")


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


def read_texts(path: Path) -> list[str]:
    """Read a text from each line of a UTF-8 file; empty lines are passed over.

    Raises
    ------
    InputError
        Naming the file, and the line that is not UTF-8; or if no line holds a text.
    """
    found = [line.strip() for line in _text_of(path).splitlines() if line.strip()]
    if not found:
        raise InputError(f"{path}: holds no text; a text a line was expected.")
    return found


def read_documents(path: Path) -> list[list[str]]:
    """Read documents: a sentence a line, an empty line after each document but the last.

    Raises
    ------
    InputError
        Naming the file, and the line that is not UTF-8; or if there are not two documents.

    References
    ----------
    .. [1] google-research/bert, README, "Pre-training with BERT".
    """
    found: list[list[str]] = [[]]
    for line in map(str.strip, _text_of(path).splitlines()):
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
        try:
            scores.append(float(label))
        except ValueError:
            scores.append(math.nan)
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


def read_labelled(path: Path) -> LabelledRows:
    """Read a table of texts and labels: CSV, or tab-separated where the name ends in .tsv.

    Its first row names the columns: text, label, and for pairs text_pair. Others are passed over.

    Raises
    ------
    InputError
        Naming the file, the line, and what was expected there.
    """
    kind = "excel-tab" if path.suffix == ".tsv" else "excel"
    reader = csv.reader(io.StringIO(_text_of(path), newline=""), dialect=kind, strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if "text" not in header or "label" not in header:
            raise InputError(
                f"{path}: line 1: the columns are {listed(header) or 'none'}; text and label (and "
                "text_pair for pairs) were expected."
            )
        places = [header.index(name) for name in _COLUMNS if name in header]
        rows = []
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise InputError(
                    f"{path}: line {reader.line_num}: has {len(row)} fields; {len(header)} were "
                    "expected. A field with a comma in it stands in quotes."
                )
            rows.append([row[place] for place in places])
            if not rows[-1][-1].strip():
                raise InputError(f"{path}: line {reader.line_num}: has no label.")
    except csv.Error as failure:
        raise InputError(f"{path}: line {reader.line_num}: {failure}.") from None
    if not rows:
        raise InputError(f"{path}: holds no row below its header.")
    labels = [row[-1].strip() for row in rows]
    if "text_pair" in header:
        return LabelledRows(texts=[(row[0], row[1]) for row in rows], labels=labels)
    return LabelledRows(texts=[row[0] for row in rows], labels=labels)


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


def _text_of(path: Path) -> str:
    """Return a file as text."""
    data = read_bytes(path, error=InputError, limit=_LARGEST)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        line = data[: failure.start].count(b"\n") + 1
        raise InputError(
            f"{path}: line {line} is not UTF-8 (byte {failure.start}, "
            f"0x{data[failure.start]:02x}); convert the file, or mend the line."
        ) from None
