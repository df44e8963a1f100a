"""A tokenizer's attributes can be set and have effect, or cannot be set."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertTokenizer, InputError
from numpy_bert.text.ids import IdEncoder
from tests.support.tokenizer_files import TOKENS, spelt, tokenizer_json, write_folder

READ_ONLY = [
    *(f"{name}_token" for name in ("cls", "sep", "pad", "unk", "mask")),
    *(f"{name}_token_id" for name in ("cls", "sep", "pad", "unk", "mask")),
    *("notes", "vocab_size", "backend_tokenizer"),
    *("do_lower_case", "strip_accents", "max_len", "extra"),
]


@pytest.fixture
def tokenizer(tmp_path: Path) -> BertTokenizer:
    files = {"tokenizer.json": tokenizer_json(), "config.json": {"model_type": "bert"}}
    return BertTokenizer.from_pretrained(write_folder(tmp_path, files))


def copies(tokenizer: BertTokenizer) -> list[BertTokenizer]:
    return [
        tokenizer,
        copy.copy(tokenizer),
        copy.deepcopy(tokenizer),
        pickle.loads(pickle.dumps(tokenizer)),
    ]


def test_every_public_attribute_is_looked_at(tokenizer: BertTokenizer) -> None:
    methods = {name for name in dir(tokenizer) if callable(getattr(tokenizer, name))}
    public = {name for name in dir(tokenizer) if not name.startswith("_")} - methods
    settable = {"padding_side", "truncation_side", "model_max_length"}
    assert public == settable.union(READ_ONLY[:13])


@pytest.mark.parametrize("name", READ_ONLY)
def test_what_the_files_say_cannot_be_set(tokenizer: BertTokenizer, name: str) -> None:
    for one in copies(tokenizer):
        before = getattr(one, name, None)
        with pytest.raises(AttributeError):
            setattr(one, name, "[SEP]")
        assert getattr(one, name, None) == before or name == "backend_tokenizer"


def test_the_message_says_what_to_do(tokenizer: BertTokenizer) -> None:
    with pytest.raises(AttributeError, match=r"^cls_token cannot be set: .* and load it again\.$"):
        tokenizer.cls_token = "[MASK]"
    with pytest.raises(AttributeError, match=r"^a tokenizer has no 'do_lower_case' that could"):
        tokenizer.do_lower_case = False


def test_the_side_of_truncation_is_obeyed_at_once(tokenizer: BertTokenizer) -> None:
    text, first, last = (
        "a b c d",
        spelt("[CLS]", "a", "b", "[SEP]"),
        spelt("[CLS]", "c", "d", "[SEP]"),
    )
    encoder = IdEncoder(tokenizer)
    for side, expected in (("right", first), ("left", last), ("right", first)):
        tokenizer.truncation_side = side
        for one in copies(tokenizer):
            assert one.truncation_side == side
            assert one(text, truncation=True, max_length=4)["input_ids"] == expected
        for same in (encoder, copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
            assert same([text], 4).ids.tolist() == expected


def test_the_side_of_padding_is_obeyed(tokenizer: BertTokenizer) -> None:
    a = TOKENS.index("a")
    for side, expected in (("left", [0, 2, a, 3]), ("right", [2, a, 3, 0])):
        tokenizer.padding_side = side
        for one in copies(tokenizer):
            assert one(["a", "a b"], padding=True)["input_ids"][0] == expected


@pytest.mark.parametrize(
    ("value", "kept"), [(4, 4), (np.int64(5), 5), (None, None), (1e30, None), (10**30, None)]
)
def test_the_longest_text_is_obeyed(tokenizer: BertTokenizer, value: Any, kept: int | None) -> None:
    tokenizer.model_max_length = value
    for one in copies(tokenizer):
        assert one.model_max_length == kept
        if kept is not None:
            assert len(one("a " * 9, truncation=True)["input_ids"]) == kept
        else:
            with pytest.raises(InputError, match="truncation: give max_length"):
                one("a " * 9, truncation=True)


@pytest.mark.parametrize("name", ["padding_side", "truncation_side"])
@pytest.mark.parametrize("value", ["up", "Left", "", None, 1, ["left"], True])
def test_a_side_that_is_none_is_refused(tokenizer: BertTokenizer, name: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"^{name} = .*; 'left' or 'right' was expected"):
        setattr(tokenizer, name, value)
    assert getattr(tokenizer, name) == "right"


@pytest.mark.parametrize("value", [0, -1, 5.0, "5", True, [5], float("nan")])
def test_a_length_that_is_none_is_refused(tokenizer: BertTokenizer, value: Any) -> None:
    with pytest.raises(InputError, match=r"^model_max_length = .*; a number of tokens, or None"):
        tokenizer.model_max_length = value
    assert tokenizer.model_max_length is None


def test_a_copied_encoder_of_ids_splits_special_tokens_as_before(tmp_path: Path) -> None:
    config = {"split_special_tokens": True}
    files = {"tokenizer.json": tokenizer_json(), "tokenizer_config.json": config}
    encoder = IdEncoder(BertTokenizer.from_pretrained(write_folder(tmp_path, files)))
    expected = encoder(["[SEP]"]).ids.tolist()
    assert len(expected) > 4
    for copied in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        assert copied(["[SEP]"]).ids.tolist() == expected
