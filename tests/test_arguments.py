"""numpy_bert.arguments: whole numbers and switches, and what is neither."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from numpy_bert import InputError
from numpy_bert.arguments import as_count, check_switches, is_number


@pytest.mark.parametrize("value", [0, -1, True, np.True_, 1.0, np.float64(2.0), "3", None, [1]])
def test_what_is_no_count(value: Any) -> None:
    words = f"top_k must be a whole number from 1; got {value!r}."
    with pytest.raises(InputError, match=f"^{re.escape(words)}$"):
        as_count("top_k", value)


def test_the_bounds_of_a_count() -> None:
    assert [as_count("k", value, least=0, most=2) for value in (0, np.uint8(2))] == [0, 2]
    assert type(as_count("k", np.int64(3))) is int
    for value in (-1, 3):
        with pytest.raises(InputError, match=r"^k must be a whole number from 0 to 2; got "):
            as_count("k", value, least=0, most=2)


def test_switches() -> None:
    check_switches(one=True, two=np.False_)
    for value in (0, 1, "yes", None):
        with pytest.raises(InputError, match=rf"^two must be True or False; got {value!r}\.$"):
            check_switches(one=False, two=value)


@pytest.mark.parametrize("value", [0, -3, 2.5, np.float32(2.5), np.int64(7), 10**300])
def test_numbers(value: object) -> None:
    assert is_number(value)


@pytest.mark.parametrize(
    "value",
    [
        10**5000,
        -(10**400),
        float("inf"),
        float("nan"),
        np.float32("-inf"),
        "3",
        None,
        [3],
        3j,
        True,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_finite_number(value: object) -> None:
    assert not is_number(value)
