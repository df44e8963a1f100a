"""A file of a commit on the hub: all of it, or ranges of it, each answer held to what was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from numpy_bert.errors import HubError, IntegrityError
from numpy_bert.loading.integrity import plain_etag
from numpy_bert.loading.patience import Patience, Tries, paced
from numpy_bert.loading.requests import Commit, RefusedError, opened, unsecret
from numpy_bert.messages import quoted, shown

__all__ = ["RemoteFile"]


class RemoteFile:
    """A file of a commit on the hub, of which the whole or ranges are read.

    Each answer is held to what was asked: the etag is a hash, the commit the one that was asked
    for. The whole of a file is checked against its hash by whoever takes it, so a broken try goes
    on where it stopped. A part of a file cannot be. What can be checked is: each answer is exactly
    the range that was asked for of a file of the same size, all are of one and the same file, the
    etag is still the same at the end, and a range starts anew, it is never continued.

    Parameters
    ----------
    commit : Commit
        The commit that has the file.
    name : str
        The file's name there.

    Attributes
    ----------
    where : str
        What messages call the file.
    etag : str
        The hash of the whole file.
    size : int or None
        The size of the whole file, in bytes; None where the hub does not tell it.

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

    @property
    def length(self) -> int:
        """The size; HubError where the hub does not tell it."""
        if self.size is None:
            raise self._untold()
        return self.size

    def download(self, sink: BinaryIO, report: Callable[[int], object] = lambda _: None) -> None:
        """Write the whole file to an empty one.

        Parameters
        ----------
        sink : binary file
            Open for writing, and empty.
        report : callable
            Gets the number of bytes of each block, negative for those taken back.

        Raises
        ------
        HubError
            If other than the file's bytes come; OfflineError if none do.
        """
        with self._commit.errors():
            tries = Tries(self._commit.patience, self.where)
            while True:
                before = sink.tell()
                try:
                    self._go_on(sink, report)
                except Exception as failure:
                    if not tries.again(failure, sink.tell() - before):
                        raise
                    # Where the hub sent us to may be good for a short time only.
                    self._location = self._commit.url(self.name)
                else:
                    return

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

        What a broken try wrote is taken back before the next one.

        Parameters
        ----------
        start, stop : int
            The range, as in a slice, within the file.
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
            tries = Tries(self._commit.patience, self.where)
            while True:
                try:
                    self._try(start, stop, sink, report)
                except Exception as failure:
                    if not tries.again(failure):
                        raise
                    _take_back(sink, position, report)
                    self._location = self._commit.url(self.name)
                else:
                    return

    def check_unchanged(self) -> None:
        """Ask the hub once more; raise IntegrityError if it now has another file."""
        etag, size, _ = self._ask()
        if (etag, size) != (self.etag, self.size):
            before = f"{self.size} bytes, etag {self.etag}"
            raise self._changed(before, f"{size} bytes, etag {etag}")

    def _ask(self) -> tuple[str, int | None, str]:
        """Return the etag, the size, and where the bytes are, once they make sense."""
        told = self._commit.head(self.name)
        if told.commit_hash != self._commit.sha:
            raise HubError(
                f"{self.where}: commit {self._commit.sha} was asked for, the hub answered with "
                f"{shown(told.commit_hash)}."
            )
        url = self._commit.url(self.name)
        if told.etag is None or (told.size is not None and told.size < 0):
            raise self._untold()
        # Where there is a Xet hash the client, too, asks anew for each request where to go. Its
        # store is not used: it keeps no policy but its own.
        location = told.location if told.xet_file_data is None else url
        return plain_etag(told.etag, unsecret(url)), told.size, location

    def _untold(self) -> HubError:
        url = unsecret(self._commit.url(self.name))
        return HubError(f"{self.where}: the hub did not tell its etag and size ({url}).")

    def _go_on(self, sink: BinaryIO, report: Callable[[int], object]) -> None:
        """Ask for what a file lacks, once, and write it."""
        have = sink.tell()
        if have and have == self.size:
            return
        if have and self.size is None:
            have = _take_back(sink, 0, report)
        extra = {"Range": f"bytes={have}-"} if have else {}
        try:
            with opened(self._location, self._headers() | extra, *self._patience) as answer:
                if answer.status_code == 206 and have:
                    self._check_range(answer, have, self.length)
                elif answer.status_code == 200:
                    have = _take_back(sink, 0, report)
                else:
                    raise self._odd_status(answer)
                blocks = answer.iter_raw() if have else answer.iter_bytes()
                left = None if self.size is None else self.size - have
                self._write(blocks, left, sink, report)
        except RefusedError as failure:
            if not have or failure.response.status_code != 416:
                raise
            _take_back(sink, 0, report)  # there is no such range: the whole, then
            self._go_on(sink, report)

    def _try(self, start: int, stop: int, sink: BinaryIO, report: Callable[[int], object]) -> None:
        """Ask for a range once and write it."""
        headers = self._headers() | {"Range": f"bytes={start}-{stop - 1}"}
        with opened(self._location, headers, *self._patience) as answer:
            self._check(answer, start, stop)
            # Raw: whatever might be decoded was refused already.
            self._write(answer.iter_raw(), stop - start, sink, report)

    def _write(
        self,
        blocks: Iterable[bytes],
        wanted: int | None,
        sink: BinaryIO,
        report: Callable[[int], object],
    ) -> None:
        """Write what comes, at the least speed or faster, and as much as is wanted."""
        left = wanted
        for block in paced(blocks, self._commit.patience):
            if left is not None:
                left -= len(block)
                if left < 0:
                    break
            sink.write(block)
            report(len(block))
        if left:
            raise HubError(
                f"{self.where}: {wanted:,} bytes were asked for, the hub sent "
                f"{'more' if left < 0 else f'{left:,} less'}."
            )

    @property
    def _patience(self) -> tuple[Patience, float]:
        """How long an answer may take, and the most seconds of silence."""
        return self._commit.patience, self._commit.patience.read_timeout

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
                f"{self.where}: the hub sent the request on to {quoted(unsecret(open_ones[0]))}, "
                "which is not encrypted. Fetch it whole, which is checked against its hash: "
                "without only='embeddings', on the command line without --only."
            )
        if answer.status_code == 200:
            raise HubError(
                f"{self.where}: the hub ignored the range and would send the whole file, of "
                f"{self.length:,} bytes. Fetch it whole: without only='embeddings', on the command "
                "line without --only."
            )
        if answer.status_code != 206:
            raise self._odd_status(answer)
        self._check_range(answer, start, stop)
        version = tuple(answer.headers.get(key) for key in ("ETag", "Last-Modified"))
        if self._version not in (None, version):
            raise self._changed(str(self._version), str(version))
        self._version = version

    def _check_range(self, answer: Any, start: int, stop: int) -> None:
        """Raise unless an answer is the range that was asked for, as its headers have it."""
        expected = {
            "Content-Range": f"bytes {start}-{stop - 1}/{self.length}",
            "Content-Encoding": "identity",
            "Content-Length": str(stop - start),
        }
        optional = {"Content-Encoding", "Content-Length"}
        for header, right in expected.items():
            found = answer.headers.get(header)
            if found != right and not (found is None and header in optional):
                raise HubError(
                    f"{self.where}: bytes {start}-{stop - 1} of {self.length} were asked for, the "
                    f"hub answered with {header}: {quoted(found)}."
                )

    def _odd_status(self, answer: Any) -> HubError:
        return HubError(f"{self.where}: the hub answered with status {answer.status_code}.")

    def _changed(self, before: str, after: str) -> IntegrityError:
        return IntegrityError(
            f"{self.where}: changed while it was read ({quoted(before)}, then {quoted(after)}); "
            "nothing was kept. Fetch it again."
        )


def _take_back(sink: BinaryIO, position: int, report: Callable[[int], object]) -> int:
    """Cut a file at a position, and return that."""
    report(position - sink.tell())
    sink.seek(position)
    sink.truncate()
    return position


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Return what two addresses must share for one to get what is meant for the other."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
