"""Runs of a case with mistakes in it, in which nothing is computed twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, IntArray
from numpy_bert.traces.layout import block_of
from numpy_bert.verification.cases import Case
from numpy_bert.verification.mistakes import Setting
from numpy_bert.verification.steps import Segment, Step, segment_of

__all__ = ["Trials"]

# The results of the right steps of a segment are kept up to this, and those of blocks beyond.
_MOST_BYTES = 1 << 28


class Trials:
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
            if size <= _MOST_BYTES or block_of(step.name) == step.name:
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


def _tail(segment: Segment) -> frozenset[str]:
    """Return the names of the last steps of a segment that know nothing of other tokens."""
    tail: list[Step] = []
    for step in reversed(segment.steps):
        if step.kind not in _PER_TOKEN or not step.axes.startswith("BT"):
            break
        tail.append(step)
    is_slow = any(step.kind in _SLOW for step in tail)
    return frozenset(step.name for step in tail) if is_slow else frozenset()
