"""BertConfig: what config.json says of a model, read strictly where something reads it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

from numpy_bert.architectures import ARCHITECTURES, REFUSED, Architecture, class_names
from numpy_bert.errors import ConfigError
from numpy_bert.files import (
    as_folder,
    check_output,
    is_listed,
    make_folder,
    read_json,
    write_atomically,
)
from numpy_bert.labels import (
    LABEL_MEMBERS,
    StatedLabels,
    asked_labels,
    check_labels,
    fits_problem,
    named_labels,
    read_labels,
)
from numpy_bert.messages import must_be, quoted, shown, with_article
from numpy_bert.reprs import short_repr

__all__ = [
    "ACTIVATION_NAMES",
    "SIZES",
    "BertConfig",
    "StatedConfig",
    "config_class",
    "read_config",
]

# Far above any published BERT, far below what would exhaust memory before a shape is checked.
_LARGEST_SIZE = 1 << 24
# Each layer has keys of its own, so their number is bounded by more than a size.
_MOST_LAYERS = 1 << 10
# What hidden_act may be, and which function each name stands for: those of transformers' ACT2FN
# that are arithmetic alone. What differs there in how it is computed is one function here.
ACTIVATION_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "gelu": "gelu",
        "gelu_10": "gelu_10",
        "gelu_accurate": "gelu_new",
        "gelu_fast": "gelu_new",
        "gelu_new": "gelu_new",
        "gelu_python": "gelu",
        "gelu_python_tanh": "gelu_new",
        "gelu_pytorch_tanh": "gelu_new",
        "hardswish": "hardswish",
        "laplace": "laplace",
        "leaky_relu": "leaky_relu",
        "linear": "linear",
        "mish": "mish",
        "quick_gelu": "quick_gelu",
        "relu": "relu",
        "relu2": "relu2",
        "relu6": "relu6",
        "sigmoid": "sigmoid",
        "silu": "silu",
        "sqrtsoftplus": "sqrtsoftplus",
        "swish": "silu",
        "tanh": "tanh",
    }
)
# These have weights of their own, which no published BERT has.
_WITH_WEIGHTS = ("prelu", "xielu")
# The fields that are sizes, in the order in which messages list them.
SIZES = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
    "type_vocab_size",
)
# The field that says what a cross-encoder's scores go through.
_SCORES = "sbert_ce_default_activation_function"
# Fields that turn a BERT into another architecture, with the one value that is supported.
_ARCHITECTURE = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "is_encoder_decoder": False,
}
# What each call is asked for here, with what transformers' config has for it by default.
_CALLS = {
    "output_attentions": False,
    "output_hidden_states": False,
    "return_dict": True,
    "chunk_size_feed_forward": 0,
}
# What transformers' config has besides, and nothing here reads: no number depends on it. Where an
# architecture has a field of such a name it is kept, for what is saved to say the same.
_UNREAD = frozenset(
    {"architectures", "attn_implementation", "bos_token_id", "dtype", "eos_token_id"}
    | {"gradient_checkpointing", "name_or_path", "torch_dtype", "transformers_version", "use_cache"}
    | {"sinusoidal_pos_embds"}  # which only says how DistilBERT's positions were started
)
# The ids of a text's first and last token, as the tokenizer has them.
_ENDS = ("bos_token_id", "eos_token_id")
# Fields that an architecture has only if its entry names them among its defaults.
_OPTIONAL = (
    "embedding_size",
    "use_task_id",
    "task_type_vocab_size",
    "projection_dim",
    "relative_attention_num_buckets",
    "qa_dropout",
    "summary_activation",
    "summary_last_dropout",
    *_ENDS,
)
_PROBABILITIES = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "qa_dropout",
    "summary_last_dropout",
)
# Settings that a config.json may have under these names whatever its architecture calls them.
_COMMON = ("hidden_size", "num_hidden_layers", "num_attention_heads")
# The buckets that a distance can fall into, whatever the config says.
_BUCKETS = 32


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class BertConfig:
    """The sizes and settings of a BERT, or of one of its family, under transformers' names.

    All default to transformers' values: of a BERT those of the published one, of another
    `model_type` those of its own config there.

    Parameters
    ----------
    **settings
        The fields, by name; where an architecture has another name for one, as DistilBERT's
        ``dim`` for `hidden_size`, by either. The labels can be given in transformers' words, too:
        `num_labels`, `id2label`, `label2id`. What else transformers' config has is taken where it
        asks for what happens anyway, as ``is_decoder=False``.

    Raises
    ------
    ConfigError
        If a field has the wrong type or range, or names what is not supported.

    Notes
    -----
    `labels` holds config.json's ``id2label`` in a form that cannot be changed: the name of label 0,
    of label 1, and so on. `id2label`, `label2id` and `num_labels` say the same in transformers'
    words.

    `sbert_ce_default_activation_function` is the class of torch's that the scores of a classifier
    go through, by its dotted name, and None where no file names one. sentence-transformers before
    its version 4 gave it that name; where the files of later versions name it, it is found too.

    What an architecture has not, `numpy_bert.architectures` says: a BERT has none of the fields
    from `embedding_size` to `eos_token_id`, and `to_dict` leaves them out.

    Examples
    --------
    >>> config = BertConfig(vocab_size=99, hidden_size=24, num_hidden_layers=2,
    ...                     num_attention_heads=4, intermediate_size=37,
    ...                     max_position_embeddings=16, type_vocab_size=2)
    >>> config.layer_norm_eps
    1e-12
    >>> config.id2label
    {0: 'LABEL_0', 1: 'LABEL_1'}
    >>> BertConfig(num_labels=3).labels
    ('LABEL_0', 'LABEL_1', 'LABEL_2')
    >>> BertConfig(model_type="distilbert", dim=24, n_heads=4).num_hidden_layers
    6
    """

    __repr__ = short_repr

    _model_type: ClassVar[str] = "bert"

    model_type: str = "bert"
    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    tie_word_embeddings: bool = True
    pad_token_id: int | None = 0
    classifier_dropout: float | None = None
    problem_type: str | None = None
    sbert_ce_default_activation_function: str | None = None
    embedding_size: int | None = None
    use_task_id: bool = False
    task_type_vocab_size: int = 0
    projection_dim: int = 0
    relative_attention_num_buckets: int = 0
    qa_dropout: float | None = None
    summary_activation: str | None = None
    summary_last_dropout: float | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    labels: tuple[str, ...] = named_labels()

    def __init__(self, **settings: Any) -> None:
        architecture = self._architecture_of(settings)
        object.__setattr__(self, "model_type", architecture.model_type)
        settings = _in_our_names(settings, architecture)
        words = {name: settings.pop(name, None) for name in ("num_labels", "id2label", "label2id")}
        labels = settings.pop("labels", named_labels())
        check_labels(labels, None)
        given = {
            name: value
            for name, value in settings.items()
            if name not in _UNREAD or name in architecture.defaults
        }
        given["labels"] = asked_labels(labels, **words)
        for name, value in _defaults(architecture.model_type).items():
            object.__setattr__(self, name, given.pop(name, value))
        _check_others(given, architecture)
        self._check()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BertConfig):
            return NotImplemented
        return all(getattr(self, f.name) == getattr(other, f.name) for f in fields(self))

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, f.name) for f in fields(self)))

    def __getattr__(self, name: str) -> Any:
        """Return a field by the architecture's own name, as DistilBERT's ``dim``."""
        own = ARCHITECTURES[object.__getattribute__(self, "model_type")].settings
        if name in own:
            return getattr(self, own[name])
        raise AttributeError(
            f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self
        )

    @classmethod
    def _architecture_of(cls, settings: Mapping[str, Any]) -> Architecture:
        """Return what settings are of; raise ConfigError where this class is another one's."""
        kind = settings.get("model_type")
        architecture = _architecture(cls._model_type if kind is None else kind)
        if cls is not BertConfig and architecture.model_type != cls._model_type:
            raise ConfigError(
                f"model_type must be {cls._model_type!r} in {cls.__name__}; got "
                f"{shown(kind)}. {architecture.classes}Config and AutoConfig have it."
            )
        return architecture

    def _check(self) -> None:
        """Raise ConfigError for a field of the wrong type or range."""
        architecture = self.architecture
        for name, value in _fixed(architecture.model_type).items():
            if getattr(self, name) != value:
                raise ConfigError(
                    f"{name} = {shown(getattr(self, name))} is not supported; it is always "
                    f"{value!r} in {with_article(architecture.name)}."
                )
        for name in SIZES:
            if name not in architecture.fixed:
                _check_size(name, getattr(self, name))
        if self.hidden_size % self.num_attention_heads:
            raise ConfigError(
                f"hidden_size = {self.hidden_size} is not a multiple of "
                f"num_attention_heads = {self.num_attention_heads}."
            )
        _check_activation(self.hidden_act)
        _check_number("layer_norm_eps", self.layer_norm_eps, "a number above 0", above=True)
        _check_number("initializer_range", self.initializer_range, "a number from 0")
        for name in _PROBABILITIES:
            value = getattr(self, name)
            if value is not None or name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
                _check_number(name, value, "a probability from 0 to 1", most=1.0)
        self._check_padding()
        for name in ("tie_word_embeddings", "use_task_id"):
            switch = getattr(self, name)
            if type(switch) is not bool:
                raise ConfigError(must_be(name, "true or false", switch))
        function = self.sbert_ce_default_activation_function
        if not isinstance(function, (str, type(None))):
            raise ConfigError(must_be(_SCORES, "null or a class's name", function))
        self._check_own()
        check_labels(self.labels, self.problem_type)

    def _check_padding(self) -> None:
        """Raise ConfigError unless padding has a word, and a position where that needs one."""
        pad, words = self.pad_token_id, self.vocab_size
        if pad is not None and (type(pad) is not int or not -words <= pad < words):
            wanted = (
                f"null, an id of the vocabulary of {words}, or one counted from its end (-1 is the "
                "last)"
            )
            raise ConfigError(must_be("pad_token_id", wanted, pad))
        if self.architecture.positions == "sequence":
            return
        row, rows = self.padding_idx, self.max_position_embeddings
        if row is None or row < 0:
            raise ConfigError(
                f"{must_be('pad_token_id', 'an id from 0', pad)} The positions of "
                f"{with_article(self.architecture.name)} are counted from it."
            )
        if rows < row + 2:
            wanted = f"at least {row + 2}, as texts have those after {row}"
            raise ConfigError(must_be("max_position_embeddings", wanted, rows))

    def _check_own(self) -> None:
        """Raise ConfigError for a wrong field of those that few architectures have."""
        if self.embedding_size is not None:
            _check_size("embedding_size", self.embedding_size)
        for name, least in (
            ("task_type_vocab_size", 1),
            ("projection_dim", 0),
            ("relative_attention_num_buckets", _BUCKETS),
        ):
            if name in self.architecture.defaults:
                _check_size(name, getattr(self, name), least)
        for name in _ENDS:
            if not _is_id(getattr(self, name)):
                raise ConfigError(must_be(name, "null or an integer", getattr(self, name)))
        if self.summary_activation not in (None, ""):
            _check_activation(self.summary_activation, "summary_activation")

    @property
    def architecture(self) -> Architecture:
        """What the model is, and where it differs from BERT."""
        return ARCHITECTURES[self.model_type]

    @property
    def field_names(self) -> tuple[str, ...]:
        """The fields, but `model_type`, that the architecture has."""
        fixed = {*_fixed(self.model_type), "model_type"}
        return tuple(f.name for f in fields(self) if f.name not in fixed)

    @property
    def embedding_features(self) -> int:
        """How many features a row of the embedding's tables has."""
        return self.hidden_size if self.embedding_size is None else self.embedding_size

    @property
    def task_types(self) -> int:
        """How many rows the table of tasks has, 0 where there is none."""
        return self.task_type_vocab_size if self.use_task_id else 0

    @property
    def padding_idx(self) -> int | None:
        """The row of the word table that stands for padding, if one does."""
        row: int | None = self.architecture.padding_row(self.pad_token_id)
        return row

    @property
    def position_padding_idx(self) -> int | None:
        """The row of the table of positions that stands for padding, where one does."""
        row: int | None = self.architecture.position_padding_row(self.pad_token_id)
        return row

    @property
    def reads_token_types(self) -> bool:
        """Whether a call's token types count; an architecture that never has any passes over them.

        So does transformers, whose tokenizers give a DistilBERT some.
        """
        return "token_type_embeddings" not in self.architecture.lacks

    @property
    def masked_id(self) -> int | None:
        """The id that is padding where no mask is given, if there is one."""
        return self.pad_token_id if self.architecture.masks_padding else None

    @property
    def first_position(self) -> int:
        """The position of a text's first token."""
        row = self.position_padding_idx
        return 0 if row is None else row + 1

    @property
    def max_tokens(self) -> int:
        """How many tokens of a text have positions of their own: the most that a model reads."""
        return self.max_position_embeddings - self.first_position

    @property
    def attention_output_dropout_prob(self) -> float:
        """The dropout after the projection that follows attention."""
        return self.hidden_dropout_prob if self.architecture.drops_attention_output else 0.0

    @property
    def words_activation(self) -> str:
        """The function in the head that predicts words."""
        return ACTIVATION_NAMES[self.architecture.words_act or self.hidden_act]

    @property
    def summary_function(self) -> str:
        """The function that summary_activation names; none is "linear"."""
        return ACTIVATION_NAMES[self.summary_activation or "linear"]

    @property
    def activation(self) -> str:
        """The function that hidden_act names; several names can stand for one."""
        return ACTIVATION_NAMES[self.hidden_act]

    @property
    def num_labels(self) -> int:
        """How many labels a classifier has."""
        return len(self.labels)

    @property
    def id2label(self) -> dict[int, str]:
        """The name of each label, by its number."""
        return dict(enumerate(self.labels))

    @property
    def label2id(self) -> dict[str, int]:
        """The number of each label, by its name; the first where two bear one name."""
        return {label: number for number, label in reversed(list(enumerate(self.labels)))}

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: bool | str | None = False,
        **changes: Any,
    ) -> BertConfig:
        """Read the config of a published checkpoint.

        Parameters
        ----------
        name_or_path, revision, cache_dir, local_files_only, token
            They are those of `numpy_bert.fetch`, which gets the checkpoint where the cache has no
            config.json of it.
        **changes
            Settings to have in place of those that stand there.

        Examples
        --------
        >>> BertConfig.from_pretrained("demo", num_labels=3).num_labels
        3
        """
        from numpy_bert.loading.hub import find

        folder = find(
            name_or_path,
            needs=(("config.json",),),
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
        )
        stated = read_config(folder / "config.json").config
        asked = _in_our_names(changes, stated.architecture)
        kind = {name: changes[name] for name in ("model_type",) if name in changes}
        config = replace(stated, **asked, **kind)
        cls._architecture_of({"model_type": config.model_type})
        return config

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BertConfig:
        """Build a config from the members of a config.json.

        Members that BERT's arithmetic does not use are ignored (and listed at debug level);
        nothing in them is ever imported or run. A size that is not there is transformers' default.
        Labels stop nobody here: what cannot be used of them is left out, and a classifier, which
        reads them, says so.

        Examples
        --------
        >>> BertConfig.from_dict({"model_type": "roberta"}).pad_token_id
        1
        >>> BertConfig.from_dict({"model_type": "albert"})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        numpy_bert.errors.ConfigError: model_type = 'albert' is not supported, as all its layers \
share one set of weights; supported are 'bert', 'roberta', ...
        """
        architecture = cls._architecture_of(values)
        return _stated({**values, "model_type": architecture.model_type}).config

    @classmethod
    def from_json_file(cls, json_file: str | Path) -> BertConfig:
        """Read a config.json of at most 1 MB.

        Raises
        ------
        ConfigError
            If the file cannot be read or a field is wrong; the message names both.
        """
        config = read_config(Path(json_file)).config
        cls._architecture_of({"model_type": config.model_type})
        return config

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as transformers' to_dict has them.

        Examples
        --------
        >>> found = BertConfig(id2label={0: "no", 1: "yes"}).to_dict()
        >>> found["model_type"], found["hidden_size"], found["id2label"]
        ('bert', 768, {0: 'no', 1: 'yes'})
        """
        names = ("model_type", *(name for name in self.field_names if name != "labels"))
        values = {name: getattr(self, name) for name in names}
        for name in ("layer_norm_eps", "initializer_range"):  # where transformers takes no integer
            if name in values:
                values[name] = float(values[name])
        if values[_SCORES] is None:  # which transformers does not know
            del values[_SCORES]
        own = {field: name for name, field in self.architecture.settings.items()}
        values = {own.get(name, name): value for name, value in values.items()}
        return {**values, "id2label": self.id2label, "label2id": self.label2id}

    def to_json_string(self) -> str:
        """Return what a config.json has: `to_dict` as JSON, all of it."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def save_pretrained(self, save_directory: str | Path, *, force: bool = False) -> None:
        """Write a config.json, which `from_pretrained`, and transformers', can read.

        Parameters
        ----------
        save_directory : str or Path
            The folder, which is made if it is not there.
        force : bool
            Whether a config.json there is replaced.

        Raises
        ------
        OutputError
            If it is there and `force` is not given, or cannot be written.
        """
        path = make_folder(as_folder(save_directory, "save_directory")) / "config.json"
        check_output(path, force=force)
        write_atomically(path, self.to_json_string().encode())


