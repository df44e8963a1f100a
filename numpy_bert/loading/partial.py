"""The input embedding of a published checkpoint alone: a fifth of BERT's bytes.

A safetensors file begins with a table of where its tensors lie. It is fetched and checked first,
then the ranges of the five tensors of the input embedding and no other byte. They become one valid
safetensors file, in a place of its own in the hub's cache, so that nobody takes it for the whole.
The small files, which can be checked, are the ordinary snapshot's.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from numpy_bert.config import BertConfig
from numpy_bert.errors import CheckpointError, HubError, IntegrityError
from numpy_bert.files import write_atomically, writing
from numpy_bert.loading.cache import (
    MODEL_FILES,
    PART_FILES,
    PART_RECORD,
    PARTS,
    CachedRepository,
    missing_files,
    small_files,
    used_files,
)
from numpy_bert.loading.checkpoint import INDEX, SINGLE, shard_names
from numpy_bert.loading.client import Commit, remember, resolve, take
from numpy_bert.loading.header import Entry, header_length, make_header, read_header
from numpy_bert.loading.integrity import plain_etag, sha256, unverified, verify
from numpy_bert.loading.keys import Naming, naming
from numpy_bert.loading.stored import SafetensorsFile
from numpy_bert.loading.tensors import check_tensors, embedding_shapes
from numpy_bert.messages import quoted
from numpy_bert.progress import progress

__all__ = ["RemoteFile", "download_part"]

# A second or so at the speed of a home's network.
_WORTH_A_BAR = 4_000_000
_UNCHECKED = (
    "A part of a published file: its bytes are the ranges listed in 'files'. A part of a file "
    "cannot be checked against the hash (etag) of the whole."
)
# Seconds after which a temporary file that nobody has written to belongs to nobody.
_ABANDONED = 3600.0
# Seconds before another try where a connection was cut or the hub failed; then it is given up.
_WAITS = (0.5, 1.0)
# What passes by itself, by name: httpx and httpx2 have no common base for it.
_PASSING = {"TimeoutException", "NetworkError", "RemoteProtocolError"}


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """What is taken from one file of a checkpoint: tensors, in the order of the file."""

    remote: RemoteFile
    entries: tuple[Entry, ...]

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The bytes of the tensors as slices, those that touch merged into one."""
        merged: list[tuple[int, int]] = []
        for entry in self.entries:
            start, stop = entry.start, entry.start + entry.nbytes
            if merged and merged[-1][1] == start:
                start = merged.pop()[0]
            merged.append((start, stop))
        return merged


def download_part(
    repository: CachedRepository, revision: str | None, token: bool | str | None
) -> Path:
    """Fetch the input embedding of one commit; only then let the revision point to it.

    Where the snapshot of the commit is whole already, it is brought up to date and returned.
    """
    commit = resolve(repository, revision, token)
    whole = not missing_files(commit.snapshot, MODEL_FILES)
    weights = take(commit, weights=whole)
    folder = commit.snapshot if whole else repository.folder / PARTS / commit.sha
    if not whole and not _is_sound(folder):
        with commit.errors():
            _make(folder, commit, weights)
    remember(commit, revision)
    return folder


def _is_sound(folder: Path) -> bool:
    """Tell whether a part is complete and has not changed since it was downloaded."""
    if missing_files(folder, PART_FILES):
        return False
    try:
        for path in unverified(used_files(folder)):
            verify(path)
    except IntegrityError:
        return False
    return True


def _make(folder: Path, commit: Commit, weights: str) -> None:
    """Make the folder of a part, its model.safetensors last."""
    pieces = _pieces(commit, weights)
    total = sum(entry.nbytes for piece in pieces for entry in piece.entries)

    def finish(temporary: Path) -> None:
        SafetensorsFile(temporary)  # read back
        for piece in pieces:
            piece.remote.check_unchanged()
        for path in small_files(commit.snapshot):
            _repeat(path, folder / path.relative_to(commit.snapshot))
        record = {"repository": commit.repository.name, "commit": commit.sha}
        record |= {"only": "embeddings", "sha256": sha256(temporary)}
        write_atomically(folder / PART_RECORD, json.dumps(record, indent=2).encode())

    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        with (
            writing(folder / SINGLE, finish) as file,
            progress(total, "embeddings", least=_WORTH_A_BAR) as report,
        ):
            file.write(_header(commit, pieces))
            for piece in pieces:
                for start, stop in piece.ranges:
                    piece.remote.copy(start, stop, file, report)
    finally:
        with contextlib.suppress(OSError):  # removes nothing but empty folders
            folder.rmdir()
            folder.parent.rmdir()
    verify(folder / SINGLE)


