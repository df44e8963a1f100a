"""What the classifiers of sequences, of tokens and of choices have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from numpy_bert.arrays import Array
from numpy_bert.blocks.heads import ClassifierSteps, classifier
from numpy_bert.blocks.heads_backward import classifier_backward
from numpy_bert.model.differentiable import HeadInput, HeadRun
from numpy_bert.model.gradients import HeadGradients
from numpy_bert.model.head import BertWithHead, Output
from numpy_bert.model.outputs import BertSteps
from numpy_bert.ops.dropout import DropoutSteps
from numpy_bert.parameters_heads import ClassifierParameters, MultipleChoiceParameters

__all__ = ["BertWithClassifier", "ClassificationSteps"]

Parameters = TypeVar("Parameters", bound=ClassifierParameters | MultipleChoiceParameters)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ClassificationSteps:
    """Every intermediate of a classifier; `classifier` (B, K), of tokens (B, T, K)."""

    bert: BertSteps
    dropout: DropoutSteps
    classifier: Array


class BertWithClassifier(BertWithHead[Parameters, ClassifierSteps, ClassificationSteps, Output]):
    """Base of the classifiers: of sequences where it pools, else of tokens."""

    @property
    def _p(self) -> float:
        """The probability of the head's dropout."""
        own, other = self.config.classifier_dropout, self.config.hidden_dropout_prob
        return other if own is None else own

    def _head(self, read: HeadInput) -> ClassifierSteps:
        x = read.pooled if self._pools else read.hidden
        assert x is not None
        return classifier(self.head.classifier, x, p=self._p, rng=read.rng)

    def _head_backward(self, run: HeadRun[ClassifierSteps]) -> HeadGradients[Parameters]:
        back = classifier_backward(
            run.score_gradients[0], self.head.classifier, run.steps, p=self._p
        )
        return HeadGradients(
            parameters=type(self.head)(classifier=back.parameters),
            hidden=None if self._pools else back.x,
            pooled=back.x if self._pools else None,
        )

    def _steps(self, bert: BertSteps, head: ClassifierSteps) -> ClassificationSteps:
        return ClassificationSteps(bert=bert, dropout=head.dropout, classifier=head.classifier)
