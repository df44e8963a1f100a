"""Where the texts of a corpus come from: files and standard input, read a record at a time."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from numpy_bert.corpora.records import (
    COLUMN,
    LONGEST_LINE,
    BadRecord,
    Record,
    read_json_lines,
    read_lines,
    read_table,
)
from numpy_bert.errors import InputError
from numpy_bert.files import check_pointer, file_size
from numpy_bert.messages import must_be, named, quoted
from numpy_bert.tables import other_kind

__all__ = ["FORMS", "BadRecord", "Record", "Source", "open_source"]

# The kinds of files, and how their names end; what ends in another way is text.
FORMS = {
    "text": (".txt",),
    "csv": (".csv",),
    "tsv": (".tsv", ".tab"),
    "jsonl": (".jsonl", ".ndjson"),
    "parquet": (".parquet", ".pq"),
}
_COMPRESSED = (".gz", ".bz2", ".xz")
_STANDARD_INPUT = "standard input"
# How much is read from a file at a time, and how much of its start shows what kind of file it is.
_BUFFER, _START = 1 << 15, 1024


class Source:
    """An open corpus, whose records come once, in order, when it is iterated over.

    Attributes
    ----------
    where : str
        The file's path, or "standard input".
    unit : str
        What the numbers of records count: "line" or "row".
    size : int or None
        How long the corpus is: a file's bytes, Parquet's rows; None where nobody can know.
    """

    def __init__(
        self,
        records: Iterator[Record | BadRecord],
        *,
        where: str,
        size: int | None,
        position: Callable[[], int],
        unit: str = "line",
    ) -> None:
        self.where, self.unit, self.size = where, unit, size
        self._records, self._position = records, position

    @property
    def position(self) -> int:
        """How much of `size` has been read, a little ahead of the records."""
        return self._position()

    def __iter__(self) -> Iterator[Record | BadRecord]:
        return self._records

    def __repr__(self) -> str:
        return f"Source({self.where!r}, {self.unit}s, {self.position} of {self.size} read)"


@contextmanager
def open_source(
    name: str | Path, *, column: str | None = None, form: str | None = None
) -> Iterator[Source]:
    r"""Open a corpus: a text a line, a column of a table or of Parquet, or JSON lines.

    Only what is read next is in memory. A record that is no text is a `BadRecord`, and reading goes
    on behind it; what is wrong with the whole of a file is an error. A line ends with ``\n`` or
    ``\r\n``. Of a text file an empty line is an empty text, of all others it is passed over.

    Parameters
    ----------
    name : str or Path
        The file; "-" is standard input. What ends with .gz, .bz2 or .xz behind the rest of its name
        is read through that.
    column : str, optional
        The column of a table, whose case does not count, or the member of each object of JSON
        lines; "text" by default. A JSON line that is a string is a text itself.
    form : {"text", "csv", "tsv", "jsonl", "parquet"}, optional
        What kind of file it is; by default the end of its name says it, and whatever ends in no
        such way is text.

    Yields
    ------
    Source
        The corpus.

    Raises
    ------
    InputError
        If there is no such file or column, it is of another kind, or it is damaged; some of it
        when iterated over.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "corpus.csv")
    ...     _ = path.write_bytes(b'id,text\n1,"a, b"\n2\n3,c\n')
    ...     with open_source(path) as source:
    ...         for record in source:
    ...             print(record)
    Record(number=2, text='a, b')
    BadRecord(number=3, why='must have 2 fields; it has 1', raw='2')
    Record(number=4, text='c')
    """
    name = str(name)
    if form is not None and form not in FORMS:
        raise InputError(must_be("form", f"one of {', '.join(FORMS)}", form))
    wanted = COLUMN if column is None else column
    kind, packing = (form or "text", "") if name == "-" else _kind_of(Path(name), form)
    if column is not None and kind == "text":
        raise InputError(
            f"{_named(name)}: must be a table, JSON lines or Parquet to have a column "
            f"{quoted(column)}; it is read as text. Leave the column out, or say the form."
        )
    if kind == "parquet":
        from numpy_bert.corpora.parquet import open_parquet

        if name == "-" or packing:
            raise InputError(f"{_named(name)}: Parquet is read from a file of its own; name it.")
        with open_parquet(Path(name), wanted) as (records, rows, position):
            yield Source(records, where=name, size=rows, position=position, unit="row")
        return
    with ExitStack() as stack:
        size = None if name == "-" else file_size(Path(name), error=InputError)
        counted = _Counted(_standard_input() if name == "-" else _opened(name, stack))
        stream = _unpacked(io.BufferedReader(counted, _BUFFER), packing)
        lines = _lines(stream, name)
        _check_start(stream, name)
        records = _records(lines, kind, _named(name), wanted)
        where = _STANDARD_INPUT if name == "-" else name
        yield Source(records, where=where, size=size, position=counted.tell)


class _Counted(io.RawIOBase):
    """A stream of bytes that knows how many of them were read; the stream is not closed with it."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._count = stream, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        read = getattr(self._stream, "readinto1", None) or self._stream.readinto
        count: int | None = read(buffer)
        self._count += count or 0
        return count

    def tell(self) -> int:
        return self._count


