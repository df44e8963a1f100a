"""What a head is, as data: its parameters, what it reads, forward and backward, its loss.

Each head of BERT is one value at the end of this file; a model of `numpy_bert.model.task_models`
names it. A new head is a value too: of one of the classes here, or of a class of its own with the
four methods that `Head` leaves open.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.blocks.gradients import dense_backward
from numpy_bert.blocks.heads import (
    LMPredictionGradients,
    LMPredictionSteps,
    OnlyMLMSteps,
    OnlyNSPSteps,
    PreTrainingHeadsSteps,
    Product,
    ProductBackward,
    QuestionAnsweringHeadSteps,
    classifier,
    classifier_backward,
    lm_prediction,
    lm_prediction_backward,
)
from numpy_bert.config import BertConfig
from numpy_bert.model.outputs import (
    BertForPreTrainingOutput,
    ClassificationSteps,
    HeadOutput,
    MaskedLMOutput,
    MaskedLMSteps,
    MultipleChoiceModelOutput,
    NextSentencePredictorOutput,
    NextSentenceSteps,
    PreTrainingSteps,
    QuestionAnsweringModelOutput,
    QuestionAnsweringSteps,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from numpy_bert.ops.linear import linear, linear_backward
from numpy_bert.ops.losses import IGNORED
from numpy_bert.parameters import (
    BertOnlyMLMHeadParameters,
    BertOnlyNSPHeadParameters,
    BertPreTrainingHeadsParameters,
    ClassifierParameters,
    LinearParameters,
    MaskedLMParameters,
    MultipleChoiceParameters,
    NextSentenceParameters,
    PreTrainingParameters,
    QuestionAnsweringParameters,
)
from numpy_bert.tasks.items import Items, items_of, label_items, sequence_items, span_items
from numpy_bert.tasks.objectives import (
    Objective,
    choice_objective,
    label_objective,
    next_sentence_objective,
    sequence_objective,
    span_objective,
)

__all__ = [
    "MASKED_LM",
    "MULTIPLE_CHOICE",
    "NEXT_SENTENCE",
    "PRE_TRAINING",
    "QUESTION_ANSWERING",
    "SEQUENCE_CLASSIFICATION",
    "TOKEN_CLASSIFICATION",
    "Head",
    "HeadCall",
    "HeadGradients",
]


class HeadCall(NamedTuple):
    """A call of a head: its parameters, and what it reads.

    Attributes
    ----------
    parameters : one of the classes of `numpy_bert.parameters`
        The head's weights.
    config : BertConfig
        Activation, epsilon, dropout, and what the labels are.
    hidden : ndarray of shape (B, T, H), or (N, H) of some tokens; or None
        The last hidden state; None for a head that reads the pooler's output alone.
    pooled : ndarray of shape (B, H), or None
        The pooler's output.
    rng : numpy.random.Generator, optional
        Turns the head's dropout on.
    decoder : ndarray of shape (V, H), or None
        The weight of the decoder, for a head that predicts words.
    product, product_backward : callable
        What multiplies by the decoder, and its backward: the readable code, or a kernel.
    choices : int
        How many sequences belong to one example.
    """

    parameters: Any
    config: BertConfig
    hidden: Array | None = None
    pooled: Array | None = None
    rng: np.random.Generator | None = None
    decoder: Array | None = None
    product: Product = linear
    product_backward: ProductBackward = linear_backward
    choices: int = 1


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class HeadGradients:
    """The gradients of a head's parameters, and of what it read; None is what it did not call.

    hidden is (B, T, H), or (N, H) of the tokens that were read; pooled (B, H); decoder (V, H).
    """

    parameters: Any
    hidden: Array | None = None
    pooled: Array | None = None
    decoder: Array | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Head(ABC):
    """A head of BERT.

    Attributes
    ----------
    parameters : type
        The class of its parameters, in `numpy_bert.parameters`, whose fields are a checkpoint's
        keys.
    output : type
        What a call of the model returns, a `HeadOutput`.
    steps : type
        What the model's `steps` returns: ``bert``, and the head's steps.
    module : str
        The field of `steps` that holds the head's; "" where each of them has a field of its own.
    reads : {"tokens", "pooled", "both"}
        The rows that it reads: of each token, the pooler's output, which is read off the first
        token, or both.
    targets : tuple of str
        The names of the labels that its loss takes.
    decodes : bool
        Whether it predicts words, for which it takes the word table or a decoder of its own.
    """

    parameters: type[Any]
    output: type[HeadOutput]
    steps: type[Any]
    module: str = ""
    reads: Literal["tokens", "pooled", "both"]
    targets: tuple[str, ...] = ("labels",)
    decodes: bool = False

    @abstractmethod
    def forward(self, call: HeadCall) -> Any:
        """Run the head; return its steps, a dataclass."""

    @abstractmethod
    def backward(
        self, call: HeadCall, steps: Any, score_gradients: tuple[Array, ...]
    ) -> HeadGradients:
        """Go back through the head, from the gradients of its scores."""

    @abstractmethod
    def scores(self, call: HeadCall, steps: Any) -> tuple[Array, ...]:
        """Return the scores, in the order of the output's fields."""

    @abstractmethod
    def objective(
        self, call: HeadCall, steps: Any, labels: Mapping[str, Any], items: Items | None
    ) -> Objective:
        """Judge the scores by the labels; `items` is what each loss is divided by, or None."""

    def items(self, labels: Mapping[str, Any], length: int, config: BertConfig) -> dict[str, int]:
        """Return how many labels count, by their names; a sequence has `length` tokens."""
        return {name: label_items(labels[name], name=name) for name in self.targets}

    def judges_padding(self, labels: Mapping[str, Any], mask: BoolArray) -> bool:
        """Tell whether the loss depends on what stands at padding, as transformers computes it."""
        of_first = self.reads != "tokens" and not mask[:, 0].all()
        return of_first or (self.reads != "pooled" and _counts(labels["labels"], ~mask))

    def named(self, bert: Any, steps: Any) -> Any:
        """Return the steps of the whole model, of those of the BertModel and of the head."""
        if self.module:
            return self.steps(bert=bert, **{self.module: steps})
        return self.steps(bert=bert, **{f.name: getattr(steps, f.name) for f in fields(steps)})

    def returned(
        self, scores: tuple[Array, ...], states: Any = None, attentions: Any = None
    ) -> Any:
        """Return what a call returns, of the scores and of the model's own states."""
        others = ("loss", "hidden_states", "attentions")
        names = [f.name for f in fields(self.output) if f.name not in others]
        found: dict[str, Any] = dict(zip(names, scores, strict=True))
        found |= {"hidden_states": states, "attentions": attentions}
        return self.output(**found)


