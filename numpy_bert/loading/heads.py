"""The tensors of a task's head: all there, of the right shapes, or refused by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import takewhile
from typing import Any

import numpy as np

from numpy_bert.config import BertConfig
from numpy_bert.errors import CheckpointError
from numpy_bert.loading.checkpoint import Checkpoint
from numpy_bert.loading.keys import canonical
from numpy_bert.loading.weights import (
    CODES,
    LoadingInfo,
    complaint,
    misfits_of,
)
from numpy_bert.messages import quoted

__all__ = ["check_head"]

# A decoder of its own has a bias of its own; this one is then stored, and read by nobody.
_UNREAD, _READ = "cls.predictions.bias", "cls.predictions.decoder.bias"


def check_head(
    checkpoint: Checkpoint,
    config: BertConfig,
    dtype: np.dtype[Any],
    head: Mapping[str, tuple[int, ...]],
    info: LoadingInfo,
    *,
    pools: bool,
) -> LoadingInfo:
    """Check that a checkpoint whose BertModel is whole has a head too.

    Parameters
    ----------
    checkpoint, config, dtype
        As in `check_weights`, which comes first.
    head : mapping of str to tuple of int
        The head's keys and shapes.
    info : LoadingInfo
        What `check_weights` found.
    pools : bool
        Whether the head reads the pooler.

    Returns
    -------
    LoadingInfo
        `info` with the head's tensors taken for what they are.

    Raises
    ------
    CheckpointError
        If the head or its pooler is not there, or a tensor of it is missing or of the wrong shape.
    """
    tensors, label = checkpoint.tensors, checkpoint.label
    lacked = [key for key in head if key not in tensors]
    missing = [key for key in lacked if key != _UNREAD or _READ not in head]
    if len(lacked) == len(head):
        name = _module(head)
        apart = [tensor.name for tensor in tensors.values() if canonical(tensor.name) in head]
        why = "it was not trained for this task. Name a checkpoint that was"
        if apart:
            why = (
                f"{quoted(apart[0])} stands outside the prefix that the BERT's tensors have, so "
                "nobody knows what it reads. Give all tensors one prefix, or none"
            )
        raise CheckpointError(
            f"{label}: has no {name} ({', '.join(head)}): {why}; BertModel loads this one without "
            "a head."
        )
    misfits = misfits_of(tensors, head)
    if missing or misfits:
        raise CheckpointError(complaint(tensors, config, missing, misfits, label, head))
    if pools and info.missing_keys:
        raise CheckpointError(
            f"{label}: has no pooler ({', '.join(info.missing_keys)}), which the head of this "
            "task reads."
        )
    found = [key for key in head if key in tensors]
    names = {tensors[key].name for key in found}
    return replace(
        info,
        missing_keys=(*info.missing_keys, *lacked),
        unexpected_keys=tuple(name for name in info.unexpected_keys if name not in names),
        cast=info.cast
        + tuple(
            (key, tensors[key].dtype, dtype.name)
            for key in found
            if tensors[key].dtype != CODES[dtype.name]
        ),
    )


def _module(keys: Collection[str]) -> str:
    """Return the path of the module that all these keys are in."""
    columns = zip(*(key.split(".") for key in keys), strict=False)
    return ".".join(names[0] for names in takewhile(lambda names: len(set(names)) == 1, columns))
