"""Targets of fuzz.py: config.json, and the files of a sentence-transformers model.

What is taken is what the file says, or makes the vectors that sentence-transformers makes of the
same folder. Where the other library refuses what is taken here, there is nothing to compare.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from fuzz_json import edited, same
from fuzz_target import Difference, Target, refused
from json_edits import ODD, changed

from numpy_bert import BertConfig, BertTokenizer, SentenceEncoder
from numpy_bert.config import read_config
from numpy_bert.errors import ConfigError
from numpy_bert.loading.cache import demo_folder
from numpy_bert.parameters import BertParameters, shapes

__all__ = ["TARGETS"]

GOOD_CONFIG = json.dumps(
    {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": 61,
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 37,
        "max_position_embeddings": 19,
        "type_vocab_size": 3,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "layer_norm_eps": 1e-12,
        "initializer_range": 0.02,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "tie_word_embeddings": True,
        "classifier_dropout": None,
        "is_decoder": False,
        "id2label": {"0": "no", "1": "yes"},
        "label2id": {"no": 0, "yes": 1},
        "torch_dtype": "float32",
    }
)
CONFIG_ODD = (*ODD, "roberta", "relative_key", "gelu_new", "relu", "prelu", 12, 24, 48, "bert")
CONFIG_NAMES = (
    *("model_type", "hidden_act", "num_labels", "id2label", "problem_type", "auto_map", "x", ""),
    *("sbert_ce_default_activation_function", "sentence_transformers", "embedding_size"),
    *("is_decoder", "add_cross_attention", "hidden_size", "layer_norm_eps", "pad_token_id"),
)
# The one value that is supported of each, null aside; absent is as good.
ONLY = {
    "model_type": "bert",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "is_encoder_decoder": False,
}
# Fields that do not hold what stands under their names alone.
DERIVED = {"labels", "problem_type", "sbert_ce_default_activation_function", "initializer_range"}
DEFAULTS = BertConfig()


def new_config(rng: random.Random) -> bytes:
    """Return a config.json with some changes."""
    if rng.random() < 0.2:
        return edited(GOOD_CONFIG.encode(), rng)
    return changed(GOOD_CONFIG, rng, CONFIG_ODD, CONFIG_NAMES)


def config_file(path: Path, rng: random.Random) -> bool:
    """Read one config.json, and compare each field with what Python's json reads."""
    data, found = new_config(rng), list[BertConfig]()
    path.write_bytes(data)
    if refused(lambda: found.append(read_config(path).config), naming=f"{path}: "):
        return False
    stated = json.loads(data)
    for name, only in ONLY.items():
        if stated.get(name) not in (None, only):
            raise Difference(f"{name} = {stated[name]!r} was taken")
    for field in fields(BertConfig):
        value = stated.get(field.name, getattr(DEFAULTS, field.name))
        if field.name not in DERIVED and not same(getattr(found[0], field.name), value):
            raise Difference(f"{field.name} = {getattr(found[0], field.name)!r}; it says {value!r}")
    labels = stated.get("id2label")
    if is_plain(labels) and found[0].labels != tuple(labels.values()):
        raise Difference(f"labels {found[0].labels!r}; it says {labels!r}")
    return True


def is_plain(labels: Any) -> bool:
    """Tell whether an id2label is one that nobody can misread: texts by 0, 1 and so on."""
    if not isinstance(labels, dict) or not labels:
        return False
    numbered = list(labels) == [str(number) for number in range(len(labels))]
    return numbered and all(isinstance(name, str) for name in labels.values())


class ConfigPair(NamedTuple):
    """Where a config.json is written, and transformers' BertConfig."""

    path: Path
    theirs: Any


def prepare_transformers(folder: Path) -> ConfigPair:
    """Import transformers."""
    from transformers import BertConfig as Theirs

    return ConfigPair(folder / "config.json", Theirs)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what other libraries say of their inputs out of sight."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def same_config(pair: ConfigPair, rng: random.Random) -> bool:
    """Read one config.json, and compare it with what transformers makes of it."""
    data, found = new_config(rng), list[BertConfig]()
    pair.path.write_bytes(data)
    if refused(lambda: found.append(read_config(pair.path).config), naming=f"{pair.path}: "):
        return False
    stated = json.loads(data)
    stated.pop("num_labels", None)  # they make a name for each, however many
    try:
        with quiet():
            theirs = pair.theirs.from_dict(stated)
    except Exception:  # noqa: BLE001 whatever they refuse it by
        return True
    for field in fields(BertConfig):
        if field.name in DERIVED:
            continue
        ours, other = getattr(found[0], field.name), getattr(theirs, field.name)
        if ours != other:
            raise Difference(f"{field.name} = {ours!r}; transformers has {other!r}: {data!r}")
    return True


