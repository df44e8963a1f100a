"""Rows E1 to E13: texts. What a trace reports is the text that was given."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertModel, BertTokenizer, InputError
from numpy_bert.cli import main
from numpy_bert.cli.options import given_text, read_lines, read_text
from numpy_bert.text.lost import encode_whole, lost
from numpy_bert.training.text_files import read_labelled, read_pairs, read_scored, read_texts
from tests.support.streams import Stdin
from tests.support.tokenizer_files import small, tokens_of

MEMBERS = ("input_ids", "token_type_ids", "attention_mask")


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return BertTokenizer.from_pretrained("demo")


@pytest.mark.parametrize("text", ["", " ", "\n\t \u3000", "\0\x01\x02", "\u200b\ufffd\u202e"])
def test_e1_texts_without_content_are_their_frame(tokenizer: BertTokenizer, text: str) -> None:
    assert tokens_of(tokenizer, text) == ["[CLS]", "[SEP]"]
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == []
    arrays = tokenizer(text, add_special_tokens=False, return_tensors="np")
    assert arrays["input_ids"].shape == (1, 0)
    said = lost(tokenizer, [text], encode_whole(tokenizer, [text], 512, truncation=False))
    assert said[-1] == "the text has no content tokens, only the special ones."


@pytest.mark.parametrize("value", [None, b"a", 3, float("nan"), ["a", "b", "c"]])
def test_e2_what_is_no_text_is_named_with_its_place(tokenizer: BertTokenizer, value: Any) -> None:
    with pytest.raises(InputError, match=r"^text\[1\] must be a "):
        tokenizer(["a", value, "b"])


def test_e3_half_of_a_surrogate_pair_is_refused_everywhere(tokenizer: BertTokenizer) -> None:
    for call in (
        tokenizer,
        tokenizer.tokenize,
        tokenizer.convert_tokens_to_ids,
        tokenizer.dropped_characters,
    ):
        with pytest.raises(InputError, match=r"character 1 is U\+D83D, half of a surrogate pair"):
            call("a\ud83d\ude00")


def test_e3_an_argument_of_a_command_that_is_not_utf_8(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """There is no errors="replace": a text is what was given, or it is refused."""
    assert main(["encode", "one", "tw\udcffo", "--model", "demo"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    words = "numpy-bert encode: error: sentences[1]: character 2 is U+DCFF, half of a surrogate"
    assert err.splitlines() == [err.strip()]
    assert err.startswith(words)


def test_e4_characters_that_vanish_are_reported(tokenizer: BertTokenizer) -> None:
    text = "te\0st \u202ea\u00ad te\x0bst\ufffd \u200d"
    assert tokens_of(tokenizer, text) == tokens_of(tokenizer, "test a test")
    assert tokenizer.dropped_characters(text) == list("\0\u202e\u00ad\x0b\ufffd\u200d")
    assert tokenizer.dropped_characters("a \t\n\u00a0\u3000e\u0301") == []


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("caf\u00e9", "cafe\u0301"),
        ("e" + "\u0301" * 1000, "e"),
        ("\u4e2d\u6587 a", "\u4e2d \u6587 a"),
        ("HELLO\u2028World", "hello world"),
    ],
)
def test_e5_spellings_that_are_one_to_bert(tokenizer: BertTokenizer, text: str, same: str) -> None:
    assert tokenizer(text) == tokenizer(same)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("caf\u00e9 cafe\u0301", [7668, 7668]),
        ("e" + "\u0301" * 1000, [1041]),
        ("\u4e2d\u6587 \u3042", [1746, 1861, 1646]),
        ("\U0001f600 \u2764\ufe0f", [100, 100]),
        (
            "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
            [1266, 29799, 29792, 29800, 1295, 17149, 29820, 29816, 25573],
        ),
        ("\ufb01ne of\ufb01ce \u2460", [1984, 2638, 1997, 30510, 3401, 100]),
        ("\u0130stanbul stra\u00dfe \u03a3\u03c2", [9960, 2358, 27807, 1173, 19579]),
    ],
    ids=["accents", "marks", "CJK", "emoji", "right to left", "ligatures", "case"],
)
def test_e5_scripts_of_the_world_on_a_real_vocabulary(
    minilm: Path, text: str, ids: list[int]
) -> None:
    """The ids are those of transformers 5.24; tests/parity asks it itself, of many more texts."""
    assert BertTokenizer.from_pretrained(minilm)(text)["input_ids"] == [101, *ids, 102]


def test_e6_words_beyond_a_hundred_characters_are_unknown(tokenizer: BertTokenizer) -> None:
    assert "[UNK]" not in tokens_of(tokenizer, "a" * 100)
    assert tokens_of(tokenizer, "a" * 101) == ["[CLS]", "[UNK]", "[SEP]"]
    assert tokens_of(tokenizer, "b " + "a" * 100_000) == ["[CLS]", "b", "[UNK]", "[SEP]"]


@pytest.mark.parametrize(
    "unit",
    ["\0", *(pytest.param(u, marks=pytest.mark.slow) for u in ("x", "word, ", "[SEP]", "e\u0301"))],
)
def test_e7_a_line_of_a_megabyte_takes_seconds(tokenizer: BertTokenizer, unit: str) -> None:
    text = unit * (1_000_000 // len(unit.encode()))
    start = time.process_time()  # what it takes, not what it waits for its turn
    encoding = tokenizer(text, truncation=True)
    assert time.process_time() - start < 20
    assert len(encoding["input_ids"]) <= 512


def test_e7_a_line_of_ten_megabytes_is_refused(tokenizer: BertTokenizer) -> None:
    with pytest.raises(InputError, match="10,000,000 characters; at most 5,000,000 are taken"):
        tokenizer("x" * 10_000_000)


def test_e8_typed_special_tokens_are_special_unless_asked(
    tokenizer: BertTokenizer, tmp_path: Path
) -> None:
    text = "a[SEP] [MASK]"
    special = ["[CLS]", "a", "[SEP]", "[MASK]", "[SEP]"]
    assert tokens_of(tokenizer, text) == special
    plain = tokens_of(tokenizer, text, split_special_tokens=True)
    assert "".join(plain[1:-1]).replace("##", "") == "a[sep][mask]"
    assert tokens_of(tokenizer, text) == special
    stated = small(tmp_path, split_special_tokens=True)
    assert tokens_of(stated, "[SEP]")[1] == "["
    assert stated.tokenize("[SEP]")[0] == "["
    assert tokens_of(stated, "[SEP]", split_special_tokens=False)[1] == "[SEP]"


def test_e9_truncation_reports_what_was_lost(tokenizer: BertTokenizer) -> None:
    texts = ["a", "a " * 600, "a " * 510]
    assert [len(row) for row in tokenizer(texts)["input_ids"]] == [3, 602, 512]
    encoding = tokenizer(texts, truncation=True)
    assert [len(row) for row in encoding["input_ids"]] == [3, 512, 512]
    assert encoding.truncated == {1: (602, 512)}
    assert tokenizer("a " * 600, truncation=True).truncated == {0: (602, 512)}
    assert tokenizer(texts).truncated == {}


def test_e9_a_text_that_is_too_long_is_refused_unless_it_may_be_cut(
    tokenizer: BertTokenizer, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "a " * 600
    ids = tokenizer(text, return_tensors="np")["input_ids"]
    with pytest.raises(InputError, match=r"602.*512"):
        BertModel.from_pretrained("demo")(ids)
    assert main(["embed", text, "--model", "demo"]) == 2
    out, err = capsys.readouterr()
    words = "the text has 602 tokens, the model takes 512; --truncate (truncation=True) cuts it."
    assert (out, err) == ("", f"numpy-bert embed: error: {words}\n")
    assert main(["embed", text, "--model", "demo", "--truncate"]) == 0
    assert "the text has 602 tokens; it was cut to 512." in "".join(capsys.readouterr())


@pytest.mark.parametrize("strategy", [True, "longest_first", "only_first", "only_second"])
@pytest.mark.parametrize(("pair", "frame"), [(None, 2), ("b " * 9, 3)])
@pytest.mark.parametrize("length", range(14))
def test_e10_no_row_is_longer_than_asked(
    tokenizer: BertTokenizer, strategy: bool | str, pair: str | None, frame: int, length: int
) -> None:
    room = length - frame
    single = pair is None and strategy != "only_second"
    if room < 0:
        expected = "special tokens alone need more"
    elif single or strategy in (True, "longest_first") or room > 9:
        expected = None
    else:
        expected = "there is no second text" if pair is None else "raise max_length or use 'long"
    if expected is None:
        encoding = tokenizer("a " * 9, pair, truncation=strategy, max_length=length)
        assert len(encoding["input_ids"]) == min(length, 9 * (1 if pair is None else 2) + frame)
    elif pair is None and strategy == "only_second" and room >= 9:
        assert tokenizer("a " * 9, truncation=strategy, max_length=length).truncated == {}
    else:
        with pytest.raises(InputError, match=expected):
            tokenizer("a " * 9, pair, truncation=strategy, max_length=length)


def test_e10_a_stride_that_leaves_no_room_is_refused(tokenizer: BertTokenizer) -> None:
    windows: dict[str, Any] = {"max_length": 5, "return_overflowing_tokens": True}
    found = tokenizer("a " * 9, stride=2, **windows)["input_ids"]
    assert {len(row) for row in found} == {5}
    for stride in (3, 4, 9):
        with pytest.raises(InputError, match=f"stride={stride}"):
            tokenizer("a " * 9, stride=stride, **windows)


@pytest.mark.parametrize("name", ["max_length", "stride", "pad_to_multiple_of"])
def test_e10_a_length_of_thousands_of_digits_asks_for_no_error_of_pythons(
    tokenizer: BertTokenizer, name: str
) -> None:
    """Python writes no number of more than 4,300 digits, which a message would hold."""
    length = 10**5000
    assert tokenizer("a", truncation=True, max_length=length) == tokenizer("a")
    options: dict[str, Any] = {"padding": "max_length", "max_length": 8, name: length}
    if name == "stride":
        options |= {"max_length": 5, "truncation": True, "return_overflowing_tokens": True}
    with pytest.raises(InputError) as caught:
        tokenizer("a b c d e f", **options)
    assert len(str(caught.value)) < 300


def test_e11_pairs_of_every_kind(tokenizer: BertTokenizer) -> None:
    assert tokens_of(tokenizer, "a", text_pair="") == ["[CLS]", "a", "[SEP]", "[SEP]"]
    assert tokenizer("a", "") == {k: row[0] for k, row in tokenizer(["a"], [""]).items()}
    assert tokenizer("a", None) == tokenizer("a")
    with pytest.raises(InputError, match="some items are texts, some pairs"):
        tokenizer(["a", ("b", "c")])
    with pytest.raises(InputError, match=r"^text\[0\] must be .*; got 3 texts\."):
        tokenizer([("a", "b", "c")])
    with pytest.raises(InputError, match=r"^text_pair must be a list of 2 texts"):
        tokenizer(["a", "b"], ["c"])


@pytest.mark.parametrize("options", [{}, {"padding": True}, {"padding": "max_length"}])
def test_e12_an_empty_batch_is_empty(tokenizer: BertTokenizer, options: dict[str, Any]) -> None:
    assert tokenizer([], **options) == {name: [] for name in MEMBERS}
    assert tokenizer([], [], **options) == {name: [] for name in MEMBERS}
    for array in tokenizer([], return_tensors="np", **options).values():
        assert (array.shape, array.dtype) == ((0, 0), np.dtype("int64"))


def test_e12_one_text_pads_to_itself_and_more_than_memory_is_refused_before_it_is_tried(
    tokenizer: BertTokenizer,
) -> None:
    one = tokenizer(["a"], padding=True, return_tensors="np")["input_ids"]
    assert one.tolist() == [tokenizer("a")["input_ids"]]
    words = (
        "^padding: 1,000 rows of 1,000,001 tokens would take more than 24 GB; encode fewer texts"
    )
    with pytest.raises(InputError, match=words):
        tokenizer(["a"] * 1_000, padding="max_length", max_length=1_000_001)


@pytest.mark.parametrize(
    ("read", "data", "message"),
    [
        (read_lines, b"one\n\xff", "standard input: line 2: is not UTF-8 (byte 0, 0xff)"),
        (read_text, b"one\n\xff", "standard input: line 2 is not UTF-8 (byte 4, 0xff)"),
        (read_text, b"a" * 20_000_001, "standard input: has more than 20,000,000 bytes"),
    ],
)
def test_e13_what_is_no_text_is_refused(
    read: Callable[[str], Any], data: bytes, message: str, typed: Callable[[bytes], None]
) -> None:
    typed(data)
    with pytest.raises(InputError) as raised:
        read("-")
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("stdin", [None, "closed"])
def test_e13_a_closed_standard_input_is_refused(
    stdin: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = Stdin(b"")
    closed.closed = True
    monkeypatch.setattr("sys.stdin", closed if stdin else None)
    with pytest.raises(InputError, match="standard input: is closed; give the text"):
        given_text(None)
    assert main(["encode", "-", "--model", "demo"]) == 2
    words = "numpy-bert encode: error: standard input: is closed; give the text as an argument.\n"
    assert capsys.readouterr() == ("", words)


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\ntwo", ["one", "two"]),
        (b"one\r\n\r\ntwo\r\n", ["one", "", "two"]),
        (b"\xef\xbb\xbfone\x0b\n", ["one\x0b"]),
        (b"", []),
    ],
)
def test_e13_a_line_is_a_text_whatever_ends_it(
    tmp_path: Path, data: bytes, texts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(data)
    assert read_lines(str(path)) == texts
    said = f"numpy-bert: {path}: has no lines.\n"
    assert capsys.readouterr().err == ("" if texts else said)
    if texts:
        assert read_texts(path) == [text.strip() for text in texts if text]
    else:
        with pytest.raises(InputError, match=r"texts.txt: must hold a text a line; it holds none"):
            read_texts(path)


def test_e13_a_line_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(b"one\ntwo\nth\xff\n")
    for read in (lambda path: read_lines(str(path)), read_texts):
        with pytest.raises(InputError, match=r"texts.txt: line 3: is not UTF-8 \(byte 2, 0xff\)"):
            read(path)


@pytest.mark.parametrize("name", ["text", "text_pair", "label"])
@pytest.mark.parametrize("read", [read_labelled, read_scored, read_pairs])
def test_e13_a_table_with_two_columns_of_a_name_that_is_read_is_refused(
    tmp_path: Path, read: Callable[[Path], object], name: str
) -> None:
    path = tmp_path / "a.csv"
    rows = ["a,b,1", "c,d,2"]
    path.write_text("\n".join(["text,text_pair,label", *rows]))
    read(path)
    header = f"text,text_pair,label, {name.title()} "
    path.write_text("\n".join([header, *(f"{row},{row[0]}" for row in rows)]))
    with pytest.raises(InputError, match=f"a.csv: line 1: has more than one column {name}; the"):
        read(path)
    with pytest.raises(InputError, match=f"has more than one column {name}; the columns are"):
        read_texts(path, name)


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_e13_a_table_that_csv_cannot_read_is_told_in_what_can_be_printed(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_text('text\tlabel\n"a"b\t1\n'.replace("\t", "," if kind == "csv" else "\t"))
    with pytest.raises(InputError) as caught:
        read_labelled(path)
    assert str(caught.value).startswith(f"{path}: line 2: ")
    assert str(caught.value).isprintable()
