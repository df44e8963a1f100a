"""Who still writes: locks that end with their process, and temporary files that are held by one.

A process that is killed cannot remove what it was writing. So the name of a temporary file or
folder says that it is ours and on which system it was made, and whoever writes to it holds a lock
on it, which ends with the process. The next process that writes into the folder removes what nobody
holds. A lock says nothing of the processes of another system that shares the folder, and some file
systems have none: there, what nobody has written to for a day is nobody's.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

__all__ = ["is_named", "remove_folder", "temporary_file", "temporary_folder", "try_lock"]

# The name of a temporary: what it becomes, the system's mark, and digits that nobody else draws.
_TEMPORARY = re.compile(r"\..{1,40}\.numpy-bert-([0-9a-f]{8})-[0-9a-f]{12}\.tmp", re.DOTALL)
# Seconds after which what nobody has written to is nobody's, where no lock says whose it is.
_ABANDONED = 86400.0
# Of a name like ours, neither is a link followed nor a pipe waited for.
_CAREFULLY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def try_lock(descriptor: int) -> bool | None:
    """Lock an open file or folder until it is closed, as it is when the process ends.

    Returns
    -------
    bool or None
        False if another holds it, in this process or in another; None where there are no locks, as
        on Windows and on some network file systems.
    """
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True


def is_named(path: Path, descriptor: int) -> bool:
    """Tell whether a path still is the name of an open file, which another process may remove."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@contextmanager
def temporary_file(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Yield the path of a new file beside `target`, and the file; what has this path then goes.

    Whoever keeps the file gives it another name. What killed processes have left in the folder is
    removed before.
    """
    _sweep(target.parent)
    path = _new_name(target)
    file = path.open("xb")
    while not _hold(path, file.fileno()):
        file.close()
        path = _new_name(target)
        file = path.open("xb")
    try:
        with file:
            yield path, file
    finally:
        # Gone already where all went well; where its folder is none, the reason has been given.
        with contextlib.suppress(OSError):
            path.unlink()


@contextmanager
def temporary_folder(target: Path, mode: int = 0o777) -> Iterator[Path]:
    """Yield a new folder beside `target`, which goes with all that is in it if it has this path.

    What killed processes have left beside it is removed before, as by `temporary_file`. `mode` is
    for ``mkdir``.
    """
    _sweep(target.parent)
    path, descriptor = _new_folder(target, mode)
    while descriptor is not None and not _hold(path, descriptor):
        os.close(descriptor)
        path, descriptor = _new_folder(target, mode)
    try:
        yield path
    finally:
        remove_folder(path)
        if descriptor is not None:
            os.close(descriptor)


def _new_name(target: Path) -> Path:
    """Return a name beside `target` that no other process takes, and that a later one knows."""
    mark = f"numpy-bert-{_system()}-{os.urandom(6).hex()}"
    return target.with_name(f".{target.name[:40]}.{mark}.tmp")


def _system() -> str:
    """Return a mark of the running system, whose processes all see each other's locks.

    Containers of one kernel do, and have one mark; after a new start of the system it is another.
    """
    import platform
    import zlib

    try:
        known = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        known = platform.node().encode(errors="replace")
    return f"{zlib.crc32(known):08x}"


def _hold(path: Path, descriptor: int) -> bool:
    """Lock a new temporary; False if somebody took it for abandoned before it was locked."""
    found = try_lock(descriptor)
    return found is None or (found and is_named(path, descriptor))


def _new_folder(target: Path, mode: int) -> tuple[Path, int | None]:
    """Make a folder beside `target` and open it; None where that is not possible, as on Windows."""
    while True:
        path = _new_name(target)
        path.mkdir(mode)
        try:
            return path, os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # taken for abandoned between the two lines
            continue
        except OSError:
            return path, None


@lru_cache(maxsize=256)
def _sweep(folder: Path) -> None:
    """Remove the temporaries in a folder that nobody holds; a process does so once for each."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _TEMPORARY.fullmatch(entry.name)
            if found:
                with contextlib.suppress(OSError):  # another process has just removed it
                    _remove(entry, is_ours=found[1] == _system())


def _remove(entry: os.DirEntry[str], *, is_ours: bool) -> None:
    """Remove a temporary unless somebody may still write to it."""
    is_folder = entry.is_dir(follow_symlinks=False)
    age = time.time() - entry.stat(follow_symlinks=False).st_mtime
    descriptor = None
    if os.name != "nt":  # where nothing that is open can be removed
        descriptor = os.open(entry.path, _CAREFULLY | (os.O_RDONLY if is_folder else os.O_RDWR))
    try:
        # Locked until it is gone: whoever has just made it sees that, and makes another.
        found = None if descriptor is None else try_lock(descriptor)
        if found is False or not (age > _ABANDONED or (is_ours and found and _locks(entry.path))):
            return
        if is_folder:
            remove_folder(entry.path)
        else:
            Path(entry.path).unlink()
    finally:
        if descriptor is not None:
            os.close(descriptor)


def remove_folder(path: str | Path) -> None:
    """Remove a folder with all that is in it."""
    import shutil  # not at start-up, of which all that reads a file is a part: 4 ms

    shutil.rmtree(path, ignore_errors=True)


def _locks(path: str) -> bool:
    """Tell whether a lock that is held on a file or folder keeps others from it, as it should."""
    descriptor = os.open(path, _CAREFULLY | os.O_RDONLY)
    try:
        return try_lock(descriptor) is False
    finally:
        os.close(descriptor)
