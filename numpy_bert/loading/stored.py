"""One safetensors file: its header checked, its tensors mapped or read, BF16 decoded.

The header is checked by `numpy_bert.loading.header`, so that a message can name the tensor and the
bytes; then the library judges it too, because whoever reads the file next may use that. The arrays
are made here because the library copies every tensor and raises on BF16.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from numpy_bert.arrays import widen
from numpy_bert.errors import CheckpointError
from numpy_bert.files import file_size
from numpy_bert.loading.header import (
    DTYPES,
    Entry,
    header_length,
    read_header,
)
from numpy_bert.messages import quoted

__all__ = ["SafetensorsFile", "StoredTensor"]

# Numbers, or bytes, of a tensor that are gone through at a time.
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredTensor(Entry):
    """Where one tensor lies: a name, a dtype code, a shape and a range of bytes of a file."""

    file: SafetensorsFile

    def read(self, *, mapped: bool) -> npt.NDArray[Any]:
        """Return the tensor in its stored dtype (BF16: as float32), read-only.

        Mapped memory is used where the bytes can be used as they are; see `SafetensorsFile`.
        """
        return self._widened(self.as_stored(mapped=mapped))

    def as_stored(self, *, mapped: bool) -> npt.NDArray[Any]:
        """Return what `read` does, but BF16 as the uint16 of its bits."""
        return self._numbers(self.file.data(self, mapped=mapped), self.shape)

    def has_bytes_of(self, other: StoredTensor) -> bool:
        """Tell whether two tensors have one dtype, one shape and the same bytes."""
        mine, others = (tensor.file.data(tensor, mapped=True) for tensor in (self, other))
        return (self.dtype, self.shape) == (other.dtype, other.shape) and all(
            np.array_equal(mine[start : start + _BLOCK], others[start : start + _BLOCK])
            for start in range(0, self.nbytes, _BLOCK)
        )

    def has_values_of(self, other: StoredTensor) -> bool:
        """Tell whether two tensors have one shape and the same numbers, in whatever dtypes."""
        return self.shape == other.shape and all(
            np.array_equal(mine, others, equal_nan=True)
            for mine, others in zip(self._in_blocks(), other._in_blocks(), strict=True)
        )

    def scan(self) -> tuple[int, ...] | None:
        """Return the index of the first NaN or infinity, None if all is finite."""
        for block, numbers in enumerate(self._in_blocks()):
            wrong = np.flatnonzero(~np.isfinite(numbers))
            if wrong.size:
                flat = block * _BLOCK + int(wrong[0])
                return tuple(int(i) for i in np.unravel_index(flat, self.shape))
        return None

    def _in_blocks(self) -> Iterator[npt.NDArray[Any]]:
        """Yield the numbers in a row, a block at a time: a header may claim any size."""
        data = self.file.data(self, mapped=True)
        step = _BLOCK * (DTYPES[self.dtype].itemsize if self.dtype in DTYPES else 1)
        for start in range(0, self.nbytes, step):
            yield self._widened(self._numbers(data[start : start + step], (-1,)))

    def _numbers(self, data: npt.NDArray[np.uint8], shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Turn raw bytes into numbers of this machine's byte order, BF16 into its bits."""
        if self.dtype not in DTYPES:
            raise CheckpointError(
                f"{self.file.path}: {quoted(self.name)} has dtype {quoted(self.dtype)}, which is "
                f"not supported; {', '.join(DTYPES)} are."
            )
        dtype = DTYPES[self.dtype]
        flat = data.view(dtype)
        if not flat.flags.aligned or not dtype.isnative:
            flat = flat.astype(dtype.newbyteorder("="))
        flat.flags.writeable = False
        return flat.reshape(shape)

    def _widened(self, numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Turn the bits of BF16 into float32."""
        if self.dtype != "BF16":
            return numbers
        numbers = widen(numbers, np.float32)
        numbers.flags.writeable = False
        return numbers


class SafetensorsFile:
    """A safetensors file whose header has been checked and whose data has not been read.

    Tensors are memory-mapped by default: only what is used is read, and processes share it. That
    it is still the file whose header was read is checked when it is mapped. A file that somebody
    else shortens *afterwards* ends the process with SIGBUS when the lost part is touched: that is
    the price of mapping. Read with ``mapped=False`` where that can happen; then a change is an
    error.

    Parameters
    ----------
    path : Path
        A regular file.

    Raises
    ------
    CheckpointError
        If the file is malformed; the message names it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = file_size(path, error=CheckpointError)
        self._mapping: mmap.mmap | None = None
        self._stamp: tuple[int, ...] | None = None
        with self._open() as file:
            self._stamp = _look(file)
            header = self._header(file)
        entries, self.metadata = read_header(header, self.size, str(path))
        self.tensors: Mapping[str, StoredTensor] = {
            e.name: StoredTensor(e.name, e.dtype, e.shape, e.start, e.nbytes, self)
            for e in entries.values()
        }
        self._check()

    def data(self, tensor: StoredTensor, *, mapped: bool) -> npt.NDArray[np.uint8]:
        """Return the bytes of a tensor, mapped or copied."""
        if not tensor.nbytes:
            return np.empty(0, dtype=np.uint8)
        if mapped:
            return np.frombuffer(self._map(), np.uint8, tensor.nbytes, tensor.start)
        buffer = bytearray(tensor.nbytes)
        with self._open() as file:
            file.seek(tensor.start)
            read = file.readinto(buffer)
            if read != tensor.nbytes or _look(file) != self._stamp:
                raise self._changed()
        return np.frombuffer(buffer, np.uint8)

    def _map(self) -> mmap.mmap:
        """Return the whole file, mapped read-only at its first use."""
        if self._mapping is not None:
            return self._mapping
        with self._open() as file:
            try:
                self._mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                return self._mapping
            except OSError as failure:
                raise CheckpointError(
                    f"{self.path}: cannot be mapped into memory ({failure.strerror}); "
                    "load it with mmap=False."
                ) from None

    @contextmanager
    def _open(self) -> Iterator[BufferedReader]:
        """Open the file, the same one every time; a failure to read is a CheckpointError."""
        try:
            with self.path.open("rb") as file:
                if self._stamp not in (None, _look(file)):
                    raise self._changed()
                yield file
        except OSError as failure:
            raise CheckpointError(
                f"{self.path}: cannot be read ({failure.strerror}); load it again."
            ) from None

    def _changed(self) -> CheckpointError:
        return CheckpointError(f"{self.path}: changed while it was read; load it again.")

    def _header(self, file: BufferedReader) -> bytes:
        """Return the header's bytes once its length is known to be sane."""
        length = header_length(file.read(32), self.size, str(self.path))
        file.seek(8)
        return file.read(length)

    def _check(self) -> None:
        """Let the safetensors library judge the file."""
        try:
            with safe_open(self.path, framework="numpy"):
                pass
        except (SafetensorError, OSError) as failure:
            # Older versions do not say which dtype it is that they do not know.
            odd = sorted({tensor.dtype for tensor in self.tensors.values()} - DTYPES.keys())
            hint = f" It holds dtypes that are not read here: {quoted(', '.join(odd))}."
            raise CheckpointError(
                f"{self.path}: {quoted(str(failure))}.{hint if odd else ''}"
            ) from None


def _look(file: BufferedReader) -> tuple[int, ...]:
    """Return what changes when somebody writes to an open file or puts another in its place."""
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
