"""The header of a safetensors file, checked: its bytes and the file's size in, a table out.

Nothing here opens a file, so the same checks hold for a header on the disk and for one that a hub
has sent before any of the data. The library judges local files too, but lets pass what is refused
here: a header that does not start with ``{``, names that stand twice, shapes that no array can
have, headers and counts that are far too large.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from numpy_bert.errors import CheckpointError
from numpy_bert.files import check_pointer, decode_json
from numpy_bert.messages import quoted
from numpy_bert.reprs import short_repr

__all__ = ["DTYPES", "Entry", "Header", "header_length", "make_header", "read_header"]

# The header of bert-base has some tens of kilobytes; the hub's own reader stops at 25 MB.
_LARGEST_HEADER = 25_000_000
_MOST_TENSORS = 100_000
# What NumPy can express: the axes of an array, and its elements where those of size 0 count as 1.
_MOST_AXES = 64
_LARGEST_SHAPE = 1 << 59
# Explicitly little-endian, as the format is. BF16 is float32 without its lower half.
DTYPES: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
}
# What people save under the name of a safetensors file, by its first bytes.
_FOREIGN = {
    b"<": "an HTML or XML page, not weights: download the file again",
    b"PK\x03\x04": "a zip archive, as torch.save makes: pickles are never opened here",
    b"\x80": "a pickle: pickles are never opened here",
    b"\x1f\x8b": "gzip-compressed: decompress it first",
    b"\x89HDF": "an HDF5 file (Keras): convert it to safetensors",
    b"GGUF": "a GGUF file: take the original safetensors file",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """What a header says of one tensor: a name, a dtype code, a shape, a range of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    nbytes: int

    @property
    def is_float(self) -> bool:
        """Whether the dtype is one that weights may have."""
        return self.dtype in ("F64", "F32", "F16", "BF16")


class Header(NamedTuple):
    """A header that has been checked: its tensors by name, and the file's own remarks."""

    tensors: dict[str, Entry]
    metadata: dict[str, str]

    def __repr__(self) -> str:
        return short_repr(self)


def header_length(start: bytes, size: int, where: str) -> int:
    """Return how many bytes a header has once that is known to be sane.

    Parameters
    ----------
    start : bytes
        The first bytes of the file, at least 8 where it has them. By 32 of them other
        formats are known.
    size : int
        The size of the whole file, in bytes.
    where : str
        What messages call the file.

    Raises
    ------
    CheckpointError
        If the file is of another format, or the header does not fit into it.
    """
    if size < 8:
        raise CheckpointError(f"{where}: has {size} bytes; a safetensors header needs 8 at least.")
    check_pointer(start, where=where, error=CheckpointError)
    # A header's length fills eight bytes, and its first character follows.
    if start[6:8] != b"\0\0" or start[8:].lstrip()[:1] not in (b"{", b""):
        for magic, what in _FOREIGN.items():
            if start.startswith(magic):
                raise CheckpointError(f"{where}: is {what}.")
    (length,) = struct.unpack("<Q", start[:8])
    if length > size - 8:
        raise CheckpointError(
            f"{where}: the header claims {length:,} bytes, the file has {size:,}; "
            "it is incomplete or no safetensors file. Download it again."
        )
    if length > _LARGEST_HEADER:
        raise CheckpointError(
            f"{where}: the header claims {length:,} bytes; at most {_LARGEST_HEADER:,} are read."
        )
    return int(length)