# Called with a classifier's scores, the labels, the call, and how many labels count.
_Judge = Callable[[Array, npt.ArrayLike, HeadCall, int | None], Objective]
# Called with the labels and the config.
_Count = Callable[[npt.ArrayLike, BertConfig], int]


def _count_labels(labels: npt.ArrayLike, config: BertConfig) -> int:
    del config
    return label_items(labels)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ClassifierHead(Head):
    """Dropout and a dense layer, called ``classifier``, over the pooled row or over each token.

    Attributes
    ----------
    judge : callable
        What its scores are worth against labels.
    count : callable
        How many of the labels count.
    """

    steps: type[Any] = ClassificationSteps
    judge: _Judge
    count: _Count = _count_labels

    def forward(self, call: HeadCall) -> Any:
        """Score the labels."""
        x = call.hidden if self.reads == "tokens" else call.pooled
        assert x is not None
        return classifier(call.parameters.classifier, x, p=_dropout(call.config), rng=call.rng)

    def backward(
        self, call: HeadCall, steps: Any, score_gradients: tuple[Array, ...]
    ) -> HeadGradients:
        """Go back through the dense layer and dropout."""
        own = call.parameters.classifier
        back = classifier_backward(score_gradients[0], own, steps, p=_dropout(call.config))
        source = "hidden" if self.reads == "tokens" else "pooled"
        found = self.parameters(classifier=back.parameters)
        return HeadGradients(parameters=found, **{source: back.x})

    def scores(self, call: HeadCall, steps: Any) -> tuple[Array, ...]:
        """Return the logits; where several sequences are one example, of these side by side."""
        logits = steps.classifier
        return (logits if call.choices == 1 else logits.reshape(-1, call.choices),)

    def objective(
        self, call: HeadCall, steps: Any, labels: Mapping[str, Any], items: Items | None
    ) -> Objective:
        """Judge the logits."""
        count = _one(items, "labels")
        return self.judge(steps.classifier, labels["labels"], call, count)

    def items(self, labels: Mapping[str, Any], length: int, config: BertConfig) -> dict[str, int]:
        """Return how many labels count."""
        return {"labels": self.count(labels["labels"], config)}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NextSentenceHead(Head):
    """A dense layer over the pooled row that says whether a text follows another."""

    def forward(self, call: HeadCall) -> Any:
        """Score "it follows" and "it does not"."""
        return OnlyNSPSteps(
            seq_relationship=_dense(call.pooled, call.parameters.cls.seq_relationship)
        )

    def backward(
        self, call: HeadCall, steps: Any, score_gradients: tuple[Array, ...]
    ) -> HeadGradients:
        """Go back through the dense layer."""
        assert call.pooled is not None
        back = dense_backward(score_gradients[0], call.pooled, call.parameters.cls.seq_relationship)
        own = BertOnlyNSPHeadParameters(seq_relationship=back.parameters)
        return HeadGradients(parameters=NextSentenceParameters(cls=own), pooled=back.x)

    def scores(self, call: HeadCall, steps: Any) -> tuple[Array, ...]:
        """Return the logits, (B, 2)."""
        return (steps.seq_relationship,)

    def objective(
        self, call: HeadCall, steps: Any, labels: Mapping[str, Any], items: Items | None
    ) -> Objective:
        """Judge the logits."""
        count = _one(items, "labels")
        return next_sentence_objective(
            steps.seq_relationship, labels["labels"], name="labels", num_items_in_batch=count
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MaskedLMHead(Head):
    """The masked language model: a transform of each token, and the score of each word."""

    decodes: bool = True

    def forward(self, call: HeadCall) -> Any:
        """Score the words."""
        return OnlyMLMSteps(predictions=_words(call))

    def backward(
        self, call: HeadCall, steps: Any, score_gradients: tuple[Array, ...]
    ) -> HeadGradients:
        """Go back through decoder and transform."""
        words = _words_backward(call, steps.predictions, score_gradients[0])
        found = BertOnlyMLMHeadParameters(predictions=words.parameters)
        return HeadGradients(
            parameters=MaskedLMParameters(cls=found), hidden=words.hidden, decoder=words.decoder
        )

    def scores(self, call: HeadCall, steps: Any) -> tuple[Array, ...]:
        """Return the logits, (B, T, V)."""
        return (steps.predictions.output,)

    def objective(
        self, call: HeadCall, steps: Any, labels: Mapping[str, Any], items: Items | None
    ) -> Objective:
        """Judge the logits of words."""
        count = _one(items, "labels")
        return label_objective(steps.predictions.output, labels["labels"], num_items_in_batch=count)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PreTrainingHead(Head):
    """Both heads that BERT was pre-trained with."""

    decodes: bool = True

    def forward(self, call: HeadCall) -> Any:
        """Score the words, and whether the second text follows the first."""
        return PreTrainingHeadsSteps(
            predictions=_words(call),
            seq_relationship=_dense(call.pooled, call.parameters.cls.seq_relationship),
        )

    def backward(
        self, call: HeadCall, steps: Any, score_gradients: tuple[Array, ...]
    ) -> HeadGradients:
        """Go back through both."""
        assert call.pooled is not None
        of_words, of_order = score_gradients
        words = _words_backward(call, steps.predictions, of_words)
        order = dense_backward(of_order, call.pooled, call.parameters.cls.seq_relationship)
        found = BertPreTrainingHeadsParameters(
            predictions=words.parameters, seq_relationship=order.parameters
        )
        return HeadGradients(
            parameters=PreTrainingParameters(cls=found),
            hidden=words.hidden,
            pooled=order.x,
            decoder=words.decoder,
        )

    def scores(self, call: HeadCall, steps: Any) -> tuple[Array, ...]:
        """Return the logits of words, (B, T, V), and of "it follows", (B, 2)."""
        return steps.predictions.output, steps.seq_relationship

    def objective(
        self, call: HeadCall, steps: Any, labels: Mapping[str, Any], items: Items | None
    ) -> Objective:
        """Judge both; the loss is their sum."""
        words, order = (_one(items, name) for name in self.targets)
        name = self.targets[1]
        return label_objective(
            steps.predictions.output, labels["labels"], num_items_in_batch=words
        ) + next_sentence_objective(
            steps.seq_relationship, labels[name], name=name, num_items_in_batch=order
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class QuestionAnsweringHead(Head):
    """A dense layer over each token that says how likely an answer starts and ends there."""

    def forward(self, call: HeadCall) -> Any:
        """Score starts and ends."""
        return QuestionAnsweringHeadSteps(
            qa_outputs=_dense(call.hidden, call.parameters.qa_outputs)
        )

    def backward(
        self, call: HeadCall, steps: Any, score_gradients: tuple[Array, ...]
    ) -> HeadGradients:
        """Go back through the dense layer."""
        assert call.hidden is not None
        back = dense_backward(score_gradients[0], call.hidden, call.parameters.qa_outputs)
        found = QuestionAnsweringParameters(qa_outputs=back.parameters)
        return HeadGradients(parameters=found, hidden=back.x)

    def scores(self, call: HeadCall, steps: Any) -> tuple[Array, ...]:
        """Return the logits of starts and of ends, (B, T) each."""
        return steps.qa_outputs[..., 0], steps.qa_outputs[..., 1]

    def objective(
        self, call: HeadCall, steps: Any, labels: Mapping[str, Any], items: Items | None
    ) -> Objective:
        """Judge both; the loss is their mean."""
        given = (labels[name] for name in self.targets)
        return span_objective(steps.qa_outputs, *given, num_items_in_batch=items)

    def items(self, labels: Mapping[str, Any], length: int, config: BertConfig) -> dict[str, int]:
        """Return how many places are within the tokens."""
        return {name: span_items(labels[name], length, name=name) for name in self.targets}

    def judges_padding(self, labels: Mapping[str, Any], mask: BoolArray) -> bool:
        """Tell that an answer's place is looked for at padding, too."""
        return True


def _judge_sequences(
    scores: Array, labels: npt.ArrayLike, call: HeadCall, items: int | None
) -> Objective:
    kind = call.config.problem_type
    return sequence_objective(scores, labels, problem_type=kind, num_items_in_batch=items)


def _count_sequences(labels: npt.ArrayLike, config: BertConfig) -> int:
    return sequence_items(labels, config.num_labels, problem_type=config.problem_type)


def _judge_tokens(
    scores: Array, labels: npt.ArrayLike, call: HeadCall, items: int | None
) -> Objective:
    del call
    return label_objective(scores, labels, num_items_in_batch=items)


def _judge_choices(
    scores: Array, labels: npt.ArrayLike, call: HeadCall, items: int | None
) -> Objective:
    return choice_objective(scores, labels, choices=call.choices, num_items_in_batch=items)


def _dropout(config: BertConfig) -> float:
    """Return the probability of a classifier's dropout."""
    own = config.classifier_dropout
    return config.hidden_dropout_prob if own is None else own


def _dense(x: Array | None, parameters: LinearParameters) -> Array:
    assert x is not None
    return linear(x, parameters.weight, parameters.bias)


def _words(call: HeadCall) -> LMPredictionSteps:
    """Run the head that predicts words."""
    assert call.hidden is not None
    assert call.decoder is not None
    predictions, config = call.parameters.cls.predictions, call.config
    return lm_prediction(
        predictions, call.decoder, call.hidden, config=config, product=call.product
    )


def _words_backward(call: HeadCall, steps: LMPredictionSteps, grad: Array) -> LMPredictionGradients:
    """Go back through the head that predicts words."""
    assert call.hidden is not None
    assert call.decoder is not None
    return lm_prediction_backward(
        grad,
        call.parameters.cls.predictions,
        call.decoder,
        call.hidden,
        steps,
        config=call.config,
        product_backward=call.product_backward,
    )


def _one(items: Items | None, name: str) -> int | None:
    """Return what the loss of one kind of labels is divided by; None for those that count."""
    return None if items is None else items_of(items, name)


def _counts(labels: npt.ArrayLike, places: BoolArray) -> bool:
    """Tell whether a label counts at a place; what has another shape is refused later."""
    given = np.asarray(labels)
    return given.shape == places.shape and bool((given[places] != IGNORED).any())


MASKED_LM = MaskedLMHead(
    parameters=MaskedLMParameters,
    output=MaskedLMOutput,
    steps=MaskedLMSteps,
    module="cls",
    reads="tokens",
)
NEXT_SENTENCE = NextSentenceHead(
    parameters=NextSentenceParameters,
    output=NextSentencePredictorOutput,
    steps=NextSentenceSteps,
    module="cls",
    reads="pooled",
)
PRE_TRAINING = PreTrainingHead(
    parameters=PreTrainingParameters,
    output=BertForPreTrainingOutput,
    steps=PreTrainingSteps,
    module="cls",
    reads="both",
    targets=("labels", "next_sentence_label"),
)
SEQUENCE_CLASSIFICATION = ClassifierHead(
    parameters=ClassifierParameters,
    output=SequenceClassifierOutput,
    reads="pooled",
    judge=_judge_sequences,
    count=_count_sequences,
)
TOKEN_CLASSIFICATION = ClassifierHead(
    parameters=ClassifierParameters,
    output=TokenClassifierOutput,
    reads="tokens",
    judge=_judge_tokens,
)
MULTIPLE_CHOICE = ClassifierHead(
    parameters=MultipleChoiceParameters,
    output=MultipleChoiceModelOutput,
    reads="pooled",
    judge=_judge_choices,
)
QUESTION_ANSWERING = QuestionAnsweringHead(
    parameters=QuestionAnsweringParameters,
    output=QuestionAnsweringModelOutput,
    steps=QuestionAnsweringSteps,
    reads="tokens",
    targets=("start_positions", "end_positions"),
)
