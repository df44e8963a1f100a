"""Foreign words, lists and names, written so that a message is safe and reads well."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["listed", "must_be", "named", "quoted", "shown", "with_article", "written"]

# Longest stretch of foreign text (a tensor's name, a value) that a message repeats.
_QUOTE_LIMIT = 200
# A path of more characters is cut.
_LONGEST_PATH = 1000
# A number of more bits is not written: Python takes a time that goes by the square of its digits,
# and raises ValueError where they are more than a limit, which may be set to 640 and not below.
_MOST_BITS = 2000
_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    dict: ("{", "}"),
}


def quoted(text: object) -> str:
    r"""Return foreign text so that it cannot break, recolour or flood the message it stands in.

    Examples
    --------
    >>> quoted("encoder.layer.0")
    'encoder.layer.0'
    >>> quoted("a\x1b[31m\nb")
    "'a\\x1b[31m\\nb'"
    """
    plain = text if isinstance(text, str) else written(text)
    is_bare = bool(plain) and plain.strip() == plain
    plain = plain[: _QUOTE_LIMIT + 1]
    whole = plain if is_bare and plain.isprintable() else repr(plain)
    return whole if len(whole) <= _QUOTE_LIMIT else whole[:_QUOTE_LIMIT] + "..."


def shown(value: object) -> str:
    """Return a foreign value as Python writes it, only the beginning of a long one.

    A number of thousands of digits, which Python refuses to write, an object whose class cannot
    write it, or a list of millions costs nobody the message that it stands in.

    Examples
    --------
    >>> shown("5"), shown([5, {"a": None}])
    ("'5'", "[5, {'a': None}]")
    >>> shown(10**5000)
    'a number of about 5,001 digits'
    """
    return quoted(written(value, repr))


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return the first of some foreign names, and how many more there are.

    Examples
    --------
    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(quoted(name) for name in names[:most]) + more


def named(path: object) -> str:
    r"""Return a path, as a message begins with it: cut only where it is far too long.

    Examples
    --------
    >>> named("models/minilm"), len(named("x" * 5000))
    ('models/minilm', 203)
    >>> named("a\nb")
    "'a\\nb'"
    """
    text = str(path)
    return text if text.isprintable() and len(text) < _LONGEST_PATH else shown(text)


def must_be(name: str, wanted: str, value: object) -> str:
    """Return the sentence that says what a value must be, and what it is.

    Examples
    --------
    >>> must_be("config.json: bias", "true or false", 1)
    'config.json: bias must be true or false; got 1.'
    """
    return f"{name} must be {wanted}; got {shown(value)}."


def with_article(name: str) -> str:
    """Return an architecture's name with its article.

    Examples
    --------
    >>> with_article("XLM-RoBERTa"), with_article("RoBERTa")
    ('an XLM-RoBERTa', 'a RoBERTa')
    """
    return f"{'an' if name[0] in 'AEIOUMRX' and name[:2].isupper() else 'a'} {name}"


def written(value: object, write: Callable[[object], str] = str) -> str:
    """Return what `str`, or `repr`, has of a value, or at least the beginning; or its class.

    Examples
    --------
    >>> written("float32"), written(None)
    ('float32', 'None')
    """
    try:
        return _beginning(value, write, _QUOTE_LIMIT)
    except Exception:  # noqa: BLE001 - whatever somebody else's class raises
        return f"<{type(value).__name__}>"


def _beginning(value: Any, write: Callable[[object], str], room: int) -> str:
    """Return what fills `room` characters of a value, or all of it, in time that goes by `room`."""
    kind = type(value)
    if kind in (str, bytes, bytearray):
        return write(value[: max(room, 0) + 1])
    if kind is int and value.bit_length() > _MOST_BITS:
        return f"a number of about {int(math.log10(abs(value))) + 1:,} digits"
    if kind not in _BRACKETS or not value:
        return write(value)
    left, right = _BRACKETS[kind]
    text, between = left, ""
    for item in value:
        if len(text) > room:
            return text + "..."
        text += between + _beginning(item, repr, room - len(text))
        if kind is dict:
            text += ": " + _beginning(value[item], repr, room - len(text))
        between = ", "
    return text + ("," if kind is tuple and len(value) == 1 else "") + right
