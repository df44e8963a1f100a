"""Layer normalization of a block of rows, in place, in float32.

The twin of `numpy_bert.ops.layer_norm`, which is the specification. With r = 1 / sqrt(var + eps)

    y = x * (r w) + (b - mean r w)

and both brackets are outer products: a matrix product of two terms writes them at the speed of
memory, where broadcasting a column over the rows costs twice as much as the arithmetic.

A row's result is the same to the bit whatever stands beside it. Most passes are element-wise. The
dot products (``vecdot``) go row by row; a matrix-vector product would add up in another order for
another number of rows. The matrix products have two terms, the second of them exact (0, or b
itself): added in their order, as BLAS does, they are rounded alike with and without fused
multiply-add, so that it does not matter which of its routines a number of rows leads to.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy import add, divide, matmul, multiply, sqrt, subtract, vecdot

from numpy_bert.arrays import Array

__all__ = ["LayerNormKernel", "LayerNormWorkspace", "fits"]

# A row whose squared mean is more than this many variances is normalized in float64: its float32
# variance, a difference of two sums, has lost too many digits.
_SHIFTED = 1.0
# The elements of a product up to which BLAS starts no threads of its own, which would take the
# processors from ours (OpenBLAS: rows * H * 2 <= 2**18).
_PRODUCT = 1 << 17
# From here on a scale could overflow before it meets its row. No model comes near.
_LARGEST_WEIGHT = 1e15


def fits(weight: Array, bias: Array) -> bool:
    """Tell whether the kernel can stand in for the readable code with these parameters."""
    return weight.dtype == bias.dtype == np.float32 and all(
        bool(np.abs(array).max(initial=0.0) < _LARGEST_WEIGHT)  # false for NaN
        for array in (weight, bias)
    )


class _Views(NamedTuple):
    """What a block of n rows uses of a workspace."""

    squares: Array  # (n,): x @ x, then the variance * H, then rstd**2
    shifts: Array  # (n,): H * mean**2, then over the variance
    rstd: Array  # (n,), in the left factors
    shift: Array  # (n,), in the left factors: -sqrt(H) * mean * rstd
    products: list[tuple[Array, Array]]  # some rows' left factors (2, m, 2) and products (2, m, H)
    scale: Array  # (n, H), in the products
    offset: Array  # (n, H), in the products


class LayerNormWorkspace:
    """Memory for one block at a time, to be used by one thread at a time."""

    def __init__(self, rows: int, features: int) -> None:
        self._part = max(2, _PRODUCT // features)
        rows += 1  # see products
        self._sums = np.zeros((2, rows), np.float32)
        self._left = np.zeros((2, rows, 2), np.float32)
        self._left[1, :, 1] = 1.0
        self._affine = np.zeros((2, rows, features), np.float32)
        self._views: dict[int, _Views] = {}

    def views(self, n: int) -> _Views:
        """Return the views for a block of n rows; blocks come in few sizes."""
        found = self._views.get(n)
        if found is None:
            if len(self._views) > 16:
                self._views.clear()
            found = self._views[n] = _Views(
                squares=self._sums[0, :n],
                shifts=self._sums[1, :n],
                rstd=self._left[0, :n, 0],
                shift=self._left[1, :n, 0],
                products=[
                    (self._left[:, first:last], self._affine[:, first:last])
                    for first in range(0, max(n, 1), self._part)
                    # Never a single row, which BLAS multiplies in another way, with another
                    # rounding: one beyond n, whatever is in it, keeps it company.
                    for last in [max(min(first + self._part, n), first + 2)]
                ],
                scale=self._affine[0, :n],
                offset=self._affine[1, :n],
            )
        return found


class LayerNormKernel:
    """A LayerNorm, prepared. Calls share it, threads too, each with a workspace of its own.

    Parameters
    ----------
    weight, bias : ndarray of shape (H,), float32
        The scale and the shift, for which `fits` is true.
    eps : float
        What is added to the variance.
    """

    def __init__(self, weight: Array, bias: Array, *, eps: float) -> None:
        features = len(weight)
        self._weight, self._bias, self._eps = weight, bias, eps
        # These are arrays without an axis, which ufuncs take faster than scalars.
        self._features = np.array(features, np.float32)
        self._features_eps = np.array(features * eps, np.float32)
        self._limit = features * _SHIFTED
        # A row's product with it is -sqrt(H) * mean, whose square is H * mean**2.
        self._minus = np.full(features, -1.0 / math.sqrt(features), np.float32)
        self._right = np.zeros((2, 2, features), np.float32)
        self._right[0, 0] = weight
        self._right[1, 0] = weight / math.sqrt(features)
        self._right[1, 1] = bias

    def __call__(self, x: Array, workspace: LayerNormWorkspace) -> bool:
        """Normalize the rows of x (n, H) in place, and return whether the result is finite.

        The caller has NumPy's warnings off: they are raised by rows that are made anew in float64.
        """
        squares, shifts, rstd, shift, products, scale, offset = workspace.views(len(x))
        mean = vecdot(x, self._minus)  # -sqrt(H) * mean
        vecdot(x, x, squares)
        multiply(mean, mean, shifts)
        subtract(squares, shifts, squares)
        add(squares, self._features_eps, squares)
        divide(self._features, squares, squares)
        sqrt(squares, rstd)
        multiply(mean, rstd, shift)
        multiply(shifts, squares, shifts)
        # Extremes by index, a fifth of the time of min and max; NaN is extreme, and compares false.
        plain = squares[squares.argmin()] > 0.0 and shifts[shifts.argmax()] <= self._limit
        if not plain:
            special = np.flatnonzero(~((squares > 0.0) & (shifts <= self._limit)))
            rows = self._in_float64(x[special])
        for left, product in products:
            matmul(left, self._right, product)
        multiply(x, scale, x)
        add(x, offset, x)
        if plain:
            return True
        x[special] = rows
        return bool(np.isfinite(rows).all())

    def _in_float64(self, x: Array) -> Array:
        """Return rows normalized as the specification does it; a constant row is the bias."""
        wide = x.astype(np.float64)
        wide -= wide.mean(axis=-1, keepdims=True)
        wide -= wide.mean(axis=-1, keepdims=True)  # the rounding of the first mean
        variance = np.square(wide).mean(axis=-1, keepdims=True)
        wide *= 1.0 / np.sqrt(variance + self._eps)
        return (wide * self._weight + self._bias).astype(np.float32)
