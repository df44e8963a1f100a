"""What a sparse encoder does with a text, read from the files of sentence-transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from numpy_bert.encoding.recipe import (
    WIDTHS,
    Settings,
    bad_member,
    check_known,
    module_kind,
    notes_on_a_plain_model,
    read_transformer,
)
from numpy_bert.encoding.saving import stated_settings
from numpy_bert.errors import ConfigError
from numpy_bert.files import encode_json, is_listed, read_json
from numpy_bert.loading.modules import MODULES, SETTINGS, TRANSFORMER_CONFIGS, read_modules
from numpy_bert.messages import shown
from numpy_bert.ops.word_pooling import LOGARITHMS, STRATEGIES
from numpy_bert.reprs import short_repr

__all__ = ["SparseRecipe", "read_sparse_recipe", "sparse_files"]

_TASK = "fill-mask"
_KINDS = ("MLMTransformer", "Transformer", "SpladePooling")
_POOLING = "SpladePooling"
_OF_QUERIES = (
    "It makes vectors of queries by a table of words' weights and those of documents by a model; "
    "here one model makes both. Take a model that has a SpladePooling for both."
)
_OTHERS: Mapping[str, str] = MappingProxyType(
    {
        "Router": _OF_QUERIES,
        "Asym": _OF_QUERIES,
        "SparseStaticEmbedding": _OF_QUERIES,
        "IDF": _OF_QUERIES,
        "SparseAutoEncoder": (
            "Its features are no words, but those of an autoencoder behind a sentence model."
        ),
        "Pooling": "It is of a sentence model; use SentenceEncoder.",
    }
)
# What counts where the SpladePooling's config.json does not state it.
_DEFAULTS = {"pooling_strategy": "max", "activation_function": "relu"}
_HOME = "sentence_transformers.sparse_encoder.models"


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseRecipe:
    """What a sparse encoder is made of.

    Attributes
    ----------
    folder : Path
        Where the masked language model and its tokenizer are.
    max_seq_length : int or None
        How many tokens of a text are read, where the files say so.
    lower_case : bool
        Whether texts are lower-cased before anything else.
    strategy, activation : str
        How tokens are pooled and scores become weights, as `numpy_bert.ops.word_pooling` has it.
    width : int or None
        How many words the pooling is for, where its file says so.
    notes : tuple of str
        What was made of the files, as sentences.
    """

    __repr__ = short_repr

    folder: Path
    max_seq_length: int | None = None
    lower_case: bool = False
    strategy: str = _DEFAULTS["pooling_strategy"]
    activation: str = _DEFAULTS["activation_function"]
    width: int | None = None
    notes: tuple[str, ...] = ()


def read_sparse_recipe(folder: Path) -> SparseRecipe:
    """Read modules.json and the files of the folders that it names.

    Without modules.json nothing else is read, as in sentence-transformers, and the model must be a
    masked language model.

    Raises
    ------
    ConfigError
        If a module or a member is not supported; it is named, and its file.
    """
    path = folder / MODULES
    if not is_listed(path):
        return _plain(folder)
    entries = read_modules(path, error=ConfigError)
    kinds = [module_kind(path, entry, _KINDS, _OTHERS) for entry in entries]
    if kinds not in ([_KINDS[0], _POOLING], [_KINDS[1], _POOLING]):
        raise ConfigError(
            f"{path}: the modules must be an MLMTransformer, or a Transformer for {_TASK}, then a "
            f"{_POOLING}; got {', '.join(kinds) or 'none'}."
        )
    model, pooling = (folder / entry.path for entry in entries)
    transformer = read_transformer(model, _TASK, must_say_so=kinds[0] == "Transformer")
    stated = _read_pooling(pooling / "config.json")
    return SparseRecipe(
        folder=model,
        max_seq_length=transformer.max_seq_length,
        lower_case=transformer.lower_case,
        strategy=stated["pooling_strategy"],
        activation=stated["activation_function"],
        width=next((stated[name] for name in WIDTHS if name in stated), None),
        notes=transformer.notes,
    )


def sparse_files(recipe: SparseRecipe, settings: Settings) -> dict[str, bytes]:
    """Return the files that make a masked language model a sparse encoder, by their names.

    They are spelled as every version of sentence-transformers reads them that has such models.

    Examples
    --------
    >>> sorted(sparse_files(SparseRecipe(folder=Path()), Settings()))[:2]
    ['1_SpladePooling/config.json', 'config_sentence_transformers.json']
    """
    listed = [
        {"idx": n, "name": f"{n}", "path": place, "type": f"{_HOME}.{kind}"}
        for n, (kind, place) in enumerate(((_KINDS[0], ""), (_POOLING, f"1_{_POOLING}")))
    ]
    found = {
        MODULES: listed,
        TRANSFORMER_CONFIGS[0]: {
            "max_seq_length": recipe.max_seq_length,
            "do_lower_case": recipe.lower_case,
        },
        f"1_{_POOLING}/config.json": {
            "pooling_strategy": recipe.strategy,
            "activation_function": recipe.activation,
            "word_embedding_dimension": recipe.width,
        },
        SETTINGS: stated_settings(settings, "SparseEncoder"),
    }
    return {name: encode_json(value) for name, value in found.items()}


def _plain(folder: Path) -> SparseRecipe:
    """Return what is made of a model without modules.json, as in sentence-transformers."""
    path = folder / "config.json"
    names = read_json(path, error=ConfigError, finite=False).get("architectures")
    known = names if isinstance(names, list) else []
    if not any(isinstance(name, str) and name.endswith("ForMaskedLM") for name in known):
        raise ConfigError(
            f"{path}: architectures must name a masked language model, such as BertForMaskedLM, "
            f"where there is no {MODULES}; got {shown(names)}. Of another model "
            "sentence-transformers makes a sparse encoder that has still to learn, which is not "
            "done here."
        )
    what = "a word's weight is the largest of all tokens"
    return SparseRecipe(folder=folder, notes=notes_on_a_plain_model(folder, what))


def _read_pooling(path: Path) -> dict[str, Any]:
    """Return what the file of a SpladePooling states, or what counts in its place."""
    stated = read_json(path, error=ConfigError)
    check_known(path, stated, (*_DEFAULTS, *WIDTHS, "chunk_size"), _POOLING)
    found = {**_DEFAULTS, **stated}
    known = {"pooling_strategy": STRATEGIES, "activation_function": tuple(LOGARITHMS)}
    for name, values in known.items():
        if found[name] not in values:
            raise bad_member(path, name, found[name], f"one of {', '.join(values)}")
    for name in WIDTHS:
        width = found.get(name)
        if width is not None and (type(width) is not int or width < 1):
            raise bad_member(path, name, width, "a number of words or null")
    return found
