"""The files of a tokenizer, to be put beside a model that is saved somewhere else."""

from __future__ import annotations

import json
from pathlib import Path

from numpy_bert.errors import TokenizerError
from numpy_bert.files import read_bytes, read_json
from numpy_bert.loading.cache import ALL_TOKENIZER_FILES
from numpy_bert.text.vocabulary import LARGEST_FILE

__all__ = ["tokenizer_files"]

_CONFIG = "tokenizer_config.json"


def tokenizer_files(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder's tokenizer by their names.

    Where config.json alone decides which tokenizer it is, by a ``tokenizer_class`` or because it
    has no ``model_type``, tokenizer_config.json says so instead: the config.json that is saved with
    a model says neither.

    Examples
    --------
    >>> from numpy_bert.loading.cache import demo_folder
    >>> sorted(tokenizer_files(demo_folder()))
    ['tokenizer.json', 'tokenizer_config.json']
    """
    present = [name for name in ALL_TOKENIZER_FILES if (folder / name).is_file()]
    found = {
        name: read_bytes(folder / name, error=TokenizerError, limit=LARGEST_FILE)
        for name in present
    }
    stated, model = (
        read_json(path, error=TokenizerError, limit=LARGEST_FILE, finite=False)
        if path.is_file()
        else {}
        for path in (folder / _CONFIG, folder / "config.json")
    )
    kept_as_it_is = "tokenizer.json" in found and not model.get("model_type")
    implied = model.get("tokenizer_class") or ("PreTrainedTokenizerFast" if kept_as_it_is else None)
    if implied and not stated.get("tokenizer_class"):
        content = {**stated, "tokenizer_class": implied}
        found[_CONFIG] = f"{json.dumps(content, indent=2, ensure_ascii=False)}\n".encode()
    return found
