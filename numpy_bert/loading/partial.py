"""The input embedding of a published checkpoint alone: a fifth of BERT's bytes.

A safetensors file begins with a table of where its tensors lie. It is fetched and checked first,
then the ranges of the five tensors of the input embedding and no other byte. They become one valid
safetensors file, in a place of its own in the hub's cache, so that nobody takes it for the whole.
The small files, which can be checked, are the ordinary snapshot's.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from numpy_bert.config import BertConfig
from numpy_bert.errors import CheckpointError, IntegrityError
from numpy_bert.files import write_atomically, writing
from numpy_bert.loading.cache import (
    MODEL_FILES,
    PART_FILES,
    PART_RECORD,
    PARTS,
    CachedRepository,
    missing_files,
    small_files,
    used_files,
)
from numpy_bert.loading.checkpoint import INDEX, SINGLE, shard_names
from numpy_bert.loading.client import WORTH_A_BAR, remember, resolve, take
from numpy_bert.loading.header import Entry, header_length, make_header, read_header
from numpy_bert.loading.integrity import sha256, unverified, verify
from numpy_bert.loading.keys import Naming, naming
from numpy_bert.loading.remote import RemoteFile
from numpy_bert.loading.requests import Commit
from numpy_bert.loading.stored import SafetensorsFile
from numpy_bert.loading.tensors import check_tensors, embedding_shapes
from numpy_bert.messages import quoted
from numpy_bert.progress import progress

__all__ = ["download_part"]

_UNCHECKED = (
    "A part of a published file: its bytes are the ranges listed in 'files'. A part of a file "
    "cannot be checked against the hash (etag) of the whole."
)


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """What is taken from one file of a checkpoint: tensors, in the order of the file."""

    remote: RemoteFile
    entries: tuple[Entry, ...]

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The bytes of the tensors as slices, those that touch merged into one."""
        merged: list[tuple[int, int]] = []
        for entry in self.entries:
            start, stop = entry.start, entry.start + entry.nbytes
            if merged and merged[-1][1] == start:
                start = merged.pop()[0]
            merged.append((start, stop))
        return merged


def download_part(
    repository: CachedRepository, revision: str | None, token: bool | str | None
) -> Path:
    """Fetch the input embedding of one commit; only then let the revision point to it.

    Where the snapshot of the commit is whole already, it is brought up to date and returned.
    """
    commit = resolve(repository, revision, token)
    whole = not missing_files(commit.snapshot, MODEL_FILES)
    weights = take(commit, weights=whole)
    folder = commit.snapshot if whole else repository.folder / PARTS / commit.sha
    if not whole and not _is_sound(folder):
        with commit.errors():
            _make(folder, commit, weights)
    remember(commit, revision)
    return folder


def _is_sound(folder: Path) -> bool:
    """Tell whether a part is complete and has not changed since it was downloaded."""
    if missing_files(folder, PART_FILES):
        return False
    try:
        for path in unverified(used_files(folder)):
            verify(path)
    except IntegrityError:
        return False
    return True


def _make(folder: Path, commit: Commit, weights: str) -> None:
    """Make the folder of a part, its model.safetensors last."""
    pieces = _pieces(commit, weights)
    total = sum(entry.nbytes for piece in pieces for entry in piece.entries)

    def finish(temporary: Path) -> None:
        SafetensorsFile(temporary)  # read back
        for piece in pieces:
            piece.remote.check_unchanged()
        for path in small_files(commit.snapshot):
            _repeat(path, folder / path.relative_to(commit.snapshot))
        record = {"repository": commit.repository.name, "commit": commit.sha}
        record |= {"only": "embeddings", "sha256": sha256(temporary)}
        write_atomically(folder / PART_RECORD, json.dumps(record, indent=2).encode())

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            writing(folder / SINGLE, finish, size=total) as file,
            progress(total, "embeddings", least=WORTH_A_BAR) as report,
        ):
            file.write(_header(commit, pieces))
            for piece in pieces:
                for start, stop in piece.ranges:
                    piece.remote.copy(start, stop, file, report)
    finally:
        with contextlib.suppress(OSError):  # removes nothing but empty folders
            folder.rmdir()
            folder.parent.rmdir()
    verify(folder / SINGLE)


