"""Requests to the hub: one commit for all files, every etag and every file checked.

huggingface_hub does the requests, the cache and the progress bars, and is imported only when a
request has to be made. Added here: the revision is resolved once, an etag is checked before the
client makes a file name of it, a file against its hash before it is used, and errors of one kind.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from numpy_bert.errors import (
    CheckpointError,
    HubError,
    InputError,
    IntegrityError,
    NumpyBertError,
    OfflineError,
)
from numpy_bert.files import quoted, write_atomically
from numpy_bert.loading.cache import SMALL_FILES, CachedRepository
from numpy_bert.loading.checkpoint import INDEX, SINGLE, shard_names
from numpy_bert.loading.integrity import ETAG, check, remove, unverified, verify

__all__ = ["download"]

# Seconds until a hub that does not answer is given up; the client alone would take minutes.
_DEADLINE = 10.0

# One thread at a time adds its hook to the client that all of a process share.
_HOOKS = threading.Lock()

Result = TypeVar("Result")


def download(repository: CachedRepository, revision: str | None, token: bool | str) -> Path:
    """Fetch all files of one commit, verified, and only then let the revision point to it."""
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
    if revision != commit:
        reference = repository.reference(revision)
        reference.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(reference, commit.encode("ascii"))
    return snapshot


def _resolve(
    repository: CachedRepository, revision: str | None, token: bool | str
) -> tuple[str, set[str]]:
    """Ask the hub once which commit a revision is, and which files it has."""
    repository.reference(revision)  # refuses what cannot be a revision

    def ask() -> Any:
        from huggingface_hub import HfApi

        return HfApi(endpoint=_endpoint()).model_info(
            repository.name, revision=revision, token=token, timeout=_DEADLINE
        )

    info = _asking(repository, revision, ask)
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
    try:
        modules = json.loads(path.read_text("utf-8"))
        folders = [str(module["path"]) for module in modules]
    except (ValueError, TypeError, KeyError):
        raise CheckpointError(f"{path}: is not a list of modules with a path each.") from None
    return [str(PurePosixPath(name, "config.json")) for name in folders if name]


def _get(repository: CachedRepository, commit: str, name: str, token: bool | str) -> None:
    """Bring one file of a commit into the cache and verify it; try a bad one once more."""

    def ask() -> str:
        from huggingface_hub import hf_hub_download

        return hf_hub_download(
            repository.name,
            name,
            revision=commit,
            cache_dir=repository.cache,
            token=token,
            endpoint=_endpoint(),
            etag_timeout=_DEADLINE,
        )

    for last in (False, True):
        seen: list[str] = []
        with _etags_checked(seen):
            path = Path(_asking(repository, commit, ask))
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

    def inspect(response: Any) -> None:
        if response.request.method != "HEAD" or response.status_code >= 400:
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


def _endpoint() -> str | None:
    """Return the mirror that HF_ENDPOINT names, None for the hub itself."""
    return os.environ.get("HF_ENDPOINT") or None


def _asking(
    repository: CachedRepository, revision: str | None, ask: Callable[[], Result]
) -> Result:
    """Run a request and turn whatever the client raises into an error of numpy_bert's own."""
    try:
        from huggingface_hub import errors as hub
    except ValueError as failure:  # The client reads its variables when it is imported.
        raise InputError(f"an environment variable HF_...: {failure}") from None
    what = f"{repository.name}" + (f" at revision {quoted(revision)}" if revision else "")
    try:
        return ask()
    except NumpyBertError:
        raise
    except hub.GatedRepoError:
        raise HubError(
            f"{what}: is gated. Accept its terms on its page on the hub, then pass your token: "
            "token=True (the saved one) or token='hf_...'; on the command line --token."
        ) from None
    except hub.RepositoryNotFoundError:
        raise HubError(
            f"{what}: there is no such repository on the hub, or it is private. If it is private, "
            "pass your token (token=True; on the command line --token)."
        ) from None
    except hub.RevisionNotFoundError:
        raise HubError(f"{what}: the repository has no such branch, tag or commit.") from None
    except hub.LocalEntryNotFoundError as failure:
        raise OfflineError(f"{what}: the hub could not be reached ({quoted(failure)}).") from None
    except hub.EntryNotFoundError as failure:
        raise HubError(f"{what}: a file is not there: {quoted(failure)}") from None
    except hub.HfHubHTTPError as failure:
        status = getattr(failure.response, "status_code", "?")
        url = getattr(getattr(failure.response, "request", None), "url", "")
        raise HubError(f"{what}: the hub answered with status {status} at {url}.") from None
    except hub.HTTPError as failure:  # type: ignore[attr-defined]
        endpoint = _endpoint() or "https://huggingface.co"
        reason = quoted(str(failure) or type(failure).__name__)
        raise OfflineError(
            f"{what}: {endpoint} could not be reached, or the connection broke ({reason})."
        ) from None
    except OSError as failure:
        raise HubError(f"{what}: {quoted(failure)}") from None
    except hub.HFValidationError as failure:
        raise InputError(f"model: {quoted(failure)}") from None
    except ValueError as failure:
        raise HubError(f"{what}: the hub's answer makes no sense ({quoted(failure)}).") from None
