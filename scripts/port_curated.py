"""BERT as curated-transformers has it, in torch: another implementation than transformers'.

    python scripts/port_curated.py CHECKPOINT INPUTS.npz FOLDER

What every module returns, with its own attention and with torch's. `report_ports.py` makes the
environment, runs this file in it and verifies what it saves.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from curated_transformers.layers import AttentionMask, enable_torch_sdp
from curated_transformers.models import BERTEncoder
from curated_transformers.repository import FsspecRepository
from fsspec.implementations.local import LocalFileSystem

# What curated-transformers' modules are called in a trace; those of each layer, by their paths.
_EMBEDDINGS = {
    "piece_embeddings": "word_embeddings",
    "type_embeddings": "token_type_embeddings",
    "position_embeddings": "position_embeddings",
    "embed_output_layer_norm": "LayerNorm",
}
_LAYER = {
    "mha.query": "attention.self.query",
    "mha.key": "attention.self.key",
    "mha.value": "attention.self.value",
    "mha.attention_scorer": "attention.self",
    "mha.output": "attention.output.dense",
    "attn_residual_layer_norm": "attention.output",
    "ffn.intermediate": "intermediate.dense",
    "ffn.activation": "intermediate",
    "ffn.output": "output.dense",
    "ffn_residual_layer_norm": "output",
}


def run(model: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """Return what every module returns, by the names of a trace."""
    trace: dict[str, Any] = {}

    def keep(module: Any, name: str) -> Any:
        def hook(_module: Any, _args: Any, output: Any) -> None:
            if name.endswith("attention.self"):  # its heads are a dimension of their own
                output = output.transpose(1, 2).flatten(2)
            trace[name] = output.numpy().copy()  # some of it is added to in place

        return module.register_forward_hook(hook)

    hooks = [
        keep(getattr(model.embeddings, own), f"embeddings.{name}")
        for own, name in _EMBEDDINGS.items()
    ]
    for number, layer in enumerate(model.layers):
        hooks += [
            keep(layer.get_submodule(own), f"encoder.layer.{number}.{name}")
            for own, name in _LAYER.items()
        ]
    ids, mask, types = (
        torch.from_numpy(inputs[name]) for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    with torch.inference_mode():
        found = model(ids, AttentionMask(mask.bool()), type_ids=types)
    for handle in hooks:
        handle.remove()
    return {**inputs, **trace, "encoder": found.last_hidden_layer_state.numpy()}


def main() -> None:
    """Save the runs."""
    checkpoint, inputs, folder = sys.argv[1:]
    ids = dict(np.load(inputs))
    repository = FsspecRepository(LocalFileSystem(), checkpoint)
    model = BERTEncoder.from_repo(repo=repository).eval()
    np.savez(Path(folder) / "curated-transformers.npz", **run(model, ids))
    with enable_torch_sdp():
        np.savez(Path(folder) / "curated-transformers, SDPA.npz", **run(model, ids))


if __name__ == "__main__":
    main()
