"""Vectors that are mostly zeros: what is kept of them, and how alike they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, as_array, memory_for
from numpy_bert.encoding import similarity as likeness
from numpy_bert.encoding.pooling import norms
from numpy_bert.encoding.similarity import check_similarity
from numpy_bert.errors import InputError
from numpy_bert.messages import must_be
from numpy_bert.reprs import short_repr

__all__ = [
    "SparseVectors",
    "Vectors",
    "as_sparse",
    "intersection",
    "sparse_similarity",
    "sparse_similarity_pairwise",
    "sparsity",
    "stacked",
]

# Vectors of `a` that are compared at a time, and elements of the largest array that this makes.
_TOGETHER = 64
_BLOCK = 1 << 21


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SparseVectors:
    """Vectors of which only what is not 0 is kept, in the arrays of SciPy's compressed sparse rows.

    ``scipy.sparse.csr_array((v.data, v.indices, v.indptr), shape=v.shape)`` is SciPy's own array of
    some of them, without a copy.

    Attributes
    ----------
    data : ndarray of shape (nnz,), float32 or float64
        The numbers that are not 0, those of one vector after another.
    indices : ndarray of shape (nnz,), int32
        Which feature each of them is, ascending within a vector.
    indptr : ndarray of shape (n + 1,), int64
        Where each vector's numbers start, and where those of the last end.
    shape : tuple of int
        (n, V) for some vectors, or (V,) for a single one.

    Examples
    --------
    >>> vectors = as_sparse(np.array([[0.0, 2.0, 0.5], [0.0, 0.0, 0.0]]))
    >>> vectors.data, vectors.indices, vectors.indptr
    (array([2. , 0.5]), array([1, 2], dtype=int32), array([0, 2, 2]))
    >>> vectors[0].toarray()
    array([0. , 2. , 0.5])
    """

    __repr__ = short_repr

    data: Array
    indices: npt.NDArray[np.int32]
    indptr: npt.NDArray[np.int64]
    shape: tuple[int, ...]

    def __len__(self) -> int:
        """Return how many vectors there are; a single one has as many items as features."""
        return self.shape[0]

    def __iter__(self) -> Iterator[SparseVectors]:
        """Yield each of several vectors."""
        return (self[row] for row in range(len(self)))

    def __getitem__(self, rows: Any) -> SparseVectors:
        """Return one of several vectors by its number, or some by a slice or an array of numbers.

        A single one, and some that stand one after another, are views.
        """
        if self.ndim == 1:
            raise InputError(
                "a single sparse vector has no rows; its numbers are vector.data, at "
                "vector.indices, or vector.toarray()."
            )
        if isinstance(rows, (int, np.integer)) and not isinstance(rows, bool):
            number = range(len(self))[rows]
            return self._rows(number, number + 1, self.shape[1:])
        chosen = np.arange(len(self))[rows]
        if chosen.ndim != 1:
            raise InputError(must_be("the rows", "a number, a slice or a list of numbers", rows))
        if len(chosen) and (np.diff(chosen) == 1).all():
            first, last = int(chosen[0]), int(chosen[-1]) + 1
            return self._rows(first, last, (last - first, self.shape[1]))
        return stacked([self[int(row)] for row in chosen], self.shape[1], self.dtype)

    @property
    def ndim(self) -> int:
        """How many axes there are: 1 for a single vector, else 2."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the numbers."""
        return self.data.dtype

    @property
    def nnz(self) -> int:
        """How many numbers are kept."""
        return len(self.data)

    def toarray(self) -> Array:
        """Return the vectors with their zeros: an ndarray of `shape`."""
        rows = self.as_rows()
        found = np.zeros(rows.shape, self.dtype)
        numbers = np.repeat(np.arange(len(rows)), np.diff(rows.indptr))
        found[numbers, rows.indices] = rows.data
        return found.reshape(self.shape)

    def as_rows(self) -> SparseVectors:
        """Return the vectors as (n, V), a single one as the only row."""
        return self if self.ndim == 2 else self._rows(0, 1, (1, *self.shape))

    def _rows(self, first: int, last: int, shape: tuple[int, ...]) -> SparseVectors:
        """Return vectors that stand one after another."""
        some = slice(int(self.indptr[first]), int(self.indptr[last]))
        return SparseVectors(
            data=self.data[some],
            indices=self.indices[some],
            indptr=self.indptr[first : last + 1] - some.start,
            shape=shape,
        )


# What is taken for vectors: sparse ones, one or several or a list of single ones, or arrays.
Vectors: TypeAlias = SparseVectors | Sequence[SparseVectors] | npt.ArrayLike


