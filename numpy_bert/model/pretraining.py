"""BERT as it is pre-trained, with both heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy_bert.blocks.gradients import dense_backward
from numpy_bert.blocks.heads import PreTrainingHeadsSteps
from numpy_bert.model.decoder import WithDecoder
from numpy_bert.model.differentiable import HeadInput, HeadRun
from numpy_bert.model.gradients import HeadGradients
from numpy_bert.model.head import (
    States,
)
from numpy_bert.model.outputs import BertForPreTrainingOutput, BertSteps
from numpy_bert.ops.linear import linear
from numpy_bert.parameters import BertPreTrainingHeadsParameters
from numpy_bert.parameters_heads import (
    PreTrainingParameters,
)
from numpy_bert.tasks.items import Items, items_of
from numpy_bert.tasks.objectives import Objective, label_objective, next_sentence_objective

__all__ = ["BertForPreTraining", "PreTrainingSteps"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PreTrainingSteps:
    """Every intermediate of a BertForPreTraining."""

    bert: BertSteps
    cls: PreTrainingHeadsSteps


class BertForPreTraining(
    WithDecoder[
        PreTrainingParameters, PreTrainingHeadsSteps, PreTrainingSteps, BertForPreTrainingOutput
    ]
):
    """BERT as it is pre-trained, with both heads.

    Examples
    --------
    >>> from numpy_bert import BertForPreTraining
    >>> model = BertForPreTraining.from_pretrained("demo")
    >>> output = model([[2, 5, 3]])
    >>> output.prediction_logits.shape, output.seq_relationship_logits.shape
    ((1, 3, 8000), (1, 2))
    >>> model.loading_info.unexpected_keys
    ()
    """

    _tree = PreTrainingParameters
    _pools = True
    _targets = ("labels", "next_sentence_label")

    def _head(self, read: HeadInput) -> PreTrainingHeadsSteps:
        assert read.pooled is not None
        cls = self.head.cls
        return PreTrainingHeadsSteps(
            predictions=self._words(cls.predictions, read),
            seq_relationship=linear(
                read.pooled, cls.seq_relationship.weight, cls.seq_relationship.bias
            ),  # (B, 2)
        )

    def _objective(
        self, head: PreTrainingHeadsSteps, labels: Mapping[str, Any], items: Items | None = None
    ) -> Objective:
        words, order = (None if items is None else items_of(items, n) for n in self._targets)
        name = "next_sentence_label"
        return label_objective(
            head.predictions.output, labels["labels"], num_items_in_batch=words
        ) + next_sentence_objective(
            head.seq_relationship, labels[name], name=name, num_items_in_batch=order
        )

    def _head_backward(
        self, run: HeadRun[PreTrainingHeadsSteps]
    ) -> HeadGradients[PreTrainingParameters]:
        assert run.read.pooled is not None
        cls = self.head.cls
        words = self._words_backward(cls.predictions, run, run.steps.predictions)
        next_ = dense_backward(run.score_gradients[1], run.read.pooled, cls.seq_relationship)
        return HeadGradients(
            parameters=PreTrainingParameters(
                cls=BertPreTrainingHeadsParameters(
                    predictions=words.parameters, seq_relationship=next_.parameters
                )
            ),
            hidden=words.hidden,
            pooled=next_.x,
            decoder=words.decoder,
        )

    def _steps(self, bert: BertSteps, head: PreTrainingHeadsSteps) -> PreTrainingSteps:
        return PreTrainingSteps(bert=bert, cls=head)

    def _output(
        self, head: PreTrainingHeadsSteps, states: States, attentions: States
    ) -> BertForPreTrainingOutput:
        return BertForPreTrainingOutput(
            prediction_logits=head.predictions.output,
            seq_relationship_logits=head.seq_relationship,
            hidden_states=states,
            attentions=attentions,
        )
