"""Attention over sequences of one length, without padding or mask, in float32.

The twin of `numpy_bert.ops.attention`. Where no score is large, exp needs no maximum taken away
first: one look for the largest score of a block costs a tenth of that. The sum of a row's weights
comes from a matrix-vector product, and what is divided by it is the smaller of weights and output.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy import divide, exp, matmul, multiply, subtract

from numpy_bert.arrays import Array

__all__ = ["attend", "scores_size"]

# Elements of a block of scores, which stays in a core's second-level cache.
_BLOCK = 1 << 17
# Terms of a product, and elements of a matrix that a vector is multiplied by, up to which BLAS
# starts no threads of its own, which would go on spinning where ours are to work.
_MOST_TERMS = 1 << 18
_MOST_ELEMENTS = 9000
# Scores up to which exp is taken as it is, far from overflow whatever it is then multiplied by.
_LARGEST_SCORE = 60.0
# A sum below which the scores were so small that weights may have lost digits.
_LEAST_SUM = 1e-24


def scores_size(longest: int) -> int:
    """Return the elements of memory that `attend` needs for sequences up to a length."""
    return max(_BLOCK, longest * longest)


def attend(
    query: Array, key: Array, value: Array, out: Array, scores: Array, *, cuts: bool
) -> None:
    """Write the attention of n sequences of T tokens into `out`.

    Parameters
    ----------
    query, key, value : ndarray of shape (n, A, T, D), float32
        Views are as good as copies while the last axis is contiguous. The query is scaled.
    out : ndarray of shape (n, A, T, D), float32
        Any content.
    scores : ndarray of shape (m,), float32
        Memory for a block; m as `scores_size` says.
    cuts : bool
        Whether products are cut into such as BLAS starts no threads for; not needed where it has
        but one.
    """
    length, size = query.shape[2:]
    ones = np.ones(length, np.float32)
    pieces = _pieces(length, _MOST_TERMS // (length * size) if cuts else length)
    short = _pieces(length, _MOST_ELEMENTS // length if cuts else length)
    for part in _parts(query.shape, max(1, _BLOCK // (length * length))):
        q, transposed, v, o = query[part], key[part].swapaxes(-1, -2), value[part], out[part]
        weights = scores[: q.shape[0] * q.shape[1] * length * length]
        rows = weights.reshape(-1, length)
        block = weights.reshape(*q.shape[:2], length, length)
        sums = np.empty(len(rows), np.float32)
        totals = sums.reshape(block.shape[:3])
        for cut in pieces:
            matmul(q, transposed[..., cut], block[..., cut])
        large = not weights[weights.argmax()] <= _LARGEST_SCORE  # NaN is the largest
        if not large:
            exp(weights, weights)
            for cut in short:
                matmul(block[:, :, cut], ones, totals[:, :, cut])
            if not sums[sums.argmin()] >= _LEAST_SUM:
                large = True
                for cut in pieces:
                    matmul(q, transposed[..., cut], block[..., cut])
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