class StatedConfig(NamedTuple):
    """What a config.json says.

    Attributes
    ----------
    config : BertConfig
        The model's config; its labels are those of `labels` as far as they can be used.
    labels : StatedLabels
        The labels, still to be fitted to the rows of a classifier.
    defaults : tuple of str
        The sizes that are not stated.
    notes : tuple of str
        What is odd but harmless, as sentences.
    code : str
        What ``auto_map`` names as the code of the model; "" for none.
    """

    config: BertConfig
    labels: StatedLabels
    defaults: tuple[str, ...]
    notes: tuple[str, ...]
    code: str

    def __repr__(self) -> str:
        return short_repr(self)


def read_config(path: Path) -> StatedConfig:
    """Read a config.json of at most 1 MB, and what a model's `loading_info` is to say of it.

    Raises
    ------
    ConfigError
        If the file cannot be read or a field is wrong; the message names both.
    """
    if not is_listed(path):
        raise ConfigError(f"{path}: does not exist; name the folder of a checkpoint.")
    values = read_json(path, error=ConfigError, finite=False)
    try:
        return _stated(values)
    except ConfigError as failure:
        raise ConfigError(f"{path}: {failure}") from None


def _stated(values: Mapping[str, Any]) -> StatedConfig:
    """Read the members of a config.json."""
    kind = values.get("model_type")
    architecture = _architecture("bert" if kind is None else kind)
    _check_only(values, {**_ARCHITECTURE, **architecture.only})
    _check_architecture(values, architecture)
    values, notes = _without_others_names(values, architecture)
    values = _in_our_names(values, architecture)
    known = _defaults(architecture.model_type).keys() - _fixed(architecture.model_type).keys()
    known -= {"labels", *LABEL_MEMBERS}
    read = {*known, *_ARCHITECTURE, *architecture.only, *LABEL_MEMBERS, "model_type"}
    _log_ignored(set(values) - read)
    given = {name: values[name] for name in known if name in values}
    function = _stated_activation(values)
    if not isinstance(function, (str, type(None))):
        notes.append(f"{_SCORES} = {shown(function)} was not read; it is no name.")
        function = None
    given[_SCORES] = function
    defaults = tuple(name for name in SIZES if name in known and name not in given)
    if defaults:
        published = _defaults(architecture.model_type)
        taken = ", ".join(f"{name} = {published[name]}" for name in defaults)
        notes.append(f"config.json does not state all sizes; taken, as in transformers: {taken}.")
    notes += _left_out(given, _defaults(architecture.model_type))
    labels = read_labels(values)
    names, problem = labels.labels, labels.problem_type
    config = config_class(architecture.model_type)(
        **given, labels=names, problem_type=problem if fits_problem(names, problem) else None
    )
    code = values.get("auto_map") or {}
    names_of_code = code.values() if isinstance(code, Mapping) else [code]
    return StatedConfig(config, labels, defaults, tuple(notes), ", ".join(map(str, names_of_code)))


