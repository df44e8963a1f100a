"""Tiny random checkpoints for tests, of odd and pairwise different sizes, in every spelling."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.config import BertConfig
from numpy_bert.parameters import BertParameters, BertPreTrainingHeadsParameters, shapes

Tensors = dict[str, npt.NDArray[Any]]

# The sizes that every architecture has, by BERT's names.
SIZES: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 19,
}
TINY: dict[str, Any] = {
    "model_type": "bert",
    **SIZES,
    "type_vocab_size": 3,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}

_CODES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "int32": "I32",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
    "complex64": "C64",
}
_NO_CODES: Mapping[str, str] = {}


def random_tensors(
    config: Mapping[str, Any] = TINY, *, seed: int = 0, heads: bool = False
) -> Tensors:
    """Return float32 tensors of every key of a BertModel, under canonical keys.

    The values are exact in float16 *and* bfloat16 (eight significant bits), so that a file of
    either holds the same model.
    """
    sizes = BertConfig.from_dict(config)
    table = dict(shapes(BertParameters, sizes))
    if heads:
        table |= shapes(BertPreTrainingHeadsParameters, sizes, "cls.")
    rng = np.random.default_rng(seed)
    return {
        key: (rng.integers(-127, 128, shape) / 64.0).astype(np.float32)
        for key, shape in table.items()
    }


def bfloat16_bits(array: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    """Return the upper half of each float32."""
    return (np.ascontiguousarray(array, "<f4").view("<u4") >> 16).astype("<u2")


def serialize(
    tensors: Mapping[str, npt.NDArray[Any]],
    *,
    bfloat16: bool = False,
    codes: Mapping[str, str] = _NO_CODES,
) -> bytes:
    """Write a safetensors file by hand, so that any name, order and dtype can be written.

    With `bfloat16` every float tensor is cut down to BF16. `codes` sets the dtype code of single
    tensors, whose arrays then are taken for bytes of that dtype (BF16 of uint16, F8 of uint8).
    """
    header: dict[str, Any] = {}
    body = b""
    for name, array in tensors.items():
        floating = array.dtype.kind == "f"
        raw = bfloat16_bits(array) if bfloat16 and floating else np.ascontiguousarray(array)
        data = raw.tobytes()
        header[name] = {
            "dtype": "BF16"
            if bfloat16 and floating
            else codes.get(name) or _CODES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [len(body), len(body) + len(data)],
        }
        body += data
    text = json.dumps(header).encode()
    return pack(text + b" " * (-len(text) % 8), body)  # aligned, as every writer does


def pack(header: bytes, body: bytes, *, length: int | None = None) -> bytes:
    """Put a header's length before it and the data behind it."""
    return struct.pack("<Q", len(header) if length is None else length) + header + body


def write_checkpoint(
    folder: Path,
    tensors: Mapping[str, npt.NDArray[Any]] | None = None,
    config: Mapping[str, Any] = TINY,
    *,
    bfloat16: bool = False,
    codes: Mapping[str, str] = _NO_CODES,
) -> Path:
    """Write config.json and model.safetensors into `folder` and return it; see `serialize`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(dict(config)), "utf-8")
    tensors = random_tensors(config) if tensors is None else tensors
    data = serialize(tensors, bfloat16=bfloat16, codes=codes)
    (folder / "model.safetensors").write_bytes(data)
    return folder


def write_shards(
    folder: Path,
    tensors: Mapping[str, npt.NDArray[Any]] | None = None,
    config: Mapping[str, Any] = TINY,
    *,
    count: int = 3,
) -> Path:
    """Write a sharded checkpoint: config.json, the shards and their index."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(dict(config)), "utf-8")
    tensors = random_tensors(config) if tensors is None else tensors
    names = [f"model-{i + 1:05d}-of-{count:05d}.safetensors" for i in range(count)]
    weight_map = {key: names[i % count] for i, key in enumerate(tensors)}
    for name in names:
        part = {key: array for key, array in tensors.items() if weight_map[key] == name}
        (folder / name).write_bytes(serialize(part))
    total = sum(array.nbytes for array in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    return folder
