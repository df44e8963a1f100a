"""Softmax over the last axis."""

from __future__ import annotations

import numpy as np

from numpy_bert.arrays import Array

__all__ = ["softmax", "softmax_backward"]


def softmax(x: Array) -> Array:
    """Turn scores into probabilities along the last axis.

    Parameters
    ----------
    x : ndarray of shape (..., n), float32 or float64
        The scores, n from 1; never modified.

    Returns
    -------
    ndarray of the shape and dtype of `x`
        The probabilities, which sum to 1.

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


def softmax_backward(grad: Array, output: Array) -> Array:
    """Return the gradient of the scores that `softmax` was called with.

    Parameters
    ----------
    grad : ndarray of shape (..., n), dtype of `output`
        The gradient of the output.
    output : ndarray of shape (..., n)
        What `softmax` returned.

    Notes
    -----
    With y = softmax(x), dy_j / dx_i = y_j ([i = j] - y_i); so dx_i = sum_j g_j dy_j / dx_i =
    y_i (g_i - sum_j g_j y_j).

    Examples
    --------
    >>> softmax_backward(np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    array([ 0.25, -0.25])
    """
    wide, y = grad.astype(np.float64, copy=False), output.astype(np.float64, copy=False)
    found: Array = y * (wide - (wide * y).sum(axis=-1, keepdims=True))
    return found.astype(output.dtype, copy=False)
