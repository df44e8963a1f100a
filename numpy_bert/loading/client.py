"""Requests to the hub: one commit for all files, every etag and every file checked.

huggingface_hub does the requests, the cache and the progress bars, and is imported only when a
request has to be made. Added here: the revision is resolved once, an etag is checked before the
client makes a file name of it, a file against its hash before it is used, and errors of one kind.
"""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from numpy_bert.errors import (
    CheckpointError,
    HubError,
    InputError,
    IntegrityError,
    NumpyBertError,
    OfflineError,
    OutputError,
)
from numpy_bert.files import write_atomically
from numpy_bert.loading.cache import SMALL_FILES, CachedRepository, absent
from numpy_bert.loading.checkpoint import INDEX, SINGLE, shard_files
from numpy_bert.loading.formats import instead_of_safetensors, is_pickle
from numpy_bert.loading.integrity import ETAG, check, plain_etag, remove, unverified, verify
from numpy_bert.loading.modules import (
    MODULES,
    SETTINGS,
    TRANSFORMER_CONFIGS,
    ModuleEntry,
    read_modules,
    transformer_folder,
)
from numpy_bert.messages import quoted

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

__all__ = ["Commit", "download", "remember", "resolve", "take"]

# Seconds until a hub that does not answer is given up; the client alone would take minutes.
_DEADLINE = 10.0

# Guards `_USED` and our hook, for as long as it takes to add or remove one.
_LOCK = threading.Lock()
# The clients in whose hooks ours is, once for each thread that needs it.
_USED: list[Any] = []


class _Thread(threading.local):
    """Where a thread's etags go, while it wants them checked."""

    seen: list[str] | None = None


_THREAD = _Thread()


