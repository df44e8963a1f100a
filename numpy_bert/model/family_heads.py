"""The heads that BERT's family has and BERT has not, each made of BERT's by rules that are data.

`head_of` returns an architecture's head, by what `numpy_bert.architectures` says of it. It stands
apart from `numpy_bert.model.heads`, so that who runs a BERT does not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal

import numpy.typing as npt

from numpy_bert.architectures import ARCHITECTURES, HeadRules
from numpy_bert.arrays import Array, BoolArray
from numpy_bert.blocks.heads import Activation, Dense, Dropout, HeadCall, Layer
from numpy_bert.config import BertConfig
from numpy_bert.model.heads import (
    HEADS,
    PRE_TRAINING,
    Chain,
    Given,
    Head,
    Labels,
    Loss,
    only_labels,
)
from numpy_bert.model.outputs import (
    BertForPreTrainingOutput,
    BertSteps,
    ClassificationSteps,
    HeadOutput,
    QuestionAnsweringSteps,
)
from numpy_bert.model.with_head import BertWithHead
from numpy_bert.ops.dropout import DropoutSteps
from numpy_bert.parameters import ClassifierParameters, LinearParameters, MultipleChoiceParameters
from numpy_bert.reprs import short_repr
from numpy_bert.tasks.items import Items, token_items
from numpy_bert.tasks.objectives import Objective, replaced_objective

__all__ = ["REPLACED_TOKENS", "FinderOfReplacedTokens", "head_of"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FirstTokenClassifierParameters:
    """A classifier of two dense layers over the first token."""

    __repr__ = short_repr

    dense: Annotated[LinearParameters, "H H"]
    out_proj: Annotated[LinearParameters, "K H"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FirstTokenParameters:
    """The head of a classifier of sequences that reads the first token, not a pooler."""

    __repr__ = short_repr

    classifier: FirstTokenClassifierParameters


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PreClassifierParameters:
    """The head of a classifier of sequences with a dense layer of its own before the classifier."""

    __repr__ = short_repr

    pre_classifier: Annotated[LinearParameters, "H H"]
    classifier: Annotated[LinearParameters, "K H"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PreClassifierChoiceParameters:
    """The head of a chooser with such a layer of its own, which scores one choice at a time."""

    __repr__ = short_repr

    pre_classifier: Annotated[LinearParameters, "H H"]
    classifier: Annotated[LinearParameters, "1 H"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SequenceSummaryParameters:
    """The dense layer that sums up a sequence by its first token."""

    __repr__ = short_repr

    summary: Annotated[LinearParameters, "H H"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SummaryChoiceParameters:
    """A head that scores one choice at a time, by the summary of a sequence."""

    __repr__ = short_repr

    sequence_summary: SequenceSummaryParameters
    classifier: Annotated[LinearParameters, "1 H"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DiscriminatorPredictionsParameters:
    """What tells of each token whether it was replaced."""

    __repr__ = short_repr

    dense: Annotated[LinearParameters, "H H"]
    dense_prediction: Annotated[LinearParameters, "1 H"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ReplacedTokensParameters:
    """The head of a model that finds tokens which were replaced."""

    __repr__ = short_repr

    discriminator_predictions: DiscriminatorPredictionsParameters


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FirstTokenClassifierSteps:
    """The two dense layers of a classifier over the first token; out_proj (B, K)."""

    __repr__ = short_repr

    dropout: DropoutSteps
    dense: Array
    activation: Array
    last_dropout: DropoutSteps
    out_proj: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FirstTokenSteps:
    """Every intermediate of a classifier that reads the first token, not a pooler."""

    __repr__ = short_repr

    bert: BertSteps
    classifier: FirstTokenClassifierSteps


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PreClassifierSteps:
    """Every intermediate of a classifier with a dense layer before it; `classifier` is (B, K)."""

    __repr__ = short_repr

    bert: BertSteps
    pre_classifier: Array
    activation: Array
    dropout: DropoutSteps
    classifier: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SequenceSummarySteps:
    """The summary of a sequence by its first token, (B, H)."""

    __repr__ = short_repr

    summary: Array
    activation: Array
    last_dropout: DropoutSteps


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SummaryChoiceSteps:
    """Every intermediate of a chooser by the sequences' summaries; `classifier` is (B, 1)."""

    __repr__ = short_repr

    bert: BertSteps
    sequence_summary: SequenceSummarySteps
    classifier: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DiscriminatorPredictionsSteps:
    """What tells of each token whether it was replaced; dense_prediction (B, T, 1)."""

    __repr__ = short_repr

    dense: Array
    activation: Array
    dense_prediction: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ReplacedTokensSteps:
    """Every intermediate of a model that finds tokens which were replaced."""

    __repr__ = short_repr

    bert: BertSteps
    discriminator_predictions: DiscriminatorPredictionsSteps


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DroppedAnswersSteps:
    """Every intermediate of a model that drops out before it finds answers.

    qa_outputs (B, T, 2) is the start and the end.
    """

    __repr__ = short_repr

    bert: BertSteps
    dropout: DropoutSteps
    qa_outputs: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ErnieForPreTrainingOutput(BertForPreTrainingOutput):
    """What an ErnieForPreTraining returns: what a BertForPreTraining does."""

    __repr__ = short_repr


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ElectraForPreTrainingOutput(HeadOutput):
    """What an ElectraForPreTraining returns.

    Attributes
    ----------
    logits : ndarray of shape (B, T)
        How much each token looks as if another had stood there: below 0 not, above 0 it does.
    """

    __repr__ = short_repr

    logits: Array


def _judge_replaced(
    scores: Array, labels: Labels, call: HeadCall, items: Items | None
) -> Objective:
    """Judge whether tokens were replaced."""
    _, given, count = only_labels(labels, items)
    return replaced_objective(scores, given, call.mask, num_items_in_batch=count)


