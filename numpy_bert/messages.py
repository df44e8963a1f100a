"""Foreign words and lists of names, written so that they are safe in a message."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["listed", "must_be", "quoted"]

# Longest stretch of foreign text (a tensor's name, a value) that a message repeats.
_QUOTE_LIMIT = 200


def quoted(text: object) -> str:
    r"""Return foreign text so that it cannot break, recolour or flood the message it stands in.

    Examples
    --------
    >>> quoted("encoder.layer.0")
    'encoder.layer.0'
    >>> quoted("a\x1b[31m\nb")
    "'a\\x1b[31m\\nb'"
    """
    plain = str(text)
    shown = plain if plain.isprintable() and plain.strip() == plain and plain else repr(plain)
    return shown if len(shown) <= _QUOTE_LIMIT else shown[:_QUOTE_LIMIT] + "..."


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return the first of some foreign names, and how many more there are.

    Examples
    --------
    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(quoted(name) for name in names[:most]) + more


def must_be(name: str, wanted: str, value: object) -> str:
    """Return the sentence that says what a value must be, and what it is.

    Examples
    --------
    >>> must_be("config.json: bias", "true or false", 1)
    'config.json: bias must be true or false; got 1.'
    """
    return f"{name} must be {wanted}; got {quoted(repr(value))}."
