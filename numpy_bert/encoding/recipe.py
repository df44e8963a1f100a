"""What a sentence model does with a text, read from the files of sentence-transformers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from numpy_bert.config import BertConfig
from numpy_bert.encoding.pooling import MODES, modes_named
from numpy_bert.encoding.prompts import Prompts
from numpy_bert.encoding.similarity import SIMILARITIES
from numpy_bert.errors import ConfigError, InputError
from numpy_bert.files import is_listed, read_json
from numpy_bert.loading.modules import (
    MODULES,
    SETTINGS,
    TRANSFORMER_CONFIGS,
    ModuleEntry,
    cross_encoder_settings,
    read_modules,
    read_transformer_config,
)
from numpy_bert.messages import quoted, shown, with_article
from numpy_bert.reprs import short_repr
from numpy_bert.text.tokenizer_config import stated_limit

__all__ = [
    "IN_AND_OUT",
    "SWITCHES",
    "WIDTHS",
    "Recipe",
    "Settings",
    "TransformerFile",
    "as_first_token",
    "bad_member",
    "check_in_and_out",
    "check_known",
    "module_kind",
    "notes_on_a_plain_model",
    "read_recipe",
    "read_settings",
    "read_transformer",
    "stated_in",
]

# The dotted names of old files and of version 6: sentence_transformers.models.Pooling,
# sentence_transformers.sentence_transformer.modules.pooling.Pooling.
_HOME = re.compile(
    r"sentence_transformers\.(models|base\.modules|"
    r"(sentence_transformer|sparse_encoder)\.(models|modules))(\.\w+)?",
    re.ASCII,
)
_BEFORE = "WeightedLayerPooling"
_BEHIND = ("Dense", "LayerNorm", "Normalize", "Dropout")
_KINDS = ("Transformer", "Pooling", *_BEHIND, _BEFORE)
# The modules of other models, and what to do.
_OTHERS = dict.fromkeys(
    ("MLMTransformer", "SpladePooling"), "It is of a sparse encoder; use SparseEncoder."
)
# How files before version 6 name the modes, in the order in which they are joined.
SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
# The members that say what a module takes and makes.
IN_AND_OUT = ("module_input_name", "module_output_name")
# What the number of features is called, by newer and by older files.
WIDTHS = ("embedding_dimension", "word_embedding_dimension")
# What these members of the Transformer's file may say, for a BERT's vectors not to depend on them.
# Those of version 6:
_ONLY: Mapping[str, Any] = MappingProxyType(
    {"tokenizer_name_or_path": None, "processing_kwargs": {}}
)
# What a Transformer makes for each task: its own name for it, and transformers'.
_OUTPUTS = {
    "feature-extraction": ("token_embeddings", "last_hidden_state"),
    "sequence-classification": ("scores", "logits"),
    "fill-mask": ("token_embeddings", "logits"),
}
# These have no effect on `encode`: how padding is computed, and what is done for `encode_query`.
_WITHOUT_EFFECT = ("unpad_inputs", "query_length", "document_length", "query_expansion")
# Arguments for transformers' from_pretrained, by the first part of the name of their member, whose
# second part is "args" or "kwargs".
_ARGUMENTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "model": ("dtype", "torch_dtype", "attn_implementation", "add_pooling_layer"),
        "processor": ("model_max_length", "use_fast"),
        "tokenizer": ("model_max_length", "use_fast"),
        "config": (),
    }
)
_COSINE = "cosine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a sentence model is made of.

    Attributes
    ----------
    folder : Path
        Where the BERT and its tokenizer are.
    max_seq_length : int or None
        How many tokens of a text are read, where the files say so.
    lower_case : bool
        Whether texts are lower-cased before anything else.
    pooling : tuple of str
        Some of `numpy_bert.encoding.pooling.MODES`.
    width : int or None
        How many features the pooling takes, where its file says so.
    include_prompt : bool
        Whether the tokens of a prompt are pooled too.
    behind : tuple of (str, Path)
        The modules behind the pooling: "Dense", "LayerNorm" or "Normalize", and its folder.
    layers : Path or None
        The folder of a WeightedLayerPooling before the pooling.
    notes : tuple of str
        What was made of the files, as sentences.
    """

    __repr__ = short_repr

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

    Without modules.json nothing else is read, as in sentence-transformers: the other files say
    something about the modules that it lists.

    Raises
    ------
    ConfigError
        If a module or a member is not supported; it is named, and its file.
    """
    path = folder / MODULES
    if not is_listed(path):
        notes = notes_on_a_plain_model(folder, "vectors are the mean of the tokens, not normalized")
        return Recipe(folder=folder, notes=notes)
    if cross_encoder_settings(folder, error=ConfigError) is not None:
        raise ConfigError(
            f"{folder}: is a cross-encoder, which makes no vectors; use CrossEncoder."
        )
    entries = read_modules(path, error=ConfigError)
    kinds = [module_kind(path, entry, _KINDS, _OTHERS) for entry in entries]
    first = 2 if kinds[1:2] == [_BEFORE] else 1
    before, behind = kinds[:first], kinds[first + 1 :]
    in_order = before[:1] == ["Transformer"] and kinds[first : first + 1] == ["Pooling"]
    if not in_order or not set(behind) <= set(_BEHIND):
        raise ConfigError(
            f"{path}: the modules must be a Transformer, then a Pooling (a {_BEFORE} may stand "
            f"before it), then any of {', '.join(_BEHIND)}; got {', '.join(kinds) or 'none'}."
        )
    places = [folder / entry.path for entry in entries]
    transformer = read_transformer(places[0], "feature-extraction")
    pooling, width, include_prompt = _read_pooling(places[first] / "config.json")
    layers, notes = _layers(places[0], places[1] if first == 2 else None)
    modules = list(zip(behind, places[first + 1 :], strict=True))
    for kind, place in modules:
        _check_place(place / "config.json", kind)
    return Recipe(
        folder=places[0],
        max_seq_length=transformer.max_seq_length,
        lower_case=transformer.lower_case,
        notes=(*transformer.notes, *notes),
        pooling=pooling,
        width=width,
        include_prompt=include_prompt,
        # Dropout does nothing but in training.
        behind=tuple((kind, place) for kind, place in modules if kind != "Dropout"),
        layers=layers,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What config_sentence_transformers.json states.

    Attributes
    ----------
    prompts : mapping of str to str
        What may be put before a text, by its name.
    default_prompt_name : str or None
        The name of the prompt that is used where none is named.
    similarity_fn_name : str
        How vectors are compared; "cosine" by default.
    truncate_dim : int or None
        How many features of a vector are kept.
    max_active_dims : int or None
        How many features of a sparse vector are kept, the largest.
    notes : tuple of str
        What was made of the file, as sentences.
    """

    __repr__ = short_repr

    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    similarity_fn_name: str = _COSINE
    truncate_dim: int | None = None
    max_active_dims: int | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)


