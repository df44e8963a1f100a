"""numpy_bert.ops.attention against sums written out, and with every kind of mask."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from numpy_bert.arrays import Array
from numpy_bert.errors import InputError
from numpy_bert.ops.attention import attention, attention_backward, attention_scores
from tests.support.arrays import sample
from tests.tolerances import product_budget

B, A, T, D = 3, 4, 7, 6


def qkv(dtype: str) -> tuple[Array, Array, Array]:
    shape = (B, A, T, D)
    return sample(shape, dtype), sample(shape, dtype, seed=1), sample(shape, dtype, seed=2)


def mask_of(*rows: str) -> Any:
    """Write masks as strings, a 1 for each token."""
    return np.array([[letter == "1" for letter in row] for row in rows])


MASKS = {
    "none": None,
    "right": mask_of("1111111", "1111000", "1000000"),
    "left": mask_of("1111111", "0011111", "0000001"),
    "holes": mask_of("1010101", "0110110", "1111110"),
    "first": mask_of("0111111", "1111111", "0000111"),
}


def test_masks_of_any_numbers_give_the_same_bits_there_and_back(dtype: str) -> None:
    (query, key, value), mask = qkv(dtype), MASKS["holes"]
    right = attention(query, key, value, mask)
    how: dict[str, Any] = {"probs": right.probs, "dropped": right.dropout}
    back = attention_backward(value, query, key, value, mask, **how)
    for other in (mask.tolist(), mask.astype(np.uint8), mask.astype(np.float32)):
        found = attention(query, key, value, other)
        assert found.output.tobytes() == right.output.tobytes()
        again = attention_backward(value, query, key, value, other, **how)
        assert again.value.tobytes() == back.value.tobytes()
        assert again.query.tobytes() == back.query.tobytes()
    with pytest.raises(
        InputError, match=r"^attention: mask\[0, 0\] must be 1 for a token .*; got 0.5"
    ):
        attention(query, key, value, mask * 0.5)
    with pytest.raises(InputError, match=r"^attention: mask must have shape"):
        attention(query, key, value, mask[:, 1:])


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("kind", MASKS)
def test_every_step_is_its_definition(kind: str, biased: bool, dtype: str) -> None:
    query, key, value = qkv(dtype)
    mask = MASKS[kind]
    bias = sample((A, T, T), dtype, seed=3) if biased else np.zeros((A, T, T), dtype)
    steps = attention(query, key, value, mask, bias=bias if biased else None)
    budget = product_budget(D * T, dtype)
    for b, a, t in np.ndindex(B, A, T):
        seen = np.ones(T, bool) if mask is None else mask[b]
        row = query[b, a, t].tolist()
        scores = [
            math.fsum(q * k for q, k in zip(row, line, strict=True)) / math.sqrt(D) + added
            for line, added in zip(key[b, a].tolist(), bias[a, t].tolist(), strict=True)
        ]
        powers = np.array([math.exp(s) * used for s, used in zip(scores, seen, strict=True)])
        probs = powers / powers.sum()
        assert np.abs(steps.scores[b, a, t] - scores)[seen].max() <= budget
        assert (steps.scores[b, a, t][~seen] == np.finfo(dtype).min).all()
        assert np.abs(steps.probs[b, a, t] - probs).max() <= budget
        assert not steps.probs[b, a, t][~seen].any()
        assert np.abs(steps.output[b, a, t] - probs @ value[b, a]).max() <= budget
    assert steps.scores.shape == steps.probs.shape == (B, A, T, T)
    assert steps.output.shape == (B, A, T, D)
    assert steps.scores.dtype == steps.probs.dtype == steps.output.dtype == dtype
    assert steps.dropout.keep is None
    assert steps.dropout.output is steps.probs
    alone = attention_scores(
        query, key, mask, scale=1.0 / math.sqrt(D), bias=bias if biased else None
    )
    assert alone.tobytes() == steps.scores.tobytes()


def test_a_row_without_a_token_is_defined_and_disturbs_no_other(dtype: str) -> None:  # F7
    query, key, value = qkv(dtype)
    some = attention(query, key, value, mask_of("1110000", "1111111", "0111111"))
    mask = mask_of("1110000", "0000000", "0111111")
    steps = attention(query, key, value, mask)
    assert (steps.probs[1] == np.dtype(dtype).type(1 / T)).all()
    mean = np.broadcast_to(value[1].mean(axis=1, keepdims=True), (A, T, D))
    assert np.abs(steps.output[1] - mean).max() <= product_budget(T, dtype)
    for name in ("scores", "probs", "output"):
        others = getattr(steps, name)[[0, 2]]
        assert others.tobytes() == getattr(some, name)[[0, 2]].tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_what_stands_at_a_masked_place_does_not_matter(bad: float, dtype: str) -> None:  # F12
    mask = mask_of("1111111", "1101011", "1111000")
    query, key, value = qkv(dtype)
    clean = attention(query, key, value, mask)
    query, key, value = np.array(query), np.array(key), np.array(value)
    for array in (query, key, value):
        array.swapaxes(1, 2)[~mask] = bad
    with np.errstate(all="ignore"):
        output = attention(query, key, value, mask).output
    assert output.swapaxes(1, 2)[mask].tobytes() == clean.output.swapaxes(1, 2)[mask].tobytes()


def test_dropout_takes_weights_and_scales_the_rest(dtype: str) -> None:
    query, key, value = qkv(dtype)
    plain = attention(query, key, value)
    steps = attention(query, key, value, p=0.25, rng=np.random.default_rng(0))
    keep = steps.dropout.keep
    assert keep is not None
    assert 0.6 < keep.mean() < 0.9
    assert steps.probs.tobytes() == plain.probs.tobytes()
    expected = np.where(keep, plain.probs / 0.75, 0) @ value
    assert np.abs(steps.output - expected).max() <= product_budget(T, dtype)


@pytest.mark.parametrize("shape", [(0, A, T, D), (B, A, 0, D), (B, A, 1, D), (B, 1, T, 1)])
@pytest.mark.parametrize("masked", [False, True])
def test_the_smallest_sizes(shape: tuple[int, ...], masked: bool, dtype: str) -> None:
    x = sample(shape, dtype)
    mask = np.zeros((shape[0], shape[2]), bool) if masked else None
    steps = attention(x, x, x, mask)
    assert steps.output.shape == shape
    assert steps.output.dtype == dtype
    assert steps.probs.shape == (*shape[:3], shape[2])
    if shape[2] == 1:
        assert steps.output.tobytes() == x.tobytes()
