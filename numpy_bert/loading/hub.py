"""From a model's name to a folder: local, cached, or fetched from the hub and verified."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from numpy_bert.errors import CheckpointError, InputError, IntegrityError, OfflineError
from numpy_bert.files import permissions, quoted
from numpy_bert.loading.cache import (
    MODEL_FILES,
    CachedRepository,
    is_offline,
    local_folder,
    missing_files,
    used_files,
)
from numpy_bert.loading.client import download
from numpy_bert.loading.integrity import unverified, verify

__all__ = ["fetch", "find", "verify_again"]


_OFFLINE = (
    "no request was allowed (offline); get it where there is a network: numpy-bert fetch {name}"
)


@permissions(InputError)
def fetch(
    name_or_path: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: bool | str | None = False,
) -> Path:
    """Bring a published checkpoint into the cache, or up to date, and return its folder.

    Parameters
    ----------
    name_or_path : str or Path
        A folder, ``"demo"`` (built in), or a repository's name such as ``"bert-base-uncased"``.
        A folder wins and is returned as it is.
    revision : str, optional
        Branch, tag or commit; ``main`` by default. It is resolved once, to a commit that then
        holds for every file.
    cache_dir : path, optional
        The cache, in huggingface_hub's layout. By default HF_HUB_CACHE, HF_HOME/hub or
        ~/.cache/huggingface/hub, so a model that transformers has downloaded is found.
    local_files_only : bool
        Make no request; so does the environment variable HF_HUB_OFFLINE=1.
    token : bool or str or None
        For private and gated models: a token, or True for the saved one. By default, and with
        None, none is sent.

    Returns
    -------
    Path
        A folder with config.json, the tokenizer's files, the weights (``model.safetensors``, or
        its index and the shards that it lists), and the sentence-transformers files.

    Raises
    ------
    OfflineError
        If the hub was not asked or did not answer, and the cache has no complete copy.
    HubError
        If the repository or revision does not exist, is gated, or the hub fails.
    IntegrityError
        If a file's hash is wrong twice, or an etag is no hash.
    CheckpointError
        If the repository has no safetensors. Pickles are refused: opening one runs its code.

    Examples
    --------
    >>> from numpy_bert import fetch
    >>> fetch("demo").name
    'demo'
    """
    folder = local_folder(name_or_path)
    if folder is not None:
        _require(folder, MODEL_FILES)
        return folder
    repository = CachedRepository(str(name_or_path), cache_dir)
    if local_files_only or is_offline():
        return _cached(repository, revision, MODEL_FILES, _OFFLINE.format(name=repository.name))
    try:
        return download(repository, revision, token)
    except OfflineError as failure:
        # The last good copy stays usable, but nobody should take it for the newest.
        reason = str(failure).removeprefix(f"{repository.name}: ")
        snapshot = _cached(repository, revision, MODEL_FILES, reason)
        warnings.warn(
            f"{repository.name}: {reason} The cached commit {snapshot.name} is used.",
            stacklevel=2,
        )
        return snapshot


@permissions(InputError)
def find(
    name_or_path: str | Path,
    *,
    needs: Sequence[Sequence[str]],
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: bool | str | None = False,
) -> Path:
    """Return the folder of a model, from the cache without any request where that is possible.

    What every ``from_pretrained`` uses. `needs` says which files its reader cannot do without,
    one of each row; the rest, and the errors, are as in `fetch`.
    """
    folder = local_folder(name_or_path)
    if folder is not None:
        return folder
    repository = CachedRepository(str(name_or_path), cache_dir)
    offline = local_files_only or is_offline()
    snapshot = repository.snapshot(revision)
    if snapshot is None or missing_files(snapshot, needs):
        if offline:
            return _cached(repository, revision, needs, _OFFLINE.format(name=repository.name))
        return fetch(name_or_path, revision=revision, cache_dir=cache_dir, token=token)
    try:
        _verify(snapshot)
    except IntegrityError:
        if offline:
            raise
        # It checks every file that is there, and gets the bad ones again once the hub has answered.
        return fetch(name_or_path, revision=snapshot.name, cache_dir=cache_dir, token=token)
    return snapshot


def verify_again(folder: Path) -> list[Path]:
    """Hash all files of a snapshot anew and return them; raise IntegrityError at a bad one."""
    checked = list(unverified(used_files(folder), again=True))
    for path in checked:
        verify(path)
    return checked


def _cached(
    repository: CachedRepository,
    revision: str | None,
    needs: Sequence[Sequence[str]],
    reason: str,
) -> Path:
    """Return a complete, verified snapshot from the cache, or raise OfflineError with `reason`."""
    snapshot = repository.snapshot(revision)
    missing = missing_files(snapshot, needs) if snapshot is not None else []
    if snapshot is None or missing:
        lacks = f"lacks {', '.join(missing)}" if missing else "has no copy"
        named = f" at revision {quoted(revision)}" if revision is not None else ""
        raise OfflineError(
            f"{repository.name}{named}: the cache {repository.cache} {lacks}, and "
            f"{reason.rstrip('.')}."
        )
    _verify(snapshot)
    return snapshot


def _require(folder: Path, needs: Sequence[Sequence[str]]) -> None:
    """Raise CheckpointError unless a local folder holds what its reader needs."""
    missing = missing_files(folder, needs)
    if missing:
        raise CheckpointError(
            f"{folder}: this folder has no {', no '.join(missing)}; name the folder of a "
            "checkpoint."
        )


def _verify(snapshot: Path) -> None:
    """Hash what has not been checked yet."""
    for path in unverified(used_files(snapshot)):
        verify(path)
