"""Vectors in fewer bits: a byte or a bit for each feature, as sentence-transformers has them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, as_array
from numpy_bert.encoding import PRECISIONS
from numpy_bert.errors import InputError
from numpy_bert.messages import shown

__all__ = [
    "as_float16",
    "check_number",
    "check_precision",
    "quantize_embeddings",
    "quantized_shape",
    "ranges_of",
    "ranges_of_blocks",
]

_INTEGERS: Mapping[str, type[np.integer[Any]]] = MappingProxyType(
    {"int8": np.int8, "uint8": np.uint8, "binary": np.int8, "ubinary": np.uint8}
)
# Fewer vectors than this say little about the ranges of others.
_ENOUGH = 100
# Elements that are quantized at a time: 8 MB of float32.
_BLOCK = 1 << 21


def quantize_embeddings(
    embeddings: npt.NDArray[Any] | Sequence[Any],
    precision: str,
    ranges: npt.ArrayLike | None = None,
    calibration_embeddings: npt.ArrayLike | None = None,
) -> Any:
    """Return vectors with a byte or a bit for each feature, those of sentence-transformers.

    Parameters
    ----------
    embeddings : ndarray of shape (n, H) or (H,), or sequence of vectors or of matrices
        The vectors, of floats. A sequence of matrices, such as the token embeddings of several
        texts, has ranges in common.
    precision : {"float32", "int8", "uint8", "binary", "ubinary"}
        A byte says in which of 256 equal parts of its feature's range a number lies, from -128 or
        from 0. A bit says whether it is above 0; eight of them stand in a byte, the first one
        highest, which counts from -128 for "binary" and from 0 for "ubinary".
    ranges : array_like of shape (2, H), optional
        The least and the largest number of each feature, for bytes; what is beyond counts as they
        do. By default they are those of `calibration_embeddings`.
    calibration_embeddings : array_like of shape (m, H), optional
        Vectors like those that will be quantized; by default `embeddings` themselves.

    Returns
    -------
    ndarray of the same shape, or with ceil(H / 8) features for bits; or a list of them
        int8 for "int8" and "binary", uint8 for "uint8" and "ubinary".

    Raises
    ------
    InputError
        If the precision is unknown, the vectors are not finite floats, the shapes do not fit, or
        ranges would have to come from one vector.

    Warns
    -----
    UserWarning
        If ranges come from fewer than 100 vectors, of which `embeddings` are all.

    Examples
    --------
    >>> vectors = np.array([[0.0, -1.0, 0.5], [0.9, 1.5, -0.5]])
    >>> quantize_embeddings(vectors, "int8", ranges=[[-1, -1, -1], [1, 1, 1]])
    array([[  -1, -128,   63],
           [ 114,  127,  -65]], dtype=int8)
    >>> quantize_embeddings(vectors, "ubinary")
    array([[ 32],
           [192]], dtype=uint8)
    """
    check_precision(precision)
    if isinstance(embeddings, (list, tuple)):
        if not embeddings:
            return []
        if all(np.ndim(matrix) == 2 for matrix in embeddings):
            matrices = [_floats(m, f"embeddings[{row}]") for row, m in enumerate(embeddings)]
            if ranges is None and precision in ("int8", "uint8"):
                whole = np.concatenate(matrices)
                if len(whole):
                    ranges = ranges_of(whole, precision, calibration_embeddings, stacklevel=3)
            return [_quantized(matrix, precision, ranges) for matrix in matrices]
    vectors = _floats(embeddings, "embeddings")
    if ranges is None and precision in ("int8", "uint8") and vectors.shape[0]:
        ranges = ranges_of(vectors, precision, calibration_embeddings, stacklevel=3)
    return _quantized(vectors, precision, ranges)


def check_precision(precision: object) -> str:
    """Return the name of a precision; raise InputError for any other."""
    if not isinstance(precision, str) or precision not in PRECISIONS:
        raise InputError(
            f"precision must be one of {', '.join(PRECISIONS)}; got {shown(precision)}."
        )
    return precision


def check_number(vectors: int, precision: str) -> None:
    """Raise InputError if one vector alone is to have ranges of its own."""
    if vectors == 1 and precision in ("int8", "uint8"):
        raise InputError(
            f"{precision} needs the ranges of the features, and one vector has none. Call "
            "quantize_embeddings with ranges or calibration_embeddings, from vectors like it."
        )


def quantized_shape(
    shape: tuple[int, ...], dtype: np.dtype[Any], precision: str
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and the dtype that vectors have at a precision; "float32" keeps theirs.

    Examples
    --------
    >>> quantized_shape((3, 20), np.dtype("f4"), "binary")
    ((3, 3), dtype('int8'))
    """
    if precision not in _INTEGERS:
        return shape, dtype
    width = -(-shape[-1] // 8) if precision.endswith("binary") else shape[-1]
    return (*shape[:-1], width), np.dtype(_INTEGERS[precision])


def ranges_of(
    embeddings: npt.NDArray[Any],
    precision: str,
    calibration_embeddings: npt.ArrayLike | None = None,
    *,
    stacklevel: int = 2,
) -> npt.NDArray[Any]:
    """Return the ranges, (2, H), that vectors are quantized by: the calibration's, or their own.

    Raises
    ------
    InputError
        If there is one vector alone.

    Warns
    -----
    UserWarning
        If there are few.

    Examples
    --------
    >>> ranges_of(np.zeros((2, 3)), "int8", [[1.0, 2.0, 3.0], [4.0, 0.0, 3.0]])
    array([[1., 0., 3.],
           [4., 2., 3.]])
    """
    if calibration_embeddings is not None:
        found = _floats(calibration_embeddings, "calibration_embeddings")
        if found.ndim != 2 or not len(found):
            raise InputError(
                f"calibration_embeddings must be of shape (m, H), m from 1; got {found.shape}."
            )
        return np.stack([found.min(axis=0), found.max(axis=0)])
    return ranges_of_blocks([np.atleast_2d(embeddings)], precision, stacklevel=stacklevel + 1)


def ranges_of_blocks(
    blocks: Iterable[npt.NDArray[Any]], precision: str, *, stacklevel: int = 2
) -> npt.NDArray[Any]:
    """Return the ranges, (2, H), of vectors that come block by block, as `ranges_of` those of all.

    Examples
    --------
    >>> ranges_of_blocks([np.ones((60, 2)), np.zeros((40, 2))], "int8")
    array([[0., 0.],
           [1., 1.]])
    """
    low: Any = None
    high: Any = None
    number = 0
    for block in blocks:
        least, most = block.min(axis=0), block.max(axis=0)
        low = least if low is None else np.minimum(low, least)
        high = most if high is None else np.maximum(high, most)
        number += len(block)
    check_number(number, precision)
    if number < _ENOUGH:
        warnings.warn(
            f"{precision}: the ranges of the features come from {number} vectors alone; "
            "quantize_embeddings takes ranges or calibration_embeddings from more of them.",
            stacklevel=stacklevel,
        )
    return np.stack([low, high])


def as_float16(vectors: Array, name: Callable[[int], str]) -> Array:
    """Return vectors in float16; raise InputError, with the row's name, for what it cannot hold.

    Examples
    --------
    >>> as_float16(np.array([[1.0, -65519.0]]), "text {}".format)
    array([[ 1.00e+00, -6.55e+04]], dtype=float16)
    """
    with np.errstate(over="ignore"):
        half: Array = vectors.astype(np.float16)
    wrong = np.argwhere(np.isinf(half))
    if len(wrong):
        row, column = wrong[0].tolist()
        raise InputError(
            f"{name(row)}: its vector has {vectors[row, column]:.6g}, and float16 ends at 65504; "
            "take --precision float32, or normalize vectors."
        )
    return half


def _quantized(
    vectors: npt.NDArray[Any], precision: str, ranges: npt.ArrayLike | None
) -> npt.NDArray[Any]:
    """Quantize vectors of shape (n, H) or (H,), a block at a time."""
    if precision == "float32":
        return vectors.astype(np.float32)
    shape, dtype = quantized_shape(vectors.shape, vectors.dtype, precision)
    found = np.empty(shape, dtype)
    rows, into = np.atleast_2d(vectors), np.atleast_2d(found)
    low, step = _steps(ranges, rows.shape[1]) if precision in ("int8", "uint8") else (None, None)
    size = max(1, _BLOCK // max(1, rows.shape[1]))
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        if low is None or step is None:
            bits = np.packbits(rows[part] > 0, axis=-1)
            into[part] = bits if precision == "ubinary" else _signed(bits)
            continue
        places = np.clip(np.floor((rows[part] - low) / step), 0, 255)
        into[part] = places.astype(np.uint8) if precision == "uint8" else places - 128
    return found


def _signed(unsigned: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    """Count bytes from -128."""
    return (unsigned ^ 128).view(np.int8)


def _steps(
    ranges: npt.ArrayLike | None, width: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the least number of each feature and the width of its 256 parts, in float32."""
    given = np.zeros((2, width)) if ranges is None else as_array(ranges, "ranges")
    if given.shape != (2, width) or given.dtype.kind not in "fiu":
        raise InputError(
            f"ranges must be numbers of shape (2, {width}), the least and the largest of each "
            f"feature; got {given.dtype} of shape {given.shape}."
        )
    low, high = given.astype(np.float32, copy=False)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise InputError("ranges must be finite; they hold a NaN or infinity.")
    step = (high - low) / np.float32(255)
    # A feature that is always the same has no width, and all its numbers are in the first part.
    return low, np.where(step == 0, np.float32(1), step)


def _floats(value: Any, name: str) -> npt.NDArray[Any]:
    """Return vectors as an array; raise InputError unless they are finite floats."""
    array = as_array(value, name)
    if array.ndim not in (1, 2):
        raise InputError(f"{name} must be of shape (n, H) or (H,); got {array.shape}.")
    if array.dtype.kind != "f":
        raise InputError(f"{name} must be floats, not quantized yet; got {array.dtype}.")
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        raise InputError(f"{name}{wrong[0].tolist()} must be finite; got a NaN or infinity.")
    return array