def read_settings(
    folder: Path, kind: str = "SentenceTransformer", similarity: str = _COSINE
) -> Settings:
    """Read config_sentence_transformers.json, if modules.json is there as well.

    `kind` is which model_type it may state, and `similarity` what counts where it states none.

    Without modules.json it is not read, as in sentence-transformers.

    Raises
    ------
    ConfigError
        If a member cannot be meant; it is named, and the file.
    """
    path = folder / SETTINGS
    if not is_listed(path) or not is_listed(folder / MODULES):
        return Settings(similarity_fn_name=similarity)
    stated = read_json(path, error=ConfigError, finite=False)
    if stated.get("model_type") not in (None, kind):
        raise bad_member(path, "model_type", stated["model_type"], repr(kind))
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
    likeness, notes = _similarity(stated.get("similarity_fn_name"), similarity)
    for member in ("truncate_dim", "max_active_dims"):
        kept = stated.get(member)
        if kept is not None and (type(kept) is not int or kept < 1):
            raise bad_member(path, member, kept, "a number of features or null")
    with stated_in(path):
        texts = Prompts({key: text or "" for key, text in prompts.items()})
    return Settings(
        prompts=dict(texts),
        default_prompt_name=name,
        similarity_fn_name=likeness,
        truncate_dim=stated.get("truncate_dim"),
        max_active_dims=stated.get("max_active_dims"),
        notes=notes,
    )


@contextmanager
def stated_in(path: Path) -> Iterator[None]:
    """Let the error at a value that is set as a file states it name the file, or its folder.

    Examples
    --------
    >>> with stated_in(Path("minilm")):  # doctest: +ELLIPSIS
    ...     raise InputError("max_seq_length must be a whole number from 3 to 512; got 1.")
    Traceback (most recent call last):
    numpy_bert.errors.ConfigError: minilm: max_seq_length must be a whole number from 3 to 512; ...
    """
    try:
        yield
    except InputError as failure:
        raise ConfigError(f"{path}: {failure}") from None


