"""How far two arrays are apart: at the worst place, on the whole, in units of rounding."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.reprs import short_repr

__all__ = [
    "EPSILONS",
    "MASKED",
    "UNSEEN",
    "Difference",
    "comparable",
    "cosine_distance",
    "counted",
    "difference",
    "effective_dtype",
    "nmse",
    "rms",
]

# The spacing of the numbers at 1, for every dtype that a trace may have.
EPSILONS = {
    "float64": 2.0**-52,
    "float32": 2.0**-23,
    "float16": 2.0**-10,
    "bfloat16": 2.0**-7,
}
# Softmax makes 0, to the last bit of float32, of a score so far below the largest.
UNSEEN = 104.0
# Where the largest score of a row is below this, every key of the row is masked.
MASKED = -5e3
# The least exponent of a normal number: below it the spacing stays what it is there.
_LEAST_EXPONENTS = {"float64": -1022, "float32": -126, "float16": -14, "bfloat16": -126}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How an array differs from a reference, over the places that count.

    Attributes
    ----------
    max_abs, max_rel : float
        Largest distance, and largest distance over the size of the reference there.
    ulp : float
        Largest distance in units of the last place of the row's largest number: of the spacing
        that numbers of its size have. Near 0 an element's own spacing says nothing of rounding.
    worst : tuple of int
        Where the distance is largest.
    value, expected : float
        What stands there, and what should stand there.
    largest : float
        Largest finite absolute value of the reference.
    faults : int
        How many values of the array are NaN or infinite.
    """

    __repr__ = short_repr

    max_abs: float
    max_rel: float
    ulp: float
    worst: tuple[int, ...]
    value: float
    expected: float
    largest: float
    faults: int


@np.errstate(all="ignore")
def difference(
    array: npt.NDArray[Any],
    reference: npt.NDArray[Any],
    places: BoolArray,
    dtype: str,
    *,
    least: float = 0.0,
) -> Difference:
    """Measure how far `array` is from `reference`.

    Parameters
    ----------
    array, reference : ndarray of one shape
        Compared in float64. An equal infinity is no difference, a NaN always is one.
    places : ndarray of bool, broadcastable to that shape
        The places that count, at least one.
    dtype : str
        The dtype whose spacing an ULP is, a key of `EPSILONS`.
    least : float
        The least size of a row's largest number for its ULP, where the numbers are what is left of
        larger ones.

    Examples
    --------
    >>> found = difference(np.array([1.0, 2.5]), np.array([1.0, 2.0]), np.array(True), "float32")
    >>> found.max_abs, found.worst, found.ulp
    (0.5, (1,), 2097152.0)
    """
    a, b = array.astype(np.float64, copy=False), reference.astype(np.float64, copy=False)
    counts = np.broadcast_to(places, a.shape)
    distance = np.where(a == b, 0.0, np.abs(a - b))
    distance = np.where(np.isnan(distance), np.inf, distance)
    distance = np.where(counts, distance, -1.0)
    worst = np.unravel_index(int(distance.argmax()), a.shape)
    far, near = distance[counts], b[counts]
    size = np.abs(near)
    largest = np.broadcast_to(np.maximum(_of_rows(b, counts), least), a.shape)[counts]
    relative = np.where(far == 0.0, 0.0, far / size)
    return Difference(
        max_abs=float(far.max()),
        max_rel=float(relative.max()),
        ulp=float((far / _spacing(largest, dtype)).max()),
        worst=tuple(int(i) for i in worst),
        value=float(a[worst]),
        expected=float(b[worst]),
        largest=float(np.where(np.isfinite(size), size, 0.0).max()),
        faults=int((~np.isfinite(a[counts])).sum()),
    )


def _of_rows(array: Array, counts: BoolArray) -> Array:
    """Return the largest finite size in each row of the last axis, (..., 1).

    Where a row is one number, it is the largest of all that count.
    """
    size = np.where(np.isfinite(array) & counts, np.abs(array), 0.0)
    rows = size.ndim and size.shape[-1] > 1
    found: Array = size.max(axis=-1 if rows else None, keepdims=True)
    return found


def _spacing(size: Array, dtype: str) -> Array:
    """Return how far numbers of these sizes are apart in a dtype."""
    exponents = np.maximum(np.floor(np.log2(size)), _LEAST_EXPONENTS[dtype])
    found: Array = EPSILONS[dtype] * np.exp2(exponents)
    return found


