"""Why a step is wrong: the known mistake that gives the candidate's own numbers.

The same runs tell which of the known mistakes a trace could show, and which ones it hides, whatever
the port does.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.comparison.differences import EPSILONS, rms
from numpy_bert.progress import progress
from numpy_bert.verification.layers import layer_mistakes
from numpy_bert.verification.mistakes import (
    PRE_LAYER_NORM,
    Cause,
    Mistake,
    Setting,
    mistakes_in,
    to_bfloat16,
    to_float16,
)
from numpy_bert.verification.rounding import FACTOR, analysed, budgets, share_of, shares_of
from numpy_bert.verification.steps import UNCHANGED, Segment, Step, same
from numpy_bert.verification.weights import weight_mistakes

__all__ = [
    "LONG",
    "Case",
    "Diagnosis",
    "TimeLimit",
    "Variant",
    "Visibility",
    "diagnose",
    "refined",
    "variants",
    "what_to_save",
]

# A mistake must leave so much less of the error than no mistake, and than any other one does.
_BETTER = 2.0
# In half precision many activations look like one another.
_MUCH_BETTER = 8.0
# Fewer numbers may be short by chance.
_MANY = 16
_LAYER = re.compile(r"layer\.\d+")
_BLOCK = re.compile(r"embeddings|encoder\.layer\.\d+|pooler")
# One chance in so many powers of ten is taken.
_DIGITS = 4.0
# What is left of the error is rounding, be it in numbers that the mistake has made huge.
_NOTHING = 1e-4


class Case(NamedTuple):
    """A step as a candidate has it, and as it should be from the candidate's own input.

    Attributes
    ----------
    segment : Segment
        The step, and those between it and the nearest steps that the candidate holds.
    arrays : mapping of str to ndarray
        The candidate's arrays of these nearest steps.
    found, expected : ndarray
        The candidate's result, and the float64 result from the candidate's own input.
    places : ndarray of bool
        The places that count.
    dtype : str
        The dtype that the candidate computes in.
    view : callable
        What was done to both results before they were compared.
    allowed : ndarray
        How far each number of the expected result may be off by rounding.
    """

    segment: Segment
    arrays: Mapping[str, npt.NDArray[Any]]
    found: Array
    expected: Array
    places: BoolArray
    dtype: str
    view: Callable[[Array], Array]
    allowed: Array

    def run(self, others: Mapping[str, Step]) -> Array:
        """Run the segment with other steps in it."""
        result = self.view(self.segment.run(self.arrays, np.float64, others))
        return np.broadcast_to(result, self.found.shape)  # the same positions for every row

    def share(self, error: Array, allowed: Array | None = None) -> float:
        """Return how much of its budget an error needs: it is within it up to 1."""
        return share_of(error, self.allowed if allowed is None else allowed, self.places).share

    def budget(self, others: Mapping[str, Step] = UNCHANGED) -> Array:
        """Return how far rounding may take each number, with other steps in the segment."""
        found = analysed(self.segment, self.arrays, self.dtype, others)
        return np.broadcast_to(budgets(found, self.dtype), self.found.shape)

    def in_dtype(self, dtype: str) -> Array:
        """Return the budgets of a port that computes the segment in another dtype."""
        return self._replace(dtype=dtype).budget()

    def counts(self, array: Array) -> Array:
        """Return the values of an array at the places that count, (N,)."""
        chosen: Array = array[np.broadcast_to(self.places, array.shape)]
        return chosen


class Variant(NamedTuple):
    """A mistake made somewhere in a segment.

    Attributes
    ----------
    cause : Cause
        The mistake.
    steps : mapping of str to Step
        The steps that stand in the place of the right ones.
    where : str
        Where it is made, "" if that is plain.
    is_general : bool
        Whether it is made wherever it can be; if not, it is made in one layer of several.
    """

    cause: Cause
    steps: Mapping[str, Step]
    where: str
    is_general: bool


class Diagnosis(NamedTuple):
    """The cause of a difference, None if it cannot be told, and a sentence about it."""

    cause: Cause | None
    text: str


class _Fit(NamedTuple):
    """How well a variant explains a case."""

    cause: Cause
    where: str
    error: float
    rest: float
    result: Array


class TimeLimit:
    """How long causes may be looked for in one verification.

    Parameters
    ----------
    seconds : float
        The limit of all searches together; 0: nothing is looked for.

    Examples
    --------
    >>> limit = TimeLimit(0.0)
    >>> with limit.counting():
    ...     limit.is_over
    True
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._used = 0.0
        self._since: float | None = None

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count the time of what is done inside."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._used += time.monotonic() - self._since
            self._since = None

    @property
    def is_over(self) -> bool:
        """Whether the time is used up."""
        running = 0.0 if self._since is None else time.monotonic() - self._since
        return self._used + running >= self.seconds


