"""A whole model from the hub: one commit for all files, each file checked before it has a name.

The cache is huggingface_hub's own: its layout, its links, and its locks. The revision is resolved
once, an etag is checked before it becomes a file's name, and a file against its hash before anyone
can find it.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from functools import partial
from pathlib import Path

from numpy_bert.errors import CheckpointError, HubError, InputError, IntegrityError, OutputError
from numpy_bert.files import free_space, is_listed, look, trouble, write_atomically, writing
from numpy_bert.loading.cache import SMALL_FILES, CachedRepository, absent, is_inside
from numpy_bert.loading.checkpoint import INDEX, SINGLE, shard_files
from numpy_bert.loading.formats import instead_of_safetensors, is_pickle
from numpy_bert.loading.integrity import (
    ETAG,
    check,
    is_sound,
    remember_checked,
    remove,
    unverified,
    verify,
)
from numpy_bert.loading.modules import (
    MODULES,
    SETTINGS,
    TRANSFORMER_CONFIGS,
    ModuleEntry,
    read_modules,
    transformer_folder,
)
from numpy_bert.loading.patience import Patience, locked
from numpy_bert.loading.remote import RemoteFile
from numpy_bert.loading.requests import Commit, hub_errors, model_info, warn_of_open_token
from numpy_bert.messages import shown
from numpy_bert.progress import progress

__all__ = ["WORTH_A_BAR", "download", "get", "remember", "resolve", "take"]

# The bytes of a second or so at the speed of a home's network.
WORTH_A_BAR = 4_000_000
# By which programs that copy folders know a cache, and leave it out.
_TAG = """Signature: 8a477f597d28d172789f06886806bc55
# This file is a cache directory tag created by huggingface_hub.
# For information about cache directory tags, see https://bford.info/cachedir/
"""


def download(repository: CachedRepository, revision: str | None, token: bool | str | None) -> Path:
    """Fetch all files of one commit, verified, and only then let the revision point to it."""
    commit = resolve(repository, revision, token)
    take(commit)
    remember(commit, revision)
    return commit.snapshot


def resolve(repository: CachedRepository, revision: str | None, token: bool | str | None) -> Commit:
    """Ask the hub once which commit a revision is, and which files it has."""
    # None would make the client send the saved token.
    token = False if token is None else token
    if not isinstance(token, (bool, str)):
        raise InputError(f"token must be True, False or a str; got {type(token).__name__}.")
    repository.reference(revision)  # refuses what cannot be a revision
    patience = Patience.from_environment()
    if token:
        warn_of_open_token()
    with hub_errors(repository.name, revision, repository.cache):
        info = model_info(repository.name, revision, token, patience)
    sha = info.get("sha")
    if not isinstance(sha, str) or len(sha) != 40 or not ETAG.fullmatch(sha):
        raise HubError(f"{repository.name}: the hub named {shown(sha)} as its commit.")
    files = info.get("siblings")
    listed = files if isinstance(files, list) else []
    names = [file.get("rfilename") for file in listed if isinstance(file, dict)]
    good = frozenset(name for name in names if isinstance(name, str) and is_inside(name))
    return Commit(repository, sha, good, token, patience)


def get(commit: Commit, name: str) -> None:
    """Bring a file into the cache, held to its hash before anyone can find it there.

    A file of the cache that has changed is fetched again; one that comes wrong is asked for once
    more.
    """
    path, repository = commit.snapshot / name, commit.repository
    with commit.errors():
        if _is_kept(path):
            return
        remote = RemoteFile(commit, name)
        blob = repository.folder / "blobs" / remote.etag
        lock = repository.cache / ".locks" / repository.folder.name / f"{remote.etag}.lock"
        with locked(lock, commit.patience, remote.where):
            if _is_kept(path):  # by now
                return
            if not is_sound(blob):
                _download(remote, blob)
            _link(blob, path)


def _is_kept(path: Path) -> bool:
    """Tell whether a file is in the cache and has the hash that it must; remove a bad one."""
    if trouble(path):
        return False
    try:
        for unchecked in unverified([path]):
            verify(unchecked)
    except IntegrityError:
        remove(path)
        return False
    return True


def _download(remote: RemoteFile, blob: Path) -> None:
    """Download a file; it has no name before its bytes have been hashed."""
    blob.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        tag = blob.parent.parent.parent / "CACHEDIR.TAG"
        if not is_listed(tag):
            tag.write_text(_TAG)
    if look(blob) == "unreadable":
        blob.unlink(missing_ok=True)  # a link to nothing, through which would be written
    size, free = remote.size or 0, free_space(blob)
    if free is not None and size > free:
        raise OutputError(f"{remote.name}: has {size:,} bytes, {free:,} are free on the disk.")
    hold = partial(check, etag=remote.etag, name=remote.where)
    for last in (False, True):
        try:
            with (
                writing(blob, hold) as file,
                progress(size, remote.name, least=WORTH_A_BAR) as report,
            ):
                remote.download(file, report)
            remember_checked(blob)
            return
        except IntegrityError as failure:
            if last:
                raise IntegrityError(
                    f"{failure} It came wrong twice and was not kept; the hub, a mirror "
                    "(HF_ENDPOINT) or a proxy changes it on the way."
                ) from None


def _link(blob: Path, path: Path) -> None:
    """Let a snapshot's file be a link to its blob, or the blob where there are no links."""
    from huggingface_hub import constants

    path.parent.mkdir(parents=True, exist_ok=True)
    if getattr(constants, "HF_HUB_DISABLE_SYMLINKS", False):  # younger than the oldest client
        blob.replace(path)
        return
    path.unlink(missing_ok=True)
    try:
        path.symlink_to(os.path.relpath(blob, path.parent))
    except FileExistsError:
        pass  # another process has just done the same
    except OSError:
        blob.replace(path)


