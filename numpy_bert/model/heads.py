"""What a head is, as data: its parameters, what it reads, its layers, its loss.

Each head of BERT is one value at the end of this file; a model of `numpy_bert.model.task_models`
names it. A new head is one value too. Its layers are those of `numpy_bert.blocks.heads`, or of a
class of its own with a forward and a backward. `numpy_bert.model.family_heads` makes another
architecture's heads of BERT's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import reduce
from operator import add
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_type_hints

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, BoolArray, as_array
from numpy_bert.blocks.heads import (
    Dense,
    Dropout,
    HeadCall,
    Layer,
    Words,
    output_of,
    run_layers,
    run_layers_backward,
)
from numpy_bert.config import BertConfig
from numpy_bert.errors import InputError
from numpy_bert.messages import listed
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
from numpy_bert.ops.losses import IGNORED
from numpy_bert.parameters import (
    ClassifierParameters,
    MaskedLMParameters,
    MultipleChoiceParameters,
    NextSentenceParameters,
    PreTrainingParameters,
    QuestionAnsweringParameters,
)
from numpy_bert.reprs import short_repr
from numpy_bert.tasks.items import Items, items_of, label_items, sequence_items, span_items
from numpy_bert.tasks.objectives import (
    Objective,
    choice_objective,
    label_objective,
    next_sentence_objective,
    sequence_objective,
    span_objective,
)
from numpy_bert.trace import named_steps

__all__ = [
    "CHOICE",
    "FOLLOWS",
    "HEADS",
    "LABELS",
    "MASKED_LM",
    "MULTIPLE_CHOICE",
    "NEXT_SENTENCE",
    "PRE_TRAINING",
    "QUESTION_ANSWERING",
    "SEQUENCE",
    "SEQUENCE_CLASSIFICATION",
    "SPAN",
    "TOKEN_CLASSIFICATION",
    "Chain",
    "Head",
    "HeadGradients",
    "Loss",
    "only_labels",
]

# A chain's labels by their names.
Labels: TypeAlias = Mapping[str, Any]
# What a model is called with, by name, the labels left out.
Given: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class HeadGradients:
    """The gradients of a head's parameters, and of what it read; None is what it did not call.

    hidden is (B, T, H), or (N, H) of the tokens that were read; pooled (B, H); decoder (V, E).
    """

    __repr__ = short_repr

    parameters: Any
    hidden: Array | None = None
    pooled: Array | None = None
    decoder: Array | None = None


def _count_labels(name: str, labels: npt.ArrayLike, given: Given, config: BertConfig) -> int:
    """Return how many labels are not -100."""
    return label_items(labels, name=name)


def _count_at_padding(labels: Labels, mask: BoolArray) -> bool:
    """Tell whether a token's label counts at padding; what has another shape is refused later."""
    arrays = (as_array(given, name) for name, given in labels.items())
    return any(
        given.shape == mask.shape and bool((given[~mask] != IGNORED).any()) for given in arrays
    )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Loss:
    """What scores are worth against labels.

    Attributes
    ----------
    judge : callable
        Called with the last layer's output, the labels by their names, the `HeadCall`, and what is
        to be divided by (None for what counts here); returns an `Objective` with one gradient.
    count : callable
        Called with a name, the labels of that name, what else the model is called with, and the
        config; returns how many of the labels count. By default all that are not -100. Of the
        inputs only the labels' shapes have been looked at: what does not fit is refused later.
    looks_at_padding : callable
        Called with the labels and the mask; tells whether the loss depends on the scores of
        padding. By default where a label of a token counts there.
    """

    __repr__ = short_repr

    judge: Callable[[Array, Labels, HeadCall, Items | None], Objective]
    count: Callable[[str, Any, Given, BertConfig], int] = _count_labels
    looks_at_padding: Callable[[Labels, BoolArray], bool] = _count_at_padding


