"""The models that read a sequence off the pooler: labels, next sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_bert.blocks.gradients import dense_backward
from numpy_bert.blocks.heads import ClassifierSteps, OnlyNSPSteps
from numpy_bert.model.classifier import BertWithClassifier
from numpy_bert.model.differentiable import HeadInput, HeadRun
from numpy_bert.model.gradients import HeadGradients
from numpy_bert.model.head import BertWithHead, States
from numpy_bert.model.outputs import (
    BertSteps,
    NextSentencePredictorOutput,
    SequenceClassifierOutput,
)
from numpy_bert.ops.linear import linear
from numpy_bert.ops.softmax import softmax
from numpy_bert.parameters_heads import (
    BertOnlyNSPHeadParameters,
    ClassifierParameters,
    NextSentenceParameters,
)
from numpy_bert.tasks.batches import Cuts, text_batches
from numpy_bert.tasks.items import Items, items_of, sequence_items
from numpy_bert.tasks.labels import as_top_k, function_for, ranked, scores_of
from numpy_bert.tasks.objectives import Objective, next_sentence_objective, sequence_objective
from numpy_bert.text.inputs import as_items, as_pairs

__all__ = [
    "BertForNextSentencePrediction",
    "BertForSequenceClassification",
    "NextSentence",
    "NextSentenceSteps",
]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NextSentenceSteps:
    """Every intermediate of a BertForNextSentencePrediction."""

    bert: BertSteps
    cls: OnlyNSPSteps


@dataclass(frozen=True, slots=True, kw_only=True)
class NextSentence:
    """Whether a text follows another, and the probability that it does."""

    is_next: bool
    score: float


class BertForSequenceClassification(
    BertWithClassifier[ClassifierParameters, SequenceClassifierOutput]
):
    """BERT as a classifier of texts or of pairs of texts; cross-encoders are of this kind.

    Examples
    --------
    >>> from numpy_bert import BertForSequenceClassification
    >>> BertForSequenceClassification.from_pretrained("demo")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    numpy_bert.errors.CheckpointError: ...: has no classifier (classifier.weight, ...
    """

    _tree = ClassifierParameters
    _pools = True

    def classify(
        self,
        text: str | Sequence[str] | Sequence[tuple[str, str]],
        text_pair: str | Sequence[str] | None = None,
        *,
        top_k: int | None = None,
        function_to_apply: str | None = None,
    ) -> list[Any]:
        """Score the labels of texts.

        Parameters
        ----------
        text : str, or sequence of str or of (str, str)
            Texts, or pairs of texts. What the model cannot read of a long one is cut, which is
            warned of.
        text_pair : str or sequence of str, optional
            The second text of each.
        top_k : int, optional
            Most labels for a text; all by default.
        function_to_apply : {"softmax", "sigmoid", "none"}, optional
            What turns logits into scores. By default, as in transformers: nothing for a regression,
            the sigmoid where there is one label or config.json's problem_type says that several
            can be right, else the softmax.

        Returns
        -------
        list of LabelScore
            Of a text, best first: label, score. Of a list of texts a list of such lists.

        Raises
        ------
        InputError
            Naming the text's place in the list, or the argument.
        """
        single, items = as_items(text, text_pair)
        count = None if top_k is None else as_top_k(top_k)
        if function_to_apply is None:
            function = function_for(self.config.problem_type, self.config.num_labels)
        else:
            function = function_to_apply
        scores_of(np.zeros(1), function)  # refused before anything is computed
        cuts = Cuts(self._limit)
        found: list[Any] = [None] * len(items)
        for batch in text_batches(self.tokenizer, items, cuts):
            scores = scores_of(self(**batch.inputs).logits, function)
            for number, row in zip(batch.numbers, scores, strict=True):
                found[number] = ranked(row, self.config.labels, count)
        cuts.warn(len(items))
        return found[0] if single else found

    def _items(self, inputs: Mapping[str, Any], labels: Mapping[str, Any]) -> dict[str, int]:
        del inputs
        kind, classes = self.config.problem_type, self.config.num_labels
        return {"labels": sequence_items(labels["labels"], classes, problem_type=kind)}

    def _objective(
        self, head: ClassifierSteps, labels: Mapping[str, Any], items: Items | None = None
    ) -> Objective:
        return sequence_objective(
            head.classifier,
            labels["labels"],
            problem_type=self.config.problem_type,
            num_items_in_batch=None if items is None else items_of(items, "labels"),
        )

    def _output(
        self, head: ClassifierSteps, states: States, attentions: States
    ) -> SequenceClassifierOutput:
        return SequenceClassifierOutput(
            logits=head.classifier, hidden_states=states, attentions=attentions
        )


class BertForNextSentencePrediction(
    BertWithHead[
        NextSentenceParameters, OnlyNSPSteps, NextSentenceSteps, NextSentencePredictorOutput
    ]
):
    """BERT as a judge of whether one text follows another.

    Examples
    --------
    >>> from numpy_bert import BertForNextSentencePrediction
    >>> model = BertForNextSentencePrediction.from_pretrained("demo")
    >>> 0 < model.is_next("It rains.", "The street is wet.").score < 1
    True
    """

    _tree = NextSentenceParameters
    _pools = True

    def is_next(self, text: str | Sequence[str], text_pair: str | Sequence[str]) -> Any:
        """Judge whether the second text is what follows the first.

        Parameters
        ----------
        text, text_pair : str or sequence of str
            Texts, or as many of each. What the model cannot read of long ones is cut, which is
            warned of.

        Returns
        -------
        NextSentence
            is_next, and score, the probability of it. Of lists, a list.
        """
        single, items = as_pairs(text, text_pair, ("text", "text_pair"))
        cuts = Cuts(self._limit)
        found: list[Any] = [None] * len(items)
        for batch in text_batches(self.tokenizer, items, cuts):
            scores = softmax(self(**batch.inputs).logits)[:, 0]  # label 0: it does follow
            for number, score in zip(batch.numbers, scores.tolist(), strict=True):
                found[number] = NextSentence(is_next=score > 0.5, score=score)
        cuts.warn(len(items))
        return found[0] if single else found

    def _head(self, read: HeadInput) -> OnlyNSPSteps:
        assert read.pooled is not None
        relation = self.head.cls.seq_relationship
        return OnlyNSPSteps(seq_relationship=linear(read.pooled, relation.weight, relation.bias))

    def _objective(
        self, head: OnlyNSPSteps, labels: Mapping[str, Any], items: Items | None = None
    ) -> Objective:
        count = None if items is None else items_of(items, "labels")
        return next_sentence_objective(
            head.seq_relationship, labels["labels"], name="labels", num_items_in_batch=count
        )

    def _head_backward(self, run: HeadRun[OnlyNSPSteps]) -> HeadGradients[NextSentenceParameters]:
        assert run.read.pooled is not None
        relation = self.head.cls.seq_relationship
        back = dense_backward(run.score_gradients[0], run.read.pooled, relation)
        return HeadGradients(
            parameters=NextSentenceParameters(
                cls=BertOnlyNSPHeadParameters(seq_relationship=back.parameters)
            ),
            pooled=back.x,
        )

    def _steps(self, bert: BertSteps, head: OnlyNSPSteps) -> NextSentenceSteps:
        return NextSentenceSteps(bert=bert, cls=head)

    def _output(
        self, head: OnlyNSPSteps, states: States, attentions: States
    ) -> NextSentencePredictorOutput:
        return NextSentencePredictorOutput(
            logits=head.seq_relationship, hidden_states=states, attentions=attentions
        )
