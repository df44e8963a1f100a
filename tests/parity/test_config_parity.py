"""What config.json may hold and transformers loads all the same: the same numbers come out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from numpy_bert import BertForTokenClassification, BertModel
from numpy_bert.errors import CheckpointError, ConfigError
from numpy_bert.model.gradients import BertRun
from tests.support.checkpoints import TINY, random_tensors, write_checkpoint
from tests.support.heads import CONFIG, head_tensors, write_head
from tests.tolerances import HEADS_AGAINST_TORCH

TOKENS = "BertForTokenClassification"
IDS = np.array([[2, 5, 1, 3]])
NAMES = {str(row): f"L{row}" for row in range(5)}
BARE = {name: value for name, value in CONFIG.items() if name != "num_labels"}
# What transformers 2.x and people wrote; transformers loads each.
LABELS: dict[str, dict[str, Any]] = {
    "numbers as text": {"id2label": NAMES, "label2id": {f"L{n}": str(n) for n in range(5)}},
    "reversed": {"id2label": NAMES, "label2id": NAMES},
    "label2id of LABEL_0": {"id2label": NAMES, "label2id": {"LABEL_0": 0, "LABEL_1": 1}},
    "label2id of 7": {"id2label": NAMES, "label2id": {f"L{n}": n for n in range(7)}},
    "label2id a list": {"id2label": NAMES, "label2id": [1]},
    "num_labels counts": {"id2label": {"0": "a", "1": "b"}, "num_labels": 5},
    "num_labels alone": {"num_labels": 5},
    "num_labels, empty id2label": {"id2label": {}, "num_labels": 5},
    "from 1": {"id2label": {str(n + 1): f"L{n}" for n in range(5)}},
    "gaps": {"id2label": {str(2 * n): f"L{n}" for n in range(5)}},
    "below 0": {"id2label": {str(n - 1): f"L{n}" for n in range(5)}},
    "numbers": {"id2label": {str(n): n for n in range(5)}},
    "null": {"id2label": {str(n): None for n in range(5)}},
    "one name": {"id2label": dict.fromkeys(NAMES, "same")},
    "signs": {"id2label": {"+0": "a", " 1": "b", "2 ": "c", "03": "d", "4": "e"}},
    "_num_labels": {"id2label": NAMES, "_num_labels": 3},
    "problem_type": {"id2label": NAMES, "problem_type": "guess"},
}
MEMBERS: dict[str, dict[str, Any]] = {
    "type_vocab_size": {"type_vocab_size": 2},
    "vocab_size": {"vocab_size": 30522},
    "max_position_embeddings": {"max_position_embeddings": 512},
    "intermediate_size": {"intermediate_size": 3072},
    "num_hidden_layers": {"num_hidden_layers": 12},
    "num_attention_heads": {"num_attention_heads": 12},
    "hidden_size": {"hidden_size": 768, "num_hidden_layers": 1},
    "pad -1": {"pad_token_id": -1},
    "pad null": {"pad_token_id": None},
    "dropout 1": {
        "hidden_dropout_prob": 1.0,
        "attention_probs_dropout_prob": 1.0,
        "classifier_dropout": 1.0,
    },
    "initializer_range": {"initializer_range": 2.0},
    "initializer_range nan": {"initializer_range": float("nan")},
    "eps": {"layer_norm_eps": 2.5},
    "nan": {"task_specific_params": {"x": [float("nan"), -float("inf")]}},
}


@pytest.fixture(scope="module")
def tensors() -> Any:
    return head_tensors(TOKENS)


@pytest.mark.parametrize("case", LABELS)
def test_labels_are_those_of_transformers(case: str, tensors: Any, tmp_path: Path) -> None:
    folder = write_head(tmp_path, TOKENS, tensors, BARE | LABELS[case])
    ours = BertForTokenClassification.from_pretrained(folder, dtype="float64")
    theirs = transformers.BertForTokenClassification.from_pretrained(folder, dtype=torch.float64)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(IDS)).logits.numpy()
    assert np.abs(ours(IDS).logits - expected).max() <= HEADS_AGAINST_TORCH
    names = theirs.config.id2label
    assert ours.config.num_labels == theirs.config.num_labels == 5
    for row, label in enumerate(ours.config.labels):
        # Where transformers has no name, or none that is text, there is one here.
        name = names.get(row, f"LABEL_{row}")
        assert label == (name if isinstance(name, str) else json.dumps(name))
    # What is written again is of one mind, and is read alike in both.
    ours.save_pretrained(tmp_path / "again")
    config = transformers.BertConfig.from_pretrained(tmp_path / "again")
    assert config.id2label == ours.config.id2label
    assert config.label2id == ours.config.label2id
    assert BertForTokenClassification.from_pretrained(tmp_path / "again").loading_info.notes == ()


@pytest.mark.parametrize(
    "stated",
    [{}, {"id2label": {"0": "a", "1": "b"}}, {"num_labels": 4}, {"label2id": {"a": 0, "b": 1}}],
    ids=str,
)
def test_what_transformers_refuses_of_a_head_is_refused(
    stated: dict[str, Any], tensors: Any, tmp_path: Path
) -> None:
    folder = write_head(tmp_path, TOKENS, tensors, BARE | stated)
    with pytest.raises(RuntimeError):
        transformers.BertForTokenClassification.from_pretrained(folder)
    with pytest.raises(ConfigError, match="the classifier has 5 rows, "):
        BertForTokenClassification.from_pretrained(folder)


@pytest.mark.parametrize("case", MEMBERS)
def test_members_that_are_missing_or_odd(case: str, tmp_path: Path) -> None:
    """Where a size is not stated, transformers takes its default, which the file agrees with."""
    config = TINY | MEMBERS[case]
    left_out = case if case in TINY else None
    stated = {name: value for name, value in config.items() if name != left_out}
    folder = write_checkpoint(tmp_path, random_tensors(config), stated)
    ours = BertModel.from_pretrained(folder, dtype="float64")
    theirs = transformers.BertModel.from_pretrained(folder, dtype=torch.float64).eval()
    with torch.no_grad():
        expected = theirs(torch.from_numpy(IDS)).last_hidden_state.numpy()
    assert np.abs(ours(IDS).last_hidden_state - expected).max() <= HEADS_AGAINST_TORCH
    notes = ours.loading_info.notes
    assert any(str(left_out) in note for note in notes) is (left_out is not None)


def test_what_is_saved_is_read_there(tmp_path: Path) -> None:
    odd = {"layer_norm_eps": 1, "initializer_range": 2, "pad_token_id": -1, "hidden_act": "mish"}
    odd |= MEMBERS["dropout 1"]
    folder = write_checkpoint(tmp_path / "a", config=TINY | odd)
    BertModel.from_pretrained(folder).save_pretrained(tmp_path / "b")
    config = transformers.BertConfig.from_pretrained(tmp_path / "b")
    assert {name: getattr(config, name) for name in odd} == odd


def test_a_default_that_the_tensors_do_not_agree_with_is_named(tmp_path: Path) -> None:
    stated = {name: value for name, value in TINY.items() if name != "type_vocab_size"}
    folder = write_checkpoint(tmp_path / "a", random_tensors(TINY), stated)
    with pytest.raises(CheckpointError, match="taken, as in transformers: type_vocab_size = 2"):
        BertModel.from_pretrained(folder)
    deep = TINY | {"num_hidden_layers": 13}
    stated = {name: value for name, value in TINY.items() if name != "num_hidden_layers"}
    folder = write_checkpoint(tmp_path / "b", random_tensors(deep), stated)
    with pytest.raises(CheckpointError, match=r"has 13 layers; config.json does not state num_hid"):
        BertModel.from_pretrained(folder)
    # A number that no layer can have counts for none, however long it is.
    odd = random_tensors(TINY) | {f"encoder.layer.{'9' * 5000}.x": np.zeros(1, np.float32)}
    with pytest.raises(CheckpointError, match="taken, as in transformers: num_hidden_layers = 12"):
        BertModel.from_pretrained(write_checkpoint(tmp_path / "c", odd, stated))
    whole = random_tensors(TINY | {"num_hidden_layers": 12})
    odd = whole | {f"encoder.layer.{'9' * 5000}.x": np.zeros(1, np.float32)}
    model = BertModel.from_pretrained(write_checkpoint(tmp_path / "d", odd, stated))
    assert len(model.loading_info.unexpected_keys) == 1
    # The input embedding alone has no layers.
    assert BertModel.from_pretrained(folder, only="embeddings").parameters.encoder is None


@pytest.mark.parametrize("pad", [-1, None, 60])
def test_which_row_learns_nothing(pad: int | None, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, random_tensors(TINY), TINY | {"pad_token_id": pad})
    theirs = transformers.BertModel.from_pretrained(folder, dtype=torch.float64).eval()
    ids = np.array([[2, 60, 1, 0]])
    theirs(torch.from_numpy(ids)).last_hidden_state.square().sum().backward()
    expected = theirs.embeddings.word_embeddings.weight.grad.numpy()
    model = BertModel.from_pretrained(folder, dtype="float64")
    run = BertRun(model, model.inputs(ids))
    found = run.gradients(hidden=2 * run.hidden).embeddings.word_embeddings.weight
    assert np.abs(found - expected).max() <= 1e-9 * np.abs(expected).max()
    assert bool(found[60].any()) is (pad is None)


def test_training_where_all_is_dropped(tmp_path: Path) -> None:
    """Loss and gradients are torch's, and no NaN, in both codes."""
    config = CONFIG | MEMBERS["dropout 1"]
    folder = write_head(tmp_path, TOKENS, config=config)
    labels = np.array([[0, 4, 2, 1]])
    theirs = transformers.BertForTokenClassification.from_pretrained(folder, dtype=torch.float64)
    loss = theirs.train()(torch.from_numpy(IDS), labels=torch.from_numpy(labels)).loss
    loss.backward()
    bias = theirs.classifier.bias.grad.numpy()
    for dtype, budget in (("float64", 1e-10), ("float32", 1e-6)):
        model = BertForTokenClassification.from_pretrained(folder, dtype=dtype)
        batch = {"input_ids": IDS, "labels": labels}
        found = model.loss_and_gradients(batch, rng=np.random.default_rng(0))
        assert abs(found.loss - loss.item()) <= budget
        assert np.abs(found.head.classifier.bias - bias).max() <= budget
        assert not found.head.classifier.weight.any()
        assert not theirs.classifier.weight.grad.any()
        assert found.bert.encoder is not None
        assert not found.bert.encoder.layer[0].output.dense.weight.any()
