"""What the pictures say of a step leads to its function, and is said of every step."""

from __future__ import annotations

import importlib

import pytest

from numpy_bert import BertModel
from numpy_bert.config import BertConfig
from numpy_bert.explain.lessons import EMBEDDING_STEPS, LESSONS, WALK_STEPS, lesson_of
from numpy_bert.ops.activation import ACTIVATIONS
from numpy_bert.traces.layout import axes_of, step_names
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
    assert the_function(lesson.function) is ACTIVATIONS[act].forward


def test_the_steps_are_the_traces_in_its_order_and_shape() -> None:
    names = step_names(1, pools=False)
    walk = [f"encoder.layer.0.{step}" for step in WALK_STEPS]
    found = [name for name in names if name in (*EMBEDDING_STEPS, *walk)]
    assert found == [*(name for name in EMBEDDING_STEPS if "task" not in name), *walk]
    for name, key in zip(walk, WALK_STEPS, strict=True):
        axes = (axes_of(name) or "").removeprefix("B").replace("1TH", "TH")
        assert LESSONS[key].axes == axes, name


def test_each_is_about_its_own_function() -> None:
    ops, blocks = "numpy_bert.ops.", "numpy_bert.blocks."
    assert {key: (lesson.function, lesson.axes) for key, lesson in LESSONS.items()} == {
        "attention.self.query": (f"{ops}linear.linear", "TH"),
        "attention.self.key": (f"{ops}linear.linear", "TH"),
        "attention.self.value": (f"{ops}linear.linear", "TH"),
        "attention.self.scores": (f"{ops}attention.attention_scores", "ATT"),
        "attention.self.probs": (f"{ops}softmax.softmax", "ATT"),
        "attention.self": (f"{ops}attention.weighted_values", "TH"),
        "attention.output.dense": (f"{ops}linear.linear", "TH"),
        "attention.output.sum": (f"{blocks}encoder.encoder_layer", "TH"),
        "attention.output.LayerNorm": (f"{ops}layer_norm.layer_norm", "TH"),
        "intermediate.dense": (f"{ops}linear.linear", "TI"),
        "intermediate": (f"{ops}activation", "TI"),
        "output.dense": (f"{ops}linear.linear", "TH"),
        "output.sum": (f"{blocks}encoder.encoder_layer", "TH"),
        "output.LayerNorm": (f"{ops}layer_norm.layer_norm", "TH"),
        "picture": (f"{blocks}embeddings.embeddings", "TH"),
        "lookups": (f"{ops}embedding.embedding", "TH"),
        "shares": ("numpy_bert.explain.measures.parts_of", "T3"),
        "layernorm": (f"{ops}layer_norm.layer_norm", "TH"),
        "dropout": (f"{ops}dropout.dropout", "H"),
        "attention": (f"{ops}attention.attention", "ATT"),
        "walk": (f"{blocks}encoder.encoder_layer", "TH"),
        "similarity": ("numpy_bert.explain.measures.cosines", "TT"),
        "predictions": (f"{blocks}heads.lm_prediction", "TV"),
    }
    assert "/ √D" in LESSONS["attention"].formula
    assert "/ √D" in LESSONS["attention.self.scores"].formula