def _left_out(given: dict[str, Any], defaults: Mapping[str, Any]) -> Iterator[str]:
    """Take out what is odd and no number of a loaded model depends on; yield a note about each."""
    spread = given.get("initializer_range", 0.0)
    if not _is_number(spread) or spread < 0:
        del given["initializer_range"]
        yield (
            f"initializer_range = {shown(spread)} was not read; for new weights it is "
            f"{defaults['initializer_range']}."
        )
    for name in _ENDS:
        if not _is_id(given.get(name)):
            yield f"{name} = {shown(given.pop(name))} was not read; nothing depends on it."


def _stated_activation(values: Mapping[str, Any]) -> object:
    """Return what a config.json has a cross-encoder's scores go through.

    References
    ----------
    .. [1] sentence-transformers, cross_encoder/model.py, CrossEncoder.get_default_activation_fn.
    """
    later = values.get("sentence_transformers")  # as versions 4 and 5 write it
    if isinstance(later, Mapping) and "activation_fn" in later:
        return later["activation_fn"]
    return values.get(_SCORES)


def _log_ignored(names: set[str]) -> None:
    """List members that nothing reads, at debug level."""
    logging = sys.modules.get("logging")  # to import it takes 3 ms, and who has not sees no message
    if names and logging is not None:
        logging.getLogger("numpy_bert").debug(
            "config.json: ignored %s", ", ".join(quoted(name) for name in sorted(names))
        )


