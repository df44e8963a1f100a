"""BertConfig: what config.json says of a model, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from numpy_bert.errors import ConfigError
from numpy_bert.files import quoted, read_json
from numpy_bert.labels import LABEL_MEMBERS, check_labels, read_labels

__all__ = ["BertConfig"]

# Far above any published BERT, far below what would exhaust memory before a shape is checked.
_LARGEST_SIZE = 1 << 24
# Each layer has keys of its own, so their number is bounded by more than a size.
_MOST_LAYERS = 1 << 10
_ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish", "tanh")
_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)
# Fields that turn a BERT into another architecture, with the one value that is supported.
_ONLY = {
    "model_type": "bert",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "is_encoder_decoder": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BertConfig:
    """The sizes and settings of a BERT, under the names that transformers gives them.

    The seven sizes have no default: a checkpoint that does not state them is refused. The rest
    default to the values of the published BERT.

    Raises
    ------
    ConfigError
        If a field has the wrong type or range, or names what is not supported.

    Notes
    -----
    `labels` holds config.json's ``id2label`` in a form that cannot be changed: the name of label 0,
    of label 1, and so on. `id2label`, `label2id` and `num_labels` say the same in transformers'
    words.

    Examples
    --------
    >>> config = BertConfig(vocab_size=99, hidden_size=24, num_hidden_layers=2,
    ...                     num_attention_heads=4, intermediate_size=37,
    ...                     max_position_embeddings=16, type_vocab_size=2)
    >>> config.layer_norm_eps
    1e-12
    >>> config.id2label
    {0: 'LABEL_0', 1: 'LABEL_1'}
    """

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    tie_word_embeddings: bool = True
    pad_token_id: int | None = 0
    classifier_dropout: float | None = None
    problem_type: str | None = None
    labels: tuple[str, ...] = ("LABEL_0", "LABEL_1")

    def __post_init__(self) -> None:
        for name in _SIZES:
            _check_size(name, getattr(self, name))
        if self.hidden_size % self.num_attention_heads:
            raise ConfigError(
                f"hidden_size = {self.hidden_size} is not a multiple of "
                f"num_attention_heads = {self.num_attention_heads}."
            )
        if self.hidden_act not in _ACTIVATIONS:
            raise ConfigError(
                f"hidden_act = {quoted(self.hidden_act)} is not supported; "
                f"known are {', '.join(_ACTIVATIONS)}."
            )
        _check_number("layer_norm_eps", self.layer_norm_eps, "a number in (0, 1)", above=True)
        _check_number("initializer_range", self.initializer_range, "a number in [0, 1)")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            _check_number(name, getattr(self, name), "a probability in [0, 1)")
        ties = self.tie_word_embeddings
        if type(ties) is not bool:
            raise ConfigError(
                f"tie_word_embeddings = {quoted(repr(ties))}; true or false was expected."
            )
        pad = self.pad_token_id
        if pad is not None and (type(pad) is not int or not 0 <= pad < self.vocab_size):
            raise ConfigError(
                f"pad_token_id = {quoted(repr(pad))}; null or an id of the vocabulary of "
                f"{self.vocab_size} was expected."
            )
        if self.classifier_dropout is not None:
            _check_number("classifier_dropout", self.classifier_dropout, "a probability in [0, 1)")
        check_labels(self.labels, self.problem_type)

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
    def from_dict(cls, values: Mapping[str, Any]) -> BertConfig:
        """Build a config from the members of a config.json.

        Members that BERT's arithmetic does not use are ignored (and listed at debug level);
        nothing in them is ever imported or run.

        Examples
        --------
        >>> BertConfig.from_dict({"model_type": "roberta"})
        Traceback (most recent call last):
        numpy_bert.errors.ConfigError: model_type = 'roberta' is not supported; only 'bert' is.
        """
        for name, only in _ONLY.items():
            if values.get(name, only) not in (only, None):
                raise ConfigError(
                    f"{name} = {quoted(repr(values[name]))} is not supported; only {only!r} is."
                )
        _check_architecture(values)
        known = {field.name: field for field in fields(cls) if field.name != "labels"}
        missing = [n for n, f in known.items() if f.default is MISSING and n not in values]
        if missing:
            raise ConfigError(f"{', '.join(missing)}: missing; nothing is guessed.")
        ignored = sorted(set(values) - set(known) - set(_ONLY) - set(LABEL_MEMBERS))
        if ignored:
            import logging  # not at start-up: 3 ms

            logging.getLogger("numpy_bert").debug(
                "config.json: ignored %s", ", ".join(quoted(name) for name in ignored)
            )
        given = {name: values[name] for name in known if name in values}
        return cls(**given, **read_labels(values))

    @classmethod
    def from_json_file(cls, json_file: str | Path) -> BertConfig:
        """Read a config.json of at most 1 MB.

        Raises
        ------
        ConfigError
            Naming the file and the field.
        """
        path = Path(json_file)
        try:
            stands = path.exists() or path.is_symlink()
        except OSError:
            stands = True  # what is wrong with it is said below
        if not stands:
            raise ConfigError(f"{path}: does not exist; name the folder of a checkpoint.")
        values = read_json(path, error=ConfigError)
        try:
            return cls.from_dict(values)
        except ConfigError as failure:
            raise ConfigError(f"{path}: {failure}") from None


def _check_architecture(values: Mapping[str, Any]) -> None:
    """Raise ConfigError for another model's config that does not say its model_type."""
    names = values.get("architectures")
    listed = [str(name) for name in names] if isinstance(names, list) else []
    if "model_type" not in values and listed and not any(n.startswith("Bert") for n in listed):
        raise ConfigError(
            f"architectures = {quoted(repr(names))} without a model_type is not supported; "
            "a Bert... was expected."
        )
    factor = values.get("embedding_size", values.get("hidden_size"))
    if factor != values.get("hidden_size"):
        raise ConfigError(
            f"embedding_size = {quoted(repr(factor))} is not supported; a BERT has hidden_size."
        )


def _check_size(name: str, value: object) -> None:
    """Raise ConfigError unless `value` is an int (not a bool, float or string) in range."""
    largest = _MOST_LAYERS if name == "num_hidden_layers" else _LARGEST_SIZE
    if type(value) is not int or not 1 <= value <= largest:
        raise ConfigError(
            f"{name} = {quoted(repr(value))}; an integer from 1 to {largest:,} was expected."
        )


def _check_number(name: str, value: object, expected: str, *, above: bool = False) -> None:
    """Raise ConfigError unless `value` is a number in [0, 1), or in (0, 1) with `above`."""
    good = type(value) in (int, float) and 0 <= value < 1  # type: ignore[operator]
    if not good or (above and value == 0):
        raise ConfigError(f"{name} = {quoted(repr(value))}; {expected} was expected.")
