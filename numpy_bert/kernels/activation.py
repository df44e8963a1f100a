"""The activations of BERT, in place, in float32, block by block.

The twin of `numpy_bert.ops.activation`. Nearly all of them are one formula,

    2 f(x) = x * (1 + tanh(x * q(x**2)))

with a polynomial q: one of seven terms for the exact "gelu", of two for its tanh form and of one
for "silu", since (1 + tanh(x / 2)) / 2 is the sigmoid. The factor 2 is left in, for the weight that
follows to make good.
"""

from __future__ import annotations

import math

import numpy as np
from numpy import absolute, add, multiply, tanh

from numpy_bert.arrays import Array

__all__ = ["POLYNOMIALS", "ActivationKernel", "block_rows"]

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
    "gelu_new": _GELU_TANH,
    "gelu_pytorch_tanh": _GELU_TANH,
    "silu": (0.5,),
    "swish": (0.5,),
}
# Elements of a block, which passes through a core's second-level cache with two of its size.
_BLOCK = 48 << 10


class ActivationKernel:
    """An activation by the name that config.json gives it; calls share it, threads too.

    Attributes
    ----------
    factor : float
        What a call's result is to be multiplied by: 0.5, or 1 for tanh.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._one = np.array(1.0, np.float32)
        # Arrays of no axis, which ufuncs take faster than scalars.
        self._terms = [np.array(term, np.float32) for term in POLYNOMIALS.get(name, ())]
        self.factor = 1.0 if name == "tanh" else 0.5

    def __call__(self, x: Array, bias: Array, scratch: Array) -> None:
        """Replace the rows of x by the activation of x + bias, over `factor`.

        Parameters
        ----------
        x : ndarray of shape (n, I), float32, C-contiguous
            Changed in place.
        bias : ndarray of shape (m, I), float32, C-contiguous
            The same row m times over: broadcasting one takes twice as long. m rows at a time are
            worked on; see `block_rows`.
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
        tanh(inner, inner)
        add(inner, self._one, inner)
        multiply(x, inner, x)


def block_rows(features: int) -> int:
    """Return how many rows of `features` elements a block has."""
    return max(1, _BLOCK // features)
