"""The activations with their slopes, in float32, block by block: what training needs of them.

The twin of `numpy_bert.ops.activation`, forward and backward at once: f(x) = x s(x) where s is
(1 + tanh(x q(x^2))) / 2 with the polynomials of `numpy_bert.kernels.activation`; the slope is s and
a term that the exact formula gives.
"""

from __future__ import annotations

import math

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.kernels.activation import POLYNOMIALS

__all__ = ["activate"]

# Elements of a block, which passes through a core's second-level cache with three of its size.
_BLOCK = 32 << 10


def activate(name: str, x: Array) -> tuple[Array, Array]:
    """Return the activation of x and its derivative there; x is overwritten by the former.

    Parameters
    ----------
    name : str
        As config.json gives it.
    x : ndarray, float32, C-contiguous
        Any shape.

    Examples
    --------
    >>> value, slope = activate("relu", np.array([-1.0, 2.0], np.float32))
    >>> value, slope
    (array([0., 2.], dtype=float32), array([0., 1.], dtype=float32))
    """
    slope = np.empty_like(x)
    values, slopes = x.reshape(-1), slope.reshape(-1)
    inner = np.empty(min(_BLOCK, values.size), np.float32)
    for start in range(0, values.size, _BLOCK):
        block = values[start : start + _BLOCK]
        _block(name, block, slopes[start : start + _BLOCK], inner[: len(block)])
    return x, slope


def _block(name: str, x: Array, slope: Array, inner: Array) -> None:
    """Replace a block by its activation, and fill in the slopes."""
    if name == "relu":
        np.greater(x, 0.0, out=slope, casting="unsafe")
        np.maximum(x, np.float32(0.0), out=x)
        return
    if name == "tanh":
        np.tanh(x, out=x)
        np.multiply(x, x, out=slope)
        np.subtract(np.float32(1.0), slope, out=slope)
        return
    terms = [np.float32(term) for term in POLYNOMIALS[name]]
    np.multiply(x, x, out=slope)  # x^2, for now
    inner.fill(terms[-1])
    for term in terms[-2::-1]:
        inner *= slope
        inner += term
    inner *= x
    np.tanh(inner, out=inner)
    if name == "gelu":  # s' x = x exp(-x^2 / 2) / sqrt(2 pi)
        slope *= np.float32(-0.5)
        np.exp(slope, out=slope)
        slope *= x
        slope *= np.float32(1.0 / math.sqrt(2.0 * math.pi))
    else:  # s' x = x (1 - t^2) a' / 2, where a = x q(x^2)
        own = np.float32(terms[0])
        if len(terms) > 1:
            slope *= np.float32(3.0) * terms[1]
            slope += own
        else:
            slope.fill(own)
        slope *= x
        slope *= (np.float32(1.0) - inner) * (np.float32(1.0) + inner) * np.float32(0.5)
    inner += np.float32(1.0)
    inner *= np.float32(0.5)
    slope += inner
    x *= inner
