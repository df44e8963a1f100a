"""Arrays in files that somebody else wrote: npy, npz and safetensors, read one at a time.

Comparison files are hostile until they have been looked at. Every size is taken from a header and
held against the bytes that are there before anything is read; pickles, and dtypes that are not
plain numbers, are refused.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import widen
from numpy_bert.errors import CheckpointError, TraceError
from numpy_bert.files import file_size
from numpy_bert.loading.header import DTYPES
from numpy_bert.loading.stored import SafetensorsFile, StoredTensor
from numpy_bert.messages import quoted

__all__ = ["StoredArray", "read_folder", "read_npz", "read_safetensors"]

# NumPy writes 128 bytes; a header of more than this is no array's.
_LONGEST_HEADER = 1 << 16
_MOST_ARRAYS = 100_000
_MOST_AXES = 64
_LARGEST = 1 << 59
# What zipfile, and NumPy's reader of headers, raise at damaged bytes.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,  # names that are no UTF-8
)
_NO_HEADER = (
    ValueError,
    TypeError,
    SyntaxError,
    LookupError,
    ArithmeticError,
    RecursionError,
    TokenError,
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
class StoredArray:
    """An array of a file, not read yet.

    Attributes
    ----------
    name : str
        What the file calls it.
    dtype : str
        As NumPy calls it; ``"bfloat16"`` too.
    shape : tuple of int
        Checked against the bytes that there are.
    load : callable
        Reads it, in the byte order of this machine; bfloat16 as float32.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    load: Callable[[], npt.NDArray[Any]]

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)


def read_safetensors(path: Path) -> tuple[list[StoredArray], dict[str, str]]:
    """Return the arrays of a safetensors file in the order in which they lie, and its metadata."""
    try:
        file = SafetensorsFile(path)
    except CheckpointError as failure:
        raise TraceError(str(failure)) from None
    found = [_of_tensor(tensor) for tensor in sorted(file.tensors.values(), key=lambda t: t.start)]
    return found, file.metadata


def read_npz(path: Path) -> list[StoredArray]:
    """Return the arrays of an npz file in the order in which they were written."""
    size = file_size(path, error=TraceError)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > _MOST_ARRAYS:
                raise TraceError(f"{path}: holds more than {_MOST_ARRAYS:,} arrays.")
            names = [member.filename for member in members]
            twice = {name for name in names if names.count(name) > 1} if len(names) < 5000 else ()
            if len(set(names)) != len(names):
                raise TraceError(f"{path}: {quoted(min(twice, default='a name'))} stands twice.")
            return [_of_member(path, archive, member, size) for member in members]
    except _BROKEN as failure:
        if isinstance(failure, TraceError):
            raise
        raise TraceError(f"{path}: is no npz file that can be read ({quoted(failure)}).") from None


def read_folder(path: Path) -> list[StoredArray]:
    """Return the arrays of the npy files of a folder, each under its file's name."""
    files = sorted(p for p in path.iterdir() if p.suffix == ".npy")
    if not files:
        raise TraceError(f"{path}: this folder holds no .npy file.")
    if len(files) > _MOST_ARRAYS:
        raise TraceError(f"{path}: holds more than {_MOST_ARRAYS:,} arrays.")
    return [_of_file(file) for file in files]


def _of_tensor(tensor: StoredTensor) -> StoredArray:
    """Return a tensor as a StoredArray."""
    where = f"{tensor.file.path}: {quoted(tensor.name)}"
    if tensor.dtype not in _NAMES:
        raise TraceError(f"{where} has dtype {quoted(tensor.dtype)}; {', '.join(_NAMES)} are read.")
    more = _MORE_DTYPES.get(tensor.dtype)
    if more is not None and math.prod(tensor.shape) * more.itemsize != tensor.nbytes:
        raise TraceError(f"{where}: {tensor.nbytes:,} bytes are not what its shape takes.")

    def load() -> npt.NDArray[Any]:
        try:
            if more is None:
                return tensor.read(mapped=True)
            data = tensor.file.data(tensor, mapped=True)
        except CheckpointError as failure:
            raise TraceError(str(failure)) from None
        array: npt.NDArray[Any] = data.view(more).reshape(tensor.shape)
        if tensor.dtype != "BOOL":
            return array
        if array.max(initial=0) > 1:
            raise TraceError(f"{where}: its booleans hold numbers other than 0 and 1.")
        return array.astype(np.bool_)

    return StoredArray(tensor.name, _NAMES[tensor.dtype], tensor.shape, load)