@dataclass(frozen=True, slots=True, eq=False)
class Commit:
    """A commit of a repository on the hub, and how to ask for its files.

    Attributes
    ----------
    repository : CachedRepository
        The corner of the cache in which its files are kept.
    sha : str
        The hash that is its name.
    names : frozenset of str
        The files that it has.
    token : bool or str
        What is sent for private and gated repositories.
    """

    repository: CachedRepository
    sha: str
    names: frozenset[str]
    token: bool | str

    @property
    def snapshot(self) -> Path:
        """The folder of its files in the cache."""
        return self.repository.folder / "snapshots" / self.sha

    def errors(self) -> contextlib.AbstractContextManager[None]:
        """Turn whatever a request raises into one of numpy_bert's errors."""
        return _hub_errors(self.repository.name, None, self.repository.cache)

    def get(self, name: str) -> None:
        """Bring a file into the cache and verify it; try a bad one once more."""
        for last in (False, True):
            seen: list[str] = []
            with self.errors(), _etags_checked(seen):
                from huggingface_hub import hf_hub_download

                path = Path(
                    hf_hub_download(
                        self.repository.name,
                        name,
                        revision=self.sha,
                        cache_dir=self.repository.cache,
                        token=self.token,
                        endpoint=_endpoint(),
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

    def url(self, name: str) -> str:
        """Return where the hub has a file."""
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.repository.name, name, revision=self.sha, endpoint=_endpoint())

    def head(self, name: str) -> HfFileMetadata:
        """Ask what the hub has to say of a file, without its bytes."""
        with self.errors():
            from huggingface_hub import get_hf_file_metadata

            return get_hf_file_metadata(
                self.url(name), token=self.token, timeout=_DEADLINE, endpoint=_endpoint()
            )


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

    with _hub_errors(repository.name, revision, repository.cache):
        from huggingface_hub import HfApi

        info = HfApi(endpoint=_endpoint()).model_info(
            repository.name, revision=revision, token=token, timeout=_DEADLINE
        )
    sha = info.sha
    if not isinstance(sha, str) or len(sha) != 40 or not ETAG.fullmatch(sha):
        raise HubError(f"{repository.name}: the hub named {quoted(repr(sha))} as its commit.")
    names = frozenset(sibling.rfilename for sibling in info.siblings or ())
    return Commit(repository, sha, names, token)


def take(commit: Commit, *, weights: bool = True) -> str:
    """Bring the files of a commit into its snapshot, verified, config.json last.

    Without `weights` all but them, and of sharded ones the index. Returns the name of their file.
    """
    entries = list[ModuleEntry]()
    if MODULES in commit.names:  # first, since it says which files there are to come
        commit.get(MODULES)
        entries = read_modules(commit.snapshot / MODULES, error=CheckpointError)
    inner = transformer_folder(entries)
    place = f"{inner}/" if inner and "config.json" not in commit.names else ""
    name = _weights(commit, place)
    _take_model(commit, place, name, weights=weights)
    _take_modules(commit, entries, weights=weights)
    if inner and not place:  # a model of its own beside the sentence model's
        _take_model(commit, f"{inner}/", _weights(commit, f"{inner}/"), weights=weights)
        commit.get(f"{inner}/{SMALL_FILES[-1]}")
    commit.get(place + SMALL_FILES[-1])
    return name


def _take_model(commit: Commit, place: str, name: str, *, weights: bool) -> None:
    """Take a model's files from the place of its config.json, but not that itself."""
    small = [file for file in SMALL_FILES[:-1] if place + file in commit.names]
    for file in [*small, *([name] if weights or name == INDEX else [])]:
        commit.get(place + file)
    if weights and name == INDEX:
        for file in shard_files(commit.snapshot / place):
            commit.get(place + file)


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
            commit.get(file)


@contextlib.contextmanager
def _etags_checked(seen: list[str]) -> Iterator[None]:
    """Let no answer with a malformed etag reach the client, which makes a file name of it.

    Those that pass are added to `seen`. All of a process share the client, so nothing of it is
    replaced: its list of hooks gets one of ours while a thread needs it, and loses that one alone.
    """
    from huggingface_hub import get_session

    client = get_session()
    with _LOCK:
        _USED.append(client)
        if _inspect not in client.event_hooks["response"]:
            client.event_hooks["response"].append(_inspect)
    _THREAD.seen = seen
    try:
        yield
    finally:
        _THREAD.seen = None
        with _LOCK:
            _USED.remove(client)
            if client not in _USED:
                with contextlib.suppress(ValueError):  # somebody has put other hooks there
                    client.event_hooks["response"].remove(_inspect)


def _inspect(response: Any) -> None:
    """Check the etag of an answer to a request of this very thread, if it asked for one."""
    seen = _THREAD.seen
    if seen is None or response.request.method != "HEAD" or response.status_code >= 400:
        return
    etag = response.headers.get("x-linked-etag") or response.headers.get("etag")
    if etag is not None:  # A redirect on the way has none; at the end the client insists on one.
        seen.append(plain_etag(etag, response.request.url))


def _endpoint() -> str | None:
    """Return the mirror that HF_ENDPOINT names, None for the hub itself."""
    url = os.environ.get("HF_ENDPOINT") or None
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no port
        good = False
    if not good:
        raise InputError(
            "the environment variable HF_ENDPOINT must be a URL such as https://huggingface.co; "
            f"got {quoted(repr(url))}."
        )
    return url


@contextlib.contextmanager
def _hub_errors(name: str, revision: str | None, cache: Path) -> Iterator[None]:
    """Run a request; whatever the client raises comes out as one of numpy_bert's errors.

    Parameters
    ----------
    name, revision : str
        The repository and the revision, for the message.
    cache : Path
        The folder to which files go, for the message.
    """
    mirror = _endpoint()
    try:
        # The client reads its own variables while it is imported.
        import huggingface_hub.constants  # noqa: F401
        from huggingface_hub import HfApi, hf_hub_download  # noqa: F401
    except ValueError as failure:
        raise InputError(
            f"an environment variable HF_... of the hub client has a wrong value: {quoted(failure)}"
        ) from None
    what = name if revision is None else f"{name} at revision {quoted(revision)}"
    try:
        yield
    except OutputError as failure:
        raise _not_stored(str(failure).rstrip("."), what, cache) from None
    except NumpyBertError:
        raise
    except (OSError, ValueError) as failure:
        raise _translated(failure, what, mirror, cache) from None
    except Exception as failure:
        # httpx's errors have no common base with the client's own, nor one name in all versions.
        if "httpx" not in type(failure).__module__:
            raise
        raise _unreachable(failure, what, mirror) from None


def _translated(failure: Exception, what: str, mirror: str | None, cache: Path) -> NumpyBertError:
    """Return the error that says what became of a request."""
    from huggingface_hub import errors as hub

    if isinstance(failure, hub.LocalEntryNotFoundError):
        # The client found no copy to fall back on; why it looked for one is behind it.
        cause = failure.__cause__
        if not isinstance(cause, hub.HfHubHTTPError):
            return _unreachable(cause or failure, what, mirror)
        failure = cause
    if isinstance(failure, hub.GatedRepoError):
        return HubError(
            f"{what}: is gated. Accept its terms on its page on the hub, then pass your token: "
            "token=True (the saved one) or token='hf_...'; on the command line --token."
        )
    if isinstance(failure, hub.RepositoryNotFoundError):
        return HubError(
            f"{what}: there is no such repository on the hub, or it is private. If it is private, "
            "pass your token (token=True; on the command line --token)."
        )
    if isinstance(failure, hub.RevisionNotFoundError):
        return HubError(f"{what}: the repository has no such branch, tag or commit.")
    if isinstance(failure, hub.HfHubHTTPError):
        status = getattr(failure.response, "status_code", "?")
        url = getattr(getattr(failure.response, "request", None), "url", "")
        return HubError(f"{what}: the hub answered with status {status} at {url}.")
    if isinstance(failure, hub.HFValidationError):
        return InputError(f"model: {quoted(failure)}")
    if isinstance(failure, OSError):
        return _not_stored(quoted(failure), what, cache)
    return HubError(f"{what}: the hub's answer makes no sense ({quoted(failure)}).")


def _not_stored(reason: str, what: str, cache: Path) -> HubError:
    """Return the error for what came but found no place."""
    return HubError(
        f"{what}: could not be stored in {cache} ({reason}). Make room, or name another "
        "cache: cache_dir, on the command line --cache-dir."
    )


def _unreachable(failure: BaseException, what: str, mirror: str | None) -> OfflineError:
    """Return the error for a hub that gave no answer, or only half of one."""
    where = f"{mirror} (HF_ENDPOINT)" if mirror else "https://huggingface.co"
    reason = quoted(str(failure) or type(failure).__name__)
    return OfflineError(
        f"{what}: {where} could not be reached, or the connection broke ({reason})."
    )
