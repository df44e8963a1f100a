"""From a name to parameters: what every ``from_pretrained`` does."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np

from numpy_bert.arguments import check_switches
from numpy_bert.arrays import StoredArray
from numpy_bert.config import BertConfig, StatedConfig, read_config
from numpy_bert.errors import CheckpointError, ConfigError, InputError
from numpy_bert.files import is_listed
from numpy_bert.loading.cache import MODEL_FILES
from numpy_bert.loading.checkpoint import Checkpoint, open_checkpoint
from numpy_bert.loading.hub import find
from numpy_bert.loading.modules import bert_folder, cross_encoder_settings
from numpy_bert.loading.tensors import (
    LoadingInfo,
    check_head,
    check_weights,
    embedding_shapes,
    read_table,
    read_weight,
    settle,
)
from numpy_bert.messages import quoted
from numpy_bert.model.fresh import new_head
from numpy_bert.parameters import BertParameters, build, label_key, shapes
from numpy_bert.reprs import short_repr

if TYPE_CHECKING:
    from numpy_bert.model.heads import Head

__all__ = ["AskedHead", "Loaded", "LoadedHead", "load", "load_head"]

Accepted = TypeVar("Accepted")


class AskedHead(NamedTuple):
    """What the head is to be, where the checkpoint has none or other names for its labels."""

    num_labels: int | None = None
    id2label: Mapping[int, str] | None = None
    label2id: Mapping[str, int] | None = None
    problem_type: str | None = None
    seed: int | None = None

    @property
    def labels(self) -> dict[str, Any]:
        """What is said about the labels, by transformers' names."""
        names = ("num_labels", "id2label", "label2id")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @property
    def is_new(self) -> bool:
        """Whether a head that the checkpoint has not is to be made."""
        return bool(self.labels) or self.seed is not None


class Loaded(NamedTuple):
    """A checkpoint, loaded: its folder, what a model is made of, and which class its names tell."""

    folder: Path
    config: BertConfig
    parameters: BertParameters
    info: LoadingInfo
    encoder: str = ""

    def __repr__(self) -> str:
        return short_repr(self)


class LoadedHead(NamedTuple):
    """A checkpoint, loaded with the head of a task: its parameters."""

    model: Loaded
    head: Any

    def __repr__(self) -> str:
        return short_repr(self)


def load(
    name_or_path: str | Path,
    accept: Callable[[BertConfig, str], object],
    *,
    dtype: np.dtype[Any],
    mmap: bool,
    only: Literal["embeddings"] | None = None,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: bool | str | None = False,
) -> Loaded:
    """Find, check and read a checkpoint; see `BertModel.from_pretrained`.

    `accept` is called with its config and where that is from, and raises ConfigError where it is
    another class's.
    """
    folder, stated, checkpoint, _ = _open(
        name_or_path,
        accept,
        revision=revision,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        token=token,
        only=only,
    )
    config, info = stated.config, _check(checkpoint, stated, dtype, only=only)
    parameters = _build(checkpoint, config, info, dtype, mmap=mmap, only=only)
    return Loaded(folder, config, parameters, info, _encoder(checkpoint, config))


def load_head(
    name_or_path: str | Path,
    accept: Callable[[BertConfig, str], Head],
    asked: AskedHead,
    *,
    dtype: np.dtype[Any],
    mmap: bool,
    **source: Any,
) -> LoadedHead:
    """Find, check and read a checkpoint with a head, or start the head that is asked for.

    Parameters
    ----------
    name_or_path, accept, dtype, mmap, **source
        The arguments of `load`, which does the rest; `only` is not among them. `accept` returns
        what the head is. If it reads the pooler, that must be there.
    asked : AskedHead
        What it is to be. If this says anything, and nothing of the head is there, it is new.
    """
    folder, stated, checkpoint, kind = _open(name_or_path, accept, **source)
    tree = kind.parameters
    odd = len(checkpoint.notes)
    if kind.decoder:
        checkpoint, config = settle(checkpoint, stated.config)
        stated = stated._replace(config=config)
    info = _check(checkpoint, stated, dtype)
    config, notes = _labelled(folder, stated, checkpoint, label_key(tree, stated.config), asked)
    config, info = _activated(folder, config), replace(info, notes=(*info.notes, *notes))
    pools, found = "pooled" in kind.reads, checkpoint.tensors
    head_shapes = shapes(tree, config)  # type: ignore[arg-type]
    new = asked.is_new and found.keys().isdisjoint(head_shapes)
    info = check_head(checkpoint, config, dtype, head_shapes, info, pools=pools, new=new)
    for sentence in checkpoint.notes[odd:]:
        warnings.warn(f"{checkpoint.label}: {sentence}", stacklevel=3)
    parameters = _build(checkpoint, config, info, dtype, mmap=mmap)
    if new:
        head, parameters = new_head(kind, config, parameters, asked.seed or 0)
        names = [key for key in info.missing_keys if pools or key in head_shapes]
        warnings.warn(
            f"{checkpoint.label}: newly initialized, because the checkpoint has none: "
            f"{', '.join(names)}. Train the model before you use it.",
            stacklevel=3,
        )
        return LoadedHead(Loaded(folder, config, parameters, info), head)

    def get(key: str) -> StoredArray:
        if key not in found:  # that may be missing: as transformers starts it
            return np.zeros(head_shapes[key], dtype)
        return read_weight(found[key], dtype, mapped=mmap)

    head = build(tree, config, get, "")
    return LoadedHead(Loaded(folder, config, parameters, info), head)


