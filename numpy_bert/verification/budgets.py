"""How far a step may be from the float64 result: derived from the step, not chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.comparison.differences import EPSILONS
from numpy_bert.verification.rounding import rounded_runs
from numpy_bert.verification.segments import Segment
from numpy_bert.verification.steps import Step

__all__ = ["FACTOR", "budget"]

# How many times the error of our own float32 runs another one may make: it adds up in an order of
# its own. Calibrated by scripts/report_verification.py.
FACTOR = 4.0
_NONE: Mapping[str, Step] = {}


@np.errstate(all="ignore")
def budget(
    segment: Segment,
    arrays: Mapping[str, npt.NDArray[Any]],
    expected: Array,
    places: BoolArray,
    dtype: str,
    others: Mapping[str, Step] = _NONE,
    view: Callable[[Array], Array] = lambda array: array,
) -> float:
    """Return the largest error that rounding explains in the last step of a segment.

    ``FACTOR * max(e, eps(float32) * max|expected|)``, where e is the largest error of numpy_bert's
    own float32 runs of the same segment from the same numbers: a plain one, and those of
    `numpy_bert.verification.rounding`; for another dtype in proportion to its epsilon.

    Parameters
    ----------
    segment, arrays, others
        As in `Segment.run`.
    expected : ndarray
        What that gives in float64, and `view` makes of it.
    places : ndarray of bool
        What counts, broadcastable to the shape of `expected`.
    dtype : str
        What the other implementation computes in, a key of `EPSILONS`.
    view : callable
        What is done to a result before it is compared.
    """
    counts = np.broadcast_to(places, expected.shape)
    runs = [segment.run(arrays, np.float32, others), *rounded_runs(segment, arrays, others)]
    error = EPSILONS["float32"] * float(np.abs(expected[counts]).max())
    for run in runs:
        apart = np.abs(view(run) - expected)[counts].max()
        error = max(error, float(apart)) if np.isfinite(apart) else error
    return FACTOR * error * EPSILONS[dtype] / EPSILONS["float32"]
