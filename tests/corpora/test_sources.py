"""numpy_bert.corpora.sources: lines, tables and JSON lines as records, good and bad."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from numpy_bert import InputError
from numpy_bert.corpora import records
from numpy_bert.corpora.sources import BadRecord, Record, open_source
from tests.support.platforms import posix


def read(path: Path | str, column: str | None = None, form: str | None = None) -> list[object]:
    with open_source(path, column=column, form=form) as source:
        return list(source)


def written(tmp_path: Path, data: bytes, name: str) -> Path:
    (tmp_path / name).write_bytes(data)
    return tmp_path / name


def test_a_line_is_a_text(tmp_path: Path) -> None:
    data = "\ufeffone\r\n\n two\u2028\x85 \nlast".encode()
    path = written(tmp_path, data, "a.txt")
    with open_source(str(path)) as source:
        assert (source.where, source.unit, source.size) == (str(path), "line", len(data))
        assert list(source) == [
            Record(1, "one"),
            Record(2, ""),
            Record(3, " two\u2028\x85 "),
            Record(4, "last"),
        ]
        assert source.position == source.size
    assert read(written(tmp_path, b"", "b.txt")) == []
    assert read(written(tmp_path, b"a\n", "no_end")) == [Record(1, "a")]


def test_bad_lines_are_passed(tmp_path: Path) -> None:
    long = b"y" * 2000
    path = written(tmp_path, b"ok\ntw\xff\xfe\nthree\n" + long + b"\n\0\nlast\n", "a.txt")
    assert read(path) == [
        Record(1, "ok"),
        BadRecord(2, "is not UTF-8 (byte 2, 0xff)", r"tw\xff\xfe"),
        Record(3, "three"),
        Record(4, long.decode()),
        BadRecord(5, "has a NUL byte (character 0)", "\0"),
        Record(6, "last"),
    ]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
def test_a_long_line_is_bad_and_the_next_is_read(
    name: str, end: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from numpy_bert.corpora import sources

    for module in (records, sources):
        monkeypatch.setattr(module, "LONGEST_LINE", 10)
    next_line = {"a.txt": b"more", "a.jsonl": b'"more"', "a.csv": b"more"}[name]
    for count in (8, 9, 10, 11, 12, 13, 25, 100):
        line = b'"' + b"x" * (count - 2) + b'"'
        head = b"text\n" if name == "a.csv" else b""
        data = head + line + end + (next_line + b"\n" if end else b"")
        found = read(written(tmp_path, data, name))
        if count <= 10:
            text = line.decode() if name == "a.txt" else "x" * (count - 2)
            assert found[0] == Record(1 + bool(head), text)
        else:
            assert isinstance(found[0], BadRecord)
            assert found[0].why == "has more than 10 bytes"
            assert line.decode().startswith(found[0].raw[:10])
        assert found[1:] == ([Record(2 + bool(head), "more")] if end else [])


def test_what_ends_a_long_line_is_not_a_cr_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from numpy_bert.corpora import sources

    for module in (records, sources):
        monkeypatch.setattr(module, "LONGEST_LINE", 10)
    found = read(written(tmp_path, b"a\n" + b"x" * 10 + b"\rmore\nb\n", "a.txt"))
    bad = BadRecord(2, "has more than 10 bytes", "x" * 10 + "\rm")
    assert found == [Record(1, "a"), bad, Record(3, "b")]


def test_json_lines(tmp_path: Path) -> None:
    lines = [
        b'{"text": "one\\n\\u00e9", "id": 1}',
        b' \t"alone" ',
        b"",
        b"  ",
        b'{"Text": "a", "id": 1}',
        b'{"text": null}',
        b'{"text": ["a"]}',
        b"[1]",
        b"{'text': 1}",
        b'{"text": "\\ud800"}',
        b'{"text": "\xff"}',
        b"[" * 100_000,
        b"9" * 5000,
        b'{"text": "last"}',
    ]
    found = read(written(tmp_path, b"\xef\xbb\xbf" + b"\n".join(lines), "a.jsonl"))
    assert found[:2] == [Record(1, "one\n\u00e9"), Record(2, "alone")]
    assert found[-1] == Record(14, "last")
    bad = [(record.number, record.why) for record in found[2:-1] if isinstance(record, BadRecord)]
    assert bad == [
        (5, "has no member text; it has Text, id"),
        (6, "must have a string as text; it has null"),
        (7, "must have a string as text; it has ['a']"),
        (8, "must be an object or a string; it is [1]"),
        (
            9,
            "is not JSON (Expecting property name enclosed in double quotes: character 1)",
        ),
        (10, "has half of a surrogate pair (character 0, U+D800)"),
        (11, "is not UTF-8 (byte 10, 0xff)"),
        (12, "is nested too deeply"),
        (13, "has a number that is too long"),
    ]
    raws = [record.raw for record in found if isinstance(record, BadRecord)]
    assert raws[5:7] == [r'{"text": "\ud800"}', r'{"text": "\xff"}']
    assert len(raws[7]) == 100_000
    path = written(tmp_path, b'{"body": "b", "text": "a"}\n', "b.ndjson")
    assert read(path, column="body") == [Record(1, "b")]
    assert read(written(tmp_path, b'"x"\n', "c.txt"), form="jsonl") == [Record(1, "x")]


def test_the_column_of_a_table(tmp_path: Path) -> None:
    data = (
        b'\xef\xbb\xbfid, Text \r\n1,"a, ""b"""\r\n\r\n2,"two\r\nlines"\r\n3,\r\n4\r\n5,e\xff\r\n'
    )
    data += b"6,f"
    assert read(written(tmp_path, data, "a.csv")) == [
        Record(2, 'a, "b"'),
        Record(4, "two\r\nlines"),
        Record(6, ""),
        BadRecord(7, "must have 2 fields; it has 1", "4"),
        BadRecord(8, "is not UTF-8 (byte 3, 0xff)", r"5,e\xff"),
        Record(9, "f"),
    ]
    path = written(tmp_path, b"text\tBody\nx\ty z\n", "a.tab")
    assert read(path, column="body") == [Record(2, "y z")]
    assert read(written(tmp_path, b"a,text\nx,y\n", "a.data"), form="csv") == [Record(2, "y")]


