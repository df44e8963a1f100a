"""What is trained on, read from files, and what is wrong with them by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from numpy_bert import InputError
from numpy_bert.training.files import (
    label_numbers,
    read_documents,
    read_labelled,
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
        (b"", r"line 1: the columns are none; text and label"),
        (b"sentence,class\na,b\n", r"line 1: the columns are sentence, class; text and label"),
        (b"text,label\n", r"holds no row below its header"),
        (b"text,label\na,b\nc\n", r"line 3: has 1 fields; 2 were expected"),
        (b"text,label\na,b,c\n", r"line 2: has 3 fields; 2 were expected\. A field with a comma"),
        (b"text,label\na,b\nc, \n", r"line 3: has no label"),
        (b'text,label\n"a,b\n', r"line 2: unexpected end of data"),
        (b"text,label\na,b\nc\xff,d\n", r"line 3 is not UTF-8 \(byte 16, 0xff\)"),
    ],
)
def test_a_bad_table_is_named_by_line(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_labelled(written(tmp_path, data))


def test_bad_texts_and_labels_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no text; a text a line was expected"):
        read_texts(written(tmp_path, b"\n \n", "a.txt"))
    with pytest.raises(InputError, match="does not exist"):
        read_texts(tmp_path / "nothing.txt")
    with pytest.raises(InputError, match=r"e\.csv: row 2: label c is none of a, b"):
        label_numbers(["a", "c"], ("a", "b"), "e.csv")


def test_documents_end_with_an_empty_line(tmp_path: Path) -> None:
    path = tmp_path / "books.txt"
    path.write_text("\n\nOne.\r\nTwo. \n\n \n\nThree.\n", "utf-8")
    assert read_documents(path) == [["One.", "Two."], ["Three."]]
    for content, count in (("", "0 documents"), ("One.\nTwo.\n\n", "1 document;")):
        path.write_text(content)
        with pytest.raises(InputError, match=f"has {count}.*an empty line after each"):
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
        ("text,label\na,1\n", "line 1: has no column text_pair"),
        ("text,text_pair,label\na,b,1\nc,d,x\n", "row 2: label x is no number"),
        ("text,text_pair,label\na,b,nan\n", "row 1: label nan is no number"),
        ("text,text_pair,label\na,b,inf\n", "row 1: label inf is no number"),
        ("text,text_pair,label\na,b\n", "line 2: has 2 fields; 3 were expected"),
    ],
)
def test_pairs_that_have_no_score_are_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_scored(path)
