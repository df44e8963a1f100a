"""A model without token types, built in code: as one whose token types add zeros."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertForMaskedLM, BertModel, CheckpointError, InputError
from numpy_bert.arrays import widen
from numpy_bert.model.embeddings import BertEmbeddings
from numpy_bert.parameters import EmbeddingParameters
from tests.support.heads import calm_head

IDS = np.random.default_rng(0).integers(5, 61, (3, 7))
MASK = np.array([[1] * 7, [1, 1, 1, 1, 0, 0, 0], [1, 1, 0, 1, 1, 1, 0]])
ROWS = np.random.default_rng(1).standard_normal((3, 7, 24))
POSITIONS = np.random.default_rng(2).integers(0, 19, (3, 7))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return calm_head(tmp_path_factory.mktemp("calm"), "BertForMaskedLM")


def two(folder: Path, dtype: str) -> tuple[BertForMaskedLM, BertForMaskedLM]:
    """Return a model without token types, and one whose table of them is 0."""
    model = BertForMaskedLM.from_pretrained(folder, dtype=dtype)
    found = []
    for table in (None, EmbeddingParameters(weight=np.zeros((3, 24), dtype))):
        parameters = model.bert.parameters
        embeddings = replace(parameters.embeddings, token_type_embeddings=table)
        parameters = replace(parameters, embeddings=embeddings)
        bert = BertModel(model.config, parameters, model.loading_info)
        found.append(BertForMaskedLM(bert, model.head, folder))
    return found[0], found[1]


def alike(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


@pytest.mark.parametrize(
    "given",
    [
        {"input_ids": IDS},
        {"input_ids": IDS[:1, :2]},
        {"input_ids": IDS, "position_ids": POSITIONS},
        {"inputs_embeds": ROWS},
    ],
)
def test_the_embedding_has_two_terms(given: dict[str, Any], folder: Path, dtype: str) -> None:
    none, zeros = (model.bert.embeddings for model in two(folder, dtype))
    if "inputs_embeds" in given:
        given = {"inputs_embeds": ROWS.astype(dtype)}
    alike(none(**given), zeros(**given))
    steps, others = none.steps(**given), zeros.steps(**given)
    assert steps.token_type_embeddings is None
    assert others.token_type_embeddings is not None
    alike(steps.sum, others.sum)
    alike(steps.output, others.output)
    rng = np.random.default_rng
    alike(none(**given, rng=rng(1)), zeros(**given, rng=rng(1)))


def test_many_rows_are_the_same_in_threads(folder: Path, dtype: str) -> None:
    none, zeros = (model.bert.embeddings for model in two(folder, dtype))
    ids = np.random.default_rng(3).integers(5, 61, (900, 19))
    alike(none(ids), zeros(ids))


@pytest.mark.parametrize("unpad", [True, False])
def test_a_call_and_its_trace(unpad: bool, folder: Path, dtype: str) -> None:
    none, zeros = two(folder, dtype)
    alike(none(IDS, MASK, unpad_inputs=unpad).logits, zeros(IDS, MASK, unpad_inputs=unpad).logits)
    alike(none.bert.packed(IDS[0], [3, 4]), zeros.bert.packed(IDS[0], [3, 4]))
    found, others = (dict(model.bert.trace(IDS, MASK)) for model in (none, zeros))
    assert others.keys() - found.keys() == {"embeddings.token_type_embeddings"}
    for name, array in found.items():
        alike(array, others[name])


@pytest.mark.parametrize("drops", [False, True])
def test_gradients(drops: bool, folder: Path, dtype: str) -> None:
    batch = {"input_ids": IDS, "attention_mask": MASK, "labels": np.where(MASK, IDS, -100)}
    both = [
        model.loss_and_gradients(batch, rng=np.random.default_rng(5) if drops else None)
        for model in two(folder, dtype)
    ]
    assert both[0].loss == both[1].loss
    assert both[0].bert.embeddings.token_type_embeddings is None
    found, others = (dict(gradients.named()) for gradients in both)
    key = "bert.embeddings.token_type_embeddings.weight"
    assert others.keys() - found.keys() == {key}
    for name, array in found.items():
        alike(array, others[name])


def test_token_types_are_refused_by_name(folder: Path, dtype: str) -> None:
    none, _ = two(folder, dtype)
    types = np.zeros_like(IDS)
    alike(none(IDS, token_type_ids=types).logits, none(IDS).logits)  # they say nothing
    types[1, 2] = 1
    what = (
        r"^embeddings: token_type_ids must be 0 or left out, as the model has no token types "
        r"\(token_type_embeddings\); got an array with 1\. Drop"
    )
    for call in (none, none.bert, none.steps, none.bert.trace):
        with pytest.raises(InputError, match=what):
            call(IDS, token_type_ids=types)
    with pytest.raises(InputError, match=what):
        none.bert.packed(IDS[1], [7], types[1])
    with pytest.raises(InputError, match=r"token_type_ids must have shape \(3, 7\)"):
        none(IDS, token_type_ids=types[:1])
    assert not hasattr(none.bert.embeddings, "token_type_embeddings")


def test_it_is_copied_and_given_other_arrays(folder: Path, dtype: str) -> None:
    none, _ = two(folder, dtype)
    expected = none(IDS, MASK).logits
    arrays = dict(none.named_parameters())
    assert not any("token_type" in name for name in arrays)
    for other in (
        copy.deepcopy(none),
        pickle.loads(pickle.dumps(none)),
        none.with_parameters(arrays),
    ):
        assert other.bert.parameters.embeddings.token_type_embeddings is None
        alike(other(IDS, MASK).logits, expected)


def test_a_weight_that_is_not_finite_is_named(folder: Path, dtype: str) -> None:
    none, _ = two(folder, dtype)
    parameters = none.bert.parameters.embeddings
    table = widen(parameters.position_embeddings.weight, dtype).copy()
    table[1, 3] = np.nan
    broken = replace(parameters, position_embeddings=EmbeddingParameters(weight=table))
    with pytest.raises(CheckpointError, match=r"position_embeddings\.weight\[1, 3\] = nan"):
        BertEmbeddings(broken, none.config)(IDS)
