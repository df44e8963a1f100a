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

from numpy_bert.arrays import Array, BoolArray, IntArray
from numpy_bert.comparison.differences import EPSILONS, rms
from numpy_bert.progress import progress
from numpy_bert.traces.layout import place_of
from numpy_bert.verification.layers import layer_mistakes
from numpy_bert.verification.mistakes import (
    BROADER,
    PRE_LAYER_NORM,
    Cause,
    Mistake,
    Setting,
    mistakes_in,
    to_bfloat16,
    to_float16,
)
from numpy_bert.verification.rounding import FACTOR, analysed, budgets, share_of, shares_of
from numpy_bert.verification.steps import UNCHANGED, Segment, Step, same, segment_of
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
_HUGE = 1e29
# So many mistakes that leave less of the error than others are tried as the first of two.
_FIRSTS = 3
_SECONDS_FOR_TWO = 10.0
# The results of the right steps of a segment are kept up to this, and those of blocks beyond.
_MOST_BYTES = 1 << 28


_NOTHING_HELD: Mapping[str, npt.NDArray[Any]] = {}


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
    held : mapping of str to ndarray
        All steps that the candidate holds: what a mistake reads may be another one than is right.
    """

    segment: Segment
    arrays: Mapping[str, npt.NDArray[Any]]
    found: Array
    expected: Array
    places: BoolArray
    dtype: str
    view: Callable[[Array], Array]
    allowed: Array
    held: Mapping[str, npt.NDArray[Any]] = _NOTHING_HELD

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
    is_rare : bool
        Whether few ports make it.
    is_suggested : bool
        Whether it was read off the candidate's numbers, and is not in the catalogue.
    """

    cause: Cause
    steps: Mapping[str, Step]
    where: str
    is_general: bool
    is_rare: bool = False
    is_suggested: bool = False


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
    steps: Collection[str] = ()
    is_suggested: bool = False


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
    everywhere in the segment, then those made in one place. Where none is enough, two at once are
    tried.
    """
    if limit.is_over:
        return Diagnosis(None, _untried(case.segment, limit))
    with limit.counting(), np.errstate(all="ignore"):
        return _diagnosis(case, setting, limit, named)


def _diagnosis(
    case: Case, setting: Setting, limit: TimeLimit, named: Collection[Cause]
) -> Diagnosis:
    """Try what is known, the likelier first."""
    if not np.isfinite(case.counts(case.found)).all():
        return _of_faults(case)
    search = _Search(case, setting, limit)
    every = list(variants(case.segment, setting))
    for tried in _rounds(every, case, setting, limit, named):
        fits = search.fits(tried)
        if fits:
            return _best(fits + search.fits(_others_there(fits, every, tried)))
    dropped = _dropout_in(case)
    if dropped is not None:
        return dropped
    fits = _rounding_fits(case)
    if fits:
        return _best(fits)
    found = search.of_two() or _as_of(case)
    if found is not None:
        return found
    if limit.is_over:
        return Diagnosis(None, _untried(case.segment, limit))
    return Diagnosis(None, "no known mistake gives these numbers")


def _rounds(
    every: Sequence[Variant],
    case: Case,
    setting: Setting,
    limit: TimeLimit,
    named: Collection[Cause],
) -> Iterator[list[Variant]]:
    """Yield what to try, round by round, each when the ones before it explain nothing."""
    given = (case.segment, case.arrays, case.found, case.places, setting)
    is_long = len(case.segment.steps) > LONG
    yield [variant for variant in every if variant.cause in named]
    if is_long:  # a few plans for whole layers, against a run of the model for every mistake
        yield _suggested(layer_mistakes(*given, lambda: limit.is_over))
    # A port does the same in every layer, so that what is wrong in one alone comes last.
    groups = {
        (is_general, is_rare): [
            v for v in every if (v.is_general, v.is_rare) == (is_general, is_rare)
        ]
        for is_general in (True, False)
        for is_rare in (False, True)
    }
    yield [*groups[True, False], *_suggested(weight_mistakes(*given))]
    if is_long:
        yield groups[True, True]
    yield groups[False, False]
    if not is_long:
        yield _suggested(layer_mistakes(*given, lambda: limit.is_over))
        yield groups[True, True]
    yield groups[False, True]


def _others_there(
    fits: Sequence[_Fit], every: Sequence[Variant], tried: Sequence[Variant]
) -> list[Variant]:
    """Return what else may be wrong where a cause was found: it may give the same numbers."""
    done, kinds = {id(v) for v in tried}, {v.is_general for v in tried}
    names = {name for fit in fits for name in fit.steps}
    if len(names) > LONG:  # a plan for whole layers, which nothing else gives
        return []
    left = (v for v in every if id(v) not in done and v.is_general in kinds)
    return [v for v in left if not names.isdisjoint(v.steps)]


def _suggested(mistakes: Iterable[Mistake]) -> list[Variant]:
    """Return what a case's numbers suggest about weights or layers as variants to try."""
    return [
        Variant(other.cause, other.steps, "", is_general=True, is_suggested=True)
        for other in mistakes
    ]


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
    rare = set()
    for step in segment.steps:
        for mistake in mistakes_in(step, setting):
            inside = {name: other for name, other in mistake.steps.items() if name in names}
            by_cause.setdefault(mistake.cause, {})[step.name] = inside
            if mistake.is_rare:
                rare.add(mistake.cause)
    for cause, places in by_cause.items():
        is_rare = cause in rare
        roles: dict[str, list[str]] = {}
        for name in places:
            roles.setdefault(_LAYER.sub("layer.*", name), []).append(name)
        if len(roles) > 1:
            yield Variant(cause, _merged(places.values()), "", is_general=True, is_rare=is_rare)
        for role, where in roles.items():
            plain = "" if segment.target.name in where else where[0] if len(where) == 1 else role
            chosen = [places[name] for name in where]
            yield Variant(cause, _merged(chosen), plain, is_general=True, is_rare=is_rare)
        for name, steps in places.items():
            if len(roles[_LAYER.sub("layer.*", name)]) > 1:
                yield Variant(cause, steps, name, is_general=False, is_rare=is_rare)


