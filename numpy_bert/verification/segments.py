"""A part of the model that can be run again: one step, from the nearest that a trace holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array
from numpy_bert.verification.steps import Step

__all__ = ["Segment", "segment_of"]

_NONE: Mapping[str, Step] = {}


class Segment(NamedTuple):
    """A step, and those before it that a trace does not hold.

    Attributes
    ----------
    steps : tuple of Step
        In execution order; the last is the one that the segment is of.
    inputs : tuple of str
        The names of the steps that they read and the trace holds.
    """

    steps: tuple[Step, ...]
    inputs: tuple[str, ...]

    @property
    def target(self) -> Step:
        """The step that the segment is of."""
        return self.steps[-1]

    def run(
        self,
        arrays: Mapping[str, npt.NDArray[Any]],
        dtype: npt.DTypeLike = np.float64,
        others: Mapping[str, Step] = _NONE,
        after: Callable[[Step, list[Array], Array], Array] | None = None,
    ) -> Array:
        """Compute the last step from `arrays`, those of `inputs`.

        `others` are steps that stand in the place of the segment's own, by name; `after` gets each
        step, its inputs and its output, and returns what is to stand for the output.
        """
        values = dict(arrays)
        chosen = [others.get(step.name, step) for step in self.steps]
        uses = Counter(name for step in chosen for name in step.inputs)
        for step in chosen:
            output = step.run(values, dtype)
            if after is not None:
                output = after(step, [values[name] for name in step.inputs], output)
            values[step.name] = output
            for name in step.inputs:
                uses[name] -= 1
                if not uses[name]:
                    del values[name]  # a long segment need not be held whole
        found: Array = values[self.target.name]
        return found


def segment_of(name: str, steps: Mapping[str, Step], held: Collection[str]) -> Segment:
    """Return the segment of a step.

    Parameters
    ----------
    name : str
        The step.
    steps : mapping of str to Step
        Of the whole model, in execution order.
    held : collection of str
        The names of the steps that a trace holds.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> from numpy_bert.traces.inputs import Inputs
    >>> from numpy_bert.verification.steps import steps_of
    >>> model = BertModel.from_pretrained("demo")
    >>> ids = np.array([[2, 5, 3]])
    >>> inputs = Inputs(ids, ids > 0, ids * 0, np.arange(3)[np.newaxis])
    >>> steps = steps_of(model.config, model.parameters, inputs)
    >>> segment_of("pooler", steps, {"encoder"}).inputs
    ('encoder',)
    """
    needed, inputs, left = {name}, [], [name]
    while left:
        for other in steps[left.pop()].inputs:
            if other in held:
                inputs.append(other)
            elif other not in needed:
                needed.add(other)
                left.append(other)
    inside = tuple(step for step in steps.values() if step.name in needed)
    return Segment(inside, tuple(dict.fromkeys(inputs)))
