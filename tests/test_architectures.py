"""What the architectures of BERT's family are, and how a config has it."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

import numpy_bert.config
from numpy_bert.architectures import ARCHITECTURES, REFUSED
from numpy_bert.config import BertConfig, config_class, read_config
from numpy_bert.errors import ConfigError
from numpy_bert.identity import identity_of
from numpy_bert.parameters import BertParameters, shapes

every_architecture = pytest.mark.parametrize("kind", ARCHITECTURES)
FIELDS = {field.name for field in dataclasses.fields(BertConfig)}


@every_architecture
def test_an_entry_names_what_there_is(kind: str) -> None:
    entry = ARCHITECTURES[kind]
    assert entry.model_type == kind
    assert {*entry.settings.values(), *entry.defaults, *entry.fixed} <= FIELDS
    assert len(set(entry.settings.values())) == len(entry.settings)
    assert len(set(entry.keys.values())) == len(entry.keys)  # so that saving can go back
    assert entry.prefix.endswith(".")
    assert kind not in REFUSED


def test_bert_is_first_and_all_default() -> None:
    bert = next(iter(ARCHITECTURES.values()))
    assert bert.model_type == "bert"
    names = ("settings", "defaults", "fixed", "only", "keys", "lacks", "encoders")
    assert not any(getattr(bert, name) for name in names)


@every_architecture
def test_a_config_is_saved_and_read_as_its_own(kind: str, tmp_path: Path) -> None:
    config = BertConfig(model_type=kind, vocab_size=61, num_labels=3)
    assert BertConfig.from_dict(config.to_dict()) == config == BertConfig(**config.to_dict())
    assert dataclasses.replace(config, vocab_size=61) == config
    assert dataclasses.replace(config, vocab_size=62) != config
    for again in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert again == config
        assert hash(again) == hash(config)
    own = config_class(kind)(vocab_size=61, num_labels=3)
    assert own == config
    for again in (copy.copy(own), pickle.loads(pickle.dumps(own)), dataclasses.replace(own)):
        assert again == own
        assert type(again) is type(own)
    own.save_pretrained(tmp_path)
    stated = read_config(tmp_path / "config.json")
    assert stated.config == config
    assert stated.notes == ()
    assert type(stated.config) is config_class(kind)
    assert not hasattr(own, "__dict__")


@every_architecture
def test_each_has_a_class_of_its_own_config(kind: str) -> None:
    name = f"{ARCHITECTURES[kind].classes}Config"
    own = getattr(numpy_bert.config, name)
    assert (own.__name__, own().model_type) == (name, kind)
    assert own.from_dict({}) == own()
    if kind == "bert":
        return
    message = f"^model_type must be {kind!r} in {name}; got 'bert'. BertConfig and AutoConfig"
    with pytest.raises(ConfigError, match=message):
        own(model_type="bert")
    with pytest.raises(ConfigError, match=message):
        own.from_dict({"model_type": "bert"})


def test_own_names_are_read_and_written() -> None:
    config = BertConfig(model_type="distilbert", dim=24, n_heads=4, activation="relu")
    assert (config.hidden_size, config.num_attention_heads, config.hidden_act) == (24, 4, "relu")
    assert (config.dim, config.n_heads, config.activation) == (24, 4, "relu")
    assert config == BertConfig(
        model_type="distilbert", hidden_size=24, num_attention_heads=4, hidden_act="relu"
    )
    written = config.to_dict()
    assert (written["dim"], written["seq_classif_dropout"], written["qa_dropout"]) == (24, 0.2, 0.1)
    assert not {"hidden_size", "layer_norm_eps", "type_vocab_size"} & written.keys()
    with pytest.raises(ConfigError, match=r"^dim = 24 and hidden_size = 25 are one setting"):
        BertConfig(model_type="distilbert", dim=24, hidden_size=25)
    with pytest.raises(AttributeError, match="has no attribute 'dim'"):
        BertConfig().dim  # noqa: B018


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("distilbert", {"layer_norm_eps": 1e-5}, r"it is always 1e-12 in a DistilBERT\.$"),
        ("mpnet", {"type_vocab_size": 2}, r"it is always 0 in an MPNet\.$"),
        ("bert", {"projection_dim": 3}, r"it is always 0 in a BERT\.$"),
        ("roberta", {"pad_token_id": None}, r"^pad_token_id must be an id from 0; got None. The"),
        ("roberta", {"pad_token_id": -1}, r"^pad_token_id must be an id from 0; got -1. The"),
        ("roberta", {"max_position_embeddings": 2}, r"must be at least 3, as texts have those"),
        ("electra", {"embedding_size": 0}, r"^embedding_size must be an integer from 1 to"),
        ("electra", {"summary_type": "mean"}, r"^summary_type = 'mean' is not supported; only"),
        ("ernie", {"use_task_id": 1}, r"^use_task_id must be true or false; got 1"),
        ("ernie", {"task_type_vocab_size": 0}, r"^task_type_vocab_size must be an integer from 1"),
        ("dpr", {"projection_dim": -1}, r"^projection_dim must be an integer from 0 to"),
        ("mpnet", {"relative_attention_num_buckets": 31}, r"must be an integer from 32 to"),
        ("distilbert", {"qa_dropout": 2}, r"^qa_dropout must be a probability from 0 to 1"),
        ("distilbert", {"n_head": 4}, r"^n_head is no setting of DistilBertConfig.* n_heads\?$"),
    ],
)
def test_what_an_architecture_cannot_be(kind: str, settings: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BertConfig(model_type=kind, **settings)


def test_what_a_file_says_of_others_is_not_read() -> None:
    """It is passed over, as in transformers, which keeps it and reads it nowhere."""
    values = {"model_type": "distilbert", "layer_norm_eps": 1e-5, "sinusoidal_pos_embds": True}
    assert BertConfig.from_dict(values) == BertConfig(model_type="distilbert")


def test_a_file_says_a_setting_by_its_own_name_or_by_a_common_one(tmp_path: Path) -> None:
    """As transformers, which knows hidden_size of all architectures, but not all that is BERT's."""
    own = {"model_type": "distilbert", "hidden_size": 24, "n_heads": 4, "activation": "relu"}
    assert BertConfig.from_dict(own) == BertConfig(**own)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(own | {"intermediate_size": 37, "hidden_act": "tanh"}))
    found = read_config(path)
    assert (found.config.hidden_dim, found.config.hidden_act) == (3072, "relu")
    assert found.notes[:2] == (
        "intermediate_size = 37 was not read; in a DistilBERT it is hidden_dim.",
        "hidden_act = 'tanh' was not read; in a DistilBERT it is activation.",
    )