def take(commit: Commit, *, weights: bool = True) -> str:
    """Bring the files of a commit into its snapshot, verified, config.json last.

    Without `weights` all but them, and of sharded ones the index. Returns the name of their file.
    """
    entries = list[ModuleEntry]()
    if MODULES in commit.names:  # first, since it says which files there are to come
        get(commit, MODULES)
        entries = read_modules(commit.snapshot / MODULES, error=CheckpointError)
    inner = transformer_folder(entries)
    place = f"{inner}/" if inner and "config.json" not in commit.names else ""
    name = _weights(commit, place)
    _take_model(commit, place, name, weights=weights)
    _take_modules(commit, entries, weights=weights)
    if inner and not place:  # a model of its own beside the sentence model's
        _take_model(commit, f"{inner}/", _weights(commit, f"{inner}/"), weights=weights)
        get(commit, f"{inner}/{SMALL_FILES[-1]}")
    get(commit, place + SMALL_FILES[-1])
    return name


def _take_model(commit: Commit, place: str, name: str, *, weights: bool) -> None:
    """Take a model's files from the place of its config.json, but not that itself."""
    small = [file for file in SMALL_FILES[:-1] if place + file in commit.names]
    for file in [*small, *([name] if weights or name == INDEX else [])]:
        get(commit, place + file)
    if weights and name == INDEX:
        for file in shard_files(commit.snapshot / place):
            get(commit, place + file)


def remember(commit: Commit, revision: str | None) -> None:
    """Record what a branch or tag points to, so that it is found without a request."""
    if commit.repository.commit(revision) == commit.sha:
        return
    reference = commit.repository.reference(revision)
    try:
        reference.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(reference, commit.sha.encode("ascii"))
    except OSError as failure:  # OutputError included
        warnings.warn(
            f"{commit.repository.name}: the cache could not record what {reference.name} is now "
            f"({failure}); the next use will ask the hub again.",
            stacklevel=2,
        )


def _weights(commit: Commit, place: str) -> str:
    """Choose the weights' file at a place, or say why there is none to be had."""
    where, names = commit.repository.name, commit.names
    if f"{place}config.json" not in names:
        raise CheckpointError(f"{where}: has no {place}config.json; it is no model of BERT's.")
    for name in (SINGLE, INDEX):
        if place + name in names:
            return name
    there = instead_of_safetensors(names, where)
    if not there:
        raise CheckpointError(f"{where}: has no {place}{SINGLE} and no {place}{INDEX}.")
    if any(map(is_pickle, names)):
        there += (
            f"\nOr look for a revision of it that has {SINGLE}: its pull requests on the hub "
            "(revision='refs/pr/1', say), where the Space safetensors/convert puts one."
        )
    raise CheckpointError(f"{where}: has {there}")


def _take_modules(commit: Commit, entries: list[ModuleEntry], *, weights: bool) -> None:
    """Take the files of the folders that sentence-transformers' modules.json names.

    That there is no modules.json, or one of the files that are read beside it, is remembered as the
    hub's own client does.
    """
    inner, files = transformer_folder(entries), [file for entry in entries for file in entry.files]
    wanted = [MODULES, SETTINGS, *(file for file in files if file.endswith(SINGLE))]
    wanted += [f"{inner}/{name}" if inner else name for name in TRANSFORMER_CONFIGS]
    with contextlib.suppress(OSError):  # a cache that may not be written is asked again
        for name in wanted:
            if name not in commit.names:
                mark = absent(commit.snapshot, name)
                mark.parent.mkdir(parents=True, exist_ok=True)
                mark.touch()
    for file in files:
        if file in commit.names and (weights or not file.endswith(SINGLE)):
            get(commit, file)