def as_first_token(
    folder: Path, recipe: Recipe, settings: Settings, config: BertConfig
) -> tuple[Recipe, Settings]:
    """Let a plain model whose own vector is its first token's, as a DPR's, keep to that one.

    Such vectors are compared by their dot product, by which they were trained.

    Raises
    ------
    ConfigError
        If the model takes the first token's state through a projection, which a pooling does not.

    References
    ----------
    .. [1] Karpukhin et al., "Dense Passage Retrieval for Open-Domain Question Answering",
       arXiv:2004.04906.
    """
    architecture = config.architecture
    if architecture.pooling != "first" or is_listed(folder / MODULES):
        return recipe, settings
    if config.projection_dim:
        raise ConfigError(
            f"{folder}: projection_dim must be 0 for a SentenceEncoder of "
            f"{with_article(architecture.name)}; got {config.projection_dim}. Take the "
            "pooler_output of AutoModel in its place."
        )
    note = f"there is no {MODULES}: vectors are those of the first token, as {architecture.name}'s."
    return (
        replace(recipe, pooling=("cls",), notes=(note, *recipe.notes[1:])),
        replace(settings, similarity_fn_name="dot"),
    )


def check_known(path: Path, stated: Iterable[str], known: Collection[str], kind: str) -> None:
    """Raise ConfigError at the first member that a module of this kind does not have."""
    for name in stated:
        if name not in known:
            raise ConfigError(f"{path}: {quoted(name)} is not supported for a {kind}.")


def check_in_and_out(path: Path, stated: Mapping[str, Any]) -> None:
    """Raise ConfigError unless a module takes and makes the text's vector."""
    for name in IN_AND_OUT:
        if stated.get(name) not in ("sentence_embedding", None):
            raise bad_member(path, name, stated[name], "'sentence_embedding'")


def bad_member(path: Path, name: str, value: object, wanted: str) -> ConfigError:
    """Say that a member cannot be meant, or is not supported.

    Examples
    --------
    >>> str(bad_member(Path("config.json"), "bias", 1, "true or false"))
    'config.json: bias must be true or false; got 1.'
    """
    return ConfigError(f"{path}: {name} must be {wanted}; got {shown(value)}.")


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


def notes_on_a_plain_model(folder: Path, what: str) -> tuple[str, ...]:
    """Say what is made of a model without modules.json, and what of its files is not read."""
    notes = [f"there is no {MODULES}: {what}."]
    unread = [name for name in (*TRANSFORMER_CONFIGS, SETTINGS) if is_listed(folder / name)]
    if unread:
        notes.append(
            f"not read without {MODULES}, as in sentence-transformers: {', '.join(unread)}."
        )
    return tuple(notes)


def module_kind(
    path: Path, entry: ModuleEntry, kinds: Collection[str], others: Mapping[str, str]
) -> str:
    """Return the class of a module; refuse an unknown one, and one in a folder elsewhere.

    `kinds` are the classes that are supported, and `others` some that are not, and why.
    """
    if not entry.is_plain:
        raise ConfigError(
            f"{path}: the path of a module must be a folder in the model's own; got "
            f"{shown(entry.path)}."
        )
    home = entry.type.rpartition(".")[0]
    if not _HOME.fullmatch(home) or entry.kind not in kinds:
        reason = f" {others[entry.kind]}" if entry.kind in others else ""
        raise ConfigError(
            f"{path}: the module {quoted(entry.type)} is not supported; {', '.join(kinds)} of "
            f"sentence_transformers are.{reason}"
        )
    return entry.kind


def _read_pooling(path: Path) -> tuple[tuple[str, ...], int | None, bool]:
    """Return the modes, the width and include_prompt of a Pooling, in either spelling."""
    stated = read_json(path, error=ConfigError)
    known = (*SWITCHES, *WIDTHS, "pooling_mode", "include_prompt")
    check_known(path, stated, known, "Pooling")
    include_prompt = stated.get("include_prompt", True)
    for name in ("include_prompt", *SWITCHES):
        if type(stated.get(name, True)) is not bool:
            raise bad_member(path, name, stated[name], "true or false")
    width = next((stated[name] for name in WIDTHS if name in stated), None)
    if width is not None and (type(width) is not int or width < 1):
        raise bad_member(path, "embedding_dimension", width, "a number of features")
    if "pooling_mode" not in stated:
        modes = tuple(mode for name, mode in SWITCHES.items() if stated.get(name))
        return modes or ("mean",), width, include_prompt
    modes = modes_named(stated["pooling_mode"])
    if not modes:
        wanted = f"one or a list of {', '.join(MODES)}"
        raise bad_member(path, "pooling_mode", stated["pooling_mode"], wanted)
    return modes, width, include_prompt


