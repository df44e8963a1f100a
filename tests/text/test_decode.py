"""Ids to text."""

from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer

from numpy_bert.errors import TokenizerError
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
