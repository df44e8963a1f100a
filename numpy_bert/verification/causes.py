"""Why a step is wrong: the known mistake that gives the candidate's own numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.comparison.differences import rms
from numpy_bert.progress import progress
from numpy_bert.verification.case import Case
from numpy_bert.verification.dense_mistakes import to_bfloat16
from numpy_bert.verification.dropout_mistakes import dropout_in
from numpy_bert.verification.functions import same
from numpy_bert.verification.mistake import Cause, Setting
from numpy_bert.verification.mistakes import mistakes_in
from numpy_bert.verification.segments import Segment
from numpy_bert.verification.steps import Step

__all__ = ["Diagnosis", "Variant", "diagnose", "refined", "variants"]

# A mistake must leave so much less of the error than no mistake, and than any other one does.
_BETTER = 2.0
# In half precision many activations look like one another.
_MUCH_BETTER = 8.0
# Fewer numbers may be short by chance.
_MANY = 16
_LAYER = re.compile(r"layer\.\d+")
# One chance in so many powers of ten is taken.
_DIGITS = 4.0
# Where all that is expected is 0, nothing is allowed.
_TINY = 1e-300
# What is left of the error is rounding, be it in numbers that the mistake has made huge.
_NOTHING = 1e-4


class Variant(NamedTuple):
    """A mistake made somewhere in a segment: what to run, and where if that is not plain.

    It is general unless it is made in one layer of several.
    """

    cause: Cause
    steps: Mapping[str, Step]
    where: str
    is_general: bool


# The sum that a LayerNorm normalizes without its residual, which the port adds later.
_LATER = Cause("pre_layer_norm", "LayerNorm comes before the residual sum, not after it")


class Diagnosis(NamedTuple):
    """What was found: the cause, None where it cannot be told, and a sentence."""

    cause: Cause | None
    text: str


class _Fit(NamedTuple):
    """How well a variant explains a case."""

    cause: Cause
    where: str
    error: float
    rest: float
    result: Array


def diagnose(case: Case, setting: Setting, named: Collection[Cause] = ()) -> Diagnosis:
    """Name the mistake that reproduces the candidate's numbers, if one and only one does.

    Causes that were `named` for an earlier step are tried first, then mistakes that are made
    everywhere in the segment, then those made in one place.
    """
    found = case.counts(case.found)
    with np.errstate(all="ignore"):
        if not np.isfinite(found).all():
            return _of_faults(case)
        every = list(variants(case.segment, setting))
        rounds = (
            [variant for variant in every if variant.cause in named],
            [variant for variant in every if variant.is_general],
            [variant for variant in every if not variant.is_general],
        )
        for tried in rounds:
            fits = _fits(case, tried, found)
            if fits:
                return _best(fits)
        dropped = dropout_in(case)
        if dropped is not None:
            return Diagnosis(*dropped)
        fits = _rounding_fits(case, found)
    return _best(fits) if fits else Diagnosis(None, "no known mistake gives these numbers")


def refined(why: Diagnosis, case: Case, after: Array | None) -> Diagnosis:
    """Tell a residual that is missing from one that is added behind the LayerNorm.

    `after` is the candidate's array of the block that ends in the LayerNorm, None where it has
    none: were it what BERT's is, it would be the LayerNorm's own.
    """
    sums = [step for step in case.segment.steps if step.kind == "residual"]
    if why.cause is None or why.cause.name != "residual_missing" or after is None or not sums:
        return why
    others = {sums[0].name: replace(sums[0], inputs=sums[0].inputs[1:])}
    if case.segment.target.kind == "layer_norm":
        others[case.segment.target.name] = replace(case.segment.target, function=same)
    residual = case.run(others)
    rest = case.counts(after) - case.counts(case.found + residual)
    return Diagnosis(_LATER, _LATER.text) if np.abs(rest).max() <= case.allowed else why


def variants(segment: Segment, setting: Setting) -> Iterator[Variant]:
    """Yield every mistake that can be made in a segment.

    In all steps where it can be made; in all that do the same in several layers; in each.
    """
    names = {step.name for step in segment.steps}
    by_cause: dict[Cause, dict[str, Mapping[str, Step]]] = {}
    for step in segment.steps:
        for mistake in mistakes_in(step, setting):
            inside = {name: other for name, other in mistake.steps.items() if name in names}
            by_cause.setdefault(mistake.cause, {})[step.name] = inside
    for cause, places in by_cause.items():
        roles: dict[str, list[str]] = {}
        for name in places:
            roles.setdefault(_LAYER.sub("layer.*", name), []).append(name)
        if len(roles) > 1:
            yield Variant(cause, _merged(places.values()), "", is_general=True)
        for role, where in roles.items():
            plain = "" if segment.target.name in where else where[0] if len(where) == 1 else role
            chosen = [places[name] for name in where]
            yield Variant(cause, _merged(chosen), plain, is_general=True)
        for name, steps in places.items():
            if len(roles[_LAYER.sub("layer.*", name)]) > 1:
                yield Variant(cause, steps, name, is_general=False)


def _merged(parts: Iterable[Mapping[str, Step]]) -> dict[str, Step]:
    return {name: other for steps in parts for name, other in steps.items()}


def _fits(case: Case, tried: Sequence[Variant], found: Array) -> list[_Fit]:
    """Return the variants that explain a case."""
    if not _is_telling(case, found):
        return []
    unexplained = rms(found - case.counts(case.expected))
    label = f"why {case.segment.target.name}"
    fits = []
    with progress(len(tried), label, least=2, unit="mistakes", delay=2.0) as report:
        for variant in tried:
            fit = _fit(case, variant, found, unexplained)
            if fit is not None:
                fits.append(fit)
            report(1)
    return fits


def _is_telling(case: Case, found: Array) -> bool:
    """Tell whether the numbers are too many, and too far off, for chance to explain them.

    Another result comes within the budget of one number in (error / budget) cases, of all by chance
    in that to the power of their count.
    """
    error = float(np.abs(found - case.counts(case.expected)).max())
    return found.size * math.log10(error / max(case.allowed, _TINY)) >= _DIGITS


def _fit(case: Case, variant: Variant, found: Array, unexplained: float) -> _Fit | None:
    """Run a variant; return None unless rounding explains what it leaves of the error."""
    try:
        result = case.run(variant.steps)
    except ValueError:  # of another shape
        return None
    rest = found - case.counts(result)
    error, left = float(np.abs(rest).max()), rms(rest)
    better = _BETTER if case.dtype in ("float32", "float64") else _MUCH_BETTER
    if not left * better <= unexplained:  # nor is it NaN
        return None
    # The mistake may make larger numbers, so it has a budget of its own.
    if left > _NOTHING * unexplained and error > case.budget(result, variant.steps):
        return None
    # What rounding hides cannot have been what was seen.
    effect = float(np.abs(case.counts(result) - case.counts(case.expected)).max())
    if effect <= case.allowed:
        return None
    return _Fit(variant.cause, variant.where, error, left, case.counts(result))


def _best(fits: list[_Fit]) -> Diagnosis:
    """Choose the closest; two that rounding cannot tell apart are no answer."""
    best = min(fits, key=lambda fit: fit.rest)
    near = [fit for fit in fits if fit.rest <= _BETTER * best.rest]
    # Those that give the same numbers are one explanation; the first listed is the likeliest.
    first = next(fit for fit in near if _same_numbers(fit, best))
    others = {fit.cause.text for fit in near if not _same_numbers(fit, best)} - {first.cause.text}
    if others:
        names = "; ".join(sorted({first.cause.text, *others})[:4])
        return Diagnosis(None, f"cannot tell which: {names}")
    where = f" (in {first.where})" if first.where else ""
    return Diagnosis(first.cause, f"{first.cause.text}{where}; it leaves {first.error:.1e}")


def _same_numbers(a: _Fit, b: _Fit) -> bool:
    return a is b or rms(a.result - b.result) * 1e3 <= b.rest


def _of_faults(case: Case) -> Diagnosis:
    """Explain a NaN or infinity."""
    if case.segment.target.kind in ("scores", "probs", "dropout", "context"):
        text = "not finite: often an infinite mask, multiplied by 0 or hiding every key of a row"
        return Diagnosis(None, text)
    return Diagnosis(None, "not finite: an overflow, or a NaN in its input")


def _rounding_fits(case: Case, found: Array) -> list[_Fit]:
    """Try whether the right result was computed in half precision and widened."""
    if case.dtype not in ("float32", "float64"):
        return []
    expected = case.counts(case.expected)
    fits = []
    for dtype, narrow in (
        ("float16", lambda x: x.astype(np.float16).astype(np.float64)),
        ("bfloat16", to_bfloat16),
    ):
        narrowed = found.size >= _MANY and np.array_equal(found, narrow(found))
        error = float(np.abs(found - expected).max())
        if narrowed and error <= case._replace(dtype=dtype).budget(case.expected, {}):
            cause = Cause(f"computed_in_{dtype}", f"the step is computed in {dtype}")
            fits.append(_Fit(cause, "", error, rms(found - expected), narrow(expected)))
    return fits[:1]
