"""Where a command's texts come from: its arguments, a file, or standard input."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from numpy_bert.cli.options import given_text, given_texts, read_lines, read_text
from numpy_bert.errors import InputError
from tests.support.platforms import posix

WAITS = "numpy-bert: type texts, one a line, and end with Ctrl-D; --help says what else"


@pytest.mark.parametrize("words", [[], ["-"]])
def test_lines_of_standard_input_are_texts(
    words: list[str], typed: Callable[[bytes], None], capsys: pytest.CaptureFixture[str]
) -> None:
    typed("one\r\n\nтри".encode())
    assert given_texts(words) == ["one", "", "три"]
    assert capsys.readouterr().err == ""  # nobody waits at a pipe


@pytest.mark.parametrize("word", [None, "-"])
def test_standard_input_is_one_text(word: str | None, typed: Callable[[bytes], None]) -> None:
    typed(b"\xef\xbb\xbfone\ntwo\n")
    assert given_text(word) == "one\ntwo"


def test_arguments_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert given_texts(["-", "b"]) == ["-", "b"]
    assert given_texts([""]) == [""]
    assert given_text("") == ""


@pytest.mark.parametrize("give", [lambda word: given_texts([word, "b"])[0], given_text])
def test_a_text_that_is_the_name_of_a_file_is_told(
    give: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("texts.txt").touch()
    assert give("texts.txt") == "texts.txt"
    line = "texts.txt is taken as a text, not as the file of that name; < texts.txt reads the file."
    assert capsys.readouterr().err == f"numpy-bert: {line}\n"
    for word in ("nothing.txt", ".", "", "a" * 5000, "a\0b"):
        assert give(word) == word
    assert capsys.readouterr().err == ""


def test_no_lines_are_told(
    typed: Callable[[bytes], None], capsys: pytest.CaptureFixture[str]
) -> None:
    typed(b"")
    assert given_texts([]) == []
    assert capsys.readouterr().err == "numpy-bert: standard input: has no lines.\n"


def test_a_standard_input_that_cannot_be_read_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "a.txt").open("w") as written:
        monkeypatch.setattr("sys.stdin", written)
        for read in (read_lines, read_text):
            with pytest.raises(InputError, match=r"standard input: cannot be read \(.+\)"):
                read("-")


def test_a_program_may_put_text_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("één\ntwee"))
    assert given_texts([]) == ["één", "twee"]


@posix
def test_at_a_terminal_it_says_what_it_waits_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import pty

    ours, theirs = pty.openpty()
    os.write(ours, b"one\ntwo\n\x04")
    with os.fdopen(theirs, encoding="utf-8") as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        assert given_texts([]) == ["one", "two"]
    os.close(ours)
    assert capsys.readouterr().err.startswith(WAITS)
