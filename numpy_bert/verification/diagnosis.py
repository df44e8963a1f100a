"""Why a step is wrong: the known mistake that gives the candidate's own numbers.

The same runs tell which of the known mistakes a trace could show, and which ones it hides, whatever
the port does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.traces.layout import block_of
from numpy_bert.verification.cases import LONG, Case, Diagnosis, Variant, variants
from numpy_bert.verification.layers import layer_mistakes
from numpy_bert.verification.mistakes import PRE_LAYER_NORM, Cause, Mistake, Setting
from numpy_bert.verification.search import Fit, Search, TimeLimit, best_of
from numpy_bert.verification.steps import Segment, same
from numpy_bert.verification.symptoms import (
    as_of,
    computed_in,
    dropout_in,
    held_elsewhere,
    of_faults,
)
from numpy_bert.verification.weights import weight_mistakes

__all__ = ["diagnose", "refined", "what_to_save"]


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
        return of_faults(case)
    search = Search(case, setting, limit)
    every = list(variants(case.segment, setting))
    for tried in _rounds(every, case, setting, limit, named):
        fits = search.fits(tried)
        if fits:
            return best_of(fits + search.fits(_others_there(fits, every, tried)))
    told = dropout_in(case) or computed_in(case) or search.of_two() or held_elsewhere(case, setting)
    if told is not None:
        return told
    size = as_of(case)
    if limit.is_over:  # what was not tried may make an error of this size, too
        return Diagnosis(None, _untried(case.segment, limit, size))
    why = "no known mistake gives these numbers"
    if size is None:
        return Diagnosis(None, why)
    return Diagnosis(size, f"{why}, but the error is {size.text}{_if_meant(size)}")


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
    fits: Sequence[Fit], every: Sequence[Variant], tried: Sequence[Variant]
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


def _untried(segment: Segment, limit: TimeLimit, size: Cause | None = None) -> str:
    """Say that the time was too short, and what would make it long enough."""
    if not limit.seconds:
        return "the cause was not looked for"
    also = f"an error {size.text} would be as large{_if_meant(size)}; " if size is not None else ""
    return f"no cause was found in {limit.seconds:g} s; {also}{what_to_save(segment)}"


def _if_meant(size: Cause) -> str:
    """Say what to do where a precision is no mistake; int8 cannot be stated."""
    return "" if size.name == "as_of_int8" else " (if that is meant, say so with --precision)"


def what_to_save(segment: Segment) -> str:
    """Say which arrays of a long segment would tell where in it something is wrong.

    Examples
    --------
    >>> from numpy_bert.verification.steps import Step
    >>> step = Step(name="encoder.layer.1", kind="same", inputs=(), function=np.abs)
    >>> what_to_save(Segment((step,), ()))
    'save encoder.layer.1.* too, and it is found in seconds'
    """
    blocks = (block_of(step.name) for step in segment.steps)
    names = [name for name in dict.fromkeys(blocks) if name]
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