def _check_place(path: Path, kind: str) -> None:
    """Refuse a Normalize that works on anything but the text's vector."""
    if kind == "Normalize" and is_listed(path):
        stated = read_json(path, error=ConfigError)
        check_known(path, stated, IN_AND_OUT, kind)
        check_in_and_out(path, stated)


class TransformerFile(NamedTuple):
    """What the Transformer's file says, and which files were passed over for it."""

    max_seq_length: int | None
    lower_case: bool
    notes: tuple[str, ...] = ()


def read_transformer(folder: Path, task: str, *, must_say_so: bool = False) -> TransformerFile:
    """Read sentence_bert_config.json, or what has an older name, as sentence-transformers does.

    `must_say_so` is whether it has to state the task, which is not the usual one of its module.

    Raises
    ------
    ConfigError
        If it is for another task than `task`, or a member is not supported; it is named.
    """
    there = [name for name in TRANSFORMER_CONFIGS if is_listed(folder / name)]
    read, stated = read_transformer_config(folder, error=ConfigError)
    if must_say_so and "transformer_task" not in stated:
        path = folder / (read or TRANSFORMER_CONFIGS[0])
        raise bad_member(path, "transformer_task", None, repr(task))
    unread = there[there.index(read) + 1 :] if there else []
    notes = (f"not read, since {read} is there: {', '.join(unread)}.",) if unread else ()
    return _checked(folder / read, stated, task)._replace(notes=notes)


def _checked(path: Path, stated: Mapping[str, Any], task: str) -> TransformerFile:
    """Return what a Transformer's file states; refuse what would make other vectors."""
    output, source = _OUTPUTS[task]
    only = {**_ONLY, "transformer_task": task, "module_output_name": output}
    limit = stated.get("max_seq_length")
    lowers = stated.get("do_lower_case", False)
    if type(lowers) is not bool:
        raise bad_member(path, "do_lower_case", lowers, "true or false")
    for name, value in stated.items():
        kind, _, end = name.rpartition("_")
        if kind in _ARGUMENTS and end in ("args", "kwargs"):
            found = _arguments(path, name, value, _ARGUMENTS[kind])
            limit = found.get("model_max_length", limit)  # it counts more, as there
        elif name in only:
            if value is not None and value != only[name]:
                raise bad_member(path, name, value, repr(only[name]))
        elif name == "modality_config":
            _check_modalities(path, value, source)
        else:
            known = ("max_seq_length", "do_lower_case", *_WITHOUT_EFFECT)
            check_known(path, [name], known, "Transformer")
    try:
        length = stated_limit(limit)
    except ValueError:
        raise bad_member(path, "max_seq_length", limit, "a number of tokens or null") from None
    return TransformerFile(length, lowers)


def _arguments(path: Path, name: str, value: object, known: tuple[str, ...]) -> Mapping[str, Any]:
    """Return arguments for transformers, all of which are known and change no vector of a BERT."""
    # trust_remote_code is not taken from a file there either.
    if not isinstance(value, dict) or not set(value) <= {*known, "trust_remote_code"}:
        wanted = f"an object of {', '.join(known)}" if known else "an empty object"
        raise bad_member(path, name, value, wanted)
    return value


def _check_modalities(path: Path, modalities: object, wanted: str) -> None:
    """Refuse other outputs of other models, which version 6 can take."""
    text = modalities.get("text") if isinstance(modalities, dict) else None
    output = text.get("method_output_name") if isinstance(text, dict) else None
    if modalities is not None and output != wanted:
        raise bad_member(path, "modality_config", modalities, f"text by its {wanted}")


def _similarity(name: object, usual: str) -> tuple[str, tuple[str, ...]]:
    """Return the similarity that a name stands for, and what is to be noted.

    Every other name is passed over, as in sentence-transformers, old spellings included.
    """
    if name is None or (isinstance(name, str) and name in SIMILARITIES):
        return str(name or usual), ()
    note = f"similarity_fn_name = {shown(name)} is not read by sentence-transformers"
    if name == "cos_sim" and usual == _COSINE:
        return _COSINE, (f"{note}; it is {_COSINE}.",)
    wanted = "'dot'" if name == "dot_score" else f"one of {', '.join(SIMILARITIES)}"
    return usual, (f"{note}; {usual} is taken, as there. Set {wanted} if another is meant.",)
