"""Encoded rows: as a dict of lists or arrays, padded or not (row E12)."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from numpy_bert.errors import InputError
from numpy_bert.text.batch import BatchEncoding, pad_rows, to_arrays

Rows = dict[str, list[list[int]]]


def rows(*lengths: int) -> Rows:
    return {
        name: [[value] * length for length in lengths]
        for name, value in (("input_ids", 7), ("token_type_ids", 1), ("attention_mask", 1))
    }


def test_members_are_items_and_attributes() -> None:
    encoding = BatchEncoding(rows(2), {0: (9, 2)})
    assert encoding.input_ids is encoding["input_ids"]
    assert (list(encoding), encoding.truncated) == (list(rows()), {0: (9, 2)})
    assert dict(**encoding) == rows(2)
    with pytest.raises(AttributeError, match="no 'ids'; it has input_ids, token_type_ids, att"):
        _ = encoding.ids


@pytest.mark.parametrize("method", ["copy", "deepcopy", "pickle"])
def test_an_encoding_survives_copying(method: str) -> None:
    encoding = BatchEncoding(rows(2), {0: (9, 2)})
    if method == "pickle":
        found = pickle.loads(pickle.dumps(encoding))
    else:
        found = getattr(copy, method)(encoding)
    assert (type(found), found, found.truncated) == (BatchEncoding, encoding, {0: (9, 2)})
    assert BatchEncoding(rows(2)).truncated == {}


@pytest.mark.parametrize("left", [False, True])
def test_every_member_is_padded_with_its_own_value(left: bool) -> None:
    given = rows(1, 3, 0)
    padded = pad_rows(given, None, pad_id=5, left=left)
    step = -1 if left else 1
    assert padded["input_ids"] == [[7, 5, 5][::step], [7, 7, 7], [5, 5, 5]]
    for name in ("token_type_ids", "attention_mask"):
        assert padded[name] == [[1, 0, 0][::step], [1, 1, 1], [0, 0, 0]]
    assert given == rows(1, 3, 0)


def test_rows_that_are_longer_stay() -> None:
    assert [len(row) for row in pad_rows(rows(1, 3), 2, pad_id=0, left=False)["input_ids"]] == [
        2,
        3,
    ]
    assert pad_rows(rows(), None, pad_id=0, left=False) == rows()
    assert pad_rows(rows(), 9, pad_id=0, left=False) == rows()


@pytest.mark.parametrize(
    ("lengths", "length", "words"),
    [
        ((1,), 10**12, "1 rows of 1,000,000,000,000 tokens would take more than 24,000 GB"),
        ((3, 2) * 50, 10_000_001, "100 rows of 10,000,001 tokens would take more than 24 GB"),
    ],
)
def test_e12_padding_beyond_all_memory_is_refused_before_it_is_tried(
    lengths: tuple[int, ...], length: int, words: str
) -> None:
    with pytest.raises(InputError, match=f"^padding: {words}; encode fewer texts at a time"):
        pad_rows(rows(*lengths), length, pad_id=0, left=False)


@pytest.mark.parametrize(
    ("lengths", "shape"), [((), (0, 0)), ((0,), (1, 0)), ((0, 0), (2, 0)), ((3,), (1, 3))]
)
def test_e12_arrays_have_two_axes_even_when_empty(
    lengths: tuple[int, ...], shape: tuple[int, int]
) -> None:
    for name, array in to_arrays(rows(*lengths)).items():
        assert (array.shape, array.dtype) == (shape, np.dtype("int64")), name


def test_arrays_hold_the_rows() -> None:
    assert to_arrays(rows(2, 2))["input_ids"].tolist() == [[7, 7], [7, 7]]


def test_uneven_rows_are_no_array() -> None:
    with pytest.raises(InputError, match=r"from 2 to 5 tokens, .* padding=True, truncation=True\."):
        to_arrays(rows(2, 5, 3))
