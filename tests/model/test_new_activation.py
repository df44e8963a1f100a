"""An activation that stands in two tables alone, as one just added would, works everywhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertForMaskedLM, BertModel, BertTokenizer, SentenceEncoder, explain
from numpy_bert.arrays import Array
from numpy_bert.config import ACTIVATION_NAMES
from numpy_bert.explain.lessons import lesson_of
from numpy_bert.kernels.encoder import EncoderKernel
from numpy_bert.kernels.training import EncoderTraining
from numpy_bert.ops import activation
from numpy_bert.ops.activation import ACTIVATIONS, Activation
from numpy_bert.trace import named_steps
from numpy_bert.training import AdamW
from numpy_bert.training.trainable import trainable
from tests.support.heads import CONFIG, head_tensors, write_head
from tests.tolerances import TRAINING_KERNEL

IDS = np.array([[2, 5, 1, 3, 4, 3, 0], [3, 4, 2, 1, 5, 4, 3]])
LABELS = np.where(IDS == 4, 2, -100)


def softsign(x: Array) -> Array:
    wide = x.astype(np.float64, copy=False)
    return (wide / (1.0 + np.abs(wide))).astype(x.dtype, copy=False)


def softsign_backward(grad: Array, x: Array) -> Array:
    wide = x.astype(np.float64, copy=False)
    return (grad / np.square(1.0 + np.abs(wide))).astype(x.dtype, copy=False)


def extend(
    monkeypatch: pytest.MonkeyPatch, name: str, table: Mapping[str, Any], entry: object
) -> None:
    """Put a longer table wherever a module has imported this one."""
    longer = MappingProxyType({**table, "softsign": entry})
    for module in list(sys.modules.values()):
        if getattr(module, name, None) is table:
            monkeypatch.setattr(module, name, longer)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    extend(monkeypatch, "ACTIVATION_NAMES", ACTIVATION_NAMES, "softsign")
    extend(monkeypatch, "ACTIVATIONS", ACTIVATIONS, Activation(softsign, softsign_backward))
    monkeypatch.setattr(activation, "softsign", softsign, raising=False)
    tensors = {
        key: array * np.float32(0.3) + np.float32(key.endswith("LayerNorm.weight"))
        for key, array in head_tensors("BertForMaskedLM").items()
    }
    return write_head(tmp_path, "BertForMaskedLM", tensors, CONFIG | {"hidden_act": "softsign"})


@pytest.fixture(autouse=True)
def no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody ask the kernels for what they do not know."""

    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(EncoderKernel, "__init__", refuse)
    monkeypatch.setattr(EncoderTraining, "__init__", refuse)


def close(narrow: Any, wide: Any) -> bool:
    largest = max(float(np.abs(wide).max(initial=0.0)), 0.1)  # a gradient can be 0
    return bool(np.abs(narrow - wide).max(initial=0.0) < TRAINING_KERNEL * largest)


def test_the_model_its_steps_and_its_vectors(folder: Path) -> None:
    narrow = BertModel.from_pretrained(folder)
    wide = BertModel.from_pretrained(folder, dtype="float64")
    mask = (IDS != 0).astype(int)
    states = [
        model(IDS, attention_mask=mask, output_hidden_states=True).hidden_states
        for model in (narrow, wide)
    ]
    assert states[0] is not None
    assert states[1] is not None
    assert states[0][-1].dtype == np.float32
    for found, exact in zip(*states, strict=True):
        assert close(found, exact)
    steps = dict(named_steps(wide.steps(IDS), ""))
    before = steps["encoder.layer.1.intermediate.dense"]
    assert np.array_equal(steps["encoder.layer.1.intermediate"], before / (1 + np.abs(before)))
    vectors = [
        SentenceEncoder.from_pretrained(folder, dtype=dtype).encode(["a b", "b"])
        for dtype in ("float32", "float64")
    ]
    assert close(*vectors)


def test_a_head_and_a_step_of_training(folder: Path) -> None:
    models = [BertForMaskedLM.from_pretrained(folder, dtype=kind) for kind in ("f4", "f8")]
    assert close(*(model(IDS).logits for model in models))
    batch = {"input_ids": IDS, "labels": LABELS}
    for drops in (False, True):
        narrow, wide = (
            model.loss_and_gradients(batch, rng=np.random.default_rng(3) if drops else None)
            for model in models
        )
        assert narrow.loss == pytest.approx(wide.loss, rel=TRAINING_KERNEL)
        for (key, found), (_, exact) in zip(narrow.named(), wide.named(), strict=True):
            assert found.dtype == np.float32
            assert close(found, exact), key
    learner, arrays = trainable(models[0])
    result = learner.loss_and_gradients(batch)
    AdamW(arrays).step({key: grad for key, grad in result.named() if key in arrays})
    assert learner.loss_and_gradients(batch).loss < result.loss


def test_what_the_pictures_say(folder: Path) -> None:
    model = BertModel.from_pretrained(folder)
    lesson = lesson_of("intermediate", model.config)
    assert lesson.sentence == "The activation's output."
    assert lesson.formula == "softsign(x)"
    assert lesson.function == "numpy_bert.ops.activation.softsign"
    reading = explain.read("a b", model=model, tokenizer=BertTokenizer.from_pretrained(folder))
    assert explain.terminal(reading)
    assert "softsign(x)" in explain.page(reading)
