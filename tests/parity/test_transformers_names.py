"""The names of transformers: the same arguments, defaults, results, and folders for either."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import numpy_bert
from numpy_bert import BertConfig, BertForMaskedLM, BertModel, BertTokenizer
from numpy_bert.loading.cache import demo_folder
from tests.support.heads import CONFIG, TREES, head_tensors, write_head
from tests.tolerances import HEADS_AGAINST_TORCH

TEXTS = ["The sun is shining.", "It is a sunny day, and so on!"]
SIZES: dict[str, Any] = {name: value for name, value in CONFIG.items() if name != "model_type"}
SEQUENCE = "BertForSequenceClassification"
MODELS = ["BertModel", *(name for name in TREES if name != "BertForMultipleChoice")]
CONFIGS: dict[str, dict[str, Any]] = {
    "default": {},
    "sizes": SIZES,
    "labels": {"id2label": {0: "no", 1: "yes", 2: "well"}},
    "label2id": {"id2label": {0: "no", 1: "yes"}, "label2id": {"no": 0, "yes": 1}},
    "kind": {"num_labels": 1, "problem_type": "regression"},
    "others": {"is_decoder": False, "use_cache": False, "return_dict": True, "pad_token_id": None},
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_config(case: str, tmp_path: Path) -> None:
    ours, theirs = BertConfig(**CONFIGS[case]), transformers.BertConfig(**CONFIGS[case])
    found, wanted = ours.to_dict(), theirs.to_dict()
    if wanted["label2id"] is None:  # where id2label alone is given
        wanted["label2id"] = {name: number for number, name in theirs.id2label.items()}
    assert found == {name: wanted[name] for name in found}
    assert ours.num_labels == theirs.num_labels
    ours.save_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    again = transformers.BertConfig.from_pretrained(tmp_path / "ours").to_dict()
    assert {name: again[name] for name in found} == found
    assert BertConfig.from_pretrained(tmp_path / "theirs") == ours


def test_every_field_of_theirs_is_a_setting_of_ours() -> None:
    for field in fields(transformers.BertConfig):
        if field.init:
            value = getattr(transformers.BertConfig(), field.name)
            assert BertConfig(**{field.name: value}) == BertConfig(), field.name


@pytest.mark.parametrize("name", MODELS)
def test_a_call_takes_their_arguments_in_their_order(name: str) -> None:
    ours = list(inspect.signature(getattr(numpy_bert, name).__call__).parameters)[1:6]
    theirs = list(inspect.signature(getattr(transformers, name).forward).parameters)[1:6]
    assert ours == theirs


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_folder_works_at_once_there(name: str, tmp_path: Path) -> None:
    if name == "BertModel" or name in ("BertForMaskedLM", "BertForPreTraining"):
        model = getattr(numpy_bert, name).from_pretrained("demo", dtype="float64")
    else:
        with pytest.warns(UserWarning, match="newly") if "Next" not in name else nullcontext():
            model = getattr(numpy_bert, name).from_pretrained("demo", seed=1, dtype="float64")
    model.save_pretrained(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    ours = BertTokenizer.from_pretrained("demo")(TEXTS, padding=True, return_tensors="np")
    assert list(inputs) == list(ours)
    for key, array in ours.items():
        assert np.array_equal(inputs[key].numpy(), array)
    peer = getattr(transformers, name).from_pretrained(
        tmp_path, dtype=torch.float64, attn_implementation="eager"
    )
    with torch.no_grad():
        theirs = peer.eval()(**inputs)
    again = getattr(numpy_bert, name).from_pretrained(tmp_path, dtype="float64")
    found = again(**ours, unpad_inputs=False)
    assert list(found.keys()) == list(theirs.keys())
    for key, array in found.items():
        np.testing.assert_allclose(array, theirs[key].numpy(), rtol=0, atol=HEADS_AGAINST_TORCH)
    assert again.num_parameters() == peer.num_parameters()
    if name != "BertModel":
        assert again.tokenizer(TEXTS)["input_ids"] == tokenizer(TEXTS)["input_ids"]


@pytest.mark.parametrize("name", TREES)
def test_a_new_head_is_what_theirs_is(name: str, tmp_path: Path) -> None:
    tensors = {
        key: array
        for key, array in head_tensors(SEQUENCE).items()
        if not key.startswith(("classifier", "pooler"))
    }
    folder = write_head(tmp_path, SEQUENCE, tensors, CONFIG | {"num_labels": 2})
    labels = {"num_labels": 5} if name in (SEQUENCE, "BertForTokenClassification") else {}
    peer, info = getattr(transformers, name).from_pretrained(
        folder, output_loading_info=True, **labels
    )
    with pytest.warns(UserWarning, match="newly initialized"):
        model = getattr(numpy_bert, name).from_pretrained(folder, seed=0, **labels)
    ours = {key.removeprefix("bert.") for key in model.loading_info.missing_keys}
    pools = peer.bert.pooler is not None
    theirs = {key.removeprefix("bert.") for key in info["missing_keys"]}
    tied = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    assert {key for key in ours if pools or "pooler" not in key} == theirs - tied
    found, wanted = dict(model.named_parameters()), dict(peer.named_parameters())
    assert found.keys() == wanted.keys()
    for key, array in found.items():
        assert array.shape == tuple(wanted[key].shape)
        if key.removeprefix("bert.") in ours and array.size > 100:
            assert array.std() == pytest.approx(wanted[key].detach().numpy().std(), rel=0.2)
        elif key.removeprefix("bert.") in ours and ("bias" in key or "LayerNorm" in key):
            assert np.array_equal(array, wanted[key].detach().numpy())


def test_another_number_of_labels_is_an_error_there_too(tmp_path: Path) -> None:
    folder = write_head(tmp_path, SEQUENCE)
    for library in (numpy_bert, transformers):
        with pytest.raises((RuntimeError, ValueError), match=r"num_labels = 2|mismatched_sizes"):
            getattr(library, SEQUENCE).from_pretrained(folder, num_labels=2)
        kept = getattr(library, SEQUENCE).from_pretrained(folder, num_labels=5)
        assert kept.config.num_labels == 5
        named = getattr(library, SEQUENCE).from_pretrained(
            folder, id2label=dict(enumerate("vwxyz"))
        )
        assert named.config.id2label == dict(enumerate("vwxyz"))


def test_a_new_model_is_spread_as_theirs_is() -> None:
    config: dict[str, Any] = {**SIZES, "hidden_size": 60, "pad_token_id": 3}
    ours = BertModel(BertConfig(**config))
    theirs = dict(transformers.BertModel(transformers.BertConfig(**config)).named_parameters())
    found = dict(ours.named_parameters())
    assert found.keys() == theirs.keys()
    for key, array in found.items():
        peer = theirs[key].detach().numpy()
        assert array.shape == peer.shape
        assert array.std() == pytest.approx(peer.std(), rel=0.2), key
        assert array.mean() == pytest.approx(peer.mean(), abs=0.01), key
    table = "embeddings.word_embeddings.weight"
    assert not found[table][3].any()
    assert not theirs[table][3].any()


def through(library: Any, tensors: str, folder: Path, one: Any) -> dict[str, Any]:
    """Type what is typed in either library; the import line is the argument."""
    tokenizer = library.BertTokenizer.from_pretrained(demo_folder())
    config = library.BertConfig.from_pretrained(demo_folder())
    model = library.BertForMaskedLM.from_pretrained(demo_folder(), dtype="float32")
    model = model.to("cpu").eval()
    inputs = tokenizer(TEXTS, padding=True, truncation=True, return_tensors=tensors)
    with one():
        output = model(**inputs, output_hidden_states=True, return_dict=True)
        scratch = library.BertModel(library.BertConfig(**SIZES))
        count = scratch.num_parameters()
    model.save_pretrained(folder)
    again = library.BertForMaskedLM.from_pretrained(folder, dtype="float32")
    with one():
        logits = again(**inputs).logits
    return {
        "logits": np.asarray(output.logits),
        "first": np.asarray(output[0]),
        "last": np.asarray(output["hidden_states"][-1]),
        "again": np.asarray(logits),
        "names": list(output.keys()),
        "number": output.to_tuple()[0].shape,
        "sizes": (config.hidden_size, config.num_labels, config.to_dict()["vocab_size"]),
        "parameters": (count, model.num_parameters()),
        "device": str(model.device),
    }


def test_a_script_runs_with_its_import_changed(tmp_path: Path) -> None:
    ours = through(numpy_bert, "np", tmp_path / "ours", nullcontext)
    theirs = through(transformers, "pt", tmp_path / "theirs", torch.no_grad)
    mask = np.asarray(
        BertTokenizer.from_pretrained("demo")(TEXTS, padding=True)["attention_mask"], bool
    )
    for key, value in ours.items():
        if isinstance(value, np.ndarray):
            assert np.abs(value - theirs[key])[mask].max() < 1e-4, key
        else:
            assert value == theirs[key], key
    for folder in ("ours", "theirs"):  # and each loads what the other saved
        there = BertForMaskedLM.from_pretrained(tmp_path / folder)
        assert there.num_parameters() == ours["parameters"][1]
