"""The search for the mistakes that explain a case, and the choice between several."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from numpy_bert.arrays import Array, IntArray
from numpy_bert.comparison.differences import rms
from numpy_bert.progress import PATIENCE, progress
from numpy_bert.reprs import short_repr
from numpy_bert.traces.layout import place_of
from numpy_bert.verification.cases import Case, Diagnosis, Variant
from numpy_bert.verification.mistakes import BROADER, Cause, Setting
from numpy_bert.verification.rounding import FACTOR, shares_of
from numpy_bert.verification.symptoms import NARROWER, narrowed
from numpy_bert.verification.trials import Trials

__all__ = ["ACROSS", "Fit", "Search", "TimeLimit", "best_of"]

# A mistake must leave so much less of the error than no mistake, and than any other one does.
_BETTER = 2.0
# In half precision many activations look like one another.
_MUCH_BETTER = 8.0
# One chance in so many powers of ten is taken.
_DIGITS = 4.0
_HUGE = 1e29
# What leaves more than this of the error of a part does not explain the whole.
_MOST_LEFT = 0.75
# So many mistakes that leave less of the error than others are tried as the first of two.
_FIRSTS = 3
_SECONDS_FOR_TWO = 10.0
# What gives a token's numbers from those of other tokens and rows, where no attention is.
ACROSS = ("layer_norm_axis",)
# So many tokens, those with the largest errors, tell what does not explain them.
_FEW = 8


class Fit(NamedTuple):
    """How well a variant explains a case."""

    cause: Cause
    where: str
    error: float
    rest: float
    result: Array
    steps: Collection[str] = ()
    is_suggested: bool = False

    def __repr__(self) -> str:
        return short_repr(self)


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


class Search:
    """The search for what explains a case, and what each mistake that was tried leaves of it."""

    def __init__(self, case: Case, setting: Setting, limit: TimeLimit) -> None:
        self._case = case
        self._limit = limit
        self._trials = Trials(case, setting)
        self._found = case.counts(case.found)
        self._error = rms(self._found - case.counts(case.expected))
        shares = shares_of(case.found - case.expected, case.allowed)
        self._is_telling = _is_telling(case.counts(shares))
        self._tried: list[tuple[float, Variant]] = []
        self._tokens = self._worst_tokens(shares)
        self._row = self._trials.of_a_row() if self._is_telling else None

    def _worst_tokens(self, shares: Array) -> tuple[IntArray, IntArray] | None:
        """Return the rows and columns of a few tokens that are off the most, if there are more."""
        counted = np.where(np.broadcast_to(self._case.places, shares.shape), shares, -1.0)
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
        """Return how much of the error of a part a variant leaves; None: not known."""
        if variant.is_suggested or variant.cause.name in ACROSS:
            return None
        if self._row is not None:
            return self._row.share_left(variant.steps)
        if self._tokens is None:
            return None
        result = self._trials.few(variant.steps, self._tokens)
        if result is None:
            return None
        case, tokens = self._case, self._tokens
        found, expected = case.found[tokens][np.newaxis], case.expected[tokens][np.newaxis]
        return rms(found - result) / rms(found - expected)

    def fits(self, tried: Sequence[Variant]) -> list[Fit]:
        """Return the variants that explain the case, of those that there is time for."""
        if not self._is_telling:
            return []
        label = f"why {self._case.segment.target.name}"
        fits = []
        with progress(len(tried), label, least=2, unit="mistakes", delay=PATIENCE) as report:
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
                return best_of(found)
        return None

    def _fit(self, variant: Variant, unexplained: float) -> tuple[Fit | None, float]:
        """Run a variant: how it explains the case, None if it does not; and what it leaves."""
        case = self._case
        try:
            share = self._share_left(variant)
            if share is not None and not share * self._error <= _MOST_LEFT * unexplained:
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
        if not self._is_as_rounded(variant, result, left):
            return None, left
        # What rounding hides cannot have been what was seen.
        if case.share(result - case.expected) <= 1.0:
            return None, left
        own = (variant.cause, variant.where, error, left, chosen, tuple(variant.steps))
        return Fit(*own, variant.is_suggested), left

    def _is_as_rounded(self, variant: Variant, result: Array, left: float) -> bool:
        """Tell whether so much is left as a run in half precision leaves; in others always.

        There a budget holds much that is no rounding: a bias that is small, and one that is not
        there.
        """
        case = self._case
        narrow = NARROWER.get(case.dtype)
        if narrow is None or not case.segment.steps[1:]:
            return True
        inside = {step.name: step for step in case.segment.steps} | dict(variant.steps)
        rounded = {name: narrowed(step, narrow) for name, step in inside.items()}
        return left <= _BETTER * rms(case.counts(self._trials.run(rounded) - result))


def _both(first: Variant, second: Variant) -> Variant:
    """Return two mistakes as one, which has the name of the one that is made first."""
    one, other = sorted(
        (first, second), key=lambda variant: place_of(min(variant.steps, key=place_of))
    )
    texts = [f"{v.cause.text}{f' (in {v.where})' if v.where else ''}" for v in (one, other)]
    cause = Cause(one.cause.name, f"two mistakes: {texts[0]}; and {texts[1]}")
    return Variant(cause, {**first.steps, **second.steps}, "", is_general=True)


def _is_telling(shares: Array) -> bool:
    """Tell whether the numbers are too many, and too far off, for chance to explain them.

    Another result comes as near to a number as rounding in one of (error / rounding) cases.
    """
    return float(np.log10(np.clip(FACTOR * shares, 1.0, 1e300)).sum()) >= _DIGITS


def best_of(fits: list[Fit]) -> Diagnosis:
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


def _likelier(near: list[Fit], best: Fit) -> list[Fit]:
    """Leave out what says in other words, or says less, what another one says."""
    told = [fit for fit in near if fit.cause.name not in _NO_REASON] or near
    closest = best if any(fit is best for fit in told) else min(told, key=lambda fit: fit.rest)
    same = [fit for fit in told if _same_numbers(fit, closest)]
    kept = [fit for fit in same if not fit.is_suggested] or same[:1]
    dropped = {id(fit) for fit in same} - {id(fit) for fit in kept}
    return [fit for fit in told if id(fit) not in dropped]


def _same_numbers(a: Fit, b: Fit) -> bool:
    return a is b or rms(a.result - b.result) * 1e3 <= b.rest