def _architecture(kind: object) -> Architecture:
    """Return the architecture of a model_type; raise ConfigError where it is none of BERT's."""
    if isinstance(kind, str) and kind in ARCHITECTURES:
        return ARCHITECTURES[kind]
    why = f", as {REFUSED[kind]}" if isinstance(kind, str) and kind in REFUSED else ""
    *others, last = map(repr, ARCHITECTURES)
    raise ConfigError(
        f"model_type = {shown(kind)} is not supported{why}; supported are {', '.join(others)} and "
        f"{last}."
    )


@cache
def config_class(model_type: str) -> type[BertConfig]:
    """Return the class of an architecture's config: a `BertConfig` that is of this one alone.

    Examples
    --------
    >>> config_class("roberta")(pad_token_id=3).first_position
    4
    """
    if model_type == BertConfig._model_type:
        return BertConfig
    architecture = ARCHITECTURES[model_type]
    name, what = f"{architecture.classes}Config", with_article(architecture.name)
    members = {
        "__doc__": f"The sizes and settings of {what}; see `BertConfig`.",
        "__module__": __name__,
        "__slots__": (),
        "_model_type": model_type,
    }
    return type(name, (BertConfig,), members)


def __getattr__(name: str) -> Any:
    """Return the config class of an architecture; AutoConfig is BertConfig, which reads all."""
    kind, end = class_names().get(name, ("", ""))
    if end == "Config":
        return config_class(kind or BertConfig._model_type)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _fixed(model_type: str) -> Mapping[str, Any]:
    """Return the fields that an architecture's config.json has not, and what they always are."""
    entry = ARCHITECTURES[model_type]
    defaults = {f.name: f.default for f in fields(BertConfig)}
    absent = {name: defaults[name] for name in _OPTIONAL if name not in entry.defaults}
    return MappingProxyType({**absent, **entry.fixed})


