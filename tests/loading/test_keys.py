"""numpy_bert.loading.keys: every published spelling, renamed by one rule."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_bert.architectures import ARCHITECTURES, Architecture
from numpy_bert.config import BertConfig
from numpy_bert.errors import CheckpointError
from numpy_bert.loading.keys import (
    BUFFERS,
    Naming,
    canonical,
    foreign_model,
    naming,
    near_miss,
    renamed,
    stored,
)
from numpy_bert.model.family_heads import head_of
from numpy_bert.parameters import TIED, BertParameters, pretraining_shapes, shapes
from tests.support.checkpoints import TINY
from tests.support.limits import within

KEYS = [*pretraining_shapes(BertConfig.from_dict(TINY)), *TIED, *BUFFERS]


@pytest.mark.parametrize(
    "prefix", ["", "bert.", "module.", "module.bert.", "bert.bert.", "bert.module."]
)
def test_prefixes_are_taken_away(prefix: str) -> None:  # B9
    assert [canonical(prefix + key) for key in KEYS] == KEYS


def test_old_names_of_layer_norm_are_renamed() -> None:  # B7
    for key in KEYS:
        old = key.replace("LayerNorm.weight", "LayerNorm.gamma")
        old = old.replace("LayerNorm.bias", "LayerNorm.beta")
        assert canonical(f"bert.{old}") == key


@pytest.mark.parametrize(
    "key",
    [
        "gamma",  # B7: only what stands behind `LayerNorm.`
        "encoder.gamma",
        "embeddings.layer_norm.gamma",
        "embeddings.MyLayerNorm.gamma",
        "embeddings.LayerNorm.gamma_1",
        "embeddings.LayerNorm.gamma.weight",
        "embeddings.LayerNorm.weight",
        "encoder.bert.embeddings",  # B9: only what stands at the start
        "bertha.embeddings",
        "Bert.embeddings",
        "bert",
        ".bert.embeddings",
        "",
        " bert.embeddings",
    ],
)
def test_nothing_else_is_renamed(key: str) -> None:
    assert canonical(key) == key


def test_a_bare_layer_norm() -> None:
    assert canonical("LayerNorm.gamma") == "LayerNorm.weight"
    assert canonical("bert.LayerNorm.beta") == "LayerNorm.bias"
    assert canonical("bert.") == ""


PARTS = st.sampled_from(["bert", "module", "LayerNorm", "gamma", "beta", "weight", "", "x"])


@given(st.lists(PARTS, max_size=6).map(".".join))
@settings(deadline=None)
def test_a_canonical_key_is_left_as_it_is(key: str) -> None:
    once = canonical(key)
    assert canonical(once) == once
    assert canonical(f"module.bert.{key}") == once


def test_a_hostile_key_is_renamed_in_time() -> None:  # A17
    with within(10):
        assert canonical("bert." * 2_000_000 + "x") == "x"
        assert near_miss("embeddings." * 2_000_000, KEYS) is None


@pytest.mark.parametrize(
    ("key", "model"),
    [
        ("roberta.embeddings.word_embeddings.weight", "RoBERTa"),
        ("distilbert.transformer.layer.0.attention.q_lin.weight", "DistilBERT"),
        ("transformer.layer.0.attention.q_lin.weight", "DistilBERT"),
        ("electra.embeddings.word_embeddings.weight", "ELECTRA"),
        ("albert.encoder.embedding_hidden_mapping_in.bias", "ALBERT"),
        ("deberta.embeddings.word_embeddings.weight", "DeBERTa"),
        ("mpnet.embeddings.word_embeddings.weight", "MPNet"),
        ("transformer.h.0.attn.c_attn.weight", "GPT-2"),
        ("h.0.attn.c_attn.weight", "GPT-2"),
        ("wte.weight", "GPT-2"),
        ("model.layers.0.self_attn.q_proj.weight", "a decoder such as Llama"),
        ("encoder.block.0.layer.0.SelfAttention.q.weight", "T5"),
        ("vision_model.embeddings.class_embedding", "CLIP"),
    ],
)
def test_other_models_are_known_by_their_keys(key: str, model: str) -> None:  # B16
    assert foreign_model(["lm_head.bias", key]) == model


def test_bert_is_no_other_model() -> None:  # B16
    assert foreign_model(KEYS) is None
    assert foreign_model([]) is None


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("encoder.layer.1.output.dense.bais", "encoder.layer.1.output.dense.bias"),
        ("encoder.layers.1.output.dense.weight", "encoder.layer.1.output.dense.weight"),
        ("embeddings.layernorm.weight", "embeddings.LayerNorm.weight"),
        ("embeddings.word_embedding.weight", "embeddings.word_embeddings.weight"),
        ("classifier.weight", None),
        ("", None),
    ],
)
def test_the_nearest_key_is_proposed(key: str, meant: str | None) -> None:  # B10
    assert near_miss(key, KEYS) == meant


PREFIXES = {
    "model.": "model.",
    "_orig_mod.": "_orig_mod.",
    "_orig_mod.bert.": "_orig_mod.",
    "0.auto_model.": "0.auto_model.",
    "question_encoder.bert_model.": "question_encoder.bert_model.",
    "bert_model.": "bert_model.",
    "bert_model.bert.module.": "bert_model.",
    "module.model.bert.": "module.model.",
    "bert.model.": "bert.model.",
    "encoder.": "encoder.",
    "": "",
    "bert.": "",
    "module.bert.bert.": "",
    "model.roberta.": "",
    "albert.": "",
}


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("heads", [False, True])
def test_a_whole_model_may_hang_under_a_foreign_prefix(prefix: str, heads: bool) -> None:
    keys = [key for key in KEYS if heads or not key.startswith("cls.")]
    found = naming([prefix + key for key in keys], "a file")
    assert found == Naming(PREFIXES[prefix])
    if PREFIXES[prefix]:
        assert [found.canonical(prefix + key) for key in keys] == keys
        # Heads hang beside the BERT, not in it.
        assert found.canonical(PREFIXES[prefix] + "cls.predictions.bias") == "cls.predictions.bias"
        # What lacks the prefix is no parameter, whatever its name.
        assert found.canonical("classifier.weight") not in {*KEYS, "classifier.weight"}


@pytest.mark.parametrize("usual", ["", "bert.", "module."])
def test_a_usual_name_is_never_changed(usual: str) -> None:
    """Whatever else is there: another BERT, or two, or a table of one."""
    names = [usual + key for key in KEYS]
    for other in ("teacher.", "teacher.bert.", "roberta."):
        names += [other + key for key in KEYS]
        assert naming(names, "a file") == Naming()
    assert [Naming().canonical(name) for name in names[: len(KEYS)]] == KEYS


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["x", "", "."],
        ["model.embeddings.word_embeddings.weight"],  # one table is no BERT
        ["myembeddings.word_embeddings.weight", "myembeddings.position_embeddings.weight"],
    ],
)
def test_what_is_no_prefix(names: list[str]) -> None:
    assert naming(names, "a file") == Naming()


def test_two_models_under_two_prefixes_are_refused_by_name() -> None:
    prefixes = ("question_encoder.bert_model.", "ctx_encoder.bert_model.")
    with pytest.raises(CheckpointError) as raised:
        naming([prefix + key for prefix in prefixes for key in KEYS], "a file")
    assert str(raised.value) == (
        "a file: must hold one BERT; got 2, under the prefixes ctx_encoder.bert_model., "
        "question_encoder.bert_model.. Save the one that is meant alone (that part's own "
        "save_pretrained)."
    )


def test_hostile_names_are_looked_through_in_time() -> None:  # A17
    tables = [key for key in KEYS if key.endswith("_embeddings.weight")]
    long = ["x." + "bert." * 500_000 + table for table in tables]
    with within(10):
        assert naming(long, "a file") == Naming("x.")
        many = [f"{i}.{table}" for i in range(30_000) for table in tables]
        with pytest.raises(
            CheckpointError, match=r"^a file: must hold one BERT; got 30000"
        ) as raised:
            naming(many, "a file")
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("entry", ARCHITECTURES.values(), ids=list(ARCHITECTURES))
def test_a_name_goes_there_and_back(entry: Architecture) -> None:
    config: Any = BertConfig(model_type=entry.model_type, num_hidden_layers=2)
    for key in shapes(BertParameters, config):
        name = stored(f"bert.{key}", entry)
        assert canonical(name, entry) == key
        assert canonical(f"module.{name}", entry) == key
        assert renamed(renamed(key, entry, back=True), entry) == key
        assert name.startswith(entry.prefix)
    for end in entry.heads:
        tree: Any = head_of(entry.model_type, end).parameters
        for key in shapes(tree, config):
            there = {v: k for k, v in TIED.items()}[key] if key in entry.lacks else key
            assert canonical(stored(key, entry), entry) == there


@pytest.mark.parametrize(
    ("kind", "key", "name"),
    [
        ("bert", "bert.pooler.dense.bias", "bert.pooler.dense.bias"),
        ("camembert", "bert.pooler.dense.bias", "roberta.pooler.dense.bias"),
        (
            "distilbert",
            "bert.encoder.layer.11.attention.output.LayerNorm.bias",
            "distilbert.transformer.layer.11.sa_layer_norm.bias",
        ),
        (
            "distilbert",
            "bert.encoder.layer.0.attention.output.dense.weight",
            "distilbert.transformer.layer.0.attention.out_lin.weight",
        ),
        (
            "mpnet",
            "bert.encoder.layer.0.attention.output.LayerNorm.weight",
            "mpnet.encoder.layer.0.attention.LayerNorm.weight",
        ),
        (
            "mpnet",
            "bert.encoder.layer.0.output.LayerNorm.weight",
            "mpnet.encoder.layer.0.output.LayerNorm.weight",
        ),
        ("electra", "cls.predictions.transform.dense.bias", "generator_predictions.dense.bias"),
        ("electra", "classifier.dense.bias", "classifier.dense.bias"),
        ("electra", "cls.predictions.bias", "generator_lm_head.bias"),
        ("distilbert", "cls.predictions.bias", "vocab_projector.bias"),
        ("roberta", "cls.predictions.transform.LayerNorm.bias", "lm_head.layer_norm.bias"),
    ],
)
def test_what_transformers_calls_it(kind: str, key: str, name: str) -> None:
    assert stored(key, ARCHITECTURES[kind]) == name


@pytest.mark.parametrize("kind", [kind for kind, entry in ARCHITECTURES.items() if entry.keys])
def test_berts_name_is_none_where_another_takes_its_place(kind: str) -> None:
    entry, config = ARCHITECTURES[kind], BertConfig(model_type=kind, num_hidden_layers=2)
    trees: list[Any] = [BertParameters, *(head_of(kind, end).parameters for end in entry.heads)]
    keys = {key for tree in trees for key in shapes(tree, config)}
    others = {key for key in keys if renamed(key, entry, back=True) != key}
    assert others
    for key in others:  # a BERT's layers are not read as another's, whose rules they do not fit
        assert canonical(key, entry) not in keys
        assert canonical(entry.prefix + key, entry) not in keys
    assert all(canonical(key, entry) == key for key in keys - others)


def test_a_part_of_a_component_is_no_component() -> None:
    distilbert = ARCHITECTURES["distilbert"]
    for name in ("my_transformer.layer", "transformers", "x.sa_layer_norms", "attention.q_linear"):
        assert renamed(name, distilbert) == name


@pytest.mark.parametrize("prefix", ["ctx_encoder.bert_model.", "question_encoder.bert_model."])
def test_an_encoder_of_two_has_its_prefix(prefix: str) -> None:
    dpr = ARCHITECTURES["dpr"]
    keys = [key for key in KEYS if not key.startswith(("cls.", "pooler."))]
    found = naming([prefix + key for key in keys], "a file", dpr)
    assert found == Naming("", dpr)
    assert [found.canonical(prefix + key) for key in keys] == keys
    assert found.canonical(f"{prefix[:-11]}encode_proj.bias") == "encode_proj.bias"
    assert stored("bert.encode_proj.bias", dpr, prefix) == f"{prefix[:-11]}encode_proj.bias"


def test_an_architecture_is_not_foreign_to_itself() -> None:
    roberta = ARCHITECTURES["roberta"]
    names = ["roberta.embeddings.word_embeddings.weight"]
    assert foreign_model(names) == "RoBERTa"
    assert foreign_model(names, roberta) is None
    assert foreign_model(["distilbert.x"], roberta) == "DistilBERT"