def _merged(parts: Iterable[Mapping[str, Step]]) -> dict[str, Step]:
    return {name: other for steps in parts for name, other in steps.items()}


class _Trials:
    """Runs of a case with other steps in it. What stands before these is computed once."""

    def __init__(self, case: Case, setting: Setting) -> None:
        self._case = case
        self._steps = {**setting.steps, **_widened(case.segment)}
        self._right: dict[str, Array] = {}
        self._tail = _tail(case.segment)

    def run(self, others: Mapping[str, Step]) -> Array:
        """Run the segment with these steps in the place of its own."""
        result = self._case.view(self._run(self._case.segment.target.name, others))
        return np.broadcast_to(result, self._case.found.shape)

    def few(self, others: Mapping[str, Step], tokens: tuple[IntArray, IntArray]) -> Array | None:
        """Return the result for a few tokens, given by their rows and columns, as (1, N, ...).

        Only the steps behind attention are run for these alone. None where there are none.
        """
        if not self._tail:
            return None
        steps = {**self._steps, **others}
        head = (steps.keys() - self._tail) | self._case.held.keys() | self._case.arrays.keys()
        segment = segment_of(self._case.segment.target.name, steps, head)
        shape = self._case.found.shape[:2]
        arrays = {}
        for name in segment.inputs:
            whole = self._run(name, others)
            arrays[name] = np.broadcast_to(whole, (*shape, *whole.shape[2:]))[tokens][np.newaxis]
        return segment.run(arrays, np.float64, others)

    def _run(self, name: str, others: Mapping[str, Step]) -> npt.NDArray[Any]:
        """Return what a step gives with these in the place of the right ones."""
        if not self._right:
            self._keep()
        target = self._case.segment.target.name
        if name != target and name in self._case.arrays:
            return self._case.arrays[name]
        if name != target and name in self._case.held:
            return self._case.held[name]
        spoilt = self._behind(others)
        right = {name: array for name, array in self._right.items() if name not in spoilt}
        if name != target and name in right:
            return right[name]
        held = {*right, *self._case.arrays, *self._case.held}
        segment = segment_of(name, {**self._steps, **others}, held)
        arrays = {
            name: right[name] if name in right else self._array(name) for name in segment.inputs
        }
        return segment.run(arrays, np.float64, others)

    def budget(self, others: Mapping[str, Step]) -> Array:
        """Return how far rounding may take each number of such a run."""
        held = {*self._case.arrays, *self._case.held}
        target = self._case.segment.target.name
        segment = segment_of(target, {**self._steps, **others}, held)
        arrays = {name: self._array(name) for name in segment.inputs}
        case = self._case._replace(segment=segment, arrays=arrays)
        return np.maximum(self._case.allowed, case.budget(others))

    def _array(self, name: str) -> npt.NDArray[Any]:
        own = self._case.arrays
        return own[name] if name in own else self._case.held[name]

    def _behind(self, others: Mapping[str, Step]) -> set[str]:
        """Return the names of the steps that are others, or that read what others give."""
        spoilt = set(others)
        for step in self._case.segment.steps:
            if not spoilt.isdisjoint(step.inputs):
                spoilt.add(step.name)
        return spoilt

    def _keep(self) -> None:
        """Keep what the right steps give: the ends of all blocks, of the rest as much as fits."""
        size = 0
        for step, _, output in self._case.segment.walk(self._case.arrays):
            size += output.nbytes
            if size <= _MOST_BYTES or _BLOCK.fullmatch(step.name):
                self._right[step.name] = output


