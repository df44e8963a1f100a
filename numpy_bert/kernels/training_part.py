"""A share of a batch's sequences, taken through all layers and back by one thread, in float32.

Of each layer it keeps what its backward needs, and no more: of the activation the slope, of
LayerNorm the normalized rows and their scale.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.config import BertConfig
from numpy_bert.kernels.activation import activate
from numpy_bert.kernels.masks import MaskStream
from numpy_bert.parameters import (
    BertEncoderParameters,
    BertLayerParameters,
    LayerNormParameters,
    LinearParameters,
)

__all__ = ["Keep", "Part"]


class Keep(NamedTuple):
    """Dropout's masks of a layer: of the attention's weights, of both dense layers."""

    probs: BoolArray | None
    attention: BoolArray | None
    output: BoolArray | None


class _Norm(NamedTuple):
    """What LayerNorm's backward needs, and what it returned."""

    normalized: Array
    rstd: Array
    output: Array


class _Tape(NamedTuple):
    """What the backward of a layer needs."""

    hidden: Array
    query: Array
    key: Array
    value: Array
    probs: Array
    context: Array
    attended: _Norm
    slope: Array
    activated: Array
    narrowed: _Norm
    keep: Keep


class Part:
    """Some sequences of the batch, which one thread takes through all layers and back."""

    def __init__(
        self,
        parameters: BertEncoderParameters,
        config: BertConfig,
        hidden: Array,
        mask: BoolArray | None,
        masks: MaskStream | None,
        rows: slice,
        bias: Array | None = None,
    ) -> None:
        self.batch, self._length, self._features = hidden.shape
        self._parameters, self._config, self._mask = parameters, config, mask
        self._hidden = np.ascontiguousarray(hidden).reshape(-1, self._features)
        self._masks, self._rows, self._tapes = masks, rows, list[_Tape]()
        self.output = self.grad = hidden
        self.gradients: list[dict[str, Array]] = []
        # What is added to the scores, (A, T, T), and its gradient, the sum over layers.
        self._bias = bias
        self.bias_gradient = None if bias is None else np.zeros(bias.shape, np.float32)

    @np.errstate(all="ignore")
    def forward(self) -> None:
        """Compute the last layer's `output`."""
        x = self._hidden
        for number, layer in enumerate(self._parameters.layer):
            self._tapes.append(self._layer(layer, x, self._keep(number)))
            x = self._tapes[-1].narrowed.output
        self.output = x.reshape(self.batch, self._length, self._features)

    @np.errstate(all="ignore")
    def backward(self) -> None:
        """Turn `grad` from the output's into that of what went in; fill in the layers'."""
        grad = np.ascontiguousarray(self.grad).reshape(-1, self._features)
        found = []
        for layer in reversed(self._parameters.layer):
            grad, gradients = self._layer_backward(layer, self._tapes.pop(), grad)
            found.append(gradients)
        self.gradients = found[::-1]
        self.grad = grad.reshape(self.batch, self._length, self._features)

    def _keep(self, layer: int) -> Keep:
        """Draw the masks of a layer, for these sequences."""
        if self._masks is None:
            return Keep(None, None, None)
        return Keep(*(self._masks.rows(3 * layer + place, self._rows) for place in range(3)))

    def _layer(self, parameters: BertLayerParameters, x: Array, keep: Keep) -> _Tape:
        """Run one layer."""
        looked, config = parameters.attention.self, self._config
        query, key, value = (
            self._split(_dense(x, part)) for part in (looked.query, looked.key, looked.value)
        )
        probs = query @ key.swapaxes(-1, -2)  # (B, A, T, T)
        probs *= 1.0 / math.sqrt(query.shape[-1])
        if self._bias is not None:
            probs += self._bias
        self._softmax(probs)
        weights = _dropped(probs, keep.probs, config.attention_probs_dropout_prob)
        context = self._merge(weights @ value)
        p, eps = config.attention_output_dropout_prob, config.layer_norm_eps
        output = parameters.attention.output
        total = _dropped(_dense(context, output.dense), _rows(keep.attention), p)
        attended = _normalize(np.add(total, x), output.LayerNorm, eps)
        inner = _dense(attended.output, parameters.intermediate.dense)
        activated, slope = activate(config.activation, inner)
        p = config.hidden_dropout_prob
        total = _dropped(_dense(activated, parameters.output.dense), _rows(keep.output), p)
        total = np.add(total, attended.output)
        narrowed = _normalize(total, parameters.output.LayerNorm, eps)
        return _Tape(
            x, query, key, value, probs, context, attended, slope, activated, narrowed, keep
        )

    def _layer_backward(
        self, parameters: BertLayerParameters, tape: _Tape, grad: Array
    ) -> tuple[Array, dict[str, Array]]:
        """Go back through one layer."""
        found: dict[str, Array] = {}
        p, weights = self._config.hidden_dropout_prob, parameters.attention
        total = _norm_backward(grad, tape.narrowed, parameters.output.LayerNorm, "output", found)
        dense = _dropped(total, _rows(tape.keep.output), p)
        inner = _dense_backward(
            dense, tape.activated, parameters.output.dense, "output.dense", found
        )
        inner *= tape.slope
        wide = parameters.intermediate.dense
        total += _dense_backward(inner, tape.attended.output, wide, "intermediate.dense", found)
        name = "attention.output"
        total = _norm_backward(total, tape.attended, weights.output.LayerNorm, name, found)
        p = self._config.attention_output_dropout_prob
        dense = _dropped(total, _rows(tape.keep.attention), p)
        context = _dense_backward(dense, tape.context, weights.output.dense, f"{name}.dense", found)
        for part, back in zip(
            ("query", "key", "value"), self._attention_backward(context, tape), strict=True
        ):
            own, name = getattr(weights.self, part), f"attention.self.{part}"
            total += _dense_backward(self._merge(back), tape.hidden, own, name, found)
        return total, found

    def _attention_backward(self, grad: Array, tape: _Tape) -> tuple[Array, Array, Array]:
        """Go back through softmax(q k^T / sqrt(D)) v, head by head."""
        p = self._config.attention_probs_dropout_prob
        back, keep = self._split(grad), tape.keep.probs
        value = _dropped(tape.probs, keep, p).swapaxes(-1, -2) @ back
        probs = _dropped(back @ tape.value.swapaxes(-1, -2), keep, p)  # (B, A, T, T)
        probs -= np.einsum("bats,bats->bat", probs, tape.probs)[..., np.newaxis]
        probs *= tape.probs
        if self._mask is not None:  # a masked score is a constant, also where all are
            np.copyto(probs, np.float32(0.0), where=~self._mask[:, np.newaxis, np.newaxis])
        if self.bias_gradient is not None:
            self.bias_gradient += probs.sum(axis=0)
        probs *= 1.0 / math.sqrt(tape.query.shape[-1])
        return probs @ tape.key, probs.swapaxes(-1, -2) @ tape.query, value

    def _softmax(self, scores: Array) -> None:
        """Turn scores into weights, in place."""
        if self._mask is not None:
            least = np.finfo(np.float32).min
            np.copyto(scores, least, where=~self._mask[:, np.newaxis, np.newaxis])
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)

    def _split(self, x: Array) -> Array:
        """Turn (B * T, H) into (B, A, T, D)."""
        heads = self._config.num_attention_heads
        return x.reshape(self.batch, self._length, heads, -1).swapaxes(1, 2)

    def _merge(self, x: Array) -> Array:
        """Turn (B, A, T, D) into (B * T, H)."""
        return x.swapaxes(1, 2).reshape(-1, self._features)