def _whole(scores: Array, call: HeadCall) -> tuple[Array, ...]:
    """Return the last layer's output, which is the scores."""
    return (scores,)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Chain:
    """Layers one after another, what the first reads, and what the scores of the last are worth.

    Attributes
    ----------
    reads : {"tokens", "first", "pooled"}
        The rows that the first layer reads: the last hidden state of each token or of the first
        token, or the pooler's output, for which the checkpoint must have a pooler.
    layers : tuple of Layer
        In the order in which they run.
    loss : Loss
        What the scores are worth.
    targets : tuple of str
        The names of the labels that the loss takes.
    scores : callable
        Called with the last layer's output and the `HeadCall`; returns the scores in the order of
        the output's fields. By default they are that output.
    labelled_alone : bool
        Whether in training only those tokens are read that have a label which counts. Each token
        must then have scores and a label of its own.
    """

    __repr__ = short_repr

    reads: Literal["tokens", "first", "pooled"]
    layers: tuple[Layer, ...]
    loss: Loss
    targets: tuple[str, ...] = ("labels",)
    scores: Callable[[Array, HeadCall], tuple[Array, ...]] = _whole
    labelled_alone: bool = False

    def rows(self, call: HeadCall) -> Array:
        """Return what the first layer reads."""
        rows = call.pooled if self.reads == "pooled" else call.hidden
        assert rows is not None
        return rows[:, 0] if self.reads == "first" else rows

    def labels(self, labels: Labels) -> dict[str, Any]:
        """Return those of a head's labels that this chain's loss takes."""
        return {name: labels[name] for name in self.targets}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Head:
    """A head of BERT.

    Attributes
    ----------
    parameters : type
        The class of its parameters, whose fields are a checkpoint's keys, as in
        `numpy_bert.parameters`. A weight with a row for each label ("K H") gives the labels their
        number.
    output : type
        What a call of the model returns, a `HeadOutput`.
    steps : type
        What the model's `steps` returns: ``bert``, and the step of each layer at its path.
    chains : tuple of Chain
        One, or several whose losses are added.
    """

    __repr__ = short_repr

    parameters: type[Any]
    output: type[HeadOutput]
    steps: type[Any]
    chains: tuple[Chain, ...]

    def __post_init__(self) -> None:
        names = [layer.name for layer in self._layers()]
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            raise InputError(
                f"Head: the names of layers must differ, as each is that of a step; got "
                f"{listed(twice)} more than once. Give a layer without parameters another name."
            )

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of all labels."""
        return tuple(name for chain in self.chains for name in chain.targets)

    @property
    def reads(self) -> frozenset[str]:
        """What the chains read: "tokens", "first", "pooled"."""
        return frozenset(chain.reads for chain in self.chains)

    @property
    def decoder(self) -> str:
        """The path of the layer that predicts words, whose decoder may be the word table, or ""."""
        return next((layer.name for layer in self._layers() if isinstance(layer, Words)), "")

    @property
    def labelled_alone(self) -> bool:
        """Whether in training only tokens whose label counts are read: no chain reads others."""
        of_hidden = [chain for chain in self.chains if chain.reads != "pooled"]
        return bool(of_hidden) and all(chain.labelled_alone for chain in of_hidden)

    def forward(self, call: HeadCall) -> dict[str, Any]:
        """Run the head; return the layers' steps by their paths, in the order of execution."""
        steps = dict[str, Any]()
        for chain in self.chains:
            steps |= run_layers(chain.layers, call, chain.rows(call))
        return steps

    def backward(
        self, call: HeadCall, steps: Mapping[str, Any], score_gradients: tuple[Array, ...]
    ) -> HeadGradients:
        """Go back through the head, from the gradient of each chain's last layer."""
        own, of_rows = dict[str, Any](), dict[str, Array]()
        for chain, grad in zip(self.chains, score_gradients, strict=True):
            back = run_layers_backward(chain.layers, call, chain.rows(call), steps, grad)
            own |= back.parameters
            source, rows = "pooled" if chain.reads == "pooled" else "hidden", back.x
            if chain.reads == "first":
                rows = np.zeros_like(call.hidden)
                rows[:, 0] = back.x
            of_rows[source] = rows if source not in of_rows else of_rows[source] + rows
            if back.decoder is not None:
                of_rows["decoder"] = back.decoder
        return HeadGradients(parameters=_put(call.parameters, own), **of_rows)

    def scores(self, call: HeadCall, steps: Mapping[str, Any]) -> tuple[Array, ...]:
        """Return the scores, in the order of the output's fields."""
        return tuple(
            array
            for chain in self.chains
            for array in chain.scores(output_of(steps[chain.layers[-1].name]), call)
        )

    def objective(
        self, call: HeadCall, steps: Mapping[str, Any], labels: Labels, items: Items | None
    ) -> Objective:
        """Judge the scores by the labels; `items` is what each loss is divided by, or None."""
        return reduce(
            add,
            (
                chain.loss.judge(
                    output_of(steps[chain.layers[-1].name]), chain.labels(labels), call, items
                )
                for chain in self.chains
            ),
        )

    def items(self, labels: Labels, given: Given, config: BertConfig) -> dict[str, int]:
        """Return how many labels count, by their names; `given` is what the model is called with.

        What has a shape that does not fit is refused later.
        """
        return {
            name: chain.loss.count(name, own, given, config)
            for chain in self.chains
            for name, own in chain.labels(labels).items()
        }

    def judges_padding(self, labels: Labels, mask: BoolArray) -> bool:
        """Tell whether the loss depends on what stands at padding, as transformers computes it."""
        return any(
            chain.loss.looks_at_padding(chain.labels(labels), mask)
            if chain.reads == "tokens"
            else not mask[:, 0].all()
            for chain in self.chains
        )

    def named(self, bert: Any, steps: Mapping[str, Any]) -> Any:
        """Return the steps of the whole model, of those of the BertModel and of the head."""
        return _nested(self.steps, {"bert": bert, **steps})

    def traced(self, steps: Mapping[str, Any]) -> list[tuple[str, npt.NDArray[Any]]]:
        """Return the head's steps under their names in a trace."""
        return list(named_steps(self.named(None, steps), ""))

    def returned(
        self, scores: tuple[Array, ...], states: Any = None, attentions: Any = None
    ) -> Any:
        """Return what a call returns, of the scores and of the model's own states."""
        found: dict[str, Any] = dict(zip(self.output.score_names(), scores, strict=True))
        return self.output(**found, hidden_states=states, attentions=attentions)

    def _layers(self) -> list[Layer]:
        return [layer for chain in self.chains for layer in chain.layers]


