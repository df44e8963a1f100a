"""Tiny models of BERT's family, in folders as their published ones are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy_bert
from numpy_bert.architectures import ARCHITECTURES
from numpy_bert.config import BertConfig
from tests.support.checkpoints import SIZES
from tests.support.family_tokenizers import CAMEMBERTS, mpnet_json, roberta_json, xlm_roberta_json
from tests.support.tokenizer_files import tokenizer_json

# What a model is tokenized by: its tokenizer.json, and the class that its repository names.
_BERTS = {"bert": "BertTokenizer", "distilbert": "DistilBertTokenizer", "ernie": "BertTokenizer"}
_BERTS |= {"electra": "ElectraTokenizer", "dpr": "DPRQuestionEncoderTokenizer"}
TOKENIZERS: dict[str, tuple[Any, str]] = {
    **{name: (tokenizer_json, kind) for name, kind in _BERTS.items()},
    "roberta": (roberta_json, "RobertaTokenizer"),
    "xlm-roberta": (xlm_roberta_json, "XLMRobertaTokenizer"),
    "camembert": (partial(xlm_roberta_json, CAMEMBERTS), "CamembertTokenizer"),
    "mpnet": (mpnet_json, "MPNetTokenizer"),
}
# How many tokens a text may have, whatever the architecture; and how many positions that takes.
MOST_TOKENS = 30
POSITIONS = dict.fromkeys(ARCHITECTURES, MOST_TOKENS)
POSITIONS |= dict.fromkeys(("roberta", "xlm-roberta", "camembert", "mpnet"), MOST_TOKENS + 2)


def sizes_of(model_type: str, tokenizer: str | None = None) -> dict[str, Any]:
    """Return the settings of a tiny config.json, by the names that the architecture has."""
    document = TOKENIZERS[tokenizer or model_type][0]()["model"]["vocab"]
    sizes = SIZES | {
        "vocab_size": len(document),
        "max_position_embeddings": POSITIONS[model_type],
        "initializer_range": 0.25,
    }
    if model_type == "electra":
        sizes["embedding_size"] = 11
    elif model_type == "ernie":
        sizes["use_task_id"] = True
    elif model_type == "dpr":
        sizes["projection_dim"] = 0
    return in_words_of(model_type, sizes)


def in_words_of(model_type: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings that have BERT's names by those that the architecture has."""
    own = {field: name for name, field in ARCHITECTURES[model_type].settings.items()}
    return {own.get(name, name): value for name, value in settings.items()}


def write_tokenizer(folder: Path, kind: str, **config: Any) -> Path:
    """Write the two files of a tokenizer, as the published ones of its kind are."""
    make, name = TOKENIZERS[kind]
    document = make()
    if config.get("do_lower_case") is False:
        document["normalizer"]["lowercase"] = False
    stated = {"tokenizer_class": name, "model_max_length": MOST_TOKENS, **config}
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in (("tokenizer.json", document), ("tokenizer_config.json", stated)):
        (folder / file).write_text(json.dumps(content), "utf-8")
    return folder


def write_model(
    folder: Path, model_type: str, end: str = "Model", *, seed: int = 0, **settings: Any
) -> Path:
    """Save a tiny random model, with the head that its class's name ends in, and a tokenizer."""
    write_tokenizer(folder, model_type)
    given = {"model_type": model_type, **sizes_of(model_type), **settings}
    config, classes = BertConfig.from_dict(given), ARCHITECTURES[model_type].classes
    kind = "QuestionEncoder" if model_type == "dpr" else "Model"
    model = getattr(numpy_bert, classes + kind)(config, seed=seed)
    if end != "Model":
        model = getattr(numpy_bert, classes + end)(model, folder=folder, seed=seed)
    model.save_pretrained(folder)
    return folder
