"""BertConfig: what config.json says of a model, read strictly where something reads it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

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
from numpy_bert.messages import must_be, quoted, shown
from numpy_bert.reprs import short_repr

__all__ = ["ACTIVATION_NAMES", "SIZES", "BertConfig", "StatedConfig", "read_config"]

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
    "model_type": "bert",
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
# What transformers' config has besides, and nothing here reads: no number depends on it.
_UNREAD = frozenset(
    {"architectures", "attn_implementation", "bos_token_id", "dtype", "eos_token_id"}
    | {"gradient_checkpointing", "name_or_path", "torch_dtype", "transformers_version", "use_cache"}
)


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class BertConfig:
    """The sizes and settings of a BERT, under the names that transformers gives them.

    All default to transformers' values, which are those of the published BERT.

    Parameters
    ----------
    **settings
        The fields, by name. The labels can be given in transformers' words, too: `num_labels`,
        `id2label`, `label2id`. What else transformers' config has is taken where it asks for what
        happens anyway, as ``is_decoder=False``.

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
    """

    __repr__ = short_repr

    model_type: ClassVar[str] = "bert"

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
    labels: tuple[str, ...] = named_labels()

    def __init__(self, **settings: Any) -> None:
        words = {name: settings.pop(name, None) for name in ("num_labels", "id2label", "label2id")}
        labels = settings.pop("labels", named_labels())
        check_labels(labels, None)
        given = {**settings, "labels": asked_labels(labels, **words)}
        for field in fields(self):
            object.__setattr__(self, field.name, given.pop(field.name, field.default))
        _check_others(given)
        self._check()

    def _check(self) -> None:
        """Raise ConfigError for a field of the wrong type or range."""
        for name in SIZES:
            _check_size(name, getattr(self, name))
        if self.hidden_size % self.num_attention_heads:
            raise ConfigError(
                f"hidden_size = {self.hidden_size} is not a multiple of "
                f"num_attention_heads = {self.num_attention_heads}."
            )
        _check_activation(self.hidden_act)
        _check_number("layer_norm_eps", self.layer_norm_eps, "a number above 0", above=True)
        _check_number("initializer_range", self.initializer_range, "a number from 0")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"):
            value = getattr(self, name)
            if value is not None or name != "classifier_dropout":
                _check_number(name, value, "a probability from 0 to 1", most=1.0)
        pad, words = self.pad_token_id, self.vocab_size
        if pad is not None and (type(pad) is not int or not -words <= pad < words):
            wanted = (
                f"null, an id of the vocabulary of {words}, or one counted from its end (-1 is the "
                "last)"
            )
            raise ConfigError(must_be("pad_token_id", wanted, pad))
        ties = self.tie_word_embeddings
        if type(ties) is not bool:
            raise ConfigError(must_be("tie_word_embeddings", "true or false", ties))
        function = self.sbert_ce_default_activation_function
        if not isinstance(function, (str, type(None))):
            raise ConfigError(must_be(_SCORES, "null or a class's name", function))
        check_labels(self.labels, self.problem_type)

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
        return replace(read_config(folder / "config.json").config, **changes)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BertConfig:
        """Build a config from the members of a config.json.

        Members that BERT's arithmetic does not use are ignored (and listed at debug level);
        nothing in them is ever imported or run. A size that is not there is transformers' default.
        Labels stop nobody here: what cannot be used of them is left out, and a classifier, which
        reads them, says so.

        Examples
        --------
        >>> BertConfig.from_dict({"model_type": "roberta"})
        Traceback (most recent call last):
        numpy_bert.errors.ConfigError: model_type = 'roberta' is not supported; only 'bert' is.
        """
        return _stated(values).config

    @classmethod
    def from_json_file(cls, json_file: str | Path) -> BertConfig:
        """Read a config.json of at most 1 MB.

        Raises
        ------
        ConfigError
            If the file cannot be read or a field is wrong; the message names both.
        """
        return read_config(Path(json_file)).config

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as transformers' to_dict has them.

        Examples
        --------
        >>> found = BertConfig(id2label={0: "no", 1: "yes"}).to_dict()
        >>> found["model_type"], found["hidden_size"], found["id2label"]
        ('bert', 768, {0: 'no', 1: 'yes'})
        """
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "labels"}
        for name in ("layer_norm_eps", "initializer_range"):  # where transformers takes no integer
            values[name] = float(values[name])
        if values[_SCORES] is None:  # which transformers does not know
            del values[_SCORES]
        labels = {"id2label": self.id2label, "label2id": self.label2id}
        return {"model_type": self.model_type, **values, **labels}

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
    _check_only(values, _ARCHITECTURE)
    _check_architecture(values)
    known = {field.name for field in fields(BertConfig)} - {"labels", *LABEL_MEMBERS}
    _log_ignored(set(values) - known - set(_ARCHITECTURE) - set(LABEL_MEMBERS))
    given = {name: values[name] for name in known if name in values}
    notes = []
    function = _stated_activation(values)
    if not isinstance(function, (str, type(None))):
        notes.append(f"{_SCORES} = {shown(function)} was not read; it is no name.")
        function = None
    given[_SCORES] = function
    defaults = tuple(name for name in SIZES if name not in given)
    if defaults:
        taken = ", ".join(f"{name} = {getattr(_PUBLISHED, name)}" for name in defaults)
        notes.append(f"config.json does not state all sizes; taken, as in transformers: {taken}.")
    spread = given.get("initializer_range", 0.0)
    if not _is_number(spread) or spread < 0:  # which only new weights are drawn from
        del given["initializer_range"]
        notes.append(
            f"initializer_range = {shown(spread)} was not read; for new weights it is "
            f"{_PUBLISHED.initializer_range}."
        )
    labels = read_labels(values)
    names, problem = labels.labels, labels.problem_type
    config = BertConfig(
        **given, labels=names, problem_type=problem if fits_problem(names, problem) else None
    )
    code = values.get("auto_map") or {}
    names_of_code = code.values() if isinstance(code, Mapping) else [code]
    return StatedConfig(config, labels, defaults, tuple(notes), ", ".join(map(str, names_of_code)))


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
    if names:
        import logging  # not at start-up: 3 ms

        logging.getLogger("numpy_bert").debug(
            "config.json: ignored %s", ", ".join(quoted(name) for name in sorted(names))
        )


