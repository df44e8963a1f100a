"""padding, truncation and max_length together (row E10)."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from numpy_bert.errors import InputError
from numpy_bert.text.arguments import Lengths, as_lengths


def lengths(model_max_length: int | None = 512, **changes: Any) -> Lengths:
    arguments: dict[str, Any] = {"padding": False, "truncation": False, "max_length": None}
    return as_lengths(**arguments | changes, model_max_length=model_max_length)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, (None, None, None, False)),
        ({"truncation": "do_not_truncate", "padding": "do_not_pad"}, (None, None, None, False)),
        ({"truncation": None}, (None, None, None, False)),
        ({"truncation": True}, ("longest_first", 512, None, False)),
        ({"truncation": "only_first", "max_length": 9}, ("only_first", 9, None, False)),
        ({"truncation": "only_second"}, ("only_second", 512, None, False)),
        ({"truncation": True, "max_length": 0}, ("longest_first", 0, None, False)),
        ({"truncation": True, "max_length": 600}, ("longest_first", 600, None, False)),
        ({"truncation": True, "max_length": np.int32(9)}, ("longest_first", 9, None, False)),
        ({"padding": True}, (None, None, None, True)),
        ({"padding": "longest"}, (None, None, None, True)),
        ({"padding": "max_length"}, (None, None, 512, True)),
        ({"padding": "max_length", "max_length": 9}, (None, None, 9, True)),
        ({"padding": True, "truncation": True, "max_length": 9}, ("longest_first", 9, None, True)),
        (
            {"padding": "max_length", "truncation": True, "max_length": 9},
            ("longest_first", 9, 9, True),
        ),
    ],
)
def test_what_arguments_mean(
    arguments: dict[str, Any], expected: tuple[str | None, int | None, int | None, bool]
) -> None:
    found = lengths(**arguments)
    assert (found.strategy, found.cut, found.pad, found.pads) == expected
    assert found.cut is None or type(found.cut) is int


def test_nothing_need_be_stated_where_nothing_is_cut() -> None:
    assert lengths(None) == Lengths(strategy=None, cut=None, pad=None, pads=False)
    assert lengths(None, padding=True).pads
    assert lengths(None, truncation=True, max_length=9).cut == 9


def refused(name: str, wanted: str, *values: object) -> list[tuple[dict[str, object], str]]:
    """Return each value of an argument, in a call where it counts, with its refusal."""
    call: dict[str, object] = {"truncation": True} if name == "max_length" else {}
    return [(call | {name: value}, f"{name}={value!r}: {wanted}") for value in values]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_length": 9}, "max_length has no effect without truncation=True; give both."),
        ({"max_length": 9, "padding": True}, "max_length has no effect without truncation=True"),
        *refused("max_length", "a number of tokens", -1, True, 9.0, "9", float("nan")),
        *refused("truncation", "there are True, False, 'longest_fi", "longest", 1, 0, "only"),
        *refused("padding", "there are True, False, 'longest', 'max", "max", 1, 0, None, [], ""),
    ],
    ids=repr,
)
def test_e10_what_has_no_meaning_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(words)}"):
        lengths(**arguments)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [({"truncation": True}, "truncation"), ({"padding": "max_length"}, "padding='max_length'")],
)
def test_a_length_that_nobody_states_is_asked_for(arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(InputError, match=f"^{name}: give max_length; the model states none"):
        lengths(None, **arguments)
