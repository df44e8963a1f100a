"""The activations of BERT in float32, in place, block by block; for training with their slopes.

The twin of `numpy_bert.ops.activation`, for the activations in `KNOWN`; any other is left to the
readable code. Those that published BERTs have are one formula,

    2 f(x) = x * (1 + tanh(x * q(x**2)))

with a polynomial q: one of seven terms for the exact "gelu", of two for its tanh form and of one
for "silu" and "quick_gelu", since (1 + tanh(x / 2)) / 2 is the sigmoid. The factor 2 is left in,
for the weight that follows to make good. The same without the factor is

    f(x) = x / (1 + exp(-2 x * q(x**2)))

and `numpy_bert.kernels.choices` knows which of the two is faster: where NumPy's tanh takes its
coefficients from a table by slow gathers, exp takes half its time. The slope of f is f(x) / x and
a term that the exact formula gives. The rare ones are computed plainly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy import absolute, add, divide, exp, multiply, tanh

from numpy_bert.arrays import Array

__all__ = ["KNOWN", "PLAIN", "ActivationKernel", "Plain", "activate"]

# Elements of a block in training, which passes through a core's second-level cache with three of
# its size.
_BLOCK = 32 << 10
# q for gelu: the minimax fit of x / 2 * (tanh(x * q(x**2)) - erf(x / sqrt(2))), 7.7e-8 at most
# before rounding, over all x: the last term is positive, so that tanh stays at 1 beyond 6.
_GELU = (
    0.7978852304837847,
    0.036332175560288255,
    -3.1750654969502116e-05,
    -5.562686451342057e-05,
    4.02018169392283e-06,
    -1.3654318682895326e-07,
    1.8741988573423927e-09,
)
_GELU_TANH = (math.sqrt(2.0 / math.pi), math.sqrt(2.0 / math.pi) * 0.044715)
_POLYNOMIALS = {
    "gelu": _GELU,
    "gelu_10": _GELU,
    "gelu_new": _GELU_TANH,
    "quick_gelu": (0.851,),
    "silu": (0.5,),
}
# Where such a one ends on both sides.
_BOUNDS = {"gelu_10": 10.0}
# Mean and spread of the normal distribution of which "laplace" is the share below x.
_MEAN, _SPREAD = 0.707107, 0.282095
# Above it softplus is x.
_STRAIGHT = 20.0
_ONE, _HALF = np.float32(1.0), np.float32(0.5)


def _terms(name: str, scale: float = 1.0) -> list[Array]:
    """Return the terms of q, as arrays of no axis, which ufuncs take faster than scalars."""
    return [np.array(scale * term, np.float32) for term in _POLYNOMIALS.get(name, ())]


def _argument(x: Array, terms: Sequence[Array], square: Array, inner: Array) -> None:
    """Fill `inner` with x q(x^2), and `square`, where q has several terms, with x^2."""
    *lower, last = terms
    if not lower:
        multiply(x, last, inner)
        return
    multiply(x, x, square)
    multiply(square, last, inner)
    for term in lower[:0:-1]:
        add(inner, term, inner)
        multiply(inner, square, inner)
    add(inner, lower[0], inner)
    multiply(inner, x, inner)


def _mish(x: Array) -> Array:
    # With e = exp(x), tanh(log(1 + e)) is (e^2 + 2 e) / (e^2 + 2 e + 2).
    grown = np.exp(np.minimum(x, np.float32(_STRAIGHT)))
    grown *= grown + np.float32(2.0)
    return x * (grown / (grown + np.float32(2.0)))


def _mish_slope(x: Array) -> Array:
    # With e = exp(x) and n = e^2 + 2 e, t is n / (n + 2); 1 - t^2 is 4 (n + 1) / (n + 2)^2, and
    # n + 1 is (1 + e)^2, so that x e / (1 + e) (1 - t^2) is 4 x e (1 + e) / (n + 2)^2.
    grown = np.exp(np.minimum(x, np.float32(_STRAIGHT)))
    whole = grown * (grown + np.float32(2.0))
    below = whole + np.float32(2.0)
    near = np.clip(x, np.float32(-100.0), np.float32(100.0))  # where the term is 0, or nearly
    slope: Array = whole / below
    slope += np.float32(4.0) * near * (grown / below) * ((_ONE + grown) / below)
    return slope


def _sigmoid(x: Array) -> Array:
    output: Array = _ONE / (_ONE + np.exp(-x))
    return output


def _sqrtsoftplus(x: Array) -> Array:
    near = np.log1p(np.exp(np.minimum(x, np.float32(_STRAIGHT))))
    output: Array = np.sqrt(np.where(x > _STRAIGHT, x, near))
    return output


def _sqrtsoftplus_slope(x: Array) -> Array:
    root = _sqrtsoftplus(x)
    return _HALF * _sigmoid(x) / np.where(root == 0, _ONE, root)


def _laplace(x: Array) -> Array:
    z = (x - np.float32(_MEAN)) / np.float32(_SPREAD)
    output = np.empty_like(z)
    _argument(z, _terms("gelu"), np.empty_like(z), output)
    tanh(output, output)
    output += _ONE
    output *= _HALF
    return output


def _laplace_slope(x: Array) -> Array:
    z = (x - np.float32(_MEAN)) / np.float32(_SPREAD)
    density: Array = np.exp(-_HALF * z * z) / np.float32(_SPREAD * math.sqrt(2.0 * math.pi))
    return density


def _hardswish(x: Array) -> Array:
    near = np.maximum(x, np.float32(-3.0))
    return near * (np.minimum(near + np.float32(3.0), np.float32(6.0)) / np.float32(6.0))


def _hardswish_slope(x: Array) -> Array:
    outer = np.where(x < 0, np.float32(0.0), _ONE)
    return np.where(np.abs(x) < 3, x / np.float32(3.0) + _HALF, outer)


def _same(x: Array) -> Array:
    return x


class Plain(NamedTuple):
    """A rare activation and its slope, each of a float32 array that is left as it is."""

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]


# At a kink the slopes are torch's.
PLAIN: Mapping[str, Plain] = MappingProxyType(
    {
        "hardswish": Plain(_hardswish, _hardswish_slope),
        "laplace": Plain(_laplace, _laplace_slope),
        "leaky_relu": Plain(
            lambda x: np.where(x > 0, x, np.float32(0.01) * x),
            lambda x: np.where(x > 0, _ONE, np.float32(0.01)),
        ),
        "linear": Plain(_same, np.ones_like),
        "mish": Plain(_mish, _mish_slope),
        "relu2": Plain(
            lambda x: np.square(np.maximum(x, np.float32(0.0))),
            lambda x: np.float32(2.0) * np.maximum(x, np.float32(0.0)),
        ),
        "relu6": Plain(
            lambda x: np.clip(x, np.float32(0.0), np.float32(6.0)),
            lambda x: ((x > 0) & (x < 6)).astype(np.float32),
        ),
        "sigmoid": Plain(_sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x)),
        "sqrtsoftplus": Plain(_sqrtsoftplus, _sqrtsoftplus_slope),
    }
)
# The activations that there are kernels for, as BertConfig.activation names them.
KNOWN = frozenset({"relu", "tanh", *_POLYNOMIALS, *PLAIN})


class ActivationKernel:
    """An activation, as BertConfig.activation names it; calls share it, threads too.

    Parameters
    ----------
    name : str
        The activation's name, one of `KNOWN`.
    form : str
        "tanh" or "exp": which of the two formulas above computes it.

    Attributes
    ----------
    factor : float
        What a call's result is to be multiplied by: 0.5 or 1.
    """

    def __init__(self, name: str, form: str) -> None:
        self._name = name
        self._by_exp = form == "exp"
        self._one = np.array(1.0, np.float32)
        self._terms = _terms(name, -2.0 if self._by_exp else 1.0)
        self._bound = _BOUNDS.get(name)
        halves = name == "relu" or (bool(self._terms) and not self._by_exp)
        self.factor = 0.5 if halves else 1.0

    def __call__(self, x: Array, bias: Array, scratch: Array) -> None:
        """Replace the rows of x by the activation of x + bias, over `factor`.

        Parameters
        ----------
        x : ndarray of shape (n, I), float32, C-contiguous
            Changed in place.
        bias : ndarray of shape (m, I), float32, C-contiguous
            The same row m times over: broadcasting one takes twice as long. m rows at a time are
            worked on.
        scratch : ndarray of shape (2, m * I) or longer, float32
            Any content.
        """
        rows = len(bias)
        flat = bias.ravel()
        for first in range(0, len(x), rows):
            block = x[first : first + rows].ravel()
            add(block, flat[: len(block)], block)
            self._apply(block, scratch[0, : len(block)], scratch[1, : len(block)])

    def _apply(self, x: Array, square: Array, inner: Array) -> None:
        """Replace x by its activation over `factor`."""
        if self._name == "tanh":
            tanh(x, x)
            return
        if self._name in PLAIN:
            np.copyto(x, PLAIN[self._name].value(x))
            return
        if self._name == "relu":
            absolute(x, square)
            add(x, square, x)
            return
        _argument(x, self._terms, square, inner)
        if self._by_exp:
            exp(inner, inner)
            add(inner, self._one, inner)
            divide(x, inner, x)
        else:
            tanh(inner, inner)
            add(inner, self._one, inner)
            multiply(x, inner, x)
        if self._bound is not None:
            most = self._bound / self.factor
            np.clip(x, -most, most, out=x)


def activate(name: str, x: Array) -> tuple[Array, Array]:
    """Return the activation of x and its derivative there; x is overwritten by the former.

    Parameters
    ----------
    name : str
        The activation's name, one of `KNOWN`.
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
        _activate(name, block, slopes[start : start + _BLOCK], inner[: len(block)])
    return x, slope


