"""numpy_bert.corpora.parquet: a column of a Parquet file as records."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from numpy_bert import InputError
from numpy_bert.corpora.sources import BadRecord, Record, open_source

VALUES = ["one", None, "", "caf\u00e9"]
RECORDS = [Record(1, "one"), BadRecord(2, "is null", "null"), Record(3, ""), Record(4, "caf\u00e9")]


def read(path: Path, column: str | None = None) -> list[object]:
    with open_source(str(path), column=column) as source:
        return list(source)


def written(tmp_path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", **options)
    return tmp_path / "a.parquet"


def not_utf8() -> pa.Array:
    data = pa.array([b"ok", b"x\xff", b"c"], pa.binary())
    return pa.StringArray.from_buffers(3, *data.buffers()[1:])


@pytest.mark.parametrize(
    "column",
    [
        pa.array(VALUES),
        pa.array(VALUES, pa.large_string()),
        pa.array(VALUES, pa.string_view()),
        pa.array(VALUES).dictionary_encode(),
        pa.chunked_array([VALUES[:1], VALUES[1:]]),
    ],
    ids=lambda column: str(column.type),
)
def test_strings_of_every_type_are_read(column: pa.Array, tmp_path: Path) -> None:
    path = written(tmp_path, {"id": [1, 2, 3, 4], "text": column}, row_group_size=3)
    with open_source(str(path)) as source:
        assert (source.where, source.unit, source.size) == (str(path), "row", 4)
        assert list(source) == RECORDS
        assert source.position == 4


def test_a_column_is_found_by_its_name(tmp_path: Path) -> None:
    path = written(tmp_path, {"text": ["a"], "Body": ["b"], "n": [1], "text.x": ["c"]})
    assert read(path, " body") == [Record(1, "b")]
    assert read(path, "text.x") == [Record(1, "c")]
    with pytest.raises(InputError, match=f"^{path}: has no column no; the columns are text, Body"):
        read(path, "no")
    with pytest.raises(InputError, match="the column n must be of strings; it is of int64"):
        read(path, "n")
    path = written(tmp_path, {"text": ["a"], "Text": ["b"]})
    with pytest.raises(InputError, match="has more than one column text"):
        read(path)


def test_a_value_that_is_not_utf8_is_bad(tmp_path: Path) -> None:
    bad = BadRecord(2, "is not UTF-8 (byte 1, 0xff)", r"x\xff")
    path = written(tmp_path, {"text": not_utf8()})
    assert read(path) == [Record(1, "ok"), bad, Record(3, "c")]


@pytest.mark.parametrize("keep", [0, 6, 40, -9, None])
def test_what_is_no_parquet_or_damaged_is_an_error(keep: int | None, tmp_path: Path) -> None:
    path = written(tmp_path, {"text": [str(number) for number in range(50)]})
    data = path.read_bytes()
    path.write_bytes(data[:keep] if keep is not None else data[:30] + b"\xff" * 40 + data[70:])
    with pytest.raises(InputError, match=f"^{path}: cannot be read as Parquet"):
        read(path)


def test_other_names_and_forms(tmp_path: Path) -> None:
    path = written(tmp_path, {"text": ["a"]})
    other = path.rename(tmp_path / "a.data")
    with open_source(str(other), form="parquet") as source:
        assert list(source) == [Record(1, "a")]
    with pytest.raises(InputError, match="does not exist"):
        read(path)
    path = path.rename(tmp_path / "a.parquet.gz") if path.exists() else tmp_path / "a.parquet.gz"
    with pytest.raises(InputError, match="Parquet is read from a file of its own"):
        read(path)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    texts = ["word " * 500] * 4_000
    path = written(tmp_path, {"text": texts}, row_group_size=1_000, use_dictionary=False)
    read(path)  # what is imported, and made once
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    with open_source(str(path)) as source:
        held = 0
        for _ in source:
            held = max(held, pa.total_allocated_bytes() - before)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6_000_000
    assert held < 7_000_000 < sum(map(len, texts))
