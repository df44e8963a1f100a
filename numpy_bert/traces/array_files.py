"""Arrays in files that somebody else wrote: npy, npz and safetensors, read one at a time.

Such files are hostile until they have been looked at. Every size is taken from a header and
held against the bytes that are there before anything is read; pickles, and dtypes that are not
plain numbers, are refused.
"""

from __future__ import annotations

import math
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import widen
from numpy_bert.errors import CheckpointError, TraceError
from numpy_bert.files import check_pointer, file_size
from numpy_bert.loading.header import DTYPES
from numpy_bert.loading.stored import SafetensorsFile, StoredTensor
from numpy_bert.messages import quoted
from numpy_bert.reprs import short_repr

__all__ = ["LazyArray", "read_folder", "read_npz", "read_safetensors"]

# NumPy writes 128 bytes; a header of more than this is no array's.
_LONGEST_HEADER = 1 << 16
# The members of a header as NumPy, and what imitates it, write them. NumPy's own reader leaves them
# to Python's parser: 10,000 minus signs end the process where its stack is small (in a thread of
# 512 kB), and a member that stands there twice is taken.
_S = r"[ \t\r\n\f]"  # what Python takes for white space
_LENGTH = rf"-?(?:0|[1-9][0-9]{{0,99}})L?{_S}*"
_ENTRY = re.compile(
    rf"""{_S}* (?P<mark>['"]) (?:
    descr (?P=mark) {_S}*:{_S}* (?:
        (?P<quote>['"]) (?P<descr>[<>|=]?(?:[biufc][0-9]{{1,2}} | [SUV][0-9]{{1,9}} | O
            | [mM]8(?:\[[0-9a-zA-Z]{{1,9}}\])?)) (?P=quote)
        | (?P<fields>\[[^\]]*\] | \([^)]*\)) .*)
    | fortran_order (?P=mark) {_S}*:{_S}* (?P<fortran_order>True|False)
    | shape (?P=mark) {_S}*:{_S}* (?P<shape>\({_S}*(?:(?:{_LENGTH},{_S}*)+(?:{_LENGTH})?)?\))
    ) {_S}* (?:,{_S}*|$)""",
    re.VERBOSE | re.DOTALL,
)
_MAGIC, _KEYS = b"\x93NUMPY", ("descr", "fortran_order", "shape")
_MOST_ARRAYS = 100_000
_MOST_AXES = 64
_LARGEST = 1 << 59
# What zipfile and zlib raise at damaged bytes.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,  # names that are no UTF-8
)
# Zeros shrink to a thousandth; numbers that were computed do not.
_LARGEST_RATIO = 200
_SMALL = 1 << 26
# What a safetensors file may hold beyond the dtypes of weights: masks, and ids of other widths.
_MORE_DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("u1"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "I16": np.dtype("<i2"),
    "U16": np.dtype("<u2"),
    "U32": np.dtype("<u4"),
    "U64": np.dtype("<u8"),
}
_NAMES = {code: dtype.name for code, dtype in {**DTYPES, **_MORE_DTYPES}.items()}
_NAMES |= {"BF16": "bfloat16", "BOOL": "bool"}


@dataclass(frozen=True, slots=True)
class LazyArray:
    """An array that is not read yet.

    Attributes
    ----------
    name : str
        The name that the file gives the array.
    dtype : str
        The dtype as NumPy calls it, or ``"bfloat16"``.
    shape : tuple of int
        The shape, checked against the bytes that there are.
    load : callable
        Reads the array in the byte order of this machine; bfloat16 becomes float32.
    """

    __repr__ = short_repr

    name: str
    dtype: str
    shape: tuple[int, ...]
    load: Callable[[], npt.NDArray[Any]]

    @property
    def size(self) -> int:
        """How many elements the array has."""
        return math.prod(self.shape)


def read_safetensors(path: Path) -> tuple[list[LazyArray], dict[str, str]]:
    """Return the arrays of a safetensors file in the order in which they lie, and its metadata."""
    try:
        file = SafetensorsFile(path)
    except CheckpointError as failure:
        raise TraceError(str(failure)) from None
    found = [_of_tensor(tensor) for tensor in sorted(file.tensors.values(), key=lambda t: t.start)]
    return found, file.metadata


def read_npz(path: Path) -> list[LazyArray]:
    """Return the arrays of an npz file in the order in which they were written."""
    size = file_size(path, error=TraceError)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > _MOST_ARRAYS:
                raise TraceError(
                    f"{path} must hold at most {_MOST_ARRAYS:,} arrays; it holds more."
                )
            if not members:
                raise TraceError(f"{path} must hold arrays; it holds none.")
            if min(member.header_offset for member in members):
                raise TraceError(f"{path} must begin with an array, as numpy.savez writes it.")
            counts = Counter(member.filename for member in members)
            twice = next((name for name, count in counts.items() if count > 1), None)
            if twice is not None:
                raise TraceError(
                    f"{path} must hold each name once; {quoted(twice)} stands there twice."
                )
            return [_of_member(path, archive, member, size) for member in members]
    except _BROKEN as failure:
        if isinstance(failure, TraceError):
            raise
        raise TraceError(f"{path} is no npz file that can be read ({quoted(failure)}).") from None