@cache
def _defaults(model_type: str) -> Mapping[str, Any]:
    """Return all fields but model_type and what they are in an architecture by default."""
    entry = ARCHITECTURES[model_type]
    own = {f.name: f.default for f in fields(BertConfig) if f.name != "model_type"}
    return MappingProxyType({**own, **entry.defaults, **entry.fixed})


def _without_others_names(
    values: Mapping[str, Any], architecture: Architecture
) -> tuple[dict[str, Any], list[str]]:
    """Leave out what a config.json says by BERT's name for a setting of another name, and say so.

    Those names mean nothing in transformers' config of such an architecture, but for the common
    ones.
    """
    own = {field: name for name, field in architecture.settings.items() if field not in _COMMON}
    notes = [
        f"{field} = {shown(values[field])} was not read; in {with_article(architecture.name)} it "
        f"is {name}."
        for field, name in own.items()
        if field in values
    ]
    return {name: value for name, value in values.items() if name not in own}, notes


def _in_our_names(values: Mapping[str, Any], architecture: Architecture) -> dict[str, Any]:
    """Return settings by the names of BertConfig's fields; raise ConfigError where two differ."""
    found = {name: value for name, value in values.items() if name != "model_type"}
    for name, field in architecture.settings.items():
        if name not in found:
            continue
        value = found.pop(name)
        if found.setdefault(field, value) != value:
            raise ConfigError(
                f"{name} = {shown(value)} and {field} = {shown(found[field])} are one setting of "
                f"{with_article(architecture.name)}. Give one of them."
            )
    return found


