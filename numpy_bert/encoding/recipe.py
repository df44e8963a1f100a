"""What a sentence model does with a text, read from the files of sentence-transformers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from numpy_bert.encoding.members import bad_member, check_known
from numpy_bert.encoding.pooling import MODES
from numpy_bert.encoding.transformer import read_transformer
from numpy_bert.errors import ConfigError
from numpy_bert.files import read_json
from numpy_bert.loading.modules import (
    MODULES,
    SETTINGS,
    TRANSFORMER_CONFIGS,
    ModuleEntry,
    read_modules,
)
from numpy_bert.messages import quoted

__all__ = ["Recipe", "mode_named", "read_recipe"]

# The dotted names of old files and of version 6: sentence_transformers.models.Pooling,
# sentence_transformers.sentence_transformer.modules.pooling.Pooling.
_HOME = re.compile(
    r"sentence_transformers\.(models|base\.modules|sentence_transformer\.(models|modules))(\.\w+)?",
    re.ASCII,
)
_BEFORE = "WeightedLayerPooling"
_BEHIND = ("Dense", "LayerNorm", "Normalize", "Dropout")
_KINDS = ("Transformer", "Pooling", *_BEHIND, _BEFORE)
_SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_WIDTHS = ("embedding_dimension", "word_embedding_dimension")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a sentence model is made of.

    Attributes
    ----------
    folder : Path
        Of the BERT and its tokenizer.
    max_seq_length : int or None
        Tokens that are read, where the files say so.
    lower_case : bool
        Whether texts are lower-cased before anything else.
    pooling : tuple of str
        Of `numpy_bert.encoding.pooling.MODES`.
    width : int or None
        Features that the pooling takes, where its file says so.
    include_prompt : bool
        Whether the tokens of a prompt are pooled too.
    behind : tuple of (str, Path)
        What comes after the pooling: "Dense", "LayerNorm" or "Normalize", and its folder.
    layers : Path or None
        The folder of a WeightedLayerPooling before the pooling.
    notes : tuple of str
        What was made of the files, as sentences.
    """

    folder: Path
    max_seq_length: int | None = None
    lower_case: bool = False
    pooling: tuple[str, ...] = ("mean",)
    width: int | None = None
    include_prompt: bool = True
    behind: tuple[tuple[str, Path], ...] = ()
    layers: Path | None = None
    notes: tuple[str, ...] = field(default=())


def read_recipe(folder: Path) -> Recipe:
    """Read modules.json and the files of the folders that it names.

    Without it nothing else is read, as in sentence-transformers: all that is said beside it is of
    the modules that it lists.

    Raises
    ------
    ConfigError
        Naming the file, and the module or member that is not supported.
    """
    path = folder / MODULES
    if not path.exists():
        return Recipe(folder=folder, notes=_notes_on_a_plain_model(folder))
    entries = read_modules(path, error=ConfigError)
    kinds = [_kind(path, entry) for entry in entries]
    first = 2 if kinds[1:2] == [_BEFORE] else 1
    before, behind = kinds[:first], kinds[first + 1 :]
    in_order = before[:1] == ["Transformer"] and kinds[first : first + 1] == ["Pooling"]
    if not in_order or not set(behind) <= set(_BEHIND):
        raise ConfigError(
            f"{path}: has the modules {', '.join(kinds) or 'none'}; a Transformer, then a Pooling "
            f"(a {_BEFORE} may stand before it), then any of {', '.join(_BEHIND)} were expected."
        )
    source = folder / entries[0].path
    transformer = read_transformer(source)
    pooling, width, includes = _read_pooling(folder / entries[first].path / "config.json")
    layers, notes = _layers(source, folder / entries[1].path if first == 2 else None)
    for kind, entry in zip(behind, entries[first + 1 :], strict=True):
        _check_place(folder / entry.path / "config.json", kind)
    return Recipe(
        folder=source,
        max_seq_length=transformer.max_seq_length,
        lower_case=transformer.lower_case,
        notes=(*transformer.notes, *notes),
        pooling=pooling,
        width=width,
        include_prompt=includes,
        behind=tuple(
            (kind, folder / entry.path)
            for kind, entry in zip(behind, entries[first + 1 :], strict=True)
            if kind != "Dropout"  # which does nothing but in training
        ),
        layers=layers,
    )


