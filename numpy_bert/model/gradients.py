"""From a loss back to every parameter: the readable code's steps, in the other direction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.blocks.embeddings import check_inputs
from numpy_bert.blocks.embeddings_backward import embeddings_backward
from numpy_bert.blocks.encoder import encoder, pooler
from numpy_bert.blocks.encoder_backward import encoder_backward, pooler_backward
from numpy_bert.errors import InputError
from numpy_bert.kernels.training import EncoderTraining
from numpy_bert.messages import listed
from numpy_bert.model.packed import used_mask
from numpy_bert.parameters import (
    BertEncoderParameters,
    BertParameters,
    EmbeddingParameters,
    arrays_of,
)
from numpy_bert.parameters_heads import HeadParameters, SentenceStudentParameters

if TYPE_CHECKING:
    from numpy_bert.model.bert import BertModel

__all__ = [
    "INPUTS",
    "BertRun",
    "HeadGradients",
    "KernelRun",
    "LossAndGradients",
    "ReadableRun",
    "bert_run",
    "split_batch",
]

Parameters = TypeVar("Parameters", bound=HeadParameters | SentenceStudentParameters)

# What a BertModel is called with.
INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LossAndGradients(Generic[Parameters]):
    """A loss, and its gradients in the classes of the parameters.

    Attributes
    ----------
    loss : float
        Of the batch.
    bert : BertParameters
        Of the model under the head, each array of its parameter's shape, in the model's dtype; None
        where the checkpoint has no such part.
    head : one of the classes of `numpy_bert.parameters_heads`
        Of the head. A decoder that is the word table has its gradient there, in `bert`.
    """

    loss: float
    bert: BertParameters
    head: Parameters

    def named(self) -> Iterator[tuple[str, Array]]:
        """Yield every gradient with its parameter's key in a checkpoint, as `named_parameters`.

        A pooler that the head does not read is among them.
        """
        for prefix, tree in (("bert.", self.bert), ("", self.head)):
            for key, array in arrays_of(tree):
                yield f"{prefix}{key}", array  # type: ignore[misc]  # gradients are never halves


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class HeadGradients(Generic[Parameters]):
    """Of a head's parameters, and of what it read; None is what it did not read.

    hidden is (B, T, H), or (N, H) of the tokens that were read; pooled (B, H); decoder (V, H).
    """

    parameters: Parameters
    hidden: Array | None = None
    pooled: Array | None = None
    decoder: Array | None = None


class BertRun(ABC):
    """A run of a BertModel that its gradients can be had of.

    Parameters
    ----------
    model : BertModel
        Loaded whole.
    inputs : mapping
        What it is called with, by name.
    rng : numpy.random.Generator, optional
        Turns dropout on, and draws its masks, in the order of execution.

    Attributes
    ----------
    hidden : ndarray of shape (B, T, H)
        The last hidden state.
    pooled : ndarray of shape (B, H), or None
        The pooler's output, if the model has one.
    mask : ndarray of shape (B, T), bool, or None
        True where there is a token; None where there is no padding.
    """

    hidden: Array

    @np.errstate(all="ignore")
    def __init__(
        self, model: BertModel, inputs: Mapping[str, Any], rng: np.random.Generator | None
    ) -> None:
        self._model = model
        ids, mask, types, positions, rows = (inputs.get(name) for name in INPUTS)
        given = (ids, types, positions, rows)
        self._checked = check_inputs(model.parameters.embeddings, *given)
        self.mask = used_mask(mask, self._checked.words.shape[:2])
        self._embedded = model.embeddings.steps(*given, rng=rng)
        self.hidden = self._forward(self._embedded.output, rng)
        if not np.isfinite(self.hidden).all():
            model.steps(**inputs)  # raises where it is a weight's fault
        head, has_tokens = model.parameters.pooler, self.hidden.shape[1] > 0
        self._pooler = pooler(head, self.hidden) if head is not None and has_tokens else None
        self.pooled = None if self._pooler is None else self._pooler.output

    @abstractmethod
    def _forward(self, embedded: Array, rng: np.random.Generator | None) -> Array:
        """Run the encoder, and keep what its backward needs."""

    @abstractmethod
    def _backward(self, grad: Array) -> tuple[BertEncoderParameters, Array]:
        """Return the gradients of the encoder's parameters and of what it was called with."""

    @np.errstate(all="ignore")
    def gradients(
        self,
        *,
        hidden: Array | None = None,
        pooled: Array | None = None,
        decoder: Array | None = None,
    ) -> BertParameters:
        """Return the gradients of all parameters, from those of what the run returned; once.

        Parameters
        ----------
        hidden : ndarray of shape (B, T, H), optional
            The gradient of the last hidden state; 0 by default.
        pooled : ndarray of shape (B, H), optional
            That of the pooler's output; 0 by default.
        decoder : ndarray of shape (V, H), optional
            That of the word table where it is used as a decoder, to be added to the look-up's.

        Returns
        -------
        BertParameters
            In the model's dtype. As in torch, the look-up gives the row of pad_token_id none.
        """
        parameters, config = self._model.parameters, self._model.config
        grad, own = np.zeros_like(self.hidden) if hidden is None else hidden, None
        if parameters.pooler is not None and self._pooler is not None:
            wanted = np.zeros_like(self._pooler.output) if pooled is None else pooled
            back = pooler_backward(wanted, parameters.pooler, self.hidden, self._pooler)
            grad, own = grad + back.hidden, back.parameters
        encoder, before = self._backward(grad)
        embeddings = embeddings_backward(
            before,
            parameters.embeddings,
            self._embedded,
            self._checked,
            p=config.hidden_dropout_prob,
            padding_idx=config.pad_token_id,
        )
        if decoder is not None:
            words: Array = np.add(embeddings.word_embeddings.weight, decoder)
            embeddings = replace(embeddings, word_embeddings=EmbeddingParameters(weight=words))
        return BertParameters(embeddings=embeddings, encoder=encoder, pooler=own)


