"""What can be told from the numbers of a step alone, when no known mistake explains them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.comparison.differences import EPSILONS, rms
from numpy_bert.verification.cases import Case, Diagnosis
from numpy_bert.verification.mistakes import Cause, Setting, to_bfloat16, to_float16, to_int8
from numpy_bert.verification.steps import Step

__all__ = [
    "NARROWER",
    "as_of",
    "computed_in",
    "dropout_in",
    "held_elsewhere",
    "narrowed",
    "of_faults",
]

# Fewer numbers may be short by chance.
_MANY = 16
# The dtypes that a float32 port may compute in by mistake. Numbers of bfloat16 often fit into
# float16, too, but hardly ever the other way round.
NARROWER: Mapping[str, Callable[[Array], Array]] = {
    "bfloat16": to_bfloat16,
    "float16": to_float16,
}
# An error is as of a dtype if it is so many times that of a run in it, or one over as many.
_AS_LARGE = 2.8
# Rounding goes up as often as down: what it leaves of an error's mean, and of its correlation with
# the numbers themselves, is small.
_DISORDER = 0.25
# Steps behind dropout in which each element depends on one element of it.
_PER_ELEMENT = ("same", "residual")
# So many must be dropped for their pattern to say anything.
_FEWEST = 8
# Standard deviations that chance does not reach.
_FAR = 6.0


def of_faults(case: Case) -> Diagnosis:
    """Return the diagnosis of numbers that are not finite."""
    if case.segment.target.kind in ("scores", "probs", "dropout", "context"):
        text = "not finite: often an infinite mask, multiplied by 0 or hiding every key of a row"
        return Diagnosis(None, text)
    return Diagnosis(None, "not finite: an overflow, or a NaN in its input")


def as_of(case: Case) -> Cause | None:
    """Return the precision that would make an error of this size, if another one would.

    Weights in int8 are about as far off as those in bfloat16: the text names both, and the name is
    that of the dtype, in which more ports compute.
    """
    error, expected = case.counts(case.found - case.expected), case.counts(case.expected)
    size = rms(error)
    scale = rms(expected)
    if scale == 0.0 or abs(error.mean()) > _DISORDER * size:
        return None
    if abs((error * expected).mean()) > _DISORDER * size * scale:
        return None

    def is_near(others: Mapping[str, Step]) -> bool:
        typical = rms(case.counts(case.run(others)) - expected)
        return typical / _AS_LARGE <= size <= typical * _AS_LARGE

    near = []
    for dtype, narrow in NARROWER.items():
        if EPSILONS[dtype] <= EPSILONS[case.dtype]:
            continue
        inside = {step.name: narrowed(step, narrow) for step in case.segment.steps}
        fits = is_near(inside) and case.share(case.found - case.expected, case.in_dtype(dtype)) <= 1
        near += [dtype] * fits
    if is_near({step.name: _quantized(step) for step in case.segment.steps if _is_dense(step)}):
        near.append("int8")
    if not near:
        return None
    told = ", or ".join("float16 or TF32" if dtype == "float16" else dtype for dtype in near)
    return Cause(f"as_of_{near[0]}", f"as of {told} inside the step")


def _is_dense(step: Step) -> bool:
    """Tell whether a step multiplies by a weight."""
    return getattr(step.arguments.get("weight"), "ndim", 0) == 2


def _quantized(step: Step) -> Step:
    """Return a dense layer whose weight is rounded to int8, with a scale for each row."""
    weight = to_int8(step.arguments["weight"], 1)
    return replace(step, arguments={**step.arguments, "weight": weight})


def narrowed(step: Step, narrow: Callable[[Array], Array]) -> Step:
    """Return a step that reads, weighs by and gives numbers of a narrower dtype."""

    def function(*arrays: Array, **given: Any) -> Array:
        weights = {key: narrow(given[key]) for key in ("weight", "bias") if key in given}
        return narrow(step.function(*map(narrow, arrays), **(given | weights)))

    return replace(step, function=function)


def computed_in(case: Case) -> Diagnosis | None:
    """Tell whether the right result was computed in half precision and widened."""
    if case.dtype not in ("float32", "float64"):
        return None
    found, expected = case.counts(case.found), case.counts(case.expected)
    for dtype, narrow in NARROWER.items():
        is_narrow = found.size >= _MANY and np.array_equal(found, narrow(found))
        error = float(np.abs(found - expected).max())
        if is_narrow and case.share(case.found - case.expected, case.in_dtype(dtype)) <= 1.0:
            cause = Cause(f"computed_in_{dtype}", f"the step is computed in {dtype}")
            return Diagnosis(cause, f"{cause.text}; it leaves {error:.1e}")
    return None


def held_elsewhere(case: Case, setting: Setting) -> Diagnosis | None:
    """Tell whether a step's array is another step's, number for number.

    A fused operation that also gives its result to the readers of what it replaces does that, and a
    trace that keeps an array which is changed in place later.
    """
    found, same = case.counts(case.found), {case.segment.target.name}
    lengths = setting.inputs.attention_mask.sum(axis=1)
    if found.min() == found.max() or lengths.max() < 2:  # a token alone attends to itself
        return None
    for step in setting.steps.values():  # which are the same array in a right port, too
        if step.kind in ("same", "dropout") and step.inputs[0] in same:
            same.add(step.name)
    for name in case.held:
        other = case.found[:0] if name in same else case.held[name]
        if other.shape == case.found.shape and np.array_equal(case.counts(other), found):
            text = (
                f"it holds what {name} holds, number for number, as if it had been changed in "
                "place before it was saved, or saved under the wrong name"
            )
            return Diagnosis(Cause("array_of_another_step", text), text)
    return None


def dropout_in(case: Case) -> Diagnosis | None:
    """Tell whether dropout was left on: whether the candidate's numbers are those of a drawn mask.

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
            rest = case.found - np.where(dropped, low, high)
            error = float(np.abs(case.counts(rest)).max())
            telling = np.broadcast_to(case.places, dropped.shape) & (low != high)
            fits = case.share(rest, scale * case.allowed) <= 1.0
            if fits and _is_random(dropped, telling, np.abs(case.expected), p):
                return Diagnosis(cause, f"{cause.text}; it leaves {error:.1e}")
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
