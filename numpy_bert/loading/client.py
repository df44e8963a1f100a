"""Requests to the hub: one commit for all files, every etag and every file checked.

huggingface_hub does the requests, the cache and the progress bars, and is imported only when a
request has to be made. Added here: the revision is resolved once, an etag is checked before the
client makes a file name of it, a file against its hash before it is used, and errors of one kind.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from numpy_bert.errors import CheckpointError, HubError, InputError, IntegrityError
from numpy_bert.files import decode_json, quoted, read_bytes, write_atomically
from numpy_bert.loading.cache import SMALL_FILES, CachedRepository
from numpy_bert.loading.checkpoint import INDEX, SINGLE, shard_names
from numpy_bert.loading.failures import endpoint, hub_errors
from numpy_bert.loading.integrity import ETAG, check, remove, unverified, verify

__all__ = ["download"]

# Seconds until a hub that does not answer is given up; the client alone would take minutes.
_DEADLINE = 10.0

# One thread at a time adds its hook to the client that all of a process share.
_HOOKS = threading.Lock()


def download(repository: CachedRepository, revision: str | None, token: bool | str | None) -> Path:
    """Fetch all files of one commit, verified, and only then let the revision point to it."""
    # None would make the client send the saved token.
    token = False if token is None else token
    if not isinstance(token, (bool, str)):
        raise InputError(f"token: {type(token).__name__}; True, False or a str was expected.")
    commit, names = _resolve(repository, revision, token)
    snapshot = repository.folder / "snapshots" / commit

    def get(name: str) -> None:
        _get(repository, commit, name, token)

    weights = _weights(repository, names)
    for name in (*SMALL_FILES[:-1], *weights):
        if name in names:
            get(name)
    if weights == [INDEX]:
        for name in sorted(set(shard_names(snapshot).values())):
            get(name)
    if "modules.json" in names:
        for name in _module_configs(snapshot / "modules.json"):
            if name in names:
                get(name)
    get(SMALL_FILES[-1])
    if repository.commit(revision) != commit:
        _remember(repository, revision, commit)
    return snapshot


def _remember(repository: CachedRepository, revision: str | None, commit: str) -> None:
    """Record what a branch or tag points to, so that it is found without a request."""
    reference = repository.reference(revision)
    try:
        reference.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(reference, commit.encode("ascii"))
    except OSError as failure:  # OutputError included
        warnings.warn(
            f"{repository.name}: the cache could not record what {reference.name} is now "
            f"({failure}); the next use will ask the hub again.",
            stacklevel=2,
        )


def _resolve(
    repository: CachedRepository, revision: str | None, token: bool | str
) -> tuple[str, set[str]]:
    """Ask the hub once which commit a revision is, and which files it has."""
    repository.reference(revision)  # refuses what cannot be a revision

    with hub_errors(repository.name, revision, repository.cache):
        from huggingface_hub import HfApi

        info = HfApi(endpoint=endpoint()).model_info(
            repository.name, revision=revision, token=token, timeout=_DEADLINE
        )
    commit = info.sha
    if not isinstance(commit, str) or len(commit) != 40 or not ETAG.fullmatch(commit):
        raise HubError(f"{repository.name}: the hub named {quoted(repr(commit))} as its commit.")
    return commit, {sibling.rfilename for sibling in info.siblings or ()}


def _weights(repository: CachedRepository, names: set[str]) -> list[str]:
    """Choose the weights' file, or say why there is none to be had."""
    if "config.json" not in names:
        raise CheckpointError(f"{repository.name}: has no config.json; it is no model of BERT's.")
    for name in (SINGLE, INDEX):
        if name in names:
            return [name]
    pickles = sorted(name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt")))
    if pickles:
        raise CheckpointError(
            f"{repository.name}: has only pickled weights ({pickles[0]}). They are refused, since "
            "opening a pickle runs whatever code is in it. Look for a revision with "
            "model.safetensors (refs/pr/...), or convert it: transformers' save_pretrained."
        )
    raise CheckpointError(f"{repository.name}: has no {SINGLE} and no {INDEX}.")


def _module_configs(path: Path) -> list[str]:
    """Return the config.json of each folder that sentence-transformers' modules.json names."""
    # A list, where all other files are objects: wrapped, it is read as strictly as they are.
    data = b'{"modules": ' + read_bytes(path, error=CheckpointError, limit=1 << 20) + b"}"
    modules = decode_json(data, where=str(path), error=CheckpointError)["modules"]
    try:
        folders = [str(module["path"]) for module in modules]
    except (TypeError, KeyError):
        raise CheckpointError(f"{path}: is not a list of modules with a path each.") from None
    return [str(PurePosixPath(name, "config.json")) for name in folders if name]


def _get(repository: CachedRepository, commit: str, name: str, token: bool | str) -> None:
    """Bring one file of a commit into the cache and verify it; try a bad one once more."""
    for last in (False, True):
        seen: list[str] = []
        with hub_errors(repository.name, None, repository.cache), _etags_checked(seen):
            from huggingface_hub import hf_hub_download

            path = Path(
                hf_hub_download(
                    repository.name,
                    name,
                    revision=commit,
                    cache_dir=repository.cache,
                    token=token,
                    endpoint=endpoint(),
                    etag_timeout=_DEADLINE,
                )
            )
        try:
            if path.is_symlink():
                for unchecked in unverified([path]):
                    verify(unchecked)
            elif seen:  # where there are no links the cache keeps copies, without their hashes
                check(path, seen[-1])
            return
        except IntegrityError as failure:
            remove(path)
            if last:
                raise IntegrityError(
                    f"{failure} It came wrong twice and was removed from the cache; the hub, a "
                    "mirror (HF_ENDPOINT) or a proxy changes it on the way."
                ) from None


@contextlib.contextmanager
def _etags_checked(seen: list[str]) -> Iterator[None]:
    """Let no answer with a malformed etag reach the client, which makes a file name of it.

    A hostile mirror's ``../../x`` would be written outside the cache. Those that pass are added
    to `seen`.
    """
    from huggingface_hub import get_session

    thread = threading.get_ident()

    def inspect(response: Any) -> None:
        # The client is shared by all of the process: others' requests are their own affair.
        ours = threading.get_ident() == thread and response.request.method == "HEAD"
        if not ours or response.status_code >= 400:
            return
        etag = response.headers.get("x-linked-etag") or response.headers.get("etag")
        if etag is None:
            return  # A redirect on the way has none; at the end the client insists on one.
        seen.append(etag.removeprefix("W/").strip('"'))
        if not ETAG.fullmatch(seen[-1]):
            raise IntegrityError(
                f"{response.request.url}: the hub sent {quoted(repr(etag))} as etag; a sha256 or "
                "a git sha1 was expected. Nothing was written."
            )

    with _HOOKS:
        client = get_session()
        before = client.event_hooks
        client.event_hooks = {**before, "response": [*before["response"], inspect]}
        try:
            yield
        finally:
            client.event_hooks = before