def _check_architecture(values: Mapping[str, Any], architecture: Architecture) -> None:
    """Raise ConfigError for another model's config that does not say its model_type."""
    names = values.get("architectures")
    listed = [str(name) for name in names] if isinstance(names, list) else []
    if "model_type" not in values and listed and not any(n.startswith("Bert") for n in listed):
        raise ConfigError(
            f"architectures must name a Bert... where there is no model_type; got {shown(names)}."
        )
    factor = values.get("embedding_size")
    if "embedding_size" in architecture.defaults or factor is None:
        return
    if factor != values.get("hidden_size", _defaults(architecture.model_type)["hidden_size"]):
        what = with_article(architecture.name)
        raise ConfigError(
            f"embedding_size = {shown(factor)} is not supported; {what} has hidden_size."
        )


def _check_only(values: Mapping[str, Any], names: Mapping[str, Any]) -> None:
    """Raise ConfigError where a setting is not the one value that is supported."""
    for name, only in names.items():
        if values.get(name, only) not in (only, None):
            raise ConfigError(f"{name} = {shown(values[name])} is not supported; only {only!r} is.")


def _check_others(values: Mapping[str, Any], architecture: Architecture) -> None:
    """Raise ConfigError for settings that are no fields and ask for what is not here."""
    only = {**_ARCHITECTURE, **architecture.only, **_CALLS}
    _check_only(values, only)
    for name in sorted(values.keys() - only.keys() - _UNREAD):
        import difflib  # only a complaint needs it

        fixed = _fixed(architecture.model_type)
        known = [n for n in _defaults(architecture.model_type) if n not in fixed]
        near = difflib.get_close_matches(
            name, [*known, *architecture.settings, *LABEL_MEMBERS], n=1
        )
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigError(f"{quoted(name)} is no setting of {architecture.classes}Config.{hint}")


