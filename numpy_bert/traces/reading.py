"""A trace, from a file or from memory: its arrays under the steps' names, read one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import as_array
from numpy_bert.errors import IntegrityError, NumpyBertError, TraceError
from numpy_bert.files import file_size, look, permissions
from numpy_bert.messages import quoted
from numpy_bert.reprs import short_repr
from numpy_bert.traces.array_files import LazyArray, read_folder, read_npz, read_safetensors
from numpy_bert.traces.layout import INPUTS, arranged
from numpy_bert.traces.names import STACKS, Named, NameMap, is_first_state, matches, member_of
from numpy_bert.traces.writing import CHECKSUM, CONTRACT, checksum_of

__all__ = ["Trace", "TraceArray", "as_trace", "check_stacks", "open_trace", "with_first_state"]

# A module's path has some 60; rules of names take time that grows with the length.
_LONGEST_NAME = 500
# A layer's number has at most four digits.
_MOST_MEMBERS = 10_000


@dataclass(frozen=True, slots=True)
class TraceArray:
    """An array of a trace, and the step that it is.

    Attributes
    ----------
    stored : LazyArray
        The array as the trace has it, not read yet.
    step : str
        The name of the step that it is.
    axes : str or None
        The letters of its axes, None where they are the step's own.
    """

    __repr__ = short_repr

    stored: LazyArray
    step: str
    axes: str | None

    @property
    def dtype(self) -> str:
        """The dtype as NumPy calls it, or ``"bfloat16"``."""
        return self.stored.dtype

    def is_named(self, globs: Sequence[str]) -> bool:
        """Tell whether a glob fits the name that the trace gives the array, or its step's."""
        return matches(self.stored.name, globs) or matches(self.step, globs)

    def shape_in(self, wanted: str | None) -> tuple[int, ...]:
        """Return the shape that the array has in the order of the step's axes.

        Parameters
        ----------
        wanted : str or None
            The letters of the step's axes; None for an array that is no step.

        Raises
        ------
        TraceError, ValueError
            If the array's own axes do not fit it, or are not the step's.
        """
        if self.axes is None or wanted is None:
            return self.stored.shape
        stand_in = np.broadcast_to(np.float32(0), self.stored.shape)  # takes no memory
        return arranged(stand_in, self.axes, wanted, self.step).shape

    def load_in(self, wanted: str | None) -> npt.NDArray[Any]:
        """Read the array in the order of the step's axes; the same parameter as `shape_in`."""
        found = self.stored.load()
        if self.axes is None or wanted is None:
            return found
        return arranged(found, self.axes, wanted, self.step)


@dataclass(frozen=True, slots=True)
class Trace:
    """The arrays of a trace, and what it says of itself.

    Attributes
    ----------
    label : str
        What messages call the trace.
    arrays : mapping of str to TraceArray
        The arrays by the names of their steps, in the order in which they lie.
    twins : tuple of TraceArray
        Second arrays for steps that `arrays` has already: a module and the only one in it.
    metadata : mapping of str to str
        What the trace says of itself, which is nothing where it was made elsewhere.
    stacks : mapping of str to LazyArray
        The arrays that hold all hidden states or all attentions, by their keys in `STACKS`. Their
        members are among `arrays`.
    """

    __repr__ = short_repr

    label: str
    arrays: Mapping[str, TraceArray]
    twins: tuple[TraceArray, ...]
    metadata: Mapping[str, str]
    stacks: Mapping[str, LazyArray] = field(default_factory=dict)

    def get(self, name: str) -> npt.NDArray[Any] | None:
        """Return the array of a step, None if the trace has none."""
        found = self.arrays.get(name)
        return None if found is None else found.stored.load()

    def listed(self, member: str) -> list[str] | None:
        """Return a member of the metadata that must be a list of strings, None if it is not.

        The list is empty where the metadata has no such member.
        """
        try:
            value = json.loads(self.metadata.get(member, "[]"))
        except (ValueError, RecursionError):
            return None
        good = isinstance(value, list) and all(isinstance(item, str) for item in value)
        return value if good else None


