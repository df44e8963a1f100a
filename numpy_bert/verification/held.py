"""What a trace holds of a model's steps: arrays of the right shape, read when they are needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.comparison.differences import EPSILONS
from numpy_bert.errors import TraceError
from numpy_bert.traces.layout import shape_of
from numpy_bert.traces.reading import Trace, TraceArray
from numpy_bert.verification.steps import Step

__all__ = ["Held"]

# A step reads at most a few that lie shortly before it.
_KEPT = 8


class Held(Collection[str]):
    """The steps that a trace holds in the shape that they must have, and what is wrong with others.

    Attributes
    ----------
    steps : mapping of str to Step
        Of the model, in execution order; one whose shape may vary has the trace's.
    faults : dict of str to str
        By a step's name, why its array cannot be used.
    """

    def __init__(self, trace: Trace, steps: Mapping[str, Step], sizes: dict[str, int]) -> None:
        self.trace = trace
        self.steps = steps
        self.faults: dict[str, str] = {}
        self._sizes = sizes
        self._cache: OrderedDict[str, Array] = OrderedDict()
        held = (name for name in steps if name in trace.arrays and self._fits(name))
        self._names = dict.fromkeys(held)  # a set in the order of execution

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __getitem__(self, name: str) -> Array:
        """Return the array of a step in float64, in the step's own axes."""
        if name not in self._cache:
            self._cache[name] = self.load(self.trace.arrays[name])
            if len(self._cache) > _KEPT:
                self._cache.popitem(last=False)
        self._cache.move_to_end(name)
        return self._cache[name]

    def load(self, array: TraceArray) -> Array:
        """Return an array of the trace in float64, in its step's axes."""
        return array.load_in(self.steps[array.step].axes).astype(np.float64)

    def _fits(self, name: str) -> bool:
        """Tell whether an array can be used for its step; say why not in `faults`."""
        array, step = self.trace.arrays[name], self.steps[name]
        fault = self.fault_of(array, step)
        if fault is not None:
            self.faults[name] = fault
        return fault is None

    def fault_of(self, array: TraceArray, step: Step) -> str | None:
        """Return why an array cannot be used for a step; None if it can."""
        expected = shape_of(step.axes, self._sizes)
        shape = array.stored.shape
        if array.dtype not in EPSILONS:
            return f"dtype {array.dtype}; a float one was expected"
        if not array.stored.size:
            return f"shape {shape}: it is empty"
        try:
            shape = array.shape_in(step.axes)
        except (TraceError, ValueError) as failure:
            return str(failure)
        rows = (self._sizes["B"], *expected[1:])
        if shape == expected or (step.kind == "position_embeddings" and shape == rows):
            return None
        return f"shape {shape}; {expected} was expected"
