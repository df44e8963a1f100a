"""numpy_bert.blocks.encoder against the same maths written with loops over tokens and heads."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertModel
from numpy_bert.arrays import Array
from numpy_bert.blocks.encoder import LayerSteps, encoder, encoder_layer, pooler
from numpy_bert.parameters import BertLayerParameters
from tests.support.arrays import sample
from tests.support.traces import tiny
from tests.tolerances import SAME_MATHS

B, T, H, A, I = 3, 7, 24, 4, 37  # noqa: E741
D = H // A
MASK = np.array([[1, 1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 0, 1, 1], [1, 1, 1, 1, 1, 1, 1]]) == 1
MASK.flags.writeable = False


def normalized(row: Array, parameters: Any, eps: float) -> Array:
    """Normalize one row, its variance over H."""
    spread = math.sqrt(sum((x - row.mean()) ** 2 for x in row) / len(row) + eps)
    result: Array = (row - row.mean()) / spread * parameters.weight + parameters.bias
    return result


def by_loops(layer: BertLayerParameters, x: Array, seen: Any, eps: float) -> Array:
    """Run one layer over one sequence, token by token and head by head."""
    own = layer.attention.self
    query, key, value = (
        np.array([part.weight @ row + part.bias for row in x])
        for part in (own.query, own.key, own.value)
    )
    output = np.empty_like(x)
    for t in range(len(x)):
        context = []
        for head in range(A):
            part = slice(head * D, (head + 1) * D)
            powers = [
                math.exp(query[t, part] @ key[s, part] / math.sqrt(D)) if seen[s] else 0.0
                for s in range(len(x))
            ]
            context.append(np.array(powers) / sum(powers) @ value[:, part])
        after = layer.attention.output
        row = after.dense.weight @ np.concatenate(context) + after.dense.bias + x[t]
        row = normalized(row, after.LayerNorm, eps)
        wide = layer.intermediate.dense.weight @ row + layer.intermediate.dense.bias
        wide = np.array([0.5 * v * math.erfc(-v / math.sqrt(2)) for v in wide])
        narrow = layer.output.dense.weight @ wide + layer.output.dense.bias + row
        output[t] = normalized(narrow, layer.output.LayerNorm, eps)
    return output


@pytest.mark.parametrize("mask", [None, MASK], ids=["whole", "padded"])
@pytest.mark.parametrize("eps", [1e-12, 1e-3])
def test_it_is_the_maths_written_with_loops(tmp_path: Path, mask: Any, eps: float) -> None:
    model = tiny(tmp_path, "float64", layer_norm_eps=eps)
    assert model.parameters.encoder is not None
    hidden = sample((B, T, H), "float64")
    steps = encoder(model.parameters.encoder, hidden, mask, config=model.config)
    assert len(steps.layer) == 2
    for row in range(B):
        expected = hidden[row]
        for number, layer in enumerate(model.parameters.encoder.layer):
            seen = np.ones(T, bool) if mask is None else mask[row]
            expected = by_loops(layer, expected, seen, eps)
            found = steps.layer[number].output.output[row]
            assert np.abs(found - expected).max() <= SAME_MATHS
    assert steps.output is steps.layer[-1].output.output


def one_layer(model: BertModel, hidden: Array, **options: Any) -> LayerSteps:
    assert model.parameters.encoder is not None
    return encoder_layer(
        model.parameters.encoder.layer[0], hidden, MASK, config=model.config, **options
    )


def test_shapes_and_dtypes_of_every_step(tmp_path: Path, dtype: str) -> None:
    steps = one_layer(tiny(tmp_path, dtype), sample((B, T, H), dtype))
    own, after = steps.attention.self, steps.attention.output
    shapes: list[tuple[Array, tuple[int, ...]]] = [
        *((array, (B, T, H)) for array in (own.query, own.key, own.value, own.output)),
        *((array, (B, A, T, T)) for array in (own.scores, own.probs, own.dropout.output)),
        *((array, (B, T, H)) for array in (after.dense, after.dropout.output, after.sum)),
        *((array, (B, T, I)) for array in (steps.intermediate.dense, steps.intermediate.output)),
        *((array, (B, T, H)) for array in (steps.output.dense, steps.output.sum)),
        *((array, (B, T, H)) for array in (after.output, steps.output.output)),
    ]
    for array, shape in shapes:
        assert array.shape == shape
        assert array.dtype == dtype
    assert after.LayerNorm.mean.dtype == np.float64
    assert after.output is after.LayerNorm.output
    with pytest.raises(dataclasses.FrozenInstanceError):
        steps.output = after  # type: ignore[misc]


def test_the_residual_is_what_went_in(tmp_path: Path, dtype: str) -> None:
    hidden = sample((B, T, H), dtype)
    steps = one_layer(tiny(tmp_path, dtype), hidden)
    after = steps.attention.output
    assert np.array_equal(after.sum, after.dense + hidden)
    assert np.array_equal(steps.output.sum, steps.output.dense + after.output)


def test_dropout_stands_before_the_residual_and_is_drawn_in_order(
    tmp_path: Path, dtype: str
) -> None:
    model = tiny(tmp_path, dtype, hidden_dropout_prob=0.25, attention_probs_dropout_prob=0.5)
    hidden = sample((B, T, H), dtype)
    steps = one_layer(model, hidden, rng=np.random.default_rng(0))
    rng = np.random.default_rng(0)
    places = [
        (steps.attention.self.dropout, (B, A, T, T), 0.5),
        (steps.attention.output.dropout, (B, T, H), 0.25),
        (steps.output.dropout, (B, T, H), 0.25),
    ]
    for dropped, shape, p in places:
        assert dropped.keep is not None
        assert np.array_equal(dropped.keep, rng.random(shape, dtype=np.float32) >= p)
    after = steps.attention.output
    assert after.dropout.keep is not None
    kept = np.where(after.dropout.keep, after.dense / np.dtype(dtype).type(0.75), 0)
    assert np.abs(after.sum - (kept + hidden)).max() <= 1e-6
    assert one_layer(model, hidden).output.dropout.keep is None


def test_the_activation_is_the_configs(tmp_path: Path) -> None:
    hidden = sample((B, T, H), "float64")
    found = {
        act: one_layer(tiny(tmp_path / act, "float64", hidden_act=act), hidden).intermediate
        for act in ("gelu", "gelu_new", "relu", "silu", "tanh")
    }
    dense = found["relu"].dense
    assert np.array_equal(found["relu"].output, np.maximum(dense, 0))
    assert np.array_equal(found["tanh"].output, np.tanh(dense))
    difference = np.abs(found["gelu"].output - found["gelu_new"].output).max()
    assert 1e-5 < difference < 4.8e-4


def test_the_pooler_reads_the_first_token_only(tmp_path: Path, dtype: str) -> None:
    model = tiny(tmp_path, dtype)
    assert model.parameters.pooler is not None
    hidden = np.array(sample((B, T, H), dtype))
    steps = pooler(model.parameters.pooler, hidden)
    dense = model.parameters.pooler.dense
    for row in range(B):
        expected = [
            math.tanh(line @ hidden[row, 0] + b)
            for line, b in zip(dense.weight.astype(float), dense.bias.tolist(), strict=True)
        ]
        assert np.abs(steps.output[row] - expected).max() <= 1e-6
    assert steps.dense is not None
    assert np.array_equal(steps.output, np.tanh(steps.dense))
    assert steps.output.dtype == dtype
    hidden[:, 1:] = np.nan
    assert pooler(model.parameters.pooler, hidden).output.tobytes() == steps.output.tobytes()
