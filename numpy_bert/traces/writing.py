"""A trace written: one safetensors file, streamed, with its own checksum.

The contract is in this room's README.md, "The trace contract".
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_bert import __version__
from numpy_bert.config import BertConfig
from numpy_bert.errors import TraceError
from numpy_bert.files import check_space, writing
from numpy_bert.loading.header import Entry, make_header
from numpy_bert.progress import progress

__all__ = ["CHECKSUM", "CONTRACT", "Tensor", "checksum_of", "metadata_of", "write_trace"]

CONTRACT = "numpy_bert.trace/1"
# The metadata's name of the sha256 of the file in which its own 64 digits are zeros.
CHECKSUM = "sha256"
_BLANK = "0" * 64
_BLOCK = 1 << 20
_CODES = {"float64": "F64", "float32": "F32", "int64": "I64", "bool": "BOOL"}


class Tensor(NamedTuple):
    """The name, dtype and shape of an array, known before it is computed."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """How many bytes it takes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def write_trace(
    path: Path,
    tensors: Iterable[Tensor],
    arrays: Iterable[tuple[str, npt.NDArray[Any]]],
    metadata: Mapping[str, str],
) -> None:
    """Write arrays to a safetensors file while they are computed.

    Parameters
    ----------
    path : Path
        The file, which takes this name when all of it is on the disk; until then an older file
        stays.
    tensors : iterable of Tensor
        What is to be written, in this order.
    arrays : iterable of (str, ndarray)
        The same arrays in the same order; others between them are passed over.
    metadata : mapping of str to str
        The metadata, to which the order and the checksum are added.

    Raises
    ------
    OutputError
        If the disk is too small or full. Nothing has changed then.
    """
    wanted = list(tensors)
    total = sum(tensor.nbytes for tensor in wanted)
    check_space(path, total, "Take fewer names (--names).")
    order = json.dumps([tensor.name for tensor in wanted])
    entries = [
        Entry(tensor.name, _CODES[tensor.dtype], tensor.shape, 0, tensor.nbytes)
        for tensor in wanted
    ]
    header = make_header(entries, {**metadata, "order": order, CHECKSUM: _BLANK})
    state = hashlib.sha256(header)
    with writing(path, size=len(header) + total) as file:
        file.write(header)
        left = iter(wanted)
        tensor = next(left, None)
        for name, array in arrays:
            if tensor is None or name != tensor.name:
                continue
            data = _bytes(array, tensor)
            file.write(data)
            state.update(data)
            tensor = next(left, None)
        assert tensor is None, f"{tensor} was not computed"
        _put_checksum(file, header, state.hexdigest())


def checksum_of(path: Path, stated: str) -> str:
    """Return the sha256 of a file in which the digits `stated` in its header are zeros."""
    state = hashlib.sha256()
    size = path.stat().st_size
    with path.open("rb") as file, progress(size, f"checking {path.name}") as report:
        length = min(int.from_bytes(file.read(8), "little") + 8, size)
        file.seek(0)
        header = file.read(length)
        state.update(header.replace(_member(stated), _member(_BLANK), 1))
        report(len(header))
        while block := file.read(_BLOCK):
            state.update(block)
            report(len(block))
    return state.hexdigest()


def metadata_of(
    config: BertConfig,
    *,
    dtype: str,
    weights: str,
    tokenizer: str | None,
    texts: list[str] | None,
    pair: bool,
) -> dict[str, str]:
    """Return what a trace says of itself, as strings; lists and objects are written as JSON.

    Parameters
    ----------
    config : BertConfig
        The model's settings.
    dtype : str
        The dtype that the model computes in.
    weights : str
        The sha256 digits of the weights.
    tokenizer : str or None
        The sha256 digits of the tokenizer, None where ids were given.
    texts : list of str or None
        The texts, None where ids were given.
    pair : bool
        Whether `texts` are the two of one row.
    """
    names = ("model_type", *(name for name in config.field_names if name != "labels"))
    settings = {name: getattr(config, name) for name in names}
    versions = {
        "numpy_bert": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    found = {
        "format": "np",
        "contract": CONTRACT,
        "config": json.dumps(settings),
        "dtype": dtype,
        "weights_sha256": weights,
        "versions": json.dumps(versions),
    }
    if tokenizer is not None:
        found["tokenizer_sha256"] = tokenizer
    if texts is not None:
        found |= {"text": json.dumps(texts), "pair": json.dumps(pair)}
    return found


def _bytes(array: npt.NDArray[Any], tensor: Tensor) -> bytes:
    """Return the little-endian bytes of an array that is what was announced."""
    if array.shape != tensor.shape or array.dtype.name != tensor.dtype:
        raise TraceError(
            f"{tensor.name} must be {tensor.dtype} of shape {tensor.shape}, as was announced; got "
            f"{array.dtype} of shape {array.shape}."
        )
    # In C order whatever the array's is: a transposed one would be written in the wrong order.
    return array.astype(array.dtype.newbyteorder("<"), order="C", copy=False).tobytes()


def _put_checksum(file: BinaryIO, header: bytes, digits: str) -> None:
    """Write the checksum in the place that was kept for it."""
    file.seek(header.index(_member(_BLANK)) + len(f'"{CHECKSUM}": "'))
    file.write(digits.encode("ascii"))


def _member(digits: str) -> bytes:
    """Return the checksum as it stands in the header's JSON."""
    return f'"{CHECKSUM}": "{digits}"'.encode()
