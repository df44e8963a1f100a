"""What is added to scores by the distance of two tokens, in float32, as attention takes it.

The twin of `numpy_bert.ops.relative_position`, whose buckets it uses. Of tokens that stand side by
side the numbers of a head are one row, of which each query takes a window: where they would not fit
into a cache, nothing is copied.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from numpy_bert.arrays import Array, IntArray, StoredArray
from numpy_bert.kernels.half import widened
from numpy_bert.ops.relative_position import relative_position_bucket

__all__ = ["DistanceBias"]

# A distance from which on all have one bucket, in either direction.
_FAR = 128
# The numbers of all pairs of tokens up to which they are copied out: a block's, which is added to
# the scores in one go, where windows take a step for each query.
_COPIED = 1 << 17


class DistanceBias:
    """What is added to the scores of sequences, prepared. Calls share it, threads too.

    Parameters
    ----------
    table : ndarray of shape (buckets, A), of float32 or of halves
        The numbers of each bucket, which are copied.
    """

    def __init__(self, table: StoredArray) -> None:
        buckets = relative_position_bucket(np.arange(-_FAR, _FAR + 1))
        self._rows = np.ascontiguousarray(widened(table[buckets]).T)  # (A, 2 * _FAR + 1)

    def __call__(self, asking: IntArray, seen: IntArray) -> Array:
        """Return what is added where tokens look at tokens.

        Parameters
        ----------
        asking : ndarray of shape (n, Q), int
            The columns of those that look, of n sequences.
        seen : ndarray of shape (n, T), int
            The columns of those that are looked at.

        Returns
        -------
        ndarray of shape (n, A, Q, T), float32, a view; or of shape (1, A, Q, T)
            The numbers; they are written once where all sequences have the same.
        """
        first = seen[:, :1]
        asking, seen = asking - first, seen - first
        if (asking == asking[0]).all() and (seen == seen[0]).all():
            asking, seen = asking[:1], seen[:1]
            order = np.arange(seen.shape[1])
            if np.array_equal(asking[0], order) and np.array_equal(seen[0], order):
                return self.side_by_side(len(order))[np.newaxis]
        distance = seen[:, np.newaxis] - asking[:, :, np.newaxis]  # (n, Q, T)
        return self._at(distance).swapaxes(0, 1)

    def side_by_side(self, length: int) -> Array:
        """Return what is added where tokens that stand side by side look at each other, (A, T, T).

        It is a view of which no row may be written to.
        """
        if length <= _FAR:
            row = self._rows[:, _FAR + 1 - length : _FAR + length]  # (A, 2 * T - 1)
        else:
            row = self._at(np.arange(1 - length, length))
        step, number = row.strides
        # From the number of distance 0 on, each query's window begins one earlier.
        windows = as_strided(
            row[:, length - 1 :],
            (len(row), length, length),
            (step, -number, number),
            writeable=False,
        )
        return windows if windows.size > _COPIED else np.ascontiguousarray(windows)

    def _at(self, distance: IntArray) -> Array:
        """Return the numbers of each head at distances, (A, *distance.shape)."""
        return self._rows.take(np.clip(distance, -_FAR, _FAR) + _FAR, axis=1)