def read_folder(path: Path) -> list[LazyArray]:
    """Return the arrays of the npy files of a folder, each under its file's name."""
    files = sorted(p for p in path.iterdir() if p.suffix == ".npy")
    if not files:
        raise TraceError(f"{path} must hold .npy files; this folder holds none.")
    if len(files) > _MOST_ARRAYS:
        raise TraceError(f"{path} must hold at most {_MOST_ARRAYS:,} arrays; it holds more.")
    return [_of_file(file) for file in files]


def _of_tensor(tensor: StoredTensor) -> LazyArray:
    """Return a tensor of a safetensors file, not read yet."""
    where = f"{tensor.file.path}: {quoted(tensor.name)}"
    if tensor.dtype not in _NAMES:
        dtypes = ", ".join(_NAMES)
        raise TraceError(
            f"{where} must have one of the dtypes {dtypes}; got {quoted(tensor.dtype)}."
        )
    more = _MORE_DTYPES.get(tensor.dtype)
    if more is not None and math.prod(tensor.shape) * more.itemsize != tensor.nbytes:
        raise TraceError(
            f"{where} must have the bytes that its shape takes; got {tensor.nbytes:,}."
        )

    def load() -> npt.NDArray[Any]:
        try:
            if more is None:
                return tensor.read(mapped=True)
            data = tensor.file.data(tensor, mapped=True)
        except CheckpointError as failure:
            raise TraceError(str(failure)) from None
        array: npt.NDArray[Any] = data.view(more).reshape(tensor.shape)
        return _booleans(array, where) if tensor.dtype == "BOOL" else array

    return LazyArray(tensor.name, _NAMES[tensor.dtype], tensor.shape, load)


def _of_member(
    path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, size: int
) -> LazyArray:
    """Return a member of an npz file, of which the header alone is read."""
    where = f"{path}: {quoted(member.filename)}"
    if not member.filename.endswith(".npy"):
        raise TraceError(f"{where} must be an .npy file; an npz holds nothing else.")
    if member.flag_bits & 1:
        raise TraceError(f"{where} must not be encrypted.")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise TraceError(f"{where} is compressed in a way that NumPy does not write.")
    if member.compress_size > size:
        raise TraceError(
            f"{where} claims {member.compress_size:,} bytes, but the file has {size:,}."
        )
    expands = member.file_size > _LARGEST_RATIO * max(member.compress_size, 1)
    if expands and member.file_size > _SMALL:
        raise TraceError(
            f"{where} claims that {member.compress_size:,} bytes expand to {member.file_size:,}, "
            "which no computed numbers do. Save it uncompressed (numpy.savez)."
        )
    with archive.open(member) as file:
        header = _read_header(file, where)  # type: ignore[arg-type]

    def read() -> bytes:
        return _member_bytes(path, member)

    return _of_npy(member.filename, header, member.file_size, read, where)


def _member_bytes(path: Path, member: zipfile.ZipInfo) -> bytes:
    """Return a member of an npz file without reading the archive's list of members again."""
    with path.open("rb") as file:
        file.seek(member.header_offset)
        local = file.read(30)
        name, extra = (int.from_bytes(local[at : at + 2], "little") for at in (26, 28))
        file.seek(name + extra, os.SEEK_CUR)
        data = file.read(member.compress_size)
    if member.compress_type == zipfile.ZIP_DEFLATED:
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, member.file_size + 1)
    if zlib.crc32(data) != member.CRC:
        raise zipfile.BadZipFile(f"Bad CRC-32 for file {quoted(member.filename)}")
    return data


def _of_file(path: Path) -> LazyArray:
    """Return the array of an npy file, of which the header alone is read."""
    size = file_size(path, error=TraceError)
    with _readable(str(path)), path.open("rb") as file:
        header = _read_header(file, str(path))

    def read() -> bytes:
        with path.open("rb") as file:
            return file.read(size + 1)

    return _of_npy(path.name, header, size, read, str(path))


def _of_npy(
    name: str, header: _Header, size: int, read: Callable[[], bytes], where: str
) -> LazyArray:
    """Return an array whose bytes, header and all, `read` returns."""
    needed = math.prod(header.shape) * header.dtype.itemsize
    if needed != size - header.start:
        raise TraceError(
            f"{where} must have {needed:,} bytes of data, which {header.dtype} of shape "
            f"{quoted(header.shape)} takes; got {max(size - header.start, 0):,}."
        )

    def load() -> npt.NDArray[Any]:
        with _readable(where):
            data = read()
        return _numbers(data, header, needed, where)

    dtype = "bfloat16" if header.dtype.kind == "V" else header.dtype.name
    return LazyArray(name.removesuffix(".npy"), dtype, header.shape, load)


