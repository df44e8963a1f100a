"""A column of a Parquet file, read a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from numpy_bert.corpora.records import BadRecord, Record, bad_record, checked
from numpy_bert.errors import InputError
from numpy_bert.extras import optional
from numpy_bert.files import file_size, not_utf8
from numpy_bert.messages import named, quoted
from numpy_bert.tables import Columns

__all__ = ["open_parquet"]

# Rows that are read at a time: each text of them may be long.
_ROWS = 64
# What Arrow calls its types of strings.
_STRINGS = ("string", "large_string", "string_view")

Records: TypeAlias = Iterator[Record | BadRecord]


@contextmanager
def open_parquet(path: Path, column: str) -> Iterator[tuple[Records, int, Callable[[], int]]]:
    """Open a column of texts; yield its records, how many rows there are, and how many were read.

    Raises
    ------
    InputError
        If pyarrow is not there, the file is none or is damaged, or it has no such column.
    """
    parquet = optional("pyarrow.parquet", "parquet", "A Parquet file")
    import pyarrow as pa

    where = named(path)
    file_size(path, error=InputError)
    with ExitStack() as stack:
        with _errors(pa, where):
            file = stack.enter_context(parquet.ParquetFile(path))
        name = _name_of(pa, file.schema_arrow, column, where)
        done = [0]

        def records() -> Records:
            batches = file.iter_batches(batch_size=_ROWS, columns=[name], use_threads=False)
            while True:
                with _errors(pa, where):
                    batch = next(batches, None)
                if batch is None:
                    return
                first, done[0] = done[0] + 1, done[0] + len(batch)
                for number, text in enumerate(_texts(batch.column(name)), first):
                    yield _record(number, text)

        yield records(), file.metadata.num_rows, lambda: done[0]


@contextmanager
def _errors(pa: Any, where: str) -> Iterator[None]:
    """Turn what pyarrow says of a file into one error of ours."""
    try:
        yield
    except (pa.ArrowException, OSError) as failure:
        raise InputError(f"{where}: cannot be read as Parquet ({quoted(str(failure))}).") from None


def _name_of(pa: Any, schema: Any, column: str, where: str) -> str:
    """Return the name of a column of texts; raise InputError if it has none of that name."""
    name: str = schema.names[Columns(schema.names, where).place(column)]
    kind = schema.field(name).type
    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    if str(values) not in _STRINGS:
        raise InputError(
            f"{where}: the column {quoted(name)} must be of strings; it is of {quoted(str(kind))}."
        )
    return name


def _texts(array: Any) -> list[str | bytes | None]:
    """Return the values of an array of strings, as bytes those that are not UTF-8."""
    try:
        found: list[str | bytes | None] = array.to_pylist()
    except UnicodeDecodeError:
        return [_text(scalar) for scalar in array]
    return found


def _text(scalar: Any) -> str | bytes | None:
    """Return one value."""
    try:
        text: str | None = scalar.as_py()
    except UnicodeDecodeError:
        value = getattr(scalar, "value", scalar)  # a dictionary's, or itself
        data: bytes = value.as_buffer().to_pybytes()
        return data
    return text


def _record(number: int, text: str | bytes | None) -> Record | BadRecord:
    """Return the record of a value."""
    if isinstance(text, str):
        return checked(number, text)
    if text is None:
        return bad_record(number, "is null", "null")
    try:
        return checked(number, text.decode("utf-8"))
    except UnicodeDecodeError as failure:
        return bad_record(number, not_utf8(failure), text.decode("utf-8", "backslashreplace"))
