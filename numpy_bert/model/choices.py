"""The model that chooses: one of several texts for each question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import as_array
from numpy_bert.blocks.heads import ClassifierSteps
from numpy_bert.errors import InputError
from numpy_bert.model.classifier import BertWithClassifier, ClassificationSteps
from numpy_bert.model.gradients import INPUTS
from numpy_bert.model.head import States
from numpy_bert.model.outputs import (
    MultipleChoiceModelOutput,
)
from numpy_bert.parameters_heads import (
    MultipleChoiceParameters,
)
from numpy_bert.tasks.items import Items, items_of
from numpy_bert.tasks.objectives import Objective, check_labels, choice_objective

__all__ = ["BertForMultipleChoice"]


class BertForMultipleChoice(
    BertWithClassifier[MultipleChoiceParameters, MultipleChoiceModelOutput]
):
    """BERT as a chooser: each question comes with C texts, each of which gets a score.

    The arguments of a call have an axis more than a BertModel's: ids and masks are (B, C, T).

    Examples
    --------
    >>> from numpy_bert import BertForMultipleChoice
    >>> BertForMultipleChoice.from_pretrained("demo")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    numpy_bert.errors.CheckpointError: ...: has no classifier (classifier.weight, ...
    """

    _tree = MultipleChoiceParameters
    _pools = True

    def __call__(
        self, *arguments: Any, rng: np.random.Generator | None = None, **options: Any
    ) -> MultipleChoiceModelOutput:
        """Run the model over every choice; as `BertWithHead.__call__`, with an axis more.

        Returns
        -------
        MultipleChoiceModelOutput
            logits (B, C); the layers' outputs and attentions are those of B * C sequences.
        """
        given, choices = _flattened(arguments, options)
        output = super().__call__(**given, rng=rng)
        return replace(output, logits=output.logits.reshape(choices))

    def steps(
        self, *arguments: Any, rng: np.random.Generator | None = None, **options: Any
    ) -> ClassificationSteps:
        """Return every intermediate, of B * C sequences; parameters and errors as of a call."""
        given, _ = _flattened(arguments, options)
        return super().steps(**given, rng=rng)

    def _as_rows(self, inputs: dict[str, Any], labels: Mapping[str, Any]) -> dict[str, Any]:
        given, _ = _flattened((), {**inputs, **labels})
        return {name: given[name] for name in inputs}

    def _objective(
        self, head: ClassifierSteps, labels: Mapping[str, Any], items: Items | None = None
    ) -> Objective:
        count = None if items is None else items_of(items, "labels")
        return choice_objective(head.classifier, labels["labels"], num_items_in_batch=count)

    def _output(
        self, head: ClassifierSteps, states: States, attentions: States
    ) -> MultipleChoiceModelOutput:
        return MultipleChoiceModelOutput(
            logits=head.classifier, hidden_states=states, attentions=attentions
        )


def _flattened(
    arguments: Sequence[npt.ArrayLike | None], options: dict[str, Any]
) -> tuple[dict[str, Any], tuple[int, int]]:
    """Take the axes of batch and choices together; return what they were, too."""
    if len(arguments) > len(INPUTS):
        raise InputError(f"BertForMultipleChoice: {len(arguments)} arguments; at most 5 are taken.")
    given: dict[str, Any] = dict(zip(INPUTS, arguments, strict=False)) | options
    choices = None
    for name in INPUTS:
        if given.get(name) is None:
            continue
        array = as_array(given[name], name)
        axes = 4 if name == "inputs_embeds" else 3
        if array.ndim != axes:
            letters = "B, C, T, H" if axes == 4 else "B, C, T"
            raise InputError(f"{name}: has shape {array.shape}; ({letters}) was expected.")
        if choices is not None and array.shape[:2] != choices:
            raise InputError(
                f"{name}: has shape {array.shape}; it must begin by {choices}, as the others do."
            )
        choices = array.shape[:2]
        if 0 in choices:
            raise InputError(f"{name}: has shape {array.shape}; a choice at least was expected.")
        given[name] = array.reshape(-1, *array.shape[2:])
    if choices is None:
        raise InputError("BertForMultipleChoice: give input_ids or inputs_embeds.")
    labels = given.get("labels")
    if labels is not None:
        given["labels"] = check_labels(labels, choices[:1], choices[1])
    return given, choices
