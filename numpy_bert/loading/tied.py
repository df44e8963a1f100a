"""Which tensor a decoder is: tied tensors under either name, or two that differ, as stored.

As transformers 5 settles it: of two names that are tied, the one that is stored stands for both;
two that are stored and differ are not tied, whatever config.json says.

References
----------
.. [1] transformers, modeling_utils.py, PreTrainedModel.tie_weights.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from numpy_bert.config import BertConfig
from numpy_bert.loading.checkpoint import Checkpoint
from numpy_bert.loading.stored import StoredTensor
from numpy_bert.messages import quoted
from numpy_bert.parameters import TIED

__all__ = ["differences", "settle"]

_DECODER, _DECODER_BIAS = TIED
_BIAS = TIED[_DECODER_BIAS]


def settle(checkpoint: Checkpoint, config: BertConfig) -> tuple[Checkpoint, BertConfig]:
    """Return a checkpoint and a config that agree on which tensor a decoder is.

    Reads both tensors of a pair that is tied and stored twice.

    Parameters
    ----------
    checkpoint : Checkpoint
        Of a model that predicts words.
    config : BertConfig
        What its config.json says.

    Returns
    -------
    Checkpoint
        Without the second names of what is tied: a tensor that is stored under its second name
        alone stands under its first. Where two differ a note says so.
    BertConfig
        With ``tie_word_embeddings`` false where the decoder is a tensor of its own.
    """
    if not config.tie_word_embeddings:
        return checkpoint, config
    tensors, differing = dict(checkpoint.tensors), differences(checkpoint, config)
    if _DECODER in differing:
        config = replace(config, tie_word_embeddings=False)
        for name, other in ((_BIAS, _DECODER_BIAS), (_DECODER_BIAS, _BIAS)):
            if other in tensors:
                tensors.setdefault(name, tensors[other])
    else:
        for copy, original in TIED.items():
            if copy in tensors:  # which is the one that transformers reads
                tensors[original] = tensors.pop(copy)
    notes = (*checkpoint.notes, *differing.values())
    return replace(checkpoint, tensors=tensors, notes=notes), config


def differences(checkpoint: Checkpoint, config: BertConfig) -> dict[str, str]:
    """Describe each pair of tensors that config.json ties and that differ, by its second name."""
    tensors = checkpoint.tensors
    return {
        copy: (
            f"{quoted(tensors[copy].name)} and {quoted(tensors[original].name)} differ, though "
            "config.json ties them (tie_word_embeddings is true or not there); the former is the "
            "decoder's, as in transformers."
        )
        for copy, original in TIED.items()
        if config.tie_word_embeddings and {copy, original} <= tensors.keys()
        if not _are_equal(tensors[copy], tensors[original])
    }


def _are_equal(one: StoredTensor, other: StoredTensor) -> bool:
    """Tell whether two tensors hold the same values, in whatever dtypes."""
    return one.shape == other.shape and np.array_equal(
        one.read(mapped=True), other.read(mapped=True), equal_nan=True
    )
