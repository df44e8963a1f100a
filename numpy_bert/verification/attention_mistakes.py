"""What goes wrong between the projections and the context."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.ops.attention import attention_scores, split_heads
from numpy_bert.ops.softmax import softmax
from numpy_bert.verification.functions import mean_values, same, scores
from numpy_bert.verification.mistake import Cause, Mistake, Setting, changed
from numpy_bert.verification.steps import Step

__all__ = ["in_context", "in_probs", "in_scores"]

_INTERLEAVED = Cause("heads_split", "heads are split as (D, A), not (A, D)")
_RESHAPED = Cause("heads_split", "heads are split by a reshape to (B, A, T, D), not transposed")
_MASK_AFTER = Cause("mask_after_softmax", "the mask is applied after softmax, not before")


def in_scores(step: Step, setting: Setting) -> Iterator[Mistake]:
    """Yield the mistakes of the scores."""
    scale = step.arguments["scale"]
    yield changed(step, Cause("attention_scale_missing", "the scores are not scaled"), scale=1.0)
    cause = Cause("attention_scale_twice", "the scores are scaled twice")
    yield changed(step, cause, scale=scale * scale)
    cause = Cause("attention_scale_hidden", "the scores are scaled by the root of H, not of D")
    yield changed(step, cause, scale=1.0 / math.sqrt(setting.config.hidden_size))
    yield from _in_mask(step)
    yield changed(step, _INTERLEAVED, _scores_of(_interleaved))
    yield changed(step, _RESHAPED, _scores_of(_reshaped))
    cause = Cause("scores_transposed", "keys ask and queries answer: the scores are transposed")
    yield changed(step, cause, lambda query, key, **given: scores(key, query, **given))


def in_probs(step: Step, setting: Setting) -> Iterator[Mistake]:
    """Yield the mistakes of softmax."""
    for axis, what in ((-2, "the queries"), (1, "the heads")):
        cause = Cause("softmax_axis", f"softmax runs over {what}, not the keys")
        yield changed(step, cause, lambda x, axis=axis: _softmax_over(x, axis))
    yield changed(step, Cause("softmax_missing", "softmax is left out"), same)
    before = setting.steps[step.inputs[0]]
    mask = setting.inputs.attention_mask
    unmasked = changed(before, _MASK_AFTER, mask=np.ones_like(mask))
    keys = mask[:, np.newaxis, np.newaxis, :]
    after = changed(step, _MASK_AFTER, lambda x: softmax(x) * keys)
    yield Mistake(_MASK_AFTER, {**unmasked.steps, **after.steps})


def in_context(step: Step, _: Setting) -> Iterator[Mistake]:
    """Yield the mistakes of the context."""
    yield changed(step, _INTERLEAVED, _context_of(_interleaved, _merged_interleaved))
    yield changed(step, _RESHAPED, _context_of(_reshaped, _merged_by_reshape))
    cause = Cause("heads_merge", "heads are merged by a reshape, not transposed back")
    yield changed(step, cause, _context_of(split_heads, _merged_by_reshape))
    cause = Cause("heads_merge", "heads are merged as (D, A), not (A, D)")
    yield changed(step, cause, _context_of(split_heads, _merged_interleaved))


def _in_mask(step: Step) -> Iterator[Mistake]:
    """Yield what is done to the scores of padding in place of masking them."""
    mask = step.arguments["mask"]
    yield changed(step, Cause("mask_missing", "the mask is left out"), mask=np.ones_like(mask))
    if not mask.all():  # inverted it would hide every key, which is not told from no scores
        yield changed(step, Cause("mask_inverted", "the mask is inverted"), mask=~mask)
    keys = mask[:, np.newaxis, np.newaxis, :]
    later = np.tril(np.ones((mask.shape[1],) * 2, np.bool_)) & keys
    ways: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
        ("mask_added", "the mask is added as 0 and 1", lambda x: x + keys),
        ("mask_multiplied", "the scores are multiplied by the mask", lambda x: x * keys),
        ("mask_causal", "a causal mask hides later tokens", lambda x: np.where(later, x, -1e30)),
        ("mask_10000", "masked scores have 10000 subtracted", lambda x: x - 1e4 * ~keys),
    )
    for name, text, apply in ways:
        yield changed(step, Cause(name, text), _unmasked(apply))


def _unmasked(apply: Callable[[Array], Array]) -> Callable[..., Array]:
    """Return scores without a mask, to which something else is done."""

    def function(query: Array, key: Array, *, heads: int, mask: BoolArray, scale: float) -> Array:
        plain = scores(query, key, heads=heads, mask=np.ones_like(mask), scale=scale)
        return apply(plain).astype(plain.dtype, copy=False)

    return function


def _scores_of(split: Callable[[Array, int], Array]) -> Callable[..., Array]:
    """Return scores of heads that are split in another way."""

    def function(query: Array, key: Array, *, heads: int, **given: Any) -> Array:
        return attention_scores(split(query, heads), split(key, heads), **given)

    return function


def _context_of(
    split: Callable[[Array, int], Array], merge: Callable[[Array], Array]
) -> Callable[..., Array]:
    """Return the context of heads that are split and merged in another way."""

    def function(probs: Array, value: Array, *, heads: int, mask: BoolArray) -> Array:
        return merge(mean_values(probs, split(value, heads), mask))

    return function


def _interleaved(x: Array, heads: int) -> Array:
    """(B, T, H), taken for (B, T, D, A), to (B, A, T, D)."""
    batch, length, features = x.shape
    return x.reshape(batch, length, features // heads, heads).transpose(0, 3, 1, 2)


def _merged_interleaved(x: Array) -> Array:
    """(B, A, T, D) to (B, T, D, A), as (B, T, H)."""
    batch, heads, length, size = x.shape
    return x.transpose(0, 2, 3, 1).reshape(batch, length, heads * size)


def _reshaped(x: Array, heads: int) -> Array:
    """(B, T, H), taken for (B, A, T, D)."""
    batch, length, features = x.shape
    return x.reshape(batch, heads, length, features // heads)


def _merged_by_reshape(x: Array) -> Array:
    """(B, A, T, D), taken for (B, T, H)."""
    batch, heads, length, size = x.shape
    return x.reshape(batch, length, heads * size)


def _softmax_over(x: Array, axis: int) -> Array:
    return softmax(x.swapaxes(axis, -1)).swapaxes(axis, -1)
