"""What is trained on, read from files, and what is wrong with them by line."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import pytest

from numpy_bert import InputError
from numpy_bert.cli.options import read_lines
from numpy_bert.training.targets import label_numbers
from numpy_bert.training.text_files import (
    read_documents,
    read_labelled,
    read_pairs,
    read_scored,
    read_texts,
)


def written(tmp_path: Path, data: bytes, name: str = "data.csv") -> Path:
    (tmp_path / name).write_bytes(data)
    return tmp_path / name


def test_texts_a_line(tmp_path: Path) -> None:
    path = written(tmp_path, "\ufeffone\r\n\n  two \nthree\u2026".encode(), "a.txt")
    assert read_texts(path) == ["one", "two", "three\u2026"]


def test_a_table(tmp_path: Path) -> None:
    path = written(tmp_path, b'id,Label,text\n1,good,"a, b"\n\n2, bad ,"two\nlines"\n')
    rows = read_labelled(path)
    assert (rows.texts, rows.labels) == (["a, b", "two\nlines"], ["good", "bad"])
    pairs = read_labelled(written(tmp_path, b"text\ttext_pair\tlabel\na\tb\t1\n", "a.tsv"))
    assert (pairs.texts, pairs.labels) == ([("a", "b")], ["1"])
    assert label_numbers(["b", "a", "b"], ("a", "b"), "x") == [1, 0, 1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"line 1: there must be columns text and label .*; got none"),
        (
            b"sentence,class\na,b\n",
            r"line 1: there must be columns text .*; got sentence, class\. Rename them there",
        ),
        (b"text,label\n", r"holds no row below its header"),
        (b"text,label\na,b\nc\n", r"line 3: must have 2 fields; it has 1"),
        (
            b"text,label\na,b,c\n",
            r"line 2: must have 2 fields; it has 3\. Put a text with a comma",
        ),
        (b"text,label\na,b\nc, \n", r"line 3: has no label"),
        (b'text,label\n"a,b\n', r"line 2: opens a quote that does not end\. Put"),
        (b"text,label\na,b\nc\xff,d\n", r"line 3 is not UTF-8 \(byte 16, 0xff\)"),
    ],
)
def test_a_bad_table_is_named_by_line(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_labelled(written(tmp_path, data))


def test_bad_texts_and_labels_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must hold a text a line; it holds none"):
        read_texts(written(tmp_path, b"\n \n", "a.txt"))
    with pytest.raises(InputError, match="does not exist"):
        read_texts(tmp_path / "nothing.txt")
    with pytest.raises(InputError, match=r"e\.csv: row 2: label c is none of a, b"):
        label_numbers(["a", "c"], ("a", "b"), "e.csv")


def test_documents_end_with_an_empty_line(tmp_path: Path) -> None:
    path = tmp_path / "books.txt"
    path.write_text("\n\nOne.\r\nTwo. \n\n \n\nThree.\n", "utf-8")
    assert read_documents(path) == [["One.", "Two."], ["Three."]]
    for content, count in (("", "none"), ("One.\nTwo.\n\n", "1")):
        path.write_text(content, "utf-8")
        with pytest.raises(InputError, match=rf"an empty line after each; it holds {count}\."):
            read_documents(path)


def test_googles_own_sample_is_read(data: Path) -> None:
    documents = read_documents(data / "text" / "google_bert_sample_text.txt")
    assert len(documents) == 3
    assert all(documents)


def test_pairs_with_a_score_are_read(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text('text,text_pair,label\n"a, b",c,4.5\nd,e,-1e0\n')
    rows = read_scored(path)
    assert rows.texts == [("a, b", "c"), ("d", "e")]
    assert rows.scores == [4.5, -1.0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,label\na,1\n", "line 1: there must be a column text_pair"),
        ("text,text_pair,label\na,b,1\nc,d,x\n", "row 2: label x must be a number"),
        ("text,text_pair,label\na,b,nan\n", "row 1: label nan must be a number"),
        ("text,text_pair,label\na,b,inf\n", "row 1: label inf must be a number"),
        ("text,text_pair,label\na,b,1_0\n", "row 1: label 1_0 must be a number"),
        ("text,text_pair,label\na,b,\u0663\n", "row 1: label \u0663 must be a number"),
        ("text,text_pair,label\na,b\n", "line 2: must have 3 fields; it has 2"),
    ],
)
def test_pairs_that_have_no_score_are_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(content, "utf-8")
    with pytest.raises(InputError, match=message):
        read_scored(path)


SEPARATORS = "\u2028\u2029\x85\x0c\x0b\x1c\x1d\x1e"


def test_a_text_is_what_encode_calls_a_line(tmp_path: Path) -> None:
    lines = [f"one {mark} two" for mark in SEPARATORS] + ["a\rb"]
    path = written(tmp_path, ("\ufeff" + "\r\n\r\n".join(lines)).encode(), "a.txt")
    assert read_texts(path) == lines
    assert read_texts(path) == [line for line in read_lines(str(path)) if line]
    assert read_documents(path) == [[line] for line in lines]


def test_a_tables_texts_are_those_of_its_column(tmp_path: Path) -> None:
    table = b'\xef\xbb\xbfText,label\n"a ""great"" film, really",1\n"two\nlines",0\n" ",1\n'
    wanted = ['a "great" film, really', "two\nlines"]
    assert read_texts(written(tmp_path, table, "a.CSV")) == wanted
    table = b"id\treview\n1\tgood\n2\tbad\n"
    for name in ("a.tsv", "a.TAB"):
        assert read_texts(written(tmp_path, table, name), " Review") == ["good", "bad"]


@pytest.mark.parametrize(
    ("name", "data", "column", "message"),
    [
        ("a.csv", b"id,review\n1,x\n", None, "the columns are id, review; name the one .*column="),
        ("a.csv", b"review\nx\n", None, "the columns are review; name the one"),
        ("a.csv", b"text;label\nx;1\n", None, "the columns are text;label; name the one"),
        ("a.csv", b"text,text_pair\nx,y\n", None, "the columns are text, text_pair; name the one"),
        ("a.csv", b"text,label\nx,1\n", "body", "has no column body; the columns are text, label"),
        ("a.csv", b"text,Text\nx,1\n", None, "has more than one column text"),
        ("a.csv", b"text\n \n", None, "holds no text in that column"),
        ("a.csv", b"", None, "the columns are none"),
        ("a.txt", b"x\n", "text", r"must be a table \(.csv, .tsv\) to have a column text"),
        ("a.jsonl", b'{"text": "x"}\n', None, "must be a text a line .*; it is JSON"),
        ("a.JSON", b"{}", None, "is JSON"),
        ("a.parquet", b"x", None, "is a table in binary"),
        ("texts", b"PAR1xyz", None, r"is a table in binary \(Parquet\)"),
        ("a.xlsx", b"PK\x03\x04", None, "is a spreadsheet"),
        ("a.csv.gz", b"\x1f\x8b", None, "is compressed"),
        ("a.txt", b"\x1f\x8b", None, r"is compressed \(gzip\)"),
        ("a.csv", b"PK\x03\x04", None, r"is compressed \(zip"),
        ("a.html", b"<p>x</p>", None, "is a page of markup"),
        ("a.txt", "x\n".encode("utf-16"), None, "is text in UTF-16"),
        ("a.txt", "x\ny\n".encode("utf-16-le"), None, r"UTF-16 \(line 1 has a NUL byte\)"),
        ("a.txt", b"a\nb\x00\n", None, r"is binary, .*\(line 2 has a NUL byte\)"),
        ("a.txt", b"a\nb\xff\n", None, r"line 2: is not UTF-8 \(byte 1, 0xff\)"),
    ],
)
def test_what_holds_no_texts_is_refused_by_name(
    name: str, data: bytes, column: str | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"{name}: .*{message}"):
        read_texts(written(tmp_path, data, name), column)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (
            "a.tsv",
            b'text\tlabel\n"He said\t1\nbye"\t0\nmid\t1\n',
            r"line 2: opens a quote that does not end before a tab and .* save it as \.csv",
        ),
        ("a.tab", b'text\tlabel\nx\t"1\ny\t0\nz"\n', "line 2: opens a quote that does not end"),
        (
            "a.csv",
            b'text,label\na, "1"\n',
            "line 2: has a field that begins with a blank and a quote",
        ),
        (
            "a.csv",
            b'text, "label"\na,1\n',
            "line 1: has a field that begins with a blank and a quote",
        ),
        (
            "a.csv",
            b'text,label\n "a",1\n',
            "line 2: has a field that begins with a blank and a quote",
        ),
        ("a.csv", b'text,label,more\n "a,b",1\n', "line 2: has a field that begins"),
    ],
)
def test_quotes_that_mean_something_else_are_refused(
    name: str, data: bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=rf"{name}: {message}"):
        read_labelled(written(tmp_path, data, name))


def test_quotes_that_are_text_are_read(tmp_path: Path) -> None:
    data = b'text,label\n" ""hi"" she said",1\n"a\nb",0\n'
    assert read_labelled(written(tmp_path, data)).texts == [' "hi" she said', "a\nb"]
    data = b'text\tlabel\n"a\nb"\t0\n"c\td"\t1\n'
    assert read_labelled(written(tmp_path, data, "a.tsv")).texts == ["a\nb", "c\td"]


def test_a_field_may_be_longer_than_csv_allows_for(tmp_path: Path) -> None:
    long = "word " * 40_000
    path = written(tmp_path, f"text,label\n{long},1\n".encode())
    assert read_labelled(path).texts == [long]
    assert read_texts(path) == [long.strip()]
    data = f'text\tlabel\n" ""{long}"\t1\n'.encode()
    assert read_labelled(written(tmp_path, data, "a.tsv")).texts == [f' "{long}']


def test_the_limit_that_all_who_read_csv_share_is_never_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, f"text,label\n{'word ' * 40_000},1\n".encode())
    held = csv.field_size_limit(1_000)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(csv, "field_size_limit", lambda *_: pytest.fail("it was asked for"))
            assert len(read_labelled(path).texts[0]) == 200_000
            with pytest.raises(InputError, match="opens a quote that does not end"):
                read_labelled(written(tmp_path, b'text,label\n"a,1\n'))
        assert csv.field_size_limit() == 1_000
        with pytest.raises(csv.Error, match="larger than field limit"):
            next(csv.reader(["a" * 1_001]))
    finally:
        csv.field_size_limit(held)


def test_a_nul_in_a_table_is_named_by_its_line(tmp_path: Path) -> None:
    for name in ("a.csv", "a.tsv"):
        path = written(tmp_path, b'text,label\n"a\nb\x00",1\n', name)
        with pytest.raises(InputError, match=r"it is binary, .* \(line 3 has a NUL byte\)\. Save"):
            read_labelled(path)


@pytest.mark.parametrize("read", [read_texts, read_documents, lambda path: read_lines(str(path))])
def test_lines_that_end_with_cr_alone_are_refused(read: Any, tmp_path: Path) -> None:
    path = written(tmp_path, b"one\rtwo\r\rthree\r", "a.txt")
    with pytest.raises(InputError, match=r"a\.txt: its lines end with CR alone.* to LF"):
        read(path)


def test_documents_and_labels_have_files_of_their_kind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.csv: must hold documents, .*; it is a table"):
        read_documents(written(tmp_path, b"text\nx\n", "a.csv"))
    with pytest.raises(InputError, match=r"a\.jsonl: must be a text a line .*; it is JSON"):
        read_labelled(written(tmp_path, b"{}", "a.jsonl"))
    rows = read_labelled(written(tmp_path, b"Body,label\nx,1\n", "a.csv"), "body")
    assert (rows.texts, rows.labels) == (["x"], ["1"])
    with pytest.raises(InputError, match="has more than one column label"):
        read_labelled(written(tmp_path, b"text,label,LABEL\nx,1,2\n", "a.csv"))


def test_many_columns_take_time_by_their_number(tmp_path: Path) -> None:
    names = ["text", "text_pair", *(f"negative{number}" for number in range(4000))]
    path = written(tmp_path, f"{','.join(names)}\n{','.join('a' for _ in names)}\n".encode())
    start = time.process_time()
    assert len(read_pairs(path)) == len(names)
    assert time.process_time() - start < 2  # it was 5 s when each looked through all of them
