"""The encoder and the pooler over it, forward and backward.

Each layer is self-attention and a feed-forward network. A backward takes the steps of its forward.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.blocks.gradients import dense_backward, norm_backward
from numpy_bert.config import BertConfig
from numpy_bert.ops.activation import ACTIVATIONS
from numpy_bert.ops.attention import attention, attention_backward, merge_heads, split_heads
from numpy_bert.ops.dropout import DropoutSteps, dropout, dropout_backward
from numpy_bert.ops.layer_norm import LayerNormSteps, layer_norm
from numpy_bert.ops.linear import linear
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
from numpy_bert.reprs import short_repr

__all__ = [
    "AttentionBlockSteps",
    "EncoderGradients",
    "EncoderSteps",
    "IntermediateSteps",
    "LayerGradients",
    "LayerSteps",
    "OutputSteps",
    "PoolerGradients",
    "PoolerSteps",
    "SelfAttentionSteps",
    "encoder",
    "encoder_backward",
    "encoder_layer",
    "encoder_layer_backward",
    "encoder_layers",
    "pooler",
    "pooler_backward",
]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SelfAttentionSteps:
    """Self-attention: query, key, value, output (B, T, H); scores, probs, dropout (B, A, T, T)."""

    __repr__ = short_repr

    query: Array
    key: Array
    value: Array
    scores: Array
    probs: Array
    dropout: DropoutSteps
    output: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class OutputSteps:
    """A dense layer, dropout, the residual sum and its LayerNorm: all (B, T, H)."""

    __repr__ = short_repr

    dense: Array
    dropout: DropoutSteps
    sum: Array
    LayerNorm: LayerNormSteps
    output: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AttentionBlockSteps:
    """Self-attention and what follows it up to the LayerNorm; the latter's output is the block's.

    The first field is transformers' name of the module.
    """

    __repr__ = short_repr

    self: SelfAttentionSteps
    output: OutputSteps


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class IntermediateSteps:
    """The widening half of the feed-forward network: both (B, T, I)."""

    __repr__ = short_repr

    dense: Array
    output: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LayerSteps:
    """A layer of the encoder; the output of its last part is its own."""

    __repr__ = short_repr

    attention: AttentionBlockSteps
    intermediate: IntermediateSteps
    output: OutputSteps


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EncoderSteps:
    """All layers, first to last, and what the last one returns, (B, T, H)."""

    __repr__ = short_repr

    layer: tuple[LayerSteps, ...]
    output: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PoolerSteps:
    """The dense layer over the first token, and its tanh: both (B, H)."""

    __repr__ = short_repr

    dense: Array
    output: Array


def encoder(
    parameters: BertEncoderParameters,
    hidden: Array,
    mask: BoolArray | None = None,
    *,
    config: BertConfig,
    rng: np.random.Generator | None = None,
) -> EncoderSteps:
    """Run BERT's encoder, keeping every step.

    Parameters
    ----------
    parameters : BertEncoderParameters
        The parameters of all layers, of one dtype.
    hidden : ndarray of shape (B, T, H), dtype of the parameters
        The input embedding. Never modified.
    mask : ndarray of shape (B, T), bool, optional
        False where a token is padding. Padding is computed like any token, but no token sees it.
    config : BertConfig
        The config, for heads, activation, epsilon and dropout's probabilities.
    rng : numpy.random.Generator, optional
        The generator that draws dropout's masks, layer by layer; without it dropout is off.

    Returns
    -------
    EncoderSteps
        The steps of each layer, and the last one's output.

    References
    ----------
    .. [1] Devlin et al., "BERT", arXiv:1810.04805, section 3.
    .. [2] google-research/bert, modeling.py, transformer_model.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> model = BertModel.from_pretrained("demo")
    >>> hidden = model.embeddings([[2, 3]])
    >>> encoder(model.parameters.encoder, hidden, config=model.config).output.shape
    (1, 2, 128)
    """
    steps = tuple(encoder_layers(parameters, hidden, mask, config=config, rng=rng))
    return EncoderSteps(layer=steps, output=steps[-1].output.output)


def encoder_layers(
    parameters: BertEncoderParameters,
    hidden: Array,
    mask: BoolArray | None = None,
    *,
    config: BertConfig,
    rng: np.random.Generator | None = None,
) -> Iterator[LayerSteps]:
    """Yield the steps of each layer of `encoder`, which takes the same arguments.

    This is the one loop over the layers in the readable code. It keeps no layer's steps: a caller
    that drops them before it asks for the next has one layer in memory.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> model = BertModel.from_pretrained("demo")
    >>> hidden = model.embeddings([[2, 3]])
    >>> layers = encoder_layers(model.parameters.encoder, hidden, config=model.config)
    >>> [steps.output.output.shape for steps in layers]
    [(1, 2, 128), (1, 2, 128)]
    """
    for layer in parameters.layer:
        with np.errstate(all="ignore"):  # also where the caller's own settings would raise
            steps = encoder_layer(layer, hidden, mask, config=config, rng=rng)
        hidden = steps.output.output
        yield steps
        del steps


def encoder_layer(
    parameters: BertLayerParameters,
    hidden: Array,
    mask: BoolArray | None = None,
    *,
    config: BertConfig,
    rng: np.random.Generator | None = None,
) -> LayerSteps:
    """Run one layer of `encoder`, which takes the same arguments.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> model = BertModel.from_pretrained("demo")
    >>> first = model.parameters.encoder.layer[0]
    >>> steps = encoder_layer(first, model.embeddings([[2, 5, 3]]), config=model.config)
    >>> steps.attention.self.probs.shape, steps.intermediate.dense.shape
    ((1, 2, 3, 3), (1, 3, 512))
    """
    looked = _self_attention(parameters.attention.self, hidden, mask, config, rng)
    attended = _output(parameters.attention.output, looked.output, hidden, config, rng)
    widened = _intermediate(parameters.intermediate, attended.output, config)
    narrowed = _output(parameters.output, widened.output, attended.output, config, rng)
    return LayerSteps(
        attention=AttentionBlockSteps(self=looked, output=attended),
        intermediate=widened,
        output=narrowed,
    )


def pooler(parameters: BertPoolerParameters, hidden: Array) -> PoolerSteps:
    """Read a sequence off its first token, as next-sentence prediction does.

    Parameters
    ----------
    parameters : BertPoolerParameters
        The dense layer.
    hidden : ndarray of shape (B, T, H), T from 1
        The encoder's output.

    Returns
    -------
    PoolerSteps
        The steps dense and output, (B, H).

    References
    ----------
    .. [1] google-research/bert, modeling.py, BertModel, "pooler".

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> model = BertModel.from_pretrained("demo")
    >>> pooler(model.parameters.pooler, np.zeros((3, 7, 128), np.float32)).output.shape
    (3, 128)
    """
    dense = linear(hidden[:, 0], parameters.dense.weight, parameters.dense.bias)  # (B, H)
    return PoolerSteps(dense=dense, output=np.tanh(dense))


def _self_attention(
    parameters: BertSelfAttentionParameters,
    hidden: Array,
    mask: BoolArray | None,
    config: BertConfig,
    rng: np.random.Generator | None,
) -> SelfAttentionSteps:
    """Project to queries, keys and values, and attend head by head."""
    query = linear(hidden, parameters.query.weight, parameters.query.bias)  # (B, T, H)
    key = linear(hidden, parameters.key.weight, parameters.key.bias)
    value = linear(hidden, parameters.value.weight, parameters.value.bias)
    attended = attention(
        split_heads(query, config.num_attention_heads),
        split_heads(key, config.num_attention_heads),
        split_heads(value, config.num_attention_heads),
        mask,
        p=config.attention_probs_dropout_prob,
        rng=rng,
    )
    return SelfAttentionSteps(
        query=query,
        key=key,
        value=value,
        scores=attended.scores,
        probs=attended.probs,
        dropout=attended.dropout,
        output=merge_heads(attended.output),
    )


def _intermediate(
    parameters: BertIntermediateParameters, x: Array, config: BertConfig
) -> IntermediateSteps:
    """Widen, and apply the activation."""
    dense = linear(x, parameters.dense.weight, parameters.dense.bias)  # (B, T, I)
    return IntermediateSteps(dense=dense, output=ACTIVATIONS[config.activation].forward(dense))


def _output(
    parameters: BertSelfOutputParameters | BertOutputParameters,
    x: Array,
    residual: Array,
    config: BertConfig,
    rng: np.random.Generator | None,
) -> OutputSteps:
    """Project to H features, drop, add the residual, normalize."""
    dense = linear(x, parameters.dense.weight, parameters.dense.bias)  # (B, T, H)
    dropped = dropout(dense, config.hidden_dropout_prob, rng=rng)
    total = dropped.output + residual
    norm = parameters.LayerNorm
    normalized = layer_norm(total, norm.weight, norm.bias, eps=config.layer_norm_eps)
    return OutputSteps(
        dense=dense, dropout=dropped, sum=total, LayerNorm=normalized, output=normalized.output
    )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LayerGradients:
    """The gradients of a layer's parameters, and of its input, (B, T, H)."""

    __repr__ = short_repr

    parameters: BertLayerParameters
    hidden: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EncoderGradients:
    """The gradients of all layers' parameters, and of the input embedding, (B, T, H)."""

    __repr__ = short_repr

    parameters: BertEncoderParameters
    hidden: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PoolerGradients:
    """The gradients of the pooler's parameters, and of the encoder's output, (B, T, H)."""

    __repr__ = short_repr

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
        The gradient of the output.
    parameters, hidden, mask, config
        What `encoder` was called with.
    steps : EncoderSteps
        What `encoder` returned, dropout's masks included.

    Returns
    -------
    EncoderGradients
        The gradients, in the parameters' classes, shapes and dtype.

    Examples
    --------
    >>> from numpy_bert import BertModel
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
    """Return the gradients of what `encoder_layer` was called with, as `encoder_backward` does.

    Notes
    -----
    A residual sum x + f(x) hands its gradient to both terms, so what comes back through f is added
    to what goes past it.

    Examples
    --------
    >>> from numpy_bert import BertModel
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
        The gradient of the output.
    parameters, hidden
        What `pooler` was called with.
    steps : PoolerSteps
        What `pooler` returned.

    Notes
    -----
    d tanh(x) / dx = 1 - tanh(x)^2. Only the first token is read: the others' gradient is 0.

    Examples
    --------
    >>> from numpy_bert import BertModel
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
    """The gradients of the parameters and of both inputs of an `_output`."""

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
    """Go back through the heads and their projections; the input has the sum of the gradients."""
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
