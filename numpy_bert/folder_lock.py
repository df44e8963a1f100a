"""A folder that one process at a time writes to: training's runs, and jobs that can go on."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from numpy_bert.errors import NumpyBertError
from numpy_bert.files import make_folder
from numpy_bert.locks import is_named, try_lock
from numpy_bert.messages import quoted

__all__ = ["alone"]


@contextmanager
def alone(
    folder: Path, name: str, *, error: type[NumpyBertError], who: str, advice: str
) -> Iterator[None]:
    """Make a folder, if it is not there, and keep others from it while the block runs.

    What keeps them is a lock on a file, which ends with the process, however that ends. Where the
    file system has no locks, or nothing can be written, nobody is kept away.

    Parameters
    ----------
    folder : Path
        The folder.
    name : str
        The name of the file in it that is locked.
    error : type of NumpyBertError
        What to raise if another holds the folder, in this process or another one.
    who, advice : str
        What the other one is called in the message, and what else could be done than wait.

    Raises
    ------
    OutputError
        If the folder cannot be made.

    Examples
    --------
    >>> import tempfile
    >>> from numpy_bert.errors import OutputError
    >>> with tempfile.TemporaryDirectory() as place:
    ...     with alone(Path(place), "a.lock", error=OutputError, who="a job", advice="go"):
    ...         print([path.name for path in Path(place).iterdir()])
    ['a.lock']
    """
    path = make_folder(folder) / name
    only = getattr(os, "O_TEMPORARY", 0)
    descriptor = _locked(path, only)
    if descriptor is False:
        raise error(
            f"{folder}: {who} is writing there ({quoted(_holder(path))}). Wait for its end, or "
            f"{advice}."
        )
    try:
        yield
    finally:
        if descriptor is not None:
            # First the file goes: who locks it afterwards sees that it is nobody's any more.
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(descriptor)


def _locked(path: Path, only: int) -> int | bool | None:
    """Open and lock a file; None where that is not possible, False where another holds it."""
    # Windows has no such locks, but removes a file when it is closed: one that is there is held.
    while True:
        try:
            flags = os.O_RDWR | os.O_CREAT | (only and only | os.O_EXCL)
            descriptor = os.open(path, flags, 0o666)
        except FileExistsError:
            return False
        except OSError:
            return None
        if try_lock(descriptor) is False:
            os.close(descriptor)
            return False
        if only or is_named(path, descriptor):
            break
        os.close(descriptor)  # of one that has just ended
    with contextlib.suppress(OSError):  # where the disk is full, others are not told who
        os.truncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {platform.node()}".encode())
    return descriptor


def _holder(path: Path) -> str:
    """Return who holds a file, as it says itself."""
    with contextlib.suppress(OSError):
        return path.read_bytes()[:200].decode(errors="replace") or "another process"
    return "another process"