def comparable(scores: Array, mask: BoolArray) -> Array:
    """Return attention scores in which it does not matter how anything was masked.

    A masked key's score may be -10000, the least number or -infinity: as long as softmax makes 0
    of it, it becomes 0 here. If softmax would see it, 1000 is added to it, so that it stands out.
    No score is left farther below the largest of its row than softmax sees. In a row in which
    every key is masked, a score counts by how far it is below the largest.

    Parameters
    ----------
    scores : ndarray of shape (B, A, T, T)
        Never modified.
    mask : ndarray of shape (B, T), bool
        True where a token is.

    Examples
    --------
    >>> mask = np.array([[True, False]])
    >>> comparable(np.array([[[[0.5, -1e4], [0.5, 0.25]]]]), mask)
    array([[[[5.00000e-01, 0.00000e+00],
             [5.00000e-01, 1.00025e+03]]]])
    """
    keys = mask[:, np.newaxis, np.newaxis, :]
    with np.errstate(all="ignore"):
        largest = np.fmax.reduce(scores, axis=-1, keepdims=True)  # (B, A, T, 1)
        least = largest - UNSEEN
        masked = np.where(scores <= least, 0.0, 1000.0 + scores)  # a NaN stays one
        found = np.where(keys, np.maximum(scores, least), masked)
        empty = np.logical_not(keys.any(axis=-1, keepdims=True)) | (largest < MASKED)
        result: Array = np.where(empty, np.maximum(scores - largest, -UNSEEN), found)
    return result


def counted(axes: str, mask: BoolArray) -> BoolArray:
    """Return which places of a step count: those of tokens, not of padding.

    Parameters
    ----------
    axes : str
        The letters of the step's shape.
    mask : ndarray of shape (B, T), bool
        True where a token is.

    Returns
    -------
    ndarray of bool, broadcastable to the step's shape

    Examples
    --------
    >>> counted("BTH", np.array([[True, False]])).shape
    (1, 2, 1)
    """
    if axes == "BATT":
        return mask[:, np.newaxis, :, np.newaxis]  # of queries: (B, 1, T, 1)
    if axes == "TTA":  # of the two tokens of some row
        pairs = mask[:, :, np.newaxis] & mask[:, np.newaxis]
        met: BoolArray = np.logical_or.reduce(pairs, axis=0)[:, :, np.newaxis]
        return met
    if axes == "BH":
        return np.logical_or.reduce(mask, axis=1, keepdims=True)
    rows = np.logical_or.reduce(mask, axis=0, keepdims=True) if axes[0] == "1" else mask
    return rows[:, :, np.newaxis]


def effective_dtype(array: npt.NDArray[Any], dtype: str) -> str:
    """Return the dtype that an array was computed in: float64 may hold numbers of float32 alone.

    Examples
    --------
    >>> effective_dtype(np.array([0.5, 0.25]), "float64")
    'float32'
    """
    with np.errstate(all="ignore"):
        narrow = array.astype(np.float32)
        # What float32 does not hold, a mask's least number or a NaN, says nothing.
        held = np.isfinite(narrow)
        if dtype == "float64" and held.any() and bool((array == narrow)[held].all()):
            return "float32"
    return dtype if dtype in EPSILONS else "float32"


def rms(array: Array) -> float:
    """Return the root of the mean square."""
    return math.sqrt(float(np.square(array).mean())) if array.size else 0.0


def nmse(a: Array, b: Array) -> float:
    """Return the squared distances over the squared reference `b`.

    Examples
    --------
    >>> nmse(np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    0.5
    """
    above, below = float(np.square(a - b).sum()), float(np.square(b).sum())
    if not (math.isfinite(above) and math.isfinite(below)):
        return 0.0 if np.array_equal(a, b) else math.inf
    return above / below if below else (0.0 if above == 0.0 else math.inf)


def cosine_distance(a: Array, b: Array) -> float:
    """Return one minus the cosine of two vectors.

    Examples
    --------
    >>> cosine_distance(np.array([1.0, 0.0]), np.array([0.0, 2.0]))
    1.0
    """
    # Of unit vectors it is half their squared distance, which does not cancel.
    lengths = math.sqrt(float(a @ a)), math.sqrt(float(b @ b))
    if not all(math.isfinite(x) and x > 0 for x in lengths):
        return 0.0 if np.array_equal(a, b) else math.inf
    gap = a / lengths[0] - b / lengths[1]
    return 0.5 * float(gap @ gap)
