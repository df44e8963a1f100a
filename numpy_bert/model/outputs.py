"""What a model returns: outputs that also index like a tuple and like a dict, and all steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from numpy_bert.arrays import Array
from numpy_bert.blocks.embeddings import EmbeddingsSteps
from numpy_bert.blocks.encoder import EncoderSteps, PoolerSteps
from numpy_bert.blocks.heads import OnlyMLMSteps, OnlyNSPSteps, PreTrainingHeadsSteps
from numpy_bert.ops.dropout import DropoutSteps
from numpy_bert.reprs import short_repr

__all__ = [
    "BertForPreTrainingOutput",
    "BertModelOutput",
    "BertSteps",
    "ClassificationSteps",
    "HeadOutput",
    "MaskedLMOutput",
    "MaskedLMSteps",
    "ModelOutput",
    "MultipleChoiceModelOutput",
    "NextSentencePredictorOutput",
    "NextSentenceSteps",
    "PreTrainingSteps",
    "QuestionAnsweringModelOutput",
    "QuestionAnsweringSteps",
    "SequenceClassifierOutput",
    "TokenClassifierOutput",
]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ModelOutput:
    """Base of all outputs; a field that is None is left out of indexing and iterating.

    It is used as transformers' ModelOutput: ``output[0]`` and ``output[:2]`` are the tuple's,
    ``output["logits"]`` the dict's, ``output.logits`` the attribute.
    """

    def keys(self) -> tuple[str, ...]:
        """Return the names of the fields that are not None."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) is not None)

    def to_tuple(self) -> tuple[Any, ...]:
        """Return the fields that are not None, in order."""
        return tuple(getattr(self, name) for name in self.keys())

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield name and value of the fields that are not None."""
        return ((name, getattr(self, name)) for name in self.keys())

    def __getitem__(self, key: str | int | slice) -> Any:
        if not isinstance(key, str):
            return self.to_tuple()[key]
        if key not in self.keys():
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def __contains__(self, key: object) -> bool:
        return key in self.keys()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BertModelOutput(ModelOutput):
    """What a BertModel returns.

    Attributes
    ----------
    last_hidden_state : ndarray of shape (B, T, H)
        The output of the last layer.
    pooler_output : ndarray of shape (B, H), or None
        The output of the pooler; None where the checkpoint has none.
    hidden_states : tuple of ndarray of shape (B, T, H), or None
        The embedding's output, then each layer's, if they were asked for.
    attentions : tuple of ndarray of shape (B, A, T, T), or None
        The weights of each layer's attention, if they were asked for: the softmax, after dropout.
    """

    __repr__ = short_repr

    last_hidden_state: Array
    pooler_output: Array | None = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BertSteps:
    """Every intermediate of a BertModel; `pooler` is None where the checkpoint has none.

    `embeddings_project` is what the encoder takes in, (B, T, H), where that is wider than the
    embedding, and None elsewhere.
    """

    __repr__ = short_repr

    embeddings: EmbeddingsSteps
    embeddings_project: Array | None = None
    encoder: EncoderSteps
    pooler: PoolerSteps | None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ClassificationSteps:
    """Every intermediate of a classifier; `classifier` is (B, K), or for tokens (B, T, K)."""

    __repr__ = short_repr

    bert: BertSteps
    dropout: DropoutSteps
    classifier: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MaskedLMSteps:
    """Every intermediate of a BertForMaskedLM."""

    __repr__ = short_repr

    bert: BertSteps
    cls: OnlyMLMSteps


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NextSentenceSteps:
    """Every intermediate of a BertForNextSentencePrediction."""

    __repr__ = short_repr

    bert: BertSteps
    cls: OnlyNSPSteps


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PreTrainingSteps:
    """Every intermediate of a BertForPreTraining."""

    __repr__ = short_repr

    bert: BertSteps
    cls: PreTrainingHeadsSteps


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class QuestionAnsweringSteps:
    """Every intermediate of a BertForQuestionAnswering; qa_outputs (B, T, 2) is start and end."""

    __repr__ = short_repr

    bert: BertSteps
    qa_outputs: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class HeadOutput(ModelOutput):
    """Base of what a model with a head returns; a subclass has the head's scores.

    Attributes
    ----------
    loss : float, or None
        How far the scores are from the labels, if all of those were given: a Python number. It is
        the first field.
    hidden_states, attentions : tuple of ndarray, or None
        The same as in `BertModelOutput`; they are the last fields.
    """

    __repr__ = short_repr

    loss: float | None = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None

    @classmethod
    def score_names(cls) -> tuple[str, ...]:
        """Return the names of the scores' fields, in order."""
        common = {f.name for f in fields(HeadOutput)}
        return tuple(f.name for f in fields(cls) if f.name not in common)

    def keys(self) -> tuple[str, ...]:
        """Return the names of the fields that are there, in transformers' order."""
        names = ("loss", *self.score_names(), "hidden_states", "attentions")
        return tuple(name for name in names if getattr(self, name) is not None)

    @property
    def scores(self) -> tuple[Array, ...]:
        """The head's scores: all that is neither the loss nor the model's own states."""
        return tuple(getattr(self, name) for name in self.score_names())


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BertForPreTrainingOutput(HeadOutput):
    """What a BertForPreTraining returns.

    Attributes
    ----------
    prediction_logits : ndarray of shape (B, T, V)
        The score of each word for each token, not normalized.
    seq_relationship_logits : ndarray of shape (B, 2)
        The scores of "B is what follows A" and of "B is any other text".
    """

    __repr__ = short_repr

    prediction_logits: Array
    seq_relationship_logits: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MaskedLMOutput(HeadOutput):
    """What a BertForMaskedLM returns.

    Attributes
    ----------
    logits : ndarray of shape (B, T, V)
        The score of each word for each token, not normalized.
    """

    __repr__ = short_repr

    logits: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NextSentencePredictorOutput(HeadOutput):
    """What a BertForNextSentencePrediction returns.

    Attributes
    ----------
    logits : ndarray of shape (B, 2)
        The scores of "B is what follows A" and of "B is any other text".
    """

    __repr__ = short_repr

    logits: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SequenceClassifierOutput(HeadOutput):
    """What a BertForSequenceClassification returns.

    Attributes
    ----------
    logits : ndarray of shape (B, K)
        The score of each label, not normalized.
    """

    __repr__ = short_repr

    logits: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TokenClassifierOutput(HeadOutput):
    """What a BertForTokenClassification returns.

    Attributes
    ----------
    logits : ndarray of shape (B, T, K)
        The score of each label for each token, not normalized.
    """

    __repr__ = short_repr

    logits: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class QuestionAnsweringModelOutput(HeadOutput):
    """What a BertForQuestionAnswering returns.

    Attributes
    ----------
    start_logits : ndarray of shape (B, T)
        The score of each token to be the first of the answer.
    end_logits : ndarray of shape (B, T)
        The score of each token to be the last of it.
    """

    __repr__ = short_repr

    start_logits: Array
    end_logits: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MultipleChoiceModelOutput(HeadOutput):
    """What a BertForMultipleChoice returns.

    Attributes
    ----------
    logits : ndarray of shape (B, C)
        The score of each choice, not normalized.
    """

    __repr__ = short_repr

    logits: Array
