"""Heads and models that are new: asked for, named, drawn from a seed, and nothing else changes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numpy_bert
from numpy_bert import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    BertTokenizer,
    CheckpointError,
    ConfigError,
    InputError,
)
from numpy_bert.training import new_classifier
from tests.support.heads import CONFIG, TREES, head_tensors, write_head

SEQUENCE = "BertForSequenceClassification"
LABELLED = (SEQUENCE, "BertForTokenClassification")
IDS: Any = [[2, 5, 3]]
SIZES: dict[str, Any] = {name: value for name, value in CONFIG.items() if name != "model_type"}


def without_head(folder: Path, *, pooler: bool = True) -> Path:
    """Write a checkpoint without any head."""
    tensors = {
        key: array
        for key, array in head_tensors(SEQUENCE).items()
        if not key.startswith("classifier") and (pooler or not key.startswith("pooler"))
    }
    return write_head(folder, SEQUENCE, tensors)


def arrays_of(model: Any) -> dict[str, Any]:
    return dict(model.named_parameters())


def loaded(name: str, folder: Path, **asked: Any) -> tuple[Any, str]:
    """Load a new head; return it and what it warned of."""
    with pytest.warns(UserWarning, match="newly initialized") as caught:
        model = getattr(numpy_bert, name).from_pretrained(folder, **asked)
    assert caught[0].filename == __file__
    return model, str(caught[0].message)


@pytest.mark.parametrize("name", TREES)
def test_a_head_is_new_where_a_seed_asks_for_it(name: str, tmp_path: Path) -> None:
    folder = without_head(tmp_path)
    kind = getattr(numpy_bert, name)
    with pytest.raises(
        CheckpointError, match=r"start a new head to train \(num_labels=2, or seed=0\)"
    ):
        kind.from_pretrained(folder)
    model, told = loaded(name, folder, seed=3)
    bert, head = BertModel.from_pretrained(folder), set(arrays_of(model))
    head -= {f"bert.{key}" for key in arrays_of(bert)}
    assert head == set(model.loading_info.missing_keys)
    assert all(key in told for key in head)
    again, other = loaded(name, folder, seed=3)[0], loaded(name, folder, seed=4)[0]
    for key, array in arrays_of(model).items():
        assert np.array_equal(array, arrays_of(again)[key])
        if key not in head:
            assert np.array_equal(array, arrays_of(bert)[key.removeprefix("bert.")])
        elif key.endswith("bias"):
            assert not array.any()
        elif array.ndim == 1:
            assert (array == 1).all()
        else:
            assert not np.array_equal(array, arrays_of(other)[key])
            assert 0.01 < array.std() < 0.03
    model.save_pretrained(tmp_path / "saved")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = kind.from_pretrained(tmp_path / "saved", seed=5)
    for key, array in arrays_of(model).items():
        assert np.array_equal(array, arrays_of(read)[key])


@pytest.mark.parametrize(
    ("asked", "labels"),
    [
        ({"num_labels": 3}, ("LABEL_0", "LABEL_1", "LABEL_2")),
        ({"num_labels": 5}, ("a", "b", "c", "d", "e")),
        ({"id2label": {1: "sun", 0: "rain"}}, ("rain", "sun")),
        ({"id2label": {"0": "rain", "1": "sun"}, "num_labels": 2}, ("rain", "sun")),
        ({"label2id": {"sun": 1, "rain": 0}}, ("rain", "sun")),
        ({"id2label": {0: "x", 1: "y"}, "label2id": {"y": 1, "x": 0}}, ("x", "y")),
        ({"seed": 0}, ("a", "b", "c", "d", "e")),
    ],
)
@pytest.mark.parametrize("name", LABELLED)
def test_the_labels_of_a_new_head(
    name: str, asked: dict[str, Any], labels: tuple[str, ...], tmp_path: Path
) -> None:
    names = {str(n): letter for n, letter in enumerate("abcde")}
    tensors = {k: a for k, a in head_tensors(name).items() if not k.startswith("classifier")}
    config = {key: value for key, value in CONFIG.items() if key != "num_labels"}
    folder = write_head(tmp_path, name, tensors, config | {"id2label": names})
    model, told = loaded(name, folder, **asked)
    assert model.config.labels == labels
    assert model.head.classifier.weight.shape == (len(labels), 24)
    assert model(IDS).logits.shape[-1] == len(labels)
    assert told.endswith(
        "newly initialized, because the checkpoint has none: classifier.weight, classifier.bias. "
        "Train the model before you use it."
    )


def test_it_is_what_new_classifier_makes(tmp_path: Path) -> None:
    for pooler in (True, False):
        folder = without_head(tmp_path / str(pooler), pooler=pooler)
        names = {0: "bad", 1: "good"}
        model, _ = loaded(
            SEQUENCE, folder, id2label=names, seed=7, problem_type="multi_label_classification"
        )
        peer = new_classifier(BertModel.from_pretrained(folder), ["bad", "good"], folder, seed=7)
        assert model.config.problem_type == "multi_label_classification"
        assert list(arrays_of(model)) == list(arrays_of(peer))
        for key, array in arrays_of(model).items():
            assert np.array_equal(array, arrays_of(peer)[key])


def test_a_pooler_is_new_where_the_head_reads_it(tmp_path: Path) -> None:
    folder = without_head(tmp_path, pooler=False)
    model, told = loaded(SEQUENCE, folder, num_labels=2)
    assert "pooler.dense.weight, pooler.dense.bias, classifier.weight" in told
    assert model.bert.parameters.pooler is not None
    assert 0.01 < model.bert.parameters.pooler.dense.weight.std() < 0.03
    tags, told = loaded("BertForTokenClassification", folder, num_labels=2)
    assert "pooler." not in told
    assert tags.bert.parameters.pooler is None


def test_a_head_that_is_there_is_read_and_may_be_renamed(tmp_path: Path) -> None:
    folder = write_head(tmp_path, SEQUENCE)
    stored = BertForSequenceClassification.from_pretrained(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = BertForSequenceClassification.from_pretrained(
            folder, id2label=dict(enumerate("vwxyz")), seed=3, problem_type="regression"
        )
    assert model.config.labels == tuple("vwxyz")
    assert model.config.problem_type == "regression"
    assert np.array_equal(model.head.classifier.weight, stored.head.classifier.weight)
    for asked in ({"num_labels": 2}, {"id2label": {0: "no", 1: "yes"}}):
        with pytest.raises(CheckpointError, match=r"weight has 5 rows, and num_labels = 2 is ask"):
            BertForSequenceClassification.from_pretrained(folder, **asked)


@pytest.mark.parametrize("lost", ["classifier.weight", "classifier.bias", "pooler.dense.bias"])
def test_what_is_there_in_part_stays_an_error(lost: str, tmp_path: Path) -> None:
    tensors = {key: array for key, array in head_tensors(SEQUENCE).items() if key != lost}
    folder = write_head(tmp_path, SEQUENCE, tensors)
    with pytest.raises(CheckpointError, match=rf"1 key missing.*\n  missing  {lost}"):
        BertForSequenceClassification.from_pretrained(folder, num_labels=5, seed=0)
    whole = {k: a for k, a in head_tensors(SEQUENCE).items() if not k.startswith("pooler.")}
    folder = write_head(tmp_path / "pooler", SEQUENCE, whole)
    with pytest.raises(CheckpointError, match="has no pooler"):
        BertForSequenceClassification.from_pretrained(folder, num_labels=5, seed=0)


def test_what_cannot_be_asked_for(tmp_path: Path) -> None:
    folder = without_head(tmp_path)
    asked: tuple[tuple[dict[str, Any], str], ...] = (
        ({"num_labels": 0}, "num_labels must be an integer from 1 to"),
        ({"num_labels": True}, "num_labels must be an integer"),
        ({"num_labels": 3, "id2label": {0: "a", 1: "b"}}, "num_labels = 3, and 2 labels are named"),
        ({"id2label": {1: "a", 2: "b"}}, "id2label must be an object of labels with the numbers 0"),
        ({"id2label": ["a"]}, "id2label must be an object"),
        ({"id2label": {0: 1}}, "label 0 must be a string"),
        ({"id2label": {0: "a"}, "label2id": {"b": 0}}, "label2id must be id2label turned round"),
        ({"num_labels": 2, "problem_type": "guess"}, "problem_type must be one of"),
    )
    for given, message in asked:
        with pytest.raises(ConfigError, match=message):
            BertForTokenClassification.from_pretrained(folder, **given)
    for seed in (-1, 1.5, "a"):
        with pytest.raises(InputError, match="seed must be an integer from 0"):
            BertForTokenClassification.from_pretrained(folder, seed=seed)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"num_labels, problem_type: this head has no labels"):
        BertForMaskedLM.from_pretrained(folder, num_labels=2, problem_type="regression")


def test_a_model_of_a_config_alone() -> None:
    config = BertConfig(**SIZES)
    model = BertModel(config, seed=3)
    words = model.embeddings.word_embeddings.weight
    assert not words[config.pad_token_id].any()
    assert words[1:].any(axis=1).all()
    assert 0.018 < words[1:].std() < 0.022
    layer: Any = model.parameters.encoder
    assert (layer.layer[1].output.LayerNorm.weight == 1).all()
    assert model(IDS).pooler_output.shape == (1, 24)  # type: ignore[union-attr]
    assert model.loading_info.files == ()
    again, other = BertModel(config, seed=3), BertModel(config, seed=4)
    assert np.array_equal(again(IDS).last_hidden_state, model(IDS).last_hidden_state)
    assert not np.array_equal(other(IDS).last_hidden_state, model(IDS).last_hidden_state)


@pytest.mark.parametrize("name", TREES)
def test_a_model_with_a_head_of_a_config_alone(name: str, tmp_path: Path) -> None:
    model = getattr(numpy_bert, name)(BertConfig(**SIZES), seed=3)
    ids = [IDS] if name == "BertForMultipleChoice" else IDS
    assert all(np.isfinite(scores).all() for scores in model(ids).scores)
    with pytest.raises(InputError, match=f"{name} was not loaded from a folder, so it has no tok"):
        _ = model.tokenizer
    model.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    again = type(model).from_pretrained(tmp_path)
    for key, array in arrays_of(model).items():
        assert np.array_equal(array, arrays_of(again)[key])
    model.tokenizer = BertTokenizer.from_pretrained("demo")
    assert model.tokenizer.cls_token == "[CLS]"
