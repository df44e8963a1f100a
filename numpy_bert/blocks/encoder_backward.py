"""The encoder's and the pooler's gradients: `numpy_bert.blocks.encoder`, step by step backwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.blocks.encoder import EncoderSteps, LayerSteps, OutputSteps, PoolerSteps
from numpy_bert.blocks.gradients import dense_backward, norm_backward
from numpy_bert.config import BertConfig
from numpy_bert.ops.activation import ACTIVATIONS
from numpy_bert.ops.attention import attention_backward, merge_heads, split_heads
from numpy_bert.ops.dropout import dropout_backward
from numpy_bert.parameters import (
    BertAttentionParameters,
    BertEncoderParameters,
    BertIntermediateParameters,
    BertLayerParameters,
    BertOutputParameters,
    BertPoolerParameters,
    BertSelfAttentionParameters,
    BertSelfOutputParameters,
    LayerNormParameters,
    LinearParameters,
)

__all__ = [
    "EncoderGradients",
    "LayerGradients",
    "PoolerGradients",
    "encoder_backward",
    "encoder_layer_backward",
    "pooler_backward",
]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LayerGradients:
    """Of a layer's parameters, and of what it was called with, (B, T, H)."""

    parameters: BertLayerParameters
    hidden: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EncoderGradients:
    """Of all layers' parameters, and of the input embedding, (B, T, H)."""

    parameters: BertEncoderParameters
    hidden: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PoolerGradients:
    """Of the pooler's parameters, and of the encoder's output, (B, T, H)."""

    parameters: BertPoolerParameters
    hidden: Array


def encoder_backward(
    grad: Array,
    parameters: BertEncoderParameters,
    hidden: Array,
    steps: EncoderSteps,
    mask: BoolArray | None = None,
    *,
    config: BertConfig,
) -> EncoderGradients:
    """Return the gradients of what `encoder` was called with, last layer first.

    Parameters
    ----------
    grad : ndarray of shape (B, T, H), dtype of the parameters
        Of its output.
    parameters, hidden, mask, config
        As it was called with.
    steps : EncoderSteps
        What it returned; with dropout's masks, if there were any.

    Returns
    -------
    EncoderGradients
        In the parameters' classes, shapes and dtype.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> from numpy_bert.blocks.encoder import encoder
    >>> model = BertModel.from_pretrained("demo")
    >>> weights, hidden = model.parameters.encoder, model.embeddings([[2, 5, 3]])
    >>> steps = encoder(weights, hidden, config=model.config)
    >>> ones = np.ones_like(steps.output)
    >>> found = encoder_backward(ones, weights, hidden, steps, config=model.config)
    >>> found.parameters.layer[1].intermediate.dense.weight.shape
    (512, 128)
    """
    inputs = [hidden, *(layer.output.output for layer in steps.layer[:-1])]
    found: list[BertLayerParameters] = []
    for layer, x, done in reversed(list(zip(parameters.layer, inputs, steps.layer, strict=True))):
        gradients = encoder_layer_backward(grad, layer, x, done, mask, config=config)
        grad = gradients.hidden
        found.append(gradients.parameters)
    return EncoderGradients(
        parameters=BertEncoderParameters(layer=tuple(reversed(found))), hidden=grad
    )


def encoder_layer_backward(
    grad: Array,
    parameters: BertLayerParameters,
    hidden: Array,
    steps: LayerSteps,
    mask: BoolArray | None = None,
    *,
    config: BertConfig,
) -> LayerGradients:
    """Return the gradients of what `encoder_layer` was called with; arguments as of the encoder's.

    Notes
    -----
    A residual sum x + f(x) hands its gradient to both terms, so what comes back through f is added
    to what goes past it.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> from numpy_bert.blocks.encoder import encoder_layer
    >>> model = BertModel.from_pretrained("demo")
    >>> layer, hidden = model.parameters.encoder.layer[0], model.embeddings([[2, 5, 3]])
    >>> steps = encoder_layer(layer, hidden, config=model.config)
    >>> ones = np.ones_like(hidden)
    >>> encoder_layer_backward(ones, layer, hidden, steps, config=model.config).hidden.shape
    (1, 3, 128)
    """
    attended = steps.attention.output.output
    narrowed = _output_backward(
        grad, parameters.output, steps.intermediate.output, steps.output, config
    )
    activation = ACTIVATIONS[config.activation].backward
    widened = dense_backward(
        activation(narrowed.x, steps.intermediate.dense), attended, parameters.intermediate.dense
    )
    mixed = _output_backward(
        narrowed.residual + widened.x,
        parameters.attention.output,
        steps.attention.self.output,
        steps.attention.output,
        config,
    )
    looked, before = _self_attention_backward(
        mixed.x, parameters.attention.self, hidden, steps, mask, config
    )
    return LayerGradients(
        parameters=BertLayerParameters(
            attention=BertAttentionParameters(
                self=looked,
                output=BertSelfOutputParameters(dense=mixed.dense, LayerNorm=mixed.LayerNorm),
            ),
            intermediate=BertIntermediateParameters(dense=widened.parameters),
            output=BertOutputParameters(dense=narrowed.dense, LayerNorm=narrowed.LayerNorm),
        ),
        hidden=mixed.residual + before,
    )


