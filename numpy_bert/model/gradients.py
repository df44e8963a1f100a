"""From a loss back to every parameter: the readable code's steps, in the other direction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.blocks.embeddings import check_inputs
from numpy_bert.blocks.embeddings_backward import embeddings_backward
from numpy_bert.blocks.encoder_backward import encoder_backward, pooler_backward
from numpy_bert.errors import InputError
from numpy_bert.files import listed
from numpy_bert.model.outputs import BertSteps
from numpy_bert.model.packed import used_mask
from numpy_bert.parameters import BertParameters, EmbeddingParameters
from numpy_bert.parameters_heads import HeadParameters

if TYPE_CHECKING:
    from numpy_bert.model.bert import BertModel

__all__ = ["INPUTS", "HeadGradients", "LossAndGradients", "bert_gradients", "split_batch"]

Parameters = TypeVar("Parameters", bound=HeadParameters)

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


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class HeadGradients(Generic[Parameters]):
    """Of a head's parameters, and of what it read; None is what it did not read.

    hidden is (B, T, H), or (N, H) of the tokens that were read; pooled (B, H); decoder (V, H).
    """

    parameters: Parameters
    hidden: Array | None = None
    pooled: Array | None = None
    decoder: Array | None = None


@np.errstate(all="ignore")
def bert_gradients(
    model: BertModel,
    inputs: Mapping[str, Any],
    steps: BertSteps,
    *,
    last_hidden_state: Array | None = None,
    pooler_output: Array | None = None,
    decoder: Array | None = None,
) -> BertParameters:
    """Return the gradients of a BertModel's parameters, from those of what it returned.

    Parameters
    ----------
    model : BertModel
        Loaded whole.
    inputs : mapping
        What it was called with, by name.
    steps : BertSteps
        What its `steps` returned for them; with dropout's masks, if there were any.
    last_hidden_state : ndarray of shape (B, T, H), optional
        The gradient of the encoder's output; 0 by default.
    pooler_output : ndarray of shape (B, H), optional
        That of the pooler's output; 0 by default.
    decoder : ndarray of shape (V, H), optional
        That of the word table where it is used as a decoder, to be added to the look-up's.

    Returns
    -------
    BertParameters
        In the model's dtype. As in torch, the look-up gives the row of pad_token_id no gradient.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> model, inputs = BertModel.from_pretrained("demo"), {"input_ids": [[2, 5, 3]]}
    >>> steps = model.steps(**inputs)
    >>> ones = np.ones_like(steps.encoder.output)
    >>> found = bert_gradients(model, inputs, steps, last_hidden_state=ones)
    >>> found.encoder.layer[0].output.dense.weight.shape, found.pooler.dense.bias.any()
    ((128, 512), np.False_)
    """
    parameters, config = model.parameters, model.config
    ids, mask, types, positions, rows = (inputs.get(name) for name in INPUTS)
    checked = check_inputs(parameters.embeddings, ids, types, positions, rows)
    hidden = steps.encoder.output
    grad = np.zeros_like(hidden) if last_hidden_state is None else last_hidden_state
    pooler = None
    if parameters.pooler is not None and steps.pooler is not None:
        pooled = np.zeros_like(steps.pooler.output) if pooler_output is None else pooler_output
        back = pooler_backward(pooled, parameters.pooler, hidden, steps.pooler)
        grad, pooler = grad + back.hidden, back.parameters
    assert parameters.encoder is not None  # or there were no steps
    encoder = encoder_backward(
        grad,
        parameters.encoder,
        steps.embeddings.output,
        steps.encoder,
        used_mask(mask, checked.words.shape[:2]),
        config=config,
    )
    embeddings = embeddings_backward(
        encoder.hidden,
        parameters.embeddings,
        steps.embeddings,
        checked,
        p=config.hidden_dropout_prob,
        padding_idx=config.pad_token_id,
    )
    if decoder is not None:
        words: Array = np.add(embeddings.word_embeddings.weight, decoder)
        embeddings = replace(embeddings, word_embeddings=EmbeddingParameters(weight=words))
    return BertParameters(embeddings=embeddings, encoder=encoder.parameters, pooler=pooler)


def split_batch(
    batch: Mapping[str, Any], targets: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the inputs and the labels of a batch.

    Raises
    ------
    InputError
        If a label is missing, or something else is there.
    """
    labels = {name: batch[name] for name in targets if batch.get(name) is not None}
    missing = [name for name in targets if name not in labels]
    other = [name for name in batch if name not in (*targets, *INPUTS)]
    if missing or other:
        what = f"has no {listed(missing)}" if missing else f"has {listed(other)}"
        raise InputError(f"batch: {what}; {', '.join((*INPUTS[:3], *targets))} were expected.")
    return {name: batch[name] for name in INPUTS if batch.get(name) is not None}, labels
