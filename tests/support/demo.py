"""The demo as a plain BERT: its files without those that make it a sentence model."""

from __future__ import annotations

from pathlib import Path

from numpy_bert.loading.cache import demo_folder

PLAIN = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def plain_files() -> dict[str, bytes]:
    """Return the files of the demo's BERT by their names."""
    return {name: (demo_folder() / name).read_bytes() for name in PLAIN}


def write_plain(folder: Path) -> Path:
    """Write the demo's BERT into a folder, made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in plain_files().items():
        (folder / name).write_bytes(content)
    return folder
