"""What tells a function that judges a model from another one."""

from __future__ import annotations

import dis
import functools
import hashlib
import platform
from collections.abc import Callable, Iterator
from pathlib import PurePath
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

__all__ = ["identity_of_function"]

_PLAIN = (bool, int, float, complex, str, bytes, PurePath, type(None))
_STORES = ("STORE_GLOBAL", "STORE_DEREF")


def identity_of_function(function: Callable[..., Any] | None) -> str | None:
    """Return what tells a function from others: its name, and a hash of what it does.

    The hash is of its code and of what that reads from outside: numbers, texts, tuples of them,
    sets of data by their fingerprints, and functions, which count in the same way (those of other
    modules by their names). Nothing else is compared: a list or an object may change from call to
    call, and a name that the function itself assigns does. Code is that of one version of Python.

    Examples
    --------
    >>> def judge(by):
    ...     return lambda model: by
    >>> one, same, other = (identity_of_function(judge(by)) for by in (1, 1, 2))
    >>> one == same, one == other
    (True, False)
    """
    if function is None:
        return None
    digest, version = hashlib.sha256(), ".".join(platform.python_version_tuple()[:2])
    for part in _parts(function, _module(function), set()):
        digest.update(part.encode() + b"\0")
    return f"{_name(function)}, code {digest.hexdigest()[:12]} of Python {version}"


def _parts(value: Any, module: str, seen: set[int]) -> Iterator[str]:
    """Yield what is compared of a value, as text."""
    if isinstance(value, (*_PLAIN, CodeType)) or id(value) not in seen:
        seen.add(id(value))
        yield type(value).__qualname__
        if isinstance(value, _PLAIN):
            yield repr(value)
        elif isinstance(value, (tuple, frozenset)):
            found = [list(_parts(member, module, seen)) for member in value]
            yield repr(sorted(found) if isinstance(value, frozenset) else found)
        elif isinstance(value, functools.partial):
            for part in (value.func, value.args, tuple(sorted(value.keywords.items()))):
                yield from _parts(part, module, seen)
        elif isinstance(value, MethodType):
            yield from _parts(value.__func__, module, seen)
            yield from _parts(value.__self__, module, seen)
        elif isinstance(value, FunctionType):
            yield _name(value)
            if _module(value) == module:
                yield from _parts_of_function(value, module, seen)
        elif isinstance(value, (type, ModuleType)):
            yield getattr(value, "__qualname__", value.__name__)
        elif isinstance(getattr(value, "fingerprint", None), str):
            yield value.fingerprint
        elif _module(value) == module and callable(value):
            yield from _parts(vars(type(value)).get("__call__"), module, seen)


def _parts_of_function(function: FunctionType, module: str, seen: set[int]) -> Iterator[str]:
    """Yield a function's code and what it reads from outside, as text."""
    yield from _parts_of_code(function.__code__)
    read, assigned = _names(function.__code__)
    values = {name: function.__globals__[name] for name in read if name in function.__globals__}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            values[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    defaults = (function.__defaults__, tuple(sorted((function.__kwdefaults__ or {}).items())))
    yield from _parts(defaults, module, seen)
    for name in sorted(set(values) - assigned):
        yield name
        yield from _parts(values[name], module, seen)


def _parts_of_code(code: CodeType) -> Iterator[str]:
    """Yield what code does, as text: not where it stands."""
    yield code.co_code.hex()
    yield repr((code.co_names, code.co_varnames, code.co_freevars))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _parts_of_code(constant)
        else:
            yield repr(sorted(constant, key=repr) if isinstance(constant, frozenset) else constant)


def _names(code: CodeType) -> tuple[set[str], set[str]]:
    """Return the names of other scopes that code reads and assigns, the code within it included."""
    read, assigned = set[str](), set[str]()
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            read.add(str(step.argval))
        elif step.opname in _STORES:
            assigned.add(str(step.argval))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            more = _names(constant)
            read, assigned = read | more[0], assigned | more[1]
    return read, assigned


def _module(value: Any) -> str:
    return str(getattr(getattr(value, "func", value), "__module__", type(value).__module__))


def _name(value: Any) -> str:
    named = value if hasattr(value, "__qualname__") else getattr(value, "func", type(value))
    return f"{_module(named)}.{getattr(named, '__qualname__', type(named).__qualname__)}"
