"""From a model's name to a folder: local, cached, or fetched from the hub and verified."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from numpy_bert.errors import CheckpointError, InputError, IntegrityError, OfflineError
from numpy_bert.files import file_size, look, permissions
from numpy_bert.loading.cache import (
    MODEL_FILES,
    PART_FILES,
    CachedRepository,
    check_only,
    is_offline,
    is_part,
    local_folder,
    missing_files,
    used_files,
)
from numpy_bert.loading.checkpoint import nothing_found
from numpy_bert.loading.integrity import unverified, verify
from numpy_bert.loading.sums import Sums, hold, read_sums
from numpy_bert.messages import must_be, quoted

__all__ = ["cached_part", "fetch", "find", "verify_again"]

_WAYS_OUT = (
    "Without it there are 'demo', the built-in model (on the command line --model demo), a folder "
    "that holds a checkpoint, and a mirror of the hub, which the environment variable HF_ENDPOINT "
    "names."
)


@permissions(InputError)
def fetch(
    name_or_path: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: bool | str | None = False,
    only: Literal["embeddings"] | None = None,
    sha256: str | Path | None = None,
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
        Whether no request is made; the environment variables HF_HUB_OFFLINE=1 and
        TRANSFORMERS_OFFLINE=1 forbid them too.
    token : bool or str or None
        For private and gated models: a token, or True for the saved one. By default, and with
        None, none is sent.
    only : {"embeddings"}, optional
        Fetch no more of the weights than the input embedding's, about a fifth of BERT's. This has
        to be asked for, since a part of a file cannot be checked against the whole file's hash.
    sha256 : path, optional
        A file of hashes, in the format of sha256sum, to which every file of the model is held, of
        a local folder too. ``numpy-bert fetch --lock`` writes one; where it names the commit of
        this repository, that is the default of `revision`.

    Returns
    -------
    Path
        A folder with config.json, the tokenizer's files, the weights (``model.safetensors``, or
        its index and the shards that it lists), and the sentence-transformers files. With `only`,
        unless the cache has them whole, a folder of its own whose ``model.safetensors`` holds the
        five tensors of the input embedding and a record of where they are from.

    Raises
    ------
    OfflineError
        If the hub was not asked or did not answer, and the cache has no complete copy.
    HubError
        If the repository or revision does not exist, is gated, or the hub fails.
    IntegrityError
        If a file's hash is wrong twice, or an etag is no hash; with `sha256`, if a file has another
        hash, is missing, or is not listed.
    CheckpointError
        If the repository has no safetensors. Pickles are refused: opening one runs its code.

    Examples
    --------
    >>> from numpy_bert import fetch
    >>> fetch("demo").name
    'demo'
    """
    check_only(only)
    sums = _sums(sha256, only)
    if revision is None and sums is not None and sums.repository == str(name_or_path):
        revision = sums.commit
    folder = _fetched(name_or_path, revision, cache_dir, local_files_only, token, only)
    if sums is not None:
        hold(folder, sums)
    return folder


def _sums(path: str | Path | None, only: str | None) -> Sums | None:
    """Return the hashes to which a model is to be held."""
    if path is None:
        return None
    if not isinstance(path, (str, Path)):
        raise InputError(must_be("sha256", "a file of hashes", path))
    if only is not None:
        raise InputError(
            f"sha256 and only={only!r} cannot be given both: a part of a file cannot be checked "
            "against the whole file's hash."
        )
    return read_sums(Path(path))


def _fetched(
    name_or_path: str | Path,
    revision: str | None,
    cache_dir: str | Path | None,
    local_files_only: bool,
    token: bool | str | None,
    only: Literal["embeddings"] | None,
) -> Path:
    """Return the folder of a model, brought up to date where it is a repository's."""
    folder = local_folder(name_or_path)
    if folder is not None:
        _require(folder, MODEL_FILES)
        return folder
    repository = CachedRepository(str(name_or_path), cache_dir)
    if local_files_only or is_offline():
        return _cached(repository, revision, MODEL_FILES, only)
    # Imported here, because what is in the cache is found without them.
    from numpy_bert.loading.client import download
    from numpy_bert.loading.partial import download_part

    try:
        return (download if only is None else download_part)(repository, revision, token)
    except OfflineError as failure:
        reason = str(failure).removeprefix(f"{repository.name}: ")
    # The last good copy stays usable, but nobody should take it for the newest.
    kept = _cached(repository, revision, MODEL_FILES, only, reason)
    warnings.warn(
        f"{repository.name}: {reason} The cached commit {kept.name} is used.", stacklevel=3
    )
    return kept


