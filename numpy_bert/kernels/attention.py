"""Attention over sequences of one length, without padding or mask, in float32.

Those who look need not be those who are looked at: some rows of a sequence, or its padding, which
sees the tokens and is seen by none, look at the same keys and values.

The twin of `numpy_bert.ops.attention`. Where no score is large, exp needs no maximum taken away
first: one look for the largest score of a block costs a tenth of that. The sum of a row's weights
comes from a matrix-vector product, and what is divided by it is the smaller of weights and output.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy import add, divide, exp, matmul, multiply, subtract

from numpy_bert.arrays import Array

__all__ = ["attend", "scores_size"]

# The elements of a block of scores, which stays in a core's second-level cache.
_BLOCK = 1 << 17
# The terms of a product, and the elements of a matrix that a vector is multiplied by, up to which
# BLAS starts no threads of its own, which would go on spinning where ours are to work.
_MOST_TERMS = 1 << 18
_MOST_ELEMENTS = 9000
# Scores up to which exp is taken as it is, far from overflow whatever it is then multiplied by.
_LARGEST_SCORE = 60.0
# A sum below which the scores were so small that weights may have lost digits.
_LEAST_SUM = 1e-24


def scores_size(most: int) -> int:
    """Return the elements of memory that `attend` needs for up to so many scores of a head."""
    return max(_BLOCK, most)


def attend(
    query: Array,
    key: Array,
    value: Array,
    out: Array,
    scores: Array,
    *,
    cuts: bool,
    bias: Array | None = None,
    probs: Array | None = None,
) -> None:
    """Write what Q tokens of each of n sequences take of its T tokens into `out`.

    Parameters
    ----------
    query : ndarray of shape (n, A, Q, D), float32
        The scaled query; a view is as good as a copy while its last axis is contiguous.
    key, value : ndarray of shape (n, A, T, D), float32
        The keys and the values, copies or such views, too.
    out : ndarray of shape (n, A, Q, D), float32
        Where the result is written; it may hold anything.
    scores : ndarray of shape (m,), float32
        The memory for a block; `scores_size` says m.
    cuts : bool
        Whether products are cut so small that BLAS starts no threads for them; not needed where
        it has only one.
    bias : ndarray of shape (n or 1, A, Q, T), float32, optional
        What is added to the scores; 1 where all sequences have the same. Any view is good.
    probs : ndarray of shape (n, A, Q, T), float32, optional
        Where the weights are written, too; what is computed does not depend on it.
    """
    (queries, size), length = query.shape[2:], key.shape[2]
    ones = np.ones(length, np.float32)
    across = _pieces(length, _MOST_TERMS // (queries * size) if cuts else length)
    pieces = _pieces(queries, _MOST_TERMS // (length * size) if cuts else queries)
    short = _pieces(queries, _MOST_ELEMENTS // length if cuts else queries)
    for part in _parts(query.shape, max(1, _BLOCK // (queries * length))):
        q, transposed, v, o = query[part], key[part].swapaxes(-1, -2), value[part], out[part]
        weights = scores[: q.shape[0] * q.shape[1] * queries * length]
        rows = weights.reshape(-1, length)
        block = weights.reshape(*q.shape[:3], length)
        sums = np.empty(len(rows), np.float32)
        totals = sums.reshape(q.shape[:3])
        added = None if bias is None else bias[part if len(bias) > 1 else (slice(None), part[1])]
        _score(q, transposed, across, added, block)
        large = not weights[weights.argmax()] <= _LARGEST_SCORE  # NaN is the largest
        if not large:
            exp(weights, weights)
            for cut in short:
                matmul(block[:, :, cut], ones, totals[:, :, cut])
            if not sums[sums.argmin()] >= _LEAST_SUM:
                large = True
                _score(q, transposed, across, added, block)
        if large:
            subtract(rows, rows.max(axis=-1, keepdims=True), rows)
            exp(weights, weights)
            for cut in short:
                matmul(block[:, :, cut], ones, totals[:, :, cut])
        divide(1.0, sums, sums)
        if length <= 3 * size:
            multiply(rows, sums[:, np.newaxis], rows)
        for cut in pieces:
            matmul(block[:, :, cut], v, o[:, :, cut])
        if length > 3 * size:
            multiply(o, totals[..., np.newaxis], o)
            if probs is not None:
                multiply(block, totals[..., np.newaxis], block)
        if probs is not None:
            np.copyto(probs[part], block)


def _score(query: Array, keys: Array, across: list[slice], bias: Array | None, out: Array) -> None:
    """Write the scores of a block into `out`, in pieces."""
    for cut in across:
        matmul(query, keys[..., cut], out[..., cut])
    if bias is not None:
        add(out, bias, out)


def _pieces(length: int, most: int) -> list[slice]:
    """Cut a length into pieces of at most so many."""
    step = max(1, most)
    return [slice(first, first + step) for first in range(0, length, step)]


def _parts(shape: tuple[int, ...], most: int) -> Iterator[tuple[slice, slice]]:
    """Cut n sequences of A heads: some whole sequences at a time, or some heads of one."""
    count, heads = shape[:2]
    step = max(1, most // heads)
    for first in range(0, count, step):
        for head in range(0, heads, heads if most >= heads else most):
            stop = heads if most >= heads else head + most
            yield slice(first, first + step), slice(head, stop)