def _dense(x: Array, parameters: LinearParameters) -> Array:
    """Return x W^T + b."""
    found: Array = x @ parameters.weight.T
    found += parameters.bias
    return found


def _dense_backward(
    grad: Array, x: Array, parameters: LinearParameters, name: str, found: dict[str, Array]
) -> Array:
    """Keep the gradients of a dense layer, and return its input's."""
    found[f"{name}.weight"] = grad.T @ x
    found[f"{name}.bias"] = grad.sum(axis=0)
    back: Array = grad @ parameters.weight
    return back


def _normalize(x: Array, parameters: LayerNormParameters, eps: float) -> _Norm:
    """Normalize rows, which are overwritten."""
    x -= x.mean(axis=-1, keepdims=True)
    x -= x.mean(axis=-1, keepdims=True)  # what rounding left of the first
    variance = np.einsum("nh,nh->n", x, x)[:, np.newaxis] / np.float32(x.shape[-1])
    rstd = 1.0 / np.sqrt(variance + np.float32(eps))
    x *= rstd
    output = x * parameters.weight
    output += parameters.bias
    return _Norm(x, rstd, output)


def _norm_backward(
    grad: Array, norm: _Norm, parameters: LayerNormParameters, name: str, found: dict[str, Array]
) -> Array:
    """Keep the gradients of LayerNorm, and return its input's."""
    found[f"{name}.LayerNorm.weight"] = np.einsum("nh,nh->h", grad, norm.normalized)
    found[f"{name}.LayerNorm.bias"] = grad.sum(axis=0)
    back = grad * parameters.weight
    along = np.einsum("nh,nh->n", back, norm.normalized)[:, np.newaxis] / np.float32(back.shape[-1])
    back -= back.mean(axis=-1, keepdims=True)
    back -= norm.normalized * along
    back *= norm.rstd
    return back


def _dropped(x: Array, keep: BoolArray | None, p: float) -> Array:
    """Return x under a mask, scaled; x itself where there is none."""
    if keep is None:
        return x
    found: Array = x * keep
    if p < 1.0:  # else nothing is kept
        found *= np.float32(1.0) / np.float32(1.0 - p)
    return found


def _rows(keep: BoolArray | None) -> BoolArray | None:
    return None if keep is None else keep.reshape(-1, keep.shape[-1])
