"""Texts and pairs, checked before the Rust library sees them (rows E2, E3, E4, E7, E11)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tokenizers.normalizers import BertNormalizer

from numpy_bert.errors import InputError
from numpy_bert.text.inputs import as_items, check_text, dropped

NAN = float("nan")


@pytest.mark.parametrize(
    ("text", "pair", "single", "items"),
    [
        ("a", None, True, ["a"]),
        ("", None, True, [""]),
        ("a", "b", True, [("a", "b")]),
        ("a", "", True, [("a", "")]),
        ([], None, False, []),
        ((), None, False, []),
        ([], [], False, []),
        (["a", "b"], None, False, ["a", "b"]),
        (("a", "b"), None, False, ["a", "b"]),
        (["a", "b"], ["c", ""], False, [("a", "c"), ("b", "")]),
        (["a", "b"], ("c", "d"), False, [("a", "c"), ("b", "d")]),
        ([("a", "b")], None, False, [("a", "b")]),
        ([["a", "b"], ("c", "")], None, False, [("a", "b"), ("c", "")]),
        (np.str_("a"), None, True, ["a"]),
    ],
)
def test_what_is_taken(text: object, pair: object, single: bool, items: list[object]) -> None:
    assert as_items(text, pair) == (single, items)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "NoneType"),
        (b"a", "bytes"),
        (3, "int"),
        (NAN, "float"),
        (True, "bool"),
        (np.array(["a"]), "ndarray"),
        ({"a": 1}, "dict"),
    ],
)
def test_e2_what_is_no_text_is_named_with_its_place(value: Any, kind: str) -> None:
    for text, pair, where in (
        (value, None, "text"),
        ("a", value if value is not None else 0, "text_pair"),
        (["a", "b", value], None, "text[2]"),
        ([("a", "b"), ("c", value)], None, "text[1][1]"),
        (["a", "b"], ["c", value], "text_pair[1]"),
        (["a", value], ["c", "d"], "text[1]"),
    ):
        named = "int" if pair == 0 and value is None else kind
        with pytest.raises(InputError, match=rf"^{re.escape(where)}: is {named}; a str was expe"):
            as_items(text, pair)


def test_e2_a_generator_is_no_list() -> None:
    with pytest.raises(InputError, match=r"^text: is generator; a str was expected"):
        as_items((text for text in "ab"), None)


@pytest.mark.parametrize("text", ["\ud800", "abc\udcff", "ab\ud83d\ude00", "\udfff" * 3])
def test_e3_half_of_a_surrogate_pair_is_named_with_its_place(text: str) -> None:
    start = next(i for i, c in enumerate(text) if unicodedata.category(c) == "Cs")
    words = rf"^where: character {start} is U\+{ord(text[start]):04X}, half of a surrogate pair"
    with pytest.raises(InputError, match=words):
        check_text(text, "where")
    with pytest.raises(InputError, match=rf"^text\[1\]: character {start} "):
        as_items(["a", text], None)


def test_e7_a_text_beyond_all_reason_is_refused() -> None:
    assert len(check_text("x" * 5_000_000, "text")) == 5_000_000
    with pytest.raises(InputError, match=r"^text: has 5,000,001 characters; at most 5,000,000"):
        check_text("x" * 5_000_001, "text")


@pytest.mark.parametrize(
    ("text", "pair", "words"),
    [
        ([("a",)], None, "text[0]: 1 texts; a text or a pair of texts was expected."),
        (["a", ("b", "c", "d")], None, "text[1]: 3 texts; a text or a pair of texts"),
        ([[]], None, "text[0]: 0 texts;"),
        (["a", ("b", "c")], None, "text: some items are texts, some pairs; give all of one"),
        ([("a", "b"), "c"], None, "text: some items are texts, some pairs"),
        (["a", "b"], ["c"], "text_pair: a list of 2 texts was expected, as text has."),
        (["a", "b"], "c", "text_pair: a list of 2 texts was expected"),
        (["a"], 5, "text_pair: a list of 1 texts was expected"),
        ("a", ["b"], "text_pair: is list; a str was expected."),
        ([("a", "b")], ["c"], "text[0]: is tuple; a str was expected."),
        ([(("a", "b"), "c")], None, "text[0][0]: is tuple; a str was expected."),
    ],
)
def test_e11_pairs_and_batches_that_do_not_fit_are_refused(
    text: object, pair: object, words: str
) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(words)}"):
        as_items(text, pair)


@pytest.fixture(scope="module")
def normalize() -> Callable[[str], str]:
    normalizer = BertNormalizer(lowercase=True)
    return lambda text: str(normalizer.normalize_str(text))


def test_e4_every_character_that_vanishes_is_counted_marks_apart(
    normalize: Callable[[str], str],
) -> None:
    ranges = ((0, 0xD800), (0xE000, 0x10000), (0x1D000, 0x1D200), (0xE0000, 0xE0200))
    everything = [chr(i) for start, end in ranges for i in range(start, end)]
    others = [c for c in everything if unicodedata.category(c)[0] != "M"]
    gone = [c for c in others if normalize(f"a{c}a") == "aa"]
    assert dropped("".join(others), normalize) == gone
    assert {"\0", "\ufffd", "\x0b", "\x85", "\u200b", "\u202e", "\u00ad", "\ufeff"} <= set(gone)
    assert not {" ", "\t", "\n", "\r", "\u00a0", "\u2028", "\u3000", "a", "\u4e2d"} & set(gone)


def test_e4_dropped_characters_come_in_order_with_repeats(normalize: Callable[[str], str]) -> None:
    assert dropped("a\0b\u200b c\0\te\u0301", normalize) == ["\0", "\u200b", "\0"]
    assert dropped("", normalize) == []


def test_e4_what_another_normalizer_keeps_is_not_counted() -> None:
    assert dropped("a\0b\ufffd", str) == []