def _open(
    name_or_path: str | Path,
    accept: Callable[[BertConfig, str], Accepted],
    *,
    only: Literal["embeddings"] | None = None,
    **source: Any,
) -> tuple[Path, StatedConfig, Checkpoint, Accepted]:
    """Find a checkpoint and read its config and headers; return what it is accepted as, too."""
    folder = find(name_or_path, needs=MODEL_FILES, only=only, **source)
    if not is_listed(folder / "config.json") and (inner := bert_folder(folder)):
        raise CheckpointError(
            f"{folder} is a sentence model, with its BERT in {inner}. SentenceEncoder reads both; "
            f"for the BERT alone name {folder / inner}."
        )
    path = folder / "config.json"
    stated = read_config(path)
    accepted = accept(stated.config, str(path))
    return folder, stated, open_checkpoint(folder, stated.config.architecture), accepted


def _encoder(checkpoint: Checkpoint, config: BertConfig) -> str:
    """Return which of the architecture's encoders the tensors are of by their names; "" for any."""
    for name, prefix in config.architecture.encoders.items():
        outer = prefix[: prefix.index(".") + 1]
        if any(tensor.name.startswith(outer) for tensor in checkpoint.tensors.values()):
            return name
    return ""


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
    folder: Path, stated: StatedConfig, checkpoint: Checkpoint, key: str | None, asked: AskedHead
) -> tuple[BertConfig, tuple[str, ...]]:
    """Return the config with a name for each row of a classifier, and notes on the names.

    `key` is that of the weight with a row for each label, if the head has one.
    """
    if key is None:
        if asked.labels or asked.problem_type is not None:
            named = ", ".join([*asked.labels, *(["problem_type"] if asked.problem_type else [])])
            raise InputError(
                f"{named}: this head has no labels of its own. Leave that out; seed=0 asks for a "
                "new head."
            )
        return stated.config, ()
    weight = checkpoint.tensors.get(key)
    problem = asked.problem_type or stated.labels.problem_type
    if weight is None or len(weight.shape) != 2 or weight.shape[0] == 0:  # new, or refused for that
        wanted = asked.labels | ({} if asked.problem_type is None else {"problem_type": problem})
        return replace(stated.config, **wanted), ()
    rows = weight.shape[0]
    if asked.labels:
        labels = replace(stated.config, problem_type=None, **asked.labels).labels
        if len(labels) != rows:
            raise CheckpointError(
                f"{checkpoint.label}: {quoted(weight.name)} has {rows} rows, and num_labels = "
                f"{len(labels)} is asked for. Leave that out to read this head; "
                "numpy_bert.training.new_classifier puts a new one over the BertModel."
            )
        return replace(stated.config, labels=labels, problem_type=problem), ()
    try:
        labels, notes = stated.labels.fitted(rows)
        return replace(stated.config, labels=labels, problem_type=problem), notes
    except ConfigError as failure:
        raise ConfigError(f"{folder / 'config.json'}: {failure}") from None


def _activated(folder: Path, config: BertConfig) -> BertConfig:
    """Return the config with what the settings of a cross-encoder name, which count first."""
    settings = cross_encoder_settings(folder, error=ConfigError) or {}
    name, stated = settings.get("activation_fn"), config.sbert_ce_default_activation_function
    if not isinstance(name, str) or (stated is not None and not name.startswith("torch.")):
        return config
    return replace(config, sbert_ce_default_activation_function=name)


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
    check_switches(mmap=mmap)

    def get(key: str) -> StoredArray:
        read = read_table if key.endswith("_embeddings.weight") else read_weight
        return read(checkpoint.tensors[key], dtype, mapped=mmap)

    whole = embedding_shapes(config) if only else shapes(BertParameters, config)
    keys = whole.keys() - set(info.missing_keys)
    return build(BertParameters, config, get, "", keys)
