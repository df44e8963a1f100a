"""The look-up: ids in, rows of a table out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, StoredArray, as_ids, check_ids, widen

__all__ = ["embedding"]


def embedding(
    ids: npt.ArrayLike,
    table: StoredArray,
    *,
    dtype: npt.DTypeLike | None = None,
    ids_name: str = "ids",
    table_name: str = "table",
) -> Array:
    """Gather the rows of a table that the ids name.

    Parameters
    ----------
    ids : array_like of int, any shape
        Row numbers, from 0 to rows - 1.
    table : ndarray of shape (rows, H), of floats, or of uint16 that are the bits of bfloat16
        Only the rows asked for are read, so the table may be memory-mapped.
    dtype : dtype, optional
        What the rows are widened to; that of `table` by default.
    ids_name, table_name : str
        What an error calls them.

    Returns
    -------
    ndarray of shape (*ids.shape, H)
        A fresh array; no value is changed.

    Raises
    ------
    InputError
        If the ids are not integers, or one is outside the table (negative ids included, which
        NumPy alone would take from the end).

    References
    ----------
    .. [1] Devlin et al., "BERT", arXiv:1810.04805, section 3, figure 2.

    Examples
    --------
    >>> embedding([1, 0, 1], np.array([[0.0, 0.5], [1.0, 1.5]]))
    array([[1. , 1.5],
           [0. , 0.5],
           [1. , 1.5]])
    """
    rows = check_ids(as_ids(ids, name=ids_name), len(table), name=ids_name, table=table_name)
    found: Any = np.take(table, rows, axis=0)  # (*ids.shape, H)
    return widen(found, found.dtype if dtype is None else dtype)
