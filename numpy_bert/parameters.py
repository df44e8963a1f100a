"""The parameters of a BertModel and of the heads: trees that are both their home and their table.

Fields are named as transformers names its modules, so a parameter's path in the tree *is* its key
in a checkpoint: ``parameters.embeddings.LayerNorm.weight`` is stored as
``embeddings.LayerNorm.weight``. The letters beside a field are the shape of its weight (see
`numpy_bert.arrays`); a bias has the first of them. The tree is the only place where keys and
shapes are written down.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import MappingProxyType, UnionType
from typing import Annotated, Any, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from numpy_bert.arrays import Array, StoredArray
from numpy_bert.config import BertConfig
from numpy_bert.reprs import short_repr

__all__ = [
    "TIED",
    "BertAttentionParameters",
    "BertEmbeddingsParameters",
    "BertEncoderParameters",
    "BertIntermediateParameters",
    "BertLMPredictionHeadParameters",
    "BertLayerParameters",
    "BertOnlyMLMHeadParameters",
    "BertOnlyNSPHeadParameters",
    "BertOutputParameters",
    "BertParameters",
    "BertPoolerParameters",
    "BertPreTrainingHeadsParameters",
    "BertPredictionHeadTransformParameters",
    "BertSelfAttentionParameters",
    "BertSelfOutputParameters",
    "ClassifierParameters",
    "EmbeddingParameters",
    "LayerNormParameters",
    "LinearParameters",
    "MaskedLMParameters",
    "MultipleChoiceParameters",
    "NextSentenceParameters",
    "PreTrainingParameters",
    "QuestionAnsweringParameters",
    "SentenceStudentParameters",
    "arrays_of",
    "build",
    "label_key",
    "pretraining_shapes",
    "shapes",
]

# Each pair names one tensor, unless the config says tie_word_embeddings: false. A checkpoint may
# store either or both.
TIED = {
    "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}

# The letters of the shapes. A word is the field of the config that has this name. A number stands
# for itself, as "2" for the pair of next-sentence labels or of an answer's ends, "1" for the score
# of a choice.
_LETTERS: Mapping[str, Callable[[BertConfig], int]] = {
    "V": lambda config: config.vocab_size,
    "P": lambda config: config.max_position_embeddings,
    "S": lambda config: config.type_vocab_size,
    "E": lambda config: config.embedding_features,
    "H": lambda config: config.hidden_size,
    "A": lambda config: config.num_attention_heads,
    "I": lambda config: config.intermediate_size,
    "K": lambda config: config.num_labels,
}
# When a part that may be absent is there, besides what an architecture never has.
_IF: Mapping[str, Callable[[BertConfig], bool]] = {
    "decoder": lambda config: not config.tie_word_embeddings,  # else it is the word table
    "task_type_embeddings": lambda config: config.task_types > 0,
    "embeddings_project": lambda config: config.embedding_features != config.hidden_size,
    "relative_attention_bias": lambda config: config.relative_attention_num_buckets > 0,
    "encode_proj": lambda config: config.projection_dim > 0,
}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EmbeddingParameters:
    """A look-up table, a row for each id; it may stay as it is stored (see `StoredArray`)."""

    __repr__ = short_repr

    weight: StoredArray


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LayerNormParameters:
    """The scale and the shift of each feature of a LayerNorm."""

    __repr__ = short_repr

    weight: Array
    bias: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LinearParameters:
    """A dense layer as checkpoints store it: weight (out, in), bias (out,)."""

    __repr__ = short_repr

    weight: Array
    bias: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BertEmbeddingsParameters:
    """The tables of the input embedding and its LayerNorm.

    Not every model has token types, and few have a table of tasks, whose row 0 is added to all.
    """

    __repr__ = short_repr

    word_embeddings: Annotated[EmbeddingParameters, "V E"]
    position_embeddings: Annotated[EmbeddingParameters, "P E"]
    token_type_embeddings: Annotated[EmbeddingParameters | None, "S E"] = None
    task_type_embeddings: Annotated[EmbeddingParameters | None, "task_types E"] = None
    LayerNorm: Annotated[LayerNormParameters, "E"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BertSelfAttentionParameters:
    """The three projections of self-attention."""

    __repr__ = short_repr

    query: Annotated[LinearParameters, "H H"]
    key: Annotated[LinearParameters, "H H"]
    value: Annotated[LinearParameters, "H H"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BertSelfOutputParameters:
    """The projection after attention and the LayerNorm of its residual sum."""

    __repr__ = short_repr

    dense: Annotated[LinearParameters, "H H"]
    LayerNorm: Annotated[LayerNormParameters, "H"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BertAttentionParameters:
    """Self-attention with its output projection."""

    __repr__ = short_repr

    self: BertSelfAttentionParameters
    output: BertSelfOutputParameters


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BertIntermediateParameters:
    """The widening half of the feed-forward network."""

    __repr__ = short_repr

    dense: Annotated[LinearParameters, "I H"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BertOutputParameters:
    """The narrowing half of the feed-forward network and the LayerNorm of its residual sum."""

    __repr__ = short_repr

    dense: Annotated[LinearParameters, "H I"]
    LayerNorm: Annotated[LayerNormParameters, "H"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BertLayerParameters:
    """One layer of the encoder."""

    __repr__ = short_repr

    attention: BertAttentionParameters
    intermediate: BertIntermediateParameters
    output: BertOutputParameters


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BertEncoderParameters:
    """All layers, first to last, and what some models add to the scores of each, by distance."""

    __repr__ = short_repr

    layer: tuple[BertLayerParameters, ...]
    relative_attention_bias: Annotated[
        EmbeddingParameters | None, "relative_attention_num_buckets A"
    ] = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BertPoolerParameters:
    """The dense layer over the first token."""

    __repr__ = short_repr

    dense: Annotated[LinearParameters, "H H"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BertParameters:
    """A BertModel. Many published encoders ship without a pooler; an embedding can stand alone.

    `embeddings_project` widens an embedding that is narrower than the encoder; `encode_proj` makes
    a vector of the first token's state where no pooler does.
    """

    __repr__ = short_repr

    embeddings: BertEmbeddingsParameters
    embeddings_project: Annotated[LinearParameters | None, "H E"] = None
    encoder: BertEncoderParameters | None = None
    pooler: BertPoolerParameters | None = None
    encode_proj: Annotated[LinearParameters | None, "projection_dim H"] = None

    def __call__(self, *_: object, **__: object) -> NoReturn:
        """Say what to write in place of ``model.parameters()``."""
        raise TypeError(
            "model.parameters are the weights by name, as model.parameters.encoder, and no method. "
            "model.named_parameters() yields names and arrays; numpy_bert.training.Trainer trains "
            "a model with a head."
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BertPredictionHeadTransformParameters:
    """The dense layer and LayerNorm before the decoder of the masked language model."""

    __repr__ = short_repr

    dense: Annotated[LinearParameters, "E H"]
    LayerNorm: Annotated[LayerNormParameters, "E"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BertLMPredictionHeadParameters:
    """The masked language model, whose decoder is the word table and `bias` (see `TIED`).

    With ``tie_word_embeddings: false`` it has a decoder of its own; nothing reads `bias` then,
    which transformers keeps and stores all the same.
    """

    __repr__ = short_repr

    transform: BertPredictionHeadTransformParameters
    bias: Annotated[Array, "V"]
    decoder: Annotated[LinearParameters | None, "V E"] = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BertPreTrainingHeadsParameters:
    """Both heads that BERT was pre-trained with."""

    __repr__ = short_repr

    predictions: BertLMPredictionHeadParameters
    seq_relationship: Annotated[LinearParameters, "2 H"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PreTrainingParameters:
    """The heads of a BertForPreTraining."""

    __repr__ = short_repr

    cls: BertPreTrainingHeadsParameters


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BertOnlyMLMHeadParameters:
    """The head of the masked language model without the other."""

    __repr__ = short_repr

    predictions: BertLMPredictionHeadParameters


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MaskedLMParameters:
    """The head of a BertForMaskedLM."""

    __repr__ = short_repr

    cls: BertOnlyMLMHeadParameters


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BertOnlyNSPHeadParameters:
    """The head of next-sentence prediction without the other."""

    __repr__ = short_repr

    seq_relationship: Annotated[LinearParameters, "2 H"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NextSentenceParameters:
    """The head of a BertForNextSentencePrediction."""

    __repr__ = short_repr

    cls: BertOnlyNSPHeadParameters


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ClassifierParameters:
    """The head of a classifier of sequences or of tokens."""

    __repr__ = short_repr

    classifier: Annotated[LinearParameters, "K H"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MultipleChoiceParameters:
    """The head of a BertForMultipleChoice, which scores one choice at a time."""

    __repr__ = short_repr

    classifier: Annotated[LinearParameters, "1 H"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class QuestionAnsweringParameters:
    """The head of a BertForQuestionAnswering: where an answer starts, and where it ends."""

    __repr__ = short_repr

    qa_outputs: Annotated[LinearParameters, "2 H"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SentenceStudentParameters:
    """The map of a sentence model that learns from another, to its teacher's features."""

    __repr__ = short_repr

    projection: LinearParameters  # (teacher's features, H): no config says it


