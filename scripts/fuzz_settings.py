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
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from fuzz_json import edited, same
from fuzz_target import Difference, Target, refused
from json_edits import ODD, changed

from numpy_bert import BertConfig, BertTokenizer, SentenceEncoder
from numpy_bert.architectures import ARCHITECTURES
from numpy_bert.config import config_class, read_config
from numpy_bert.errors import ConfigError
from numpy_bert.loading.cache import demo_folder
from numpy_bert.parameters import BertParameters, shapes

__all__ = ["TARGETS"]

SIZES: Mapping[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 19,
    "type_vocab_size": 3,
    "embedding_size": 10,
    "projection_dim": 11,
    "task_type_vocab_size": 5,
}
# What config.json holds besides the fields.
BESIDES = {
    "architectures": ["BertModel"],
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "id2label": {"0": "no", "1": "yes"},
    "label2id": {"no": 0, "yes": 1},
    "torch_dtype": "float32",
}
CONFIG_ODD = (
    *(*ODD, *ARCHITECTURES, *ARCHITECTURES, "albert", "relative_key", "gelu_new", "relu", "prelu"),
    *(12, 24, 48, "last"),
)
CONFIG_NAMES = (
    *("model_type", "hidden_act", "num_labels", "id2label", "problem_type", "auto_map", "x", ""),
    *("sbert_ce_default_activation_function", "sentence_transformers", "embedding_size"),
    *("is_decoder", "add_cross_attention", "hidden_size", "layer_norm_eps", "pad_token_id"),
    *(name for entry in ARCHITECTURES.values() for name in (*entry.settings, *entry.defaults)),
)
# The one value that is supported of each in any architecture, null aside; absent is as good.
ONLY = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "is_encoder_decoder": False,
}
# Fields that config.json may have under these names whatever the architecture's own are.
COMMON = {"hidden_size", "num_hidden_layers", "num_attention_heads"}
# Fields that do not hold what stands under their names alone.
DERIVED = {"labels", "problem_type", "sbert_ce_default_activation_function", "initializer_range"}


def sizes(kind: str) -> dict[str, Any]:
    """Return the sizes that an architecture's config has, by its own names."""
    entry, known = ARCHITECTURES[kind], config_class(kind)().field_names
    own = {field: name for name, field in entry.settings.items()}
    return {own.get(name, name): size for name, size in SIZES.items() if name in known}


def good_configs() -> dict[str, str]:
    """Return a good config.json of each architecture."""
    return {
        kind: json.dumps(config_class(kind)(**sizes(kind)).to_dict() | BESIDES)
        for kind in ARCHITECTURES
    }


def new_config(good: Mapping[str, str], rng: random.Random) -> bytes:
    """Return a good config.json of some architecture with some changes."""
    kind = rng.choice(list(good))
    if rng.random() < 0.2:
        return edited(good[kind].encode(), rng)
    data = good[kind]
    if rng.random() < 0.15:  # all of it said to be another one's
        data = json.dumps(json.loads(data) | {"model_type": rng.choice(list(good))})
    return changed(data, rng, CONFIG_ODD, CONFIG_NAMES, most=2)


def own_fields(config: BertConfig) -> Iterator[tuple[str, str]]:
    """Yield the fields that hold what stands in config.json, each with its name there."""
    own = {field: name for name, field in config.architecture.settings.items()}
    for name in config.field_names:
        if name not in DERIVED:
            yield name, own.get(name, name)


class Configs(NamedTuple):
    """Where a config.json is written, and good ones to start from."""

    path: Path
    good: Mapping[str, str]


def prepare_configs(folder: Path) -> Configs:
    """Write down a good config.json of each architecture."""
    return Configs(folder / "config.json", good_configs())


def config_file(state: Configs, rng: random.Random) -> bool:
    """Read one config.json, and compare each field with what Python's json reads."""
    data, found = new_config(state.good, rng), list[BertConfig]()
    state.path.write_bytes(data)
    if refused(lambda: found.append(read_config(state.path).config), naming=f"{state.path}: "):
        return False
    (config,), stated = found, json.loads(data)
    only = {"model_type": config.model_type, **ONLY, **config.architecture.only}
    for name, value in only.items():
        if stated.get(name) not in (None, value):
            raise Difference(f"{name} = {stated[name]!r} was taken")
    for name, own in own_fields(config):
        default = getattr(config_class(config.model_type)(), name)
        value = stated.get(own, stated.get(name, default) if name in COMMON else default)
        if not same(getattr(config, name), value):
            raise Difference(f"{name} = {getattr(config, name)!r}; it says {value!r}: {data!r}")
    labels = stated.get("id2label")
    if is_plain(labels) and config.labels != tuple(labels.values()):
        raise Difference(f"labels {config.labels!r}; it says {labels!r}")
    return True


def is_plain(labels: Any) -> bool:
    """Tell whether an id2label is one that nobody can misread: texts by 0, 1 and so on."""
    if not isinstance(labels, dict) or not labels:
        return False
    numbered = list(labels) == [str(number) for number in range(len(labels))]
    return numbered and all(isinstance(name, str) for name in labels.values())


class ConfigPairs(NamedTuple):
    """Where a config.json is written, transformers' own ones, and its classes of configs."""

    path: Path
    good: Mapping[str, str]
    theirs: Mapping[str, Any]


def prepare_transformers(folder: Path) -> ConfigPairs:
    """Let transformers write a good config.json of each architecture."""
    from transformers import CONFIG_MAPPING

    theirs = {kind: CONFIG_MAPPING[kind] for kind in ARCHITECTURES}
    good = {kind: theirs[kind](**sizes(kind)).to_json_string() for kind in theirs}
    return ConfigPairs(folder / "config.json", good, theirs)


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


def same_config(state: ConfigPairs, rng: random.Random) -> bool:
    """Read one config.json, and compare it with what transformers makes of it."""
    data, found = new_config(state.good, rng), list[BertConfig]()
    state.path.write_bytes(data)
    if refused(lambda: found.append(read_config(state.path).config), naming=f"{state.path}: "):
        return False
    (config,), stated = found, json.loads(data)
    stated.pop("num_labels", None)  # they make a name for each, however many
    try:
        with quiet():
            theirs = state.theirs[config.model_type].from_dict(stated)
    except Exception:  # noqa: BLE001 whatever they refuse it by
        return True
    for name, own in own_fields(config):
        ours, other = getattr(config, name), getattr(theirs, own)
        if ours != other:
            raise Difference(f"{name} = {ours!r}; transformers has {other!r}: {data!r}")
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
    stated = json.loads(good_configs()["bert"]) | {
        "vocab_size": len(BertTokenizer.from_pretrained("demo"))
    }
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
    Target("config", "Python's json", prepare_configs, config_file),
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
