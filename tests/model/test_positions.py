"""Where positions count tokens from the row of padding: RoBERTa's, whatever the model is called."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numpy_bert.config import BertConfig
from numpy_bert.errors import InputError
from numpy_bert.inputs import model_inputs, packed_inputs, padded
from numpy_bert.model.bert import BertModel
from numpy_bert.parameters import BertEmbeddingsParameters

PAD = 3
CONFIG: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 11,
    "initializer_range": 0.3,
}
# Padding's ids in front, within and behind, of which the second row's are no padding by any mask.
IDS = np.array([[PAD, PAD, 5, 6, 7], [5, PAD, 6, 7, PAD], [8, 9, 10, 11, 12]])
POSITIONS = [[3, 3, 4, 5, 6], [4, 3, 5, 6, 3], [4, 5, 6, 7, 8]]


@pytest.fixture(scope="module")
def tables() -> BertEmbeddingsParameters:
    return BertModel(BertConfig(**CONFIG)).parameters.embeddings


def test_positions_count_the_tokens_that_are_not_padding(tables: BertEmbeddingsParameters) -> None:
    found = model_inputs(tables, IDS, position_padding=PAD)
    assert found.position_ids is not None
    assert found.position_ids.tolist() == POSITIONS
    assert found.mask is None
    given = model_inputs(tables, IDS, position_ids=np.arange(5), position_padding=PAD)
    assert given.position_ids is not None
    assert given.position_ids.tolist() == [[0, 1, 2, 3, 4]]
    assert model_inputs(tables, IDS).position_ids is None


def test_rows_in_place_of_ids_are_all_tokens(tables: BertEmbeddingsParameters) -> None:
    rows = np.zeros((2, 5, 24), np.float32)
    found = model_inputs(tables, inputs_embeds=rows, position_padding=PAD)
    assert found.position_ids is not None
    assert found.position_ids.tolist() == [[4, 5, 6, 7, 8]]


def test_padding_counts_towards_no_limit(tables: BertEmbeddingsParameters) -> None:
    """The rows after padding's are those that texts use: 7 of 11."""
    long = np.full((2, 20), PAD)
    long[1, 4:11] = 5
    assert model_inputs(tables, long, position_padding=PAD).shape == (2, 20)
    long[1, 15] = 5
    what = (
        r"^embeddings: input_ids has 8 tokens a row; the model has 11 positions, of which texts "
        r"use 7 \(max_position_embeddings\)\. Cut them: "
        r"tokenizer\(\.\.\., truncation=True, max_length=7\)\.$"
    )
    with pytest.raises(InputError, match=what):
        model_inputs(tables, long, position_padding=PAD)
    rows = np.zeros((1, 8, 24), np.float32)
    with pytest.raises(InputError, match=r"^embeddings: inputs_embeds has 8 tokens a row"):
        model_inputs(tables, inputs_embeds=rows, position_padding=PAD)
    what = (
        r"^packed: lengths\[1\] must be from 1 to 7 \(max_position_embeddings is 11, of which "
        r"texts use 7\); got 8\. Leave"
    )
    with pytest.raises(InputError, match=what):
        packed_inputs(tables, np.full(10, 5), [2, 8], position_padding=PAD)


def test_packed_sequences_have_positions_of_their_own(tables: BertEmbeddingsParameters) -> None:
    flat = np.array([5, PAD, 6, 7, PAD, PAD, 8, 9])
    inputs, lengths = packed_inputs(tables, flat, [4, 1, 3], position_padding=PAD)
    assert inputs.position_ids is not None
    assert inputs.position_ids.tolist() == [[4, 3, 5, 6, 3, 3, 4, 5]]
    batch = padded(inputs, lengths)
    assert batch.position_ids is not None
    assert batch.mask is not None
    assert batch.position_ids[batch.mask].tolist() == inputs.position_ids[0].tolist()


def test_ids_of_padding_are_padding_where_that_is_asked_for(
    tables: BertEmbeddingsParameters,
) -> None:
    found = model_inputs(tables, IDS, masked_id=PAD)
    assert found.mask is not None
    assert np.array_equal(found.mask, IDS != PAD)
    assert model_inputs(tables, IDS[2:], masked_id=PAD).mask is None
    given = model_inputs(tables, IDS, np.ones((3, 5)), masked_id=PAD)
    assert given.mask is None
