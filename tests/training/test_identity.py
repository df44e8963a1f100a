"""What tells one function that judges from another, and what makes no other of it."""

from __future__ import annotations

import functools
import textwrap
from typing import Any

import pytest

from numpy_bert import BertTokenizer
from numpy_bert.training import LabelledTexts, accuracy
from numpy_bert.training.identity import identity_of_function


def made(source: str, name: str = "judge", **given: Any) -> str | None:
    """Return the identity of what a cell of a notebook defines."""
    scope: dict[str, Any] = {"__name__": "__main__", "functools": functools, **given}
    exec(textwrap.dedent(source), scope)
    return identity_of_function(scope[name])


def data_of(labels: list[int]) -> LabelledTexts:
    return LabelledTexts(["a", "b"], labels, BertTokenizer.from_pretrained("demo"))


ONE, SAME, OTHER = data_of([0, 1]), data_of([0, 1]), data_of([1, 1])
CLOSES = """
def make(value):
    return lambda model: value
judge = make(given)
"""
DEFAULT = "def judge(model, *, value=given): return value"
PARTIAL = """
def score(model, value): return value
judge = functools.partial(score, value=given)
"""
PLACED = PARTIAL.replace("value=given", "given")


@pytest.mark.parametrize("source", [CLOSES, DEFAULT, PARTIAL, PLACED])
def test_texts_booleans_and_data_are_compared(source: str) -> None:
    values = ("f1", "accuracy", True, False, ONE, OTHER)
    assert len({made(source, given=value) for value in values}) == len(values)
    assert made(source, given=ONE) == made(source, given=SAME)


@pytest.mark.parametrize("source", [CLOSES, DEFAULT, PARTIAL, PLACED])
def test_what_a_call_may_change_is_not_compared(source: str) -> None:
    values = (1, 2.0, float("nan"), None, (1, 2), [1], {"a": 1}, object(), accuracy, len)
    assert len({made(source, given=value) for value in values}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def judge(m): return f(m)", "def judge(m): return -f(m)"),
        ("def judge(m): return f(m) > 1", "def judge(m): return f(m) > 2"),
        ("def judge(m): return m.f", "def judge(m): return m.g"),
        ("judge = lambda m: [x for x in m]", "judge = lambda m: [-x for x in m]"),
        ("def judge(m): return m in {'a', 'b'}", "def judge(m): return m in {'a', 'c'}"),
        (
            "class J:\n def __call__(self, m): return m\njudge = J()",
            "class J:\n def __call__(self, m): return -m\njudge = J()",
        ),
        (
            "class B:\n def __call__(self, m): return m\nclass J(B): pass\njudge = J()",
            "class B:\n def __call__(self, m): return -m\nclass J(B): pass\njudge = J()",
        ),
        (
            "class J:\n def f(self, m): return m\njudge = J().f",
            "class J:\n def f(self, m): return -m\njudge = J().f",
        ),
        (
            "class J:\n def f(self, m): return m\nclass K(J): pass\njudge = J().f",
            "class J:\n def f(self, m): return m\nclass K(J): pass\njudge = K().f",
        ),
    ],
)
def test_its_own_code_is_compared(one: str, other: str) -> None:
    assert made(one) == made(one)
    assert made(one) != made(other)


@pytest.mark.parametrize(
    "other",
    [
        "def judge(m):\n 'doc'\n return None if m else f(m)",
        "def judge(m: object) -> float:\n # a comment\n\n return None if m else f(m)",
        "n = 3\ndef f(m): return n\ndef judge(m):\n return None if m else f(m)",
    ],
)
def test_words_around_it_are_not_compared(other: str) -> None:
    assert made(other) == made("def judge(m):\n return None if m else f(m)")


COUNTING = """
def make():
    first, calls, last = True, 0, None
    def judge(model):
        nonlocal first, calls, last, later
        first, calls, last, later = False, calls + 1, "a text", "another"
        return calls
    later = 1
    del later
    return judge
judge = make()
"""


def test_what_it_changes_itself_is_not_compared() -> None:
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(COUNTING, scope)
    before = identity_of_function(scope["judge"])
    scope["judge"](None)
    assert identity_of_function(scope["judge"]) == before


def test_an_identity_is_the_same_wherever_its_values_lie() -> None:
    source = """
    def f(m, *, a=(1,), b="b"): return m
    def g(m, *, c=(2,), d="d"): return m
    def judge(m, *, e="e"): return f(m) + g(m)
    """
    held, found = list[Any](), set[str | None]()
    for number in range(50):
        held.append((number,))
        del held[:: 1 + number % 3]
        found.add(made(source))
    assert len(found) == 1


def test_names_say_what_it_is() -> None:
    assert identity_of_function(None) is None
    assert str(identity_of_function(functools.partial(accuracy, batch_size=2))).startswith(
        "numpy_bert.training.evaluation.accuracy, code "
    )
    assert str(identity_of_function(len)).startswith("builtins.len, code ")
    assert str(made("class J:\n def f(self, m): pass\njudge = J().f")).startswith("__main__.J.f, ")
    assert identity_of_function(len) != identity_of_function(abs)
