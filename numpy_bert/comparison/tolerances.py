"""What a plain comparison of two traces allows: by a check, by a tensor's name, by its dtype."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import BoolArray
from numpy_bert.comparison.differences import EPSILONS, Difference, cosine_distance, nmse
from numpy_bert.errors import InputError
from numpy_bert.messages import quoted
from numpy_bert.traces.names import matches

__all__ = ["CHECKS", "Judgement", "Tolerances"]

Check = Literal["max", "mean", "ulp", "nmse", "cosine"]
CHECKS: tuple[Check, ...] = ("max", "mean", "ulp", "nmse", "cosine")
# Two right ports of a BERT stay within this many times epsilon times the largest number. Half
# precision is added up in float32, so that its own epsilon counts a few times only.
_FACTORS = {"float64": 32.0, "float32": 32.0, "float16": 8.0, "bfloat16": 8.0}
_NUMBER = re.compile(r"[+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
# A row's largest number may be so much smaller than the tensor's.
_OF_ROWS = 8.0
# The checks of a tensor as a whole.
_WHOLE = {"nmse": nmse, "cosine": cosine_distance}
# In what the number that a check measures, and its budget, are given.
_UNITS: Mapping[Check, str] = {
    "max": "abs",
    "mean": "mean abs",
    "ulp": "ULP",
    "nmse": "NMSE",
    "cosine": "1 - cosine",
}


class Judgement(NamedTuple):
    """What a check measured, the budget it was held to in the same unit, and the worst place.

    A difference passes if the `error` is at most the `budget`.
    """

    error: float
    budget: float
    worst: tuple[int, ...]

    @property
    def passes(self) -> bool:
        """Whether the difference is allowed."""
        return self.error <= self.budget


class Tolerances:
    """How far two arrays may be apart.

    Parameters
    ----------
    atol, rtol : sequence of str
        Numbers, each for every tensor or, as ``"embeddings.*:2e-6"``, for those whose name a glob
        fits; the last one that fits counts. If only one of the two is given, the other is 0. If
        neither is, the check's own limit holds, which two right ports of a BERT keep.
    check : {"max", "mean", "ulp", "nmse", "cosine"}
        What is measured. With f = 32, or 8 where the coarser dtype is half precision, and its
        epsilon, the limits are:

        - every element's distance: f epsilon times the largest finite number of the reference;
        - the mean of the distances: the same;
        - the largest distance in units of the last place of its row's largest number: 8 f;
        - the squared distances over the squared reference: (f epsilon) squared;
        - one minus the cosine of the two: the same.

        `atol` is the limit of the last three.

    Raises
    ------
    InputError
        If a text is not a number from 0, or if `check` is not one of the five or takes no `rtol`.

    Examples
    --------
    >>> tolerances = Tolerances(atol=["1e-5", "embeddings.*:2e-6"])
    >>> tolerances.limits("embeddings.sum"), tolerances.limits("pooler")
    ((2e-06, 0.0), (1e-05, 0.0))
    >>> Tolerances(check="ulp").unit
    'ULP'
    """

    def __init__(
        self, atol: Sequence[str] = (), rtol: Sequence[str] = (), check: Check = "max"
    ) -> None:
        if check not in CHECKS:
            raise InputError(f"check must be one of {', '.join(CHECKS)}; got {quoted(check)}.")
        self.check = check
        self._atol = [_rule(text, "atol") for text in atol]
        self._rtol = [_rule(text, "rtol") for text in rtol]
        if rtol and check not in ("max", "mean"):
            raise InputError(f"rtol has no meaning for the check {check}. Give atol.")

    @property
    def unit(self) -> str:
        """In what the check measures, and in what its budgets are."""
        return _UNITS[self.check]

    def limits(self, name: str) -> tuple[float, float] | None:
        """Return the atol and rtol that were given for a tensor, None if none were."""
        atol, rtol = _chosen(self._atol, name), _chosen(self._rtol, name)
        if atol is None and rtol is None:
            return None
        return atol or 0.0, rtol or 0.0

    def unused(self, names: Sequence[str]) -> list[str]:
        """Return the globs that fit none of these names."""
        globs = dict.fromkeys(glob for glob, _ in (*self._atol, *self._rtol))
        return [glob for glob in globs if not any(matches(name, [glob]) for name in names)]

    @np.errstate(all="ignore")
    def judge(
        self,
        name: str,
        found: Difference,
        arrays: tuple[npt.NDArray[Any], npt.NDArray[Any]],
        places: BoolArray,
        dtype: str,
        scale: float,
    ) -> Judgement:
        """Say whether a difference is allowed.

        Parameters
        ----------
        name : str
            The tensor's name.
        found : Difference
            The difference between the two arrays.
        arrays : (ndarray, ndarray)
            The candidate's array and the reference's.
        places : ndarray of bool
            The places that count, broadcastable to the shape of the arrays.
        dtype : str
            The coarser of their dtypes.
        scale : float
            The largest finite number of the reference or, for a mean, of the numbers averaged.
        """
        a, b = arrays
        atol, rtol = self.limits(name) or (self._usual(dtype, scale), 0.0)
        counts = np.broadcast_to(places, b.shape)
        if self.check == "ulp":
            return Judgement(found.ulp, atol, found.worst)
        if self.check in _WHOLE:
            return Judgement(_WHOLE[self.check](a[counts], b[counts]), atol, found.worst)
        distance = np.where(a == b, 0.0, np.abs(a - b))
        distance = np.where(np.isnan(distance), np.inf, distance)
        size = np.where(np.isfinite(b), np.abs(b), 0.0)
        if self.check == "mean":
            budget = atol + rtol * float(size[counts].mean())
            return Judgement(float(distance[counts].mean()), budget, found.worst)
        over = np.where(counts, distance - (atol + rtol * size), -np.inf)
        place = np.unravel_index(int(over.argmax()), over.shape)
        worst = tuple(int(i) for i in place) if over[place] > 0.0 else found.worst
        return Judgement(float(distance[worst]), atol + rtol * float(size[worst]), worst)

    def _usual(self, dtype: str, scale: float) -> float:
        """Return the limit of a check where none was given."""
        factor, epsilon = _FACTORS[dtype], EPSILONS[dtype]
        if self.check == "ulp":
            return _OF_ROWS * factor
        return (factor * epsilon) ** 2 if self.check in _WHOLE else factor * epsilon * scale


def _rule(text: str, name: str) -> tuple[str, float]:
    """Read a number, with the glob that it is for."""
    glob, colon, digits = text.rpartition(":")
    value = float(digits) if _NUMBER.fullmatch(digits) else math.nan
    if not math.isfinite(value) or (colon and not glob):
        raise InputError(
            f"{name} must be a number from 0, as 1e-5, or a glob and a number, as "
            f"embeddings.*:2e-6; got {quoted(text)}."
        )
    return glob or "*", value


def _chosen(rules: list[tuple[str, float]], name: str) -> float | None:
    return next((value for glob, value in reversed(rules) if matches(name, [glob])), None)
