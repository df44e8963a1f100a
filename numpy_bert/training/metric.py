"""What tells a function that judges a model from another one."""

from __future__ import annotations

import dis
import functools
import hashlib
import inspect
import platform
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import CodeType, FunctionType, MethodType
from typing import Any

__all__ = ["identity_of_function"]


def identity_of_function(function: Callable[..., Any] | None) -> str | None:
    """Return what tells a function from others: its name, and a hash of what is compared.

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
    """Yield the name of a function, and then what else is compared of it, as text."""
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
    """Yield what code does, the code within it included: not where it stands."""
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
