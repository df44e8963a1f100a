"""A folder's weights, single or sharded, as one table of tensors under canonical keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from numpy_bert.architectures import ARCHITECTURES, Architecture
from numpy_bert.errors import CheckpointError
from numpy_bert.files import is_listed, look, read_json, trouble
from numpy_bert.loading.formats import instead_of_safetensors
from numpy_bert.loading.keys import BUFFERS, naming
from numpy_bert.loading.stored import SafetensorsFile, StoredTensor
from numpy_bert.messages import listed, must_be, quoted, shown
from numpy_bert.reprs import short_repr

__all__ = [
    "INDEX",
    "SINGLE",
    "Checkpoint",
    "nothing_found",
    "open_checkpoint",
    "shard_files",
    "shard_names",
]

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

# Room for all names of the most layers that a config may have, twice over.
_LARGEST_INDEX = 4 << 20
# Only files of this very folder: neither a path nor a Windows drive, and no name too long for one.
_PLAIN_NAME = re.compile(r"[^./\\:][^/\\:]{0,60}\.safetensors")
_LONGEST_LIST = 20


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The tensors of a folder by canonical key; no data has been read.

    Attributes
    ----------
    files : tuple of Path
        The safetensors files in use.
    tensors : mapping of str to StoredTensor
        The tensors by canonical key (see `numpy_bert.loading.keys`); each has its own name.
    notes : tuple of str
        What is odd but harmless, as sentences.
    """

    __repr__ = short_repr

    files: tuple[Path, ...]
    tensors: Mapping[str, StoredTensor]
    notes: tuple[str, ...]

    @property
    def label(self) -> str:
        """What messages call the checkpoint: its file, or the folder of its shards."""
        return str(self.files[0] if len(self.files) == 1 else self.files[0].parent)


def open_checkpoint(folder: Path, architecture: Architecture = ARCHITECTURES["bert"]) -> Checkpoint:
    """Open the weights of a folder, which are an architecture's.

    ``model.safetensors`` is used where it exists, as transformers does, else the shards that
    ``model.safetensors.index.json`` lists.

    Raises
    ------
    CheckpointError
        If there are no safetensors, a file is malformed, the index and its shards disagree, two
        tensors with different bytes claim one key, or several BERTs hang under several prefixes.
    """
    notes: list[str] = []
    if is_listed(folder / SINGLE) or not is_listed(folder / INDEX):
        if not is_listed(folder / SINGLE):
            raise CheckpointError(nothing_found(folder))
        file = SafetensorsFile(folder / SINGLE)
        if is_listed(folder / INDEX):
            notes.append(f"{SINGLE} was used; {INDEX} stands beside it and was not.")
        stored = dict(file.tensors)
        files: tuple[Path, ...] = (file.path,)
    else:
        index = _read_index(folder)
        weight_map = _weight_map(folder, index)
        names = _existing_shards(folder, weight_map)
        shards = [SafetensorsFile(folder / name) for name in names]
        files = tuple(shard.path for shard in shards)
        stored = _merge(folder, weight_map, shards, notes)
        notes += _miscounted(index, stored)
    where = str(files[0] if len(files) == 1 else folder)
    tensors = _rename(stored, where, notes, architecture)
    return Checkpoint(files, tensors, tuple(notes))


def shard_names(folder: Path) -> dict[str, str]:
    """Read the index: which tensor lies in which file of this folder.

    Raises
    ------
    CheckpointError
        If the index is no JSON object with a non-empty ``weight_map`` of plain file names.
    """
    return _weight_map(folder, _read_index(folder))


def shard_files(folder: Path) -> list[str]:
    """Return the files that the index lists, each once, in the order of their names."""
    return sorted(set(shard_names(folder).values()))


def _read_index(folder: Path) -> dict[str, Any]:
    return read_json(folder / INDEX, error=CheckpointError, limit=_LARGEST_INDEX)


def _weight_map(folder: Path, index: Mapping[str, Any]) -> dict[str, str]:
    """Return which tensor lies in which file, as an index has it, checked."""
    path, weight_map = folder / INDEX, index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{path}: weight_map is missing, empty or no object.")
    for key, name in weight_map.items():
        if not (isinstance(name, str) and _PLAIN_NAME.fullmatch(name) and name.isprintable()):
            entry = f"{path}: weight_map[{shown(key)}]"
            raise CheckpointError(must_be(entry, "the plain name of a .safetensors file", name))
    return dict(weight_map)