@pytest.mark.parametrize(
    ("kind", "settings", "first", "most", "row"),
    [
        ("bert", {}, 0, 512, None),
        ("roberta", {"max_position_embeddings": 514}, 2, 512, 1),
        ("xlm-roberta", {"max_position_embeddings": 8194}, 2, 8192, 1),
        ("roberta", {"max_position_embeddings": 20, "pad_token_id": 4}, 5, 15, 4),
        ("mpnet", {"max_position_embeddings": 514, "pad_token_id": 5}, 2, 512, 1),
        ("distilbert", {}, 0, 512, None),
    ],
)
def test_positions_begin_after_padding(
    kind: str, settings: Any, first: int, most: int, row: int | None
) -> None:
    config = BertConfig(model_type=kind, **settings)
    assert (config.first_position, config.max_tokens) == (first, most)
    assert config.position_padding_idx == row


def test_the_tree_has_what_the_architecture_has() -> None:
    def keys(kind: str, **settings: Any) -> set[str]:
        sizes = {"hidden_size": 24, "num_attention_heads": 4, "num_hidden_layers": 1}
        found = shapes(BertParameters, BertConfig(model_type=kind, **sizes, **settings))
        return {key for key in found if not key.startswith("encoder.layer.")}

    bert = keys("bert")
    segments = {"embeddings.token_type_embeddings.weight"}
    pooler = {"pooler.dense.weight", "pooler.dense.bias"}
    project = {"embeddings_project.weight", "embeddings_project.bias"}
    assert segments | pooler < bert
    for kind in ("roberta", "xlm-roberta", "camembert", "ernie"):
        assert keys(kind) == bert
    assert keys("ernie", use_task_id=True) == bert | {"embeddings.task_type_embeddings.weight"}
    assert keys("distilbert") == bert - segments - pooler
    assert keys("electra", embedding_size=24) == bert - pooler
    assert keys("electra", embedding_size=12) == (bert - pooler) | project
    assert keys("dpr") == bert - pooler
    assert keys("dpr", projection_dim=5) == (bert - pooler) | {
        "encode_proj.weight",
        "encode_proj.bias",
    }
    bias = {"encoder.relative_attention_bias.weight"}
    assert keys("mpnet") == (bert - segments) | bias


def test_an_identity_has_the_fields_of_the_architecture() -> None:
    """So that what a BERT's work was told by before there were others tells it still."""

    class Model:
        def __init__(self, kind: str) -> None:
            self.config = BertConfig(model_type=kind)

    of_bert = identity_of(Model("bert"))
    assert not any(f"config.{name}" in of_bert for name in ("model_type", "embedding_size"))
    assert identity_of(Model("electra"))["config.embedding_size"] == 128


@pytest.mark.parametrize("kind", ["roberta", "camembert", "mpnet"])
def test_the_ids_of_a_frame_are_kept_as_they_are_read(kind: str) -> None:
    config = BertConfig.from_dict({"model_type": kind, "bos_token_id": 5, "eos_token_id": None})
    assert (config.to_dict()["bos_token_id"], config.to_dict()["eos_token_id"]) == (5, None)
    assert BertConfig(model_type=kind).eos_token_id == 2
    with pytest.raises(ConfigError, match=r"^eos_token_id must be null or an integer; got '2'\.$"):
        BertConfig(model_type=kind, eos_token_id="2")


def test_an_odd_id_of_a_frame_is_left_out(tmp_path: Path) -> None:
    text = '{"model_type": "roberta", "bos_token_id": 3, "eos_token_id": [2]}'
    (tmp_path / "config.json").write_text(text)
    stated = read_config(tmp_path / "config.json")
    assert (stated.config.bos_token_id, stated.config.eos_token_id) == (3, 2)
    assert stated.notes[-1] == "eos_token_id = [2] was not read; nothing depends on it."


def test_a_bert_has_no_ids_of_a_frame() -> None:
    config = BertConfig(bos_token_id=1, eos_token_id=2)
    assert config == BertConfig.from_dict({"bos_token_id": 1, "eos_token_id": "x"}) == BertConfig()
    assert not {"bos_token_id", "eos_token_id"} & config.to_dict().keys()