def _widened(segment: Segment) -> dict[str, Step]:
    """Return the steps of a segment with weights in float64, none if these would be too large."""
    weights = {
        (step.name, key): value
        for step in segment.steps
        for key, value in step.arguments.items()
        if key in ("weight", "bias")
    }
    if 8 * sum(value.size for value in weights.values()) > _MOST_BYTES:
        return {}
    found: dict[str, Step] = {}
    for step in segment.steps:
        own = {
            key: value.astype(np.float64, copy=False)
            for (name, key), value in weights.items()
            if name == step.name
        }
        if own:
            found[step.name] = replace(step, arguments={**step.arguments, **own})
    return found


# What gives each token's numbers from the same token's alone, and what takes long of it.
_PER_TOKEN = ("linear", "residual", "layer_norm", "activation", "same", "dropout")
_SLOW = ("linear", "activation")
# Over tokens, it does not.
_NOT_PER_TOKEN = ("layer_norm_axis",)
# So many tokens, those with the largest errors, tell what does not explain them.
_FEW = 8


def _tail(segment: Segment) -> frozenset[str]:
    """Return the names of the last steps of a segment that know nothing of other tokens."""
    tail: list[Step] = []
    for step in reversed(segment.steps):
        if step.kind not in _PER_TOKEN or not step.axes.startswith("BT"):
            break
        tail.append(step)
    is_slow = any(step.kind in _SLOW for step in tail)
    return frozenset(step.name for step in tail) if is_slow else frozenset()


