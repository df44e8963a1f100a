"""From a loss back to every parameter: a forward whose steps are kept, and the way back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.blocks.embeddings import embeddings_backward
from numpy_bert.blocks.encoder import (
    FirstTokenGradients,
    PoolerGradients,
    encoder,
    encoder_backward,
    first_token_backward,
    pooler_backward,
)
from numpy_bert.blocks.gradients import dense_backward
from numpy_bert.config import BertConfig
from numpy_bert.errors import InputError
from numpy_bert.inputs import ModelInputs
from numpy_bert.kernels.activation import KNOWN
from numpy_bert.kernels.training import EncoderTraining
from numpy_bert.messages import listed
from numpy_bert.parameters import (
    BertEncoderParameters,
    BertParameters,
    EmbeddingParameters,
    arrays_of,
)
from numpy_bert.reprs import short_repr

if TYPE_CHECKING:
    from numpy_bert.model.bert import BertModel

__all__ = [
    "INPUTS",
    "BertRun",
    "LossAndGradients",
    "ReadableTraining",
    "split_batch",
]

# What a BertModel is called with.
INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LossAndGradients:
    """A loss, and its gradients in the classes of the parameters.

    Attributes
    ----------
    loss : float
        The loss of the batch.
    bert : BertParameters
        The gradients of the model under the head, each array of its parameter's shape, in the
        model's dtype; None where the checkpoint has no such part.
    head : one of the classes of `numpy_bert.parameters`
        The gradients of the head. A decoder that is the word table has its gradient there, in
        `bert`.
    """

    __repr__ = short_repr

    loss: float
    bert: BertParameters
    head: Any

    def named(self) -> Iterator[tuple[str, Array]]:
        """Yield every gradient with its parameter's key, as `named_parameters` yields parameters.

        A pooler that the head does not read is among them.
        """
        for prefix, tree in (("bert.", self.bert), ("", self.head)):
            for key, array in arrays_of(tree):
                yield f"{prefix}{key}", array  # type: ignore[misc]  # gradients are never halves


class _Training(Protocol):
    """An encoder that is run forward once, and then backward once."""

    def forward(
        self, hidden: Array, mask: BoolArray | None, rng: np.random.Generator | None
    ) -> Array: ...
    def backward(self, grad: Array) -> tuple[BertEncoderParameters, Array]: ...


class ReadableTraining:
    """The encoder forward and backward by the readable code: for what the kernels do not take.

    It is the specification of `numpy_bert.kernels.training.EncoderTraining` and is used alike.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> model = BertModel.from_pretrained("demo", dtype="float64")
    >>> training = ReadableTraining(model.parameters.encoder, model.config)
    >>> output = training.forward(model.embeddings([[2, 5, 3]]), None, None)
    >>> training.backward(np.ones_like(output))[1].shape
    (1, 3, 128)
    """

    def __init__(self, parameters: BertEncoderParameters, config: BertConfig) -> None:
        self._parameters, self._config = parameters, config

    def forward(
        self, hidden: Array, mask: BoolArray | None, rng: np.random.Generator | None
    ) -> Array:
        """Return the last layer's output, (B, T, H), and keep what the backward needs."""
        self._hidden, self._mask = hidden, mask
        self._steps = encoder(self._parameters, hidden, mask, config=self._config, rng=rng)
        return self._steps.output

    def backward(self, grad: Array) -> tuple[BertEncoderParameters, Array]:
        """Return the gradients of the parameters and of what went in, (B, T, H)."""
        found = encoder_backward(
            grad, self._parameters, self._hidden, self._steps, self._mask, config=self._config
        )
        return found.parameters, found.hidden