def _pieces(commit: Commit, weights: str) -> list[_Piece]:
    """Find the tensors of the input embedding, all checked before a byte of them is asked for."""
    if "config.json" not in commit.names:
        raise CheckpointError(
            f"{commit.repository.name}: has its BERT in a folder of its own. Fetch it whole: "
            "without only='embeddings', on the command line without --only."
        )
    config = BertConfig.from_json_file(commit.snapshot / "config.json")
    needed = embedding_shapes(config)
    label = f"{commit.repository.name}: {weights}"
    listed = shard_names(commit.snapshot) if weights == INDEX else {}
    keys = naming(listed, label)
    names = [name for name in listed if keys.canonical(name) in needed]
    _check_unique(names, keys, label)
    pieces = []
    tensors: dict[str, Entry] = {}
    for file in sorted({listed[name] for name in names}) if listed else [SINGLE]:
        remote = RemoteFile(commit, file)
        # A tensor of which the index says that it lies elsewhere is not the one that is meant.
        table = [entry for entry in _table(remote) if listed.get(entry.name, file) == file]
        if not listed:
            keys = naming([entry.name for entry in table], label)
        mine = [entry for entry in table if keys.canonical(entry.name) in needed]
        pieces.append(_Piece(remote, tuple(sorted(mine, key=lambda entry: entry.start))))
        tensors |= {keys.canonical(entry.name): entry for entry in table}
    _check_unique([entry.name for piece in pieces for entry in piece.entries], keys, label)
    check_tensors(tensors, needed, config, label)
    return pieces


def _check_unique(names: Iterable[str], keys: Naming, label: str) -> None:
    """Raise CheckpointError if two tensors claim one parameter: their bytes would have to agree."""
    seen: dict[str, str] = {}
    for name in names:
        key = keys.canonical(name)
        if key in seen:
            raise CheckpointError(
                f"{label}: {quoted(seen[key])} and {quoted(name)} are one parameter. Fetch it "
                "whole: without only='embeddings', on the command line without --only."
            )
        seen[key] = name


def _table(remote: RemoteFile) -> list[Entry]:
    """Fetch the header of a file and check it as that of a local one is checked."""
    start = remote.read(0, min(8, remote.size))
    length = header_length(start, remote.size, remote.where)
    header = remote.read(8, 8 + length)
    return list(read_header(header, remote.size, remote.where).tensors.values())


def _header(commit: Commit, pieces: Iterable[_Piece]) -> bytes:
    """Return the beginning of the part's own file: the tensors follow in the same order."""
    files = [
        {
            "name": piece.remote.name,
            "etag": piece.remote.etag,
            "size": piece.remote.size,
            "ranges": [f"{start}-{stop - 1}" for start, stop in piece.ranges],
        }
        for piece in pieces
    ]
    # No "format": without it transformers refuses the file, instead of filling up an encoder.
    return make_header(
        (entry for piece in pieces for entry in piece.entries),
        {
            "only": "embeddings",
            "repository": commit.repository.name,
            "commit": commit.sha,
            "files": json.dumps(files),
            "note": _UNCHECKED,
        },
    )


def _repeat(path: Path, target: Path) -> None:
    """Put a snapshot's file beside a part: the same link, as deep; where it is none, a copy."""
    target.parent.mkdir(exist_ok=True)
    target.unlink(missing_ok=True)
    if path.is_symlink():
        with contextlib.suppress(FileExistsError):  # another process has just done the same
            target.symlink_to(path.readlink())
    else:
        with path.open("rb") as source, writing(target) as file:
            shutil.copyfileobj(source, file)


def _sweep(folder: Path) -> None:
    """Remove what a download that was killed has left; one that runs writes all the time."""
    with contextlib.suppress(OSError):
        for path in folder.glob(f".{SINGLE}.*.tmp"):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()


class RemoteFile:
    """A file of a commit on the hub, of which ranges are read, each answer held to what was asked.

    huggingface_hub's own client makes the requests, with its proxies, certificates and timeouts. A
    part of a file cannot be checked against the hash of the whole. What can be checked is checked:
    the etag is a hash, the commit the one that was asked for, each answer exactly the range that
    was asked for of a file of the same size, all answers of one and the same file, the etag still
    the same at the end.

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
    size : int
        The size of the whole file, in bytes.

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