@permissions(InputError)
def find(
    name_or_path: str | Path,
    *,
    needs: Sequence[Sequence[str]],
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: bool | str | None = False,
    only: Literal["embeddings"] | None = None,
) -> Path:
    """Return the folder of a model, from the cache without any request where that is possible.

    Every ``from_pretrained`` uses it. `needs` says which files its reader cannot do without,
    one of each row; the rest, and the errors, are as in `fetch`. With `only`, a whole snapshot is
    as good as the part and comes first; without, a part is never returned.
    """
    check_only(only)
    folder = local_folder(name_or_path)
    if folder is not None:
        return folder
    repository = CachedRepository(str(name_or_path), cache_dir)
    offline = local_files_only or is_offline()
    kept = _complete(repository, revision, needs, only)
    if kept is None:
        if offline:
            return _cached(repository, revision, needs, only)
        return fetch(name_or_path, revision=revision, cache_dir=cache_dir, token=token, only=only)
    try:
        _verify(kept)
        return kept
    except IntegrityError:
        if offline:
            raise
    # It checks every file that is there, and gets the bad ones again once the hub has answered.
    return fetch(name_or_path, revision=kept.name, cache_dir=cache_dir, token=token, only=only)


@permissions(InputError)
def cached_part(
    name_or_path: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
) -> Literal["embeddings"] | None:
    """Return ``"embeddings"`` for a model of which no more than that part is there, else None.

    It is for readers of the input embedding, which can do with the part but need not. It makes no
    request.
    """
    folder = local_folder(name_or_path)
    if folder is None:
        repository = CachedRepository(str(name_or_path), cache_dir)
        folder = _complete(repository, revision, MODEL_FILES, "embeddings")
    return "embeddings" if folder is not None and is_part(folder) else None


def verify_again(folder: Path) -> list[Path]:
    """Hash all files of a snapshot anew and return them; raise IntegrityError at a bad one.

    The weights of a part are held to the hash that they had when they were downloaded.
    """
    checked = list(unverified(used_files(folder), again=True))
    for path in checked:
        verify(path)
    return checked


def _complete(
    repository: CachedRepository,
    revision: str | None,
    needs: Sequence[Sequence[str]],
    only: str | None,
) -> Path | None:
    """Return the complete snapshot of a revision; with `only`, in its absence, the part."""
    snapshot = repository.snapshot(revision)
    if snapshot is not None and not missing_files(snapshot, needs):
        return snapshot
    part = repository.part(revision) if only is not None else None
    return part if part is not None and not missing_files(part, PART_FILES) else None


def _cached(
    repository: CachedRepository,
    revision: str | None,
    needs: Sequence[Sequence[str]],
    only: str | None,
    reason: str | None = None,
) -> Path:
    """Return a complete, verified folder from the cache, or raise OfflineError with `reason`."""
    kept = _complete(repository, revision, needs, only)
    alone = repository.only_snapshot(revision) if kept is None else None
    if alone is not None and not missing_files(alone, needs):
        kept = alone
        if reason is None:
            warnings.warn(
                f"{repository.name}: the cache does not record what main is, and nothing was asked "
                f"(offline). The only commit there, {alone.name}, is used.",
                stacklevel=2,
            )
    if kept is not None:
        _verify(kept)
        return kept
    if reason is None:
        reason = (
            "no request was allowed (offline); get it where there is a network: numpy-bert fetch "
            f"{repository.name}{f' --only {only}' if only else ''}"
        )
    snapshot = repository.snapshot(revision)
    missing = missing_files(snapshot, needs) if snapshot is not None else []
    lacks = f"lacks {', '.join(missing)}" if missing else "has no copy"
    named = f" at revision {quoted(revision)}" if revision is not None else ""
    raise OfflineError(
        f"{repository.name}{named}: the cache {repository.cache} {lacks}, and "
        f"{reason.rstrip('.')}. {_WAYS_OUT}"
    )


def _require(folder: Path, needs: Sequence[Sequence[str]]) -> None:
    """Raise CheckpointError unless a local folder holds what its reader needs."""
    missing = missing_files(folder, needs)
    for name in missing:
        if look(folder / name) == "unreadable":
            file_size(folder / name, error=CheckpointError)
    if missing == [" or ".join(MODEL_FILES[1])]:
        raise CheckpointError(nothing_found(folder))
    if missing:
        raise CheckpointError(
            f"{folder}: this folder has no {', no '.join(missing)}; name the folder of a "
            "checkpoint."
        )


def _verify(snapshot: Path) -> None:
    """Hash what has not been checked yet."""
    for path in unverified(used_files(snapshot)):
        verify(path)