def stacked(
    vectors: Sequence[SparseVectors], features: int, dtype: npt.DTypeLike = "float32"
) -> SparseVectors:
    """Return single vectors as rows.

    Parameters
    ----------
    vectors : sequence of SparseVectors
        Vectors of shape (V,).
    features, dtype
        How many features and which dtype they have, also where there is none.
    """
    ends = np.cumsum([0, *(vector.nnz for vector in vectors)], dtype=np.int64)
    data = [vector.data for vector in vectors]
    indices = [vector.indices for vector in vectors]
    return SparseVectors(
        data=np.concatenate(data) if data else np.empty(0, dtype),
        indices=np.concatenate(indices) if indices else np.empty(0, np.int32),
        indptr=ends,
        shape=(len(vectors), features),
    )


def as_sparse(value: Vectors, name: str = "vectors") -> SparseVectors:
    """Return vectors as sparse ones, given as such, as a list of single ones, or as an array.

    Raises
    ------
    InputError
        If they are none of these; `name` is what the message calls them.

    Examples
    --------
    >>> as_sparse([[0.0, 1.0]]).indices
    array([1], dtype=int32)
    """
    if isinstance(value, SparseVectors):
        return value
    if isinstance(value, (list, tuple)) and any(isinstance(v, SparseVectors) for v in value):
        widths = {v.shape if isinstance(v, SparseVectors) else None for v in value}
        if len(widths) == 1 and value[0].ndim == 1:
            return stacked(value, value[0].shape[0], value[0].dtype)
        wanted = "of single sparse vectors with one number of features, where it is a list"
        raise InputError(f"{name} must be {wanted}; got others among them.")
    array = as_array(cast(npt.ArrayLike, value), name)
    if array.ndim not in (1, 2) or array.dtype.kind != "f" or array.itemsize > 8:
        raise InputError(
            f"{name} must be sparse vectors, or floats of shape (n, V), or (V,) for one vector; "
            f"got {array.dtype} of shape {array.shape}."
        )
    if not np.isfinite(array).all():
        raise InputError(f"{name} must be finite; got NaN or infinity among the numbers.")
    rows = np.atleast_2d(array).astype(np.result_type(array, np.float32), copy=False)
    numbers, indices = np.nonzero(rows)
    return SparseVectors(
        data=rows[numbers, indices],
        indices=indices.astype(np.int32),
        indptr=np.searchsorted(numbers, np.arange(len(rows) + 1)).astype(np.int64),
        shape=array.shape,
    )


