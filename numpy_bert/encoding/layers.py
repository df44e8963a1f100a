"""A weighted mean of the layers' hidden states, as sentence-transformers stores its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from numpy_bert.arrays import Array, IntArray
from numpy_bert.encoding.dense import read_weights
from numpy_bert.encoding.members import bad_member, check_known
from numpy_bert.errors import ConfigError
from numpy_bert.files import read_json
from numpy_bert.loading.checkpoint import SINGLE
from numpy_bert.model.bert import BertModel

__all__ = ["WeightedLayerPooling", "read_layer_pooling"]

_WIDTHS = ("embedding_dimension", "word_embedding_dimension")
# sentence-transformers' own, where the file does not state them.
_DEFAULTS = {"num_hidden_layers": 12, "layer_start": 4}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class WeightedLayerPooling:
    """What takes the place of the last hidden state.

    Attributes
    ----------
    start : int
        The first of the hidden states that count; 0 is the embedding's.
    weight : ndarray of shape (n,)
        Of each from there to the last.
    """

    start: int
    weight: Array

    def __call__(self, states: Sequence[Array]) -> Array:
        """Return the mean of the states, from the embedding's to the last layer's."""
        output = np.zeros_like(states[-1])
        for weight, state in zip(self.weight, states[self.start :], strict=True):
            output += weight * state
        output /= self.weight.sum()
        return output

    def packed(self, model: BertModel, ids: IntArray, lengths: IntArray) -> Array:
        """Return the mean for each token, (N, H), of texts that stand one after another."""
        mask = np.arange(lengths.max(initial=0)) < lengths[:, np.newaxis]  # (B, T)
        padded = np.zeros(mask.shape, ids.dtype)
        padded[mask] = ids
        states = model(padded, mask, output_hidden_states=True).hidden_states
        assert states is not None
        with np.errstate(all="ignore"):
            return self([state[mask] for state in states])


def read_layer_pooling(
    folder: Path, model: BertModel, dtype: np.dtype[Any], *, mapped: bool
) -> WeightedLayerPooling:
    """Read the weights of a folder: config.json and model.safetensors.

    Raises
    ------
    ConfigError
        If a member is unknown, or does not fit the model.
    CheckpointError
        If the weights are pickled, or do not fit the config.

    References
    ----------
    .. [1] sentence-transformers, sentence_transformer/modules/weighted_layer_pooling.py.
    """
    path = folder / "config.json"
    stated = read_json(path, error=ConfigError)
    check_known(path, stated, (*_WIDTHS, *_DEFAULTS), "WeightedLayerPooling")
    config = {**_DEFAULTS, **stated}
    layers, start = config["num_hidden_layers"], config["layer_start"]
    own = model.config.num_hidden_layers
    if type(layers) is not int or layers != own:
        raise bad_member(path, "num_hidden_layers", layers, f"{own}, as the model has,")
    if type(start) is not int or not 0 <= start <= layers:
        raise bad_member(path, "layer_start", start, f"a number from 0 to {layers}")
    needed = {"layer_weights": (layers + 1 - start,)}
    weights = read_weights(folder / SINGLE, needed, dtype, mapped=mapped)
    return WeightedLayerPooling(start=start, weight=weights["layer_weights"])
