"""What tells a run, its model and what judges it from others: only the same run can go on."""

from __future__ import annotations

import dis
import functools
import hashlib
import inspect
import json
import math
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any, NamedTuple

import numpy as np

from numpy_bert.errors import InputError, TrainingError
from numpy_bert.identity import HasParameters, fingerprint, first_difference, identity_of
from numpy_bert.training.data import TrainingData
from numpy_bert.training.training_args import TrainingArguments

__all__ = ["Identity", "identify", "identity_of_function"]

# Two sketches count as equal if they differ by at most this share of the length of the array that
# was sketched. The number of threads changes a teacher's vectors by a thousandth of that, and
# another teacher's vectors differ by far more.
_NEAR = 1e-4


class Identity(NamedTuple):
    """What two runs must have in common so that one can go on from the other's checkpoint.

    `exact` holds JSON values. `sketch` holds numbers that may differ a little, as
    `numpy_bert.training.data.TaughtTexts.sketch` returns them; the first of each is the length of
    the array that was sketched.
    """

    exact: Mapping[str, Any]
    sketch: Mapping[str, list[float]]

    def check(self, theirs: Identity, path: Path, *, is_judged: bool) -> None:
        """Raise TrainingError, naming the first difference, unless a checkpoint is of this run.

        How a run is evaluated counts from its first evaluation on.
        """
        passed = set() if is_judged else {"evaluate"}
        was, now = (
            {name: value for name, value in each.items() if name not in passed}
            for each in (theirs.exact, self.exact)
        )
        if found := first_difference(was, now):
            raise TrainingError(
                f"{path}: is another run's checkpoint ({found[0]} was {found[1]!r}, now "
                f"{found[2]!r}); go on with the same settings and data, or train into another "
                "folder."
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
    model: HasParameters,
    data: TrainingData,
    arguments: TrainingArguments,
    evaluate: Callable[[Any], float] | None,
    also: Mapping[str, Any],
) -> Identity:
    """Return what tells a run from others, given the arguments of its `Trainer`.

    Raises
    ------
    InputError
        If a value of `also` is none of JSON's, or a name of it is one that the run has itself.
    """
    own = {**asdict(arguments), **identity_of(model)}
    del own["output_dir"]  # a run's folder may be moved
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
    """Return values as they are when they have been read from a checkpoint."""
    found = {}
    for name, value in values.items():
        try:
            found[name] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError) as failure:
            raise InputError(f"also: {name} must be a JSON value ({failure}).") from None
    return found


def identity_of_function(function: Callable[..., Any] | None) -> str | None:
    """Return a text that tells a function from others: its name, and a hash of what is compared.

    What is compared is the function's qualified name, its own code without docstrings, and the
    texts, booleans and data sets (by their `fingerprint`) that it closes over or has as defaults
    or as arguments of a `functools.partial`. Nothing else is: numbers and objects may be counters
    and histories, which change from call to call, and what stands in a module is not looked at.

    Examples
    --------
    >>> def judge(by):
    ...     return lambda model: by
    >>> one, same, other = (identity_of_function(judge(by)) for by in ("f1", "f1", "accuracy"))
    >>> one == same, one == other
    (True, False)
    """
    if function is None:
        return None
    name, *parts = _parts(function)
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
    version = ".".join(platform.python_version_tuple()[:2])
    return f"{name}, code {digest[:12]} of Python {version}"


def _parts(function: Any) -> Iterator[str]:
    """Yield the name of a function, then the texts that are compared."""
    if isinstance(function, functools.partial):
        yield from _parts(function.func)
        given = {str(place): value for place, value in enumerate(function.args)}
        yield from _values(given | function.keywords)
    elif isinstance(function, MethodType):
        owner = function.__self__
        yield _name(owner if isinstance(owner, type) else type(owner), f".{function.__name__}")
        yield from _parts(function.__func__)
    elif isinstance(function, FunctionType):
        yield _name(function)
        yield from _code(function.__code__)
        signature = inspect.signature(function, follow_wrapped=False).parameters.values()
        yield from _values({parameter.name: parameter.default for parameter in signature})
        yield from _values(_closed_over(function))
    elif isinstance(call := inspect.getattr_static(type(function), "__call__", None), FunctionType):
        yield _name(type(function))
        yield from _parts(call)
    else:  # one that is written in C, whose name is all that there is
        yield _name(function if hasattr(function, "__qualname__") else type(function))


def _code(code: CodeType) -> Iterator[str]:
    """Yield what code does, wherever it stands, and what the code within it does."""
    for step in dis.get_instructions(code):
        value = step.argval
        if isinstance(value, CodeType):
            yield from _code(value)
        else:
            members = sorted(value, key=repr) if isinstance(value, frozenset) else value
            yield f"{step.opname} {members!r}"


def _closed_over(function: FunctionType) -> dict[str, Any]:
    """Return what a function closes over, without what it assigns itself."""
    steps = dis.get_instructions(function.__code__)
    assigned = {step.argval for step in steps if step.opname == "STORE_DEREF"}
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # the cell of a name that is not assigned yet
            found[name] = cell.cell_contents
    return {name: value for name, value in found.items() if name not in assigned}


def _values(given: dict[str, Any]) -> Iterator[str]:
    """Yield the texts, the booleans and the data sets among some values, with their names."""
    for name, value in sorted(given.items()):
        if isinstance(value, (str, bool)):
            yield f"{name}={value!r}"
        elif inspect.getattr_static(value, "fingerprint", None) is not None:
            yield f"{name}={value.fingerprint if isinstance(value.fingerprint, str) else ''}"


def _name(value: Any, more: str = "") -> str:
    return f"{value.__module__}.{value.__qualname__}{more}"