def _pieces(commit: Commit, weights: str) -> list[_Piece]:
    """Find the tensors of the input embedding, all checked before a byte of them is asked for."""
    if "config.json" not in commit.names:
        raise CheckpointError(
            f"{commit.repository.name}: has its BERT in a folder of its own. Fetch it whole: "
            "without only='embeddings', on the command line without --only."
        )
    config = BertConfig.from_json_file(commit.snapshot / "config.json")
    needed = embedding_shapes(config)
    label = f"{commit.repository.name}: {weights}"
    listed = shard_names(commit.snapshot) if weights == INDEX else {}
    keys = naming(listed, label, config.architecture)
    names = [name for name in listed if keys.canonical(name) in needed]
    _check_unique(names, keys, label)
    pieces = []
    tensors: dict[str, Entry] = {}
    for file in sorted({listed[name] for name in names}) if listed else [SINGLE]:
        remote = RemoteFile(commit, file)
        # A tensor of which the index says that it lies elsewhere is not the one that is meant.
        table = [entry for entry in _table(remote) if listed.get(entry.name, file) == file]
        if not listed:
            keys = naming([entry.name for entry in table], label, config.architecture)
        mine = [entry for entry in table if keys.canonical(entry.name) in needed]
        pieces.append(_Piece(remote, tuple(sorted(mine, key=lambda entry: entry.start))))
        tensors |= {keys.canonical(entry.name): entry for entry in table}
    _check_unique([entry.name for piece in pieces for entry in piece.entries], keys, label)
    check_tensors(tensors, needed, config, label)
    return pieces


def _check_unique(names: Iterable[str], keys: Naming, label: str) -> None:
    """Raise CheckpointError if two tensors claim one parameter: their bytes would have to agree."""
    seen: dict[str, str] = {}
    for name in names:
        key = keys.canonical(name)
        if key in seen:
            raise CheckpointError(
                f"{label}: {quoted(seen[key])} and {quoted(name)} are one parameter. Fetch it "
                "whole: without only='embeddings', on the command line without --only."
            )
        seen[key] = name


def _table(remote: RemoteFile) -> list[Entry]:
    """Fetch the header of a file and check it as that of a local one is checked."""
    start = remote.read(0, min(8, remote.length))
    length = header_length(start, remote.length, remote.where)
    header = remote.read(8, 8 + length)
    return list(read_header(header, remote.length, remote.where).tensors.values())


def _header(commit: Commit, pieces: Iterable[_Piece]) -> bytes:
    """Return the beginning of the part's own file: the tensors follow in the same order."""
    files = [
        {
            "name": piece.remote.name,
            "etag": piece.remote.etag,
            "size": piece.remote.length,
            "ranges": [f"{start}-{stop - 1}" for start, stop in piece.ranges],
        }
        for piece in pieces
    ]
    # No "format": without it transformers refuses the file, instead of filling up an encoder.
    return make_header(
        (entry for piece in pieces for entry in piece.entries),
        {
            "only": "embeddings",
            "repository": commit.repository.name,
            "commit": commit.sha,
            "files": json.dumps(files),
            "note": _UNCHECKED,
        },
    )


def _repeat(path: Path, target: Path) -> None:
    """Put a snapshot's file beside a part: the same link, as deep; where it is none, a copy."""
    target.parent.mkdir(exist_ok=True)
    target.unlink(missing_ok=True)
    if path.is_symlink():
        with contextlib.suppress(FileExistsError):  # another process has just done the same
            target.symlink_to(path.readlink())
    else:
        with path.open("rb") as source, writing(target) as file:
            shutil.copyfileobj(source, file)