def _activate(name: str, x: Array, slope: Array, inner: Array) -> None:
    """Replace a block by its activation, and fill in the slopes."""
    if name == "relu":
        np.greater(x, 0.0, out=slope, casting="unsafe")
        np.maximum(x, np.float32(0.0), out=x)
        return
    if name == "tanh":
        tanh(x, x)
        multiply(x, x, slope)
        np.subtract(_ONE, slope, out=slope)
        return
    if name in PLAIN:
        np.copyto(slope, PLAIN[name].slope(x))
        np.copyto(x, PLAIN[name].value(x))
        return
    terms = _terms(name)
    _argument(x, terms, slope, inner)  # and x^2 in slope, for now
    tanh(inner, inner)
    if len(terms) > 2:  # gelu: s' x = x exp(-x^2 / 2) / sqrt(2 pi)
        slope *= np.float32(-0.5)
        exp(slope, slope)
        slope *= x
        slope *= np.float32(1.0 / math.sqrt(2.0 * math.pi))
    else:  # s' x = x (1 - t^2) a' / 2, where a = x q(x^2)
        if len(terms) > 1:
            slope *= np.float32(3.0) * terms[1]
            slope += terms[0]
        else:
            slope.fill(float(terms[0]))
        slope *= x
        slope *= (_ONE - inner) * (_ONE + inner) * _HALF
    inner += _ONE
    inner *= _HALF
    slope += inner
    x *= inner
    if name in _BOUNDS:
        most = _BOUNDS[name]
        slope *= np.abs(x) <= most
        np.clip(x, -most, most, out=x)