class _Search:
    """The search for what explains a case, and what each mistake that was tried leaves of it."""

    def __init__(self, case: Case, setting: Setting, limit: TimeLimit) -> None:
        self._case = case
        self._limit = limit
        self._trials = _Trials(case, setting)
        self._found = case.counts(case.found)
        self._error = rms(self._found - case.counts(case.expected))
        self._is_telling = _is_telling(case)
        self._tried: list[tuple[float, Variant]] = []
        self._tokens = self._worst_tokens()

    def _worst_tokens(self) -> tuple[IntArray, IntArray] | None:
        """Return the rows and columns of a few tokens that are off the most, if there are more."""
        case = self._case
        shares = shares_of(case.found - case.expected, case.allowed)
        counted = np.where(np.broadcast_to(case.places, shares.shape), shares, -1.0)
        if counted.ndim != 3 or counted.shape[0] * counted.shape[1] <= 2 * _FEW:
            return None
        largest = counted.max(axis=-1)
        chosen = np.argsort(largest, axis=None)[::-1][:_FEW]
        chosen = chosen[largest.ravel()[chosen] > 1.0]
        if not len(chosen):
            return None
        rows, columns = np.unravel_index(chosen, largest.shape)
        return rows, columns

    def _share_left(self, variant: Variant) -> float | None:
        """Return how much of the error of a few tokens a variant leaves; None: not known."""
        if self._tokens is None or variant.is_suggested or variant.cause.name in _NOT_PER_TOKEN:
            return None
        result = self._trials.few(variant.steps, self._tokens)
        if result is None:
            return None
        case, tokens = self._case, self._tokens
        found, expected = case.found[tokens][np.newaxis], case.expected[tokens][np.newaxis]
        return rms(found - result) / rms(found - expected)

    def fits(self, tried: Sequence[Variant]) -> list[_Fit]:
        """Return the variants that explain the case, of those that there is time for."""
        if not self._is_telling:
            return []
        label = f"why {self._case.segment.target.name}"
        fits = []
        with progress(len(tried), label, least=2, unit="mistakes", delay=2.0) as report:
            for variant in tried:
                fit, left = self._fit(variant, self._error)
                self._tried.append((left, variant))
                if fit is not None:
                    fits.append(fit)
                report(1)
                if self._limit.is_over:
                    break
        return fits

    def of_two(self) -> Diagnosis | None:
        """Try every second mistake on top of the few that leave the least of the error."""
        firsts = sorted(
            (pair for pair in self._tried if pair[0] * _BETTER <= self._error),
            key=lambda pair: pair[0],
        )
        start = time.monotonic()
        for left, first in firsts[:_FIRSTS]:
            found = []
            for _, second in self._tried:
                if self._limit.is_over or time.monotonic() - start > _SECONDS_FOR_TWO:
                    return None
                if first.steps.keys().isdisjoint(second.steps):
                    both = _both(first, second)
                    fit, _ = self._fit(both, left)
                    if fit is not None:
                        found.append(fit)
            if found:
                return _best(found)
        return None

    def _fit(self, variant: Variant, unexplained: float) -> tuple[_Fit | None, float]:
        """Run a variant: how it explains the case, None if it does not; and what it leaves."""
        case = self._case
        try:
            share = self._share_left(variant)
            if share is not None and not share * _BETTER * self._error <= unexplained:
                return None, share * self._error if np.isfinite(share) else np.inf
            result = self._trials.run(variant.steps)
        except ValueError:  # of another shape
            return None, np.inf
        # What is masked has the least number of one dtype or another.
        result = np.where((result < -_HUGE) & (case.found < -_HUGE), case.found, result)
        chosen = case.counts(result)
        error, left = float(np.abs(self._found - chosen).max()), rms(self._found - chosen)
        better = _BETTER if case.dtype in ("float32", "float64") else _MUCH_BETTER
        if not left * better <= unexplained:  # nor is it NaN
            return None, left if np.isfinite(left) else np.inf
        # The mistake may make larger numbers, so it has a budget of its own.
        if case.share(case.found - result, self._trials.budget(variant.steps)) > 1.0:
            return None, left
        # What rounding hides cannot have been what was seen.
        if case.share(result - case.expected) <= 1.0:
            return None, left
        own = (variant.cause, variant.where, error, left, chosen, tuple(variant.steps))
        return _Fit(*own, variant.is_suggested), left


