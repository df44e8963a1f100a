"""Arrays in .npy files that grow, or that are mapped: what stands before the numbers."""

from __future__ import annotations

import io
import math
import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.errors import CheckpointError
from numpy_bert.files import file_size
from numpy_bert.messages import named

__all__ = ["mapped", "npy_array", "npy_start"]

# What `npy_start` returns, and nothing else that NumPy would read.
_START = re.compile(
    rb"\x93NUMPY\x01\x00(..)\{'descr': '<(f2|f4|f8|i8)', 'fortran_order': False, "
    rb"'shape': \((\d{1,16}),(?: (\d{1,8}))?\), \} *\n",
    re.DOTALL,
)
_LONGEST_START = 1 << 10


def npy_start(shape: tuple[int, ...], dtype: npt.DTypeLike) -> bytes:
    """Return what a .npy file has before its numbers."""
    file = io.BytesIO()
    said = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, said)
    return file.getvalue()


def npy_array(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], why: str
) -> npt.NDArray[Any]:
    """Return the array of a .npy file, mapped.

    Parameters
    ----------
    path : Path
        The file, as `npy_start` begins it; a file that begins otherwise is not ours.
    shape, dtype
        What it must hold.
    why : str
        Who says so, and what to do, for a message.

    Raises
    ------
    CheckpointError
        If it holds anything else, or too few or too many bytes.
    """
    size = file_size(path, error=CheckpointError)
    with _reading(path), path.open("rb") as file:
        found = _START.match(file.read(_LONGEST_START))
    wanted = f"{dtype} numbers of shape {shape}"
    if found is None or found.end() != 10 + int.from_bytes(found[1], "little"):
        raise CheckpointError(
            f"{named(path)}: has another header than a .npy file with {wanted}, {why}"
        )
    lengths = tuple(int(length) for length in found.groups()[2:] if length is not None)
    stored = np.dtype(f"<{found[2].decode()}")
    if lengths != shape or stored != dtype.newbyteorder("<"):
        raise CheckpointError(
            f"{named(path)}: holds {stored} numbers of shape {lengths}, and must hold {wanted}, "
            f"{why}"
        )
    needed = found.end() + math.prod(shape) * dtype.itemsize
    if size != needed:
        raise CheckpointError(
            f"{named(path)}: has {size:,} bytes, and must have {needed:,} for {wanted}, {why}"
        )
    array = np.frombuffer(mapped(path), stored, math.prod(shape), found.end())
    return array.reshape(shape)


def mapped(path: Path) -> mmap.mmap | bytes:
    """Map a file, which may be empty, into memory."""
    with _reading(path), path.open("rb") as file:
        try:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # an empty file
            return b""


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what the system says of a file into a CheckpointError."""
    try:
        yield
    except OSError as failure:
        raise CheckpointError(f"{named(path)}: cannot be read ({failure.strerror}).") from None
