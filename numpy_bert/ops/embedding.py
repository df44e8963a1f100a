"""The look-up: ids in, rows of a table out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, as_ids, check_ids

__all__ = ["embedding"]


def embedding(
    ids: npt.ArrayLike, table: Array, *, ids_name: str = "ids", table_name: str = "table"
) -> Array:
    """Gather the rows of a table that the ids name.

    Parameters
    ----------
    ids : array_like of int, any shape
        Row numbers, from 0 to rows - 1.
    table : ndarray of shape (rows, H), float32 or float64
        Only the rows asked for are read, so the table may be memory-mapped.
    ids_name, table_name : str
        What an error calls them.

    Returns
    -------
    ndarray of shape (*ids.shape, H), dtype of `table`
        A fresh array; the rows' bits are unchanged.

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
    return np.take(table, rows, axis=0)  # (*ids.shape, H)