def _check_size(name: str, value: object, least: int = 1) -> None:
    """Raise ConfigError unless `value` is an int (not a bool, float or string) in range."""
    largest = _MOST_LAYERS if name == "num_hidden_layers" else _LARGEST_SIZE
    if type(value) is not int or not least <= value <= largest:
        raise ConfigError(must_be(name, f"an integer from {least} to {largest:,}", value))


def _check_activation(name: object, setting: str = "hidden_act") -> None:
    """Raise ConfigError unless a function of that name is known."""
    if isinstance(name, str) and name in ACTIVATION_NAMES:
        return
    what = " has weights of its own, and" if name in _WITH_WEIGHTS else ""
    raise ConfigError(
        f"{setting} = {shown(name)}{what} is not supported; "
        f"known are {', '.join(ACTIVATION_NAMES)}."
    )


def _is_id(value: object) -> bool:
    """Tell whether a value is an id, or none."""
    return value is None or type(value) is int


def _is_number(value: object) -> bool:
    """Tell whether a value is a finite int or float, and no bool."""
    largest = sys.float_info.max
    return type(value) in (int, float) and -largest <= value <= largest  # type: ignore[operator]


def _check_number(
    name: str, value: Any, wanted: str, *, above: bool = False, most: float | None = None
) -> None:
    """Raise ConfigError unless `value` is a number from 0 (not 0 with `above`) to `most`."""
    good = _is_number(value) and value >= 0 and (most is None or value <= most)
    if not good or (above and value == 0):
        raise ConfigError(must_be(name, wanted, value))
