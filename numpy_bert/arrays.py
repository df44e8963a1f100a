"""Array types, the letters of their shapes, and the checks at the boundary.

Shape letters, used in every docstring and comment:

====== ==========================  ====== ==========================
B      sequences in a batch        V      vocabulary entries
T      tokens in a sequence        P      positions
N      packed tokens               S      token types (segments)
H      hidden size                 I      intermediate size
A      attention heads             L      layers
D      size of a head (H / A)      K      labels of a classifier
C      choices of a question       E      features of the embedding
====== ==========================  ====== ==========================
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from numpy_bert.errors import InputError, OutOfMemoryError
from numpy_bert.messages import must_be, quoted, written

__all__ = [
    "Array",
    "BoolArray",
    "IntArray",
    "StoredArray",
    "as_array",
    "as_dtype",
    "as_floats",
    "as_ids",
    "as_mask",
    "check_ids",
    "largest",
    "memory_for",
    "place",
    "places_within",
    "widen",
]

Array: TypeAlias = npt.NDArray[np.floating[Any]]
IntArray: TypeAlias = npt.NDArray[np.integer[Any]]
# Numbers as a checkpoint stores them: floats of any size, and bfloat16, which NumPy does not have,
# as the uint16 of its bits.
StoredArray: TypeAlias = npt.NDArray[np.floating[Any]] | npt.NDArray[np.uint16]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

_INT64 = np.dtype(np.int64)

# How an id that is out of range is explained, by the table that it was meant for.
_SPACES = {
    "word_embeddings": "the vocabulary of {rows} (word_embeddings)",
    "token_type_embeddings": "the {rows} token types (token_type_embeddings)",
    "position_embeddings": "the {rows} positions (position_embeddings)",
}
_NEGATIVE = " Ids count from 0; -100 marks labels to ignore, not input."
_HINTS = {"word_embeddings": " Is the tokenizer from another checkpoint?"}


class memory_for:  # noqa: N801 it is used as a function is
    """A block whose MemoryError says what the memory was for, and how to need less of it.

    Parameters
    ----------
    where : str
        What was called, with which the message begins.
    what : callable
        Returns what the memory was for; it is called if the message is wanted.
    advice : str
        The sentences that say what to do.

    Raises
    ------
    OutOfMemoryError
        In the place of a MemoryError. An array's shape and bytes are what NumPy says of it.

    Examples
    --------
    >>> with memory_for("model", lambda: "2 sequences", "Give fewer."):
    ...     raise MemoryError
    Traceback (most recent call last):
    numpy_bert.errors.OutOfMemoryError: model: out of memory for 2 sequences. Give fewer.
    """

    __slots__ = ("_advice", "_what", "_where")

    def __init__(self, where: str, what: Callable[[], str], advice: str) -> None:
        self._where, self._what, self._advice = where, what, advice

    def __enter__(self) -> None:
        """Do nothing: a block that has its memory costs nothing."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(failure, MemoryError):
            first = failure.__cause__ if isinstance(failure, OutOfMemoryError) else failure
            said = str(first or "").rstrip(".")
            raise OutOfMemoryError(
                f"{self._where}: out of memory for {self._what()}"
                f"{f' ({quoted(said)})' if said else ''}. {self._advice}"
            ) from first


