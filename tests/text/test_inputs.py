"""Texts and pairs, checked before the Rust library sees them (rows E2, E3, E4, E7, E11)."""

from __future__ import annotations

import array
import collections
import io
import re
import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tokenizers.normalizers import BertNormalizer

from numpy_bert.errors import InputError
from numpy_bert.text.inputs import are_texts, as_items, as_pairs, as_texts, check_text, dropped

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
        ({"a": 1}, "dict"),
    ],
)
def test_e2_what_is_no_text_is_named_with_its_place(value: Any, kind: str) -> None:
    with pytest.raises(InputError, match=rf"^text must be a str or a list of str; got {kind}"):
        as_items(value, None)
    for text, pair, where in (
        ("a", value if value is not None else 0, "text_pair"),
        (["a", "b", value], None, "text[2]"),
        ([("a", "b"), ("c", value)], None, "text[1][1]"),
        (["a", "b"], ["c", value], "text_pair[1]"),
        (["a", value], ["c", "d"], "text[1]"),
    ):
        named = "int" if pair == 0 and value is None else kind
        with pytest.raises(InputError, match=rf"^{re.escape(where)} must be a str; got {named}"):
            as_items(text, pair)


def refusal(value: object, words: str) -> None:
    """All that take texts refuse a value with the same words."""
    for taken in (
        lambda: as_texts(value, "name"),
        lambda: as_items(value, None, ("name", "other")),
        lambda: as_items(["a"], value, ("other", "name")),
        lambda: as_pairs(value, "b", ("name", "other")),
    ):
        with pytest.raises(InputError) as caught:
            taken()
        assert str(caught.value).startswith(f"name {words}")
    assert are_texts(value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ((text for text in "ab"), "must be a str or a list of str; got generator. Put the"),
        (iter(["a"]), "must be a str or a list of str; got list_iterator. Put the texts into"),
        (map(str, [1]), "must be a str or a list of str; got map. Put the texts into a list"),
        (io.StringIO("a\nb\n"), "must be a str or a list of str; got StringIO. Put the texts"),
        ({"a", "b"}, "must be a str or a list of str; got set. Put the texts into a list"),
        (frozenset("ab"), "must be a str or a list of str; got frozenset. Put the texts"),
        ({"a": "b"}, "must be a str or a list of str; got dict. Put the texts into a list"),
        ({"a": "b"}.values(), "must be a str or a list of str; got dict_values. Put the"),
        (b"ab", "must be a str or a list of str; got bytes. Make a str of it."),
        (bytearray(b"ab"), "must be a str or a list of str; got bytearray. Make a str"),
        (memoryview(b"ab"), "must be a str or a list of str; got memoryview."),
        (array.array("u", "ab"), "must be a str or a list of str; got array. Make a str"),
        (collections.UserString("ab"), "must be a str or a list of str; got UserString."),
        (np.array("ab"), "must be a str or a list of str; got ndarray of shape (). Give the"),
        (np.array([["a", "b"]]), "must be a str or a list of str; got ndarray of shape (1, 2)"),
        (np.array([["a"]], object), "must be a str or a list of str; got ndarray of shape (1, 1)"),
        (5, "must be a str or a list of str; got int."),
        (np.ndarray, "must be a str or a list of str; got type."),
        (object(), "must be a str or a list of str; got object."),
    ],
)
def test_what_has_no_order_no_length_or_another_dimension_is_refused(
    value: object, words: str
) -> None:
    refusal(value, words)


class Column:
    """As columns of polars (to_list, shape) and of pyarrow (to_pylist, no shape), and pandas'."""

    def __init__(self, items: list[Any], method: str, shape: tuple[int, ...] | None = None) -> None:
        setattr(self, method, lambda: items)
        if shape is not None:
            self.shape = shape

    def __iter__(self) -> Any:
        raise AssertionError("items of a pyarrow array are no str, those of a table its columns")


class Table(Column):
    columns: Any = ("text", "label")


class ArrowTable(Column):
    column_names: Any = ("text", "label")


