"""The arguments of a tokenizer's call that concern lengths, checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from numpy_bert.errors import InputError
from numpy_bert.messages import quoted
from numpy_bert.text.truncation import STRATEGIES

__all__ = ["Lengths", "as_lengths", "check_switches"]

_PADDINGS = {
    False: None,
    "do_not_pad": None,
    True: "longest",
    "longest": "longest",
    "max_length": "max_length",
}


@dataclass(frozen=True, slots=True)
class Lengths:
    """What a call asks of lengths.

    Attributes
    ----------
    strategy : str or None
        Which text is cut; None for no cut.
    cut : int or None
        Tokens that a row may have, special ones included; None for any number.
    pad : int or None
        Tokens that a row is lengthened to; None for the length of the longest.
    pads : bool
        Whether rows are lengthened at all.
    """

    strategy: str | None
    cut: int | None
    pad: int | None
    pads: bool


def as_lengths(
    *,
    padding: bool | str,
    truncation: bool | str | None,
    max_length: int | None,
    model_max_length: int | None,
) -> Lengths:
    """Check `padding`, `truncation` and `max_length` and return what they mean together.

    Raises
    ------
    InputError
        If one of them has no meaning, or `max_length` no use.
    """
    strategy = _strategy(truncation)
    pads = _padding(padding)
    used = strategy is not None or pads == "max_length"
    length = model_max_length if max_length is None else _length(max_length)
    if max_length is not None and not used:
        raise InputError("max_length has no effect without truncation=True; give both.")
    if used and length is None:
        name = "truncation" if strategy is not None else "padding='max_length'"
        raise InputError(f"{name}: give max_length; the model states none.")
    return Lengths(
        strategy=strategy,
        cut=None if strategy is None else length,
        pad=length if pads == "max_length" else None,
        pads=pads is not None,
    )


def check_switches(**switches: object) -> None:
    """Raise InputError unless each argument is True or False: any text, "no" too, would be true.

    Examples
    --------
    >>> check_switches(skip_special_tokens="no")
    Traceback (most recent call last):
    numpy_bert.errors.InputError: skip_special_tokens='no': there are True and False.
    """
    for name, value in switches.items():
        if not isinstance(value, (bool, np.bool_)):
            raise InputError(f"{name}={quoted(repr(value))}: there are True and False.")


def _length(max_length: int) -> int:
    """Return a number of tokens."""
    is_number = isinstance(max_length, (int, np.integer)) and not isinstance(max_length, bool)
    if not is_number or max_length < 0:
        raise InputError(f"max_length={max_length!r}: a number of tokens was expected.")
    return int(max_length)


def _strategy(truncation: bool | str | None) -> str | None:
    """Return the truncation strategy that an argument means, None for none."""
    if truncation is True:
        return "longest_first"
    if truncation is None or truncation is False:
        return None
    if isinstance(truncation, str) and truncation == "do_not_truncate":
        return None
    if not isinstance(truncation, str) or truncation not in STRATEGIES:
        raise InputError(
            f"truncation={truncation!r}: there are True, False, {', '.join(map(repr, STRATEGIES))}."
        )
    return truncation


def _padding(padding: bool | str) -> str | None:
    """Return "longest" or "max_length", None for no padding."""
    if not isinstance(padding, (bool, str)) or padding not in _PADDINGS:
        raise InputError(f"padding={padding!r}: there are True, False, 'longest', 'max_length'.")
    return _PADDINGS[padding]
