"""A number for each head that is added to a score, by how far apart its two tokens stand."""

from __future__ import annotations

import numpy as np

from numpy_bert.arrays import Array, IntArray, StoredArray
from numpy_bert.ops.embedding import embedding_backward, look_up

__all__ = [
    "relative_attention_bias",
    "relative_attention_bias_backward",
    "relative_position_bucket",
]

# The distances at which the buckets from 1 on begin: one by one up to 8, then each at the next
# whole number from 8 * 2 ** (k / 2). What is further away than the last stays in its bucket.
_BEGINNINGS = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91)
# The buckets of one direction; a key after the query is in those of the other.
_BUCKETS = len(_BEGINNINGS) + 1


def relative_position_bucket(distance: IntArray) -> IntArray:
    """Return the bucket of each distance, from 0 to 31.

    Parameters
    ----------
    distance : ndarray of int, any shape
        How many tokens the key stands after the query; negative where it stands before.

    Returns
    -------
    ndarray of int, the shape of `distance`
        The row of the table. Near tokens have buckets of their own, far ones share theirs.

    Notes
    -----
    These are the buckets of transformers' relative_position_bucket with 32 buckets and a largest
    distance of 128. Their limits are whole numbers here, where a logarithm in float32 could fall
    on either side of one.

    References
    ----------
    .. [1] Raffel et al., "Exploring the Limits of Transfer Learning with a Unified
       Text-to-Text Transformer", arXiv:1910.10683, section 2.1.

    Examples
    --------
    >>> relative_position_bucket(np.array([0, -1, 1, -11, -12, 500]))
    array([ 0,  1, 17,  8,  9, 31])
    """
    near: IntArray = np.searchsorted(_BEGINNINGS, np.abs(distance), "right")
    return near + _BUCKETS * (distance > 0)


def relative_attention_bias(table: StoredArray, length: int, dtype: np.dtype[np.floating]) -> Array:
    """Return what is added to the scores of sequences of one length.

    Parameters
    ----------
    table : ndarray of shape (buckets, A)
        A row for each bucket, a column for each head.
    length : int
        The number of tokens T, padding included.
    dtype : dtype
        What the numbers are widened to.

    Returns
    -------
    ndarray of shape (T, T, A)
        The number for each query, key and head; all sequences and all layers have the same.

    Examples
    --------
    >>> table = np.arange(32.0)[:, np.newaxis]
    >>> relative_attention_bias(table, 3, table.dtype)[..., 0]
    array([[ 0., 17., 18.],
           [ 1.,  0., 17.],
           [ 2.,  1.,  0.]])
    """
    places = np.arange(length)
    distance = places - places[:, np.newaxis]  # (T, T)
    return look_up(table, relative_position_bucket(distance), dtype)


def relative_attention_bias_backward(grad: Array, rows: int) -> Array:
    """Return the gradient of the table that `relative_attention_bias` read.

    Parameters
    ----------
    grad : ndarray of shape (A, T, T), float32 or float64
        The gradient of the scores, summed over the sequences and the layers.
    rows : int
        The number of rows of the table.

    Returns
    -------
    ndarray of shape (rows, A), dtype of `grad`
        The gradient, summed in float64 and rounded once.

    Notes
    -----
    All pairs of tokens of one distance read the same row, so their gradients are added up first,
    a diagonal each.

    Examples
    --------
    >>> relative_attention_bias_backward(np.ones((1, 3, 3)), 32)[[0, 1, 2, 17, 18], 0]
    array([3., 2., 1., 2., 1.])
    """
    heads, length, _ = grad.shape
    sums = np.zeros((heads, max(2 * length - 1, 0)))
    for query in range(length):
        sums[:, length - 1 - query : 2 * length - 1 - query] += grad[:, query]
    buckets = relative_position_bucket(np.arange(1 - length, length))
    return embedding_backward(sums.T, buckets, rows).astype(grad.dtype, copy=False)
