"""A model on the stand-in hub, and its corner of the cache."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.demo import plain_files

REPO = "someone/tiny-bert"
FILES: dict[str, bytes] = {
    **plain_files(),
    "modules.json": json.dumps([{"path": ""}, {"path": "1_Pooling"}]).encode(),
    "1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true}',
    "sentence_bert_config.json": b'{"max_seq_length": 256}',
    # What is not taken:
    "README.md": b"card",
    "pytorch_model.bin": b"\x80\x02pickle",
    "onnx/model.onnx": b"onnx",
    "other.safetensors": b"unlisted",
    "2_Other/config.json": b"{}",
}
TAKEN = {
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "model.safetensors",
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
}


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files below a folder, by their paths in it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def cache_of(tmp_path: Path) -> Path:
    """Return the corner of the cache in which the repository is."""
    return tmp_path / "home" / "hub" / f"models--{REPO.replace('/', '--')}"


def corrupt(path: Path) -> None:
    """Flip the last bit of a file, or of the blob that a link leads to."""
    blob = path.resolve()
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(bytes(data))
