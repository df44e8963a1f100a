"""A step as a candidate has it and as it should be, from the candidate's own input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.verification.budgets import budget
from numpy_bert.verification.segments import Segment
from numpy_bert.verification.steps import Step

__all__ = ["Case"]


class Case(NamedTuple):
    """A step as a candidate has it, and what it should be made of.

    Attributes
    ----------
    segment : Segment
        From the nearest steps that the candidate holds.
    arrays : mapping of str to ndarray
        The candidate's own, of those steps.
    found, expected : ndarray
        The candidate's result, and the float64 one of its own inputs.
    places : ndarray of bool
        What counts.
    dtype : str
        What the candidate computes in.
    view : callable
        What was done to both results before they were compared.
    allowed : float
        What rounding explains of the expected result.
    """

    segment: Segment
    arrays: Mapping[str, npt.NDArray[Any]]
    found: Array
    expected: Array
    places: BoolArray
    dtype: str
    view: Callable[[Array], Array] = lambda array: array
    allowed: float = 0.0

    def run(self, others: Mapping[str, Step]) -> Array:
        """Run the segment with other steps in it."""
        result = self.view(self.segment.run(self.arrays, np.float64, others))
        return np.broadcast_to(result, self.found.shape)  # the same positions for every row

    def budget(self, result: Array, others: Mapping[str, Step]) -> float:
        """Return what rounding explains of such a result."""
        return budget(self.segment, self.arrays, result, self.places, self.dtype, others, self.view)

    def counts(self, array: Array) -> Array:
        """Return the values of an array at the places that count, (N,)."""
        chosen: Array = array[np.broadcast_to(self.places, array.shape)]
        return chosen
