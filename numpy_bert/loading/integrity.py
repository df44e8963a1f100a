"""Downloaded blobs against the hashes that name them, once each, remembered.

The hub client publishes a file before anyone has checked it. Its cache names every blob by the
file's etag: the sha256 of a large file, the git sha1 of a small one. So a blob can be checked
against its own name at any time, without a request. What was checked is remembered beside the
blobs, with the size and time of change that the blob had, so it is hashed again only if it was
touched; and a blob that was never checked (a kill in between) is checked at its next use.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from numpy_bert.errors import IntegrityError, OutputError
from numpy_bert.files import write_atomically
from numpy_bert.progress import progress

__all__ = ["ETAG", "check", "remove", "unverified", "verify"]

# A git sha1 or a sha256, nothing else: an etag becomes a file name.
ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

_BLOCK = 1 << 20


def unverified(paths: Iterable[Path], *, again: bool = False) -> Iterator[Path]:
    """Yield those files of a snapshot whose blobs have not been checked since they last changed.

    Only files that link to a blob can be checked: on a system without symbolic links the cache
    holds copies whose hashes are not known. With `again`, those that were checked come too.
    """
    for path in paths:
        blob = _blob(path)
        if blob is not None and blob.is_file() and (again or not _is_marked(blob)):
            yield path


def verify(path: Path) -> None:
    """Hash a snapshot's file against its blob's name and remember that it was right.

    Raises
    ------
    IntegrityError
        If the bytes are not the ones that the hub published. The file is left in place.
    """
    blob = _blob(path)
    if blob is None:
        return
    before = _stamp(blob)
    check(path, blob.name)
    mark = _mark(blob)
    try:
        mark.parent.mkdir(exist_ok=True)
        write_atomically(mark, before.encode("ascii"))
    except (OSError, OutputError):
        pass  # A read-only cache works; it is hashed again next time.


def check(path: Path, etag: str) -> None:
    """Raise IntegrityError unless a file's bytes hash to its etag."""
    found = _hash(path, like=etag)
    if found != etag:
        raise IntegrityError(
            f"{path}: its bytes hash to {found}, the hub published {etag}. "
            "The file is corrupt; `numpy-bert fetch` gets it again."
        )


def remove(path: Path) -> None:
    """Remove a bad file from the cache: the link, the blob, and what a client might resume."""
    blob = _blob(path)
    try:
        path.unlink(missing_ok=True)
        if blob is not None:
            _mark(blob).unlink(missing_ok=True)
            for part in blob.parent.glob(f"{blob.name}*"):
                part.unlink(missing_ok=True)
    except OSError as failure:
        raise IntegrityError(
            f"{path}: is corrupt and could not be removed ({failure.strerror}); remove it, or "
            "name another cache: cache_dir, on the command line --cache-dir."
        ) from None


def _blob(path: Path) -> Path | None:
    """Return the blob that a snapshot's file links to, None if it is no such link."""
    if not path.is_symlink():
        return None
    target = path.parent / path.readlink()
    if target.parent.name != "blobs" or not ETAG.fullmatch(target.name):
        return None
    return target


def _mark(blob: Path) -> Path:
    """Return where it is remembered that a blob was checked."""
    return blob.parent.parent / ".numpy_bert_verified" / blob.name


def _is_marked(blob: Path) -> bool:
    """Tell whether a blob was checked and has not been touched since."""
    try:
        return _mark(blob).read_text("ascii") == _stamp(blob)
    except (OSError, UnicodeDecodeError):
        return False


def _stamp(blob: Path) -> str:
    """Return what changes when a blob is touched."""
    status = blob.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def _hash(path: Path, *, like: str) -> str:
    """Hash a file as its etag was: sha256, or git's sha1 of a header and the content."""
    size = path.stat().st_size
    git = len(like) == 40
    state = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False) if git else hashlib.sha256()
    try:
        with path.open("rb") as file, progress(size, "checking") as report:
            while block := file.read(_BLOCK):
                state.update(block)
                report(len(block))
    except OSError as failure:
        raise IntegrityError(f"{path}: cannot be read ({failure.strerror}).") from None
    return state.hexdigest()