class BertRun:
    """A run of a BertModel that can be gone back through; padding is computed like any token.

    Parameters
    ----------
    model : BertModel
        The model, loaded whole.
    inputs : ModelInputs
        The checked inputs.
    rng : numpy.random.Generator, optional
        The generator that draws dropout's masks, in execution order; without it dropout is off.
    kind : type, optional
        What runs the encoder: by default the kernels in float32, if they know the activation, and
        the readable code otherwise; both have the same masks and gradients.

    Attributes
    ----------
    hidden : ndarray of shape (B, T, H)
        The last hidden state.
    pooled : ndarray of shape (B, H), or None
        The pooler's output, if the model has one.
    mask : ndarray of shape (B, T), bool, or None
        True where there is a token; None where there is no padding.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> model = BertModel.from_pretrained("demo")
    >>> run = BertRun(model, model.inputs([[2, 5, 3]]))
    >>> found = run.gradients(hidden=np.ones_like(run.hidden))
    >>> found.encoder.layer[0].output.dense.weight.shape, found.pooler.dense.bias.any()
    ((128, 512), np.False_)
    """

    @np.errstate(all="ignore")
    def __init__(
        self,
        model: BertModel,
        inputs: ModelInputs,
        rng: np.random.Generator | None = None,
        *,
        kind: type[EncoderTraining | ReadableTraining] | None = None,
    ) -> None:
        self._model, self._inputs, self.mask = model, inputs, inputs.mask
        parameters = model.encoder_parameters()
        if kind is None:
            fast = model.dtype == np.float32 and model.config.activation in KNOWN
            kind = EncoderTraining if fast else ReadableTraining
        self._encoder: _Training = kind(parameters, model.config)
        self._embedded = model.embeddings.all_steps(inputs, rng=rng)
        hidden = model.projected(self._embedded.output)
        self.hidden = self._encoder.forward(hidden, self.mask, rng)
        if not np.isfinite(self.hidden).all():
            model.blame(inputs)
        self._pooler = model.pool(self.hidden)
        self.pooled = None if self._pooler is None else self._pooler.output

    @np.errstate(all="ignore")
    def gradients(
        self,
        *,
        hidden: Array | None = None,
        pooled: Array | None = None,
        decoder: Array | None = None,
    ) -> BertParameters:
        """Return the gradients of all parameters, from those of the run's outputs; call it once.

        Parameters
        ----------
        hidden : ndarray of shape (B, T, H), optional
            The gradient of the last hidden state; 0 by default.
        pooled : ndarray of shape (B, H), optional
            The gradient of the pooler's output; 0 by default.
        decoder : ndarray of shape (V, H), optional
            The gradient of the word table as a decoder, to be added to the look-up's.

        Returns
        -------
        BertParameters
            The gradients, in the model's dtype. As in torch, the look-up gives pad_token_id none.
        """
        parameters, config = self._model.parameters, self._model.config
        grad = np.zeros_like(self.hidden) if hidden is None else hidden
        back = self._pooler_gradients(pooled)
        encoder, before = self._encoder.backward(grad if back is None else grad + back.hidden)
        project, own = parameters.embeddings_project, None
        if project is not None:
            dense = dense_backward(before, self._embedded.output, project)
            before, own = dense.x, dense.parameters
        embeddings = embeddings_backward(
            before,
            parameters.embeddings,
            self._embedded,
            self._inputs,
            p=config.hidden_dropout_prob,
            padding_idx=config.padding_idx,
            position_padding_idx=config.position_padding_idx,
        )
        if decoder is not None:
            words: Array = np.add(embeddings.word_embeddings.weight, decoder)
            embeddings = replace(embeddings, word_embeddings=EmbeddingParameters(weight=words))
        return BertParameters(
            embeddings=embeddings,
            embeddings_project=own,
            encoder=encoder,
            pooler=back.parameters if isinstance(back, PoolerGradients) else None,
            encode_proj=back.parameters if isinstance(back, FirstTokenGradients) else None,
        )

    def _pooler_gradients(
        self, pooled: Array | None
    ) -> PoolerGradients | FirstTokenGradients | None:
        """Go back through the pooler, or whatever stands in its place; None where nothing does."""
        parameters, steps = self._model.parameters, self._pooler
        if steps is None:
            return None
        grad = np.zeros_like(steps.output) if pooled is None else pooled
        if parameters.pooler is None:
            return first_token_backward(grad, parameters.encode_proj, self.hidden)
        return pooler_backward(grad, parameters.pooler, self.hidden, steps)


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
        raise InputError(f"batch must be a mapping of names to arrays; got {type(batch).__name__}.")
    known = f"it may have {', '.join((*INPUTS, *targets))}"
    other = [name for name in batch if name not in (*targets, *INPUTS)]
    if other:
        raise InputError(f"batch must not have {listed(other)}; {known}.")
    labels = {name: batch[name] for name in targets if batch.get(name) is not None}
    missing = [name for name in targets if name not in labels]
    if missing:
        raise InputError(f"batch must have {listed(missing)}; {known}.")
    return {name: batch[name] for name in INPUTS if batch.get(name) is not None}, labels