class ReadableRun(BertRun):
    """A run by the readable code: the specification, and what float64 takes.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> run = ReadableRun(BertModel.from_pretrained("demo"), {"input_ids": [[2, 5, 3]]}, None)
    >>> found = run.gradients(hidden=np.ones_like(run.hidden))
    >>> found.encoder.layer[0].output.dense.weight.shape, found.pooler.dense.bias.any()
    ((128, 512), np.False_)
    """

    def _forward(self, embedded: Array, rng: np.random.Generator | None) -> Array:
        weights, config = self._weights, self._model.config
        self._steps = encoder(weights, embedded, self.mask, config=config, rng=rng)
        return self._steps.output

    def _backward(self, grad: Array) -> tuple[BertEncoderParameters, Array]:
        before, config = self._embedded.output, self._model.config
        found = encoder_backward(grad, self._weights, before, self._steps, self.mask, config=config)
        return found.parameters, found.hidden

    @property
    def _weights(self) -> BertEncoderParameters:
        return encoder_of(self._model)


class KernelRun(BertRun):
    """A run by the kernels, float32; its encoder has the readable one's masks and gradients.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> run = KernelRun(BertModel.from_pretrained("demo"), {"input_ids": [[2, 5, 3]]}, None)
    >>> run.gradients(hidden=np.ones_like(run.hidden)).encoder.layer[0].output.dense.bias.shape
    (128,)
    """

    def _forward(self, embedded: Array, rng: np.random.Generator | None) -> Array:
        self._encoder = EncoderTraining(encoder_of(self._model), self._model.config)
        return self._encoder.forward(embedded, self.mask, rng)

    def _backward(self, grad: Array) -> tuple[BertEncoderParameters, Array]:
        return self._encoder.backward(grad)


def bert_run(
    model: BertModel, inputs: Mapping[str, Any], rng: np.random.Generator | None = None
) -> BertRun:
    """Run a model so that its gradients can be had: in float32 by the kernels."""
    kind = KernelRun if model.dtype == np.float32 else ReadableRun
    return kind(model, inputs, rng)


def encoder_of(model: BertModel) -> BertEncoderParameters:
    """Return the encoder's parameters; raise InputError where only a part was loaded."""
    if model.parameters.encoder is None:
        raise InputError("model: loaded with only='embeddings'; load the whole to train it.")
    return model.parameters.encoder


def split_batch(
    batch: Mapping[str, Any], targets: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the inputs and the labels of a batch.

    Raises
    ------
    InputError
        If a label is missing, or something else is there.
    """
    if not isinstance(batch, Mapping):
        raise InputError(
            f"batch: {type(batch).__name__}; a mapping of names to arrays was expected."
        )
    known = f"{', '.join((*INPUTS, *targets))} may be there"
    other = [name for name in batch if name not in (*targets, *INPUTS)]
    if other:
        raise InputError(f"batch: has {listed(other)}, which is none of its members; {known}.")
    labels = {name: batch[name] for name in targets if batch.get(name) is not None}
    missing = [name for name in targets if name not in labels]
    if missing:
        raise InputError(f"batch: has no {listed(missing)}; {known}, the labels must be.")
    return {name: batch[name] for name in INPUTS if batch.get(name) is not None}, labels
