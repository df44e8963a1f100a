"""What a mistake is, and the functions that several are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.config import BertConfig
from numpy_bert.reprs import short_repr
from numpy_bert.traces.trace_inputs import TraceInputs
from numpy_bert.verification.steps import Step

__all__ = [
    "Cause",
    "Mistake",
    "Setting",
    "changed",
    "normalized",
    "of_length_1",
    "rarely",
    "sigmoid",
]


class Cause(NamedTuple):
    """What is wrong: a name that programs can rely on, and a sentence."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Mistake:
    """A cause, and the steps that stand in the place of the right ones, by name.

    What `is_rare` is not counted among the mistakes that a trace could not have shown.
    """

    __repr__ = short_repr

    cause: Cause
    steps: Mapping[str, Step]
    is_rare: bool = False


class Setting(NamedTuple):
    """What a mistake may need to know besides the step: the model's other steps, and its input."""

    config: BertConfig
    steps: Mapping[str, Step]
    inputs: TraceInputs

    def __repr__(self) -> str:
        return short_repr(self)


def rarely(mistakes: Iterable[Mistake]) -> Iterator[Mistake]:
    """Yield mistakes that few ports make."""
    return (replace(mistake, is_rare=True) for mistake in mistakes)


def changed(
    step: Step,
    name: str,
    text: str,
    function: Callable[..., Array] | None = None,
    /,
    **arguments: Any,
) -> Mistake:
    """Return the mistake of one step that has another function, or other arguments."""
    other = replace(
        step,
        function=step.function if function is None else function,
        arguments={**step.arguments, **arguments},
    )
    return Mistake(Cause(name, text), {step.name: other})


def normalized(x: Array, eps: float, power: float = 0.5) -> Array:
    """Take the mean of each row away, and divide by the variance to a power."""
    centred = x - x.mean(axis=-1, keepdims=True)
    found: Array = centred / (x.var(axis=-1, keepdims=True) + eps) ** power
    return found


def of_length_1(x: Array) -> Array:
    """Divide each row by its length."""
    found: Array = x / np.sqrt(np.square(x).sum(axis=-1, keepdims=True))
    return found


def sigmoid(x: Array) -> Array:
    """Return ``1 / (1 + exp(-x))``."""
    found: Array = 1.0 / (1.0 + np.exp(-x))
    return found