def pooler_backward(
    grad: Array, parameters: BertPoolerParameters, hidden: Array, steps: PoolerSteps
) -> PoolerGradients:
    """Return the gradients of what `pooler` was called with.

    Parameters
    ----------
    grad : ndarray of shape (B, H), dtype of the parameters
        Of its output.
    parameters, hidden
        As it was called with.
    steps : PoolerSteps
        What it returned.

    Notes
    -----
    d tanh(x) / dx = 1 - tanh(x)^2. It reads the first token alone, so the others' gradient is 0.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> from numpy_bert.blocks.encoder import pooler
    >>> weights, x = BertModel.from_pretrained("demo").parameters.pooler, np.ones((3, 7, 128), "f4")
    >>> steps = pooler(weights, x)
    >>> pooler_backward(np.ones((3, 128), "f4"), weights, x, steps).hidden.shape
    (3, 7, 128)
    """
    output = steps.output.astype(np.float64, copy=False)
    inner = (grad * ((1.0 - output) * (1.0 + output))).astype(grad.dtype, copy=False)
    dense = dense_backward(inner, hidden[:, 0], parameters.dense)
    back = np.zeros_like(hidden)
    back[:, 0] = dense.x
    return PoolerGradients(parameters=BertPoolerParameters(dense=dense.parameters), hidden=back)


class _OutputGradients(NamedTuple):
    """Of a dense layer, dropout, residual sum and LayerNorm: of parameters and of both inputs."""

    dense: LinearParameters
    LayerNorm: LayerNormParameters
    x: Array
    residual: Array


def _output_backward(
    grad: Array,
    parameters: BertSelfOutputParameters | BertOutputParameters,
    x: Array,
    steps: OutputSteps,
    config: BertConfig,
) -> _OutputGradients:
    """Go back through LayerNorm(dropout(dense(x)) + residual)."""
    norm = norm_backward(grad, steps.LayerNorm, parameters.LayerNorm)
    dropped = dropout_backward(norm.x, steps.dropout.keep, config.hidden_dropout_prob)
    dense = dense_backward(dropped, x, parameters.dense)
    return _OutputGradients(dense.parameters, norm.parameters, dense.x, norm.x)


def _self_attention_backward(
    grad: Array,
    parameters: BertSelfAttentionParameters,
    hidden: Array,
    steps: LayerSteps,
    mask: BoolArray | None,
    config: BertConfig,
) -> tuple[BertSelfAttentionParameters, Array]:
    """Go back through the heads and their projections; what came in has the sum of the three's."""
    looked, heads = steps.attention.self, config.num_attention_heads
    attended = attention_backward(
        split_heads(grad, heads),
        split_heads(looked.query, heads),
        split_heads(looked.key, heads),
        split_heads(looked.value, heads),
        mask,
        probs=looked.probs,
        dropped=looked.dropout,
        p=config.attention_probs_dropout_prob,
    )
    query, key, value = (
        dense_backward(merge_heads(part), hidden, weights)
        for part, weights in (
            (attended.query, parameters.query),
            (attended.key, parameters.key),
            (attended.value, parameters.value),
        )
    )
    gradients = BertSelfAttentionParameters(
        query=query.parameters, key=key.parameters, value=value.parameters
    )
    return gradients, query.x + key.x + value.x
