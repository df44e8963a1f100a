"""How far a step may be from the float64 result: derived from the step, not chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.comparison.differences import EPSILONS
from numpy_bert.verification.segments import Segment
from numpy_bert.verification.steps import Step

__all__ = ["FACTOR", "budget"]

# How many times the error of one plain float32 implementation another one may make: they add up in
# other orders. Calibrated by scripts/report_verification.py: clean float32 runs of torch and ONNX
# Runtime need at most half of it.
FACTOR = 4.0
_NONE: Mapping[str, Step] = {}


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

    ``FACTOR * max(e, g * eps(float32) * max|expected|)``, where e is the largest error of
    numpy_bert's own plain float32 run of the same segment from the same numbers; for another dtype
    in proportion to its epsilon. g is 1, and sqrt(K) / 4 where the step is a dense layer that adds
    up K terms (from K 16): a sum rounds as a random walk does [1]_, so that at a lone large number
    e may be small by luck.

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

    References
    ----------
    .. [1] Higham and Mary, "A new approach to probabilistic rounding error analysis", SIAM Journal
       on Scientific Computing 41, 2019: an error of about sqrt(K) units.
    """
    counts = np.broadcast_to(places, expected.shape)
    narrow = view(segment.run(arrays, np.float32, others))
    with np.errstate(all="ignore"):
        own = float(np.abs(narrow - expected)[counts].max())
    floor = _growth(segment.target) * EPSILONS["float32"] * float(np.abs(expected[counts]).max())
    error = max(own, floor) if np.isfinite(own) else floor
    return FACTOR * error * EPSILONS[dtype] / EPSILONS["float32"]


def _growth(step: Step) -> float:
    """Return how the rounding of a step grows with the number of terms that it adds up."""
    if step.kind not in ("linear", "pooler.dense"):
        return 1.0
    terms: int = step.arguments["weight"].shape[1]
    return max(1.0, math.sqrt(terms) / 4.0)
