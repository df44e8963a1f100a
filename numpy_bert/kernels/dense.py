"""A dense layer's product with few rows or with many, in float32.

Each has an arrangement of the weight of its own, made when it is first needed. For many rows it is
the transpose of what a checkpoint stores, 2 % faster than the stored one. For few, BLAS would spend
most of the time on rearranging the weight at every call; its routine for small matrices does
without, but serves only products of up to a million terms. So for few rows the weight is cut into
blocks of columns that are small enough: three times as fast with 8 rows.
"""

from __future__ import annotations

import numpy as np
from numpy import matmul

from numpy_bert.arrays import Array
from numpy_bert.kernels.threads import get_num_threads

__all__ = ["Dense"]

# Rows up to which the blocks are faster: with one thread, and where BLAS may use threads of its
# own, which it does not for small matrices.
_FEW = 64
_FEW_BESIDE_THREADS = 16
# Columns of a block: two of the vectors that a processor multiplies at once.
_COLUMNS = 32


class Dense:
    """Weights that are multiplied by the same rows, their results side by side.

    Calls share it, threads too.

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
        self._for_many: Array | None = None
        self._for_few: Array | None = None

    def __call__(self, x: Array, out: Array) -> None:
        """Write ``x @ weight.T`` into `out`: (n, in) and (n, all outs), float32, C-contiguous."""
        few = _FEW if get_num_threads() == 1 else _FEW_BESIDE_THREADS
        if len(x) > few or out.shape[1] % _COLUMNS:
            if self._for_many is None:
                self._for_many = np.ascontiguousarray(self._joined().T)
            matmul(x, self._for_many, out)
            return
        if self._for_few is None:
            blocks = self._joined().reshape(-1, _COLUMNS, x.shape[1])
            self._for_few = np.ascontiguousarray(blocks.swapaxes(1, 2))
        matmul(
            x, self._for_few, out.reshape(len(x), out.shape[1] // _COLUMNS, _COLUMNS).swapaxes(0, 1)
        )

    def release(self) -> None:
        """Give the memory of the arrangements back, until they are needed again."""
        self._for_many = self._for_few = None

    def _joined(self) -> Array:
        """Return the weights one under another, the first of them scaled."""
        first, *others = self._weights
        scaled = first if self._scale == 1.0 else first * self._scale
        return np.concatenate([scaled, *others]) if others else scaled
