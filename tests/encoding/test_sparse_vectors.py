"""Sparse vectors: their parts, and how alike they are, against dense ones."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from numpy_bert import InputError, similarity, similarity_pairwise
from numpy_bert.arrays import Array
from numpy_bert.encoding import sparse_vectors
from numpy_bert.encoding.similarity import SIMILARITIES
from numpy_bert.encoding.sparse_vectors import (
    SparseVectors,
    as_sparse,
    intersection,
    sparse_similarity,
    sparse_similarity_pairwise,
    sparsity,
    stacked,
)


def dense(rows: int, seed: int = 0, dtype: str = "float32") -> Array:
    """Return vectors of 37 features, a third of them not 0; the second vector is all zeros."""
    rng = np.random.default_rng(seed)
    found: Array = (rng.standard_normal((rows, 37)) * (rng.random((rows, 37)) < 0.3)).astype(dtype)
    found[1:2] = 0
    found.flags.writeable = False
    return found


def test_there_and_back() -> None:
    array = dense(5)
    found = as_sparse(array)
    assert (found.shape, found.ndim, len(found)) == ((5, 37), 2, 5)
    assert found.dtype == np.float32
    assert found.nnz == np.count_nonzero(array)
    assert found.indices.dtype == np.int32
    np.testing.assert_array_equal(found.toarray(), array)
    np.testing.assert_array_equal(as_sparse(array[0]).toarray(), array[0])
    for row, vector in zip(array, found, strict=True):
        assert vector.shape == (37,)
        np.testing.assert_array_equal(vector.toarray(), row)
    again = as_sparse(list(found))
    np.testing.assert_array_equal(again.toarray(), array)
    assert repr(found).startswith("SparseVectors(data=float32")


@pytest.mark.parametrize(
    "rows", [0, -1, np.int64(3), slice(1, 4), slice(None, None, -2), [3, 0, 0], [], slice(0, 0)]
)
def test_rows_are_those_of_an_array(rows: Any) -> None:
    array = dense(5)
    found = as_sparse(array)[rows]
    np.testing.assert_array_equal(found.toarray(), array[rows])
    assert found.shape == array[rows].shape
    assert found.dtype == np.float32


def test_a_row_that_is_not_there() -> None:
    found = as_sparse(dense(3))
    with pytest.raises(IndexError):
        found[3]
    with pytest.raises(InputError, match="single sparse vector has no rows"):
        found[0][0]
    with pytest.raises(InputError, match="the rows must be a number"):
        found[[[0, 1]]]


def test_none_at_all() -> None:
    found = stacked([], 37)
    assert (found.shape, found.nnz) == ((0, 37), 0)
    assert found.toarray().shape == (0, 37)
    assert sparse_similarity(found, dense(3)).shape == (0, 3)
    assert sparse_similarity(dense(3), found).shape == (3, 0)


@pytest.mark.parametrize("name", list(SIMILARITIES))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("small", [False, True])
def test_similarities_are_those_of_dense_vectors(
    monkeypatch: pytest.MonkeyPatch, name: str, dtype: str, small: bool
) -> None:
    if small:  # many blocks
        monkeypatch.setattr(sparse_vectors, "_BLOCK", 64)
        monkeypatch.setattr(sparse_vectors, "_TOGETHER", 3)
    a, b = dense(7, 1, dtype), dense(11, 2, dtype)
    left, right = as_sparse(a), as_sparse(b)
    limit = 3e-6 if dtype == "float32" else 1e-14
    found, wanted = sparse_similarity(left, right, name), similarity(a, b, name)
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=limit)
    np.testing.assert_allclose(sparse_similarity(a[0], list(right), name), wanted[:1], atol=limit)
    found = sparse_similarity_pairwise(left, right[:7], name)
    wanted = similarity_pairwise(a, b[:7], name)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=limit)
    single = sparse_similarity_pairwise(left[0], right[0], name)
    assert single.shape == ()
    np.testing.assert_allclose(single, wanted[0], rtol=0, atol=limit)


def test_the_scores_of_float16_are_float32() -> None:
    a = dense(3).astype(np.float16)
    assert sparse_similarity(a, a).dtype == np.float32


def test_statistics() -> None:
    array = dense(6)
    counts = (array != 0).sum(axis=1)
    wanted = {"active_dims": counts.mean(), "sparsity_ratio": 1 - counts.mean() / 37}
    assert sparsity(as_sparse(array)) == pytest.approx(wanted)
    assert sparsity(array[0])["active_dims"] == counts[0]
    assert sparsity(stacked([], 37)) == {"active_dims": 0.0, "sparsity_ratio": 1.0}


def test_intersections() -> None:
    a, b = dense(4, 1), dense(5, 2)
    wanted = np.maximum(a[0] * b, 0)
    found = intersection(as_sparse(a[0]), as_sparse(b))
    np.testing.assert_array_equal(found.toarray(), wanted)
    assert found.nnz == np.count_nonzero(wanted)
    assert intersection(a[0], b[2]).shape == (37,)
    with pytest.raises(InputError, match="a must be a single vector"):
        intersection(a, b)


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), "as many features; got 3 and 4"),
        (np.ones((2, 3)), np.ones((2, 3), int), "b must be sparse vectors, or floats"),
        (np.ones((1, 2, 3)), np.ones((2, 3)), "a must be sparse vectors, or floats"),
        (np.array([[np.nan]]), np.ones((1, 1)), "a must be finite"),
        ([as_sparse(np.ones(3)), as_sparse(np.ones(4))], np.ones(3), "a must be of single sparse"),
        ([as_sparse(np.ones(3)), "b"], np.ones(3), "a must be of single sparse"),
        (None, np.ones(3), "a must be sparse vectors, or floats"),
    ],
)
def test_what_cannot_be_compared(a: Any, b: Any, said: str) -> None:
    for compare in (sparse_similarity, sparse_similarity_pairwise):
        with pytest.raises(InputError, match=re.escape(said)):
            compare(a, b)


def test_as_many_of_each_and_a_known_name() -> None:
    with pytest.raises(InputError, match="as many vectors; got 3 and 4"):
        sparse_similarity_pairwise(dense(3), dense(4))
    with pytest.raises(InputError, match="similarity_fn_name must be one of"):
        sparse_similarity(dense(3), dense(4), "jaccard")


def test_scipy_takes_the_arrays() -> None:
    scipy = pytest.importorskip("scipy.sparse")
    array = dense(5)
    found: SparseVectors = as_sparse(array)
    theirs = scipy.csr_array((found.data, found.indices, found.indptr), shape=found.shape)
    np.testing.assert_array_equal(theirs.toarray(), array)
    assert np.shares_memory(theirs.data, found.data)
