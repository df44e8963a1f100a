"""The product with the word table, and back, in float32: most of what a masked word costs.

The twin of `numpy_bert.ops.linear`, which takes the table to float64 for each product.
"""

from __future__ import annotations

from dataclasses import dataclass

from numpy_bert.arrays import Array

__all__ = ["DecoderGradients", "decode", "decode_backward"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DecoderGradients:
    """Of what `decode` was called with: x (..., H), weight (V, H), bias (V,)."""

    x: Array
    weight: Array
    bias: Array


def decode(x: Array, weight: Array, bias: Array) -> Array:
    """Return the scores of all words, (..., V).

    Parameters
    ----------
    x : ndarray of shape (..., H), float32
        The transformed hidden states.
    weight : ndarray of shape (V, H), float32
        The word table.
    bias : ndarray of shape (V,), float32
        The bias of each word.

    Examples
    --------
    >>> import numpy as np
    >>> decode(np.ones((1, 2), "f4"), np.eye(2, dtype="f4"), np.zeros(2, "f4"))
    array([[1., 1.]], dtype=float32)
    """
    found: Array = x @ weight.T
    found += bias
    return found


def decode_backward(grad: Array, x: Array, weight: Array) -> DecoderGradients:
    """Return the gradients of what `decode` was called with; see `linear_backward` for the formula.

    Parameters
    ----------
    grad : ndarray of shape (..., V), float32
        The gradient of the output.
    x, weight
        What `decode` was called with.

    Examples
    --------
    >>> import numpy as np
    >>> decode_backward(np.ones((1, 2), "f4"), np.ones((1, 2), "f4"), np.eye(2, dtype="f4")).x
    array([[1., 1.]], dtype=float32)
    """
    rows, grads = x.reshape(-1, x.shape[-1]), grad.reshape(-1, grad.shape[-1])
    back = (grads @ weight).reshape(x.shape)
    return DecoderGradients(x=back, weight=grads.T @ rows, bias=grads.sum(axis=0))