def _count_replaced(name: str, labels: npt.ArrayLike, given: Given, config: BertConfig) -> int:
    """Return how many tokens are no padding."""
    return token_items(labels, given.get("attention_mask"), name=name)


def _never(labels: Labels, mask: BoolArray) -> bool:
    """Tell that no label counts at padding."""
    return False


def _of_tokens(scores: Array, call: HeadCall) -> tuple[Array, ...]:
    """Return the one score of each token."""
    return (scores[..., 0],)


# Whether a token was replaced; padding does not count, whatever its label is.
REPLACED = Loss(judge=_judge_replaced, count=_count_replaced, looks_at_padding=_never)
REPLACED_TOKENS = Head(
    parameters=ReplacedTokensParameters,
    output=ElectraForPreTrainingOutput,
    steps=ReplacedTokensSteps,
    chains=(
        Chain(
            reads="tokens",
            layers=(
                Dense("discriminator_predictions.dense"),
                Activation("discriminator_predictions.activation"),
                Dense("discriminator_predictions.dense_prediction"),
            ),
            loss=REPLACED,
            scores=_of_tokens,
        ),
    ),
)


class FinderOfReplacedTokens(BertWithHead[ElectraForPreTrainingOutput, ReplacedTokensSteps]):
    """A model that tells of each token whether another stood there, as ELECTRA is pre-trained.

    Labels are 1 where one was put in place of another, 0 where not; at padding they do not count.
    """

    kind = REPLACED_TOKENS


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Form:
    """What a chain of layers that is not BERT's has in place of BERT's.

    Attributes
    ----------
    layers : callable
        Called with the rules and BERT's last layer; returns the layers.
    reads : str, optional
        What the first of them reads, where it is not what BERT's reads.
    classes : mapping of type to type
        The classes of parameters and of steps, by BERT's own; those are kept that are not there.
    """

    __repr__ = short_repr

    layers: Callable[[HeadRules, Layer], tuple[Layer, ...]]
    reads: Literal["tokens", "first", "pooled"] | None = None
    classes: Mapping[type[Any], type[Any]]


def _dropped(rules: HeadRules, last: Layer) -> tuple[Layer, ...]:
    """Return BERT's layer behind dropout at the architecture's rate."""
    return Dropout("dropout", rules.dropout), last


def _first_token(rules: HeadRules, last: Layer) -> tuple[Layer, ...]:
    """Return two dense layers, with dropout before each."""
    return (
        Dropout("classifier.dropout", rules.dropout),
        Dense("classifier.dense"),
        Activation("classifier.activation", rules.activation),
        Dropout("classifier.last_dropout", rules.dropout),
        Dense("classifier.out_proj"),
    )


def _pre_classifier(rules: HeadRules, last: Layer) -> tuple[Layer, ...]:
    """Return BERT's layer behind another dense one and dropout."""
    return (
        Dense("pre_classifier"),
        Activation("activation", rules.activation),
        Dropout("dropout", rules.dropout),
        last,
    )


def _sequence_summary(rules: HeadRules, last: Layer) -> tuple[Layer, ...]:
    """Return BERT's layer behind a summary, whose function the config names."""
    return (
        Dense("sequence_summary.summary"),
        Activation("sequence_summary.activation", setting="summary_function"),
        Dropout("sequence_summary.last_dropout", rules.dropout),
        last,
    )


# By the names that `HeadRules.form` has.
_FORMS: Mapping[str, _Form] = {
    "": _Form(layers=_dropped, classes={QuestionAnsweringSteps: DroppedAnswersSteps}),
    "first_token": _Form(
        layers=_first_token,
        reads="first",
        classes={
            ClassifierParameters: FirstTokenParameters,
            ClassificationSteps: FirstTokenSteps,
        },
    ),
    "pre_classifier": _Form(
        layers=_pre_classifier,
        reads="first",
        classes={
            ClassifierParameters: PreClassifierParameters,
            MultipleChoiceParameters: PreClassifierChoiceParameters,
            ClassificationSteps: PreClassifierSteps,
        },
    ),
    "sequence_summary": _Form(
        layers=_sequence_summary,
        reads="first",
        classes={
            MultipleChoiceParameters: SummaryChoiceParameters,
            ClassificationSteps: SummaryChoiceSteps,
        },
    ),
}
# Heads that are no variation of BERT's, by the same names.
_OTHERS: Mapping[str, Head] = {
    "discriminator_predictions": REPLACED_TOKENS,
    "ernie": replace(PRE_TRAINING, output=ErnieForPreTrainingOutput),
}


@cache
def head_of(model_type: str, end: str) -> Head:
    """Return an architecture's head, by how the name of its model ends.

    Examples
    --------
    >>> [layer.name for layer in head_of("bert", "ForSequenceClassification").chains[0].layers]
    ['dropout', 'classifier']
    >>> [layer.name for layer in head_of("roberta", "ForSequenceClassification").chains[0].layers]
    ['classifier.dropout', 'classifier.dense', 'classifier.activation', 'classifier.last_dropout', \
'classifier.out_proj']
    """
    rules, base = ARCHITECTURES[model_type].heads[end], HEADS[end]
    if rules == HeadRules():
        return base
    if rules.form in _OTHERS:
        return _OTHERS[rules.form]
    form, [chain] = _FORMS[rules.form], base.chains
    layers, reads = form.layers(rules, chain.layers[-1]), form.reads or chain.reads
    return replace(
        base,
        parameters=form.classes.get(base.parameters, base.parameters),
        steps=form.classes.get(base.steps, base.steps),
        chains=(replace(chain, layers=layers, reads=reads),),
    )
