"""The encoder, what stands before and behind it in some models, and the pooler; and the way back.

Each layer is self-attention and a feed-forward network. A backward takes the steps of its forward.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.blocks.gradients import dense_backward, norm_backward
from numpy_bert.config import BertConfig
from numpy_bert.ops.activation import ACTIVATIONS
from numpy_bert.ops.attention import attention, attention_backward, merge_heads, split_heads
from numpy_bert.ops.dropout import DropoutSteps, dropout, dropout_backward
from numpy_bert.ops.layer_norm import LayerNormSteps, layer_norm
from numpy_bert.ops.linear import linear
from numpy_bert.ops.relative_position import (
    relative_attention_bias,
    relative_attention_bias_backward,
)
from numpy_bert.parameters import (
    BertAttentionParameters,
    BertEncoderParameters,
    BertIntermediateParameters,
    BertLayerParameters,
    BertOutputParameters,
    BertPoolerParameters,
    BertSelfAttentionParameters,
    BertSelfOutputParameters,
    EmbeddingParameters,
    LayerNormParameters,
    LinearParameters,
)
from numpy_bert.reprs import short_repr

__all__ = [
    "AttentionBlockSteps",
    "EncoderGradients",
    "EncoderSteps",
    "FirstTokenGradients",
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
    "first_token",
    "first_token_backward",
    "pooler",
    "pooler_backward",
    "relative_bias",
]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SelfAttentionSteps:
    """Self-attention: query, key, value, output (B, T, H); scores, probs, dropout (B, A, T, T).

    The scores are scaled, and have what the encoder adds by distance, if it does.
    """

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
    """All layers, first to last, and what the last one returns, (B, T, H).

    relative_attention_bias, (T, T, A), is added to the scores of each; None where nothing is.
    """

    __repr__ = short_repr

    relative_attention_bias: Array | None = None
    layer: tuple[LayerSteps, ...]
    output: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PoolerSteps:
    """The dense layer over the first token, and its tanh: both (B, H).

    Of `first_token` both are what its dense layer returns; dense is None where it has none.
    """

    __repr__ = short_repr

    dense: Array | None
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
    return EncoderSteps(
        relative_attention_bias=relative_bias(parameters, hidden),
        layer=steps,
        output=steps[-1].output.output,
    )


def relative_bias(parameters: BertEncoderParameters, hidden: Array) -> Array | None:
    """Return what all layers add to the scores of (B, T, H), (T, T, A); None if they add nothing.

    The distance of two tokens is that of their places in the row, padding counted, whatever their
    positions are.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> model = BertModel.from_pretrained("demo")
    >>> relative_bias(model.parameters.encoder, model.embeddings([[2, 3]])) is None
    True
    """
    table = parameters.relative_attention_bias
    if table is None:
        return None
    return relative_attention_bias(table.weight, hidden.shape[1], hidden.dtype)


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
    bias = relative_bias(parameters, hidden)
    by_head = None if bias is None else np.ascontiguousarray(bias.transpose(2, 0, 1))  # (A, T, T)
    for layer in parameters.layer:
        with np.errstate(all="ignore"):  # also where the caller's own settings would raise
            steps = encoder_layer(layer, hidden, mask, config=config, bias=by_head, rng=rng)
        hidden = steps.output.output
        yield steps
        del steps


def encoder_layer(
    parameters: BertLayerParameters,
    hidden: Array,
    mask: BoolArray | None = None,
    *,
    config: BertConfig,
    bias: Array | None = None,
    rng: np.random.Generator | None = None,
) -> LayerSteps:
    """Run one layer of `encoder`, which takes the same arguments.

    `bias` (A, T, T) is added to the scores, in a model that does so: `relative_bias`, head by head.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> model = BertModel.from_pretrained("demo")
    >>> first = model.parameters.encoder.layer[0]
    >>> steps = encoder_layer(first, model.embeddings([[2, 5, 3]]), config=model.config)
    >>> steps.attention.self.probs.shape, steps.intermediate.dense.shape
    ((1, 2, 3, 3), (1, 3, 512))
    """
    eps = config.layer_norm_eps
    looked = _self_attention(parameters.attention.self, hidden, mask, config, bias, rng)
    p = config.attention_output_dropout_prob
    attended = _output(parameters.attention.output, looked.output, hidden, p, eps, rng)
    widened = _intermediate(parameters.intermediate, attended.output, config)
    p = config.hidden_dropout_prob
    narrowed = _output(parameters.output, widened.output, attended.output, p, eps, rng)
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


def first_token(parameters: LinearParameters | None, hidden: Array) -> PoolerSteps:
    """Take the first token's state for its sequence, through a dense layer if there is one.

    Parameters
    ----------
    parameters : LinearParameters or None
        The dense layer, to any number of features.
    hidden : ndarray of shape (B, T, H), T from 1
        The encoder's output.

    Returns
    -------
    PoolerSteps
        The steps dense, or None, and output; nothing follows the dense layer.

    References
    ----------
    .. [1] Karpukhin et al., "Dense Passage Retrieval", arXiv:2004.04906, section 3.1.

    Examples
    --------
    >>> first_token(None, np.ones((3, 7, 24))).output.shape
    (3, 24)
    """
    if parameters is None:
        return PoolerSteps(dense=None, output=hidden[:, 0].copy())
    dense = linear(hidden[:, 0], parameters.weight, parameters.bias)
    return PoolerSteps(dense=dense, output=dense)


def _self_attention(
    parameters: BertSelfAttentionParameters,
    hidden: Array,
    mask: BoolArray | None,
    config: BertConfig,
    bias: Array | None,
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
        bias=bias,
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
    p: float,
    eps: float,
    rng: np.random.Generator | None,
) -> OutputSteps:
    """Project to H features, drop, add the residual, normalize."""
    dense = linear(x, parameters.dense.weight, parameters.dense.bias)  # (B, T, H)
    dropped = dropout(dense, p, rng=rng)
    total = dropped.output + residual
    norm = parameters.LayerNorm
    normalized = layer_norm(total, norm.weight, norm.bias, eps=eps)
    return OutputSteps(
        dense=dense, dropout=dropped, sum=total, LayerNorm=normalized, output=normalized.output
    )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LayerGradients:
    """The gradients of a layer's parameters, of its input, (B, T, H), and of a bias, (A, T, T)."""

    __repr__ = short_repr

    parameters: BertLayerParameters
    hidden: Array
    bias: Array | None = None


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


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FirstTokenGradients:
    """The gradients of a `first_token`'s dense layer, or None, and of the encoder's output."""

    __repr__ = short_repr

    parameters: LinearParameters | None
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
    bias = steps.relative_attention_bias
    by_head = None if bias is None else bias.transpose(2, 0, 1)  # (A, T, T)
    added = None if by_head is None else np.zeros(by_head.shape)
    found: list[BertLayerParameters] = []
    for layer, x, done in reversed(list(zip(parameters.layer, inputs, steps.layer, strict=True))):
        gradients = encoder_layer_backward(grad, layer, x, done, mask, config=config, bias=by_head)
        grad = gradients.hidden
        found.append(gradients.parameters)
        if added is not None and gradients.bias is not None:
            added += gradients.bias
    return EncoderGradients(
        parameters=BertEncoderParameters(
            layer=tuple(reversed(found)),
            relative_attention_bias=_bias_backward(added, parameters, hidden.dtype),
        ),
        hidden=grad,
    )


