"""Downloaded blobs against the hashes that name them, once each, remembered.

The hub's cache names every blob by the file's etag: the sha256 of a large file, the git sha1 of a
small one. So a blob can be checked against its own name at any time, without a request. What was
checked is remembered beside the blobs, with the size and time of change that the blob had, so it is
hashed again only if it was touched; and a blob that was never checked, since another program
downloaded it, is checked at its next use.

A part of a file (`numpy_bert.loading.partial`) has no published hash. What it hashed to when it was
downloaded stands in the record beside it, and it is held to that in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from numpy_bert.errors import IntegrityError, OutputError
from numpy_bert.files import look, read_json, write_atomically
from numpy_bert.loading.cache import PART_RECORD, PARTS
from numpy_bert.loading.checkpoint import SINGLE
from numpy_bert.messages import must_be
from numpy_bert.progress import progress

__all__ = [
    "ETAG",
    "check",
    "is_sound",
    "plain_etag",
    "remember_checked",
    "remove",
    "sha256",
    "unverified",
    "verify",
]

# A git sha1 or a sha256, nothing else: an etag becomes a file name.
ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

_BLOCK = 1 << 20


class _Known(NamedTuple):
    """A file whose hash is known: the hub's, or of a part the one that it had at first."""

    file: Path
    etag: str
    published: bool

    @property
    def mark(self) -> Path:
        """Where it is remembered that the file was checked."""
        return self.file.parent.parent / ".numpy_bert_verified" / self.etag

    @property
    def stamp(self) -> str:
        """What changes when the file is touched."""
        status = self.file.stat()
        return f"{status.st_size} {status.st_mtime_ns}"

    @property
    def is_marked(self) -> bool:
        """Whether the file was checked and has not been touched since."""
        try:
            return self.mark.read_text("ascii") == self.stamp
        except (OSError, UnicodeDecodeError):
            return False


def unverified(paths: Iterable[Path], *, again: bool = False) -> Iterator[Path]:
    """Yield those files of a snapshot that have not been checked since they last changed.

    Only links to a blob, and parts, can be checked: on a system without symbolic links the cache
    holds copies whose hashes are not known. With `again`, those that were checked come too.
    """
    for path in paths:
        known = _known(path)
        if known is not None and look(known.file) == "file" and (again or not known.is_marked):
            yield path


def verify(path: Path) -> None:
    """Hash a snapshot's file against its blob's name and remember that it was right.

    Raises
    ------
    IntegrityError
        If the bytes are not the ones that the hub published, or, for a part, not the ones that were
        downloaded. The file is left in place.
    """
    known = _known(path)
    if known is None:
        return
    before = known.stamp
    check(path, known.etag, said="the hub published" if known.published else "at download it was")
    _remember(known, before)


def is_sound(blob: Path) -> bool:
    """Tell whether a blob of the cache is there and has the hash that is its name."""
    known = _Known(blob, blob.name, published=True)
    if look(blob) != "file":
        return False
    if known.is_marked:
        return True
    before = known.stamp
    if _hash(blob, like=known.etag) != known.etag:
        return False
    _remember(known, before)
    return True


def remember_checked(blob: Path) -> None:
    """Remember that a blob, which has just been written, was hashed and found right."""
    known = _Known(blob, blob.name, published=True)
    _remember(known, known.stamp)


def _remember(known: _Known, stamp: str) -> None:
    """Remember that a file was right when it had this stamp."""
    try:
        known.mark.parent.mkdir(exist_ok=True)
        write_atomically(known.mark, stamp.encode("ascii"))
    except (OSError, OutputError):
        pass  # A read-only cache works; it is hashed again next time.


def check(path: Path, etag: str, *, said: str = "the hub published", name: str = "") -> None:
    """Raise IntegrityError unless a file's bytes hash to its etag; `name` is for the message."""
    found = _hash(path, like=etag)
    if found != etag:
        way_out = "" if name else " The file is corrupt; `numpy-bert fetch` gets it again."
        raise IntegrityError(f"{name or path}: its bytes hash to {found}, {said} {etag}.{way_out}")


def sha256(path: Path) -> str:
    """Hash a file as a large one's etag is."""
    return _hash(path, like="0" * 64)


def plain_etag(etag: str, url: object) -> str:
    """Return an etag without its quotes; raise IntegrityError unless it is a hash.

    A hostile mirror's ``../../x`` would become a path outside the cache.
    """
    plain = etag.removeprefix("W/").strip('"')
    if not ETAG.fullmatch(plain):
        raise IntegrityError(
            f"{url}: {must_be('the etag', 'a sha256 or a git sha1', etag)} Nothing was written."
        )
    return plain


def remove(path: Path) -> None:
    """Remove a bad file from the cache: the link, the blob, and what a client might resume."""
    known = _known(path)
    try:
        path.unlink(missing_ok=True)
        if known is not None:
            known.mark.unlink(missing_ok=True)
            for part in known.file.parent.glob(f"{known.file.name}*"):
                part.unlink(missing_ok=True)
    except OSError as failure:
        raise IntegrityError(
            f"{path}: is corrupt and could not be removed ({failure.strerror}); remove it, or "
            "name another cache: cache_dir, on the command line --cache-dir."
        ) from None


def _known(path: Path) -> _Known | None:
    """Return the file behind a path and the hash that it must have, None if nobody knows it."""
    if path.is_symlink():
        target = path.parent / path.readlink()
        if target.parent.name != "blobs" or not ETAG.fullmatch(target.name):
            return None
        return _Known(target, target.name, published=True)
    if path.name != SINGLE or path.parent.parent.name != PARTS:
        return None
    record = path.with_name(PART_RECORD)
    etag = read_json(record, error=IntegrityError).get("sha256")
    if not isinstance(etag, str) or not ETAG.fullmatch(etag):
        raise IntegrityError(must_be(f"{record}: sha256", "a hash", etag))
    return _Known(path, etag, published=False)


def _hash(path: Path, *, like: str) -> str:
    """Hash a file as its etag was: sha256, or git's sha1 of a header and the content."""
    import hashlib  # not at start-up: 3 ms

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
