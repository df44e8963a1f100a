"""Ranges of the bytes of one file on the hub, every answer held to what was asked.

huggingface_hub's own client makes the requests, with its proxies, certificates and timeouts. A
part of a file cannot be checked against the hash of the whole. What can be checked is checked: the
etag is a hash, the commit the one that was asked for, each answer exactly the range that was asked
for of a file of the same size, all answers of one and the same file, the etag still the same at
the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from io import BytesIO
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from numpy_bert.errors import HubError, IntegrityError
from numpy_bert.loading.client import Commit
from numpy_bert.loading.integrity import plain_etag
from numpy_bert.messages import quoted

__all__ = ["RemoteFile"]

# Seconds before another try where a connection was cut or the hub failed; then it is given up.
_WAITS = (0.5, 1.0)
# What passes by itself, by name: httpx and httpx2 have no common base for it.
_PASSING = {"TimeoutException", "NetworkError", "RemoteProtocolError"}


class RemoteFile:
    """A file of a commit on the hub, of which ranges are read.

    Parameters
    ----------
    commit : Commit
        Where the file is.
    name : str
        The file's name there.

    Attributes
    ----------
    where : str
        What messages call it.
    etag : str
        The hash of the whole file.
    size : int
        Of the whole file, in bytes.

    Raises
    ------
    HubError
        If the hub does not have the file, or does not say what it is.
    IntegrityError
        If the etag is no hash.
    """

    def __init__(self, commit: Commit, name: str) -> None:
        self.name = name
        self.where = f"{commit.repository.name}: {name}"
        self._commit = commit
        self.etag, self.size, self._location = self._ask()
        self._version: tuple[str | None, ...] | None = None

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` up to `stop`."""
        buffer = BytesIO()
        self.copy(start, stop, buffer)
        return buffer.getvalue()

    def copy(
        self,
        start: int,
        stop: int,
        sink: BinaryIO,
        report: Callable[[int], object] = lambda _: None,
    ) -> None:
        """Append the bytes from `start` up to `stop` to a file.

        A connection that is cut, and a hub that fails, get two more tries. What the broken try
        wrote is taken back first: a range starts anew, it is never continued.

        Parameters
        ----------
        start, stop : int
            As of a slice, within the file.
        sink : binary file
            Open for writing at its end.
        report : callable
            Gets the number of bytes of each block, negative for those taken back.

        Raises
        ------
        HubError
            If the answer is not the range that was asked for, exactly; OfflineError if there is
            none.
        IntegrityError
            If the answer is of another version of the file than those before it.
        """
        if start == stop:
            return
        position = sink.tell()
        with self._commit.errors():
            for wait in (*_WAITS, None):
                try:
                    self._try(start, stop, sink, report)
                except Exception as failure:
                    if wait is None or not _is_passing(failure):
                        raise
                    report(position - sink.tell())
                    sink.seek(position)
                    time.sleep(wait)
                else:
                    return

    def check_unchanged(self) -> None:
        """Ask the hub once more; raise IntegrityError if it now has another file."""
        etag, size, _ = self._ask()
        if (etag, size) != (self.etag, self.size):
            before = f"{self.size} bytes, etag {self.etag}"
            raise self._changed(before, f"{size} bytes, etag {etag}")

    def _ask(self) -> tuple[str, int, str]:
        """Return the etag, the size, and where the bytes are, once they make sense."""
        told = self._commit.head(self.name)
        if told.commit_hash != self._commit.sha:
            raise HubError(
                f"{self.where}: commit {self._commit.sha} was asked for, the hub answered with "
                f"{quoted(repr(told.commit_hash))}."
            )
        url = self._commit.url(self.name)
        if told.etag is None or told.size is None or told.size < 0:
            raise HubError(f"{self.where}: the hub did not tell its etag and size ({url}).")
        # Where there is a Xet hash the client, too, asks anew for each request where to go.
        location = told.location if told.xet_file_data is None else url
        return plain_etag(told.etag, url), told.size, location

    def _try(self, start: int, stop: int, sink: BinaryIO, report: Callable[[int], object]) -> None:
        """Ask for a range once and write it."""
        from huggingface_hub import constants, get_session
        from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

        headers = self._headers() | {"Range": f"bytes={start}-{stop - 1}"}
        with get_session().stream(
            "GET",
            self._location,
            headers=headers,
            timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
            follow_redirects=True,
        ) as answer:
            hf_raise_for_status(answer)
            self._check(answer, start, stop)
            left = stop - start
            # Raw: whatever might be decoded was refused already.
            for block in answer.iter_raw():
                left -= len(block)
                if left < 0:
                    break
                sink.write(block)
                report(len(block))
        if left:
            raise HubError(
                f"{self.where}: bytes {start}-{stop - 1} were asked for, the hub sent "
                f"{'more' if left < 0 else f'{left:,} less'}."
            )

    def _headers(self) -> dict[str, str]:
        """Return the headers of every request; the token goes to the hub and nowhere else."""
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        headers = dict(build_hf_headers(token=self._commit.token))
        if _origin(self._location) != _origin(self._commit.url(self.name)):
            headers.pop("authorization", None)
        # Of compressed bytes a range means nothing.
        return headers | {"Accept-Encoding": "identity"}

    def _check(self, answer: Any, start: int, stop: int) -> None:
        """Raise unless an answer's status and headers are those of the range, before its body."""
        hops = [hop.url for hop in (*answer.history, answer)]
        open_ones = [url for url in hops if url.scheme != "https"]
        if open_ones and urlsplit(self._commit.url(self.name)).scheme == "https":
            # No hash covers a part of a file: nothing but TLS protects it on its way.
            raise HubError(
                f"{self.where}: the hub sent the request on to {quoted(open_ones[0])}, which is "
                "not encrypted. Fetch it whole, which is checked against its hash: without "
                "only='embeddings', on the command line without --only."
            )
        if answer.status_code == 200:
            raise HubError(
                f"{self.where}: the hub ignored the range and would send the whole file, of "
                f"{self.size:,} bytes. Fetch it whole: without only='embeddings', on the command "
                "line without --only."
            )
        if answer.status_code != 206:
            raise HubError(f"{self.where}: the hub answered with status {answer.status_code}.")
        expected = {
            "Content-Range": f"bytes {start}-{stop - 1}/{self.size}",
            "Content-Encoding": "identity",
            "Content-Length": str(stop - start),
        }
        optional = {"Content-Encoding", "Content-Length"}
        for header, right in expected.items():
            found = answer.headers.get(header)
            if found != right and not (found is None and header in optional):
                raise HubError(
                    f"{self.where}: bytes {start}-{stop - 1} of {self.size} were asked for, the "
                    f"hub answered with {header}: {quoted(found)}."
                )
        version = tuple(answer.headers.get(key) for key in ("ETag", "Last-Modified"))
        if self._version not in (None, version):
            raise self._changed(str(self._version), str(version))
        self._version = version

    def _changed(self, before: str, after: str) -> IntegrityError:
        return IntegrityError(
            f"{self.where}: changed while it was read ({quoted(before)}, then {quoted(after)}); "
            "nothing was kept. Fetch it again."
        )


def _is_passing(failure: Exception) -> bool:
    """Tell whether the next try may go well: the connection broke, or the hub failed."""
    status = getattr(getattr(failure, "response", None), "status_code", 0)
    return status >= 500 or any(base.__name__ in _PASSING for base in type(failure).__mro__)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Return what two addresses must share for one to get what is meant for the other."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
