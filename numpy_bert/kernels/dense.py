"""A dense layer's product, in float32, as one call of BLAS or cut into pieces.

For a large product BLAS first copies the weight into an order of its own, at every call; with 8
rows that is most of the time. Some builds of it have another routine for small products, which
takes matrices as they stand: there many small products, of a few rows by a block of columns, are
faster than a large one up to some number of rows, or always. `numpy_bert.kernels.choices` knows
where, and how to cut. Small products also start no threads of BLAS's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy import matmul

from numpy_bert.arrays import Array
from numpy_bert.kernels.choices import Cut
from numpy_bert.kernels.tuning import tuning

__all__ = ["Dense", "blocks_of", "cut_product"]


class Dense:
    """Weights that are multiplied by the same rows, their results side by side.

    Calls share it, threads too. The weights are arranged at the first, in one copy.

    Parameters
    ----------
    *weights : ndarray of shape (out, in), float32
        The weights as a checkpoint stores them; they must not be changed afterwards.
    scale : float
        What the first of them is multiplied by.
    cuts : sequence of Cut, optional
        The cuts to use in place of those in force.
    """

    def __init__(
        self, *weights: Array, scale: float = 1.0, cuts: Sequence[Cut] | None = None
    ) -> None:
        self._weights = weights
        self._scale = np.float32(scale)
        known = tuning().cuts if cuts is None else cuts
        self._cuts = _cuts_for(weights[0].shape[1], math.gcd(*map(len, weights)), known)
        self._arranged: dict[int, Array] | None = None

    def is_cut(self, rows: int) -> bool:
        """Tell whether a product of so many rows is cut into small ones."""
        return self._cut(rows) is not None

    def __call__(self, x: Array, out: Array, columns: slice = slice(None)) -> None:
        """Write ``x @ weight.T`` into `out`, (n, in) and (n, all outs), float32.

        `x` is C-contiguous, and so are the rows of `out`. `columns` says which of the results are
        asked for, where that is not all: those of some of the weights.
        """
        arranged = self._arranged
        if arranged is None:
            arranged = self._arranged = self._arrange()
        cut = self._cut(len(x))
        if cut is None:
            matmul(x, arranged[0][:, columns], out)
            return
        blocks = arranged[cut.columns]
        first, last, _ = columns.indices(len(blocks) * cut.columns)
        cut_product(x, blocks[first // cut.columns : last // cut.columns], cut.rows, out)

    def _cut(self, rows: int) -> Cut | None:
        for cut in self._cuts:
            if rows <= cut.most_rows or not cut.most_rows:
                return cut if cut.columns else None
        return None

    def _arrange(self) -> dict[int, Array]:
        """Return the weights as products take them, by the columns of a block.

        They are (in, outs) under 0, and (m, in, columns) in blocks: views of it, or where all
        products take the same blocks, a copy in their order, which is 10 to 17 % faster.
        """
        first, *others = self._weights
        scaled = first if self._scale == 1.0 else first * self._scale
        joined = np.concatenate([scaled, *others]) if others else scaled
        columns = {cut.columns for cut in self._cuts}
        if len(columns) == 1 and not self._cuts[-1].most_rows and (only := columns.pop()):
            return {only: np.ascontiguousarray(blocks_of(joined.T, only))}
        whole = np.ascontiguousarray(joined.T)
        return {0: whole} | {number: blocks_of(whole, number) for number in columns if number}


def blocks_of(weights: Array, columns: int) -> Array:
    """Return weights (in, outs) as blocks (m, in, columns), a view where they are contiguous."""
    return weights.reshape(len(weights), -1, columns).swapaxes(0, 1)


def cut_product(x: Array, blocks: Array, rows: int, out: Array) -> None:
    """Write a product, cut into pieces of so many rows by a block's columns, into `out`.

    Parameters
    ----------
    x : ndarray of shape (n, in), float32, C-contiguous
        The rows.
    blocks : ndarray of shape (m, in, columns), float32
        The weights, as `blocks_of` returns them.
    rows : int
        The rows of a piece; those that are left over are one more piece.
    out : ndarray of shape (n, m * columns), float32, C-contiguous
        Where the product is written; it may hold anything.
    """
    count, _, columns = blocks.shape
    whole = len(x) // rows * rows
    if whole:
        groups = x[:whole].reshape(-1, rows, x.shape[1])
        into = out[:whole].reshape(-1, rows, count, columns).transpose(2, 0, 1, 3)
        matmul(groups, blocks[:, np.newaxis], into)  # (blocks, n / rows, rows, columns)
    if whole < len(x):
        others = out[whole:].reshape(len(x) - whole, count, columns).swapaxes(0, 1)
        matmul(x[whole:], blocks, others)  # (blocks, the other rows, columns)


def _cuts_for(features: int, outs: int, cuts: Sequence[Cut]) -> list[Cut]:
    """Return the cuts for weights (outs, features): those for the next larger size measured."""
    size = min((cut.most_features for cut in cuts if features <= cut.most_features), default=0)
    found = [cut for cut in cuts if cut.most_features == size]
    # Where the columns do not divide a weight's results, its products are not cut.
    return [
        cut if cut.columns and outs % cut.columns == 0 else Cut(size, cut.most_rows, 0, 0)
        for cut in found
    ]