@contextmanager
def _readable(where: str) -> Iterator[None]:
    """Turn what damaged bytes raise into a TraceError."""
    try:
        yield
    except TraceError:
        raise
    except _BROKEN as failure:
        reason = getattr(failure, "strerror", None) or quoted(failure)
        raise TraceError(f"{where} cannot be read ({reason}).") from None


class _Header(NamedTuple):
    """What the header of an npy file says, and where the data starts."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: str
    start: int


def _read_header(file: BinaryIO, where: str) -> _Header:
    """Return the checked header of an npy file, beyond which nothing is read."""
    start = file.read(10)
    if not start.startswith(_MAGIC):
        check_pointer(start + file.read(1024), where=where, error=TraceError)
        raise TraceError(f"{where} is no npy file; got {quoted(start)}.")
    version = ".".join(str(part) for part in start[6:8])
    if version not in ("1.0", "2.0"):
        raise TraceError(f"{where} must be of npy version 1.0 or 2.0; got {version}.")
    start += file.read(2) if version == "2.0" else b""
    size = int.from_bytes(start[8:], "little")
    if size > _LONGEST_HEADER:
        raise TraceError(
            f"{where} is no npy file: its header must have at most {_LONGEST_HEADER:,} bytes; "
            f"got {size:,}."
        )
    text = file.read(size)
    if len(text) != size:
        raise TraceError(f"{where} ends within its header. Save it again.")
    dtype, shape, order = _parsed(text.decode("latin-1"), where)
    if dtype.hasobject:
        raise TraceError(f"{where} holds Python objects, which are pickles; they are refused.")
    is_bfloat16 = dtype.str[1:] == "V2"
    if dtype.kind not in "fiub" and not is_bfloat16:
        raise TraceError(f"{where} must hold plain numbers; got dtype {quoted(dtype)}.")
    if dtype.kind == "f" and dtype.itemsize not in (2, 4, 8):
        raise TraceError(f"{where} must be float16, float32 or float64; got dtype {quoted(dtype)}.")
    good = len(shape) <= _MOST_AXES and all(0 <= n <= _LARGEST for n in shape)
    if not good or math.prod(n or 1 for n in shape) > _LARGEST:
        raise TraceError(f"{where} has a shape that no array can have.")
    return _Header(dtype, shape, order, len(start) + size)


def _parsed(text: str, where: str) -> tuple[np.dtype[Any], tuple[int, ...], str]:
    """Return the dtype, the shape and the order of the axes that a header states."""
    body, place = text.strip(" \t\r\n\f"), 1
    found: dict[str, str] = {}
    end = len(body) - 1 if body[:1] == "{" and body[-1:] == "}" else 0
    while (entry := _ENTRY.match(body, place, end)) is not None:
        if entry["fields"]:
            raise TraceError(
                f"{where} must hold plain numbers; got dtype {quoted(entry['fields'])}."
            )
        key = next(key for key in _KEYS if entry[key])
        if key in found:
            break
        found[key], place = entry[key], entry.end()
    try:
        if place != end or len(found) != len(_KEYS):
            raise TypeError
        dtype = np.dtype(found["descr"])
    except TypeError:
        raise TraceError(
            f"{where} is no npy file: its header must be as {{'descr': '<f4', 'fortran_order': "
            f"False, 'shape': (2, 3), }}; got {quoted(text.strip())}."
        ) from None
    shape = tuple(int(n) for n in re.findall("-?[0-9]+", found["shape"]))
    return dtype, shape, "F" if found["fortran_order"] == "True" else "C"


def _numbers(data: bytes, header: _Header, needed: int, where: str) -> npt.NDArray[Any]:
    """Turn the bytes of a file into an array of this machine's byte order."""
    dtype, shape, order, start = header
    if len(data) != start + needed:
        raise TraceError(f"{where} changed while it was read. Try again.")
    if dtype.kind == "V":  # as ml_dtypes saves bfloat16
        array = widen(np.frombuffer(data, "<u2", offset=start), np.float32)
    else:
        flat = np.frombuffer(data, dtype, offset=start)
        if dtype.kind == "b":
            flat = _booleans(flat.view(np.uint8), where)
        array = flat.astype(dtype.newbyteorder("="), copy=False)
    return array.reshape(shape, order=order)  # type: ignore[call-overload, no-any-return]


def _booleans(array: npt.NDArray[np.uint8], where: str) -> npt.NDArray[np.bool_]:
    """Return bytes as booleans; raise TraceError if one is neither 0 nor 1."""
    if array.max(initial=0) > 1:
        raise TraceError(f"{where} must hold 0 and 1 alone, as booleans; it holds other numbers.")
    return array.view(np.bool_)
