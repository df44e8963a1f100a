"""What the pictures say of a step leads to its function, and is said of every step."""

from __future__ import annotations

import importlib

import pytest

from numpy_bert import BertModel
from numpy_bert.config import BertConfig
from numpy_bert.explain.lessons import EMBEDDING_STEPS, LESSONS, WALK_STEPS, lesson_of
from numpy_bert.ops.activation import ACTIVATIONS
from numpy_bert.traces.names import axes_of, step_names
from tests.support.checkpoints import TINY


def the_function(path: str) -> object:
    home, _, name = path.rpartition(".")
    return getattr(importlib.import_module(home), name)


@pytest.mark.parametrize("key", LESSONS)
def test_the_function_is_there(key: str) -> None:
    lesson = lesson_of(key, BertModel.from_pretrained("demo").config)
    assert callable(the_function(lesson.function))
    assert lesson.sentence.endswith(".")
    assert lesson.formula


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_the_activation_is_the_models(act: str) -> None:
    lesson = lesson_of("intermediate", BertConfig.from_dict({**TINY, "hidden_act": act}))
    assert the_function(lesson.function) is ACTIVATIONS[act]


def test_the_steps_are_the_traces_in_its_order_and_shape() -> None:
    names = step_names(1, pools=False)
    walk = [f"encoder.layer.0.{step}" for step in WALK_STEPS]
    found = [name for name in names if name in (*EMBEDDING_STEPS, *walk)]
    assert found == [*EMBEDDING_STEPS, *walk]
    for name, key in zip(found, (*EMBEDDING_STEPS, *WALK_STEPS), strict=True):
        axes = (axes_of(name) or "").removeprefix("B").replace("1TH", "TH")
        assert LESSONS[key].axes == axes, name
