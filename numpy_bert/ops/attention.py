"""Scaled dot-product attention."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.ops.dropout import DropoutSteps, dropout
from numpy_bert.ops.softmax import softmax

__all__ = ["AttentionSteps", "attention"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AttentionSteps:
    """Every intermediate of `attention`, in execution order.

    Shapes: scores (scaled, and with the mask applied), probs and dropout (B, A, T, T); output
    (B, A, T, D).
    """

    scores: Array
    probs: Array
    dropout: DropoutSteps
    output: Array


def attention(
    query: Array,
    key: Array,
    value: Array,
    mask: BoolArray | None = None,
    *,
    p: float = 0.0,
    rng: np.random.Generator | None = None,
) -> AttentionSteps:
    """Let every token take a mean of all tokens' values, weighted by how keys answer its query.

    Parameters
    ----------
    query, key, value : ndarray of shape (B, A, T, D), float32 or float64
        Of every token, head by head. Never modified.
    mask : ndarray of shape (B, T), bool, optional
        False where a token is padding, which then gets no weight. None: all are tokens.
    p : float
        Probability with which dropout drops a weight, in [0, 1).
    rng : numpy.random.Generator, optional
        Draws dropout's mask; without it dropout is off.

    Returns
    -------
    AttentionSteps
        scores, probs, dropout and output.

    Notes
    -----
    A masked score is the dtype's least number, to which adding it, as transformers does, also
    comes. So a row in which all is masked has equal weights, where -infinity would give NaN.
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
    scale = 1.0 / math.sqrt(query.shape[-1])
    scores = (query @ key.swapaxes(-1, -2)) * scale  # (B, A, T, T)
    if mask is not None:
        least = np.finfo(scores.dtype).min
        scores = np.where(mask[:, np.newaxis, np.newaxis, :], scores, least)
        used = mask | ~mask.any(axis=1, keepdims=True)
        value = np.where(used[:, np.newaxis, :, np.newaxis], value, scores.dtype.type(0.0))
    probs = softmax(scores) if scores.size else scores
    dropped = dropout(probs, p, rng=rng)
    return AttentionSteps(
        scores=scores, probs=probs, dropout=dropped, output=dropped.output @ value
    )
