"""A row of a batch, cut out of everything that a segment is run on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import BoolArray, IntArray
from numpy_bert.verification.steps import Segment, Step

__all__ = ["Row", "shortest", "weights_dtype"]


class Row(NamedTuple):
    """A row of a batch, or some of its columns.

    Attributes
    ----------
    number : int
        The number of the row.
    columns : slice
        The places in it.

    Examples
    --------
    >>> Row(1, slice(0, 2)).of(np.arange(8).reshape(2, 4), "BT")
    array([[4, 5]])
    """

    number: int
    columns: slice = slice(None)

    def of(self, array: npt.NDArray[Any], axes: str) -> npt.NDArray[Any]:
        """Return the part of an array, with axes of these letters, that belongs to the row."""
        chosen = [self.columns if letter == "T" else slice(None) for letter in axes]
        if len(array) > 1 and axes[0] == "B":  # or it is the same for every row
            chosen[0] = slice(self.number, self.number + 1)
        return array[tuple(chosen)]

    def step(self, step: Step) -> Step:
        """Return a step that runs on the row alone."""
        cut = {
            key: self.of(step.arguments[key], "BT")
            for key in ("ids", "mask")
            if key in step.arguments
        }
        return replace(step, arguments={**step.arguments, **cut}) if cut else step


def shortest(mask: BoolArray, rows: IntArray | None = None) -> Row:
    """Return the row with the fewest tokens, of these or of all, without its padding."""
    lengths = np.where(mask.any(axis=1), mask.sum(axis=1), mask.shape[1] + 1)
    among = np.arange(len(mask)) if rows is None else rows
    number = int(among[lengths[among].argmin()])
    tokens = np.flatnonzero(mask[number])
    first, last = (tokens[0], tokens[-1] + 1) if len(tokens) else (0, mask.shape[1])
    return Row(number, slice(int(first), int(last)))


def weights_dtype(segment: Segment) -> np.dtype[Any]:
    """Return the dtype of a segment's weights, in which none has to be cast to run it."""
    weights = (step.arguments["weight"] for step in segment.steps if "weight" in step.arguments)
    return next((weight.dtype for weight in weights), np.dtype(np.float64))