OLD = "sentence_transformers.models."
FEATURES, FEWER = 24, 5
SETTINGS: Mapping[str, Any] = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": f"{OLD}Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{OLD}Pooling"},
        {"idx": 2, "name": "2", "path": "2_Dense", "type": f"{OLD}Dense"},
        {"idx": 3, "name": "3", "path": "3_LayerNorm", "type": f"{OLD}LayerNorm"},
        {"idx": 4, "name": "4", "path": "4_Normalize", "type": f"{OLD}Normalize"},
    ],
    "config_sentence_transformers.json": {
        "prompts": {"query": "query: ", "document": ""},
        "default_prompt_name": "query",
        "similarity_fn_name": "dot",
        "truncate_dim": 4,
    },
    "sentence_bert_config.json": {"max_seq_length": 9, "do_lower_case": False},
    "1_Pooling/config.json": {
        "word_embedding_dimension": FEATURES,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True,
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
        "include_prompt": True,
    },
    "2_Dense/config.json": {
        "in_features": FEATURES,
        "out_features": FEWER,
        "bias": True,
        "activation_function": "torch.nn.modules.activation.Tanh",
    },
    "3_LayerNorm/config.json": {"dimension": FEWER},
}
SETTINGS_ODD = (
    *ODD,
    *("cls", "max", "mean", "lasttoken", "weightedmean", "mean_sqrt_len_tokens", ["cls", "max"]),
    *("cosine", "euclidean", "manhattan", "cos_sim", "query", "document"),
    *(f"torch.nn.modules.{name}" for name in ("activation.ReLU", "linear.Identity", "Softmax")),
    *(
        f"{OLD}{kind}"
        for kind in ("Pooling", "Dense", "Normalize", "Dropout", "CNN", "Transformer")
    ),
    *("sentence_transformers.base.modules.dense.Dense", "os.system", "1_Pooling", "3_LayerNorm"),
    *("./1_Pooling", "1_Pooling/", "../1_Pooling", "sentence_embedding", 3, 5, 8, 128, 512),
)
SETTINGS_NAMES = (
    *("path", "type", "name", "prompts", "default_prompt_name", "similarity_fn_name", "x", ""),
    *("truncate_dim", "model_type", "max_seq_length", "do_lower_case", "pooling_mode"),
    *("pooling_mode_lasttoken", "embedding_dimension", "include_prompt", "use_residual"),
    *("module_input_name", "model_args", "tokenizer_args", "activation_function", "bias"),
)
TEXTS = ["A cat sat.", "two DOGS ran over the hill and far away, further than nine tokens"]


class Sentences(NamedTuple):
    """A folder with a sentence model, and sentence-transformers' class that loads one."""

    folder: Path
    theirs: Callable[..., Any]


def prepare_sentences(folder: Path) -> Sentences:
    """Write a small BERT of random weights with five modules."""
    from safetensors.numpy import save
    from sentence_transformers import SentenceTransformer

    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((demo_folder() / name).read_bytes())
    stated = json.loads(GOOD_CONFIG) | {"vocab_size": len(BertTokenizer.from_pretrained("demo"))}
    (folder / "config.json").write_text(json.dumps(stated))
    rng = np.random.default_rng(0)
    table = shapes(BertParameters, BertConfig.from_dict(stated))
    bert = {key: rng.standard_normal(shape, np.float32) for key, shape in table.items()}
    (folder / "model.safetensors").write_bytes(save(bert))
    weights = {"linear.weight": (FEWER, FEATURES), "linear.bias": (FEWER,)}
    norm = {"norm.weight": (FEWER,), "norm.bias": (FEWER,)}
    for name, own in (("2_Dense", weights), ("3_LayerNorm", norm)):
        (folder / name).mkdir()
        tensors = {key: rng.standard_normal(shape, np.float32) for key, shape in own.items()}
        (folder / name / "model.safetensors").write_bytes(save(tensors))
    (folder / "1_Pooling").mkdir()
    for name, content in SETTINGS.items():
        (folder / name).write_text(json.dumps(content))
    return Sentences(folder, SentenceTransformer)


def settings_file(state: Sentences, rng: random.Random) -> bool:
    """Encode texts by a model of which one file is changed, and compare the vectors."""
    name = rng.choice(list(SETTINGS))
    path, good, found = state.folder / name, json.dumps(SETTINGS[name]), list[SentenceEncoder]()
    data = (
        edited(good.encode(), rng)
        if rng.random() < 0.15
        else changed(good, rng, SETTINGS_ODD, SETTINGS_NAMES, most=1)
    )
    path.write_bytes(data)
    try:
        load = lambda: found.append(SentenceEncoder.from_pretrained(state.folder))  # noqa: E731
        if refused(load, naming=f"{state.folder}"):
            return False
        with quiet():
            compare(found[0], state, data)
    finally:
        path.write_text(good)
    return True


def compare(ours: SentenceEncoder, state: Sentences, data: bytes) -> None:
    """Raise Difference where sentence-transformers makes other vectors, if it makes any."""
    try:
        theirs = state.theirs(str(state.folder), device="cpu", local_files_only=True)
        expected = theirs.encode(TEXTS)
    except Exception:  # noqa: BLE001 whatever they refuse it by
        with contextlib.suppress(ConfigError):
            ours.encode(TEXTS)
        return
    vectors = ours.encode(TEXTS)
    if vectors.shape != expected.shape or not np.allclose(vectors, expected, atol=2e-5):
        raise Difference(f"other vectors than sentence-transformers': {data!r}")
    if ours.similarity_fn_name != theirs.similarity_fn_name:
        raise Difference(f"{ours.similarity_fn_name} for {theirs.similarity_fn_name}: {data!r}")


TARGETS = [
    Target("config", "Python's json", lambda folder: folder / "config.json", config_file),
    Target("config-theirs", "transformers", prepare_transformers, same_config, "transformers", 10),
    Target(
        "modules",
        "sentence-transformers",
        prepare_sentences,
        settings_file,
        "sentence_transformers",
        10,
    ),
]