@pytest.mark.parametrize(
    ("name", "data", "column", "message"),
    [
        ("a.csv", b"a,b\n1,2\n", None, "line 1: has no column text; the columns are a, b"),
        ("a.csv", b"\n\na,b\n1,2\n", "c", "line 3: has no column c; the columns are a, b"),
        ("a.csv", b"text,TEXT\n1,2\n", None, "line 1: has more than one column text"),
        ("a.csv", b"", None, "must begin with the names of its columns; it is empty"),
        ("a.csv", b'"a\nb,c\n', None, "line 1: opens a quote that does not end"),
        ("a.txt", b"a\n", "text", "must be a table, JSON lines or Parquet to have a column text"),
        ("a.txt", b"a\rb\r", None, "its lines end with CR alone"),
        ("a.csv", b"text\ra\rb\r", None, "its lines end with CR alone"),
        ("a.json", b"[]", None, "it is JSON"),
        ("a.docx", b"x", None, "it is a document"),
        ("a.tar.gz", b"x", None, "it is compressed"),
        ("a.txt", b"PAR1x", None, r"it is a table in binary \(Parquet\)"),
        ("a.txt", gzip.compress(b"a"), None, r"it is compressed \(gzip\)"),
        ("a.txt.gz", gzip.compress(gzip.compress(b"a")), None, r"it is compressed \(gzip\)"),
        ("a.txt", "one\n".encode("utf-16"), None, "it is text in UTF-16"),
        ("a.txt", "one\n".encode("utf-16-le"), None, "it is binary, or text in UTF-16"),
        ("a.txt", b"version https://git-lfs.github.com/spec/v1\n", None, "Git LFS pointer"),
    ],
)
def test_what_is_wrong_with_a_file_is_an_error(
    name: str, data: bytes, column: str | None, message: str, tmp_path: Path
) -> None:
    path = written(tmp_path, data, name)
    with pytest.raises(InputError, match=f"^{path}: .*{message}"):
        read(path, column=column)


def test_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    for path, message in ((tmp_path, "is a folder"), (tmp_path / "no.txt", "does not exist")):
        with pytest.raises(InputError, match=message):
            read(path)
    with pytest.raises(InputError, match=r"form must be one of text, csv, .*; got 'xml'"):
        read(tmp_path, form="xml")