Tree = TypeVar("Tree")


@cache
def shapes(
    tree: type[Any], config: BertConfig, prefix: str = ""
) -> MappingProxyType[str, tuple[int, ...]]:
    """Map every key of a parameter class to the shape that `config` gives it.

    The mapping is shared by all who ask, so it cannot be changed.

    Parameters
    ----------
    tree : type
        One of the parameter classes of this module.
    config : BertConfig
        The config, which has the sizes.
    prefix : str
        Where `tree` hangs, as ``"embeddings."`` for `BertEmbeddingsParameters`.

    Examples
    --------
    >>> config = BertConfig(vocab_size=99, hidden_size=24, num_hidden_layers=2,
    ...                     num_attention_heads=4, intermediate_size=37,
    ...                     max_position_embeddings=16, type_vocab_size=2)
    >>> dict(shapes(BertPoolerParameters, config, "pooler."))
    {'pooler.dense.weight': (24, 24), 'pooler.dense.bias': (24,)}
    """
    found = dict[str, tuple[int, ...]]()
    for path, kind, letters, _ in _members(tree, config):
        key = f"{prefix}{path}"
        if is_dataclass(kind) and letters:
            for field in fields(kind):
                chosen = letters if field.name == "weight" else letters.split()[0]
                found[f"{key}.{field.name}"] = _sizes(chosen, config)
        elif is_dataclass(kind):
            found.update(shapes(kind, config, f"{key}."))
        else:
            found[key] = _sizes(letters, config)
    return MappingProxyType(found)


