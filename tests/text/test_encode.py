"""Texts to rows, and which tokens go: held against the library's own truncation."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.processors import BertProcessing

from numpy_bert.errors import InputError, TokenizerError
from numpy_bert.text.arguments import Lengths
from numpy_bert.text.encode import MEMBERS, encode, excess, rows_of
from numpy_bert.text.inputs import Pair
from numpy_bert.text.truncation import STRATEGIES
from tests.support.tokenizer_files import TOKENS, tokenizer_json

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
    return {name: row[0] for name, row in rows.items()}


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
    rows, truncated = rows_of(encodings, cut_to(None, None), side="right")
    assert rows["input_ids"] == [e.ids for e in TEMPLATE.encode_batch(items)]
    assert rows["token_type_ids"] == [[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 1]]
    assert rows["attention_mask"] == [[1] * 8, [1] * 3]
    assert truncated == {}
    assert rows_of([], cut_to(3), side="right") == ({name: [] for name in MEMBERS}, {})


def test_lengths_before_and_after_are_told_of_the_rows_that_were_cut() -> None:
    items = ["a", "a a a a", "a a"]
    encodings = encode(TEMPLATE, items, add_special_tokens=True)
    rows, truncated = rows_of(encodings, cut_to(4), side="right")
    assert truncated == {1: (6, 4)}
    assert [len(row) for row in rows["input_ids"]] == [3, 4, 4]


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


def test_what_goes_is_named_from_the_end() -> None:
    encoding = encode(TEMPLATE, [("a b c", "a b c d")], add_special_tokens=True)[0]
    gone = excess(encoding, 6, "longest_first", side="right")
    assert gone == [slice(7, 9), slice(2, 4)]


class PanicException(BaseException):
    """Named as the one that a Rust panic raises."""


@pytest.mark.parametrize("failure", [PanicException("at src/lib.rs"), Exception("bare")])
def test_d10_a_panic_in_the_library_is_one_error(failure: BaseException) -> None:
    class Failing:
        def encode_batch(self, *arguments: object, **options: object) -> object:
            raise failure

    with pytest.raises(TokenizerError, match=r"^tokenizer: .*(src/lib.rs|bare)"):
        encode(Failing(), ["a"], add_special_tokens=True)  # type: ignore[arg-type]