def encoder_layer_backward(
    grad: Array,
    parameters: BertLayerParameters,
    hidden: Array,
    steps: LayerSteps,
    mask: BoolArray | None = None,
    *,
    config: BertConfig,
    bias: Array | None = None,
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
        grad,
        parameters.output,
        steps.intermediate.output,
        steps.output,
        config.hidden_dropout_prob,
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
        config.attention_output_dropout_prob,
    )
    looked = _self_attention_backward(
        mixed.x, parameters.attention.self, hidden, steps, mask, config, bias
    )
    return LayerGradients(
        parameters=BertLayerParameters(
            attention=BertAttentionParameters(
                self=looked.parameters,
                output=BertSelfOutputParameters(dense=mixed.dense, LayerNorm=mixed.LayerNorm),
            ),
            intermediate=BertIntermediateParameters(dense=widened.parameters),
            output=BertOutputParameters(dense=narrowed.dense, LayerNorm=narrowed.LayerNorm),
        ),
        hidden=mixed.residual + looked.hidden,
        bias=looked.bias,
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


def first_token_backward(
    grad: Array, parameters: LinearParameters | None, hidden: Array
) -> FirstTokenGradients:
    """Return the gradients of what `first_token` was called with, from that of its output.

    Examples
    --------
    >>> found = first_token_backward(np.ones((3, 24)), None, np.ones((3, 7, 24)))
    >>> found.hidden[:, 0].all(), found.hidden[:, 1:].any()
    (np.True_, np.False_)
    """
    back, own = np.zeros_like(hidden), None
    if parameters is None:
        back[:, 0] = grad
    else:
        dense = dense_backward(grad, hidden[:, 0], parameters)
        back[:, 0], own = dense.x, dense.parameters
    return FirstTokenGradients(parameters=own, hidden=back)


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
    p: float,
) -> _OutputGradients:
    """Go back through LayerNorm(dropout(dense(x)) + residual)."""
    norm = norm_backward(grad, steps.LayerNorm, parameters.LayerNorm)
    dropped = dropout_backward(norm.x, steps.dropout.keep, p)
    dense = dense_backward(dropped, x, parameters.dense)
    return _OutputGradients(dense.parameters, norm.parameters, dense.x, norm.x)


def _bias_backward(
    grad: Array | None, parameters: BertEncoderParameters, dtype: np.dtype[Any]
) -> EmbeddingParameters | None:
    """Go back to the table of what all layers add to their scores, if they add something."""
    table = parameters.relative_attention_bias
    if table is None or grad is None:
        return None
    weight = relative_attention_bias_backward(grad, len(table.weight))
    return EmbeddingParameters(weight=weight.astype(dtype, copy=False))


class _AttentionGradients(NamedTuple):
    """The gradients of the parameters, the input and the bias of a `_self_attention`."""

    parameters: BertSelfAttentionParameters
    hidden: Array
    bias: Array | None


def _self_attention_backward(
    grad: Array,
    parameters: BertSelfAttentionParameters,
    hidden: Array,
    steps: LayerSteps,
    mask: BoolArray | None,
    config: BertConfig,
    bias: Array | None,
) -> _AttentionGradients:
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
        bias=bias,
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
    return _AttentionGradients(gradients, query.x + key.x + value.x, attended.bias)
