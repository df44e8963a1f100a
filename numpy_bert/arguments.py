"""What an argument may be, checked where it comes in: a whole number, a switch."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np

from numpy_bert.errors import InputError
from numpy_bert.messages import must_be

__all__ = ["as_count", "check_switches", "is_number"]


def as_count(name: str, value: object, *, least: int = 1, most: int | None = None) -> int:
    """Return a whole number, Python's or NumPy's, from `least` and up to `most`.

    Raises
    ------
    InputError
        If it is anything else, as True or 2.0; `name` is what the message calls it.

    Examples
    --------
    >>> as_count("k", np.int64(3))
    3
    >>> as_count("k", 0, most=5)
    Traceback (most recent call last):
    numpy_bert.errors.InputError: k must be a whole number from 1 to 5; got 0.
    """
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        number = int(value)
        if number >= least and (most is None or number <= most):
            return number
    wanted = f"a whole number from {least}" + ("" if most is None else f" to {most}")
    raise InputError(must_be(name, wanted, value))


def is_number(value: object) -> bool:
    """Tell whether a value is a real number, no bool, that is finite as a float.

    Examples
    --------
    >>> is_number(3), is_number(np.float32(0.5)), is_number(True), is_number(10**5000)
    (True, True, False, False)
    """
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def check_switches(**switches: object) -> None:
    """Raise InputError unless each argument is True or False: any text, "no" too, would be true.

    Examples
    --------
    >>> check_switches(skip_special_tokens="no")
    Traceback (most recent call last):
    numpy_bert.errors.InputError: skip_special_tokens must be True or False; got 'no'.
    """
    for name, value in switches.items():
        if not isinstance(value, (bool, np.bool_)):
            raise InputError(must_be(name, "True or False", value))
