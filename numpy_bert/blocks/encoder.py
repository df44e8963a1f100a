"""The encoder: layers of self-attention and feed-forward network, and the pooler over it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.config import BertConfig
from numpy_bert.ops.activation import ACTIVATIONS
from numpy_bert.ops.attention import attention, merge_heads, split_heads
from numpy_bert.ops.dropout import DropoutSteps, dropout
from numpy_bert.ops.layer_norm import LayerNormSteps, layer_norm
from numpy_bert.ops.linear import linear
from numpy_bert.parameters import (
    BertEncoderParameters,
    BertIntermediateParameters,
    BertLayerParameters,
    BertOutputParameters,
    BertPoolerParameters,
    BertSelfAttentionParameters,
    BertSelfOutputParameters,
)

__all__ = [
    "AttentionBlockSteps",
    "EncoderSteps",
    "IntermediateSteps",
    "LayerSteps",
    "OutputSteps",
    "PoolerSteps",
    "SelfAttentionSteps",
    "encoder",
    "encoder_layer",
    "pooler",
]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SelfAttentionSteps:
    """Self-attention: query, key, value, output (B, T, H); scores, probs, dropout (B, A, T, T)."""

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

    self: SelfAttentionSteps
    output: OutputSteps


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class IntermediateSteps:
    """The widening half of the feed-forward network: both (B, T, I)."""

    dense: Array
    output: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LayerSteps:
    """A layer of the encoder; the output of its last part is its own."""

    attention: AttentionBlockSteps
    intermediate: IntermediateSteps
    output: OutputSteps


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EncoderSteps:
    """All layers, first to last, and what the last one returns, (B, T, H)."""

    layer: tuple[LayerSteps, ...]
    output: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PoolerSteps:
    """The dense layer over the first token, and its tanh: both (B, H)."""

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
        Of all layers, of one dtype.
    hidden : ndarray of shape (B, T, H), dtype of the parameters
        The input embedding. Never modified.
    mask : ndarray of shape (B, T), bool, optional
        False where a token is padding. Padding is computed like any token, but no token sees it.
    config : BertConfig
        Heads, activation, epsilon and dropout's probabilities.
    rng : numpy.random.Generator, optional
        Draws the masks of dropout, layer by layer in execution order; without it dropout is off.

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
    steps = []
    for layer in parameters.layer:
        done = encoder_layer(layer, hidden, mask, config=config, rng=rng)
        hidden = done.output.output
        steps.append(done)
    return EncoderSteps(layer=tuple(steps), output=hidden)


def encoder_layer(
    parameters: BertLayerParameters,
    hidden: Array,
    mask: BoolArray | None = None,
    *,
    config: BertConfig,
    rng: np.random.Generator | None = None,
) -> LayerSteps:
    """Run one layer; arguments as of `encoder`.

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
        dense and output, (B, H).

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
