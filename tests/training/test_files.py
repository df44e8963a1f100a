"""What is trained on, read from files, and what is wrong with them by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from numpy_bert import InputError
from numpy_bert.training.files import label_numbers, read_labelled, read_texts


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
