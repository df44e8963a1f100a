"""Memory in which a block's rows are gathered, widened and normalized, used again and again."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, IntArray
from numpy_bert.kernels.half import widen_into
from numpy_bert.kernels.layer_norm import LayerNormWorkspace

__all__ = ["Scratch", "Table"]

Table = npt.NDArray[Any]


class Scratch:
    """Memory for one block at a time, used by one thread at a time."""

    def __init__(self, rows: int, features: int) -> None:
        self.norm = LayerNormWorkspace(rows, features)
        self._shape = rows, features
        self._rows: Array | None = None
        self._halves: npt.NDArray[np.uint16] | None = None

    def gather(self, table: Table, ids: IntArray, out: Array) -> None:
        """Write the rows of `table` that the ids name into `out` (n, H), widened."""
        # "clip" because with "raise" NumPy gathers into a copy first; all ids are in range.
        if table.itemsize == 4:
            table.take(ids, 0, out, "clip")
        else:
            if self._halves is None:
                self._halves = np.empty(self._shape, np.uint16)
            halves = self._halves[: len(out)].view(table.dtype)
            table.take(ids, 0, halves, "clip")
            widen_into(halves, out)

    def rows_of(self, table: Table, ids: IntArray) -> Array:
        """Return the rows (n, H) of `table` that the ids name, in memory that is used again."""
        if self._rows is None:
            self._rows = np.empty(self._shape, np.float32)
        rows = self._rows[: len(ids)]
        self.gather(table, ids, rows)
        return rows