def _existing_shards(folder: Path, weight_map: Mapping[str, str]) -> list[str]:
    """Return the shards that the index lists; all that are missing are named at once."""
    names = sorted(set(weight_map.values()))
    missing = [name for name in names if trouble(folder / name)]
    if missing:
        raise CheckpointError(
            f"{folder / INDEX}: lists shards that are not there: "
            f"{listed(missing, _LONGEST_LIST)}. Download them again."
        )
    return names


def _merge(
    folder: Path, weight_map: Mapping[str, str], shards: list[SafetensorsFile], notes: list[str]
) -> dict[str, StoredTensor]:
    """Put the tensors of all shards into one table, each where the index says."""
    index = folder / INDEX
    by_name = {shard.path.name: shard for shard in shards}
    lost = [key for key, name in weight_map.items() if key not in by_name[name].tensors]
    if lost:
        where = ", ".join(f"{quoted(key)} (in {weight_map[key]})" for key in lost[:_LONGEST_LIST])
        raise CheckpointError(f"{index}: tensors are not in the shard that it names: {where}.")
    merged: dict[str, StoredTensor] = {}
    for shard in shards:
        for key, tensor in shard.tensors.items():
            if key in merged:
                _check_equal(merged[key], tensor, key)
            merged[key] = merged.get(key, tensor)
    unlisted = [key for key in merged if key not in weight_map]
    if unlisted:
        notes.append(
            f"{index.name} does not list {len(unlisted)} tensors that its shards hold, "
            f"{quoted(unlisted[0])} first; they were read all the same."
        )
    return merged


def _miscounted(index: Mapping[str, Any], stored: Mapping[str, StoredTensor]) -> list[str]:
    """Say, in a sentence, where an index states another size than its shards have."""
    metadata = index.get("metadata")
    claimed = metadata.get("total_size") if isinstance(metadata, dict) else None
    total = sum(tensor.nbytes for tensor in stored.values())
    if claimed in (None, total):
        return []
    return [f"{INDEX}: total_size is {quoted(claimed)}, the shards hold {total}."]


def _rename(
    stored: Mapping[str, StoredTensor],
    where: str,
    notes: list[str],
    architecture: Architecture,
) -> dict[str, StoredTensor]:
    """Give every tensor its canonical key and check the buffers."""
    renamed: dict[str, StoredTensor] = {}
    names = naming(stored, where, architecture)
    for name, tensor in stored.items():
        key = names.canonical(name)
        if key in renamed:
            _check_equal(renamed[key], tensor, key)
        renamed[key] = renamed.get(key, tensor)
    if names.prefix:
        outside = [name for name in stored if not name.startswith(names.prefix)]
        left = f" Not used, since they lack it: {listed(outside)}." if outside else ""
        notes.append(f"the prefix {quoted(names.prefix)} of the tensors was taken away.{left}")
    for key in BUFFERS & renamed.keys():
        _check_buffer(key, renamed[key])
    return renamed


def _check_equal(first: StoredTensor, second: StoredTensor, key: str) -> None:
    """Raise CheckpointError unless two tensors for one key are the same, to the bit."""
    if not first.has_bytes_of(second):
        raise CheckpointError(
            f"{first.file.path}: {quoted(first.name)} and {second.file.path}: "
            f"{quoted(second.name)} are one parameter, {quoted(key)}, "
            "with different values; keep one of them."
        )


def _check_buffer(key: str, tensor: StoredTensor) -> None:
    """Raise CheckpointError unless a stored buffer holds what BERT computes itself.

    The shape is checked first: rows of at most one entry for each position.
    """
    if not 0 < tensor.nbytes <= 1 << 20 or len(tensor.shape) not in (1, 2):
        raise CheckpointError(
            f"{tensor.file.path}: {quoted(tensor.name)} must have the shape (1, positions); got "
            f"{quoted(tensor.shape)}."
        )
    values = tensor.read(mapped=True)
    right = np.arange(tensor.shape[-1]) if key.endswith("position_ids") else 0
    if not (values == right).all():
        raise CheckpointError(
            f"{tensor.file.path}: {quoted(tensor.name)}: stored positions differ from 0, 1, 2, ... "
            "(token types: from 0); this model was trained with another numbering."
        )


def nothing_found(folder: Path) -> str:
    """Say what was missing, what there is instead, and what to do."""
    # Of the files in folders those in which exported weights usually are.
    paths = [path for pattern in ("*", "*/*") for path in folder.glob(pattern)]
    names = [path.relative_to(folder).as_posix() for path in paths if look(path) != "folder"]
    there = instead_of_safetensors(names, str(folder))
    return f"{folder}: has neither {SINGLE} nor {INDEX}." + (f" It has {there}" if there else "")