def sparse_similarity(a: Vectors, b: Vectors, similarity_fn_name: str = "dot") -> Array:
    """Return the similarity of each vector of `a` to each of `b`.

    Parameters
    ----------
    a, b : SparseVectors, list of single ones, or array_like of shape (n, V) and (m, V)
        The vectors; a single one counts as a row.
    similarity_fn_name : {"dot", "cosine", "euclidean", "manhattan"}
        How two vectors are compared, as `numpy_bert.similarity` does it. The first two take as long
        as there are numbers that are not 0; distances are computed with all zeros, some vectors at
        a time.

    Returns
    -------
    ndarray of shape (n, m)
        The similarities, in the wider dtype of the two.

    Raises
    ------
    InputError
        If the numbers of features differ, or the name is unknown.

    Examples
    --------
    >>> sparse_similarity(np.array([[1.0, 0.0], [3.0, 4.0]]), np.array([0.0, 2.0]))
    array([[0.],
           [8.]])
    """
    check_similarity(similarity_fn_name)
    left, right = _pair(a, b)
    shape = len(left), len(right)
    size = shape[0] * shape[1] * 8
    with memory_for("similarity", lambda: f"{size:,} bytes of scores", "Give fewer vectors."):
        scores = np.empty(shape, np.result_type(left.dtype, right.dtype))
    if similarity_fn_name in ("dot", "cosine"):
        if similarity_fn_name == "cosine":
            left, right = _scaled(left), _scaled(right)
        for first in range(0, len(left), _TOGETHER):
            some = left[first : first + _TOGETHER].toarray()
            scores[first : first + _TOGETHER] = _products(right, some.T.copy()).T
        return scores
    rows = max(1, _BLOCK // max(1, left.shape[1]))
    for first in range(0, len(left), rows):
        some = left[first : first + rows].toarray()
        for start in range(0, len(right), rows):
            others = right[start : start + rows].toarray()
            part = likeness.similarity(some, others, similarity_fn_name)
            scores[first : first + rows, start : start + rows] = part
    return scores


def sparse_similarity_pairwise(a: Vectors, b: Vectors, similarity_fn_name: str = "dot") -> Array:
    """Return the similarity of each vector of `a` to the one of `b` in its place.

    Parameters
    ----------
    a, b, similarity_fn_name
        They are those of `sparse_similarity`; there are as many of each.

    Returns
    -------
    ndarray of shape (n,), or () for two single vectors
        The similarities, in the wider dtype of the two.
    """
    check_similarity(similarity_fn_name)
    single = as_sparse(a, "a").ndim == as_sparse(b, "b").ndim == 1
    left, right = _pair(a, b)
    if len(left) != len(right):
        raise InputError(
            f"a and b must have as many vectors; got {len(left)} and {len(right)}. similarity(a, "
            "b) compares all with all."
        )
    scores = np.empty(len(left), np.result_type(left.dtype, right.dtype))
    rows = max(1, _BLOCK // max(1, left.shape[1]))
    for first in range(0, len(left), rows):
        some, others = (side[first : first + rows].toarray() for side in (left, right))
        scores[first : first + rows] = likeness.similarity_pairwise(
            some, others, similarity_fn_name
        )
    return scores.reshape(()) if single else scores


def sparsity(vectors: Vectors) -> dict[str, float]:
    """Return how many features of a vector are not 0, and which share is, in the mean.

    Parameters
    ----------
    vectors : SparseVectors, list of single ones, or array_like of shape (n, V) or (V,)
        The vectors.

    Returns
    -------
    dict of str to float
        "active_dims" and "sparsity_ratio", by sentence-transformers' names.

    Examples
    --------
    >>> sparsity(np.array([[0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 2.0, 3.0]]))
    {'active_dims': 2.0, 'sparsity_ratio': 0.5}
    """
    rows = as_sparse(vectors).as_rows()
    if 0 in rows.shape:
        return {"active_dims": 0.0, "sparsity_ratio": 1.0}
    active = int(np.count_nonzero(rows.data)) / len(rows)
    return {"active_dims": active, "sparsity_ratio": 1.0 - active / rows.shape[1]}


def intersection(a: Vectors, b: Vectors) -> SparseVectors:
    """Return the products of one vector's numbers and those of each of `b`, where they are above 0.

    Parameters
    ----------
    a : SparseVectors or array_like of shape (V,)
        A single vector.
    b : SparseVectors, list of single ones, or array_like of shape (V,) or (n, V)
        The others.

    Returns
    -------
    SparseVectors
        Of the shape of `b`: what the words that both have add to the dot product.

    Examples
    --------
    >>> intersection(np.array([2.0, 0.0, 1.0]), np.array([3.0, 1.0, 0.0])).toarray()
    array([6., 0., 0.])
    """
    one, others = as_sparse(a, "a"), as_sparse(b, "b")
    if one.ndim != 1:
        raise InputError(f"a must be a single vector, of shape (V,); got shape {one.shape}.")
    _pair(one, others)
    products = others.data * one.toarray()[others.indices]
    kept = np.flatnonzero(products > 0)
    return SparseVectors(
        data=products[kept],
        indices=others.indices[kept],
        indptr=np.searchsorted(kept, others.indptr).astype(np.int64),
        shape=others.shape,
    )


def _pair(a: Vectors, b: Vectors) -> tuple[SparseVectors, SparseVectors]:
    """Return two arguments as rows of as many features; the zeros of no array are kept."""
    left, right = as_sparse(a, "a").as_rows(), as_sparse(b, "b").as_rows()
    if left.shape[1] != right.shape[1]:
        raise InputError(
            f"a and b must have as many features; got {left.shape[1]} and {right.shape[1]}. Encode "
            "both with one model."
        )
    return left, right


def _scaled(rows: SparseVectors) -> SparseVectors:
    """Return vectors of length 1; one of zeros stays as it is."""
    counts = np.diff(rows.indptr)
    lengths = np.ones(len(rows), rows.dtype)
    for row in np.flatnonzero(counts):
        lengths[row] = norms(rows[int(row)].data[np.newaxis])[0]
    return SparseVectors(
        data=rows.data / np.repeat(lengths, counts),
        indices=rows.indices,
        indptr=rows.indptr,
        shape=rows.shape,
    )


def _products(rows: SparseVectors, table: Array) -> Array:
    """Return the products (n, k) of sparse vectors (n, V) and a dense table (V, k)."""
    found = np.zeros((len(rows), table.shape[1]), np.result_type(rows.dtype, table.dtype))
    most = max(1, _BLOCK // table.shape[1])  # numbers that are multiplied at a time
    first = 0
    while first < len(rows):
        last = int(np.searchsorted(rows.indptr, rows.indptr[first] + most, "right")) - 1
        last = min(max(last, first + 1), len(rows))
        some = slice(int(rows.indptr[first]), int(rows.indptr[last]))
        terms = table.take(rows.indices[some], axis=0) * rows.data[some, np.newaxis]
        # A segment without numbers would get the next one's first row from reduceat.
        full = first + np.flatnonzero(np.diff(rows.indptr[first : last + 1]))
        if len(full):
            found[full] = np.add.reduceat(terms, rows.indptr[full] - some.start, axis=0)
        first = last
    return found
