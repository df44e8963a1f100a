"""The look-up: ids in, rows of a table out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, IntArray, StoredArray, as_ids, check_ids, widen

__all__ = ["embedding", "embedding_backward", "look_up"]


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
        The row numbers, from 0 to rows - 1.
    table : ndarray of shape (rows, H), of floats, or of uint16 that are the bits of bfloat16
        The table; only the rows asked for are read, so it may be memory-mapped.
    dtype : dtype, optional
        What the rows are widened to; by default the dtype of `table`.
    ids_name, table_name : str
        What an error calls the ids and the table.

    Returns
    -------
    ndarray of shape (*ids.shape, H)
        The rows, in a fresh array; no value is changed.

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
    return look_up(table, rows, table.dtype if dtype is None else dtype)


def look_up(table: StoredArray, rows: IntArray, dtype: npt.DTypeLike) -> Array:
    """Gather rows whose numbers have been checked, as `embedding` does.

    Examples
    --------
    >>> look_up(np.array([[0.0, 0.5], [1.0, 1.5]]), np.array([1]), "float32")
    array([[1. , 1.5]], dtype=float32)
    """
    found: Any = np.take(table, rows, axis=0)  # (*ids.shape, H)
    return widen(found, dtype)


def embedding_backward(
    grad: Array, ids: IntArray, rows: int, *, padding_idx: int | None = None
) -> Array:
    """Return the gradient of the table that `embedding` read.

    Parameters
    ----------
    grad : ndarray of shape (*ids.shape, H), float32 or float64
        The gradient of the output.
    ids : ndarray of int
        The checked ids that `embedding` was called with.
    rows : int
        The number of rows of the table.
    padding_idx : int, optional
        The row that gets no gradient; torch.nn.Embedding has the same argument.

    Returns
    -------
    ndarray of shape (rows, H), dtype of `grad`
        The gradient, summed in float64 and rounded once; 0 in every row that no id named.

    Notes
    -----
    y_t = W[id_t], so dW[r] is the sum of g_t over the places t whose id is r. The places are
    sorted by id and each run of one id is summed; `numpy.add.at` does the same, but takes longer
    and rounds at every addition.

    Examples
    --------
    >>> embedding_backward(np.array([[1.0], [2.0], [4.0]]), np.array([2, 0, 2]), 3)
    array([[2.],
           [0.],
           [5.]])
    """
    flat = ids.ravel()
    out = np.zeros((rows, grad.shape[-1]), dtype=grad.dtype)
    if not flat.size:
        return out
    order = np.argsort(flat, kind="stable")
    ordered = flat[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    terms = grad.reshape(-1, grad.shape[-1])[order].astype(np.float64, copy=False)
    out[ordered[starts]] = np.add.reduceat(terms, starts, axis=0)
    if padding_idx is not None:
        out[padding_idx] = 0.0
    return out