def read_header(header: bytes, size: int, where: str) -> Header:
    """Return what a header describes: tensors that together fill the file, and metadata.

    Parameters
    ----------
    header : bytes
        What follows the eight bytes of its length.
    size : int
        The size of the whole file, in bytes.
    where : str
        What messages call the file.

    Raises
    ------
    CheckpointError
        If the header is malformed; the message names the tensor.
    """
    if not header.startswith(b"{"):
        raise CheckpointError(f"{where}: the header does not start with '{{'.")
    if header.count(b'"data_offsets"') > _MOST_TENSORS:
        raise CheckpointError(f"{where}: holds more than {_MOST_TENSORS:,} tensors.")
    members = decode_json(header, where=f"{where}: header", error=CheckpointError)
    metadata = _metadata(members.pop("__metadata__", {}), where)
    if len(members) > _MOST_TENSORS:  # by another spelling of the letters
        raise CheckpointError(f"{where}: holds more than {_MOST_TENSORS:,} tensors.")
    base = 8 + len(header)
    entries = {name: _entry(name, member, base, where) for name, member in members.items()}
    _check_extent(entries.values(), base, size, where)
    return Header(entries, metadata)


def make_header(tensors: Iterable[Entry], metadata: Mapping[str, str]) -> bytes:
    """Return the beginning of a file in which these tensors follow one another.

    Where an entry starts is not read: each stands behind the one before it.
    """
    members: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for tensor in tensors:
        offsets = [end, end := end + tensor.nbytes]
        members[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "data_offsets": offsets,
        }
    text = json.dumps(members).encode()
    text += b" " * (-len(text) % 8)  # aligned, as every writer does
    return struct.pack("<Q", len(text)) + text


def _metadata(metadata: object, where: str) -> dict[str, str]:
    """Return the file's own remarks; raise CheckpointError unless they are strings."""
    if isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values()):
        return metadata
    raise CheckpointError(
        f"{where}: __metadata__ must be an object of strings; got {quoted(metadata)}."
    )


def _entry(name: str, member: object, base: int, where: str) -> Entry:
    """Turn a member of the header into an Entry, or say what is wrong with it."""
    if not _is_entry(member):
        raise CheckpointError(
            f"{where}: {quoted(name)} must have a dtype, a shape and two offsets; got "
            f"{quoted(member)}."
        )
    dtype, shape, (start, end) = member["dtype"], tuple(member["shape"]), member["data_offsets"]
    if len(shape) > _MOST_AXES or math.prod(n or 1 for n in shape) > _LARGEST_SHAPE:
        raise CheckpointError(
            f"{where}: {quoted(name)} has shape {quoted(shape)}, which no array can have."
        )
    if dtype in DTYPES and math.prod(shape) * DTYPES[dtype].itemsize != end - start:
        raise CheckpointError(
            f"{where}: {quoted(name)} has {end - start:,} bytes; {dtype} of shape {quoted(shape)} "
            f"takes {math.prod(shape) * DTYPES[dtype].itemsize:,}."
        )
    return Entry(name, dtype, shape, base + start, end - start)


def _check_extent(entries: Iterable[Entry], base: int, size: int, where: str) -> None:
    """Raise CheckpointError unless the tensors fill the file without a hole or an overlap."""
    end = base
    for entry in sorted(entries, key=lambda e: (e.start, e.nbytes)):
        if entry.start != end:
            raise CheckpointError(
                f"{where}: {quoted(entry.name)} starts at byte {entry.start:,}; the "
                f"tensors before it end at {end:,}."
            )
        end += entry.nbytes
    if end != size:
        raise CheckpointError(
            f"{where}: the header describes {end:,} bytes, the file has {size:,}; it "
            f"is {'incomplete' if size < end else 'too long'}. Download it again."
        )


def _is_entry(member: object) -> TypeGuard[dict[str, Any]]:
    """Tell whether a header's member has what a tensor needs, of the right types."""
    if not isinstance(member, dict) or not isinstance(member.get("dtype"), str):
        return False
    shape, offsets = member.get("shape"), member.get("data_offsets")
    if not isinstance(shape, list) or not isinstance(offsets, list) or len(offsets) != 2:
        return False
    sizes = all(type(n) is int and 0 <= n < 1 << 64 for n in (*shape, *offsets))
    return sizes and offsets[0] <= offsets[1]
