"""The parts that few models have: against their definition, and their gradients by differences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from numpy_bert.arrays import Array
from numpy_bert.blocks.embeddings import embeddings, embeddings_backward
from numpy_bert.blocks.encoder import (
    encoder,
    encoder_backward,
    encoder_layer,
    first_token,
    first_token_backward,
    relative_bias,
)
from numpy_bert.config import BertConfig
from numpy_bert.inputs import ModelInputs
from numpy_bert.ops.relative_position import relative_position_bucket
from numpy_bert.parameters import (
    BertEmbeddingsParameters,
    BertEncoderParameters,
    EmbeddingParameters,
    LinearParameters,
    arrays_of,
    build,
    shapes,
)
from numpy_bert.trace import named_steps
from tests.support.arrays import sample
from tests.support.checkpoints import TINY
from tests.support.differences import differences, relative_error, slope

B, T, E, H, A = 3, 7, 10, 24, 4
BUDGET = 1e-7
CONFIG = BertConfig.from_dict(TINY)
MASK = np.array([[1, 1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 0, 1, 1], [1, 1, 1, 1, 1, 1, 1]]) == 1


def table(rows: int, features: int, dtype: str, seed: int = 5) -> EmbeddingParameters:
    return EmbeddingParameters(weight=sample((rows, features), dtype, seed=seed))


def tables(dtype: str) -> BertEmbeddingsParameters:
    """Return an embedding of E features, with four tasks."""

    def get(key: str) -> Array:
        rows = shapes(BertEmbeddingsParameters, CONFIG)[key][:-1]
        return sample((*rows, E), dtype, seed=len(key)) + key.endswith("LayerNorm.weight")

    own = build(BertEmbeddingsParameters, CONFIG, get, "")
    return replace(own, task_type_embeddings=table(4, E, dtype))


def layers(dtype: str, *, biased: bool = True) -> BertEncoderParameters:
    """Return two layers, and what is added to their scores."""
    rng = np.random.default_rng(2)

    def get(key: str) -> Array:
        shape = shapes(BertEncoderParameters, CONFIG)[key]
        found: Array = rng.normal(key.endswith("LayerNorm.weight"), 0.3, shape).astype(dtype)
        return found

    own = build(BertEncoderParameters, CONFIG, get, "")
    return replace(own, relative_attention_bias=table(32, A, dtype)) if biased else own


def rates(**chosen: float) -> Any:
    """Return what the encoder reads of a config, dropout off but in some places."""
    names = ("hidden", "attention_probs", "attention_output")
    off = {f"{name}_dropout_prob": chosen.get(name, 0.0) for name in names}
    return SimpleNamespace(num_attention_heads=A, activation="gelu", layer_norm_eps=1e-5, **off)


def shifted(tree: Any, along: Mapping[str, Array], step: float, prefix: str = "") -> Any:
    """Return a tree whose arrays have gone a step, those along which a direction is given."""
    if isinstance(tree, tuple):
        return tuple(shifted(x, along, step, f"{prefix}{n}.") for n, x in enumerate(tree))
    if is_dataclass(tree):
        names = [field.name for field in fields(tree)]
        parts = {n: shifted(getattr(tree, n), along, step, f"{prefix}{n}.") for n in names}
        return replace(tree, **parts)  # type: ignore[type-var]
    return tree if prefix[:-1] not in along else tree + step * along[prefix[:-1]]


def inputs(**others: Any) -> ModelInputs:
    rng = np.random.default_rng(0)
    segments = rng.integers(0, TINY["type_vocab_size"], (B, T))
    return ModelInputs(words=rng.integers(0, 61, (B, T)), segment_ids=segments, **others)


def test_task_0_is_added_last_and_to_all(dtype: str) -> None:
    own, given = tables(dtype), inputs()
    steps = embeddings(own, given, eps=1e-5, p=0.1)
    assert steps.task_type_embeddings is not None
    assert steps.token_type_embeddings is not None
    task = own.task_type_embeddings
    assert task is not None
    assert np.array_equal(steps.task_type_embeddings, np.broadcast_to(task.weight[0], (B, T, E)))
    before = (steps.word_embeddings + steps.token_type_embeddings) + steps.position_embeddings
    assert steps.sum.tobytes() == (before + steps.task_type_embeddings).tobytes()
    assert "embeddings.task_type_embeddings" in dict(named_steps(steps, "embeddings"))
    without = replace(own, task_type_embeddings=None, token_type_embeddings=None)
    plain = embeddings(without, given, eps=1e-5, p=0.1)
    words = steps.word_embeddings
    assert plain.sum.tobytes() == (words + steps.position_embeddings).tobytes()
    assert (
        not {"task_type_embeddings", "token_type_embeddings"} & dict(named_steps(plain, "x")).keys()
    )


@pytest.mark.parametrize("by_row", [False, True])
def test_the_gradient_of_every_table_is_the_slope(by_row: bool) -> None:
    positions = np.random.default_rng(3).integers(0, 19, (B, T)) if by_row else None
    own, given = tables("float64"), inputs(position_ids=positions)
    weights = sample((B, T, E), "float64", seed=9)

    def value(parameters: BertEmbeddingsParameters) -> float:
        rng = np.random.default_rng(1)
        return float(
            (embeddings(parameters, given, eps=1e-5, p=0.3, rng=rng).output * weights).sum()
        )

    steps = embeddings(own, given, eps=1e-5, p=0.3, rng=np.random.default_rng(1))
    found = embeddings_backward(weights, own, steps, given, p=0.3)
    for seed, (key, array) in enumerate(arrays_of(found)):
        along = {key: sample(array.shape, "float64", seed=seed)}
        expected = slope(lambda step, along=along: value(shifted(own, along, step)))  # type: ignore[misc]
        assert float((array * along[key]).sum()) == pytest.approx(expected, rel=1e-6), key
    tasks = found.task_type_embeddings
    assert tasks is not None
    assert tasks.weight[0].any()
    assert not tasks.weight[1:].any()


def test_padding_has_no_gradient_in_either_table() -> None:
    positions = np.array([[2, 3, 4, 5, 1, 1, 1]] * B)
    own, given = tables("float64"), inputs(position_ids=positions)
    steps = embeddings(own, given, eps=1e-5, p=0.0)
    grad, word = sample((B, T, E), "float64", seed=9), int(given.words[0, 0])
    every = embeddings_backward(grad, own, steps, given, p=0.0)
    found = embeddings_backward(
        grad, own, steps, given, p=0.0, padding_idx=word, position_padding_idx=1
    )
    for one, other, row in (
        (every.word_embeddings, found.word_embeddings, word),
        (every.position_embeddings, found.position_embeddings, 1),
    ):
        assert one.weight[row].any()
        assert not other.weight[row].any()
        others = np.arange(len(one.weight)) != row
        assert np.array_equal(one.weight[others], other.weight[others])


@pytest.mark.parametrize("mask", [None, MASK], ids=["whole", "padded"])
def test_all_layers_add_the_number_of_a_distance_to_their_scores(mask: Any, dtype: str) -> None:
    own, hidden = layers(dtype), sample((B, T, H), dtype)
    steps = encoder(own, hidden, mask, config=CONFIG)
    bias, rows = steps.relative_attention_bias, own.relative_attention_bias
    assert bias is not None
    assert rows is not None
    for query, key in np.ndindex(T, T):
        bucket = int(relative_position_bucket(np.array(key - query)))
        assert np.array_equal(bias[query, key], rows.weight[bucket])
    assert next(iter(named_steps(steps, "encoder")))[0] == "encoder.relative_attention_bias"
    for layer, done, given in zip(
        own.layer, steps.layer, (hidden, steps.layer[0].output.output), strict=True
    ):
        plain = encoder_layer(layer, given, mask, config=CONFIG).attention.self.scores
        seen = np.ones((B, T), bool) if mask is None else mask
        expected = np.where(seen[:, None, None], plain + bias.transpose(2, 0, 1), plain)
        assert np.array_equal(done.attention.self.scores, expected)
    assert relative_bias(layers(dtype, biased=False), hidden) is None


@pytest.mark.parametrize("mask", [None, MASK], ids=["whole", "padded"])
@pytest.mark.parametrize("biased", [False, True])
def test_the_encoders_gradient_is_the_slope(biased: bool, mask: Any) -> None:
    """Each place has another rate of dropout."""
    config = rates(hidden=0.1, attention_probs=0.3, attention_output=0.2)
    own, hidden = layers("float64", biased=biased), sample((B, T, H), "float64")
    weights = sample((B, T, H), "float64", seed=9)

    def run(parameters: BertEncoderParameters, x: Array) -> Any:
        return encoder(parameters, x, mask, config=config, rng=np.random.default_rng(4))

    steps = run(own, hidden)
    found = encoder_backward(weights, own, hidden, steps, mask, config=config)
    assert (found.parameters.relative_attention_bias is not None) == biased
    rng = np.random.default_rng(6)
    along: dict[str, Array] = {k: rng.standard_normal(array.shape) for k, array in arrays_of(own)}
    toward = rng.standard_normal(hidden.shape)

    def value(step: float) -> float:
        output = run(shifted(own, along, step), hidden + step * toward).output
        return float((output * weights).sum())

    ours = float((found.hidden * toward).sum())
    ours += sum(float((array * along[key]).sum()) for key, array in arrays_of(found.parameters))
    assert ours == pytest.approx(slope(lambda step: value(step * 0.01)) / 0.01, rel=1e-7)


def test_the_gradient_of_the_shared_table_is_that_of_differences() -> None:
    own, hidden = layers("float64"), sample((B, T, H), "float64")
    weights, rows = sample((B, T, H), "float64", seed=9), own.relative_attention_bias
    assert rows is not None

    def value(weight: Array) -> float:
        moved = replace(own, relative_attention_bias=EmbeddingParameters(weight=weight))
        return float((encoder(moved, hidden, MASK, config=CONFIG).output * weights).sum())

    steps = encoder(own, hidden, MASK, config=CONFIG)
    found = encoder_backward(weights, own, hidden, steps, MASK, config=CONFIG)
    assert found.parameters.relative_attention_bias is not None
    expected = differences(value, np.asarray(rows.weight))
    gradient = np.asarray(found.parameters.relative_attention_bias.weight, np.float64)
    assert relative_error(gradient, expected) < BUDGET


def test_gradients_have_the_parameters_dtype(dtype: str) -> None:
    own, hidden = layers(dtype), sample((B, T, H), dtype)
    steps = encoder(own, hidden, MASK, config=CONFIG)
    found = encoder_backward(hidden, own, hidden, steps, MASK, config=CONFIG)
    assert {array.dtype for _, array in arrays_of(found.parameters)} == {np.dtype(dtype)}
    assert steps.output.dtype == found.hidden.dtype == dtype


@pytest.mark.parametrize(
    "chosen",
    [{"hidden": 0.25}, {"attention_output": 0.25}, {"hidden": 0.25, "attention_output": 0.5}],
    ids=str,
)
def test_each_place_has_its_own_rate_and_draws_nothing_where_it_is_0(
    chosen: dict[str, float], dtype: str
) -> None:
    layer, hidden = layers(dtype).layer[0], sample((B, T, H), dtype)
    steps = encoder_layer(layer, hidden, config=rates(**chosen), rng=np.random.default_rng(0))
    rng = np.random.default_rng(0)
    assert steps.attention.self.dropout.keep is None
    for part, name in ((steps.attention.output, "attention_output"), (steps.output, "hidden")):
        p = chosen.get(name, 0.0)
        if not p:
            assert part.dropout.keep is None
            continue
        assert part.dropout.keep is not None
        assert np.array_equal(part.dropout.keep, rng.random((B, T, H), dtype=np.float32) >= p)
        kept = np.where(part.dropout.keep, part.dense / np.dtype(dtype).type(1 - p), 0)
        assert np.abs(part.dropout.output - kept).max() <= 1e-6


@pytest.mark.parametrize("projected", [False, True])
def test_the_first_token_stands_for_its_sequence(projected: bool, dtype: str) -> None:
    dense = LinearParameters(weight=sample((5, H), dtype), bias=sample((5,), dtype, seed=1))
    hidden = np.array(sample((B, T, H), dtype))
    steps = first_token(dense if projected else None, hidden)
    expected = hidden[:, 0].astype("f8")
    if projected:
        expected = expected @ dense.weight.T.astype("f8") + dense.bias
        assert steps.dense is steps.output
    assert np.abs(steps.output - expected).max() <= 1e-5
    assert steps.output.dtype == dtype
    assert [name for name, _ in named_steps(steps, "pooler")] == (
        ["pooler.dense", "pooler"] if projected else ["pooler"]
    )
    hidden[:, 1:] = np.nan
    assert (
        first_token(dense if projected else None, hidden).output.tobytes() == steps.output.tobytes()
    )
    hidden[:] = 0.0  # which the output has no part of
    assert math.isfinite(steps.output.sum())
    assert steps.output.any()


@pytest.mark.parametrize("projected", [False, True])
def test_the_first_tokens_gradients_are_those_of_differences(projected: bool) -> None:
    dense = LinearParameters(weight=sample((5, H), "float64"), bias=sample((5,), "float64", seed=1))
    own, hidden = dense if projected else None, sample((B, T, H), "float64")
    grad = sample(first_token(own, hidden).output.shape, "float64", seed=9)
    found = first_token_backward(grad, own, hidden)
    expected = differences(lambda x: float((first_token(own, x).output * grad).sum()), hidden)
    assert relative_error(found.hidden, expected) < BUDGET
    assert (found.parameters is not None) == projected
    if found.parameters is not None:
        expected = differences(
            lambda w: float((first_token(replace(dense, weight=w), hidden).output * grad).sum()),
            dense.weight,
        )
        assert relative_error(found.parameters.weight, expected) < BUDGET
        assert np.allclose(found.parameters.bias, grad.sum(axis=0))
