"""numpy_bert.text.batch: texts to rows, cut and padded; which tokens go (rows E10, E11)."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.processors import BertProcessing

from numpy_bert.errors import InputError, TokenizerError
from numpy_bert.text.batch import (
    STRATEGIES,
    Lengths,
    as_lengths,
    encode,
    kept_lengths,
    kept_tokens,
    members_of,
    rows_of,
    to_arrays,
)
from numpy_bert.text.encoding import Row
from numpy_bert.text.inputs import Pair
from tests.support.tokenizer_files import TOKENS, PanicException, tokenizer_json

Rows = dict[str, list[list[int]]]
MEMBERS = ("input_ids", "token_type_ids", "attention_mask")


def rows(*lengths: int) -> Rows:
    return {
        name: [[value] * length for length in lengths]
        for name, value in (("input_ids", 7), ("token_type_ids", 1), ("attention_mask", 1))
    }


@pytest.mark.parametrize(
    ("lengths", "shape"), [((), (0, 0)), ((0,), (1, 0)), ((0, 0), (2, 0)), ((3,), (1, 3))]
)
def test_e12_arrays_have_two_axes_even_when_empty(
    lengths: tuple[int, ...], shape: tuple[int, int]
) -> None:
    for name, array in to_arrays(rows(*lengths)).items():
        assert (array.shape, array.dtype) == (shape, np.dtype("int64")), name


def test_arrays_hold_the_rows() -> None:
    assert to_arrays(rows(2, 2))["input_ids"].tolist() == [[7, 7], [7, 7]]


def test_uneven_rows_are_no_array() -> None:
    with pytest.raises(InputError, match=r"from 2 to 5 tokens, .* padding=True, truncation=True\."):
        to_arrays(rows(2, 5, 3))


def lengths(model_max_length: int | None = 512, **changes: Any) -> Lengths:
    arguments: dict[str, Any] = {"padding": False, "truncation": False, "max_length": None}
    return as_lengths(**arguments | changes, model_max_length=model_max_length)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, (None, None, None, False)),
        ({"truncation": "do_not_truncate", "padding": "do_not_pad"}, (None, None, None, False)),
        ({"truncation": None}, (None, None, None, False)),
        ({"truncation": None, "max_length": 9}, ("longest_first", 9, None, False)),
        ({"truncation": True}, ("longest_first", 512, None, False)),
        ({"truncation": "only_first", "max_length": 9}, ("only_first", 9, None, False)),
        ({"truncation": "only_second"}, ("only_second", 512, None, False)),
        ({"truncation": True, "max_length": 0}, ("longest_first", 0, None, False)),
        ({"truncation": True, "max_length": 600}, ("longest_first", 600, None, False)),
        ({"truncation": True, "max_length": np.int32(9)}, ("longest_first", 9, None, False)),
        ({"padding": True}, (None, None, None, True)),
        ({"padding": "longest"}, (None, None, None, True)),
        ({"padding": "max_length"}, (None, None, 512, True)),
        ({"padding": "max_length", "max_length": 9}, (None, None, 9, True)),
        ({"padding": True, "truncation": True, "max_length": 9}, ("longest_first", 9, None, True)),
        (
            {"padding": "max_length", "truncation": True, "max_length": 9},
            ("longest_first", 9, 9, True),
        ),
    ],
)
def test_what_arguments_mean(
    arguments: dict[str, Any], expected: tuple[str | None, int | None, int | None, bool]
) -> None:
    found = lengths(**arguments)
    assert (found.strategy, found.cut, found.pad, found.pads) == expected
    assert found.cut is None or type(found.cut) is int


def test_nothing_need_be_stated_where_nothing_is_cut() -> None:
    assert lengths(None) == Lengths(strategy=None, cut=None, pad=None, pads=False)
    assert lengths(None, padding=True).pads
    assert lengths(None, truncation=True, max_length=9).cut == 9


def refused(name: str, wanted: str, *values: object) -> list[tuple[dict[str, object], str]]:
    """Return each value of an argument, in a call where it counts, with its refusal."""
    call: dict[str, object] = {"truncation": True} if name == "max_length" else {}
    return [(call | {name: value}, f"{name} must be {wanted}; got {value!r}.") for value in values]


STRATEGY = "True, False or one of 'longest_first', 'only_first', 'only_second'"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_length": 9}, "max_length has no effect without truncation=True or padding='max_"),
        (
            {"max_length": 9, "padding": True, "truncation": None},
            "max_length has no effect without",
        ),
        *refused("max_length", "a whole number from 0", -1, True, 9.0, "9", float("nan")),
        *refused("truncation", STRATEGY, "longest", 1, 0, "only"),
        *refused("padding", "True, False, 'longest' or 'max_length'", "max", 1, 0, None, [], ""),
    ],
    ids=repr,
)
def test_e10_what_has_no_meaning_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(words)}"):
        lengths(**arguments)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [({"truncation": True}, "truncation"), ({"padding": "max_length"}, "padding='max_length'")],
)
def test_a_length_that_nobody_states_is_asked_for(arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(InputError, match=f"^{name} needs max_length, since the model states none"):
        lengths(None, **arguments)


LENGTHS = st.integers(0, 40)


def one_by_one(first: int, second: int, room: int) -> tuple[int, int]:
    """Take tokens one at a time from the longer text; from equal ones, from the shorter before."""
    a, b = first, second
    while a + b > room:
        if a > b or (a == b and first <= second):
            a -= 1
        else:
            b -= 1
    return a, b


@given(LENGTHS, LENGTHS, LENGTHS)
def test_longest_first_takes_one_by_one_from_the_longer(first: int, second: int, room: int) -> None:
    assert kept_lengths(first, second, room, "longest_first") == one_by_one(first, second, room)


@given(LENGTHS, LENGTHS, LENGTHS)
def test_only_first_and_only_second_are_mirror_images(first: int, second: int, room: int) -> None:
    excess = first + second - room
    if excess > 0 and first <= excess:
        with pytest.raises(InputError, match=f"'only_first': {excess} .* that text has {first};"):
            kept_lengths(first, second, room, "only_first")
        with pytest.raises(InputError, match=f"'only_second': {excess} .* that text has {first};"):
            kept_lengths(second, first, room, "only_second")
        return
    kept = kept_lengths(first, second, room, "only_first")
    assert kept == (first - max(excess, 0), second)
    assert kept_lengths(second, first, room, "only_second") == kept[::-1]


@given(LENGTHS, LENGTHS, st.sampled_from(["longest_first", "only_first"]))
def test_a_single_text_keeps_what_there_is_room_for(first: int, room: int, strategy: str) -> None:
    assert kept_lengths(first, None, room, strategy) == (min(first, room), 0)


def test_e11_a_single_text_has_no_second() -> None:
    assert kept_lengths(5, None, 5, "only_second") == (5, 0)
    with pytest.raises(InputError, match=r"^truncation='only_second': there is no second text\.$"):
        kept_lengths(6, None, 5, "only_second")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_texts_that_fit_stay_whole(strategy: str) -> None:
    assert kept_lengths(3, 4, 7, strategy) == (3, 4)
    assert kept_lengths(0, 0, 0, strategy) == (0, 0)


TEMPLATE = Tokenizer.from_str(json.dumps(tokenizer_json()))
BERT = Tokenizer.from_str(json.dumps(tokenizer_json()))
BERT.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))

# Of words with one and more tokens, and special tokens that a user typed.
TEXTS = st.lists(st.sampled_from(["a", "the", "unaffable", "[SEP]", "[CLS]"]), max_size=8).map(
    " ".join
)
ITEMS = st.one_of(TEXTS, st.tuples(TEXTS, TEXTS))


def cut_to(length: int | None, strategy: str | None = "longest_first") -> Lengths:
    return Lengths(strategy=strategy, cut=length, pad=None, pads=False)


def ours(
    tokenizer: Tokenizer,
    item: str | Pair,
    lengths: Lengths,
    *,
    side: str = "right",
    special: bool = True,
) -> dict[str, list[int]]:
    encodings = encode(tokenizer, [item], add_special_tokens=special)
    rows, _ = rows_of(encodings, lengths, side=side)
    return {name: row[0] for name, row in members_of(rows, MEMBERS).items()}


def the_librarys(
    tokenizer: Tokenizer, item: str | Pair, lengths: Lengths, *, side: str, special: bool
) -> dict[str, list[int]]:
    """What the library does when it is changed, which ours never is."""
    copied = Tokenizer.from_str(tokenizer.to_str())
    copied.enable_truncation(int(lengths.cut or 0), strategy=str(lengths.strategy), direction=side)
    found = copied.encode_batch([item], add_special_tokens=special)[0]
    return dict(zip(MEMBERS, (found.ids, found.type_ids, found.attention_mask), strict=True))


@pytest.mark.parametrize("tokenizer", [TEMPLATE, BERT], ids=["template", "bert"])
@given(
    item=ITEMS,
    length=st.integers(0, 20),
    strategy=st.sampled_from(STRATEGIES),
    side=st.sampled_from(["left", "right"]),
    special=st.booleans(),
)
def test_rows_are_cut_as_the_library_cuts_them(
    tokenizer: Tokenizer, item: str | Pair, length: int, strategy: str, side: str, special: bool
) -> None:
    lengths = cut_to(length, strategy)
    try:
        found = ours(tokenizer, item, lengths, side=side, special=special)
    except InputError:
        # Refused: where the library does not truncate, drops the other text too, or fails as well.
        frame = tokenizer.num_special_tokens_to_add(isinstance(item, tuple)) if special else 0
        if length <= frame:
            return
        with pytest.raises(Exception, match="Truncation error"):
            the_librarys(tokenizer, item, lengths, side=side, special=special)
        return
    assert len(found["input_ids"]) <= length
    if length == 0:
        # Asked for nothing, the library gives everything.
        assert found == {name: [] for name in MEMBERS}
    else:
        assert found == the_librarys(tokenizer, item, lengths, side=side, special=special)


def test_uncut_rows_are_the_librarys_own() -> None:
    items: list[str | Pair] = [("a the", "unaffable"), ("", "")]
    encodings = encode(TEMPLATE, items, add_special_tokens=True)
    found, truncated = rows_of(encodings, cut_to(None, None), side="right")
    rows = members_of(found, MEMBERS)
    assert rows["input_ids"] == [e.ids for e in TEMPLATE.encode_batch(items)]
    assert rows["token_type_ids"] == [[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 1]]
    assert rows["attention_mask"] == [[1] * 8, [1] * 3]
    assert truncated == {}
    assert rows_of([], cut_to(3), side="right") == ([], {})
    assert members_of([], MEMBERS) == {name: [] for name in MEMBERS}


def test_lengths_before_and_after_are_told_of_the_rows_that_were_cut() -> None:
    items = ["a", "a a a a", "a a"]
    encodings = encode(TEMPLATE, items, add_special_tokens=True)
    rows, truncated = rows_of(encodings, cut_to(4), side="right")
    assert truncated == {1: (6, 4)}
    assert [len(row.member("ids")) for row in rows] == [3, 4, 4]


@pytest.mark.parametrize(("side", "kept"), [("right", ["a", "b"]), ("left", ["c", "d"])])
def test_the_side_says_which_end_is_lost(side: str, kept: list[str]) -> None:
    found = ours(TEMPLATE, "a b c d", cut_to(4), side=side)["input_ids"]
    assert [TOKENS[index] for index in found] == ["[CLS]", *kept, "[SEP]"]


@pytest.mark.parametrize(
    ("item", "length", "frame"), [("a", 0, 2), ("a", 1, 2), (("a", "b"), 0, 3), (("a", "b"), 2, 3)]
)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_e10_special_tokens_alone_that_are_too_many_are_refused(
    item: str | Pair, length: int, frame: int, strategy: str
) -> None:
    words = f"^max_length={length}: the {frame} special tokens alone need more"
    with pytest.raises(InputError, match=words):
        ours(TEMPLATE, item, cut_to(length, strategy))


@pytest.mark.parametrize(
    ("item", "length", "tokens"),
    [
        ("a b", 2, ["[CLS]", "[SEP]"]),
        ("a b", 3, ["[CLS]", "a", "[SEP]"]),
        (("a", "b"), 3, ["[CLS]", "[SEP]", "[SEP]"]),
        (("a", "b"), 4, ["[CLS]", "[SEP]", "b", "[SEP]"]),
    ],
)
def test_e10_the_smallest_lengths_are_kept_to(
    item: str | Pair, length: int, tokens: list[str]
) -> None:
    found = ours(TEMPLATE, item, cut_to(length))["input_ids"]
    assert [TOKENS[index] for index in found] == tokens


def test_e11_a_refusal_names_the_row() -> None:
    items: list[Any] = [("a", "b"), ("a", "b c d")]
    encodings = encode(TEMPLATE, items, add_special_tokens=True)
    words = r"^text\[1\]: truncation='only_first': 2 tokens must go, that text has 1; raise max_len"
    with pytest.raises(InputError, match=words):
        rows_of(encodings, cut_to(5, "only_first"), side="right")
    for item in ("a b c d", ("a b c d", "")):
        with pytest.raises(InputError, match=r"^truncation='only_second': there is no second text"):
            ours(TEMPLATE, item, cut_to(4, "only_second"))


def test_what_is_kept_is_named() -> None:
    encoding = encode(TEMPLATE, [("a b c", "a b c d")], add_special_tokens=True)[0]
    kept = kept_tokens(encoding, 6, "longest_first", side="right")
    texts, frame = [slice(1, 2), slice(5, 7)], [slice(0, 1), slice(4, 5), slice(9, 10)]
    assert kept == [(frame[0], texts[0], frame[1], texts[1], frame[2])]


def test_the_library_is_asked_once_for_all_windows_of_a_text() -> None:
    """It makes a new list each time, which for a long text would take minutes."""

    class Counting:
        asked = 0

        @property
        def ids(self) -> list[int]:
            self.asked += 1
            return [7, 8, 9]

    texts: list[Any] = [Counting(), Counting()]
    rows = [
        Row(number=number, encoding=text, kept=(slice(start, start + 1),))
        for number, text in enumerate(texts)
        for start in range(3)
    ]
    assert members_of(rows, ["input_ids"]) == {"input_ids": [[7], [8], [9]] * 2}
    assert [text.asked for text in texts] == [1, 1]


@pytest.mark.parametrize("failure", [PanicException("at src/lib.rs"), Exception("bare")])
def test_d10_a_panic_in_the_library_is_one_error(failure: BaseException) -> None:
    class Failing:
        def encode_batch(self, *arguments: object, **options: object) -> object:
            raise failure

    with pytest.raises(TokenizerError, match=r"^tokenizer: .*(src/lib.rs|bare)"):
        encode(Failing(), ["a"], add_special_tokens=True)  # type: ignore[arg-type]
