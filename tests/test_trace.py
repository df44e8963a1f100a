"""The trace names: stable API."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from numpy_bert import BertModel, TraceError
from numpy_bert.trace import named_steps, select
from tests.support.checkpoints import random_tensors, write_checkpoint

NAMES = [
    "embeddings.word_embeddings",
    "embeddings.token_type_embeddings",
    "embeddings.position_embeddings",
    "embeddings.sum",
    "embeddings.LayerNorm.mean",
    "embeddings.LayerNorm.variance",
    "embeddings.LayerNorm.rstd",
    "embeddings.LayerNorm.normalized",
    "embeddings.LayerNorm",
    "embeddings.dropout",
    "embeddings",
]
LAYER_NORM = ["LayerNorm.mean", "LayerNorm.variance", "LayerNorm.rstd", "LayerNorm.normalized"]
LAYER = [
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.self.scores",
    "attention.self.probs",
    "attention.self.dropout",
    "attention.self",
    "attention.output.dense",
    "attention.output.dropout",
    "attention.output.sum",
    *(f"attention.output.{name}" for name in LAYER_NORM),
    "attention.output.LayerNorm",
    "attention.output",
    "attention",
    "intermediate.dense",
    "intermediate",
    "output.dense",
    "output.dropout",
    "output.sum",
    *(f"output.{name}" for name in LAYER_NORM),
    "output.LayerNorm",
    "output",
]


def layer(number: int) -> list[str]:
    path = f"encoder.layer.{number}"
    return [*(f"{path}.{name}" for name in LAYER), path]


MODEL = [*NAMES, *layer(0), *layer(1), "encoder", "pooler.dense", "pooler"]


def test_the_names_of_a_whole_model_in_execution_order(tmp_path: Path) -> None:
    model = BertModel.from_pretrained(write_checkpoint(tmp_path))
    ids = np.array([[1, 2, 3], [4, 5, 6]])
    plain = list(named_steps(model.steps(ids), ""))
    assert [name for name, _ in plain] == MODEL
    assert len(set(MODEL)) == len(MODEL) == 72
    for name, array in plain:
        assert isinstance(array, np.ndarray), name
    dropped = [name for name, _ in named_steps(model.steps(ids, rng=np.random.default_rng(0)), "")]
    assert [name for name in dropped if not name.endswith(".keep")] == MODEL
    masks = [f"{name}.keep" for name in MODEL if name.endswith(".dropout")]
    assert [name for name in dropped if name.endswith(".keep")] == masks
    for name in masks:  # a mask stands before what it is applied to
        assert dropped[dropped.index(name) + 1] == name.removesuffix(".keep")


def test_a_name_is_what_its_module_returns(tmp_path: Path) -> None:
    steps = BertModel.from_pretrained(write_checkpoint(tmp_path)).steps([[1, 2, 3]])
    named = dict(named_steps(steps, ""))
    last = steps.encoder.layer[1]
    assert named["encoder"] is named["encoder.layer.1"] is named["encoder.layer.1.output"]
    assert named["encoder"] is steps.encoder.output is last.output.output
    path = "encoder.layer.1.attention"
    assert named[path] is named[f"{path}.output"] is named[f"{path}.output.LayerNorm"]
    assert named[f"{path}.self"] is last.attention.self.output
    assert named[f"{path}.self.dropout"] is last.attention.self.dropout.output
    assert named["pooler"] is steps.pooler.output  # type: ignore[union-attr]


def test_without_a_pooler_the_encoder_is_the_end(tmp_path: Path) -> None:
    tensors = {k: v for k, v in random_tensors().items() if not k.startswith("pooler.")}
    model = BertModel.from_pretrained(write_checkpoint(tmp_path, tensors))
    assert [name for name, _ in named_steps(model.steps([[1]]), "")] == MODEL[:-2]


def test_the_names_of_the_input_embedding_in_execution_order() -> None:
    embeddings = BertModel.from_pretrained("demo").embeddings
    assert [name for name, _ in named_steps(embeddings.steps([[2, 3]]), "embeddings")] == NAMES
    dropped = embeddings.steps([[2, 3]], rng=np.random.default_rng(0))
    names = [name for name, _ in named_steps(dropped, "embeddings")]
    assert names == [*NAMES[:9], "embeddings.dropout.keep", *NAMES[9:]]


def test_one_step_or_all() -> None:
    steps = {name: np.zeros(1) for name in NAMES}
    assert select(steps, None) is steps
    assert list(select(steps, "embeddings.sum")) == ["embeddings.sum"]
    with pytest.raises(TraceError, match=r"no step is named embeddings\.summ; there are embed"):
        select(steps, "embeddings.summ")
