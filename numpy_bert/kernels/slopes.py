"""The activations with their slopes, in float32, block by block: what training needs of them.

The twin of `numpy_bert.ops.activation`, forward and backward at once: f(x) = x s(x) where s is
(1 + tanh(x q(x^2))) / 2 with the polynomials of `numpy_bert.kernels.activation`; the slope is s and
a term that the exact formula gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.kernels.activation import BOUNDS, LAPLACE, PLAIN, POLYNOMIALS

__all__ = ["activate"]

_ONE, _HALF = np.float32(1.0), np.float32(0.5)

# Elements of a block, which passes through a core's second-level cache with three of its size.
_BLOCK = 32 << 10


def activate(name: str, x: Array) -> tuple[Array, Array]:
    """Return the activation of x and its derivative there; x is overwritten by the former.

    Parameters
    ----------
    name : str
        As BertConfig.activation gives it.
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
    if name in PLAIN:
        np.copyto(slope, _PLAIN_SLOPES[name](x))
        np.copyto(x, PLAIN[name](x))
        return
    terms = [np.float32(term) for term in POLYNOMIALS[name]]
    np.multiply(x, x, out=slope)  # x^2, for now
    inner.fill(terms[-1])
    for term in terms[-2::-1]:
        inner *= slope
        inner += term
    inner *= x
    np.tanh(inner, out=inner)
    if len(terms) > 2:  # gelu: s' x = x exp(-x^2 / 2) / sqrt(2 pi)
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
    if name in BOUNDS:
        most = BOUNDS[name]
        slope *= np.abs(x) <= most
        np.clip(x, -most, most, out=x)


def _mish(x: Array) -> Array:
    # With e = exp(x) and n = e^2 + 2 e, t is n / (n + 2); 1 - t^2 is 4 (n + 1) / (n + 2)^2, and
    # n + 1 is (1 + e)^2, so that x e / (1 + e) (1 - t^2) is 4 x e (1 + e) / (n + 2)^2.
    grown = np.exp(np.minimum(x, np.float32(20.0)))
    whole = grown * (grown + np.float32(2.0))
    below = whole + np.float32(2.0)
    near = np.clip(x, np.float32(-100.0), np.float32(100.0))  # where the term is 0, or nearly
    slope: Array = whole / below
    slope += np.float32(4.0) * near * (grown / below) * ((_ONE + grown) / below)
    return slope


def _sqrtsoftplus(x: Array) -> Array:
    root = PLAIN["sqrtsoftplus"](x)
    return _HALF * PLAIN["sigmoid"](x) / np.where(root == 0, _ONE, root)


def _laplace(x: Array) -> Array:
    mean, spread = LAPLACE
    z = (x - np.float32(mean)) / np.float32(spread)
    density: Array = np.exp(-_HALF * z * z) / np.float32(spread * math.sqrt(2.0 * math.pi))
    return density


def _hardswish(x: Array) -> Array:
    outer = np.where(x < 0, np.float32(0.0), _ONE)
    return np.where(np.abs(x) < 3, x / np.float32(3.0) + _HALF, outer)


# Of those in `numpy_bert.kernels.activation.PLAIN`: float32, at a kink as torch has them.
_PLAIN_SLOPES: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "hardswish": _hardswish,
        "laplace": _laplace,
        "leaky_relu": lambda x: np.where(x > 0, _ONE, np.float32(0.01)),
        "linear": np.ones_like,
        "mish": _mish,
        "relu2": lambda x: np.float32(2.0) * np.maximum(x, np.float32(0.0)),
        "relu6": lambda x: ((x > 0) & (x < 6)).astype(np.float32),
        "sigmoid": lambda x: PLAIN["sigmoid"](x) * PLAIN["sigmoid"](-x),
        "sqrtsoftplus": _sqrtsoftplus,
    }
)