@pytest.mark.parametrize("kind", [Table, ArrowTable])
def test_a_table_is_refused_and_its_columns_named(kind: Any) -> None:
    words = f"must be a str or a list of str; got {kind.__name__} of shape (3, 2). Give one of"
    refusal(kind([], "to_pylist", (3, 2)), f"{words} its columns, such as df['text'].")


@pytest.mark.parametrize(
    "value",
    [
        ["a", "b"],
        ("a", "b"),
        np.array(["a", "b"]),
        np.array(["a", "b"], object),
        np.array(["a", "b"], np.dtypes.StringDType()),
        np.array(["a", "-", "b"])[::2],
        np.ma.masked_array(["a", "b"]),
        collections.deque(["a", "b"]),
        collections.UserList(["a", "b"]),
        Column(["a", "b"], "tolist", (2,)),
        Column(["a", "b"], "to_list", (2,)),
        Column(["a", "b"], "to_pylist"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_texts_in_one_dimension_are_taken_by_all(value: Any) -> None:
    single, texts = as_texts(value)
    assert (single, texts) == (False, ["a", "b"])
    assert {type(text) for text in texts} == {str}
    assert as_items(value, None) == (False, ["a", "b"])
    assert as_items(["c", "d"], value) == (False, [("c", "a"), ("d", "b")])
    assert as_pairs(value, value, ("a", "b")) == (False, [("a", "a"), ("b", "b")])
    assert are_texts(value)


@pytest.mark.parametrize(
    "value", [[], (), np.array([]), np.array([], object), Column([], "to_list", (0,))]
)
def test_none_at_all_are_no_texts(value: Any) -> None:
    assert as_texts(value) == as_items(value, None) == (False, [])
    assert are_texts(value)


def test_numpys_own_str_becomes_pythons() -> None:
    for given in (np.str_("a"), type("Own", (str,), {"__str__": lambda self: "b"})("a")):
        assert as_texts(given) == (True, ["a"])
        assert type(as_texts(given)[1][0]) is type(as_texts([given])[1][0]) is str


@pytest.mark.parametrize(
    "missing", [None, NAN, np.float32("nan"), type("NAType", (), {})(), type("NaTType", (), {})()]
)
def test_a_missing_value_is_named_with_its_place(missing: Any) -> None:
    for value in (["a", missing], np.array(["a", missing], object)):
        with pytest.raises(InputError) as caught:
            as_texts(value, "sentences")
        assert str(caught.value) == (
            f"sentences[1] must be a str; got {type(missing).__name__}. It is a missing "
            "value: leave it out, or fill it with a text."
        )
        assert are_texts(value)
    with pytest.raises(InputError, match=r"^text\[0\] must be a str; got float\.$"):
        as_texts([1.5])


@pytest.mark.parametrize(
    "value",
    [
        [0.5, 1.0],
        [[0.5], [1.0]],
        [np.zeros(2), np.ones(2)],
        np.zeros(3),
        np.zeros((2, 3), np.float16),
        np.zeros((0, 3)),
        Column([0.5, 1.0], "tolist", (2,)),
    ],
)
def test_numbers_are_vectors(value: Any) -> None:
    assert not are_texts(value)


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
        ([("a",)], None, "text[0] must be a text or a pair of texts; got 1 texts."),
        (["a", ("b", "c", "d")], None, "text[1] must be a text or a pair of texts; got 3 texts."),
        ([[]], None, "text[0] must be a text or a pair of texts; got 0 texts."),
        (["a", ("b", "c")], None, "text: some items are texts, some pairs; give all of one"),
        ([("a", "b"), "c"], None, "text: some items are texts, some pairs"),
        (["a", "b"], ["c"], "text_pair must be a list of 2 texts, as text is; got 1."),
        (["a", "b"], "c", "text_pair must be a list of 2 texts, as text is; got one text."),
        (["a"], 5, "text_pair must be a str or a list of str; got int."),
        ("a", ["b"], "text_pair must be a str; got list."),
        ([("a", "b")], ["c"], "text[0] must be a str; got tuple."),
        ([(("a", "b"), "c")], None, "text[0][0] must be a str; got tuple."),
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