@posix
def test_a_pipe_is_not_opened_by_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is not a regular file"):
        read(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("end", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_what_is_compressed_is_read(
    end: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    plain = b"".join(b'{"text": "%d"}\n' % number for number in range(3000))
    packed = pack(plain[:2000]) + pack(plain[2000:])
    path = written(tmp_path, packed, f"a.jsonl{end}")
    with open_source(str(path)) as source:
        assert [record.text for record in source if isinstance(record, Record)] == [
            str(number) for number in range(3000)
        ]
        assert source.position == source.size == len(packed)
    found: list[object] = []
    for broken in (packed[:-20], packed[:60] + b"\0\0\0\0" + packed[64:], b"none of it"):
        path = written(tmp_path, broken, f"b.jsonl{end}")
        with (
            pytest.raises(InputError, match=r"b\.jsonl.*: is damaged, or not all of it is there"),
            open_source(str(path)) as source,
        ):
            found += source


def test_standard_input_is_read(
    typed: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(b"one\ntwo\xff\n")
    with open_source("-") as source:
        assert (source.where, source.unit, source.size) == ("standard input", "line", None)
        assert list(source) == [
            Record(1, "one"),
            BadRecord(2, "is not UTF-8 (byte 3, 0xff)", r"two\xff"),
        ]
        assert source.position == 9
    typed(b"id,body\n1,x\n")
    assert read("-", column="body", form="csv") == [Record(2, "x")]
    typed(b"id,body\n1,x\n")
    with pytest.raises(InputError, match=r"^standard input: line 1: has no column text"):
        read("-", form="csv")
    with pytest.raises(InputError, match=r"^standard input: Parquet is read from a file"):
        read("-", form="parquet")
    monkeypatch.setattr("sys.stdin", io.StringIO("held as text\n"))
    assert read("-") == [Record(1, "held as text")]
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(InputError, match="standard input: is closed"):
        read("-")


@posix
def test_a_pipe_gives_what_has_come_and_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    out, into = os.pipe()
    with os.fdopen(out, "rb") as stream, os.fdopen(into, "wb", buffering=0) as pipe:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(stream))
        pipe.write(b"one\ntw")
        with open_source("-") as source:
            lines = iter(source)
            assert next(lines) == Record(1, "one")
            pipe.write(b"o\n")
            assert next(lines) == Record(2, "two")
        assert not stream.closed


def test_an_error_of_the_reader_of_records_is_its_own(tmp_path: Path) -> None:
    path = written(tmp_path, b"one\ntwo\n", "a.txt")
    mine = OSError("mine")
    with pytest.raises(OSError, match=r"^mine$"), open_source(str(path)):
        raise mine


def test_a_text_that_no_encoder_takes_is_bad(tmp_path: Path) -> None:
    path = written(tmp_path, b"a" * 5_000_001 + b"\n" + b"b" * 5_000_000, "a.txt")
    bad, good = read(path)
    assert isinstance(bad, BadRecord)
    assert bad.why == "has 5,000,001 characters; at most 5,000,000 are taken"
    assert len(bad.raw) == 100_000
    assert good == Record(2, "b" * 5_000_000)


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_memory_does_not_grow_with_the_file(name: str, tmp_path: Path) -> None:
    line = b'"' + b"word " * 500 + b'"\n'
    path = written(tmp_path, b'"text"\n' + line * 2_000, name)
    tracemalloc.start()
    with open_source(str(path)) as source:
        assert sum(isinstance(record, Record) for record in source) >= 2_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000 < path.stat().st_size


def test_a_line_without_end_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from numpy_bert.corpora import sources

    for module in (records, sources):
        monkeypatch.setattr(module, "LONGEST_LINE", 100_000)
    path = written(tmp_path, b"x" * 20_000_000 + b"\nnext\n", "a.txt")
    tracemalloc.start()
    found = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found[1] == Record(2, "next")
    assert peak < 2_000_000


def test_a_column_may_have_an_empty_name(tmp_path: Path) -> None:
    path = written(tmp_path, b",text\n0,one\n1,two\n", "a.csv")
    assert read(path, "") == [Record(2, "0"), Record(3, "1")]
    path = written(tmp_path, b'{"": "one", "text": "two"}\n', "a.jsonl")
    assert read(path, "") == [Record(1, "one")]