def _of_member(
    path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, size: int
) -> StoredArray:
    """Return a member of an npz file; its header is read, its data is not."""
    where = f"{path}: {quoted(member.filename)}"
    if not member.filename.endswith(".npy"):
        raise TraceError(f"{where}: is no .npy file; an npz holds nothing else.")
    if member.flag_bits & 1:
        raise TraceError(f"{where}: is encrypted.")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise TraceError(f"{where}: is compressed in a way that NumPy does not write.")
    if member.compress_size > size:
        raise TraceError(f"{where}: claims {member.compress_size:,} bytes, the file has {size:,}.")
    expands = member.file_size > _LARGEST_RATIO * max(member.compress_size, 1)
    if expands and member.file_size > _SMALL:
        raise TraceError(
            f"{where}: {member.compress_size:,} bytes claim to expand to {member.file_size:,}, "
            "which no computed numbers do; save it uncompressed (numpy.savez)."
        )
    with archive.open(member) as file:
        dtype, shape, order, start = _read_header(file, where)  # type: ignore[arg-type]
    _check_size(dtype, shape, member.file_size - start, where)

    def load() -> npt.NDArray[Any]:
        try:
            with zipfile.ZipFile(path) as again, again.open(member) as file:
                data = file.read(member.file_size + 1)[start:]
        except _BROKEN as failure:
            raise TraceError(f"{where}: cannot be read ({quoted(failure)}).") from None
        return _numbers(data, dtype, shape, order, where)

    return StoredArray(member.filename.removesuffix(".npy"), _dtype_name(dtype), shape, load)


def _of_file(path: Path) -> StoredArray:
    """Return an npy file; its header is read, its data is not."""
    size = file_size(path, error=TraceError)
    try:
        with path.open("rb") as file:
            dtype, shape, order, start = _read_header(file, str(path))
    except OSError as failure:
        raise TraceError(f"{path}: cannot be read ({failure.strerror}).") from None
    _check_size(dtype, shape, size - start, str(path))

    def load() -> npt.NDArray[Any]:
        try:
            with path.open("rb") as file:
                file.seek(start)
                data = file.read(size - start + 1)
        except OSError as failure:
            raise TraceError(f"{path}: cannot be read ({failure.strerror}).") from None
        return _numbers(data, dtype, shape, order, str(path))

    return StoredArray(path.stem, _dtype_name(dtype), shape, load)


def _read_header(file: BinaryIO, where: str) -> tuple[np.dtype[Any], tuple[int, ...], str, int]:
    """Read the header of an npy file: dtype, shape, order and where the data starts."""
    start = io.BytesIO(file.read(_LONGEST_HEADER))
    try:
        version = np.lib.format.read_magic(start)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(start)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(start)
        else:
            raise TraceError(f"{where}: is an npy file of version {version}; 1.0 and 2.0 are read.")
    except _NO_HEADER as failure:
        if isinstance(failure, TraceError):
            raise
        raise TraceError(f"{where}: is no npy file ({quoted(failure)}).") from None
    if dtype.hasobject:
        raise TraceError(f"{where}: holds Python objects, which are pickles; they are refused.")
    is_bfloat16 = dtype.str[1:] == "V2" and dtype.fields is None and dtype.subdtype is None
    if dtype.kind not in "fiub" and not is_bfloat16:
        raise TraceError(f"{where}: has dtype {quoted(dtype)}; plain numbers were expected.")
    if dtype.kind == "f" and dtype.itemsize not in (2, 4, 8):
        raise TraceError(f"{where}: has dtype {quoted(dtype)}; float16 to float64 are read.")
    good = len(shape) <= _MOST_AXES and all(type(n) is int and 0 <= n <= _LARGEST for n in shape)
    if not good or math.prod(n or 1 for n in shape) > _LARGEST:
        raise TraceError(f"{where}: has a shape that no array can have.")
    return dtype, shape, "F" if fortran else "C", start.tell()


def _check_size(dtype: np.dtype[Any], shape: tuple[int, ...], size: int, where: str) -> None:
    """Raise TraceError unless the bytes that there are are those that the shape takes."""
    needed = math.prod(shape) * dtype.itemsize
    if needed != size:
        raise TraceError(
            f"{where}: has {max(size, 0):,} bytes of data; {dtype} of shape {quoted(shape)} takes "
            f"{needed:,}."
        )


def _numbers(
    data: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], order: str, where: str
) -> npt.NDArray[Any]:
    """Turn bytes into an array of this machine's byte order."""
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise TraceError(f"{where}: changed while it was read; try again.")
    if dtype.kind == "V":  # as ml_dtypes saves bfloat16
        array = widen(np.frombuffer(data, "<u2"), np.float32)
    else:
        flat = np.frombuffer(data, dtype)
        if dtype.kind == "b" and np.frombuffer(data, np.uint8).max(initial=0) > 1:
            raise TraceError(f"{where}: its booleans hold numbers other than 0 and 1.")
        array = flat.astype(dtype.newbyteorder("="), copy=False)
    return array.reshape(shape, order=order)  # type: ignore[call-overload, no-any-return]


def _dtype_name(dtype: np.dtype[Any]) -> str:
    return "bfloat16" if dtype.kind == "V" else dtype.name