def diagnose(
    case: Case, setting: Setting, limit: TimeLimit, named: Collection[Cause] = ()
) -> Diagnosis:
    """Name the mistake that reproduces the candidate's numbers, if one and only one does.

    Causes that were `named` for an earlier step are tried first, then mistakes that are made
    everywhere in the segment, then those made in one place.
    """
    if limit.is_over:
        return Diagnosis(None, _untried(case.segment, limit))
    with limit.counting(), np.errstate(all="ignore"):
        return _diagnosis(case, setting, limit, named)


def _diagnosis(
    case: Case, setting: Setting, limit: TimeLimit, named: Collection[Cause]
) -> Diagnosis:
    """Try what is known, the likelier first."""
    found = case.counts(case.found)
    if not np.isfinite(found).all():
        return _of_faults(case)
    for tried in _rounds(case, setting, limit, named):
        fits = _fits(case, tried, found, limit)
        if fits:
            return _best(fits)
    dropped = _dropout_in(case)
    if dropped is not None:
        return dropped
    fits = _rounding_fits(case, found)
    if fits:
        return _best(fits)
    unknown = Diagnosis(None, "no known mistake gives these numbers")
    return _as_of(case) or (
        Diagnosis(None, _untried(case.segment, limit)) if limit.is_over else unknown
    )


def _rounds(
    case: Case, setting: Setting, limit: TimeLimit, named: Collection[Cause]
) -> Iterator[list[Variant]]:
    """Yield what to try, round by round, each when the ones before it explain nothing."""
    every = list(variants(case.segment, setting))
    given = (case.segment, case.arrays, case.found, case.places, setting)
    is_long = len(case.segment.steps) > LONG
    yield [variant for variant in every if variant.cause in named]
    if is_long:  # a few plans for whole layers, against a run of the model for every mistake
        yield _suggested(layer_mistakes(*given, lambda: limit.is_over))
    general = [variant for variant in every if variant.is_general]
    yield [*general, *_suggested(weight_mistakes(*given))]
    yield [variant for variant in every if not variant.is_general]
    if not is_long:
        yield _suggested(layer_mistakes(*given, lambda: limit.is_over))


def _suggested(mistakes: Iterable[Mistake]) -> list[Variant]:
    """Return what a case's numbers suggest about weights or layers as variants to try."""
    return [Variant(other.cause, other.steps, "", is_general=True) for other in mistakes]


def _untried(segment: Segment, limit: TimeLimit) -> str:
    """Say that the time was too short, and what would make it long enough."""
    if not limit.seconds:
        return "the cause was not looked for"
    return f"no cause was found in {limit.seconds:g} s; {what_to_save(segment)}"


def what_to_save(segment: Segment) -> str:
    """Say which arrays of a long segment would tell where in it something is wrong.

    Examples
    --------
    >>> step = Step(name="encoder.layer.1", kind="same", inputs=(), function=np.abs)
    >>> what_to_save(Segment((step,), ()))
    'save encoder.layer.1.* too, and it is found in seconds'
    """
    blocks = (found[0] for step in segment.steps if (found := _BLOCK.match(step.name)))
    names = list(dict.fromkeys(blocks))
    if len(names) > 2:
        which = f"the hidden states {names[0]} to {names[-1]}"
    else:
        which = " and ".join(f"{name}.*" for name in names)
    return f"save {which} too, and it is found in seconds"


