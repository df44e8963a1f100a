"""What each step computes, as functions of arrays.

In float64 they are those of `numpy_bert.ops`, to the bit. Run in float32 they are the yardstick of
what rounding does to a step, so they must not be better than a plain implementation: `ops` adds up
in float64, these do not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, BoolArray, IntArray
from numpy_bert.ops.attention import attention_scores, merge_heads, split_heads, weighted_values
from numpy_bert.ops.embedding import embedding
from numpy_bert.ops.layer_norm import layer_norm

__all__ = [
    "activate",
    "add",
    "context",
    "dense",
    "first_token",
    "look_up",
    "mean_values",
    "norm_part",
    "same",
    "scores",
]


def look_up(*, ids: IntArray, table: Any, dtype: npt.DTypeLike) -> Array:
    """Return the rows of a table."""
    return embedding(ids, table, dtype=dtype)


def add(first: Array, *others: Array) -> Array:
    """Return a sum, taken from the left."""
    for other in others:
        first = first + other
    return first


def norm_part(x: Array, *, weight: Array, bias: Array, eps: float, part: str) -> Array:
    """Return one of the steps of LayerNorm; in float32 with the rounding of a plain one."""
    if x.dtype != np.float32:
        array: Array = getattr(layer_norm(x, weight, bias, eps=eps), part)
        return array
    mean = x.mean(axis=-1, keepdims=True)
    variance = np.square(x - mean).mean(axis=-1, keepdims=True)
    rstd = 1.0 / np.sqrt(variance + eps)
    normalized = (x - mean) * rstd
    parts = {"mean": mean, "variance": variance, "rstd": rstd, "normalized": normalized}
    plain: Array = parts[part] if part in parts else normalized * weight + bias
    return plain


def same(x: Array, **_: object) -> Array:
    """Return what came."""
    return x


def scores(query: Array, key: Array, *, heads: int, mask: BoolArray, scale: float) -> Array:
    """Return the scores of every head."""
    return attention_scores(split_heads(query, heads), split_heads(key, heads), mask, scale=scale)


def context(probs: Array, value: Array, *, heads: int, mask: BoolArray) -> Array:
    """Return the heads' means of the values, side by side."""
    return merge_heads(mean_values(probs, split_heads(value, heads), mask))


def mean_values(probs: Array, value: Array, mask: BoolArray) -> Array:
    """Return `weighted_values`, where the weights need not be 0 at masked tokens.

    What is no number there is selected away all the same; in a port it has no weight.
    """
    masked = ~mask[:, np.newaxis, :, np.newaxis] & ~np.isfinite(value)
    return weighted_values(probs, np.where(masked, value.dtype.type(0.0), value))


def activate(x: Array, *, activation: Callable[[Array], Array]) -> Array:
    """Return the activation of every element."""
    return activation(x)


def dense(x: Array, *, weight: Array, bias: Array) -> Array:
    """Return what `numpy_bert.ops.linear.linear` does; float32 is added up in float32."""
    return x @ weight.T + bias


def first_token(hidden: Array, *, weight: Array, bias: Array) -> Array:
    """Return a dense layer over each row's first token."""
    return dense(hidden[:, 0], weight=weight, bias=bias)
