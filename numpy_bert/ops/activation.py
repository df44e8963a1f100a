"""The activations that BERT checkpoints name in their config."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from numpy_bert.arrays import Array

__all__ = [
    "ACTIVATIONS",
    "ACTIVATIONS_BACKWARD",
    "gelu",
    "gelu_backward",
    "gelu_tanh",
    "gelu_tanh_backward",
    "relu",
    "relu_backward",
    "silu",
    "silu_backward",
    "tanh_backward",
]


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
    # -infinity times Phi(-infinity) is 0, which arithmetic does not know.
    output: Array = np.where(np.isneginf(wide), 0.0, wide * _phi(wide))
    return output.astype(x.dtype, copy=False)


def gelu_backward(grad: Array, x: Array) -> Array:
    """Return the gradient of what `gelu` was called with.

    Notes
    -----
    d/dx x Phi(x) = Phi(x) + x phi(x), where phi(x) = exp(-x^2 / 2) / sqrt(2 pi) is Phi's own
    derivative. Computed in float64 and rounded once.

    Examples
    --------
    >>> gelu_backward(np.ones(3), np.array([-1.0, 0.0, 1.0])).round(6)
    array([-0.083315,  0.5     ,  1.083315])
    """
    wide = x.astype(np.float64, copy=False)
    density = np.exp(-0.5 * wide * wide) / math.sqrt(2.0 * math.pi)
    slope = _phi(wide) + np.where(density > 0.0, wide, 0.0) * density
    return (grad * slope).astype(x.dtype, copy=False)


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


def gelu_tanh_backward(grad: Array, x: Array) -> Array:
    """Return the gradient of what `gelu_tanh` was called with.

    Notes
    -----
    With t = tanh(a), a = sqrt(2 / pi) (x + 0.044715 x^3) and dt/da = 1 - t^2, the derivative of
    x (1 + t) / 2 is (1 + t) / 2 + x (1 - t^2) a' / 2, a' = sqrt(2 / pi) (1 + 0.134145 x^2).
    Computed in float64 and rounded once.

    Examples
    --------
    >>> gelu_tanh_backward(np.ones(3), np.array([-1.0, 0.0, 1.0])).round(6)
    array([-0.082964,  0.5     ,  1.082964])
    """
    wide = x.astype(np.float64, copy=False)
    root = math.sqrt(2.0 / math.pi)
    t = np.tanh(root * (wide + 0.044715 * (wide * wide * wide)))
    steep = (1.0 - t) * (1.0 + t)
    near = np.where(steep > 0.0, wide, 0.0)  # further out the term is 0
    inner = root * (1.0 + 3.0 * 0.044715 * near * near)
    slope = 0.5 * (1.0 + t) + 0.5 * near * steep * inner
    return (grad * slope).astype(x.dtype, copy=False)


def relu(x: Array) -> Array:
    """Return the positive part of `x`, 0 elsewhere; a NaN stays one.

    Examples
    --------
    >>> relu(np.array([-1.0, 0.0, 1.0]))
    array([0., 0., 1.])
    """
    output: Array = np.maximum(x, x.dtype.type(0.0))
    return output


def relu_backward(grad: Array, x: Array) -> Array:
    """Return the gradient of what `relu` was called with: `grad` where `x` is positive, else 0.

    At 0, where there is no derivative, it is 0, as in torch.

    Examples
    --------
    >>> relu_backward(np.ones(3), np.array([-1.0, 0.0, 1.0]))
    array([0., 0., 1.])
    """
    return np.where(x > 0, grad, x.dtype.type(0.0))


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


def silu_backward(grad: Array, x: Array) -> Array:
    """Return the gradient of what `silu` was called with.

    Notes
    -----
    With s = 1 / (1 + exp(-x)) and ds/dx = s (1 - s), d/dx x s = s (1 + x (1 - s)). Computed in
    float64 and rounded once.

    Examples
    --------
    >>> silu_backward(np.ones(3), np.array([-1.0, 0.0, 1.0])).round(6)
    array([0.072329, 0.5     , 0.927671])
    """
    wide = x.astype(np.float64, copy=False)
    with np.errstate(over="ignore"):
        sigmoid = 1.0 / (1.0 + np.exp(-wide))
    near = np.where((sigmoid > 0.0) & (sigmoid < 1.0), wide, 0.0)  # further out the term is 0
    slope = sigmoid * (1.0 + near * (1.0 - sigmoid))
    return (grad * slope).astype(x.dtype, copy=False)


def tanh_backward(grad: Array, x: Array) -> Array:
    """Return the gradient of what `numpy.tanh` was called with: d/dx tanh(x) = 1 - tanh(x)^2.

    Examples
    --------
    >>> tanh_backward(np.ones(1), np.zeros(1))
    array([1.])
    """
    t = np.tanh(x.astype(np.float64, copy=False))
    return (grad * ((1.0 - t) * (1.0 + t))).astype(x.dtype, copy=False)


def _phi(x: Array) -> Array:
    """Return the share of a normal distribution below each number of a float64 array."""
    scaled = (x * math.sqrt(0.5)).ravel().tolist()
    erf = np.fromiter(map(math.erf, scaled), np.float64, len(scaled)).reshape(x.shape)
    return 0.5 * (1.0 + erf)


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
ACTIVATIONS_BACKWARD: Mapping[str, Callable[[Array, Array], Array]] = MappingProxyType(
    {
        "gelu": gelu_backward,
        "gelu_new": gelu_tanh_backward,
        "gelu_pytorch_tanh": gelu_tanh_backward,
        "relu": relu_backward,
        "silu": silu_backward,
        "swish": silu_backward,
        "tanh": tanh_backward,
    }
)
