"""Tiny models and traces of them, by the package's own readable code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert import AutoModel, BertConfig, BertModel
from numpy_bert.comparison.compare import compare
from numpy_bert.comparison.report import Report
from numpy_bert.comparison.tolerances import Tolerances
from numpy_bert.loading.keys import stored
from numpy_bert.parameters import BertParameters, shapes
from numpy_bert.traces.layout import INPUTS
from numpy_bert.traces.names import matches
from numpy_bert.traces.reading import as_trace
from tests.support.checkpoints import SIZES, TINY, random_tensors, write_checkpoint

Arrays = dict[str, npt.NDArray[Any]]

# Padding right, left and in a hole; two segments; no mistake of mask or position hides.
IDS: Mapping[str, npt.NDArray[np.int64]] = {
    "input_ids": np.array(
        [[5, 9, 60, 3, 17, 2, 8], [0, 0, 4, 44, 7, 31, 12], [11, 23, 0, 50, 6, 0, 0]]
    ),
    "attention_mask": np.array(
        [[1, 1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1], [1, 1, 0, 1, 1, 0, 0]]
    ),
    "token_type_ids": np.array(
        [[0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1], [0, 1, 0, 1, 1, 0, 0]]
    ),
}


def trained_like(folder: Path, **changes: Any) -> Path:
    """Write a tiny checkpoint whose numbers have the size of trained ones."""
    config = {**TINY, "type_vocab_size": 2, **changes}
    rng = np.random.default_rng(7)
    tensors = {
        key: (key.endswith("LayerNorm.weight") + rng.normal(0, 0.3, array.shape)).astype("f4")
        for key, array in random_tensors(config).items()
    }
    return write_checkpoint(folder, tensors, config)


def tiny(folder: Path, dtype: str = "float32", **changes: Any) -> BertModel:
    """Return a tiny model whose numbers have the size of trained ones, the biases included."""
    config = {**TINY, **changes}
    tensors = {key: array * np.float32(0.25) for key, array in random_tensors(config).items()}
    return BertModel.from_pretrained(write_checkpoint(folder, tensors, config), dtype=dtype)


# The other architectures, each in a tiny model of odd sizes with all that it may have.
FAMILY: Mapping[str, Mapping[str, Any]] = {
    "roberta": {"type_vocab_size": 1, "layer_norm_eps": 1e-5},
    "distilbert": {},
    "electra": {"embedding_size": 15, "type_vocab_size": 2},
    "ernie": {"use_task_id": True, "type_vocab_size": 2},
    "dpr": {"projection_dim": 13, "type_vocab_size": 2},
    "mpnet": {"layer_norm_eps": 1e-5},
}


def relative(folder: Path, kind: str, **changes: Any) -> Path:
    """Write a tiny checkpoint of an architecture, of numbers that have the size of trained ones."""
    config = BertConfig(model_type=kind, **{**SIZES, **FAMILY[kind], **changes})
    rng = np.random.default_rng(7)
    entry = config.architecture
    tensors = {
        stored(f"bert.{key}", entry): (
            key.endswith("LayerNorm.weight") + rng.normal(0, 0.3, shape)
        ).astype("f4")
        for key, shape in shapes(BertParameters, config).items()
    }
    return write_checkpoint(folder, tensors, config.to_dict())


def ids_of(config: BertConfig) -> dict[str, Any]:
    """Return `IDS` for a model: with its own padding, and with token types if it has some."""
    ids, mask = IDS["input_ids"], IDS["attention_mask"]
    found = {
        "input_ids": np.where(mask == 1, ids, config.pad_token_id or 0),
        "attention_mask": mask,
    }
    return (
        {**found, "token_type_ids": IDS["token_type_ids"]} if config.type_vocab_size > 1 else found
    )


def exact(folder: Path) -> BertModel:
    """Load a model in float64."""
    found: BertModel = AutoModel.from_pretrained(folder, dtype="float64")
    return found


def trace_of(folder: Path, dtype: str = "float32", ids: Mapping[str, Any] = IDS) -> Arrays:
    """Return ids and every step of a run."""
    model = BertModel.from_pretrained(folder, dtype=dtype)
    return {**ids, **dict(model.trace(**ids))}


def without(arrays: Arrays, *names: str) -> Arrays:
    """Return a trace that lacks some arrays."""
    return {name: array for name, array in arrays.items() if name not in names}


def only(arrays: Arrays, globs: Sequence[str]) -> Arrays:
    """Return the inputs of a trace, and the steps that a glob fits."""
    return {n: array for n, array in arrays.items() if n in INPUTS or matches(n, globs)}


def run(reference: Arrays, candidate: Arrays, *tolerances: Any, **options: Any) -> Report:
    """Compare two dicts of arrays."""
    chosen = Tolerances(*tolerances) if tolerances else None
    return compare(as_trace(reference), as_trace(candidate), chosen, **options)


def changed(arrays: Arrays, name: str, at: Any, value: float) -> Arrays:
    """Return the arrays with one number, or some of them, replaced."""
    array = arrays[name].copy()
    array[at] = value
    return {**arrays, name: array}
