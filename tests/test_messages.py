"""numpy_bert.messages: foreign text in a message."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from numpy_bert.messages import must_be, quoted, shown


class Hostile:
    """What raises where it is written."""

    def __repr__(self) -> str:
        raise RuntimeError


def nested(depth: int) -> list[object]:
    """Return a list in a list in a list."""
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("encoder.layer.0", "encoder.layer.0"),
        ("Größe, 日本", "Größe, 日本"),
        ("", "''"),
        (" a ", "' a '"),
        ("a\nb", r"'a\nb'"),
        ("\x1b[31mred", r"'\x1b[31mred'"),
        ("a\0", r"'a\x00'"),
        ("\u202eabc", r"'\u202eabc'"),
        ("\ud800", r"'\ud800'"),
        (3.5, "3.5"),
        (Path("a/b"), "a/b"),
        (OSError(2, "gone"), "[Errno 2] gone"),
        (10**5000, "a number of about 5,001 digits"),
        (Hostile(), "<Hostile>"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200 + "..."),
        ("\n" * 1_000_000, "'" + r"\n" * 99 + "\\..."),
    ],
    ids=lambda value: type(value).__name__,
)
def test_foreign_text_is_shown_safely(text: object, shown: str) -> None:  # A17
    assert quoted(text) == shown
    assert shown.isprintable()


@pytest.mark.parametrize(
    "value",
    [
        None, True, -7, 10**290, 2.5, "it's", b"a", bytearray(b"a"), [], [1, [2]], (), (1,), (1, 2),
        {}, {"a": [1], 2: ()}, set(), {3}, frozenset({3}), np.float32(1.5), np.arange(3), Path("a"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_short_value_is_shown_as_python_writes_it(value: object) -> None:
    assert shown(value) == quoted(repr(value))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (-(10**5000), "a number of about 5,001 digits"),
        ([1, 10**5000], "[1, a number of about 5,001 digits]"),
        ({"a": 10**5000}, "{'a': a number of about 5,001 digits}"),
        ([Hostile()], "<list>"),
        (np.array([10**5000]), "<ndarray>"),
        (list(range(10**6)), repr(list(range(100)))[:200] + "..."),
        (dict.fromkeys(range(10**6), 0), repr(dict.fromkeys(range(100), 0))[:200] + "..."),
        ("x" * 10**8, "'" + "x" * 199 + "..."),
        ([b"x" * 10**8] * 2, "[b'" + "x" * 197 + "..."),
        (nested(100_000), "[" * 200 + "..."),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_long_or_hostile_value_costs_no_message(value: object, written: str) -> None:
    start = time.perf_counter()
    assert must_be("k", "5", value) == f"k must be 5; got {written}."
    assert time.perf_counter() - start < 0.1
