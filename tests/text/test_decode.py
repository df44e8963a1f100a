"""Ids to text."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from numpy_bert import BertTokenizer
from numpy_bert.errors import InputError, TokenizerError
from numpy_bert.text.decode import decode
from tests.support.tokenizer_files import TOKENS, tokenizer_json


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_str(json.dumps(tokenizer_json()))


@pytest.mark.parametrize(
    ("tokens", "skips", "cleans_up", "text"),
    [
        (["[CLS]", "un", "##aff", "##able", "[SEP]"], True, False, "unaffable"),
        (["[CLS]", "un", "##aff", "[SEP]"], False, False, "[CLS] unaff [SEP]"),
        (["hello", ",", "world", "."], False, False, "hello, world."),
        (["a", "'", "t"], False, False, "a ' t"),
        (["a", "'", "t"], False, True, "a't"),
        (["[SEP]", "##able"], True, False, "##able"),
        ([], False, True, ""),
    ],
)
def test_tokens_are_joined(
    tokenizer: Tokenizer, tokens: list[str], skips: bool, cleans_up: bool, text: str
) -> None:
    ids = [TOKENS.index(token) for token in tokens]
    assert decode(tokenizer, ids, skip_special_tokens=skips, cleans_up=cleans_up) == text


def test_what_the_library_cannot_decode_is_one_error(tokenizer: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match=r"^decode: "):
        decode(tokenizer, [-1], skip_special_tokens=False, cleans_up=False)


@pytest.mark.parametrize("value", [None, 5, "ab", {1: [2]}, {2}, np.int64(3), np.array(3)])
def test_sequences_that_are_none_are_refused(value: Any) -> None:
    with pytest.raises(InputError, match=r"^sequences: is \w+; a list of sequences of ids was"):
        BertTokenizer.from_pretrained("demo").batch_decode(value)


@pytest.mark.parametrize("value", ["no", 0, 1, None, []])
def test_switches_that_are_none_are_refused_by_name(value: Any) -> None:
    tokenizer = BertTokenizer.from_pretrained("demo")
    names = ["add_special_tokens", "return_offsets_mapping", "return_special_tokens_mask"]
    names += [] if value is None else ["split_special_tokens"]
    for name in names:
        with pytest.raises(InputError, match=f"^{name}=.*: there are True and False"):
            tokenizer("a", **{name: value})
    for call in (tokenizer.decode, lambda ids, **how: tokenizer.batch_decode([ids], **how)):
        with pytest.raises(InputError, match=r"^skip_special_tokens=.*: there are True and False"):
            call([2, 3], skip_special_tokens=value)
    assert tokenizer("a", return_offsets_mapping=np.True_)["offset_mapping"]  # type: ignore[arg-type]