def label_key(tree: type[Any], config: BertConfig, prefix: str = "") -> str | None:
    """Return the key of the weight that has a row for each label, if a parameter class has one.

    Examples
    --------
    >>> label_key(ClassifierParameters, BertConfig()), label_key(MaskedLMParameters, BertConfig())
    ('classifier.weight', None)
    """
    for path, kind, letters, _ in _members(tree, config):
        if letters.startswith("K"):
            return f"{prefix}{path}.weight"
        if is_dataclass(kind) and not letters:
            found = label_key(kind, config, f"{prefix}{path}.")
            if found is not None:
                return found
    return None


def pretraining_shapes(config: BertConfig) -> dict[str, tuple[int, ...]]:
    """Map every key of a BertForPreTraining, the model's without ``bert.``, to its shape."""
    return shapes(BertParameters, config) | shapes(BertPreTrainingHeadsParameters, config, "cls.")


def build(
    tree: type[Tree],
    config: BertConfig,
    get: Callable[[str], StoredArray],
    prefix: str,
    keys: Collection[str] | None = None,
) -> Tree:
    """Fill a parameter class with the arrays that `get` returns for its keys.

    `prefix` is where `tree` hangs, as in `shapes`. Where `keys` are given, a part that may be
    absent and of which there is none among them is None; otherwise all parts are there.
    """
    values: dict[str, Any] = {}
    for path, kind, letters, is_optional in _members(tree, config):
        name, _, index = path.partition(".")
        key = f"{prefix}{path}"
        if is_optional and keys is not None and not any(k.startswith(f"{key}.") for k in keys):
            made: Any = None
        elif is_dataclass(kind) and letters:
            made = kind(**{f.name: get(f"{key}.{f.name}") for f in fields(kind)})
        elif is_dataclass(kind):
            made = build(kind, config, get, f"{key}.", keys)
        else:
            made = get(key)
        values[name] = (*values.get(name, ()), made) if index else made
    return tree(**values)


def arrays_of(parameters: object, prefix: str = "") -> Iterator[tuple[str, StoredArray]]:
    """Yield every array of a filled tree with its key, in the order of the table."""
    if isinstance(parameters, tuple):
        for index, item in enumerate(parameters):
            yield from arrays_of(item, f"{prefix}{index}.")
    elif is_dataclass(parameters):
        for field in fields(parameters):
            yield from arrays_of(getattr(parameters, field.name), f"{prefix}{field.name}.")
    elif parameters is not None:
        yield prefix[:-1], parameters  # type: ignore[misc]


def _members(tree: type[Any], config: BertConfig) -> Iterator[tuple[str, type[Any], str, bool]]:
    """Yield each member's path, type, shape letters, and whether it may be absent.

    A tuple's items come one by one.
    """
    for name, hint in get_type_hints(tree, include_extras=True).items():
        kind, letters = get_args(hint) if get_origin(hint) is Annotated else (hint, "")
        is_optional = get_origin(kind) in (Union, UnionType)
        if is_optional:
            needs = _IF.get(name)
            if name in config.architecture.lacks or (needs and not needs(config)):
                continue
            kind = get_args(kind)[0]
        if get_origin(kind) is tuple:
            for index in range(config.num_hidden_layers):
                yield f"{name}.{index}", get_args(kind)[0], letters, is_optional
        else:
            yield name, kind, letters, is_optional


def _sizes(letters: str, config: BertConfig) -> tuple[int, ...]:
    """Turn shape letters into sizes; a bias has the first letter of its weight."""
    return tuple(_size(letter, config) for letter in letters.split())


def _size(letter: str, config: BertConfig) -> int:
    """Turn one shape letter, number or field's name into a size."""
    if letter.isdigit():
        return int(letter)
    found: int = _LETTERS[letter](config) if letter in _LETTERS else getattr(config, letter)
    return found
