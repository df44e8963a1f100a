"""The attributes of a tokenizer: each can be set and has effect, or cannot be set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np

from numpy_bert.errors import InputError

__all__ = ["LARGEST_LENGTH", "Attribute", "as_limit", "as_side", "stated_limit"]

T = TypeVar("T")
# transformers writes 1e30 for "no limit".
LARGEST_LENGTH = 1_000_000_000


class Attribute(Generic[T]):
    """An attribute that is checked when it is set; without a check, it cannot be set.

    Parameters
    ----------
    check : callable, optional
        Takes the attribute's name and a value, and returns what is kept of it.

    Examples
    --------
    >>> class Tokenizer:
    ...     side = Attribute(as_side)
    >>> tokenizer = Tokenizer()
    >>> tokenizer.side = "left"
    >>> tokenizer.side
    'left'
    >>> tokenizer.side = "up"
    Traceback (most recent call last):
    numpy_bert.errors.InputError: side = 'up'; 'left' or 'right' was expected.
    """

    def __init__(self, check: Callable[[str, object], T] | None = None) -> None:
        self._check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> T:
        if instance is None:
            return self  # type: ignore[return-value]  # on the class, as a property does
        value: T = instance.__dict__[f"_{self._name}"]
        return value

    def __set__(self, instance: object, value: Any) -> None:
        if self._check is None:
            raise AttributeError(
                f"{self._name} cannot be set: it is what the tokenizer's files say. Change "
                "tokenizer_config.json or tokenizer.json and load it again."
            )
        instance.__dict__[f"_{self._name}"] = self._check(self._name, value)


def as_side(name: str, value: object) -> str:
    """Return ``"left"`` or ``"right"``; raise InputError for anything else."""
    if not isinstance(value, str) or value not in ("left", "right"):
        raise InputError(f"{name} = {value!r}; 'left' or 'right' was expected.")
    return value


def as_limit(name: str, value: object) -> int | None:
    """Return a number of tokens, None for no limit, which transformers writes as 1e30."""
    if value is None:
        return None
    is_number = isinstance(value, (int, float, np.integer)) and not isinstance(value, bool)
    if is_number and value >= LARGEST_LENGTH:  # type: ignore[operator]
        return None
    if not is_number or isinstance(value, float) or value < 1:  # type: ignore[operator]
        raise InputError(f"{name} = {value!r}; a number of tokens, or None, was expected.")
    return int(value)  # type: ignore[call-overload,no-any-return]


def stated_limit(value: object) -> int | None:
    """Return the number of tokens that a file states as a limit, None where it states none.

    transformers takes anything, and fails when it is used, or cuts nothing. Here what can only mean
    no limit does: null, a number that no model reaches, and one below 1, as the -1 that some write.
    A whole number may be a float or text.

    Raises
    ------
    ValueError
        If it is no such number.

    Examples
    --------
    >>> stated_limit(512), stated_limit("512"), stated_limit(-1), stated_limit(1e30)
    (512, 512, None, None)
    """
    number = float(value) if isinstance(value, str) else value
    if number is None:
        return None
    if not isinstance(number, (int, float)) or isinstance(number, bool) or number != number:
        raise ValueError(value)
    if not 1 <= number < LARGEST_LENGTH:
        return None
    if number != int(number):
        raise ValueError(value)
    return int(number)
