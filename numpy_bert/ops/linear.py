"""The dense layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.errors import InputError
from numpy_bert.reprs import short_repr

__all__ = ["LinearGradients", "linear", "linear_backward"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LinearGradients:
    """The gradients of what `linear` takes, each of the shape and dtype of its argument."""

    __repr__ = short_repr

    x: Array
    weight: Array
    bias: Array


def linear(x: Array, weight: Array, bias: Array) -> Array:
    """Multiply the last axis by a matrix as checkpoints store it, and add a bias.

    Parameters
    ----------
    x : ndarray of shape (..., in), float32 or float64
        The input; never modified.
    weight : ndarray of shape (out, in), dtype of `x`
        The matrix, a row for each output feature.
    bias : ndarray of shape (out,), dtype of `x`
        What is added to every row.

    Returns
    -------
    ndarray of shape (..., out)
        ``x @ weight.T + bias``, computed in float64 and rounded once.

    Raises
    ------
    InputError
        If the shapes or dtypes do not fit each other.

    Notes
    -----
    A float32 product adds up hundreds of roundings, in an order that the library behind NumPy
    chooses: with OpenBLAS a whole MiniLM was up to 3 times as far off as torch, with this a third.

    References
    ----------
    .. [1] torch.nn.functional.linear, whose layout of `weight` this is.

    Examples
    --------
    >>> linear(np.array([[1.0, 2.0]]), np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([0.0, 0.5]))
    array([[1. , 3.5]])
    """
    if weight.ndim != 2 or weight.shape[1:] != x.shape[-1:] or weight.dtype != x.dtype:
        raise InputError(
            f"linear: weight must be {x.dtype} of shape (out, {x.shape[-1] if x.ndim else '...'}), "
            f"as the last axis of x; got {weight.dtype} of shape {weight.shape}."
        )
    if bias.shape != weight.shape[:1] or bias.dtype != x.dtype:
        raise InputError(
            f"linear: bias must be {x.dtype} of shape {weight.shape[:1]}, a value for each row of "
            f"weight; got {bias.dtype} of shape {bias.shape}."
        )
    wide = x.astype(np.float64, copy=False) @ weight.astype(np.float64, copy=False).T + bias
    return wide.astype(x.dtype, copy=False)


def linear_backward(grad: Array, x: Array, weight: Array) -> LinearGradients:
    """Return the gradients of what `linear` was called with.

    Parameters
    ----------
    grad : ndarray of shape (..., out), dtype of `x`
        The gradient of the output.
    x, weight
        What `linear` was called with.

    Returns
    -------
    LinearGradients
        The gradients of x, weight and bias, computed in float64 and rounded once.

    Notes
    -----
    With y = x W^T + b and g the gradient of y, each y_o = sum_i x_i W_oi + b_o, so that
    dx_i = sum_o g_o W_oi, which is g W; dW_oi = sum over the rows of g_o x_i, which is g^T x; and
    db_o the sum of g_o over the rows.

    Examples
    --------
    >>> found = linear_backward(np.array([[1.0]]), np.array([[2.0, 3.0]]), np.array([[4.0, 5.0]]))
    >>> found.x, found.weight, found.bias
    (array([[4., 5.]]), array([[2., 3.]]), array([1.]))
    """
    wide = grad.astype(np.float64, copy=False)
    rows = wide.reshape(-1, wide.shape[-1])  # (rows, out)
    inputs = x.astype(np.float64, copy=False).reshape(-1, x.shape[-1])  # (rows, in)
    return LinearGradients(
        x=(wide @ weight.astype(np.float64, copy=False)).astype(x.dtype, copy=False),
        weight=(rows.T @ inputs).astype(x.dtype, copy=False),
        bias=rows.sum(axis=0).astype(x.dtype, copy=False),
    )