@permissions(TraceError)
def open_trace(path: str | Path, names: NameMap | None = None) -> Trace:
    """Open a trace: a safetensors file, an npz file, or a folder of npy files.

    Parameters
    ----------
    path : str or Path
        The file or folder. Its kind is told by its content, not by its name.
    names : NameMap, optional
        What the names in it stand for; the built-in rules by default.

    Raises
    ------
    TraceError
        If the trace cannot be read. The message names the file, the array and what is wrong.
    IntegrityError
        If the trace carries a checksum, and was changed after that was made.

    Examples
    --------
    >>> open_trace("no/such/file")
    Traceback (most recent call last):
    numpy_bert.errors.TraceError: no/such/file: does not exist.
    """
    path = Path(path)
    metadata: dict[str, str] = {}
    try:
        if look(path) == "folder":
            stored = read_folder(path)
        else:
            file_size(path, error=TraceError)
            with path.open("rb") as file:
                start = file.read(8)
            if start.startswith(b"PK"):
                stored = read_npz(path)
            elif start.startswith(b"\x93NUMPY"):
                raise TraceError(f"{path} is a single npy file. Name the folder that it is in.")
            else:
                stored, metadata = read_safetensors(path)
                _check_sum(path, metadata)
    except NumpyBertError:
        raise
    except OSError as failure:
        raise TraceError(f"{quoted(path)} cannot be read ({failure.strerror}).") from None
    return _named(str(path), stored, metadata, names or NameMap())


def as_trace(
    arrays: Mapping[str, Any], names: NameMap | None = None, *, label: str = "the candidate"
) -> Trace:
    """Return arrays that are in memory as a trace.

    Anything that NumPy takes for an array will do; torch's and JAX's arrays are such.

    Examples
    --------
    >>> as_trace({"bert.embeddings": np.zeros((1, 3, 4))}).arrays["embeddings"].stored.shape
    (1, 3, 4)
    """
    stored = [_in_memory(str(name), value, label) for name, value in arrays.items()]
    return _named(label, stored, {}, names or NameMap())


def _in_memory(name: str, value: Any, label: str) -> LazyArray:
    """Return a value as an array; one of bfloat16 becomes float32."""
    where = f"{label}: {quoted(name)}"
    if isinstance(value, (tuple, list)) and value and all(hasattr(v, "dtype") for v in value):
        return _side_by_side([_in_memory(name, item, label) for item in value], where)
    is_bfloat16 = str(getattr(value, "dtype", "")).endswith("bfloat16")
    if hasattr(value, "detach"):  # a tensor of torch
        value = value.detach().cpu()
        value = value.float() if is_bfloat16 else value
    array = as_array(value, where)
    if is_bfloat16:
        array = array.astype(np.float32)
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise TraceError(f"{where} must hold plain numbers; got dtype {array.dtype}.")
    dtype = "bfloat16" if is_bfloat16 else array.dtype.name
    return LazyArray(name, dtype, array.shape, lambda: array)


def _side_by_side(parts: Sequence[LazyArray], where: str) -> LazyArray:
    """Return arrays of one shape and dtype, as transformers' tuples hold them, as one."""
    first = parts[0]
    for number, part in enumerate(parts):
        if (part.shape, part.dtype) != (first.shape, first.dtype):
            raise TraceError(
                f"{where} must hold arrays of one shape and dtype; number 0 is {first.dtype} of "
                f"shape {first.shape}, number {number} is {part.dtype} of shape {part.shape}."
            )
    array = np.stack([part.load() for part in parts])
    return LazyArray(first.name, first.dtype, array.shape, lambda: array)


def check_stacks(trace: Trace, layers: int, whose: str) -> None:
    """Raise TraceError unless all hidden states, or attentions, are those of so many layers.

    Parameters
    ----------
    trace : Trace
        The trace that may hold them in one array.
    layers : int
        How many layers there must be.
    whose : str
        What has so many.

    Examples
    --------
    >>> trace = as_trace({"hidden_states": np.zeros((3, 1, 2, 4))})
    >>> check_stacks(trace, 2, "demo")
    >>> check_stacks(trace, 3, "demo")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    numpy_bert.errors.TraceError: the candidate: hidden_states must have shape (4, B, T, H), for ...
    """
    for name, stored in trace.stacks.items():
        axes, more = STACKS[name]
        if stored.shape[0] != layers + more:
            wanted = ", ".join([str(layers + more), *axes])
            embedding = "the embedding and " * more
            raise TraceError(
                f"{trace.label}: {quoted(stored.name)} must have shape ({wanted}), for {embedding}"
                f"the {layers} layers of {whose}; got {stored.shape}."
            )