def refined(why: Diagnosis, case: Case, after: Array | None) -> Diagnosis:
    """Tell a residual that is missing from one that is added behind the LayerNorm.

    `after` is the candidate's array of the block that ends in the LayerNorm, None if it has none.
    In BERT it equals the LayerNorm's own output.
    """
    sums = [step for step in case.segment.steps if step.kind == "residual"]
    if why.cause is None or why.cause.name != "residual_missing" or after is None or not sums:
        return why
    others = {sums[0].name: replace(sums[0], inputs=sums[0].inputs[1:])}
    if case.segment.target.kind == "layer_norm":
        others[case.segment.target.name] = replace(case.segment.target, function=same)
    residual = case.run(others)
    fits = case.share(after - (case.found + residual)) <= 1.0
    return Diagnosis(PRE_LAYER_NORM, PRE_LAYER_NORM.text) if fits else why


def variants(segment: Segment, setting: Setting) -> Iterator[Variant]:
    """Yield every mistake that can be made in a segment.

    Each is made in all steps where it can be made, then in those that do the same in several
    layers, then in one step alone.
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


def _fits(case: Case, tried: Sequence[Variant], found: Array, limit: TimeLimit) -> list[_Fit]:
    """Return the variants that explain a case, of those that the time is long enough for."""
    if not _is_telling(case):
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
            if limit.is_over:
                break
    return fits


def _is_telling(case: Case) -> bool:
    """Tell whether the numbers are too many, and too far off, for chance to explain them.

    Another result comes as near to a number as rounding in one of (error / rounding) cases.
    """
    sizes = FACTOR * case.counts(shares_of(case.found - case.expected, case.allowed))
    return float(np.log10(np.clip(sizes, 1.0, 1e300)).sum()) >= _DIGITS


def _fit(case: Case, variant: Variant, found: Array, unexplained: float) -> _Fit | None:
    """Run a variant; return None unless rounding explains what it leaves of the error."""
    try:
        result = case.run(variant.steps)
    except ValueError:  # of another shape
        return None
    chosen = case.counts(result)
    error, left = float(np.abs(found - chosen).max()), rms(found - chosen)
    better = _BETTER if case.dtype in ("float32", "float64") else _MUCH_BETTER
    if not left * better <= unexplained:  # nor is it NaN
        return None
    # The mistake may make larger numbers, so it has a budget of its own.
    if left > _NOTHING * unexplained:
        allowed = np.maximum(case.allowed, case.budget(variant.steps))
        if case.share(case.found - result, allowed) > 1.0:
            return None
    # What rounding hides cannot have been what was seen.
    if case.share(result - case.expected) <= 1.0:
        return None
    return _Fit(variant.cause, variant.where, error, left, chosen)


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
    """Return the diagnosis of numbers that are not finite."""
    if case.segment.target.kind in ("scores", "probs", "dropout", "context"):
        text = "not finite: often an infinite mask, multiplied by 0 or hiding every key of a row"
        return Diagnosis(None, text)
    return Diagnosis(None, "not finite: an overflow, or a NaN in its input")


# The dtypes that a float32 port may compute in by mistake. Numbers of bfloat16 often fit into
# float16, too, but hardly ever the other way round.
_NARROWER: Sequence[tuple[str, Callable[[Array], Array]]] = (
    ("bfloat16", to_bfloat16),
    ("float16", to_float16),
)
# An error is as of a dtype if it is so many times that of a run in it, or one over as many.
_AS_LARGE = 2.8
# Rounding goes up as often as down: what it leaves of an error's mean, and of its correlation with
# the numbers themselves, is small.
_DISORDER = 0.25


def _as_of(case: Case) -> Diagnosis | None:
    """Tell whether an error without a known cause is as large as another dtype would make it."""
    error, expected = case.counts(case.found - case.expected), case.counts(case.expected)
    size = rms(error)
    scale = rms(expected)
    if scale == 0.0 or abs(error.mean()) > _DISORDER * size:
        return None
    if abs((error * expected).mean()) > _DISORDER * size * scale:
        return None
    for dtype, narrow in _NARROWER:
        if EPSILONS[dtype] <= EPSILONS[case.dtype]:
            continue
        inside = {step.name: _narrowed(step, narrow) for step in case.segment.steps}
        typical = rms(case.counts(case.run(inside)) - expected)
        is_near = typical / _AS_LARGE <= size <= typical * _AS_LARGE
        if is_near and case.share(case.found - case.expected, case.in_dtype(dtype)) <= 1.0:
            also = " or TF32" if dtype == "float16" else ""
            text = (
                f"no known mistake gives these numbers, but the error is as of {dtype}{also} "
                "inside the step; if that is meant, say so with --precision"
            )
            return Diagnosis(Cause(f"as_of_{dtype}", text), text)
    return None


def _narrowed(step: Step, narrow: Callable[[Array], Array]) -> Step:
    """Return a step that reads, weighs by and gives numbers of a narrower dtype."""

    def function(*arrays: Array, **given: Any) -> Array:
        weights = {key: narrow(given[key]) for key in ("weight", "bias") if key in given}
        return narrow(step.function(*map(narrow, arrays), **(given | weights)))

    return replace(step, function=function)


def _rounding_fits(case: Case, found: Array) -> list[_Fit]:
    """Try whether the right result was computed in half precision and widened."""
    if case.dtype not in ("float32", "float64"):
        return []
    expected = case.counts(case.expected)
    fits = []
    for dtype, narrow in _NARROWER:
        narrowed = found.size >= _MANY and np.array_equal(found, narrow(found))
        error = float(np.abs(found - expected).max())
        if narrowed and case.share(case.found - case.expected, case.in_dtype(dtype)) <= 1.0:
            cause = Cause(f"computed_in_{dtype}", f"the step is computed in {dtype}")
            fits.append(_Fit(cause, "", error, rms(found - expected), narrow(expected)))
    return fits[:1]


# Steps behind dropout in which each element depends on one element of it.
_PER_ELEMENT = ("same", "residual")
# So many must be dropped for their pattern to say anything.
_FEWEST = 8
# Standard deviations that chance does not reach.
_FAR = 6.0


def _dropout_in(case: Case) -> Diagnosis | None:
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


# What to do about mistakes that need another input to show.
_ADVICE = (
    (("mask_", "pooler_token"), "no row is padded: give a batch of texts of several lengths"),
    (("positions_restart",), "no token stands behind padding: pad a batch on the left"),
    (("segments_",), "all token_type_ids are 0: give a pair of texts"),
)
_BY_INPUT = tuple(name for names, _ in _ADVICE for name in names)
# Beyond so many steps, a block of the model and more, only what depends on the input is looked at.
LONG = 12


class Visibility:
    """A count, for each mistake, of the steps in which it would have stood out."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._seen: dict[Cause, list[bool]] = {}

    @np.errstate(all="ignore")
    def look(self, case: Case) -> None:
        """Make each mistake in a segment, and note whether the result leaves its budget."""
        is_long = len(case.segment.steps) > LONG
        done: set[Cause] = set()
        for variant in variants(case.segment, self._setting):
            if variant.cause in done:
                continue  # the first is made wherever it can be
            done.add(variant.cause)
            if is_long and not variant.cause.name.startswith(_BY_INPUT):
                continue
            try:
                share = case.share(case.run(variant.steps) - case.expected)
            except ValueError:  # of another shape
                share = np.inf
            seen = share > 1.0
            self._seen.setdefault(variant.cause, []).append(seen)

    def hidden(self) -> list[str]:
        """Return the mistakes that could nowhere, or not everywhere, have been seen."""
        found = []
        for cause, seen in self._seen.items():
            if all(seen):
                continue
            if any(seen):
                count = len(seen) - sum(seen)
                found.append(f"{cause.text} (at {count} of {len(seen)} steps)")
            else:
                found.append(f"{cause.text}{self._advice(cause)}")
        return found

    def _advice(self, cause: Cause) -> str:
        """Say what would show a mistake that the input hides."""
        mask, types = self._setting.inputs.attention_mask, self._setting.inputs.token_type_ids
        behind = bool((np.cumsum(~mask, axis=1)[mask] > 0).any())
        met = (bool(~mask.all()), behind, bool(types.any()))
        for (names, advice), is_met in zip(_ADVICE, met, strict=True):
            if cause.name.startswith(names) and not is_met:
                return f" ({advice})"
        return ""
