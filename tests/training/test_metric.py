"""What tells one function that judges from another, and what makes no other of it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from numpy_bert import BertTokenizer
from numpy_bert.training import LabelledTexts, accuracy
from numpy_bert.training.metric import identity_of_function

FACTOR = 1.0


def of(*readings: Any, **more: Any) -> Any:
    """Return a judge that reads values from outside, and writes to others."""
    calls, history = 0, list[Any]()

    def judge(model: Any) -> Any:
        nonlocal calls
        calls += 1
        history.append(model)
        return readings, more.get("at"), calls, FACTOR

    return judge


def of_one(value: Any) -> Any:
    return lambda model: (model, value)


def helped(model: Any) -> Any:
    return helper(model)


def helper(model: Any) -> Any:
    return model * FACTOR


def test_what_a_function_reads_makes_another_of_it() -> None:
    tokenizer = BertTokenizer.from_pretrained("demo")
    data = [LabelledTexts(["a", "b"], labels, tokenizer) for labels in ([0, 1], [0, 1], [1, 1])]
    assert identity_of_function(of_one(data[0])) == identity_of_function(of_one(data[1]))
    values: tuple[Any, ...] = (
        1,
        1.0,
        True,
        None,
        "1",
        b"1",
        (1, 2),
        (1, "2"),
        frozenset("ab"),
        Path("a"),
        data[0],
    )
    values += (data[2], accuracy, helper, len, int, functools.partial(helper, 1))
    values += (functools.partial(helper, 2), functools.partial(helper, model=2), of_one(1))
    found = {identity_of_function(of_one(value)) for value in values}
    assert len(found) == len(values)


def test_what_a_call_changes_makes_no_other_of_it() -> None:
    judge = of(1, at=2)
    before = identity_of_function(judge)
    judge("a")
    assert identity_of_function(judge) == before == identity_of_function(of(1, at=3))
    assert identity_of_function(of(1)) != identity_of_function(of(2))
    assert before is not None
    assert before.startswith("tests.training.test_metric.of.<locals>.judge, code ")


def test_names_of_the_module_count(monkeypatch: Any) -> None:
    before = [identity_of_function(function) for function in (helper, helped)]
    monkeypatch.setitem(globals(), "FACTOR", 2.0)
    assert identity_of_function(helper) != before[0]
    assert identity_of_function(helped) != before[1]  # through the helper
    monkeypatch.undo()
    assert [identity_of_function(function) for function in (helper, helped)] == before


class Judge:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, model: Any) -> Any:
        self.calls += 1
        return model

    def other(self, model: Any) -> Any:
        return -model


def test_objects_and_methods() -> None:
    one, other = Judge(), Judge()
    other(1)
    assert identity_of_function(one) == identity_of_function(other)
    assert identity_of_function(one.other) == identity_of_function(other.other)
    assert identity_of_function(one) != identity_of_function(one.other)
    assert identity_of_function(None) is None
    assert str(identity_of_function(functools.partial(accuracy, batch_size=2))).startswith(
        "numpy_bert.training.evaluation.accuracy, code "
    )
