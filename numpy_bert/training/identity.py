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

# Two sketches count as one if they differ by at most this share of the length of what they are
# sketches of. The number of threads changes a teacher's vectors by a thousandth of that, and
# another teacher's vectors differ by far more.
_NEAR = 1e-4


class Identity(NamedTuple):
    """What a run that goes on must have in common with the one that it goes on with.

    `exact` holds JSON values. `sketch` holds numbers that may differ a little, as
    `numpy_bert.training.data.TaughtTexts.sketch` returns them; the first of each is the length of
    the array that was sketched.
    """

    exact: Mapping[str, Any]
    sketch: Mapping[str, list[float]]

    def check(self, theirs: Identity, path: Path, *, is_judged: bool) -> None:
        """Raise TrainingError, naming the first that differs, where the other is another run's.

        How a run is evaluated counts from its first evaluation on.
        """
        # In an order of our own: what says most stands before what is a hash.
        for name in [*self.exact, *sorted({*theirs.exact} - {*self.exact})]:
            if name == "evaluate" and not is_judged:
                continue
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
        "data": data.fingerprint,
        "model": fingerprint(model),
        "evaluate": identity_of_function(evaluate),
    }
    if taken := sorted({*own, *hashed} & {*also}):
        raise InputError(f"also: {taken[0]} is a name that the run has itself; take another.")
    exact = {**_as_json(also), **_as_json(own), **hashed}
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
