"""Scaled dot-product attention."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, BoolArray, as_mask
from numpy_bert.ops.dropout import DropoutSteps, dropout, dropout_backward
from numpy_bert.ops.softmax import softmax, softmax_backward
from numpy_bert.reprs import short_repr

__all__ = [
    "AttentionGradients",
    "AttentionSteps",
    "attention",
    "attention_backward",
    "attention_scores",
    "merge_heads",
    "split_heads",
    "weighted_values",
]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AttentionSteps:
    """Every intermediate of `attention`, in execution order.

    Shapes: scores (scaled, and with the bias and the mask applied), probs and dropout (B, A, T, T);
    output (B, A, T, D).
    """

    __repr__ = short_repr

    scores: Array
    probs: Array
    dropout: DropoutSteps
    output: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AttentionGradients:
    """The gradients of what `attention` takes, each (B, A, T, D).

    That of the bias, (A, T, T), is the sum over the sequences; None where there was no bias.
    """

    __repr__ = short_repr

    query: Array
    key: Array
    value: Array
    bias: Array | None = None


def attention(
    query: Array,
    key: Array,
    value: Array,
    mask: npt.ArrayLike | None = None,
    *,
    bias: Array | None = None,
    p: float = 0.0,
    rng: np.random.Generator | None = None,
) -> AttentionSteps:
    """Let every token take a mean of all tokens' values, weighted by how keys answer its query.

    Parameters
    ----------
    query, key, value : ndarray of shape (B, A, T, D), float32 or float64
        The vectors of all tokens, head by head; never modified.
    mask : array_like of int, float or bool, shape (B, T), optional
        0 where a token is padding, which then gets no weight. By default all are tokens.
    bias : ndarray of shape (A, T, T), dtype of `query`, optional
        What is added to the scaled scores of every sequence, before the mask.
    p : float
        The probability with which dropout drops a weight, from 0 to 1.
    rng : numpy.random.Generator, optional
        The generator that draws dropout's mask; without it dropout is off.

    Returns
    -------
    AttentionSteps
        scores, probs, dropout and output.

    Notes
    -----
    A masked score is the dtype's least number; adding that to the score, as transformers does,
    gives the same. So a row in which all is masked has equal weights; -infinity would give NaN.
    Whatever stands at a masked place, NaN too, is selected away, not multiplied by 0.

    References
    ----------
    .. [1] Vaswani et al., "Attention Is All You Need", arXiv:1706.03762, eq. 1.

    Examples
    --------
    >>> x = np.ones((1, 1, 2, 4))
    >>> attention(x, x, x, np.array([[True, False]])).probs
    array([[[[1., 0.],
             [1., 0.]]]])
    """
    mask = None if mask is None else _checked(mask, key)
    scores = _scores(query, key, mask, 1.0 / math.sqrt(query.shape[-1]), bias)
    probs = softmax(scores) if scores.size else scores
    dropped = dropout(probs, p, rng=rng)
    output = dropped.output @ (value if mask is None else _used_values(value, mask))
    return AttentionSteps(scores=scores, probs=probs, dropout=dropped, output=output)


def attention_backward(
    grad: Array,
    query: Array,
    key: Array,
    value: Array,
    mask: npt.ArrayLike | None = None,
    *,
    probs: Array,
    dropped: DropoutSteps,
    bias: Array | None = None,
    p: float = 0.0,
) -> AttentionGradients:
    """Return the gradients of what `attention` was called with.

    Parameters
    ----------
    grad : ndarray of shape (B, A, T, D), dtype of `query`
        The gradient of the output.
    query, key, value, mask, bias, p
        What `attention` was called with.
    probs, dropped : ndarray of shape (B, A, T, T), DropoutSteps
        The weights and the dropout that `attention` returned.

    Returns
    -------
    AttentionGradients
        The gradients of query, key, value and bias, computed in float64 and rounded once.

    Notes
    -----
    With S = Q K^T / sqrt(D) + b, P = softmax(S), R = dropout(P) and O = R V, and G the gradient of
    O: dV = R^T G and dR = G V^T; back through dropout and softmax to dS; dQ = dS K / sqrt(D) and
    dK = dS^T Q / sqrt(D); db is the sum of dS over the sequences. A masked score is a constant, so
    it hands nothing on, nor does any of a sequence in which all is masked; torch, which adds to
    such scores, lets theirs through.

    Examples
    --------
    >>> x = np.ones((1, 1, 2, 4))
    >>> steps = attention(x, x, x)
    >>> attention_backward(x, x, x, x, probs=steps.probs, dropped=steps.dropout).value[0, 0, 0]
    array([1., 1., 1., 1.])
    """
    mask = None if mask is None else _checked(mask, key)
    wide, q, k, v = (a.astype(np.float64, copy=False) for a in (grad, query, key, value))
    used: Array = v if mask is None else _used_values(v, mask)
    weights = dropped.output.astype(np.float64, copy=False)
    d_value: Array = weights.swapaxes(-1, -2) @ wide  # (B, A, T, D)
    d_probs = dropout_backward(wide @ used.swapaxes(-1, -2), dropped.keep, p)  # (B, A, T, T)
    d_scores = softmax_backward(d_probs, probs.astype(np.float64, copy=False))
    if mask is not None:
        d_scores = np.where(mask[:, np.newaxis, np.newaxis, :], d_scores, 0.0)
    d_bias = None if bias is None else d_scores.sum(axis=0).astype(bias.dtype, copy=False)
    d_scores *= 1.0 / math.sqrt(query.shape[-1])
    return AttentionGradients(
        query=(d_scores @ k).astype(query.dtype, copy=False),
        key=(d_scores.swapaxes(-1, -2) @ q).astype(query.dtype, copy=False),
        value=d_value.astype(query.dtype, copy=False),
        bias=d_bias,
    )


def attention_scores(
    query: Array,
    key: Array,
    mask: npt.ArrayLike | None = None,
    *,
    scale: float,
    bias: Array | None = None,
) -> Array:
    """Return how each key answers each query, (B, A, T, T), from the arguments of `attention`.

    Examples
    --------
    >>> x = np.ones((1, 1, 2, 4))
    >>> attention_scores(x, x, scale=0.5)
    array([[[[2., 2.],
             [2., 2.]]]])
    """
    return _scores(query, key, None if mask is None else _checked(mask, key), scale, bias)


def weighted_values(probs: Array, value: Array, mask: npt.ArrayLike | None = None) -> Array:
    """Return each token's mean of all values, (B, A, T, D), as `attention` does.

    Examples
    --------
    >>> weighted_values(np.full((1, 1, 1, 2), 0.5), np.array([[[[2.0], [4.0]]]]))
    array([[[[3.]]]])
    """
    if mask is not None:
        value = _used_values(value, _checked(mask, value))
    return probs @ value


def _scores(
    query: Array, key: Array, mask: BoolArray | None, scale: float, bias: Array | None
) -> Array:
    """Multiply queries by keys and add the bias; a masked score is the least number."""
    scores = (query @ key.swapaxes(-1, -2)) * scale  # (B, A, T, T)
    if bias is not None:
        scores = scores + bias
    if mask is None:
        return scores
    least = np.finfo(scores.dtype).min
    return np.where(mask[:, np.newaxis, np.newaxis, :], scores, least)


def _checked(mask: npt.ArrayLike, key: Array) -> BoolArray:
    """Return a mask of the tokens of `key`, (B, A, T, D), as booleans."""
    return as_mask(mask, (key.shape[0], key.shape[2]), name="attention: mask")


def _used_values(value: Array, mask: BoolArray) -> Array:
    """Put 0 where a token is masked, unless all of its sequence are."""
    used = mask | ~mask.any(axis=1, keepdims=True)
    return np.where(used[:, np.newaxis, :, np.newaxis], value, value.dtype.type(0.0))


def split_heads(x: Array, heads: int) -> Array:
    """Turn (B, T, H) into (B, A, T, D).

    Examples
    --------
    >>> split_heads(np.arange(4.0).reshape(1, 1, 4), 2)[0, :, 0]
    array([[0., 1.],
           [2., 3.]])
    """
    batch, length, features = x.shape
    return x.reshape(batch, length, heads, features // heads).swapaxes(1, 2)


def merge_heads(x: Array) -> Array:
    """Turn (B, A, T, D) into (B, T, H), as `split_heads` was undone.

    Examples
    --------
    >>> merge_heads(split_heads(np.arange(4.0).reshape(1, 1, 4), 2))
    array([[[0., 1., 2., 3.]]])
    """
    batch, heads, length, size = x.shape
    return x.swapaxes(1, 2).reshape(batch, length, heads * size)