def _put(tree: Any, found: Mapping[str, Any], prefix: str = "") -> Any:
    """Return a tree of parameters with what was found at paths in the place of what is there."""
    if prefix[:-1] in found:
        return found[prefix[:-1]]
    parts = {f.name: getattr(tree, f.name) for f in fields(tree)}
    return replace(
        tree,
        **{
            name: _put(part, found, f"{prefix}{name}.")
            for name, part in parts.items()
            if part is not None
        },
    )


def _nested(kind: type[Any], found: Mapping[str, Any], prefix: str = "") -> Any:
    """Return steps, by their paths, in the dataclasses that are to hold them."""
    hints = get_type_hints(kind)
    paths = {f.name: f"{prefix}{f.name}" for f in fields(kind)}
    return kind(
        **{
            name: found[path] if path in found else _nested(hints[name], found, f"{path}.")
            for name, path in paths.items()
        }
    )


def only_labels(labels: Labels, items: Items | None) -> tuple[str, Any, int | None]:
    """Return the name of a loss's only labels, these, and what is to be divided by."""
    [(name, given)] = labels.items()
    return name, given, None if items is None else items_of(items, name)


def _judge_labels(scores: Array, labels: Labels, call: HeadCall, items: Items | None) -> Objective:
    name, given, count = only_labels(labels, items)
    return label_objective(scores, given, name=name, num_items_in_batch=count)


def _judge_order(scores: Array, labels: Labels, call: HeadCall, items: Items | None) -> Objective:
    name, given, count = only_labels(labels, items)
    return next_sentence_objective(scores, given, name=name, num_items_in_batch=count)


def _judge_sequences(
    scores: Array, labels: Labels, call: HeadCall, items: Items | None
) -> Objective:
    _, given, count = only_labels(labels, items)
    kind = call.config.problem_type
    return sequence_objective(scores, given, problem_type=kind, num_items_in_batch=count)


def _count_sequences(name: str, labels: npt.ArrayLike, given: Given, config: BertConfig) -> int:
    return sequence_items(labels, config.num_labels, problem_type=config.problem_type)


def _judge_choices(scores: Array, labels: Labels, call: HeadCall, items: Items | None) -> Objective:
    _, given, count = only_labels(labels, items)
    return choice_objective(scores, given, choices=call.choices, num_items_in_batch=count)


