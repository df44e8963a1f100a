"""What can be trained: parameters by name, and the gradients of a loss by the same names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.reprs import short_repr
from numpy_bert.tasks.items import Items

__all__ = ["Found", "Model", "NamedGradients", "Trainable", "trainable"]

Self = TypeVar("Self")


class Found(Protocol):
    """A loss, and its gradients."""

    @property
    def loss(self) -> float:
        """The loss of the batch."""

    def named(self) -> Iterator[tuple[str, Array]]:
        """Yield every gradient with its parameter's name."""


class NamedGradients(NamedTuple):
    """A loss, and its gradients by the names of the parameters."""

    loss: float
    gradients: dict[str, Array]

    def __repr__(self) -> str:
        return short_repr(self)

    def named(self) -> Iterator[tuple[str, Array]]:
        """Yield every gradient with its parameter's name."""
        yield from self.gradients.items()


class Trainable(Protocol):
    """What a `Trainer` trains: a model with a head, a student, or several that share a BERT."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that the model computes in."""

    def named_parameters(self) -> Iterator[tuple[str, Array]]:
        """Yield every parameter with its name."""

    def with_parameters(self: Self, arrays: Mapping[str, Array]) -> Self:
        """Return another model of the same kind with these arrays, which are not copied."""

    def num_items_in_batch(self, batch: Mapping[str, Any]) -> Items:
        """Return how many items each loss of a batch is a mean over."""

    def loss_and_gradients(
        self,
        batch: Mapping[str, Any],
        *,
        rng: np.random.Generator | None = None,
        num_items_in_batch: Any = None,
    ) -> Found:
        """Return the loss of a batch and the gradients of all parameters.

        `num_items_in_batch` is the sum of what the method of this name returns for the batches of a
        step, whose losses and gradients are then added.
        """


Model = TypeVar("Model", bound=Trainable)


def trainable(model: Model) -> tuple[Model, dict[str, Array]]:
    """Return a copy of a model that nothing else shares, and its arrays, which may be changed.

    A change counts for `loss_and_gradients` at once. A plain call may still use what a kernel has
    made of the old weights; make the model anew by `with_parameters` for that.

    Examples
    --------
    >>> from numpy_bert import BertForMaskedLM
    >>> copy, arrays = trainable(BertForMaskedLM.from_pretrained("demo"))
    >>> arrays["cls.predictions.bias"][7] = 100.0
    >>> float(copy.head.cls.predictions.bias[7])
    100.0
    """
    arrays = {name: np.array(array, order="C") for name, array in model.named_parameters()}
    return model.with_parameters(arrays), arrays
