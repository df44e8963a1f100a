"""Files of sentence-transformers' models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.checkpoints import serialize
from tests.support.demo import write_plain

OLD = "sentence_transformers.models."
NEW = {
    "Transformer": "sentence_transformers.base.modules.transformer.Transformer",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "Dense": "sentence_transformers.base.modules.dense.Dense",
    "Normalize": "sentence_transformers.base.modules.normalize.Normalize",
    "Dropout": "sentence_transformers.sentence_transformer.modules.dropout.Dropout",
    "LayerNorm": "sentence_transformers.sentence_transformer.modules.layer_norm.LayerNorm",
}


def modules(*kinds: str, new: bool = False) -> list[dict[str, Any]]:
    """Return a modules.json of these classes, as old files or those of version 6 name them."""
    return [
        {
            "idx": place,
            "name": str(place),
            "path": f"{place}_{kind}".replace("\x1b", "") if place else "",
            "type": NEW[kind] if new else kind if "." in kind else OLD + kind,
        }
        for place, kind in enumerate(kinds)
    ]


def write(folder: Path, files: dict[str, Any], *, model: bool = False) -> Path:
    """Write files, JSON where they are no bytes, beside the demo's BERT if that is wanted too."""
    if model:
        write_plain(folder)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        path.write_bytes(data)
    return folder


def dense_files(**config: Any) -> dict[str, Any]:
    """Return the files of a model with a Dense of 128 to 5 features."""
    rng = np.random.default_rng(0)
    tensors = {
        "linear.weight": rng.standard_normal((5, 128)).astype(np.float32),
        "linear.bias": rng.standard_normal(5).astype(np.float32),
    }
    stated = {
        "in_features": 128,
        "out_features": 5,
        "activation_function": "torch.nn.modules.activation.Tanh",
    }
    return {
        "modules.json": modules("Transformer", "Pooling", "Dense"),
        "1_Pooling/config.json": {"pooling_mode": "mean"},
        "2_Dense/config.json": stated | config,
        "2_Dense/model.safetensors": serialize(tensors),
    }
