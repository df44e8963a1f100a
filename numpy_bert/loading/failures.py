"""What the hub client raises, turned into errors of numpy_bert's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from numpy_bert.errors import HubError, InputError, NumpyBertError, OfflineError, OutputError
from numpy_bert.messages import quoted

__all__ = ["endpoint", "hub_errors"]


def endpoint() -> str | None:
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
            f"the environment variable HF_ENDPOINT = {quoted(repr(url))}; a URL was expected, as "
            "https://huggingface.co."
        )
    return url


@contextmanager
def hub_errors(name: str, revision: str | None, cache: Path) -> Iterator[None]:
    """Run a request; whatever the client raises comes out as one of numpy_bert's errors.

    Parameters
    ----------
    name, revision : str
        Of the repository, for the message.
    cache : Path
        Where files go, for the message.
    """
    mirror = endpoint()
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
