"""Softmax over the last axis."""

from __future__ import annotations

import numpy as np

from numpy_bert.arrays import Array

__all__ = ["softmax"]


def softmax(x: Array) -> Array:
    """Turn scores into probabilities along the last axis.

    Parameters
    ----------
    x : ndarray of shape (..., n), float32 or float64
        Scores, n from 1. Never modified.

    Returns
    -------
    ndarray of the shape and dtype of `x`
        Positive, summing to 1.

    Notes
    -----
    The largest score is taken away first: the result is the same and exp cannot overflow.

    References
    ----------
    .. [1] Goodfellow, Bengio and Courville, "Deep Learning", section 4.1.

    Examples
    --------
    >>> softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    output: Array = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return output
