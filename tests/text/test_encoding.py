"""numpy_bert.text.encoding: members, copies, and what the rows know of their texts."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from numpy_bert import BertTokenizer, InputError
from numpy_bert.text.encoding import BatchEncoding
from tests.text.test_batch import rows


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return BertTokenizer.from_pretrained("demo")


def test_members_are_items_and_attributes() -> None:
    encoding = BatchEncoding(rows(2), {0: (9, 2)})
    assert encoding.input_ids is encoding["input_ids"]
    assert (list(encoding), encoding.truncated) == (list(rows()), {0: (9, 2)})
    assert dict(**encoding) == rows(2)
    with pytest.raises(AttributeError, match="no 'ids'; it has input_ids, token_type_ids, att"):
        _ = encoding.ids


@pytest.mark.parametrize("method", ["copy", "deepcopy", "pickle"])
def test_an_encoding_survives_copying(method: str) -> None:
    encoding = BatchEncoding(rows(2), {0: (9, 2)})
    if method == "pickle":
        found = pickle.loads(pickle.dumps(encoding))
    else:
        found = getattr(copy, method)(encoding)
    assert (type(found), found, found.truncated) == (BatchEncoding, encoding, {0: (9, 2)})
    assert BatchEncoding(rows(2)).truncated == {}


def test_a_copy_knows_its_texts(tokenizer: BertTokenizer) -> None:
    encoding = tokenizer("a bee", "c", padding="max_length", max_length=7)
    for found in (
        copy.copy(encoding),
        copy.deepcopy(encoding),
        pickle.loads(pickle.dumps(encoding)),
    ):
        assert found.tokens() == ["[CLS]", "a", "bee", "[SEP]", "c", "[SEP]", "[PAD]"]
        assert found.sequence_ids() == [None, 0, 0, None, 1, None, None]
        assert found.word_ids() == [None, 0, 1, None, 0, None, None]


def test_places_are_those_of_the_row_as_it_was_cut_and_padded(tokenizer: BertTokenizer) -> None:
    options: dict[str, Any] = {"padding": "max_length", "max_length": 7, "padding_side": "left"}
    windows = tokenizer(
        "a b c d e f", truncation=True, stride=1, return_overflowing_tokens=True, **options
    )
    assert windows["overflow_to_sample_mapping"] == [0, 0]
    assert windows.tokens(1) == ["[PAD]", "[PAD]", "[PAD]", "[CLS]", "e", "f", "[SEP]"]
    assert windows.tokens(-1) == windows.tokens(1)
    assert windows.token_to_chars(1, 4) == (8, 9)
    assert windows.token_to_chars(1, 0) is None
    assert windows.char_to_token(1, 10) == 5
    assert windows.char_to_token(1, 0) is None  # which is in the other window
    assert windows.char_to_token(0) == 1


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda e: e.tokens(1), r"^the row must be a whole number from -1 to 0; got 1\.$"),
        (lambda e: e.word_ids(-2), r"^the row must be a whole number from -1 to 0; got -2\.$"),
        (lambda e: e.token_to_chars(-1), r"^the index must be a whole number from 0; got -1\.$"),
        (lambda e: e.tokens("0"), r"^the row must be a whole number from -1 to 0; got '0'\.$"),
        (lambda e: e.token_to_chars(1.5), r"^the index must be a whole number from 0; got 1\.5\.$"),
        (lambda e: e.char_to_token(0, -1), r"^the index must be a whole number from 0; got -1\.$"),
        (lambda e: e.to("cuda"), r"^device must be 'cpu', where NumPy computes; got 'cuda'\.$"),
    ],
)
def test_what_there_is_not_is_refused(tokenizer: BertTokenizer, ask: Any, words: str) -> None:
    encoding = tokenizer("a")
    assert encoding.to("cpu") is encoding
    with pytest.raises(InputError, match=words):
        ask(encoding)
