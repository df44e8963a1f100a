"""config_sentence_transformers.json: prompts, similarity, truncation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from numpy_bert.encoding.members import bad_member
from numpy_bert.encoding.similarity import SIMILARITIES
from numpy_bert.errors import ConfigError
from numpy_bert.files import read_json
from numpy_bert.loading.modules import MODULES, SETTINGS
from numpy_bert.messages import quoted

__all__ = ["Settings", "read_settings"]

_COSINE = "cosine"


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
    notes : tuple of str
        What was made of the file, as sentences.
    """

    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    similarity_fn_name: str = _COSINE
    truncate_dim: int | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)


def read_settings(folder: Path) -> Settings:
    """Read the file if it and modules.json are there; raise ConfigError at what cannot be meant.

    Without modules.json it is not read, as in sentence-transformers.
    """
    path = folder / SETTINGS
    if not path.exists() or not (folder / MODULES).exists():
        return Settings()
    stated = read_json(path, error=ConfigError, finite=False)
    kind = stated.get("model_type")
    if kind not in (None, "SentenceTransformer"):
        raise bad_member(path, "model_type", kind, "'SentenceTransformer'")
    prompts = stated.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(
        text is None or isinstance(text, str) for text in prompts.values()
    ):
        raise bad_member(path, "prompts", prompts, "an object of texts by their names")
    name = stated.get("default_prompt_name")
    if name is not None and (not isinstance(name, str) or name not in prompts):
        raise bad_member(
            path, "default_prompt_name", name, "null or the name of one of the prompts"
        )
    similarity, notes = _similarity(stated.get("similarity_fn_name"))
    kept = stated.get("truncate_dim")
    if kept is not None and (type(kept) is not int or kept < 1):
        raise bad_member(path, "truncate_dim", kept, "a number of features or null")
    return Settings(
        prompts={key: text or "" for key, text in prompts.items()},
        default_prompt_name=name,
        similarity_fn_name=similarity,
        truncate_dim=kept,
        notes=notes,
    )


def _similarity(name: object) -> tuple[str, tuple[str, ...]]:
    """Return the similarity that a name stands for, and what is to be noted.

    As in sentence-transformers, which passes over every other name, old spellings included.
    """
    if name is None or (isinstance(name, str) and name in SIMILARITIES):
        return str(name or _COSINE), ()
    note = f"similarity_fn_name = {quoted(repr(name))} is not read by sentence-transformers"
    if name == "cos_sim":
        return _COSINE, (f"{note}; it is {_COSINE}.",)
    wanted = "'dot'" if name == "dot_score" else f"one of {', '.join(SIMILARITIES)}"
    return _COSINE, (f"{note}; {_COSINE} is taken, as there. Set {wanted} if another is meant.",)
