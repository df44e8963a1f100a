"""Targets of fuzz.py: the files that the texts of a corpus are read from."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fuzz_json import edited
from fuzz_target import Difference, Target, refused

from numpy_bert.corpora.sources import BadRecord, Record, open_source

__all__ = ["TARGETS"]

PACKED: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
TEXTS = (
    *("a", "a, b", 'say "hi"', "two\nlines", " ", "", "\t", '"', " x ", "\u00e9 \u2028", "x\ty"),
    *("a\rb", "'", "\ufeff", "1", "null", "\x1b[31m", "text", "x" * 200, ' "x" y', "\x85", "\x1c"),
)
VALUES: tuple[Any, ...] = (
    *TEXTS,
    *(None, True, 1, 1.5, [], ["a"], {}, {"text": "a"}, "\ud800", float("nan")),
)
# What is put into a file to spoil it: quotes and ends of lines, and what is no text.
PIECES = (
    *(
        b'"',
        b'"',
        b'""',
        b"\n",
        b"\r",
        b"\r\n",
        b",",
        b"\t",
        b' "',
        b"\n\n",
        b"\n\n\n",
        b"\\",
        b"{",
    ),
    *(b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\0", b"x" * 300, b'"a","b"\n', b"text,", b"9"),
)


def read(path: Path, form: str | None = None) -> list[Record | BadRecord]:
    """Return the records of a file."""
    with open_source(str(path), form=form) as source:
        found = list(source)
        if source.size is not None and source.position != source.size:
            raise Difference(f"{source.position} of {source.size} have been read at the end")
    return found


def made(kind: str, rng: random.Random) -> bytes:
    """Return a file without fault."""
    texts = [rng.choice(TEXTS) for _ in range(rng.randint(0, 6))]
    end = rng.choice(("\n", "\n", "\r\n"))
    mark = rng.choice(("", "", "\ufeff"))
    if kind == "txt":
        return (mark + "".join(f"{text}{end}" for text in texts)).encode()
    if kind == "jsonl":
        odd = (rng.choice(VALUES) for _ in range(rng.choice((0, 1, 2))))
        values = [*texts, *({"id": 1, "text": text} for text in (*texts, *odd))]
        rng.shuffle(values)
        return (mark + "".join(f"{json.dumps(value)}{end}" for value in values)).encode()
    stream = io.StringIO(newline="")
    csv.writer(
        stream,
        delimiter="," if kind == "csv" else "\t",
        quoting=rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)),
        lineterminator=end,
    ).writerows([["id", "text"], *([number, text] for number, text in enumerate(texts))])
    return (mark + stream.getvalue()).encode()


def attempt_records(folder: Path, rng: random.Random) -> bool:
    """Spoil a file of lines or a table, plain or compressed; texts are those of csv and json."""
    kind, end = rng.choice(("txt", "jsonl", "csv", "csv", "tsv")), rng.choice(["", "", "", *PACKED])
    data = made(kind, rng)
    if rng.random() < 0.6:
        data = edited(data, rng, PIECES, most=2)
    packed = PACKED[end](data)
    if end and rng.random() < 0.3:
        packed = edited(packed, rng, most=1)
    (path := folder / f"a.{kind}{end}").write_bytes(packed)
    found: list[Record | BadRecord] = []
    if refused(lambda: found.extend(read(path)), naming=str(path)):
        return False
    if packed != PACKED[end](data):
        return True  # what came out of the spoilt is anything
    for record in found:
        if isinstance(record, BadRecord) and not (record.why.isprintable() and record.why):
            raise Difference(f"{data!r}: what is wrong cannot be printed: {record.why!r}")
    lines = io.BytesIO(data.removeprefix(b"\xef\xbb\xbf")).readlines()
    if kind in ("csv", "tsv"):
        check_table(found, [line.decode("utf-8", "backslashreplace") for line in lines], kind)
        return True
    wanted = {n: line_text(line, kind) for n, line in enumerate(lines, 1)}
    ours = {record.number: getattr(record, "text", None) for record in found}
    theirs = {n: text for n, text in wanted.items() if text != ()}
    if ours != theirs:
        raise Difference(f"{kind}: {data!r} is read as {ours}, and not {theirs}")
    return True


def line_text(line: bytes, kind: str) -> str | tuple[()] | None:
    """Return the text of a line, None if there is none in it, () if it is passed over."""
    try:
        text = line.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        return None
    if "\0" in text:
        return None
    if kind == "txt":
        return text
    if not text.strip():
        return ()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    value = value.get("text") if isinstance(value, dict) else value
    is_text = isinstance(value, str) and value == value.encode("utf-8", "replace").decode()
    return value if is_text else None


def check_table(found: list[Record | BadRecord], lines: list[str], kind: str) -> None:
    """Raise Difference unless each record is what csv reads from its line on, and none is lost."""
    dialect = csv.excel if kind == "csv" else csv.excel_tab
    header, at = row_at(lines, 0, dialect)
    while not header:
        header, at = row_at(lines, at, dialect)
    place = [name.strip().lower() for name in header].index("text")
    bad = False
    for record in found:
        between = lines[at : record.number - 1]
        if record.number <= at or (not bad and any(line.strip("\r\n") for line in between)):
            raise Difference(f"{lines}: lines {at + 1} to {record.number} are wrong in {found}")
        bad, at = isinstance(record, BadRecord), record.number
        if isinstance(record, Record):
            fields, at = row_at(lines, at - 1, dialect)
            if len(fields) != len(header) or fields[place] != record.text:
                raise Difference(f"{lines}: {record} is {fields} for csv")
    if not bad and any(line.strip("\r\n") for line in lines[at:]):
        raise Difference(f"{lines}: the last lines are lost in {found}")


def row_at(lines: list[str], at: int, dialect: type[csv.Dialect]) -> tuple[list[str], int]:
    """Return the row that begins at a line, and where the next one does."""
    reader = csv.reader(iter(lines[at:]), dialect=dialect)
    fields = next(reader)
    return fields, at + reader.line_num


def attempt_parquet(folder: Path, rng: random.Random) -> bool:
    """Spoil a Parquet file; its records are what pyarrow reads."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    values = [rng.choice((*TEXTS, None)) for _ in range(rng.choice((0, 1, 5, 200)))]
    kind = rng.choice((pa.string(), pa.large_string(), pa.string_view(), pa.int64()))
    column = pa.nulls(len(values), kind) if kind == pa.int64() else pa.array(values, kind)
    if rng.random() < 0.3 and kind != pa.string_view():
        column = column.dictionary_encode()
    path = folder / "a.parquet"
    names = rng.choice((["text", "id"], ["Text ", "text_pair"], ["id", "label"]))
    pq.write_table(
        pa.table([column, list(range(len(values)))], names=names),
        path,
        row_group_size=rng.choice((1, 50, 1000)),
        compression=rng.choice(("none", "snappy", "zstd")),
        use_dictionary=rng.random() < 0.5,
    )
    if rng.random() < 0.4:
        path.write_bytes(edited(path.read_bytes(), rng, most=2))
    found: list[Record | BadRecord] = []
    if refused(lambda: found.extend(read(path)), naming=str(path)):
        return False
    with pq.ParquetFile(path) as file:
        theirs = file.read(columns=[names[0]]).column(0).cast(pa.large_binary()).to_pylist()
    ours = [None if isinstance(record, BadRecord) else record.text for record in found]
    if ours != [as_text(value) for value in theirs]:
        raise Difference(f"{ours} and not {theirs}")
    if [record.number for record in found] != list(range(1, len(theirs) + 1)):
        raise Difference(f"the rows of {found} are not numbered from 1")
    return True


def as_text(value: bytes | None) -> str | None:
    """Return a value as text, None if it is none."""
    try:
        return None if value is None else value.decode("utf-8")
    except UnicodeDecodeError:
        return None


TARGETS = [
    Target("records", "Python's csv and json", lambda folder: folder, attempt_records),
    Target("parquet", "pyarrow", lambda folder: folder, attempt_parquet, "pyarrow", 2),
]
