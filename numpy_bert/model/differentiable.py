"""What gives a model with a head a loss, and the gradients of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array
from numpy_bert.model.gradients import (
    HeadGradients,
    LossAndGradients,
    bert_run,
    split_batch,
)
from numpy_bert.model.outputs import HeadOutput
from numpy_bert.parameters_heads import HeadParameters
from numpy_bert.tasks.items import Items, label_items
from numpy_bert.tasks.objectives import Objective

if TYPE_CHECKING:
    from numpy_bert.model.bert import BertModel

__all__ = ["Differentiable", "HeadInput", "HeadRun"]

Parameters = TypeVar("Parameters", bound=HeadParameters)
HeadSteps = TypeVar("HeadSteps")
Output = TypeVar("Output", bound=HeadOutput)
States = tuple[Array, ...] | None
Index = tuple[npt.NDArray[Any], ...]


class HeadInput(NamedTuple):
    """What a head reads: hidden (B, T, H), pooled (B, H); the source of its dropout.

    `trains` says that the head is gone back through, for which kernels may run in float32.
    """

    hidden: Array
    pooled: Array | None = None
    rng: np.random.Generator | None = None
    trains: bool = False


class HeadRun(NamedTuple, Generic[HeadSteps]):
    """A run of a head to go back through: what it read, its steps, the gradients of its scores."""

    read: HeadInput
    steps: HeadSteps
    score_gradients: tuple[Array, ...]


class Differentiable(Generic[Parameters, HeadSteps, Output]):
    """Base of `BertWithHead`: a subclass says what its loss is, and goes back through its head."""

    bert: BertModel
    _targets: ClassVar[tuple[str, ...]] = ("labels",)

    @np.errstate(all="ignore")
    def loss_and_gradients(
        self,
        batch: Mapping[str, Any],
        *,
        rng: np.random.Generator | None = None,
        num_items_in_batch: Items | None = None,
    ) -> LossAndGradients[Parameters]:
        """Return the loss of a batch and the gradients of all parameters.

        Parameters
        ----------
        batch : mapping
            What the model is called with, by name, the labels among it.
        rng : numpy.random.Generator, optional
            Turns dropout on, and draws its masks; the gradients are those under these masks.
        num_items_in_batch : int or mapping of str to int, optional
            What a loss is divided by: how many labels count in all batches that one step of the
            optimizer is taken from, which the method of this name counts in each. The losses and
            gradients of these batches are then to be added, and are those of one batch of all their
            examples. An int is for every loss of the model, as in transformers; a mapping has one
            for each by the name of its labels. By default what counts in this batch.

        Returns
        -------
        LossAndGradients
            loss, bert and head, the gradients in the parameters' own classes.

        Raises
        ------
        InputError
            Naming the argument, the place, the value and the limit; also where no label counts, in
            this batch or in all.
        CheckpointError
            If the loss is not finite because a weight is not; the weight is named.

        Examples
        --------
        >>> from numpy_bert import BertForMaskedLM
        >>> model = BertForMaskedLM.from_pretrained("demo")
        >>> batch = {"input_ids": [[2, 4, 3]], "labels": [[-100, 7, -100]]}
        >>> found = model.loss_and_gradients(batch)
        >>> round(found.loss), found.bert.encoder.layer[0].output.dense.weight.shape
        (19, (128, 512))
        """
        inputs, labels = split_batch(batch, self._targets)
        if num_items_in_batch is None:
            num_items_in_batch = self._items(inputs, labels)
        inputs = self._as_rows(inputs, labels)
        run = bert_run(self.bert, inputs, rng)
        hidden = run.hidden
        read = HeadInput(hidden, run.pooled, rng, trains=True)
        places = self._labelled(labels.get("labels"), hidden.shape[:2])
        if places is not None:
            read = read._replace(hidden=hidden[places])
            labels = {**labels, "labels": np.asarray(labels["labels"])[places]}
        head = self._run_head(read)
        objective = self._objective(head, labels, num_items_in_batch)
        if not np.isfinite(objective.loss):
            self._check(head, self._output(head, None, None).scores, hidden)
        back = self._head_backward(HeadRun(read, head, objective.score_gradients))
        grad = back.hidden
        if places is not None and grad is not None:
            grad = np.zeros_like(hidden)
            grad[places] = back.hidden
        bert = run.gradients(hidden=grad, pooled=back.pooled, decoder=back.decoder)
        return LossAndGradients(loss=objective.loss, bert=bert, head=back.parameters)

    def num_items_in_batch(self, batch: Mapping[str, Any]) -> dict[str, int]:
        """Return how many labels of a batch count, which each of the model's losses is a mean over.

        Parameters
        ----------
        batch : mapping
            As of `loss_and_gradients`.

        Returns
        -------
        dict of str to int
            By the names of the labels.

        References
        ----------
        .. [1] transformers, trainer.py, Trainer.get_batch_samples.

        Examples
        --------
        >>> from numpy_bert import BertForMaskedLM
        >>> model = BertForMaskedLM.from_pretrained("demo")
        >>> batches = [
        ...     {"input_ids": [[2, 4, 3]], "labels": [[-100, 7, -100]]},
        ...     {"input_ids": [[2, 4, 4, 3]], "labels": [[-100, 7, 8, -100]]}]
        >>> counts = [model.num_items_in_batch(batch)["labels"] for batch in batches]
        >>> counts
        [1, 2]
        >>> total = sum(counts)
        >>> found = [model.loss_and_gradients(b, num_items_in_batch=total) for b in batches]
        >>> round(sum(part.loss for part in found), 3)
        16.578
        """
        inputs, labels = split_batch(batch, self._targets)
        return self._items(inputs, labels)

    def _items(self, inputs: Mapping[str, Any], labels: Mapping[str, Any]) -> dict[str, int]:
        """Return how many labels count, by their names."""
        del inputs
        return {name: label_items(labels[name], name=name) for name in self._targets}

    @abstractmethod
    def _objective(
        self, head: HeadSteps, labels: Mapping[str, Any], items: Items | None = None
    ) -> Objective:
        """Judge the head's scores by the labels; `items` is what each loss is divided by."""

    @abstractmethod
    def _head_backward(self, run: HeadRun[HeadSteps]) -> HeadGradients[Parameters]:
        """Go back through the head, from the gradients of its scores."""

    def _as_rows(self, inputs: dict[str, Any], labels: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs as the model under the head takes them."""
        del labels
        return inputs

    def _labelled(self, labels: npt.ArrayLike | None, shape: tuple[int, ...]) -> Index | None:
        """Return which of the tokens (B, T) alone the head has to read; None for all."""
        del labels, shape
        return None

    @abstractmethod
    def _output(self, head: HeadSteps, states: States, attentions: States) -> Output:
        """Return what a call returns, the head's scores first."""

    @abstractmethod
    def _run_head(self, read: HeadInput) -> HeadSteps:
        """Run the head over what the model returned."""

    @abstractmethod
    def _check(self, steps: HeadSteps, scores: tuple[Array, ...], hidden: Array) -> None:
        """Name what in the head is to blame for scores that are not finite."""
