"""The classes of the family: made of data, and like those that are written out."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import numpy_bert
from numpy_bert.architectures import ARCHITECTURES, class_names
from numpy_bert.config import BertConfig
from numpy_bert.errors import CheckpointError, ConfigError
from numpy_bert.model import family
from tests.support import checkpoints

SIZES = checkpoints.SIZES | {"num_labels": 3}
IDS = np.array([[8, 9, 10, 11], [12, 13, 1, 1]])
OWN: dict[str, dict[str, Any]] = {
    "electra": {"embedding_size": 10},
    "ernie": {"use_task_id": True},
    "dpr": {"projection_dim": 5},
}
CLASSES = {
    name: found for name, found in class_names().items() if found[0] and found[1] != "Config"
}


def config_of(kind: str) -> BertConfig:
    return BertConfig(model_type=kind, **SIZES, **OWN.get(kind, {}))


def scores(model: Any) -> dict[str, Any]:
    if type(model).__name__.endswith("ForMultipleChoice"):
        return dict(model(IDS[:, np.newaxis]))
    return dict(model(IDS))


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_of_the_family(name: str, tmp_path: Path) -> None:
    kind, end = CLASSES[name]
    model = getattr(numpy_bert, name)(config_of(kind), seed=3)
    expected = scores(model)
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    if end != "Model":
        copies.append(model.with_parameters(dict(model.named_parameters())))
        entry = ARCHITECTURES[kind]
        assert getattr(model, entry.prefix[:-1]) is model.bert
        assert type(model.bert) is getattr(numpy_bert, entry.class_names("Model")[0])
    model.save_pretrained(tmp_path)
    copies.append(getattr(numpy_bert, name).from_pretrained(tmp_path))
    auto = getattr(numpy_bert, f"AutoModel{end.removeprefix('Model')}")
    copies.append(auto.from_pretrained(tmp_path))
    for other in copies:
        assert type(other) is type(model)
        found = scores(other)
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[key], expected[key]) for key in found)
    written = json.loads((tmp_path / "config.json").read_text())
    assert (written["architectures"], written["model_type"]) == ([name], kind)
    entry = ARCHITECTURES[kind]
    prefix = entry.encoders.get(name, entry.prefix if end != "Model" else "")
    outer = prefix[: prefix.find(".") + 1]
    tables = [key for key in load_file(tmp_path / "model.safetensors") if "word_emb" in key]
    assert tables == [f"{prefix}embeddings.word_embeddings.weight"]
    if entry.encoders:
        assert all(key.startswith(outer) for key in load_file(tmp_path / "model.safetensors"))


def test_a_name_that_is_none() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'RobertaForNothing'"):
        family.RobertaForNothing  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'RobertaConfig'"):
        family.RobertaConfig  # noqa: B018
    assert "RobertaModel" in dir(family)
    assert "RobertaConfig" not in dir(family)


def test_a_head_is_made_for_its_architecture_alone() -> None:
    bert = numpy_bert.BertModel(BertConfig(**SIZES))
    message = (
        r"^RobertaForMaskedLM\(\.\.\.\): is of a BERT .* Use BertForMaskedLM or AutoModelForMas"
    )
    with pytest.raises(ConfigError, match=message):
        numpy_bert.RobertaForMaskedLM(bert)
    with pytest.raises(ConfigError, match="Use XLMRobertaForMaskedLM or AutoModelForMaskedLM"):
        numpy_bert.RobertaForMaskedLM(config_of("xlm-roberta"))


def test_a_file_of_another_model_is_called_by_its_name(tmp_path: Path) -> None:
    """A wrong config.json beside right weights."""
    model = numpy_bert.RobertaForMaskedLM(config_of("roberta"))
    model.save_pretrained(tmp_path)
    electra = config_of("electra")
    (tmp_path / "config.json").write_text(electra.to_json_string())
    message = (
        r"looks like RoBERTa, but config\.json says ELECTRA \(model_type = 'electra'\)\. Give it "
        r"the config\.json that it came with, whose model_type is 'roberta'\.$"
    )
    with pytest.raises(CheckpointError, match=message):
        numpy_bert.AutoModel.from_pretrained(tmp_path)


def test_what_is_missing_is_said_in_the_files_own_names(tmp_path: Path) -> None:
    numpy_bert.DistilBertModel(config_of("distilbert")).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    arrays = load_file(path)
    lost, bent = "transformer.layer.1.ffn.lin2.bias", "transformer.layer.1.ffn.lin2.bais"
    arrays[bent] = arrays.pop(lost)
    path.unlink()
    save_file(arrays, path)
    with pytest.raises(CheckpointError) as raised:
        numpy_bert.AutoModel.from_pretrained(tmp_path)
    assert str(raised.value).splitlines()[1:] == [
        f"  missing  {lost}",
        f"  unknown  {bent}   (did you mean {lost}?)",
    ]


@pytest.mark.parametrize("kind", ["roberta", "mpnet", "distilbert", "electra"])
def test_a_file_as_it_is_published(kind: str, tmp_path: Path) -> None:
    """It has buffers that older versions saved, and the decoder that is the word table."""
    entry = ARCHITECTURES[kind]
    model = family.model_class(config_of(kind), "ForMaskedLM")(config_of(kind), seed=1)
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    arrays = load_file(path)
    decoders = {"distilbert": "vocab_projector", "electra": "generator_lm_head"}
    decoder = decoders.get(kind, "lm_head.decoder")
    arrays[f"{entry.prefix}embeddings.position_ids"] = np.arange(19)[np.newaxis]
    arrays[f"{decoder}.weight"] = arrays[f"{entry.prefix}embeddings.word_embeddings.weight"]
    if kind not in decoders:
        arrays["lm_head.decoder.bias"] = arrays["lm_head.bias"]
    path.unlink()
    save_file({name: np.array(array) for name, array in arrays.items()}, path)
    again = numpy_bert.AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert again.loading_info.notes == again.loading_info.unexpected_keys == ()
    assert again.config.tie_word_embeddings
    assert np.array_equal(again(IDS).logits, model(IDS).logits)


@pytest.mark.parametrize("kind", ["roberta", "distilbert", "electra", "mpnet"])
def test_a_decoder_of_its_own_has_one_bias(kind: str, tmp_path: Path) -> None:
    """A head that has no other in transformers is saved without it, and misses none."""
    config = BertConfig(model_type=kind, tie_word_embeddings=False, **SIZES)
    model = family.model_class(config, "ForMaskedLM")(config, seed=1)
    arrays = dict(model.named_parameters())
    arrays["cls.predictions.decoder.bias"] = np.linspace(0, 1, 61, dtype="f4")
    model = model.with_parameters(arrays)
    model.save_pretrained(tmp_path)
    names = [name for name in load_file(tmp_path / "model.safetensors") if name.endswith("bias")]
    of_words = [
        name for name in names if load_file(tmp_path / "model.safetensors")[name].size == 61
    ]
    assert (
        of_words
        == {
            "roberta": ["lm_head.bias", "lm_head.decoder.bias"],
            "mpnet": ["lm_head.bias", "lm_head.decoder.bias"],
            "distilbert": ["vocab_projector.bias"],
            "electra": ["generator_lm_head.bias"],
        }[kind]
    )
    again = numpy_bert.AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert np.array_equal(again(IDS).logits, model(IDS).logits)
    assert again.loading_info.unexpected_keys == ()
    assert set(again.loading_info.missing_keys) <= {"pooler.dense.weight", "pooler.dense.bias"}


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize(
    ("kind", "name"), [("distilbert", "vocab_projector"), ("electra", "generator_lm_head")]
)
def test_a_head_that_is_not_there_is_named_as_it_would_be_stored(
    kind: str, name: str, ties: bool, tmp_path: Path
) -> None:
    config = BertConfig(model_type=kind, tie_word_embeddings=ties, **SIZES)
    numpy_bert.AutoModel.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        numpy_bert.AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert str(caught.value).count(f"{name}.bias") == 1
    assert (f"{name}.weight" in str(caught.value)) is not ties
    assert "cls.predictions" not in str(caught.value)
