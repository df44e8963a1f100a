"""From a sentence model's name to a folder that also holds what modules.json names."""

from __future__ import annotations

from pathlib import Path

from numpy_bert.errors import CheckpointError, ConfigError
from numpy_bert.loading.cache import MODEL_FILES, TOKENIZER_FILES, is_offline, local_folder
from numpy_bert.loading.hub import fetch, find
from numpy_bert.loading.modules import (
    MODULES,
    SETTINGS,
    TRANSFORMER_CONFIGS,
    WITH_WEIGHTS,
    read_modules,
    read_transformer_config,
)

__all__ = ["find_sentence_model"]


def find_sentence_model(
    name_or_path: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: bool | str | None = False,
) -> Path:
    """Return the folder of a sentence model, without a request where the cache has all of it.

    A snapshot that another program took, or an older version of this one, may lack modules.json or
    a file that is read beside it, though the hub has it: encoding with the mean of the tokens, or
    of all tokens, would then be wrong without a word. So unless the cache knows that there is none,
    the hub is asked once.

    Raises
    ------
    HubError, IntegrityError, CheckpointError
        As `numpy_bert.fetch`.
    """
    folder = find(
        name_or_path,
        needs=(*MODEL_FILES, *TOKENIZER_FILES),
        revision=revision,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        token=token,
    )
    if local_folder(name_or_path) is not None or local_files_only or is_offline():
        return folder
    if _is_settled(folder):
        return folder
    return fetch(name_or_path, revision=folder.name, cache_dir=cache_dir, token=token)


def _is_settled(snapshot: Path) -> bool:
    """Tell whether a snapshot holds all that a sentence model is read from and the hub has."""
    marks = snapshot.parent.parent / ".no_exist" / snapshot.name
    if not (snapshot / MODULES).exists():
        return (marks / MODULES).exists()
    entries = read_modules(snapshot / MODULES, error=CheckpointError)
    # Normalize and Dropout may have no config.json; of the rest it is what they are read from.
    needed = [name for e in entries if e.kind in ("Pooling", *WITH_WEIGHTS) for name in e.files]
    if not all((snapshot / name).exists() for name in needed):
        return False
    # Of the Transformer's files those up to the one that counts; later ones are not read.
    counts, stated = read_transformer_config(snapshot, error=ConfigError)
    end = TRANSFORMER_CONFIGS.index(counts) + 1 if stated else None
    read = (SETTINGS, *TRANSFORMER_CONFIGS[:end])
    return all((snapshot / name).exists() or (marks / name).exists() for name in read)
