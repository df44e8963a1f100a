"""Requests to the hub: what is asked, and one kind of error for whatever comes of it.

huggingface_hub's client makes the connections, with its proxies, certificates and tokens, and is
imported only when a request has to be made. How often a request is made, and how long it may take,
is `numpy_bert.loading.patience`'s.
"""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

from numpy_bert.errors import HubError, InputError, NumpyBertError, OfflineError, OutputError
from numpy_bert.files import decode_json
from numpy_bert.loading.cache import CachedRepository
from numpy_bert.loading.patience import Patience, TooSlowError, Tries, begun, paced
from numpy_bert.messages import quoted, shown

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

__all__ = [
    "Commit",
    "RefusedError",
    "hub_errors",
    "model_info",
    "opened",
    "unsecret",
    "warn_of_open_token",
]

_HUB = "https://huggingface.co"
# Of what the hub says of a model more is no list of files.
_LARGEST_LISTING = 1 << 26
_SECRET = re.compile(r"//\S*@")


class RefusedError(Exception):
    """An answer whose status is an error's."""

    def __init__(self, response: Any) -> None:
        super().__init__(response.status_code)
        self.response = response


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
    patience : Patience
        How long its files are asked for.
    """

    repository: CachedRepository
    sha: str
    names: frozenset[str]
    token: bool | str
    patience: Patience

    @property
    def snapshot(self) -> Path:
        """The folder of its files in the cache."""
        return self.repository.folder / "snapshots" / self.sha

    def errors(self) -> contextlib.AbstractContextManager[None]:
        """Turn whatever a request raises into one of numpy_bert's errors."""
        return hub_errors(self.repository.name, None, self.repository.cache)

    def url(self, name: str) -> str:
        """Return where the hub has a file."""
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.repository.name, name, revision=self.sha, endpoint=_base())

    def head(self, name: str) -> HfFileMetadata:
        """Ask what the hub has to say of a file, without its bytes."""
        tries = Tries(self.patience, f"{self.repository.name}: {name}")
        with self.errors():
            from huggingface_hub import get_hf_file_metadata

            while True:
                try:
                    ask = partial(get_hf_file_metadata, self.url(name), token=self.token)
                    timeout = self.patience.answer_timeout
                    ask = partial(ask, timeout=timeout, endpoint=_base())
                    return begun(ask, self.patience, timeout)
                except Exception as failure:
                    if not tries.again(failure):
                        raise


def model_info(
    name: str, revision: str | None, token: bool | str, patience: Patience
) -> dict[str, Any]:
    """Ask what the hub has to say of a model: the commit of a revision, and its files."""
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    url = f"{_base()}/api/models/{name}"
    url += "" if revision is None else f"/revision/{quote(revision, safe='')}"
    headers = dict(build_hf_headers(token=token))
    tries = Tries(patience, name, reached=False)
    while True:
        data = b""
        try:
            with opened(url, headers, patience, patience.answer_timeout) as answer:
                for block in paced(answer.iter_bytes(), patience):
                    data += block
                    if len(data) > _LARGEST_LISTING:
                        raise HubError(f"{name}: the hub's list of its files has no end.")
            return decode_json(data, where=f"{name}: the hub's answer", error=HubError)
        except Exception as failure:
            if not tries.again(failure):
                raise


@contextlib.contextmanager
def opened(url: str, headers: dict[str, str], patience: Patience, timeout: float) -> Iterator[Any]:
    """Make a GET request and yield its answer, whose body is still to come.

    Raises
    ------
    RefusedError
        If its status is an error's.
    """
    from huggingface_hub import get_session

    request = get_session().stream(
        "GET", url, headers=headers, timeout=timeout, follow_redirects=True
    )
    with contextlib.ExitStack() as stack:
        answer = begun(request.__enter__, patience, timeout)
        stack.push(request.__exit__)
        if answer.status_code >= 400:
            raise RefusedError(answer)
        yield answer


@contextlib.contextmanager
def hub_errors(name: str, revision: str | None, cache: Path) -> Iterator[None]:
    """Run a request; whatever comes of it comes out as one of numpy_bert's errors.

    Parameters
    ----------
    name, revision : str
        The repository and the revision, for the message.
    cache : Path
        The folder to which files go, for the message.
    """
    _endpoint()  # refuses what is no URL
    _start_client()
    what = name if revision is None else f"{name} at revision {quoted(revision)}"
    try:
        yield
    except OutputError as failure:
        raise _not_stored(str(failure).rstrip("."), what, cache) from None
    except NumpyBertError:
        raise
    except (OSError, ValueError, RefusedError) as failure:
        raise _translated(failure, what, cache) from None
    except Exception as failure:
        # httpx's errors have no common base with the client's own, nor one name in all versions.
        if not isinstance(failure, TooSlowError) and "httpx" not in type(failure).__module__:
            raise
        raise _unreachable(failure, what) from None


def unsecret(text: object) -> str:
    """Return a URL, or a text with one, without the name and password that it may hold.

    Examples
    --------
    >>> unsecret("https://me:secret@hub.example/x")
    'https://***@hub.example/x'
    """
    said = str(text)
    for url in (os.environ.get("HF_ENDPOINT", ""), *getproxies().values()):
        # Whole, as what is wrong with one may be that it is no URL.
        start, at, host = url.rpartition("@")
        scheme, slashes, _ = start.rpartition("//")
        said = said.replace(url, f"{scheme}{slashes}***@{host}") if at else said
    return _SECRET.sub("//***@", said)


