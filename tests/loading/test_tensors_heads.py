"""numpy_bert.loading.tensors: a head is whole, or refused by name (rows B10, B13, B14, B15)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numpy_bert
from numpy_bert.errors import CheckpointError, ConfigError
from tests.support.checkpoints import Tensors, bfloat16_bits
from tests.support.heads import CONFIG, TREES, head_tensors, write_head

POOLER = ("pooler.dense.weight", "pooler.dense.bias")
WORD = "embeddings.word_embeddings.weight"
DECODER = "cls.predictions.decoder.weight"
MASKED = "BertForMaskedLM"
SEQUENCE = "BertForSequenceClassification"
BODY = ("embeddings", "encoder", "pooler")
POOLS = {
    "BertForPreTraining",
    "BertForNextSentencePrediction",
    SEQUENCE,
    "BertForMultipleChoice",
}


def load(folder: Path, name: str, **options: Any) -> Any:
    return getattr(numpy_bert, name).from_pretrained(folder, **options)


def refusal(folder: Path, name: str, tensors: Tensors) -> str:
    write_head(folder, name, tensors)
    with pytest.raises(CheckpointError) as raised:
        load(folder, name)
    return str(raised.value).removeprefix(f"{folder / 'model.safetensors'}: ")


@pytest.mark.parametrize("name", TREES)
def test_all_that_is_stored_is_used(name: str, tmp_path: Path) -> None:
    info = load(write_head(tmp_path, name), name).loading_info
    assert (info.unexpected_keys, info.missing_keys, info.cast) == ((), (), ())


def test_other_heads_are_unexpected(tmp_path: Path) -> None:
    tensors = head_tensors("BertForPreTraining") | head_tensors(SEQUENCE)
    info = load(write_head(tmp_path, SEQUENCE, tensors), SEQUENCE).loading_info
    assert len(info.unexpected_keys) == 7
    assert all(key.startswith("cls.") for key in info.unexpected_keys)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("BertForPreTraining", "cls"),
        (MASKED, "cls.predictions"),
        ("BertForNextSentencePrediction", "cls.seq_relationship"),
        (SEQUENCE, "classifier"),
        ("BertForTokenClassification", "classifier"),
        ("BertForQuestionAnswering", "qa_outputs"),
        ("BertForMultipleChoice", "classifier"),
    ],
)
def test_a_head_that_is_not_there_is_named(name: str, module: str, tmp_path: Path) -> None:
    tensors = {k: a for k, a in head_tensors(name).items() if not k.startswith(module)}
    message = refusal(tmp_path, name, tensors)
    assert message.startswith(f"has no {module} ({module}.")
    assert message.endswith(
        "it was not trained for this task. Name a checkpoint that was, or start a new head to "
        "train (num_labels=2, or seed=0); BertModel loads this one without a head."
    )


def test_half_a_head_is_a_missing_key(tmp_path: Path) -> None:
    tensors = head_tensors(SEQUENCE)
    tensors["clasifier.bias"] = tensors.pop("classifier.bias")
    assert refusal(tmp_path, SEQUENCE, tensors) == (
        "1 key missing, 1 unknown.\n"
        "  missing  classifier.bias\n"
        "  unknown  clasifier.bias   (did you mean classifier.bias?)"
    )


def test_a_head_of_another_number_of_labels_is_refused(tmp_path: Path) -> None:
    tensors = head_tensors(SEQUENCE)
    tensors["classifier.weight"] = np.zeros((3, 24), np.float32)
    folder = write_head(tmp_path, SEQUENCE, tensors)
    with pytest.raises(ConfigError, match=r"the classifier has 3 rows, num_labels = 5; write"):
        load(folder, SEQUENCE)


@pytest.mark.parametrize("name", TREES)
def test_a_pooler_is_needed_only_by_who_reads_it(name: str, tmp_path: Path) -> None:
    tensors = {key: a for key, a in head_tensors(name).items() if key not in POOLER}
    if name in POOLS:
        assert refusal(tmp_path, name, tensors) == (
            "has no pooler (pooler.dense.weight, pooler.dense.bias), which the head of this task "
            "reads."
        )
    else:
        model = load(write_head(tmp_path, name, tensors), name)
        assert model.loading_info.missing_keys == POOLER
        assert model([[2, 5, 3]])[0].shape[:2] == (1, 3)


def test_tied_copies_are_used_where_they_are_equal(tmp_path: Path) -> None:  # B13, B14
    tensors = head_tensors(MASKED)
    tensors[DECODER] = tensors[WORD].copy()
    tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"].copy()
    model = load(write_head(tmp_path, MASKED, tensors), MASKED)
    assert model.loading_info.unexpected_keys == ()
    np.testing.assert_array_equal(model.decoder, tensors[WORD])


@pytest.mark.parametrize("name", [MASKED, SEQUENCE])
@pytest.mark.parametrize("half", ["F16", "BF16"])
def test_heads_in_half_are_widened(name: str, half: str, tmp_path: Path) -> None:
    tensors = head_tensors(name)
    full = load(write_head(tmp_path / "full", name), name)
    if half == "F16":
        small = {key: array.astype("f2") for key, array in tensors.items()}
        folder = write_head(tmp_path / "half", name, small)
    else:
        bits = {key: bfloat16_bits(array) for key, array in tensors.items()}
        folder = write_head(tmp_path / "half", name, bits, codes=dict.fromkeys(bits, "BF16"))
    model = load(folder, name)
    np.testing.assert_array_equal(model([[2, 5, 3]])[0], full([[2, 5, 3]])[0])
    of_head = [cast for cast in model.loading_info.cast if cast[0].startswith(("cl",))]
    assert of_head
    assert all(cast[1:] == (half, "float32") for cast in of_head)


def test_a_weight_of_a_head_that_is_not_finite_is_named(tmp_path: Path) -> None:  # A15
    tensors = head_tensors(SEQUENCE)
    tensors["classifier.weight"][3, 7] = np.nan
    model = load(write_head(tmp_path, SEQUENCE, tensors), SEQUENCE)
    with pytest.raises(CheckpointError, match=r"classifier\.weight\[3, 7\] = nan: this weight"):
        model([[2, 5, 3]])


def test_labels_are_the_configs(tmp_path: Path) -> None:
    names = {"0": "no", "1": "yes"}
    config = {k: v for k, v in CONFIG.items() if k != "num_labels"} | {"id2label": names}
    model = load(write_head(tmp_path, SEQUENCE, None, config), SEQUENCE)
    assert model.config.id2label == {0: "no", 1: "yes"}
    assert {best.label for best in model.classify("hello")} == {"no", "yes"}


def prefixed(tensors: Tensors, prefix: str, *, but: str = "-") -> Tensors:
    return {key if key.startswith(but) else prefix + key: a for key, a in tensors.items()}


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("prefix", ["model.", "_orig_mod."])
def test_heads_hang_under_a_foreign_prefix_too(name: str, prefix: str, tmp_path: Path) -> None:
    tensors = head_tensors(name)
    body = {"bert." + k: a for k, a in tensors.items() if k.split(".")[0] in BODY}
    heads = {k: a for k, a in tensors.items() if k.split(".")[0] not in BODY}
    folder = write_head(tmp_path / "there", name, prefixed(body | heads, prefix))
    model, plain = load(folder, name), load(write_head(tmp_path / "plain", name), name)
    assert model.loading_info.unexpected_keys == ()
    note = f"the prefix {prefix} of the tensors was taken away."
    assert model.loading_info.notes == (note,)
    ids = [[[2, 5, 3]]] if name == "BertForMultipleChoice" else [[2, 5, 3]]
    np.testing.assert_array_equal(model(ids)[0], plain(ids)[0])


def test_a_head_outside_the_prefix_is_nobodys(tmp_path: Path) -> None:
    tensors = prefixed(head_tensors(SEQUENCE), "bert_model.", but="classifier")
    message = refusal(tmp_path, SEQUENCE, tensors)
    assert "classifier.weight stands outside the prefix that the BERT's tensors have" in message
    info = numpy_bert.BertModel.from_pretrained(tmp_path).loading_info
    assert info.unexpected_keys == ("classifier.weight", "classifier.bias")
    assert info.notes == (
        "the prefix bert_model. of the tensors was taken away. Not used, since they lack it: "
        "classifier.weight, classifier.bias.",
    )