def _side_by_side(scores: Array, call: HeadCall) -> tuple[Array, ...]:
    """Return the scores of the sequences that are one example in one row."""
    return (scores.reshape(-1, call.choices),)


def _judge_spans(scores: Array, labels: Labels, call: HeadCall, items: Items | None) -> Objective:
    return span_objective(scores, *labels.values(), num_items_in_batch=items)


def _count_spans(name: str, labels: npt.ArrayLike, given: Given, config: BertConfig) -> int:
    rows = given.get("input_ids", given.get("inputs_embeds"))
    shape = () if rows is None else as_array(rows, "input_ids").shape
    return span_items(labels, shape[1] if len(shape) > 1 else 0, name=name)


def _always(labels: Labels, mask: BoolArray) -> bool:
    return True


def _ends(scores: Array, call: HeadCall) -> tuple[Array, ...]:
    """Return the scores of starts and of ends."""
    return scores[..., 0], scores[..., 1]


# A label for each row of scores.
LABELS = Loss(judge=_judge_labels)
# Labels of sequences, as config.json's problem_type has it.
SEQUENCE = Loss(judge=_judge_sequences, count=_count_sequences)
# Whether one text follows another.
FOLLOWS = Loss(judge=_judge_order)
# The number of the right choice.
CHOICE = Loss(judge=_judge_choices)
# An answer's first and last token; its place is looked for at padding, too.
SPAN = Loss(judge=_judge_spans, count=_count_spans, looks_at_padding=_always)

_WORDS = Chain(reads="tokens", layers=(Words("cls.predictions"),), loss=LABELS, labelled_alone=True)
_ORDER = Chain(reads="pooled", layers=(Dense("cls.seq_relationship"),), loss=FOLLOWS)
_CLASSIFIER = (Dropout("dropout"), Dense("classifier"))

MASKED_LM = Head(
    parameters=MaskedLMParameters, output=MaskedLMOutput, steps=MaskedLMSteps, chains=(_WORDS,)
)
NEXT_SENTENCE = Head(
    parameters=NextSentenceParameters,
    output=NextSentencePredictorOutput,
    steps=NextSentenceSteps,
    chains=(_ORDER,),
)
PRE_TRAINING = Head(
    parameters=PreTrainingParameters,
    output=BertForPreTrainingOutput,
    steps=PreTrainingSteps,
    chains=(_WORDS, replace(_ORDER, targets=("next_sentence_label",))),
)
SEQUENCE_CLASSIFICATION = Head(
    parameters=ClassifierParameters,
    output=SequenceClassifierOutput,
    steps=ClassificationSteps,
    chains=(Chain(reads="pooled", layers=_CLASSIFIER, loss=SEQUENCE),),
)
TOKEN_CLASSIFICATION = Head(
    parameters=ClassifierParameters,
    output=TokenClassifierOutput,
    steps=ClassificationSteps,
    chains=(Chain(reads="tokens", layers=_CLASSIFIER, loss=LABELS),),
)
MULTIPLE_CHOICE = Head(
    parameters=MultipleChoiceParameters,
    output=MultipleChoiceModelOutput,
    steps=ClassificationSteps,
    chains=(Chain(reads="pooled", layers=_CLASSIFIER, loss=CHOICE, scores=_side_by_side),),
)
QUESTION_ANSWERING = Head(
    parameters=QuestionAnsweringParameters,
    output=QuestionAnsweringModelOutput,
    steps=QuestionAnsweringSteps,
    chains=(
        Chain(
            reads="tokens",
            layers=(Dense("qa_outputs"),),
            loss=SPAN,
            targets=("start_positions", "end_positions"),
            scores=_ends,
        ),
    ),
)
# BERT's own, by how the names of their models end.
HEADS: Mapping[str, Head] = MappingProxyType(
    {
        "ForPreTraining": PRE_TRAINING,
        "ForMaskedLM": MASKED_LM,
        "ForNextSentencePrediction": NEXT_SENTENCE,
        "ForSequenceClassification": SEQUENCE_CLASSIFICATION,
        "ForTokenClassification": TOKEN_CLASSIFICATION,
        "ForQuestionAnswering": QUESTION_ANSWERING,
        "ForMultipleChoice": MULTIPLE_CHOICE,
    }
)
