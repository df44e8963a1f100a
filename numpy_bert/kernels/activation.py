"""The activations of BERT, in place, in float32, block by block.

The twin of `numpy_bert.ops.activation`. Those that published BERTs have are one formula,

    2 f(x) = x * (1 + tanh(x * q(x**2)))

with a polynomial q: one of seven terms for the exact "gelu", of two for its tanh form and of one
for "silu" and "quick_gelu", since (1 + tanh(x / 2)) / 2 is the sigmoid. The factor 2 is left in,
for the weight that follows to make good. The same without the factor is

    f(x) = x / (1 + exp(-2 x * q(x**2)))

and `numpy_bert.kernels.choices` knows which of the two is faster: where NumPy's tanh takes its
coefficients from a table by slow gathers, exp takes half its time. The rare ones are computed
plainly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy import absolute, add, divide, exp, multiply, tanh

from numpy_bert.arrays import Array

__all__ = ["BOUNDS", "LAPLACE", "PLAIN", "POLYNOMIALS", "ActivationKernel", "gate"]

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
POLYNOMIALS = {
    "gelu": _GELU,
    "gelu_10": _GELU,
    "gelu_new": _GELU_TANH,
    "quick_gelu": (0.851,),
    "silu": (0.5,),
}
# Where such a one ends on both sides.
BOUNDS = {"gelu_10": 10.0}
# Mean and spread of the normal distribution of which "laplace" is the share below x.
LAPLACE = (0.707107, 0.282095)
# Above it softplus is x.
_STRAIGHT = 20.0


def gate(x: Array, terms: tuple[float, ...]) -> Array:
    """Return (1 + tanh(x q(x^2))) / 2 with a polynomial q of `POLYNOMIALS`.

    Examples
    --------
    >>> gate(np.array([-1.0, 0.0, 1.0], np.float32), POLYNOMIALS["silu"]).round(4)
    array([0.2689, 0.5   , 0.7311], dtype=float32)
    """
    square, inner = x * x, np.full_like(x, terms[-1])
    for term in terms[-2::-1]:
        inner *= square
        inner += np.float32(term)
    inner *= x
    output: Array = np.float32(0.5) * (np.float32(1.0) + np.tanh(inner))
    return output


def _mish(x: Array) -> Array:
    # With e = exp(x), tanh(log(1 + e)) is (e^2 + 2 e) / (e^2 + 2 e + 2).
    grown = np.exp(np.minimum(x, np.float32(_STRAIGHT)))
    grown *= grown + np.float32(2.0)
    return x * (grown / (grown + np.float32(2.0)))


def _softplus(x: Array) -> Array:
    near: Array = np.log1p(np.exp(np.minimum(x, np.float32(_STRAIGHT))))
    return np.where(x > _STRAIGHT, x, near)


def _laplace(x: Array) -> Array:
    mean, spread = LAPLACE
    return gate((x - np.float32(mean)) / np.float32(spread), _GELU)


def _hardswish(x: Array) -> Array:
    near = np.maximum(x, np.float32(-3.0))
    return near * (np.minimum(near + np.float32(3.0), np.float32(6.0)) / np.float32(6.0))


def _same(x: Array) -> Array:
    return x


# The rare ones, of float32 in a new array.
PLAIN: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "hardswish": _hardswish,
        "laplace": _laplace,
        "leaky_relu": lambda x: np.where(x > 0, x, np.float32(0.01) * x),
        "linear": _same,
        "mish": _mish,
        "relu2": lambda x: np.square(np.maximum(x, np.float32(0.0))),
        "relu6": lambda x: np.clip(x, np.float32(0.0), np.float32(6.0)),
        "sigmoid": lambda x: np.float32(1.0) / (np.float32(1.0) + np.exp(-x)),
        "sqrtsoftplus": lambda x: np.sqrt(_softplus(x)),
    }
)


class ActivationKernel:
    """An activation, as BertConfig.activation names it; calls share it, threads too.

    Parameters
    ----------
    name : str
        Of the activation.
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
        terms = POLYNOMIALS.get(name, ())
        scale = -2.0 if self._by_exp else 1.0
        # Arrays of no axis, which ufuncs take faster than scalars.
        self._terms = [np.array(scale * term, np.float32) for term in terms]
        self._bound = BOUNDS.get(name)
        halves = name == "relu" or (bool(terms) and not self._by_exp)
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
            np.copyto(x, PLAIN[self._name](x))
            return
        if self._name == "relu":
            absolute(x, square)
            add(x, square, x)
            return
        *terms, last = self._terms
        if terms:
            multiply(x, x, square)
            multiply(square, last, inner)
            for term in terms[:0:-1]:
                add(inner, term, inner)
                multiply(inner, square, inner)
            add(inner, terms[0], inner)
            multiply(inner, x, inner)
        else:
            multiply(x, last, inner)
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