def with_first_state(trace: Trace, step: str) -> Trace:
    """Return a trace in which the first of transformers' hidden states is this step.

    It is what the first layer reads, which not in every model is the embedding.

    Examples
    --------
    >>> trace = as_trace({"hidden_states[0]": np.zeros((1, 3, 4))})
    >>> list(with_first_state(trace, "embeddings_project").arrays)
    ['embeddings_project']
    """

    def placed(array: TraceArray) -> TraceArray:
        is_moved = array.step == "embeddings" and is_first_state(array.stored.name)
        return replace(array, step=step) if is_moved else array

    arrays: dict[str, TraceArray] = {}
    twins = []
    for array in map(placed, (*trace.arrays.values(), *trace.twins)):
        if array.step in arrays:
            twins.append(array)
        else:
            arrays[array.step] = array
    return replace(trace, arrays=arrays, twins=tuple(twins))


def _named(
    label: str, stored: list[LazyArray], metadata: Mapping[str, str], names: NameMap
) -> Trace:
    """Give every array its step's name."""
    arrays: dict[str, TraceArray] = {}
    twins = []
    stacks: dict[str, LazyArray] = {}
    for found in _each(label, stored, names, stacks):
        array, step = found.stored, found.step
        other = arrays.get(step)
        if other is not None and step in INPUTS:
            raise _twice(label, other.stored, array, step)
        if other is not None and array.name == step:
            twins.append(other)
            arrays[step] = found
        elif other is not None:
            twins.append(found)
        else:
            arrays[step] = found
    return Trace(label, arrays, tuple(twins), metadata, stacks)


def _each(
    label: str, stored: list[LazyArray], names: NameMap, stacks: dict[str, LazyArray]
) -> Iterator[TraceArray]:
    """Yield every array that is read, by its step's name; those that are stacked go to `stacks`."""
    for array in stored:
        if len(array.name) > _LONGEST_NAME:
            raise TraceError(
                f"{label}: a name must have at most {_LONGEST_NAME} characters; got "
                f"{len(array.name):,}."
            )
        named = Named(array.name) if array.name in INPUTS else names(array.name)
        step = named.step
        is_stack = step in STACKS and named.axes is None
        if is_stack and len(array.shape) == 1 + len(STACKS[step].axes):
            if step in stacks:
                raise _twice(label, stacks[step], array, step)
            stacks[step] = array
            yield from _members(label, array, step)
        elif step:
            yield TraceArray(array, step, named.axes)


def _members(label: str, array: LazyArray, stack: str) -> Iterator[TraceArray]:
    """Yield the members of a stacked array, which is read once for all of them."""
    if array.shape[0] > _MOST_MEMBERS:
        raise TraceError(
            f"{label}: {quoted(array.name)} must have at most {_MOST_MEMBERS:,} members in its "
            f"first axis; got shape {array.shape}."
        )
    whole = cache(array.load)

    def load(number: int) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = whole()[number]
        return found

    for number in range(array.shape[0]):
        name = f"{array.name}[{number}]"
        member = LazyArray(name, array.dtype, array.shape[1:], partial(load, number))
        yield TraceArray(member, member_of(stack, number), None)


def _twice(label: str, one: LazyArray, other: LazyArray, step: str) -> TraceError:
    return TraceError(
        f"{label}: {quoted(one.name)} and {quoted(other.name)} are both {step}. Keep one of them."
    )


def _check_sum(path: Path, metadata: Mapping[str, str]) -> None:
    """Raise IntegrityError if a trace is no longer what its own checksum was made of."""
    contract, stated = metadata.get("contract", ""), metadata.get(CHECKSUM, "")
    if not contract.startswith(CONTRACT.partition("/")[0]):
        return  # made elsewhere
    if contract != CONTRACT:
        raise TraceError(f"{path}: the contract must be {CONTRACT}; got {quoted(contract)}.")
    found = checksum_of(path, stated)
    if found != stated:
        raise IntegrityError(
            f"{path} was changed after it was written: its bytes hash to {found}, its own "
            f"{CHECKSUM} is {quoted(stated)}. Make it again."
        )
