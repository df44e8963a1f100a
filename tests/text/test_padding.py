"""numpy_bert.text.padding: every member with its own value, and what is encoded already."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertTokenizer, InputError
from numpy_bert.text.padding import Padding, pad_rows
from tests.text.test_batch import rows

PLAIN = Padding(token="[PAD]", token_id=0, left=False)


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return BertTokenizer.from_pretrained("demo")


@pytest.mark.parametrize("left", [False, True])
def test_every_member_is_padded_with_its_own_value(left: bool) -> None:
    given = rows(1, 3, 0)
    padded = pad_rows(given, Padding(token="[PAD]", token_id=5, left=left))
    step = -1 if left else 1
    assert padded["input_ids"] == [[7, 5, 5][::step], [7, 7, 7], [5, 5, 5]]
    for name in ("token_type_ids", "attention_mask"):
        assert padded[name] == [[1, 0, 0][::step], [1, 1, 1], [0, 0, 0]]
    assert given == rows(1, 3, 0)


def test_rows_that_are_longer_stay() -> None:
    found = pad_rows(rows(1, 3), replace(PLAIN, length=2))["input_ids"]
    assert [len(row) for row in found] == [2, 3]
    assert pad_rows(rows(), PLAIN) == rows()
    assert pad_rows(rows(), replace(PLAIN, length=9)) == rows()


def test_lengths_are_rounded_up() -> None:
    for length, multiple, expected in ((None, 4, 4), (None, 3, 3), (5, 4, 8), (8, 4, 8)):
        padding = replace(PLAIN, length=length, multiple=multiple)
        assert {len(row) for row in pad_rows(rows(1, 3), padding)["input_ids"]} == {expected}


@pytest.mark.parametrize(
    ("lengths", "length", "words"),
    [
        ((1,), 10**12, "1 rows of 1,000,000,000,000 tokens would take more than 24,000 GB"),
        ((3, 2) * 50, 10_000_001, "100 rows of 10,000,001 tokens would take more than 24 GB"),
    ],
)
def test_e12_padding_beyond_all_memory_is_refused_before_it_is_tried(
    lengths: tuple[int, ...], length: int, words: str
) -> None:
    with pytest.raises(InputError, match=f"^padding: {words}; encode fewer texts at a time"):
        pad_rows(rows(*lengths), replace(PLAIN, length=length))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "encoded_inputs must be what the tokenizer returns, or a list of such; got 'list'."),
        ("a", "encoded_inputs must be what the tokenizer returns, or a list of such; got 'str'."),
        ([[1, 2]], "encoded_inputs must be what the tokenizer returns"),
        ({"ids": [1]}, "encoded_inputs must have input_ids; got ids."),
        ([{"input_ids": [1], "labels": 1}, {"input_ids": [2]}], "encoded_inputs[1] must have lab"),
        ({"input_ids": 5}, "input_ids must be a list of ids, or of such lists; got 5."),
        ({"input_ids": None}, "input_ids must be a list of ids, or of such lists; got None."),
        ({"input_ids": [[1], None]}, "input_ids[1] must be a list of numbers; got None."),
        (
            [{"input_ids": [1], "attention_mask": 1}],
            "attention_mask[0] must be a list of numbers; got 1.",
        ),
        (
            {"input_ids": [[1], [2]], "labels": 1},
            "labels must have 2 rows, as input_ids has; got a",
        ),
        ({"input_ids": [[1], [2]], "labels": [1]}, "labels must have 2 rows, as input_ids has; g"),
        (
            {"input_ids": [[1], [2, 3]], "token_type_ids": [[0], [0]]},
            "token_type_ids[1] must have the 2 tokens that input_ids[1] has; got 1.",
        ),
    ],
)
def test_what_is_not_encoded_is_refused(tokenizer: BertTokenizer, given: Any, words: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(words)}"):
        tokenizer.pad(given)


def test_rows_of_labels_that_are_no_array_are_named(tokenizer: BertTokenizer) -> None:
    given = [{"input_ids": [1, 2], "labels": [0, 1]}, {"input_ids": [1], "labels": [0]}]
    with pytest.raises(InputError, match=r"^labels is no array, since its rows are of different"):
        tokenizer.pad(given, return_tensors="np")
    assert tokenizer.pad(given)["labels"] == [[0, 1], [0]]


def test_padding_changes_nothing_that_was_given(tokenizer: BertTokenizer) -> None:
    encoded = tokenizer(["a", "a test"])
    before = {name: [list(row) for row in rows] for name, rows in encoded.items()}
    padded = tokenizer.pad(encoded)
    assert encoded == before
    assert padded["input_ids"] == [[2, 43, 3, 0], [2, 43, 2444, 3]]
    with pytest.raises(InputError, match="this encoding does not know its texts"):
        padded.tokens()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_length": 4}, "max_length has no effect without truncation=True or padding='max_l"),
        ({"padding": "most"}, "padding must be True, False, 'longest' or 'max_length'; got 'most'"),
        ({"padding_side": "up"}, "padding_side must be 'left' or 'right'; got 'up'."),
        ({"pad_to_multiple_of": 0}, "pad_to_multiple_of must be a whole number from 1; got 0"),
        ({"return_attention_mask": 1}, "return_attention_mask must be True or False; got 1."),
        ({"return_tensors": "pt"}, "return_tensors must be 'np', or None for lists; got 'pt'."),
        ({"verbose": None}, "verbose must be True or False; got None."),
    ],
)
def test_arguments_of_pad_are_checked(
    tokenizer: BertTokenizer, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(words)}"):
        tokenizer.pad({"input_ids": [1]}, **options)


def test_arrays_come_back_as_arrays(tokenizer: BertTokenizer) -> None:
    found = tokenizer.pad({"input_ids": np.array([1, 2])}, padding="max_length", max_length=3)
    assert found["input_ids"].tolist() == [1, 2, 0]
    assert found["attention_mask"].tolist() == [1, 1, 0]
