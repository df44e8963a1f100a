"""The checks at the boundary: dtypes, ids and masks (rows F1 to F6)."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from numpy_bert.arrays import as_dtype, as_floats, as_ids, as_mask, check_ids
from numpy_bert.errors import InputError


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_the_two_dtypes_are_taken_in_any_spelling(name: str) -> None:
    for spelling in (name, np.dtype(name), getattr(np, name), np.dtype(name).newbyteorder(">")):
        assert as_dtype(spelling) == np.dtype(name)
        assert as_dtype(spelling).isnative


@pytest.mark.parametrize(
    "dtype", [None, "float16", "int32", "bfloat16", "f4,f4", "i4,,", "(2,)f4,", {"names": 1}, 32]
)
def test_any_other_dtype_is_refused(dtype: Any) -> None:
    with pytest.raises(InputError, match="dtype must be 'float32' or 'float64'; got "):
        as_dtype(dtype)


def test_floats_are_made_native_and_never_cast() -> None:
    big = np.array([1.5], dtype=">f4")
    assert as_floats(big, name="x").dtype == np.dtype("<f4").newbyteorder("=")
    for value in (np.ones(1, np.float16), [1], [True], ["a"]):
        with pytest.raises(InputError, match=r"^x must be float32 or float64; got "):
            as_floats(value, name="x")


@pytest.mark.parametrize("value", [[1.0], [True], ["1"], [None], [1j], [2**64], [float("nan")]])
def test_f2_ids_are_integers(value: Any) -> None:
    with pytest.raises(InputError, match=r"^ids must be an array of integers; got dtype \S+"):
        as_ids(value, name="ids")


def test_f4_an_empty_list_has_no_dtype() -> None:
    with pytest.raises(
        InputError,
        match=r"^ids must be an array of integers; got an empty list, which has no dtype",
    ):
        as_ids([], name="ids")
    with pytest.raises(InputError, match=r"^ids must have rows of one length"):
        as_ids([[1], [1, 2]], name="ids")


@pytest.mark.parametrize("dtype", ["u1", "i1", "i4", "u8", ">i8"])
def test_f1_ids_within_the_table_are_indices_whatever_their_dtype(dtype: str) -> None:
    found = check_ids(np.array([0, 99], dtype), 100, name="ids", table="word_embeddings")
    assert (found.dtype, found.tolist()) == (np.dtype(np.intp), [0, 99])
    assert check_ids(np.zeros((2, 0), dtype), 1, name="ids", table="x").shape == (2, 0)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(-1, "i1"), (100, "u1"), (2**32 + 1, "i8"), (2**63, "u8"), (-(2**63), "i8"), (100, ">i4")],
)
def test_f1_f3_the_first_id_outside_is_named_before_any_cast(value: int, dtype: str) -> None:
    ids = np.array([[5, 6], [7, value], [value, 0]], dtype)
    words = f"ids[1, 1] = {value} is outside the vocabulary of 100 (word_embeddings)"
    with pytest.raises(InputError, match=f"^{re.escape(words)}"):
        check_ids(ids, 100, name="ids", table="word_embeddings")


MASK = np.array([[1, 1, 0], [0, 0, 0]])


@pytest.mark.parametrize("dtype", ["i1", "u1", "u8", ">i8", "?", "f2", "f4", ">f4", "f8"])
def test_a_mask_of_zeros_and_ones_is_taken_in_any_dtype_and_layout(dtype: str) -> None:
    for given in (MASK.astype(dtype), np.asfortranarray(MASK.astype(dtype))):
        given.flags.writeable = False
        found = as_mask(given, (2, 3), name="mask")
        assert found.dtype == np.bool_
        assert found.tolist() == [[True, True, False], [False, False, False]]
    assert as_mask(MASK.tolist(), (2, 3), name="mask").tolist() == found.tolist()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (MASK.T, "mask must have shape (2, 3), a value for each token; got (3, 2)."),
        (MASK[0], "mask must have shape (2, 3), a value for each token; got (3,)."),
        (1, "mask must have shape (2, 3), a value for each token; got ()."),
        ([[1, 1], [1]], "mask must have rows of one length"),
        (MASK + 1, "mask[0, 0] must be 1 for a token or 0 for padding; got 2."),
        (-MASK, "mask[0, 0] must be 1 for a token or 0 for padding; got -1."),
        ((1 - MASK) * -10000, "mask[0, 2] must be 1 for a token or 0 for padding; got -10000."),
        (
            MASK.astype("u8") * (2**64 - 1),
            f"mask[0, 0] must be 1 for a token or 0 for padding; got {2**64 - 1}.",
        ),
        (MASK * np.float32(0.5), "mask[0, 0] must be 1 for a token or 0 for padding; got 0.5."),
        (MASK + 1e-9, "mask[0, 0] must be 1 for a token or 0 for padding; got 1.000000001."),
        (
            np.where(MASK, 0.0, -1e4),
            "mask[0, 2] must be 1 for a token or 0 for padding; got -10000.0.",
        ),
        (
            np.where(MASK, 1.0, np.nan),
            "mask[0, 2] must be 1 for a token or 0 for padding; got nan.",
        ),
        (
            np.where(MASK, 0.0, -np.inf),
            "mask[0, 2] must be 1 for a token or 0 for padding; got -inf.",
        ),
        (MASK.astype("U1"), "mask must be numbers or booleans, 0 or 1; got dtype <U1."),
        ([[None] * 3] * 2, "mask must be numbers or booleans, 0 or 1; got dtype object."),
        (MASK.astype(complex), "mask must be numbers or booleans, 0 or 1; got dtype complex128."),
    ],
)
def test_f6_a_mask_of_another_kind_is_not_taken_for_one(value: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        as_mask(value, (2, 3), name="mask")


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 0)])
def test_an_empty_mask_is_one_whatever_its_dtype(shape: tuple[int, int]) -> None:
    for dtype in (int, bool, float):  # an empty list is an array of floats
        found = as_mask(np.zeros(shape, dtype), shape, name="mask")
        assert found.shape == shape
        assert found.dtype == np.bool_
