"""The activations that BERT checkpoints name in their config."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from numpy_bert.arrays import Array

__all__ = ["ACTIVATIONS", "gelu", "gelu_tanh", "relu", "silu"]


def gelu(x: Array) -> Array:
    """Apply the Gaussian error linear unit in its exact form, x * Phi(x).

    Parameters
    ----------
    x : ndarray, float32 or float64
        Never modified.

    Returns
    -------
    ndarray of the shape and dtype of `x`
        ``x / 2 * (1 + erf(x / sqrt(2)))``, computed in float64 and rounded once.

    Notes
    -----
    The usual mistake: the tanh form (`gelu_tanh`) differs by up to 4.7e-4. NumPy has no erf, so
    this one asks Python's for each element, some 50 ns; the kernels have a faster form.

    References
    ----------
    .. [1] Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv:1606.08415, section 2.

    Examples
    --------
    >>> gelu(np.array([-1.0, 0.0, 1.0])).round(6)
    array([-0.158655,  0.      ,  0.841345])
    """
    wide = x.astype(np.float64, copy=False)
    scaled = (wide * math.sqrt(0.5)).ravel().tolist()
    erf = np.fromiter(map(math.erf, scaled), np.float64, len(scaled)).reshape(x.shape)
    # -infinity times Phi(-infinity) is 0, which arithmetic does not know.
    output: Array = np.where(np.isneginf(wide), 0.0, wide * (0.5 * (1.0 + erf)))
    return output.astype(x.dtype, copy=False)


def gelu_tanh(x: Array) -> Array:
    """Apply the Gaussian error linear unit in the tanh form, "gelu_new" of Google's later code.

    Parameters
    ----------
    x : ndarray, float32 or float64
        Never modified.

    Returns
    -------
    ndarray of the shape and dtype of `x`
        ``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))``.

    References
    ----------
    .. [1] Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv:1606.08415, section 2.

    Examples
    --------
    >>> gelu_tanh(np.array([-1.0, 0.0, 1.0])).round(6)
    array([-0.158808,  0.      ,  0.841192])
    """
    inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * (x * x * x))
    output: Array = np.where(np.isneginf(x), x.dtype.type(0.0), 0.5 * x * (1.0 + np.tanh(inner)))
    return output


def relu(x: Array) -> Array:
    """Return the positive part of `x`, 0 elsewhere; a NaN stays one.

    Examples
    --------
    >>> relu(np.array([-1.0, 0.0, 1.0]))
    array([0., 0., 1.])
    """
    output: Array = np.maximum(x, x.dtype.type(0.0))
    return output


def silu(x: Array) -> Array:
    """Apply the sigmoid linear unit, ``x / (1 + exp(-x))``, also called swish.

    References
    ----------
    .. [1] Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units", arXiv:1702.03118, eq. 3.

    Examples
    --------
    >>> silu(np.array([-1.0, 0.0, 1.0])).round(6)
    array([-0.268941,  0.      ,  0.731059])
    """
    output: Array = np.where(np.isneginf(x), x.dtype.type(0.0), x / (1.0 + np.exp(-x)))
    return output


# By the names that config.json's hidden_act may have.
ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "gelu": gelu,
        "gelu_new": gelu_tanh,
        "gelu_pytorch_tanh": gelu_tanh,
        "relu": relu,
        "silu": silu,
        "swish": silu,
        "tanh": np.tanh,
    }
)
