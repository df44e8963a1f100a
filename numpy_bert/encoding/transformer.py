"""sentence_bert_config.json, by this or an older name: what is said of the Transformer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from numpy_bert.encoding.members import bad_member
from numpy_bert.errors import ConfigError
from numpy_bert.loading.modules import TRANSFORMER_CONFIGS, read_transformer_config
from numpy_bert.messages import quoted
from numpy_bert.text.tokenizer_config import stated_limit

__all__ = ["TransformerConfig", "read_transformer"]

# What these members may say, for a BERT's vectors not to depend on them. Those of version 6:
_ONLY: Mapping[str, Any] = MappingProxyType(
    {
        "transformer_task": "feature-extraction",
        "module_output_name": "token_embeddings",
        "tokenizer_name_or_path": None,
        "processing_kwargs": {},
    }
)
# Of no effect on `encode`: how padding is computed, and what is done for an `encode_query`.
_WITHOUT_EFFECT = ("unpad_inputs", "query_length", "document_length", "query_expansion")
# Arguments for transformers' from_pretrained, by the newer and the older name of the member.
_ARGUMENTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "model": ("dtype", "torch_dtype", "attn_implementation", "add_pooling_layer"),
        "processor": ("model_max_length", "use_fast"),
        "tokenizer": ("model_max_length", "use_fast"),
        "config": (),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerConfig:
    """What is said of the Transformer.

    Attributes
    ----------
    max_seq_length : int or None
        Tokens that are read, where the file says so.
    lower_case : bool
        Whether texts are lower-cased before anything else.
    notes : tuple of str
        Which files were passed over, as sentences.
    """

    max_seq_length: int | None = None
    lower_case: bool = False
    notes: tuple[str, ...] = ()


def read_transformer(folder: Path) -> TransformerConfig:
    """Read the file that counts, as sentence-transformers does.

    Raises
    ------
    ConfigError
        If a member is unknown, of the wrong type, or asks for what is not supported.
    """
    there = [name for name in TRANSFORMER_CONFIGS if (folder / name).exists()]
    read, stated = read_transformer_config(folder, error=ConfigError)
    config = _checked(folder / read, stated)
    unread = there[there.index(read) + 1 :] if there else []
    notes = (f"not read, since {read} is there: {', '.join(unread)}.",) if unread else ()
    return TransformerConfig(
        max_seq_length=config.max_seq_length, lower_case=config.lower_case, notes=notes
    )


def _checked(path: Path, stated: Mapping[str, Any]) -> TransformerConfig:
    """Return what a file states; refuse what would make other vectors."""
    limit = stated.get("max_seq_length")
    lowers = stated.get("do_lower_case", False)
    if type(lowers) is not bool:
        raise bad_member(path, "do_lower_case", lowers, "true or false")
    for name, value in stated.items():
        kind, _, end = name.rpartition("_")
        if kind in _ARGUMENTS and end in ("args", "kwargs"):
            found = _arguments(path, name, value, _ARGUMENTS[kind])
            limit = found.get("model_max_length", limit)  # it counts more, as there
        elif name in _ONLY:
            if value is not None and value != _ONLY[name]:
                raise bad_member(path, name, value, repr(_ONLY[name]))
        elif name == "modality_config":
            _check_modalities(path, value)
        elif name not in ("max_seq_length", "do_lower_case", *_WITHOUT_EFFECT):
            raise ConfigError(f"{path}: {quoted(name)} is not supported for a Transformer.")
    try:
        length = stated_limit(limit)
    except ValueError:
        raise bad_member(path, "max_seq_length", limit, "a number of tokens or null") from None
    return TransformerConfig(max_seq_length=length, lower_case=lowers)


def _arguments(path: Path, name: str, value: object, known: tuple[str, ...]) -> Mapping[str, Any]:
    """Return arguments for transformers, all of which are known and change no vector of a BERT."""
    # trust_remote_code is not taken from a file there either.
    if not isinstance(value, dict) or not set(value) <= {*known, "trust_remote_code"}:
        listed = ", ".join(known) or "nothing"
        raise bad_member(path, name, value, f"an object of {listed}")
    return value


def _check_modalities(path: Path, modalities: object) -> None:
    """Refuse other outputs of other models, which version 6 can take."""
    text = modalities.get("text") if isinstance(modalities, dict) else None
    output = text.get("method_output_name") if isinstance(text, dict) else None
    if modalities is not None and output != "last_hidden_state":
        raise bad_member(path, "modality_config", modalities, "text by its last_hidden_state")
