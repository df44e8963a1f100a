"""The parameters of the heads: what each task's model has beside the BertModel.

One tree for each, named as transformers names the modules, so that a path in it is a checkpoint's
key (see `numpy_bert.parameters`, whose `shapes` and `build` take these classes too).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from numpy_bert.parameters import (
    BertLMPredictionHeadParameters,
    BertPreTrainingHeadsParameters,
    LinearParameters,
)

__all__ = [
    "BertOnlyMLMHeadParameters",
    "BertOnlyNSPHeadParameters",
    "ClassifierParameters",
    "HeadParameters",
    "MaskedLMParameters",
    "MultipleChoiceParameters",
    "NextSentenceParameters",
    "PreTrainingParameters",
    "QuestionAnsweringParameters",
    "SentenceStudentParameters",
]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PreTrainingParameters:
    """Of a BertForPreTraining."""

    cls: BertPreTrainingHeadsParameters


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BertOnlyMLMHeadParameters:
    """The head of the masked language model without the other."""

    predictions: BertLMPredictionHeadParameters


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MaskedLMParameters:
    """Of a BertForMaskedLM."""

    cls: BertOnlyMLMHeadParameters


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BertOnlyNSPHeadParameters:
    """The head of next-sentence prediction without the other."""

    seq_relationship: Annotated[LinearParameters, "2 H"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NextSentenceParameters:
    """Of a BertForNextSentencePrediction."""

    cls: BertOnlyNSPHeadParameters


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ClassifierParameters:
    """Of a classifier of sequences or of tokens."""

    classifier: Annotated[LinearParameters, "K H"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MultipleChoiceParameters:
    """Of a BertForMultipleChoice, which scores one choice at a time."""

    classifier: Annotated[LinearParameters, "1 H"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class QuestionAnsweringParameters:
    """Of a BertForQuestionAnswering: where an answer starts, and where it ends."""

    qa_outputs: Annotated[LinearParameters, "2 H"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SentenceStudentParameters:
    """Of a sentence model that learns from another: the way to its teacher's E features."""

    projection: Annotated[LinearParameters, "E H"]  # no config says E, so it has no `shapes`


HeadParameters: TypeAlias = (
    PreTrainingParameters
    | MaskedLMParameters
    | NextSentenceParameters
    | ClassifierParameters
    | MultipleChoiceParameters
    | QuestionAnsweringParameters
)
