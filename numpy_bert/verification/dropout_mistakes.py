"""Dropout that was left on: its mask is read off the candidate, and must look like a drawn one."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import numpy as np

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.verification.case import Case
from numpy_bert.verification.mistake import Cause
from numpy_bert.verification.steps import Step

__all__ = ["dropout_in"]

# Steps behind dropout in which each element depends on one element of it.
_PER_ELEMENT = ("same", "residual")
# So many must be dropped for their pattern to say anything.
_FEWEST = 8
# Standard deviations that chance does not reach.
_FAR = 6.0


def dropout_in(case: Case) -> tuple[Cause, str] | None:
    """Return the cause if the candidate's numbers are those of dropout, and nothing but chance.

    Zeros that follow a head, a feature, a token or the size of the numbers are somebody's other
    mistake.
    """
    for number, step in enumerate(case.segment.steps):
        p = step.arguments.get("p", 0.0)
        after = case.segment.steps[number + 1 :]
        if step.kind != "dropout" or any(s.kind not in _PER_ELEMENT for s in after):
            continue
        if not 0.0 < p < 1.0:  # where all is kept, or all dropped, no mask can be read off
            continue
        low = _scaled(case, step, 0.0)
        for cause, scale in (
            (Cause("dropout_on", f"dropout is on (p = {p:g})"), 1.0 / (1.0 - p)),
            (Cause("dropout_unscaled", f"dropout is on (p = {p:g}), without its scale"), 1.0),
        ):
            high = _scaled(case, step, scale)
            dropped = np.abs(case.found - low) < np.abs(case.found - high)
            error = float(np.abs(case.counts(case.found - np.where(dropped, low, high))).max())
            telling = np.broadcast_to(case.places, dropped.shape) & (low != high)
            fits = error <= scale * case.allowed
            if fits and _is_random(dropped, telling, np.abs(case.expected), p):
                return cause, f"{cause.text}; it leaves {error:.1e}"
    return None


def _scaled(case: Case, step: Step, scale: float) -> Array:
    """Run a case whose dropout multiplies everything by one number."""
    return case.run({step.name: replace(step, function=lambda x, **_: x * scale)})


def _is_random(dropped: BoolArray, telling: BoolArray, size: Array, p: float) -> bool:
    """Tell whether a mask looks as if each element had been dropped with probability p."""
    if (dropped & telling).sum() < _FEWEST:
        return False
    axes = range(dropped.ndim)
    for count in range(1, dropped.ndim + 1):
        for summed in combinations(axes, count):  # every head, every pair of query and key, ...
            gone, total = ((m & telling).sum(axis=summed) for m in (dropped, telling))
            if (np.abs(gone - p * total) > _FAR * np.sqrt(p * (1.0 - p) * total) + 1.0).any():
                return False
    lost, kept = size[telling & dropped], size[telling & ~dropped]
    spread = float(size[telling].std()) * math.sqrt(1.0 / len(lost) + 1.0 / len(kept))
    return abs(float(lost.mean() - kept.mean())) <= _FAR * spread