def _check_architecture(values: Mapping[str, Any]) -> None:
    """Raise ConfigError for another model's config that does not say its model_type."""
    names = values.get("architectures")
    listed = [str(name) for name in names] if isinstance(names, list) else []
    if "model_type" not in values and listed and not any(n.startswith("Bert") for n in listed):
        raise ConfigError(
            f"architectures must name a Bert... where there is no model_type; got {shown(names)}."
        )
    factor = values.get("embedding_size")
    if factor is not None and factor != values.get("hidden_size", _PUBLISHED.hidden_size):
        raise ConfigError(
            f"embedding_size = {shown(factor)} is not supported; a BERT has hidden_size."
        )


def _check_only(values: Mapping[str, Any], names: Mapping[str, Any]) -> None:
    """Raise ConfigError where a setting is not the one value that is supported."""
    for name, only in names.items():
        if values.get(name, only) not in (only, None):
            raise ConfigError(f"{name} = {shown(values[name])} is not supported; only {only!r} is.")


def _check_others(values: Mapping[str, Any]) -> None:
    """Raise ConfigError for settings that are no fields and ask for what BERT has not."""
    _check_only(values, {**_ARCHITECTURE, **_CALLS})
    for name in sorted(values.keys() - _ARCHITECTURE.keys() - _CALLS.keys() - _UNREAD):
        import difflib  # only a complaint needs it

        known = [*(field.name for field in fields(BertConfig)), *LABEL_MEMBERS]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigError(f"{quoted(name)} is no setting of a BertConfig.{hint}")


def _check_size(name: str, value: object) -> None:
    """Raise ConfigError unless `value` is an int (not a bool, float or string) in range."""
    largest = _MOST_LAYERS if name == "num_hidden_layers" else _LARGEST_SIZE
    if type(value) is not int or not 1 <= value <= largest:
        raise ConfigError(must_be(name, f"an integer from 1 to {largest:,}", value))


def _check_activation(name: object) -> None:
    """Raise ConfigError unless a function of that name is known."""
    if isinstance(name, str) and name in ACTIVATION_NAMES:
        return
    what = " has weights of its own, and" if name in _WITH_WEIGHTS else ""
    raise ConfigError(
        f"hidden_act = {shown(name)}{what} is not supported; "
        f"known are {', '.join(ACTIVATION_NAMES)}."
    )


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


_PUBLISHED = BertConfig()
