"""A dense layer's product, in float32.

For a large product BLAS first copies the weight into an order of its own, at every call; with 8
rows that is most of the time. Some builds of it have another routine for small products, up to a
million terms, which takes matrices as they stand. So where that is so, the weight is cut once into
blocks of columns, and the rows are taken a few at a time: products of many rows are as fast as, or
10 % faster than, a single large one, and those of 8 rows three times as fast. Small products also
start no threads of BLAS's own, which would take the processors from ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import matmul

from numpy_bert.arrays import Array

__all__ = ["SMALL_PRODUCTS", "Dense"]

# Columns of a block, and rows that meet it at a time: the most that terms allow.
_COLUMNS = 64
_ROWS = (8, 4)
_MOST_TERMS = 100**3


def _has_small_products() -> bool:
    """Tell whether BLAS has a routine for small products that is worth asking for.

    OpenBLAS has it for processors with AVX-512.
    """
    config: Any = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {}).get("name", "")
    extensions = config.get("SIMD Extensions", {})
    known = {*extensions.get("baseline", []), *extensions.get("found", [])}
    return "openblas" in blas and bool({"AVX512_SKX", "X86_V4"} & known)


SMALL_PRODUCTS = _has_small_products()


class Dense:
    """Weights that are multiplied by the same rows, their results side by side.

    Calls share it, threads too. The weights are arranged at the first.

    Parameters
    ----------
    *weights : ndarray of shape (out, in), float32
        As a checkpoint stores them; not to be changed afterwards.
    scale : float
        What the first of them is multiplied by.
    """

    def __init__(self, *weights: Array, scale: float = 1.0) -> None:
        self._weights = weights
        self._scale = np.float32(scale)
        self._arranged: Array | None = None
        terms = weights[0].shape[1] * _COLUMNS
        cuts = SMALL_PRODUCTS and sum(map(len, weights)) % _COLUMNS == 0
        self._rows = next((n for n in _ROWS if cuts and n * terms <= _MOST_TERMS), 0)

    def __call__(self, x: Array, out: Array) -> None:
        """Write ``x @ weight.T`` into `out`: (n, in) and (n, all outs), float32, C-contiguous."""
        arranged = self._arranged
        if arranged is None:
            arranged = self._arranged = self._arrange()
        if not self._rows:
            matmul(x, arranged, out)
            return
        rows, blocks = self._rows, len(arranged)
        whole = len(x) // rows * rows
        if whole:
            groups = x[:whole].reshape(-1, rows, x.shape[1])
            into = out[:whole].reshape(-1, rows, blocks, _COLUMNS).transpose(2, 0, 1, 3)
            matmul(groups, arranged[:, np.newaxis], into)  # (blocks, n / rows, rows, columns)
        if whole < len(x):
            others = out[whole:].reshape(len(x) - whole, blocks, _COLUMNS).swapaxes(0, 1)
            matmul(x[whole:], arranged, others)  # (blocks, the other rows, columns)

    def _arrange(self) -> Array:
        """Return the weights as products take them: blocks (m, in, columns), or (in, outs)."""
        first, *others = self._weights
        scaled = first if self._scale == 1.0 else first * self._scale
        joined = np.concatenate([scaled, *others]) if others else scaled
        if not self._rows:
            return np.ascontiguousarray(joined.T)
        blocks = joined.reshape(-1, _COLUMNS, joined.shape[1]).swapaxes(1, 2)
        return np.ascontiguousarray(blocks)
