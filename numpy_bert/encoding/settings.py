"""config_sentence_transformers.json: prompts, similarity, truncation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from numpy_bert.encoding.similarity import SIMILARITIES
from numpy_bert.errors import ConfigError
from numpy_bert.files import quoted, read_json
from numpy_bert.loading.modules import MODULES, SETTINGS

__all__ = ["Settings", "read_settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What config_sentence_transformers.json states.

    Attributes
    ----------
    prompts : mapping of str to str
        Texts that are put before a text, by their names.
    default_prompt_name : str or None
        Of the prompt that is used where none is named.
    similarity_fn_name : str
        How vectors are compared; "cosine" by default.
    truncate_dim : int or None
        Features that are kept of a vector.
    """

    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    similarity_fn_name: str = "cosine"
    truncate_dim: int | None = None


def read_settings(folder: Path) -> Settings:
    """Read the file if it and modules.json are there; raise ConfigError at what cannot be meant.

    Without modules.json it is not read, as in sentence-transformers.
    """
    path = folder / SETTINGS
    if not path.exists() or not (folder / MODULES).exists():
        return Settings()
    stated = read_json(path, error=ConfigError)
    kind = stated.get("model_type")
    if kind not in (None, "SentenceTransformer"):
        raise _bad(path, "model_type", kind, "'SentenceTransformer'")
    prompts = stated.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(
        text is None or isinstance(text, str) for text in prompts.values()
    ):
        raise _bad(path, "prompts", prompts, "an object of texts by their names")
    name = stated.get("default_prompt_name")
    if name is not None and (not isinstance(name, str) or name not in prompts):
        raise _bad(path, "default_prompt_name", name, "null or the name of one of the prompts")
    similarity = stated.get("similarity_fn_name") or "cosine"
    if similarity not in SIMILARITIES:
        raise _bad(path, "similarity_fn_name", similarity, f"one of {', '.join(SIMILARITIES)}")
    kept = stated.get("truncate_dim")
    if kept is not None and (type(kept) is not int or kept < 1):
        raise _bad(path, "truncate_dim", kept, "a number of features or null")
    return Settings(
        prompts={key: text or "" for key, text in prompts.items()},
        default_prompt_name=name,
        similarity_fn_name=similarity,
        truncate_dim=kept,
    )


def _bad(path: Path, name: str, value: object, wanted: str) -> ConfigError:
    """Say that a member cannot be meant, or is not supported."""
    return ConfigError(f"{path}: {name} = {quoted(repr(value))}; {wanted} was expected.")
