"""A step as a candidate has it, and the mistakes that can be made in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.reprs import short_repr
from numpy_bert.verification.mistakes import Cause, Setting, mistakes_in
from numpy_bert.verification.rounding import analysed, budgets, share_of
from numpy_bert.verification.steps import UNCHANGED, Segment, Step

__all__ = ["LONG", "Case", "Diagnosis", "Variant", "variants"]

# Beyond so many steps, a block of the model and more, only what depends on the input is looked at.
LONG = 12
_LAYER = re.compile(r"layer\.\d+")
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

    def __repr__(self) -> str:
        return short_repr(self)

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

    def __repr__(self) -> str:
        return short_repr(self)


class Diagnosis(NamedTuple):
    """The cause of a difference, None if it cannot be told, and a sentence about it."""

    cause: Cause | None
    text: str


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
