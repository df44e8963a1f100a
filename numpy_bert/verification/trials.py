"""Runs of a case with mistakes in it, in which nothing is computed twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, IntArray
from numpy_bert.comparison.differences import rms
from numpy_bert.traces.layout import block_of
from numpy_bert.verification.cases import LONG, Case
from numpy_bert.verification.mistakes import Setting
from numpy_bert.verification.rows import Row, shortest, weights_dtype
from numpy_bert.verification.steps import UNCHANGED, Segment, Step, segment_of

__all__ = ["RowTrials", "Trials"]

# The results of the right steps of a segment are kept up to this, and those of blocks beyond.
_MOST_BYTES = 1 << 28
# A row is of use for the whole batch if its error is not much smaller than that of others.
_AS_WRONG = 0.5
# Less of an error than this does not show.
_NOTHING = 1e-6


class Trials:
    """Runs of a case with other steps in it. What stands before these is computed once."""

    def __init__(self, case: Case, setting: Setting, dtype: npt.DTypeLike = np.float64) -> None:
        self._case = case
        self._setting = setting
        self._dtype = np.dtype(dtype)
        self._steps = {**setting.steps, **_widened(case.segment, self._dtype)}
        self._right: dict[str, Array] = {}
        self._tail = _tail(case.segment)

    def run(self, others: Mapping[str, Step]) -> Array:
        """Run the segment with these steps in the place of its own."""
        result = self._case.view(self.raw(others))
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
        return segment.run(arrays, self._dtype, others)

    def of_a_row(self) -> RowTrials | None:
        """Return runs of one row of a long segment; None where it would not be shorter."""
        case, mask = self._case, self._setting.inputs.attention_mask
        target = case.segment.target
        if len(case.segment.steps) <= LONG or target.axes != "BTH" or len(mask) < 2:
            return None
        errors = np.where(case.places, case.found - case.expected, 0.0)
        sizes = np.sqrt(np.square(errors).mean(axis=(1, 2)))
        row = shortest(mask, np.flatnonzero(sizes >= _AS_WRONG * sizes.max()))
        return RowTrials(case, self._setting, Row(row.number))

    def raw(self, others: Mapping[str, Step]) -> npt.NDArray[Any]:
        """Run the segment with these steps, without a view and of whatever shape it gives."""
        return self._run(self._case.segment.target.name, others)

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
        return segment.run(arrays, self._dtype, others)

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
        for step, _, output in self._case.segment.walk(self._case.arrays, self._dtype):
            size += output.nbytes
            if size <= _MOST_BYTES or block_of(step.name) == step.name:
                self._right[step.name] = output


class RowTrials:
    """Runs of a row of a batch, with its padding: they cost less, and tell what explains nothing.

    Parameters
    ----------
    case : Case
        The case of the whole batch.
    setting : Setting
        The setting of the whole batch.
    row : Row
        The row.
    """

    def __init__(self, case: Case, setting: Setting, row: Row) -> None:
        self._row = row
        self._rows = len(case.found)
        axes = case.segment.target.axes
        whole = np.broadcast_to(case.places, case.found.shape)
        self._places = row.of(whole, axes)
        self._found = row.of(case.found, axes)[self._places]
        self._error = rms(self._found - row.of(case.expected, axes)[self._places])

        def cut(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
            return {name: row.of(array, setting.steps[name].axes) for name, array in arrays.items()}

        steps = {name: row.step(step) for name, step in setting.steps.items()}
        inside = tuple(steps[step.name] for step in case.segment.steps)
        own = case._replace(
            segment=Segment(inside, case.segment.inputs),
            arrays=cut(case.arrays),
            held=cut(case.held),
        )
        # What explains the case has only to come near.
        self._trials = Trials(own, setting._replace(steps=steps), weights_dtype(case.segment))
        self._right = self._trials.raw(UNCHANGED)[self._places]

    def share_left(self, others: Mapping[str, Step] = UNCHANGED) -> float | None:
        """Return how much of the row's error such steps leave; None: the row does not tell."""
        try:
            result = self._trials.raw({name: self._row.step(step) for name, step in others.items()})
        except (ValueError, IndexError):  # it holds arrays of all rows
            return None
        if len(result) == self._rows:  # as does this one, which were added to the row's
            result = self._row.of(result, "BTH")
        if result.shape != self._places.shape:
            return None
        counted = result[self._places]
        if rms(counted - self._right) <= _NOTHING * self._error:
            return None
        return rms(self._found - counted) / self._error


def _widened(segment: Segment, dtype: np.dtype[Any]) -> dict[str, Step]:
    """Return the steps of a segment with weights in a dtype, none if these would be too large."""
    weights = {
        (step.name, key): value
        for step in segment.steps
        for key, value in step.arguments.items()
        if key in ("weight", "bias")
    }
    if dtype.itemsize * sum(value.size for value in weights.values()) > _MOST_BYTES:
        return {}
    found: dict[str, Step] = {}
    for step in segment.steps:
        own = {
            key: value.astype(dtype, copy=False)
            for (name, key), value in weights.items()
            if name == step.name
        }
        if own:
            found[step.name] = replace(step, arguments={**step.arguments, **own})
    return found


# What gives each token's numbers from the same token's alone, and what takes long of it.
_PER_TOKEN = ("linear", "residual", "layer_norm", "activation", "same", "dropout")
_SLOW = ("linear", "activation")


def _tail(segment: Segment) -> frozenset[str]:
    """Return the names of the last steps of a segment that know nothing of other tokens."""
    tail: list[Step] = []
    for step in reversed(segment.steps):
        if step.kind not in _PER_TOKEN or not step.axes.startswith("BT"):
            break
        tail.append(step)
    is_slow = any(step.kind in _SLOW for step in tail)
    return frozenset(step.name for step in tail) if is_slow else frozenset()
