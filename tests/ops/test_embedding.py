"""numpy_bert.ops.embedding: rows by id, and no id that NumPy would bend to fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numpy_bert.errors import InputError
from numpy_bert.ops.embedding import embedding

TABLE = np.arange(5 * 3, dtype=np.float32).reshape(5, 3)
TABLE.flags.writeable = False


@pytest.mark.parametrize("shape", [(), (7,), (3, 7), (2, 3, 4), (0, 7), (3, 0)])
def test_shape_and_dtype_are_kept(shape: tuple[int, ...], dtype: str) -> None:
    ids = np.random.default_rng(0).integers(0, 5, shape)
    rows = embedding(ids, TABLE.astype(dtype))
    assert rows.shape == (*shape, 3)
    assert rows.dtype == dtype
    assert rows.flags.writeable
    for index in np.ndindex(*shape):
        assert np.array_equal(rows[index], TABLE[ids[index]])


IDS = np.array([[0, 1, 2], [4, 3, 2]])


def _read_only() -> Any:
    ids = IDS.copy()
    ids.flags.writeable = False
    return ids


@pytest.mark.parametrize(
    "ids",
    [
        IDS.tolist(),
        IDS.astype(np.uint8),
        IDS.astype(np.uint64),
        IDS.astype(">i4"),
        np.asfortranarray(IDS),
        np.repeat(IDS, 2, axis=1)[:, ::2],
        _read_only(),
    ],
    ids=["list", "uint8", "uint64", "big-endian", "fortran", "strided", "read-only"],
)
def test_any_layout_of_integers_gives_the_same_rows(ids: Any) -> None:  # F5
    before = np.array(ids, copy=True)
    assert np.array_equal(embedding(ids, TABLE), TABLE[IDS])
    assert np.array_equal(ids, before)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.array([[0, 1], [2, -1]]), r"ids\[1, 1\] = -1 is outside the 5 rows of table"),
        (np.array([[0, 5]]), r"ids\[0, 1\] = 5 is outside"),
        (np.array(7), r"ids = 7 is outside"),
        (np.array([np.iinfo(np.int64).min]), r"ids\[0\] = -9223372036854775808 is outside"),
        (np.array([2**64 - 1], dtype=np.uint64), r"ids\[0\] = 18446744073709551615 is outside"),
        (np.array([2**32 + 1]), r"ids\[0\] = 4294967297 is outside"),
    ],
)
def test_ids_outside_the_table_are_named(ids: Any, message: str) -> None:  # F1, F3
    with pytest.raises(InputError, match=message):
        embedding(ids, TABLE)


@pytest.mark.parametrize(
    "ids",
    [[[0.0, 1.0]], [[True, False]], [["a"]], [[1j]], [[None]], [[float("nan")]], [[2**70]]],
    ids=["float", "bool", "string", "complex", "object", "nan", "beyond 64 bits"],
)
def test_ids_that_are_no_integers_are_refused(ids: Any) -> None:  # F2
    with pytest.raises(InputError, match=r"ids must be an array of integers|ids must have rows"):
        embedding(ids, TABLE)


def test_ragged_ids_are_refused() -> None:  # F4
    with pytest.raises(InputError, match="ids must have rows of one length"):
        embedding([[1, 2], [3]], TABLE)


def test_an_empty_list_says_so() -> None:
    with pytest.raises(InputError, match="got an empty list, which has no dtype"):
        embedding([], TABLE)
