"""What a mistake is: another step in the place of the right one, and a name for it.

Whether a port has made it is then a question of arithmetic: run from the port's own numbers, does
the other step give the port's result?
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from numpy_bert.arrays import Array
from numpy_bert.config import BertConfig
from numpy_bert.traces.inputs import Inputs
from numpy_bert.verification.steps import Step

__all__ = ["Cause", "Mistake", "Mistakes", "Setting", "changed"]


class Cause(NamedTuple):
    """What is wrong: a name that programs can rely on, and a sentence."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Mistake:
    """A cause, and the steps that stand in the place of the right ones, by name."""

    cause: Cause
    steps: Mapping[str, Step]


class Setting(NamedTuple):
    """What a mistake may need to know besides the step: the model's other steps, and its input."""

    config: BertConfig
    steps: Mapping[str, Step]
    inputs: Inputs


# All mistakes of one kind that can be made in a step.
Mistakes = Callable[[Step, Setting], Iterator[Mistake]]


def changed(
    step: Step, cause: Cause, function: Callable[..., Array] | None = None, **arguments: Any
) -> Mistake:
    """Return the mistake of one step that has another function, or other arguments."""
    other = replace(
        step,
        function=step.function if function is None else function,
        arguments={**step.arguments, **arguments},
    )
    return Mistake(cause, {step.name: other})
