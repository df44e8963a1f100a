"""Tiny random checkpoints with a head and a tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from numpy_bert.config import BertConfig
from numpy_bert.parameters import (
    BertParameters,
    ClassifierParameters,
    MaskedLMParameters,
    MultipleChoiceParameters,
    NextSentenceParameters,
    PreTrainingParameters,
    QuestionAnsweringParameters,
    shapes,
)
from tests.support.checkpoints import TINY, Tensors, write_checkpoint
from tests.support.tokenizer_files import TOKENS, tokenizer_json, write_folder

TREES: dict[str, Any] = {
    "BertForPreTraining": PreTrainingParameters,
    "BertForMaskedLM": MaskedLMParameters,
    "BertForNextSentencePrediction": NextSentenceParameters,
    "BertForSequenceClassification": ClassifierParameters,
    "BertForTokenClassification": ClassifierParameters,
    "BertForQuestionAnswering": QuestionAnsweringParameters,
    "BertForMultipleChoice": MultipleChoiceParameters,
}
CONFIG: dict[str, Any] = TINY | {"vocab_size": len(TOKENS), "num_labels": 5}


def head_tensors(name: str, config: dict[str, Any] = CONFIG, *, seed: int = 0) -> Tensors:
    """Return the tensors of a model of a task; exact in float16 and bfloat16."""
    sizes = BertConfig.from_dict(config)
    rng = np.random.default_rng(seed)
    table = shapes(BertParameters, sizes) | shapes(TREES[name], sizes)
    return {
        key: (rng.integers(-127, 128, shape) / 256.0).astype(np.float32)
        for key, shape in table.items()
    }


def write_head(
    folder: Path,
    name: str,
    tensors: Tensors | None = None,
    config: dict[str, Any] = CONFIG,
    **options: Any,
) -> Path:
    """Write a checkpoint of a task, tokenizer included, and return its folder."""
    found = head_tensors(name, config) if tensors is None else tensors
    write_checkpoint(folder, found, config, **options)
    return write_folder(folder, {"tokenizer.json": tokenizer_json()})


def calm_head(folder: Path, name: str) -> Path:
    """Write a checkpoint with a head whose numbers have the size of trained ones."""
    calm = {
        key: (array * 0.1 + key.endswith("LayerNorm.weight")).astype("f4")
        for key, array in head_tensors(name).items()
    }
    return write_head(folder, name, calm, CONFIG)
