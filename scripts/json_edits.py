"""Good JSON with some of its members replaced, dropped, doubled or renamed, for fuzz_*.py."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["ODD", "changed"]

# What stands where something else is meant.
ODD: Sequence[Any] = (
    *(None, True, False, -1, 0, 1, 2, 7, 0.5, 1.0, -0.0, 1e-12, 1e308, float("nan"), float("inf")),
    *(2**24, 2**31, 2**62, 2**63, 2**64, 10**30, 10**4299, "", " ", "x", "1", "null", "None"),
    *("\0", "\x1b[31m", "\ud800", "\u202e", "\u00e9", "n" * 3000, "../x", "/", ".", "a/b"),
    *([], {}, [[]], [None], {"": None}, [0], [1, 2], ["x"], {"x": 1}, {"0": "x"}),
)
# What begins a key that is to stand beside another of that name.
_DOUBLE = "@@"


def changed(
    good: str,
    rng: random.Random,
    odd: Sequence[Any] = ODD,
    names: Sequence[str] = ("x", ""),
    *,
    most: int = 3,
) -> bytes:
    """Return a JSON text with one change or several.

    Parameters
    ----------
    good : str
        The text to start from.
    rng : random.Random
        What decides the changes.
    odd : sequence
        Values that may take the place of others, or stand beside them.
    names : sequence of str
        Names that members may get.
    most : int
        How many changes there may be.

    Examples
    --------
    >>> changed('{"bias": true}', random.Random(3))
    b'{"bias": true, "": "a/b"}'
    """
    value = json.loads(good)
    for _ in range(rng.randint(1, most)):
        new = copy.deepcopy(rng.choice(odd))
        _change(rng.choice(list(_boxes(value))), rng, new, rng.choice(names))
    return json.dumps(value).replace(f'"{_DOUBLE}', '"').encode()


def _boxes(value: Any) -> Iterator[Any]:
    """Yield all objects and lists of a value."""
    if isinstance(value, (dict, list)):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _boxes(inner)


def _change(box: Any, rng: random.Random, new: Any, name: str) -> None:
    """Make one change in an object or a list."""
    kind = rng.choice(("replace", "replace", "near", "drop", "add", "rename", "double"))
    if kind == "add" or not box:
        box.update({name: new}) if isinstance(box, dict) else box.append(new)
        return
    place = rng.choice(list(box)) if isinstance(box, dict) else rng.randrange(len(box))
    if kind == "near" and type(box[place]) in (int, float):
        box[place] += rng.choice((-1, 1))
    elif kind == "near" and type(box[place]) is bool:
        box[place] = not box[place]
    elif kind == "drop":
        del box[place]
    elif kind == "rename" and isinstance(box, dict):
        box[name] = box.pop(place)
    elif kind == "double" and isinstance(box, dict):
        box[f"{_DOUBLE}{place}"] = rng.choice((box[place], new))
    else:
        box[place] = new