def _both(first: Variant, second: Variant) -> Variant:
    """Return two mistakes as one, which has the name of the one that is made first."""
    one, other = sorted(
        (first, second), key=lambda variant: place_of(min(variant.steps, key=place_of))
    )
    texts = [f"{v.cause.text}{f' (in {v.where})' if v.where else ''}" for v in (one, other)]
    cause = Cause(one.cause.name, f"two mistakes: {texts[0]}; and {texts[1]}")
    return Variant(cause, {**first.steps, **second.steps}, "", is_general=True)


def _is_telling(case: Case) -> bool:
    """Tell whether the numbers are too many, and too far off, for chance to explain them.

    Another result comes as near to a number as rounding in one of (error / rounding) cases.
    """
    sizes = FACTOR * case.counts(shares_of(case.found - case.expected, case.allowed))
    return float(np.log10(np.clip(sizes, 1.0, 1e300)).sum()) >= _DIGITS


def _best(fits: list[_Fit]) -> Diagnosis:
    """Choose the closest; of several that rounding cannot tell apart all are said.

    These have a name only where it is that of all.
    """
    best = min(fits, key=lambda fit: fit.rest)
    near = _likelier([fit for fit in fits if fit.rest <= _BETTER * best.rest], best)
    first = next((fit for fit in near if _same_numbers(fit, best)), near[0])
    where = f" (in {first.where})" if first.where else ""
    left = f"it leaves {first.error:.1e}"
    texts = list(dict.fromkeys([first.cause.text, *(fit.cause.text for fit in near)]))
    if len(texts) == 1:
        return Diagnosis(first.cause, f"{first.cause.text}{where}; {left}")
    names = {BROADER.get(fit.cause.name, fit.cause.name) for fit in near}
    more = f", or one of {len(texts) - 4} others" if len(texts) > 4 else ""
    told = f"{', or '.join(texts[:4])}{more}"
    if len(names) > 1:
        return Diagnosis(None, f"cannot tell which: {told}{where}")
    cause = Cause(names.pop(), told)
    return Diagnosis(cause, f"{told}{where}: this trace cannot tell; {left}")


# What says no more than which other numbers stand there.
_NO_REASON = ("bias_unknown", "ids_other", "positions_other", "rows_mixed", "segments_other")


def _likelier(near: list[_Fit], best: _Fit) -> list[_Fit]:
    """Leave out what says in other words, or says less, what another one says."""
    told = [fit for fit in near if fit.cause.name not in _NO_REASON] or near
    closest = best if any(fit is best for fit in told) else min(told, key=lambda fit: fit.rest)
    same = [fit for fit in told if _same_numbers(fit, closest)]
    kept = [fit for fit in same if not fit.is_suggested] or same[:1]
    dropped = {id(fit) for fit in same} - {id(fit) for fit in kept}
    return [fit for fit in told if id(fit) not in dropped]


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


def _rounding_fits(case: Case) -> list[_Fit]:
    """Try whether the right result was computed in half precision and widened."""
    if case.dtype not in ("float32", "float64"):
        return []
    found, expected = case.counts(case.found), case.counts(case.expected)
    for dtype, narrow in _NARROWER:
        narrowed = found.size >= _MANY and np.array_equal(found, narrow(found))
        error = float(np.abs(found - expected).max())
        if narrowed and case.share(case.found - case.expected, case.in_dtype(dtype)) <= 1.0:
            cause = Cause(f"computed_in_{dtype}", f"the step is computed in {dtype}")
            return [_Fit(cause, "", error, rms(found - expected), narrow(expected))]
    return []


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
        trials = _Trials(case, self._setting)
        is_long = len(case.segment.steps) > LONG
        done: set[Cause] = set()
        for variant in variants(case.segment, self._setting):
            if variant.is_rare or variant.cause in done:
                continue  # the first is made wherever it can be
            done.add(variant.cause)
            if is_long and not variant.cause.name.startswith(_BY_INPUT):
                continue
            try:
                share = case.share(trials.run(variant.steps) - case.expected)
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