def _kind_of(path: Path, form: str | None) -> tuple[str, str]:
    """Return what kind of file a path's name says it is, and through what it is read."""
    suffix, packing = path.suffix.lower(), ""
    if suffix in _COMPRESSED:
        suffix, packing = Path(path.stem).suffix.lower(), suffix
    if form is not None:
        return form, packing
    for kind, suffixes in FORMS.items():
        if suffix in suffixes:
            return kind, packing
    what = other_kind(suffix, b"")
    if what:
        raise _other(named(path), what)
    return "text", packing


def _named(name: str) -> str:
    """Return what messages call a corpus."""
    return _STANDARD_INPUT if name == "-" else named(name)


def _other(where: str, what: str) -> InputError:
    """Return the error that says what a file is instead of a corpus."""
    return InputError(
        f"{where}: must be a text a line in UTF-8, a table (.csv, .tsv), JSON lines (.jsonl) or "
        f"Parquet (.parquet); it is {what}. Save the texts as one of these; what "
        "is compressed has a name such as a.txt.gz, .bz2 or .xz."
    )


def _standard_input() -> Any:
    """Return standard input as bytes."""
    if sys.stdin is None or sys.stdin.closed:
        raise InputError(f"{_STANDARD_INPUT}: is closed; name a file.")
    stream = getattr(sys.stdin, "buffer", None)
    # Another program's may hold text.
    return io.BytesIO(sys.stdin.read().encode()) if stream is None else stream


def _opened(name: str, stack: ExitStack) -> Any:
    """Open a file, to be closed with the stack."""
    try:
        return stack.enter_context(Path(name).open("rb", buffering=0))
    except OSError as failure:
        raise InputError(f"{named(name)}: cannot be read ({failure.strerror}).") from None


def _unpacked(stream: io.BufferedReader, packing: str) -> BinaryIO:
    """Return the stream of what is compressed in another."""
    if packing == ".gz":
        return cast("BinaryIO", gzip.GzipFile(fileobj=stream))
    if packing == ".bz2":
        return cast("BinaryIO", bz2.BZ2File(stream))
    return cast("BinaryIO", lzma.LZMAFile(stream)) if packing else stream


def _read(read: Callable[[], bytes], name: str) -> bytes:
    """Read; raise InputError where the system, or what is compressed, does not let us."""
    try:
        return read()
    except OSError as failure:
        if failure.strerror is None:  # gzip's and bz2's own
            raise _damaged(name, failure) from None
        raise InputError(f"{_named(name)}: cannot be read ({failure.strerror}).") from None
    except (EOFError, zlib.error, lzma.LZMAError) as failure:
        raise _damaged(name, failure) from None


def _damaged(name: str, failure: Exception) -> InputError:
    """Return the error of a compressed file that is broken."""
    return InputError(
        f"{_named(name)}: is damaged, or not all of it is there ({quoted(str(failure))}). Get it "
        "again."
    )


def _lines(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """Yield lines with their ends; of one that is too long a beginning that is too long, too."""
    most = LONGEST_LINE + 2  # with the longest end
    while line := _read(lambda: stream.readline(most), name):
        yield line
        while len(line) == most and not line.endswith(b"\n"):
            line = _read(lambda: stream.readline(most), name)


def _check_start(stream: Any, name: str) -> None:
    """Refuse what its first bytes say is neither text nor a table."""
    start = _read(lambda: stream.peek(_START), name)[:_START]
    what = other_kind("", start)
    if not what and b"\0" in start:
        what = "binary, or text in UTF-16"
    if what:
        raise _other(_named(name), what)
    check_pointer(start, where=_named(name), error=InputError)


def _records(
    lines: Iterator[bytes], kind: str, where: str, column: str
) -> Iterator[Record | BadRecord]:
    """Return the records of what is made of lines."""
    if kind == "text":
        return read_lines(lines, where)
    if kind == "jsonl":
        return read_json_lines(lines, where, column)
    return read_table(lines, where, column, tabs=kind == "tsv")
