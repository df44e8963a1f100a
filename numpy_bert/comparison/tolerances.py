"""What a plain comparison of two traces allows: by a check, by a tensor's name, by its dtype."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
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
# What the other checks allow by default. The last two are loose: a LayerNorm with the
# wrong epsilon passes them.
_DEFAULTS = {"ulp": 4096.0, "nmse": 1e-11, "cosine": 1e-11}


_WHOLE = {"nmse": nmse, "cosine": cosine_distance}


class Judgement(NamedTuple):
    """Whether a difference passes, the budget it was held to, and where it is worst."""

    passes: bool
    budget: float
    worst: tuple[int, ...]


class Tolerances:
    """How far two arrays may be apart.

    Parameters
    ----------
    atol, rtol : sequence of str
        Numbers, each for every tensor or, as ``"embeddings.*:2e-6"``, for those whose name a glob
        fits; the last one that fits counts. If only one of the two is given, the other is 0. If
        neither is, ``atol`` is 32 times the epsilon of the coarser dtype (8 times, if that is half
        precision) times the largest finite number of the reference.
    check : {"max", "mean", "ulp", "nmse", "cosine"}
        What is measured: every element's distance, their mean, the largest distance in units of
        the last place, squared distances over squared reference, one minus the cosine. `atol` is
        the limit of the last three.

    Raises
    ------
    InputError
        If a text is not a number from 0, or if `check` is not one of the five or takes no `rtol`.

    Examples
    --------
    >>> tolerances = Tolerances(atol=["1e-5", "embeddings.*:2e-6"])
    >>> tolerances.limits("embeddings.sum"), tolerances.limits("pooler")
    ((2e-06, 0.0), (1e-05, 0.0))
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
        limits = self.limits(name)
        counts = np.broadcast_to(places, arrays[1].shape)
        a, b = arrays[0][counts], arrays[1][counts]
        if self.check in _DEFAULTS:
            limit = _DEFAULTS[self.check] if limits is None else limits[0]
            value = found.ulp if self.check == "ulp" else _WHOLE[self.check](a, b)
            return Judgement(value <= limit, limit, found.worst)
        size = np.where(np.isfinite(arrays[1]), np.abs(arrays[1]), 0.0)
        atol, rtol = limits or (_FACTORS[dtype] * EPSILONS[dtype] * scale, 0.0)
        if self.check == "mean":
            budget = atol + rtol * float(size[counts].mean())
            mean = float(np.where(a == b, 0.0, np.abs(a - b)).mean())
            return Judgement(mean <= budget, budget, found.worst)
        over = np.abs(arrays[0] - arrays[1]) - (atol + rtol * size)
        over = np.where(arrays[0] == arrays[1], -np.inf, np.where(np.isnan(over), np.inf, over))
        over = np.where(counts, over, -np.inf)
        worst = tuple(int(i) for i in np.unravel_index(int(over.argmax()), over.shape))
        passes = bool((over <= 0.0).all())
        worst = found.worst if passes else worst
        return Judgement(passes, atol + rtol * float(size[worst]), worst)


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
