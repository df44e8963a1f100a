"""A trace, from a file or from memory: its arrays under the steps' names, read one at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import as_array
from numpy_bert.errors import IntegrityError, TraceError
from numpy_bert.files import file_size, permissions, quoted
from numpy_bert.traces.names import INPUTS, Named, NameMap
from numpy_bert.traces.stored_arrays import (
    StoredArray,
    read_folder,
    read_npz,
    read_safetensors,
)
from numpy_bert.traces.writing import CHECKSUM, CONTRACT, checksum_of

__all__ = ["Trace", "TraceArray", "as_trace", "open_trace"]


@dataclass(frozen=True, slots=True)
class TraceArray:
    """An array of a trace: what it is called there, and the step that it is.

    `axes` are the letters of its axes, None where they are the step's own.
    """

    stored: StoredArray
    step: str
    axes: str | None

    @property
    def dtype(self) -> str:
        """As NumPy calls it; ``"bfloat16"`` too."""
        return self.stored.dtype


@dataclass(frozen=True, slots=True)
class Trace:
    """The arrays of a trace by step, in the order in which they lie, and what is said of them.

    Attributes
    ----------
    label : str
        What messages call it.
    arrays : mapping of str to TraceArray
        By the step's name.
    twins : tuple of TraceArray
        Further arrays for a step that `arrays` has already: a module and the only one in it.
    metadata : mapping of str to str
        Empty in a trace made elsewhere: names and arrays suffice.
    """

    label: str
    arrays: Mapping[str, TraceArray]
    twins: tuple[TraceArray, ...]
    metadata: Mapping[str, str]

    def get(self, name: str) -> npt.NDArray[Any] | None:
        """Return an array by the step's name, None where there is none."""
        found = self.arrays.get(name)
        return None if found is None else found.stored.load()

    def listed(self, member: str) -> list[str]:
        """Return a member of the metadata that is a list of strings; empty where it is none."""
        try:
            value = json.loads(self.metadata.get(member, "[]"))
        except (ValueError, RecursionError):
            return []
        good = isinstance(value, list) and all(isinstance(item, str) for item in value)
        return value if good else []


@permissions(TraceError)
def open_trace(path: str | Path, names: NameMap | None = None) -> Trace:
    """Open a trace: a safetensors file, an npz file, or a folder of npy files.

    Parameters
    ----------
    path : str or Path
        What to open. Told by its content, not by its name.
    names : NameMap, optional
        What the names in it stand for; the built-in rules by default.

    Raises
    ------
    TraceError
        Naming the file, the array and what is wrong with it.
    IntegrityError
        If it carries a checksum, and was changed after that was made.

    Examples
    --------
    >>> open_trace("no/such/file")
    Traceback (most recent call last):
    numpy_bert.errors.TraceError: no/such/file: does not exist.
    """
    path = Path(path)
    metadata: dict[str, str] = {}
    if path.is_dir():
        stored = read_folder(path)
    else:
        file_size(path, error=TraceError)
        with path.open("rb") as file:
            start = file.read(8)
        if start.startswith(b"PK"):
            stored = read_npz(path)
        elif start.startswith(b"\x93NUMPY"):
            raise TraceError(f"{path}: is a single npy file; name the folder that it is in.")
        else:
            stored, metadata = read_safetensors(path)
            _check_sum(path, metadata)
    return _named(str(path), stored, metadata, names or NameMap())


def as_trace(arrays: Mapping[str, Any], names: NameMap | None = None) -> Trace:
    """Return arrays that are in memory as a trace.

    Anything that NumPy takes for an array will do: torch's and JAX's arrays too.

    Examples
    --------
    >>> as_trace({"bert.embeddings": np.zeros((1, 3, 4))}).arrays["embeddings"].stored.shape
    (1, 3, 4)
    """
    stored = []
    for name, value in arrays.items():
        array = as_array(value, str(name))
        if array.dtype.name == "bfloat16":  # of ml_dtypes, which JAX uses
            array = array.astype(np.float32)
            stored.append(StoredArray(str(name), "bfloat16", array.shape, lambda a=array: a))  # type: ignore[misc]
            continue
        if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
            raise TraceError(f"{quoted(name)}: dtype {array.dtype}; plain numbers were expected.")
        stored.append(StoredArray(str(name), array.dtype.name, array.shape, lambda a=array: a))  # type: ignore[misc]
    return _named("the candidate", stored, {}, names or NameMap())


def _named(
    label: str, stored: list[StoredArray], metadata: Mapping[str, str], names: NameMap
) -> Trace:
    """Give every array its step's name."""
    arrays: dict[str, TraceArray] = {}
    twins = []
    for array in stored:
        named = Named(array.name) if array.name in INPUTS else names(array.name)
        if not named.step:
            continue
        found = TraceArray(array, named.step, named.axes)
        other = arrays.get(named.step)
        if other is not None and array.name == named.step:
            twins.append(other)
            arrays[named.step] = found
        elif other is not None:
            twins.append(found)
        else:
            arrays[named.step] = found
    return Trace(label, arrays, tuple(twins), metadata)


def _check_sum(path: Path, metadata: Mapping[str, str]) -> None:
    """Raise IntegrityError if a trace is no longer what its own checksum was made of."""
    contract, stated = metadata.get("contract", ""), metadata.get(CHECKSUM)
    if not contract.startswith(CONTRACT.partition("/")[0]) or stated is None:
        return  # made elsewhere
    if contract != CONTRACT:
        raise TraceError(f"{path}: its contract is {quoted(contract)}; {CONTRACT} is read.")
    found = checksum_of(path, stated)
    if found != stated:
        raise IntegrityError(
            f"{path}: its bytes hash to {found}, its own {CHECKSUM} is {quoted(stated)}; it was "
            "changed after it was written. Make it again."
        )
