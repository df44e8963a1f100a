"""One safetensors file: its header checked, its tensors mapped or read, BF16 decoded.

The header is checked here, so that a message can name the tensor and the bytes; then the library
judges it too, because whoever reads the file next may use that. It lets pass what is refused
here: a header that does not start with ``{``, names that stand twice, shapes that no array can
have, headers and counts that are far too large. The arrays are made here because the library
copies every tensor and raises on BF16.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from numpy_bert.errors import CheckpointError
from numpy_bert.files import decode_json, file_size, quoted

__all__ = ["SafetensorsFile", "StoredTensor"]

# The header of bert-base has some tens of kilobytes; the hub's own reader stops at 25 MB.
_LARGEST_HEADER = 25_000_000
_MOST_TENSORS = 100_000
# What NumPy can express: the axes of an array, and its elements where those of size 0 count as 1.
_MOST_AXES = 64
_LARGEST_SHAPE = 1 << 59
# Explicitly little-endian, as the format is. BF16 is float32 without its lower half.
_DTYPES: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
}
# What people save under the name of a safetensors file, by its first bytes.
_FOREIGN = {
    b"version https://git-lfs": "a Git LFS pointer: the weights were not downloaded (git lfs pull)",
    b"<": "an HTML or XML page, not weights: download the file again",
    b"PK\x03\x04": "a zip archive, as torch.save makes: pickles are never opened here",
    b"\x80": "a pickle: pickles are never opened here",
    b"\x1f\x8b": "gzip-compressed: decompress it first",
    b"\x89HDF": "an HDF5 file (Keras): convert it to safetensors",
    b"GGUF": "a GGUF file: take the original safetensors file",
}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where one tensor lies: a name, a dtype code, a shape and a range of bytes of a file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    nbytes: int
    file: SafetensorsFile

    def read(self, *, mapped: bool) -> npt.NDArray[Any]:
        """Return the tensor in its stored dtype (BF16: as float32), read-only.

        Mapped memory is used where the bytes can be used as they are; see `SafetensorsFile`.
        """
        return self._decode(self.file.data(self, mapped=mapped), self.shape)

    def scan(self) -> tuple[int, ...] | None:
        """Return the index of the first NaN or infinity, None if all is finite.

        Goes through the tensor a block at a time, whatever shape the header claims.
        """
        block = 1 << 22
        data = self.file.data(self, mapped=True)
        for start in range(0, self.nbytes, block):
            part = data[start : start + block]
            wrong = np.flatnonzero(~np.isfinite(self._decode(part, (-1,))))
            if wrong.size:
                flat = start // _DTYPES[self.dtype].itemsize + int(wrong[0])
                return tuple(int(i) for i in np.unravel_index(flat, self.shape))
        return None

    @property
    def is_float(self) -> bool:
        """Whether the dtype is one that weights may have."""
        return self.dtype in ("F64", "F32", "F16", "BF16")

    def _decode(self, data: npt.NDArray[np.uint8], shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Turn raw bytes into numbers of this machine's byte order."""
        if self.dtype not in _DTYPES:
            raise CheckpointError(
                f"{self.file.path}: {quoted(self.name)} has dtype {quoted(self.dtype)}, which is "
                f"not supported; {', '.join(_DTYPES)} are."
            )
        dtype = _DTYPES[self.dtype]
        flat = data.view(dtype)
        if self.dtype == "BF16":
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        elif not flat.flags.aligned or not dtype.isnative:
            flat = flat.astype(dtype.newbyteorder("="))
        flat.flags.writeable = False
        return flat.reshape(shape)


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
        Naming the file and what is wrong with it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = file_size(path, error=CheckpointError)
        self._stamp: tuple[int, ...] | None = None
        with self._open() as file:
            self._stamp = _look(file)
            header = self._header(file)
        self._base = 8 + len(header)
        members = decode_json(header, where=f"{path}: header", error=CheckpointError)
        self._check_metadata(members.pop("__metadata__", {}))
        self.tensors: Mapping[str, StoredTensor] = {
            name: self._tensor(name, entry) for name, entry in members.items()
        }
        self._check_extent()
        self._check()

    def data(self, tensor: StoredTensor, *, mapped: bool) -> npt.NDArray[np.uint8]:
        """Return the bytes of a tensor, mapped or copied."""
        if not tensor.nbytes:
            return np.empty(0, dtype=np.uint8)
        if mapped:
            return np.frombuffer(self._map, np.uint8, tensor.nbytes, tensor.start)
        buffer = bytearray(tensor.nbytes)
        with self._open() as file:
            file.seek(tensor.start)
            read = file.readinto(buffer)
            if read != tensor.nbytes or _look(file) != self._stamp:
                raise self._changed()
        return np.frombuffer(buffer, np.uint8)

    @cached_property
    def _map(self) -> mmap.mmap:
        """The whole file, mapped read-only at its first use."""
        with self._open() as file:
            try:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
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
        if self.size < 8:
            raise CheckpointError(
                f"{self.path}: has {self.size} bytes; a safetensors header needs 8 at least."
            )
        start = file.read(32)
        # A header's length fills eight bytes, and its first character follows.
        if start[6:8] != b"\0\0" or start[8:].lstrip()[:1] not in (b"{", b""):
            for magic, what in _FOREIGN.items():
                if start.startswith(magic):
                    raise CheckpointError(f"{self.path}: is {what}.")
        (length,) = struct.unpack("<Q", start[:8])
        if length > self.size - 8:
            raise CheckpointError(
                f"{self.path}: the header claims {length:,} bytes, the file has {self.size:,}; "
                "it is incomplete or no safetensors file. Download it again."
            )
        if length > _LARGEST_HEADER:
            raise CheckpointError(
                f"{self.path}: the header claims {length:,} bytes; at most "
                f"{_LARGEST_HEADER:,} are read."
            )
        file.seek(8)
        header = file.read(length)
        if not header.startswith(b"{"):
            raise CheckpointError(f"{self.path}: the header does not start with '{{'.")
        if header.count(b'"data_offsets"') > _MOST_TENSORS:
            raise CheckpointError(f"{self.path}: holds more than {_MOST_TENSORS:,} tensors.")
        return header

    def _check_metadata(self, metadata: object) -> None:
        """Raise CheckpointError unless the file's own remarks, which nobody reads, are strings."""
        strings = isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())
        if not strings:
            raise CheckpointError(
                f"{self.path}: __metadata__ is {quoted(metadata)}; an object of strings was "
                "expected."
            )

    def _tensor(self, name: str, entry: object) -> StoredTensor:
        """Turn an entry of the header into a StoredTensor, or say what is wrong with it."""
        where = f"{self.path}: {quoted(name)}"
        if not _is_entry(entry):
            raise CheckpointError(
                f"{where} is {quoted(entry)}; a dtype, a shape and two offsets were expected."
            )
        dtype, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        if len(shape) > _MOST_AXES or math.prod(n or 1 for n in shape) > _LARGEST_SHAPE:
            raise CheckpointError(f"{where} has shape {quoted(shape)}, which no array can have.")
        if dtype in _DTYPES and math.prod(shape) * _DTYPES[dtype].itemsize != end - start:
            raise CheckpointError(
                f"{where} has {end - start:,} bytes; {dtype} of shape {quoted(shape)} takes "
                f"{math.prod(shape) * _DTYPES[dtype].itemsize:,}."
            )
        return StoredTensor(name, dtype, shape, self._base + start, end - start, self)

    def _check_extent(self) -> None:
        """Raise CheckpointError unless the tensors fill the file without a hole or an overlap."""
        end = self._base
        for tensor in sorted(self.tensors.values(), key=lambda t: (t.start, t.nbytes)):
            if tensor.start != end:
                raise CheckpointError(
                    f"{self.path}: {quoted(tensor.name)} starts at byte {tensor.start:,}; the "
                    f"tensors before it end at {end:,}."
                )
            end += tensor.nbytes
        if end != self.size:
            raise CheckpointError(
                f"{self.path}: the header describes {end:,} bytes, the file has {self.size:,}; it "
                f"is {'incomplete' if self.size < end else 'too long'}. Download it again."
            )

    def _check(self) -> None:
        """Let the safetensors library judge the file."""
        try:
            with safe_open(self.path, framework="numpy"):
                pass
        except (SafetensorError, OSError) as failure:
            # Older versions do not say which dtype it is that they do not know.
            odd = sorted({tensor.dtype for tensor in self.tensors.values()} - _DTYPES.keys())
            hint = f" It holds dtypes that are not read here: {quoted(', '.join(odd))}."
            raise CheckpointError(
                f"{self.path}: {quoted(str(failure))}.{hint if odd else ''}"
            ) from None


def _look(file: BufferedReader) -> tuple[int, ...]:
    """Return what changes when somebody writes to an open file or puts another in its place."""
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _is_entry(entry: object) -> TypeGuard[dict[str, Any]]:
    """Tell whether a header's entry has the members that a tensor needs, of the right types."""
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        return False
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    if not isinstance(shape, list) or not isinstance(offsets, list) or len(offsets) != 2:
        return False
    sizes = all(type(n) is int and 0 <= n < 1 << 64 for n in (*shape, *offsets))
    return sizes and offsets[0] <= offsets[1]
