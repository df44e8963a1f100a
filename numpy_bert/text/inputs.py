"""What a tokenizer takes: texts, pairs and lists of them, checked before the Rust library."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from numpy_bert.errors import InputError

__all__ = ["Pair", "as_items", "as_pairs", "as_texts", "check_text", "dropped"]

# Some seconds of work in the Rust library; a larger text is somebody's mistake.
_MOST_CHARACTERS = 5_000_000

Pair: TypeAlias = tuple[str, str]


def as_items(text: object, text_pair: object) -> tuple[bool, list[str | Pair]]:
    """Return whether one text was given, and the checked texts or pairs."""
    if isinstance(text, str) or not isinstance(text, (list, tuple)):
        first = check_text(text, "text")
        if text_pair is None:
            return True, [first]
        return True, [(first, check_text(text_pair, "text_pair"))]
    if text_pair is None:
        items = [_item(item, f"text[{row}]") for row, item in enumerate(text)]
        if len({isinstance(item, str) for item in items}) > 1:
            raise InputError("text: some items are texts, some pairs; give all of one kind.")
        return False, items
    if not isinstance(text_pair, (list, tuple)) or len(text_pair) != len(text):
        raise InputError(f"text_pair: a list of {len(text)} texts was expected, as text has.")
    return False, [
        (check_text(a, f"text[{row}]"), check_text(b, f"text_pair[{row}]"))
        for row, (a, b) in enumerate(zip(text, text_pair, strict=True))
    ]


def as_texts(text: object) -> tuple[bool, list[str]]:
    """Return whether one text was given, and the checked texts, none of which may be a pair."""
    single, items = as_items(text, None)
    for row, item in enumerate(items):
        if not isinstance(item, str):
            raise InputError(f"text[{row}]: is a pair of texts; one text was expected.")
    return single, [str(item) for item in items]


def as_pairs(first: object, second: object, names: Pair) -> tuple[bool, list[Pair]]:
    """Return whether one pair was given, and the checked pairs; `names` are the arguments'."""
    if second is None:
        raise InputError(f"{names[1]}: is None; a text, or one for each {names[0]}, was expected.")
    try:
        single, items = as_items(first, second)
    except InputError as failure:
        message = str(failure)
        for own, name in zip(("text_pair", "text"), reversed(names), strict=True):
            if message.startswith(own):
                raise InputError(name + message.removeprefix(own)) from None
        raise
    return single, [(item[0], item[1]) for item in items]


def _item(item: object, where: str) -> str | Pair:
    """Check one text or pair of a batch."""
    if not isinstance(item, (list, tuple)):
        return check_text(item, where)
    if len(item) != 2:
        raise InputError(f"{where}: {len(item)} texts; a text or a pair of texts was expected.")
    return check_text(item[0], f"{where}[0]"), check_text(item[1], f"{where}[1]")


def check_text(text: object, where: str) -> str:
    """Return a text that the Rust library can take; raise InputError otherwise."""
    if not isinstance(text, str):
        raise InputError(f"{where}: is {type(text).__name__}; a str was expected.")
    if len(text) > _MOST_CHARACTERS:
        raise InputError(
            f"{where}: has {len(text):,} characters; at most {_MOST_CHARACTERS:,} are taken. "
            "Split it: a BERT reads some hundred tokens."
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as failure:
        raise InputError(
            f"{where}: character {failure.start} is U+{ord(text[failure.start]):04X}, half of a "
            "surrogate pair; the text was decoded wrongly."
        ) from None
    return text


def dropped(text: str, normalize: Callable[[str], str]) -> list[str]:
    """Return the characters of a text that vanish when it is normalized.

    Printed ones are not looked at: of those only marks can go, when accents are stripped.
    """
    without = normalize("aa")
    gone = {
        character
        for character in set(text)
        if (character == "\ufffd" or not character.isprintable())
        and normalize(f"a{character}a") == without
    }
    return [character for character in text if character in gone]