def warn_of_open_token() -> None:
    """Warn where a token is about to be sent to a mirror that anyone on the way can listen to."""
    parts = urlsplit(_endpoint() or _HUB)
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        warnings.warn(
            f"the token is sent to {parts.hostname} (HF_ENDPOINT) over http, unencrypted: whoever "
            "reads it on its way can use it.",
            stacklevel=2,
        )


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
            f"the environment variable HF_ENDPOINT must be a URL such as {_HUB}; "
            f"got {shown(unsecret(url))}."
        )
    return url


def _base() -> str:
    """Return what the address of each request begins with."""
    return (_endpoint() or _HUB).rstrip("/")


def _start_client() -> None:
    """Import the client and let it read its variables, the proxies and the certificates."""
    Patience.from_environment()  # names those of its variables that are ours, too
    try:
        from huggingface_hub import get_session
    except ValueError as failure:
        bad = [k for k, v in os.environ.items() if k.startswith("HF_") and repr(v) in str(failure)]
        raise InputError(
            f"the environment variable {bad[0] if bad else 'HF_...'} of the hub's client has a "
            f"wrong value: {quoted(failure)}"
        ) from None
    try:
        get_session()
    except OSError as failure:
        raise InputError(
            "the environment variables SSL_CERT_FILE and SSL_CERT_DIR must name certificates "
            f"({quoted(failure)})."
        ) from None
    except Exception as failure:
        if not isinstance(failure, ValueError) and "httpx" not in type(failure).__module__:
            raise
        raise InputError(
            "the environment variables HTTPS_PROXY, HTTP_PROXY and ALL_PROXY must be URLs such as "
            f"http://proxy.example:3128 ({quoted(unsecret(failure))})."
        ) from None


def _translated(failure: Exception, what: str, cache: Path) -> NumpyBertError:
    """Return the error that says what became of a request."""
    from huggingface_hub import errors as hub

    if isinstance(failure, (RefusedError, hub.HfHubHTTPError)):
        return _refusal(failure.response, what)
    if isinstance(failure, hub.HFValidationError):
        return InputError(f"model: {quoted(failure)}")
    if isinstance(failure, hub.LocalTokenNotFoundError):
        return InputError(
            "token: there is no saved token. Save one (hf auth login), set HF_TOKEN, or pass it: "
            "token='hf_...'."
        )
    if isinstance(failure, (ConnectionError, TimeoutError)):
        return _unreachable(failure, what)
    if isinstance(failure, OSError):
        return _not_stored(quoted(failure), what, cache)
    return HubError(f"{what}: the hub's answer makes no sense ({quoted(unsecret(failure))}).")


def _refusal(response: Any, what: str) -> HubError:
    """Return the error for an answer whose status is an error's."""
    status, code = response.status_code, response.headers.get("X-Error-Code")
    if code == "GatedRepo":
        return HubError(
            f"{what}: is gated. Accept its terms on its page on the hub, then pass your token: "
            "token=True (the saved one) or token='hf_...'; on the command line --token."
        )
    if response.headers.get("X-Error-Message") == "Invalid credentials in Authorization header":
        return HubError(f"{what}: the hub does not know the token that was sent (status {status}).")
    if code == "RepoNotFound" or status == 401:  # which hides that there is a private one
        return HubError(
            f"{what}: there is no such repository on the hub, or it is private. If it is private, "
            "pass your token (token=True; on the command line --token)."
        )
    if code == "RevisionNotFound":
        return HubError(f"{what}: the repository has no such branch, tag or commit.")
    # What stands behind a "?" may be a signature, by which anyone could fetch the file.
    url = unsecret(getattr(getattr(response, "request", None), "url", "")).partition("?")[0]
    return HubError(f"{what}: the hub answered with status {status} at {quoted(url)}.")


def _not_stored(reason: str, what: str, cache: Path) -> HubError:
    """Return the error for what came but found no place."""
    named = [
        f" ({variable})"
        for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME")
        if (value := os.environ.get(variable))
        and Path(os.path.expandvars(value)).expanduser() in (cache, cache.parent)
    ]
    return HubError(
        f"{what}: could not be stored in {cache}{''.join(named[:1])} ({reason}). Make room, or "
        "name another cache: cache_dir, on the command line --cache-dir."
    )


def _unreachable(failure: BaseException, what: str) -> OfflineError:
    """Return the error for a hub that gave no answer, or only half of one."""
    mirror = _endpoint()
    where = f"{unsecret(mirror)} (HF_ENDPOINT)" if mirror else _HUB
    parts = urlsplit(mirror or _HUB)
    proxy = getproxies().get(parts.scheme) or getproxies().get("all")
    if proxy and not proxy_bypass(parts.netloc):
        where += f", by way of the proxy {quoted(unsecret(proxy))} (HTTPS_PROXY and its like),"
    reason = quoted(unsecret(str(failure) or type(failure).__name__))
    if "CERTIFICATE" in reason:
        reason += "; SSL_CERT_FILE names the certificates that are trusted"
    return OfflineError(
        f"{what}: {where} could not be reached, or the connection broke ({reason})."
    )
