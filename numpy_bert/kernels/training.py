"""The encoder forward and backward in float32, for training: large products, passes in place.

The twin of `numpy_bert.blocks.encoder`, which is the specification; it draws dropout's masks in the
order in which that does, so that the two can be compared under one generator. Each thread takes its
share of the sequences through all layers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.config import BertConfig
from numpy_bert.kernels.distances import DistanceBias
from numpy_bert.kernels.masks import Drawn, MaskStream
from numpy_bert.kernels.threads import get_num_threads, one_blas_thread, share
from numpy_bert.kernels.training_part import Part
from numpy_bert.ops.relative_position import relative_attention_bias_backward
from numpy_bert.parameters import (
    BertAttentionParameters,
    BertEncoderParameters,
    BertIntermediateParameters,
    BertLayerParameters,
    BertOutputParameters,
    BertSelfAttentionParameters,
    BertSelfOutputParameters,
    EmbeddingParameters,
    LayerNormParameters,
    LinearParameters,
)

__all__ = ["EncoderTraining"]


class EncoderTraining:
    """One step's encoder: `forward` once, then `backward` once.

    Parameters
    ----------
    parameters : BertEncoderParameters
        Of all layers, float32.
    config : BertConfig
        Heads, activation, epsilon and dropout's probabilities.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> model = BertModel.from_pretrained("demo")
    >>> training = EncoderTraining(model.parameters.encoder, model.config)
    >>> output = training.forward(model.embeddings([[2, 5, 3]]), None, None)
    >>> gradients, hidden = training.backward(np.ones_like(output))
    >>> gradients.layer[1].output.dense.weight.shape, hidden.shape
    ((128, 512), (1, 3, 128))
    """

    def __init__(self, parameters: BertEncoderParameters, config: BertConfig) -> None:
        self._parameters, self._config = parameters, config
        self._parts: list[Part] = []

    def forward(
        self, hidden: Array, mask: BoolArray | None, rng: np.random.Generator | None
    ) -> Array:
        """Return the last layer's output, (B, T, H); arguments as of `blocks.encoder.encoder`."""
        masks = None if rng is None else MaskStream(rng, self._masks(hidden.shape))
        with one_blas_thread() as is_held:
            count = min(get_num_threads(), len(hidden)) if is_held else 1
            self._parts = self._cut(hidden, mask, masks, max(count, 1))
            share(Part.forward, self._parts)
        return np.concatenate([part.output for part in self._parts])

    def _cut(
        self, hidden: Array, mask: BoolArray | None, masks: MaskStream | None, count: int
    ) -> list[Part]:
        """Share the sequences out among so many threads."""
        edges = np.linspace(0, len(hidden), count + 1).astype(int).tolist()
        table = self._parameters.relative_attention_bias
        bias = None if table is None else DistanceBias(table.weight).side_by_side(hidden.shape[1])
        return [
            Part(
                self._parameters,
                self._config,
                hidden[cut],
                None if mask is None else mask[cut],
                masks,
                cut,
                bias,
            )
            for cut in (slice(*pair) for pair in itertools.pairwise(edges))
        ]

    def backward(self, grad: Array) -> tuple[BertEncoderParameters, Array]:
        """Return the gradients of the parameters and of what went in, (B, T, H)."""
        edges = np.cumsum([0, *(part.batch for part in self._parts)]).tolist()
        for part, pair in zip(self._parts, itertools.pairwise(edges), strict=True):
            part.grad = grad[slice(*pair)]
        with one_blas_thread():
            share(Part.backward, self._parts)
        hidden = np.concatenate([part.grad for part in self._parts])
        layers = [
            _sum([part.gradients[number] for part in self._parts])
            for number in range(len(self._parameters.layer))
        ]
        bias = self._bias_gradient()
        self._parts = []
        return BertEncoderParameters(
            layer=tuple(map(_tree, layers)), relative_attention_bias=bias
        ), hidden

    def _bias_gradient(self) -> EmbeddingParameters | None:
        """Return the gradient of what all layers add to their scores, if they add something."""
        table = self._parameters.relative_attention_bias
        if table is None:
            return None
        scores = [part.bias_gradient for part in self._parts if part.bias_gradient is not None]
        added: Array = np.sum(scores, axis=0)  # (A, T, T)
        return EmbeddingParameters(
            weight=relative_attention_bias_backward(added, len(table.weight))
        )

    def _masks(self, shape: tuple[int, ...]) -> list[Drawn]:
        """Return the masks of all layers in the order in which the readable code draws them."""
        batch, length, _ = shape
        config = self._config
        heads = (batch, config.num_attention_heads, length, length)
        masks = [
            Drawn(heads, config.attention_probs_dropout_prob),
            Drawn(shape, config.attention_output_dropout_prob),
            Drawn(shape, config.hidden_dropout_prob),
        ]
        return masks * len(self._parameters.layer)


def _sum(parts: Sequence[dict[str, Array]]) -> dict[str, Array]:
    """Add the gradients of all parts."""
    first, *others = parts
    for part in others:
        for name, array in part.items():
            first[name] += array
    return first


def _tree(found: dict[str, Array]) -> BertLayerParameters:
    """Put a layer's gradients into the parameters' classes."""

    def dense(name: str) -> LinearParameters:
        return LinearParameters(weight=found[f"{name}.weight"], bias=found[f"{name}.bias"])

    def norm(name: str) -> LayerNormParameters:
        place = f"{name}.LayerNorm"
        return LayerNormParameters(weight=found[f"{place}.weight"], bias=found[f"{place}.bias"])

    looked: dict[str, Any] = {
        part: dense(f"attention.self.{part}") for part in ("query", "key", "value")
    }
    name = "attention.output"
    return BertLayerParameters(
        attention=BertAttentionParameters(
            self=BertSelfAttentionParameters(**looked),
            output=BertSelfOutputParameters(dense=dense(f"{name}.dense"), LayerNorm=norm(name)),
        ),
        intermediate=BertIntermediateParameters(dense=dense("intermediate.dense")),
        output=BertOutputParameters(dense=dense("output.dense"), LayerNorm=norm("output")),
    )
