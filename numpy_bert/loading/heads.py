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
from numpy_bert.loading.weights import (
    CODES,
    LoadingInfo,
    check_tied,
    complaint,
    misfits_of,
)
from numpy_bert.parameters import TIED

__all__ = ["check_head"]


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
        If the head or its pooler is not there, a tensor of it is missing or of the wrong shape, or
        a tensor that is tied in BERT is stored a second time with other values.
    """
    tensors, label = checkpoint.tensors, checkpoint.label
    missing = [key for key in head if key not in tensors]
    if len(missing) == len(head):
        name = _module(head)
        raise CheckpointError(
            f"{label}: has no {name} ({', '.join(head)}): it was not trained for this task. Name a "
            "checkpoint that was; BertModel loads this one without a head."
        )
    misfits = misfits_of(tensors, head)
    if missing or misfits:
        raise CheckpointError(complaint(tensors, config, missing, misfits, label, head))
    if pools and info.missing_keys:
        raise CheckpointError(
            f"{label}: has no pooler ({', '.join(info.missing_keys)}), which the head of this "
            "task reads."
        )
    used = {*head, *(copy for copy, original in TIED.items() if _reads(head, original))}
    if used & TIED.keys():
        check_tied(checkpoint)
    names = {tensors[key].name for key in used if key in tensors}
    return replace(
        info,
        unexpected_keys=tuple(name for name in info.unexpected_keys if name not in names),
        cast=info.cast
        + tuple(
            (key, tensors[key].dtype, dtype.name)
            for key in head
            if tensors[key].dtype != CODES[dtype.name]
        ),
    )


def _reads(head: Mapping[str, object], original: str) -> bool:
    """Whether a head uses a tensor that others are tied to; its decoder is the word table."""
    return original in head or (
        original == "embeddings.word_embeddings.weight" and "cls.predictions.bias" in head
    )


def _module(keys: Collection[str]) -> str:
    """Return the path of the module that all these keys are in."""
    columns = zip(*(key.split(".") for key in keys), strict=False)
    return ".".join(names[0] for names in takewhile(lambda names: len(set(names)) == 1, columns))
