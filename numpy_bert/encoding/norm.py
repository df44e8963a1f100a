"""LayerNorm of a text's vector, as sentence-transformers stores it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.encoding.dense import read_weights
from numpy_bert.encoding.members import as_features, check_known
from numpy_bert.errors import ConfigError
from numpy_bert.files import read_json
from numpy_bert.loading.checkpoint import SINGLE
from numpy_bert.ops.layer_norm import layer_norm

__all__ = ["LayerNorm", "read_layer_norm"]

# torch.nn.LayerNorm's own, which the files do not state.
_EPS = 1e-5


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LayerNorm:
    """Vectors brought to mean 0 and variance 1, then scaled and shifted.

    Attributes
    ----------
    weight, bias : ndarray of shape (in,)
        Scale and shift of each feature.
    """

    weight: Array
    bias: Array

    @property
    def in_features(self) -> int:
        """Length of the vectors that it takes."""
        return len(self.weight)

    @property
    def out_features(self) -> int:
        """Length of the vectors that it makes."""
        return len(self.weight)

    def __call__(self, vectors: Array) -> Array:
        """Apply the layer to vectors of shape (B, in)."""
        return layer_norm(vectors, self.weight, self.bias, eps=_EPS).output


def read_layer_norm(folder: Path, dtype: np.dtype[Any], *, mapped: bool) -> LayerNorm:
    """Read the LayerNorm of a folder: config.json and model.safetensors.

    Raises
    ------
    ConfigError
        If config.json says anything but the number of features.
    CheckpointError
        If the weights are pickled, or do not fit the config.

    References
    ----------
    .. [1] sentence-transformers, sentence_transformer/modules/layer_norm.py.
    """
    path = folder / "config.json"
    stated = read_json(path, error=ConfigError)
    check_known(path, stated, ("dimension",), "LayerNorm")
    size = as_features(path, "dimension", stated.get("dimension"))
    needed = {"norm.weight": (size,), "norm.bias": (size,)}
    weights = read_weights(folder / SINGLE, needed, dtype, mapped=mapped)
    return LayerNorm(weight=weights["norm.weight"], bias=weights["norm.bias"])
