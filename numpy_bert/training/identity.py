"""What a run that goes on must have in common with the one that it goes on with."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numpy_bert.errors import InputError, TrainingError
from numpy_bert.training.arguments import TrainingArguments
from numpy_bert.training.data import TrainingData
from numpy_bert.training.metric import identity_of_function
from numpy_bert.training.weights import Trainable, fingerprint, identity_of

__all__ = ["Identity", "identify"]

# How far apart two sketches are, as a share of what they are of, that count as one: a thousand
# times what the number of threads makes of a teacher's vectors, and far below another teacher's.
_NEAR = 1e-4


class Identity(NamedTuple):
    """What a run that goes on must have in common with the one that it goes on with.

    `exact` are JSON values; `sketch` are numbers that may differ a little, as
    `numpy_bert.training.data.TaughtTexts.sketch` has them, the length of what they are of first.
    """

    exact: Mapping[str, Any]
    sketch: Mapping[str, list[float]]

    def check(self, theirs: Identity, path: Path) -> None:
        """Raise TrainingError, naming the first that differs, where the other is another run's."""
        # In an order of our own: what says most stands before what is a hash.
        for name in [*self.exact, *sorted({*theirs.exact} - {*self.exact})]:
            if theirs.exact.get(name) != self.exact.get(name):
                raise TrainingError(
                    f"{path}: is another run's checkpoint ({name} was "
                    f"{theirs.exact.get(name)!r}, now {self.exact.get(name)!r}); go on with the "
                    "same settings and data, or train into another folder."
                )
        for name in sorted({*theirs.sketch, *self.sketch}):
            if not _is_near(theirs.sketch.get(name), self.sketch.get(name)):
                raise TrainingError(
                    f"{path}: is another run's checkpoint (the {name} of its data were others); go "
                    "on with the same ones, or train into another folder."
                )


def _is_near(first: list[float] | None, second: list[float] | None) -> bool:
    """Tell whether two sketches are of about the same numbers."""
    if first is None or second is None or len(first) != len(second):
        return False
    (length, *sums), (other, *others) = first, second
    apart = math.sqrt(np.mean(np.square(np.subtract(sums, others))))
    return max(apart, abs(length - other)) <= _NEAR * max(length, other)


def identify(
    model: Trainable,
    data: TrainingData,
    arguments: TrainingArguments,
    evaluate: Callable[[Any], float] | None,
    also: Mapping[str, Any],
) -> Identity:
    """Return what tells a run from others; the arguments are those of a `Trainer`.

    Raises
    ------
    InputError
        If `also` has what JSON has no way to say, or a name that the run has itself.
    """
    own = {**asdict(arguments), **identity_of(model)}
    hashed = {
        "evaluate": identity_of_function(evaluate),
        "data": data.fingerprint,
        "model": fingerprint(model),
    }
    if taken := sorted({*own, *hashed} & {*also}):
        raise InputError(f"also: {taken[0]} is a name that the run has itself; take another.")
    exact = {**_as_json(own), **_as_json(also), **hashed}
    return Identity(exact, getattr(data, "sketch", {}))


def _as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as a checkpoint gives them back."""
    found = {}
    for name, value in values.items():
        try:
            found[name] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError) as failure:
            raise InputError(f"also: {name}: a JSON value was expected ({failure}).") from None
    return found
