"""From a name to parameters: what every ``from_pretrained`` does."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from numpy_bert.arrays import StoredArray
from numpy_bert.config import BertConfig, StatedConfig, read_config
from numpy_bert.errors import CheckpointError, ConfigError
from numpy_bert.loading.cache import MODEL_FILES
from numpy_bert.loading.checkpoint import Checkpoint, open_checkpoint
from numpy_bert.loading.header import Entry
from numpy_bert.loading.hub import find
from numpy_bert.loading.modules import bert_folder
from numpy_bert.loading.tensors import (
    LoadingInfo,
    check_head,
    check_weights,
    embedding_shapes,
    read_table,
    read_weight,
    settle,
)
from numpy_bert.parameters import (
    BertParameters,
    build,
    label_key,
    shapes,
)

if TYPE_CHECKING:
    from numpy_bert.model.heads import Head

__all__ = ["Loaded", "LoadedHead", "load", "load_head"]


class Loaded(NamedTuple):
    """A checkpoint, loaded: its folder, and what a model is made of."""

    folder: Path
    config: BertConfig
    parameters: BertParameters
    info: LoadingInfo


class LoadedHead(NamedTuple):
    """A checkpoint, loaded with the head of a task: its parameters."""

    model: Loaded
    head: Any


def load(
    name_or_path: str | Path,
    *,
    dtype: np.dtype[Any],
    mmap: bool,
    only: Literal["embeddings"] | None = None,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: bool | str | None = False,
) -> Loaded:
    """Find, check and read a checkpoint; see `BertModel.from_pretrained`."""
    folder, stated, checkpoint = _open(
        name_or_path,
        revision=revision,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        token=token,
        only=only,
    )
    config, info = stated.config, _check(checkpoint, stated, dtype, only=only)
    parameters = _build(checkpoint, config, info, dtype, mmap=mmap, only=only)
    return Loaded(folder, config, parameters, info)


def load_head(
    name_or_path: str | Path,
    kind: Head,
    *,
    dtype: np.dtype[Any],
    mmap: bool,
    **source: Any,
) -> LoadedHead:
    """Find, check and read a checkpoint with a head.

    Parameters
    ----------
    name_or_path, dtype, mmap, **source
        The arguments of `load`, which does the rest; `only` is not among them.
    kind : Head
        What the head is. If it reads the pooler, that must be there.
    """
    tree = kind.parameters
    folder, stated, checkpoint = _open(name_or_path, **source)
    odd = len(checkpoint.notes)
    if kind.decoder:
        checkpoint, config = settle(checkpoint, stated.config)
        stated = stated._replace(config=config)
    config, info = stated.config, _check(checkpoint, stated, dtype)
    key = label_key(tree, config)
    if key is not None:
        config, notes = _labelled(folder, stated, checkpoint.tensors.get(key))
        info = replace(info, notes=(*info.notes, *notes))
    pools = "pooled" in kind.reads
    head_shapes = shapes(tree, config)  # type: ignore[arg-type]
    info = check_head(checkpoint, config, dtype, head_shapes, info, pools=pools)
    for sentence in checkpoint.notes[odd:]:
        warnings.warn(f"{checkpoint.label}: {sentence}", stacklevel=3)

    def get(key: str) -> StoredArray:
        if key not in checkpoint.tensors:  # that may be missing: as transformers starts it
            return np.zeros(head_shapes[key], dtype)
        return read_weight(checkpoint.tensors[key], dtype, mapped=mmap)

    head = build(tree, config, get, "")
    parameters = _build(checkpoint, config, info, dtype, mmap=mmap)
    return LoadedHead(Loaded(folder, config, parameters, info), head)


def _open(
    name_or_path: str | Path,
    *,
    only: Literal["embeddings"] | None = None,
    **source: Any,
) -> tuple[Path, StatedConfig, Checkpoint]:
    """Find a checkpoint and read its config and headers."""
    folder = find(name_or_path, needs=MODEL_FILES, only=only, **source)
    if not (folder / "config.json").exists() and (inner := bert_folder(folder)):
        raise CheckpointError(
            f"{folder} is a sentence model, with its BERT in {inner}. SentenceEncoder reads both; "
            f"for the BERT alone name {folder / inner}."
        )
    return folder, read_config(folder / "config.json"), open_checkpoint(folder)


def _check(
    checkpoint: Checkpoint,
    stated: StatedConfig,
    dtype: np.dtype[Any],
    *,
    only: Literal["embeddings"] | None = None,
) -> LoadingInfo:
    """Check a checkpoint against the config's sizes, those that it does not state included."""
    try:
        info = check_weights(checkpoint, stated.config, dtype, only=only, code=stated.code)
    except CheckpointError as failure:
        if not stated.defaults:
            raise
        raise CheckpointError("\n  ".join([str(failure), *stated.notes])) from None
    if "num_hidden_layers" in stated.defaults and only is None:
        layers = stated.config.num_hidden_layers
        found = (re.match(r"encoder\.layer\.([0-9]{1,9})\.", key) for key in checkpoint.tensors)
        most = max(1 + int(match[1]) for match in found if match)
        if most > layers:
            raise CheckpointError(
                f"{checkpoint.label}: has {most} layers; config.json does not state "
                f"num_hidden_layers, by which {layers} are meant. Write the number there."
            )
    return replace(info, notes=(*stated.notes, *info.notes))


def _labelled(
    folder: Path, stated: StatedConfig, weight: Entry | None
) -> tuple[BertConfig, tuple[str, ...]]:
    """Return the config with a name for each row of a classifier, and notes on the names."""
    if weight is None or len(weight.shape) != 2 or weight.shape[0] == 0:
        return stated.config, ()  # which is refused for that
    try:
        labels, notes = stated.labels.fitted(weight.shape[0])
        problem = stated.labels.problem_type
        return replace(stated.config, labels=labels, problem_type=problem), notes
    except ConfigError as failure:
        raise ConfigError(f"{folder / 'config.json'}: {failure}") from None


def _build(
    checkpoint: Checkpoint,
    config: BertConfig,
    info: LoadingInfo,
    dtype: np.dtype[Any],
    *,
    mmap: bool,
    only: Literal["embeddings"] | None = None,
) -> BertParameters:
    """Read a checked BertModel, or the part of it that was asked for."""

    def get(key: str) -> StoredArray:
        read = read_table if key.endswith("_embeddings.weight") else read_weight
        return read(checkpoint.tensors[key], dtype, mapped=mmap)

    whole = embedding_shapes(config) if only else shapes(BertParameters, config)
    keys = whole.keys() - set(info.missing_keys)
    return build(BertParameters, config, get, "", keys)