def _layers(source: Path, folder: Path | None) -> tuple[Path | None, tuple[str, ...]]:
    """Return the folder of a WeightedLayerPooling that has all layers' states to work on.

    sentence-transformers hands them on only where the BERT's config.json says so.
    """
    if folder is None:
        return None, ()
    stated = read_json(source / "config.json", error=ConfigError, finite=False)
    if stated.get("output_hidden_states") is True:
        return folder, ()
    return None, (
        f"the {_BEFORE} does nothing, as in sentence-transformers: output_hidden_states is not "
        "true in the model's config.json.",
    )


def _notes_on_a_plain_model(folder: Path) -> tuple[str, ...]:
    """Say what is made of a model without modules.json, and what of its files is not read."""
    notes = [f"there is no {MODULES}: vectors are the mean of the tokens, not normalized."]
    unread = [name for name in (*TRANSFORMER_CONFIGS, SETTINGS) if (folder / name).exists()]
    if unread:
        notes.append(
            f"not read without {MODULES}, as in sentence-transformers: {', '.join(unread)}."
        )
    return tuple(notes)


def mode_named(name: object) -> str | None:
    """Return a pooling mode by its own or its longer name, None if there is none such.

    Examples
    --------
    >>> mode_named("mean_sqrt_len_tokens")
    'mean_sqrt_len'
    """
    if not isinstance(name, str):
        return None
    short = "mean_sqrt_len" if name == "mean_sqrt_len_tokens" else name
    return short if short in MODES else None


def _kind(path: Path, entry: ModuleEntry) -> str:
    """Return the class of a module; refuse one that is nobody's we know, or lies elsewhere."""
    if not entry.is_plain:
        raise ConfigError(f"{path}: {quoted(repr(entry.path))} is no folder in the model's own.")
    home = entry.type.rpartition(".")[0]
    if not _HOME.fullmatch(home) or entry.kind not in _KINDS:
        raise ConfigError(
            f"{path}: the module {quoted(entry.type)} is not supported; {', '.join(_KINDS)} of "
            "sentence_transformers are."
        )
    return entry.kind


def _read_pooling(path: Path) -> tuple[tuple[str, ...], int | None, bool]:
    """Return the modes, the width and include_prompt of a Pooling, in either spelling."""
    stated = read_json(path, error=ConfigError)
    known = (*_SWITCHES, *_WIDTHS, "pooling_mode", "include_prompt")
    check_known(path, stated, known, "Pooling")
    includes = stated.get("include_prompt", True)
    for name in ("include_prompt", *_SWITCHES):
        if type(stated.get(name, True)) is not bool:
            raise bad_member(path, name, stated[name], "true or false")
    width = next((stated[name] for name in _WIDTHS if name in stated), None)
    if width is not None and (type(width) is not int or width < 1):
        raise bad_member(path, "embedding_dimension", width, "a number of features")
    if "pooling_mode" not in stated:
        modes = tuple(mode for name, mode in _SWITCHES.items() if stated.get(name))
        return modes or ("mean",), width, includes
    named = stated["pooling_mode"]
    listed = [mode_named(name) for name in (named if isinstance(named, list) else [named])]
    chosen = tuple(mode for mode in listed if mode is not None)
    if not chosen or len(chosen) < len(listed):
        raise bad_member(path, "pooling_mode", named, f"one or a list of {', '.join(MODES)}")
    return chosen, width, includes


def _check_place(path: Path, kind: str) -> None:
    """Refuse a Normalize that works on anything but the text's vector."""
    if kind != "Normalize" or not path.exists():
        return
    stated = read_json(path, error=ConfigError)
    for name in stated:
        wanted = "sentence_embedding"
        if name not in ("module_input_name", "module_output_name") or (
            stated[name] not in (wanted, None)
        ):
            raise bad_member(path, quoted(name), stated[name], f"no other member, and {wanted!r}")