def as_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Return `dtype` as float32 or float64, the two in which numpy_bert computes.

    Examples
    --------
    >>> as_dtype("float32")
    dtype('float32')
    """
    name = written(dtype)  # torch's dtypes, by which nothing is imported
    try:
        found = np.dtype(name[6:] if name.startswith("torch.") else dtype).newbyteorder("=")
    except (TypeError, ValueError, SyntaxError):
        found = None
    if found is None or dtype is None or found not in (np.dtype("float32"), np.dtype("float64")):
        raise InputError(must_be("dtype", "'float32' or 'float64'", dtype))
    return found


def as_floats(value: npt.ArrayLike, *, name: str) -> Array:
    """Return `value` as a float32 or float64 array of this machine's byte order.

    Raises
    ------
    InputError
        If it is ragged or of another dtype. Nothing is cast.
    """
    array = as_array(value, name)
    if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
        raise InputError(f"{name} must be float32 or float64; got {array.dtype}.")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def as_ids(value: npt.ArrayLike, *, name: str) -> IntArray:
    """Return `value` as an integer array; raise InputError for any other kind.

    Booleans are refused because NumPy would take them for a mask, floats because a fraction
    would be cut off.
    """
    array = value if type(value) is np.ndarray else as_array(value, name)
    if array.dtype.kind not in "iu":
        what = "an empty list, which has no dtype" if array.size == 0 else f"dtype {array.dtype}"
        raise InputError(f"{name} must be an array of integers; got {what}.")
    return array


def as_mask(value: npt.ArrayLike, shape: tuple[int, int], *, name: str) -> BoolArray:
    """Return an attention mask of 0 and 1, in numbers of any kind, as booleans; True is a token.

    Raises
    ------
    InputError
        If it is of another shape, or holds anything but 0 and 1: a mask that is meant to be added
        to the scores, or that weighs tokens by fractions, is not taken for one.

    Examples
    --------
    >>> as_mask([[1, 1, 0]], (1, 3), name="attention_mask")
    array([[ True,  True, False]])
    """
    mask = as_array(value, name)
    if mask.shape != shape:
        raise InputError(
            f"{name} must have shape {shape}, a value for each token; got {mask.shape}."
        )
    if mask.dtype.kind == "b":
        return mask
    if mask.dtype.kind not in "iuf":
        raise InputError(f"{name} must be numbers or booleans, 0 or 1; got dtype {mask.dtype}.")
    wrong = np.argwhere((mask != 0) & (mask != 1))
    if len(wrong):
        first = tuple(int(i) for i in wrong[0])
        raise InputError(
            f"{name}{place(first)} must be 1 for a token or 0 for padding; got {mask[first]}."
        )
    return mask.astype(np.bool_)


def check_ids(ids: IntArray, rows: int, *, name: str, table: str) -> npt.NDArray[np.intp]:
    """Return `ids` as indices of a table of `rows` rows; raise InputError unless all fit.

    NumPy's own indexing takes -1 for the last row without a word.

    Examples
    --------
    >>> check_ids(np.array([[5, 6], [7, 30522]]), 30522, name="input_ids",
    ...           table="word_embeddings")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    numpy_bert.errors.InputError: input_ids[1, 1] = 30522 is outside the vocabulary of 30522 ...
    """
    # In 64 bits nothing wraps: an unsigned id that does not fit into int64 turns negative.
    whole = ids if ids.dtype is _INT64 else ids.astype(np.int64)
    if largest(whole.view(np.uint64)) >= rows:  # as which a negative id is large
        wrong = (ids < 0) | (ids >= rows)
        first = tuple(int(i) for i in np.argwhere(wrong)[0])
        value = int(ids[first])
        space = _SPACES.get(table, f"the {{rows}} rows of {table}").format(rows=rows)
        raise InputError(
            f"{name}{place(first)} = {value} is outside {space}."
            f"{_NEGATIVE if value < 0 else _HINTS.get(table, '')}"
        )
    return whole.astype(np.intp, copy=False)


def largest(array: npt.NDArray[Any]) -> int:
    """Return the largest integer of an array, 0 of an empty one; a fifth of the time of max().

    Examples
    --------
    >>> largest(np.array([[3, 1], [2, 0]]))
    3
    """
    return array.item(array.argmax()) if array.size else 0


def widen(stored: StoredArray, dtype: npt.DTypeLike) -> Array:
    """Return stored numbers in a dtype that holds them all, themselves where it is theirs.

    Examples
    --------
    >>> widen(np.array([0x3F80, 0xC000], np.uint16), "float32")  # bfloat16
    array([ 1., -2.], dtype=float32)
    """
    if stored.dtype == np.uint16:
        bits = stored.astype(np.uint32)
        bits <<= 16  # in place: an array of no axes stays one
        stored = bits.view(np.float32)
    return stored.astype(dtype, copy=False)


def places_within(counts: IntArray) -> npt.NDArray[np.intp]:
    """Return the places 0, 1, ... within each of some runs that stand one after another.

    Parameters
    ----------
    counts : ndarray of shape (n,), int
        How long each run is.

    Examples
    --------
    >>> places_within(np.array([2, 0, 3]))
    array([0, 1, 0, 1, 2])
    """
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    found: npt.NDArray[np.intp] = np.arange(len(starts)) - starts
    return found


def place(index: tuple[int, ...]) -> str:
    """Write an index as it is typed.

    Examples
    --------
    >>> place((1, 4))
    '[1, 4]'
    """
    return f"[{', '.join(str(i) for i in index)}]" if index else ""


def as_array(value: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    """Return `value` as an array, or say that its rows are of different lengths."""
    if type(value).__module__.startswith("numpy.ma"):
        raise InputError(
            f"{name} must be a plain array; got a masked one, whose mask would be lost. Give "
            "its .filled(0), and what is masked as 0 in attention_mask."
        )
    try:
        return np.asarray(value)
    except ValueError:
        raise InputError(
            f"{name} must have rows of one length that hold only numbers. Pad ids by "
            "tokenizer(..., padding=True)."
        ) from None
    except (TypeError, OverflowError, RuntimeError) as failure:
        # As torch does for a tensor that needs gradients, or of a dtype that NumPy does not have.
        raise InputError(f"{name} cannot be made an array: {quoted(failure)}") from None
