"""How alike vectors are: all pairs, or the nearest of a corpus that need not fit into memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from numpy_bert.arguments import as_count
from numpy_bert.arrays import Array, IntArray, as_array, memory_for, places_within
from numpy_bert.encoding.pooling import normalize, norms
from numpy_bert.errors import InputError
from numpy_bert.kernels.half import widen_into
from numpy_bert.kernels.threads import work_off
from numpy_bert.messages import shown
from numpy_bert.progress import PATIENCE, progress
from numpy_bert.reprs import short_repr

__all__ = [
    "SIMILARITIES",
    "Hits",
    "Scores",
    "check_similarity",
    "hits_among",
    "merged",
    "nearest",
    "search",
    "similarity",
    "similarity_pairwise",
    "vector_pair",
]

# From n vectors and m others to their scores: (n, m), or (n,) where they are compared in pairs.
Scores: TypeAlias = Callable[[Array, Array], npt.ArrayLike]

# Elements of the largest array that a block makes: 16 MB of float64.
_BLOCK = 1 << 21
# Queries that are compared at a time: more would leave blocks of the corpus too few columns.
_QUERIES = 512
# A search through fewer bytes is no matter of seconds.
_WORTH_A_BAR = 1 << 30
# Squares whose sum in float32 is exact enough, because none of note was too small for it.
_LEAST_SQUARES, _MOST_SQUARES = 1e-24, 1e36


class Hits(NamedTuple):
    """What `search` returns.

    Attributes
    ----------
    indices : ndarray of shape (k,) or (Q, k), int
        The rows of the corpus that are most alike, the best first.
    scores : ndarray of the same shape
        Their similarities.
    """

    indices: IntArray
    scores: Array

    def __repr__(self) -> str:
        return short_repr(self)


def similarity(a: npt.ArrayLike, b: npt.ArrayLike, similarity_fn_name: str = "cosine") -> Array:
    """Return the similarity of each vector of `a` to each of `b`.

    Parameters
    ----------
    a, b : array_like of shape (n, H) and (m, H), or (H,) for one vector
        The vectors, of floats; one vector counts as a row.
    similarity_fn_name : {"cosine", "dot", "euclidean", "manhattan"}
        How two vectors are compared. Distances are negative, so that more is always more alike.

    Returns
    -------
    ndarray of shape (n, m)
        The similarities, in the wider dtype of the two. A vector of zeros has the cosine 0 to all.

    Raises
    ------
    InputError
        If the shapes do not fit, a value is not finite, or the name is unknown.
    OutOfMemoryError
        If there is no memory for the scores.

    Examples
    --------
    >>> from numpy_bert import similarity
    >>> similarity([[1.0, 0.0], [3.0, 4.0]], [0.0, 2.0])
    array([[0. ],
           [0.8]])
    """
    check_similarity(similarity_fn_name)
    left, right, dtype = vector_pair(a, b, ("a", "b"))
    scores = _room("similarity", (len(left), len(right)), dtype)
    rows = _rows(similarity_fn_name, left)
    for start in range(0, len(left), rows):
        part = left[start : start + rows].astype(dtype, copy=False)
        columns = _rows(similarity_fn_name, part, len(part))
        for first in range(0, len(right), columns):
            block = right[first : first + columns].astype(dtype, copy=False)
            scores[start : start + rows, first : first + columns] = _scores(
                SIMILARITIES[similarity_fn_name], part, block, ("a", start), ("b", first)
            )
    return scores


def similarity_pairwise(
    a: npt.ArrayLike, b: npt.ArrayLike, similarity_fn_name: str = "cosine"
) -> Array:
    """Return the similarity of each vector of `a` to the one of `b` that stands in its place.

    Parameters
    ----------
    a, b : array_like of shape (n, H) each, or (H,) for one vector
        The vectors, of floats; one vector is compared with all of the others.
    similarity_fn_name : {"cosine", "dot", "euclidean", "manhattan"}
        How two vectors are compared, as `similarity` does it.

    Returns
    -------
    ndarray of shape (n,), or () for two vectors
        The similarities, in the wider dtype of the two.

    Raises
    ------
    InputError
        If the shapes do not fit, a value is not finite, or the name is unknown.

    Examples
    --------
    >>> from numpy_bert import similarity_pairwise
    >>> similarity_pairwise([[1.0, 0.0], [3.0, 4.0]], [[2.0, 0.0], [0.0, 2.0]])
    array([1. , 0.8])
    """
    check_similarity(similarity_fn_name)
    left, right, dtype = vector_pair(a, b, ("a", "b"))
    if len(left) != len(right) and 1 not in (len(left), len(right)):
        raise InputError(
            f"a and b must have as many vectors, or one of them one; got {len(left)} and "
            f"{len(right)}. similarity(a, b) compares all with all."
        )
    shape = np.broadcast_shapes(left.shape, right.shape)
    left, right = np.broadcast_to(left, shape), np.broadcast_to(right, shape)
    scores = np.empty(shape[0], dtype)
    rows = max(1, _BLOCK // max(1, shape[1]))
    for start in range(0, len(scores), rows):
        part = slice(start, start + rows)
        x, y = (side[part].astype(dtype, copy=False) for side in (left, right))
        scores[part] = _scores(_PAIRWISE[similarity_fn_name], x, y, ("a", start), ("b", start))
    return scores.reshape(()) if np.ndim(a) == np.ndim(b) == 1 else scores


def search(
    query: npt.ArrayLike,
    corpus_vectors: npt.ArrayLike,
    k: int = 10,
    similarity_fn_name: str = "cosine",
) -> Hits:
    """Return the `k` vectors of a corpus that are most like each query.

    Parameters
    ----------
    query : array_like of shape (H,) or (Q, H)
        One vector, or several.
    corpus_vectors : array_like of shape (n, H)
        The vectors that are searched. They may be memory-mapped: a block of them is read at a time,
        and there is never an array of Q x n elements.
    k : int
        How many are found, from 1; a smaller corpus is found whole.
    similarity_fn_name : {"cosine", "dot", "euclidean", "manhattan"}
        How two vectors are compared, as `similarity` does it.

    Returns
    -------
    Hits
        indices and scores, (k,) for one vector, (Q, k) for several; where scores are equal, the
        lower index comes first.

    Raises
    ------
    InputError
        If the shapes do not fit, a value is not finite, or `k` is not a whole number from 1.
    OutOfMemoryError
        If there is no memory for what is found.

    Examples
    --------
    >>> from numpy_bert import search
    >>> corpus = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 0.0]])
    >>> search([1.0, 0.0], corpus, k=3).indices
    array([0, 3, 2])
    """
    check_similarity(similarity_fn_name)
    names = ("query", "corpus_vectors")
    found = hits_among(vector_pair(query, corpus_vectors, names), k, similarity_fn_name, names)
    if np.ndim(query) == 1:
        return Hits(found.indices[0], found.scores[0])
    return found


def hits_among(
    pair: tuple[npt.NDArray[Any], npt.NDArray[Any], np.dtype[Any]],
    k: int,
    score: str,
    names: tuple[str, str],
) -> Hits:
    """Return what `search` finds of each query, (Q, k), given what `vector_pair` returned.

    Parameters
    ----------
    pair, names
        What `vector_pair` returned, and what it was told.
    k, score
        How many are found, and the name of a similarity.
    """
    (left, corpus, dtype), kept = pair, min(as_count("k", k), len(pair[1]))
    scores = _room("search", (len(left), kept), dtype)
    indices = _room("search", (len(left), kept), np.dtype(np.intp))
    for start, at, best in nearest(left, corpus, dtype, kept, score, names):
        part = slice(start, start + len(at))
        indices[part], scores[part] = at, best
    return Hits(indices, scores)


def check_similarity(name: object, argument: str = "similarity_fn_name") -> str:
    """Return the name of a similarity; raise InputError, naming the argument, for another."""
    if not isinstance(name, str) or name not in SIMILARITIES:
        raise InputError(f"{argument} must be one of {', '.join(SIMILARITIES)}; got {shown(name)}.")
    return name


def vector_pair(
    a: npt.ArrayLike, b: npt.ArrayLike, names: tuple[str, str]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], np.dtype[Any]]:
    """Return two arrays of vectors of one length, as they are stored, and the dtype for both."""
    left, right = (_vectors(x, name) for x, name in zip((a, b), names, strict=True))
    if left.shape[1] != right.shape[1]:
        raise InputError(
            f"{names[0]} and {names[1]} must have as many features; got {left.shape[1]} and "
            f"{right.shape[1]}. Encode both with one model and one truncate_dim."
        )
    widest = np.result_type(left.dtype, right.dtype, np.float32)
    return left, right, np.dtype(widest)


def _vectors(value: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    """Return vectors as rows, not read yet if they are mapped."""
    array = as_array(value, name)
    if array.ndim == 1 and array.size:
        array = array[None]
    if array.ndim != 2:
        raise InputError(
            f"{name} must be of shape (n, H), or (H,) for one vector; got {array.shape}."
        )
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise InputError(f"{name} must be floats of 16, 32 or 64 bits; got {array.dtype}.")
    return array


def nearest(
    query: npt.NDArray[Any],
    corpus: npt.NDArray[Any],
    dtype: np.dtype[Any],
    k: int,
    score: str | Scores,
    names: tuple[str, str] = ("query", "corpus_vectors"),
    *,
    most: tuple[int, int] | None = None,
) -> Iterator[tuple[int, IntArray, Array]]:
    """Yield the `k` nearest of a corpus to some queries at a time, in the order of the queries.

    Parameters
    ----------
    query, corpus, dtype
        They are what `vector_pair` returns, and `names` what it was told.
    k : int
        How many are found; at most as many as the corpus has.
    score : str or callable
        The name of a similarity, or what returns the scores, (n, m), of n vectors to m others.
    most : (int, int), optional
        How many queries, and how many vectors of the corpus, are compared at a time at most.

    Yields
    ------
    start : int
        Which query the first row belongs to.
    indices, scores : ndarray of shape (n, k)
        The rows of the corpus and their scores, in the order of `search`.
    """
    name = score if isinstance(score, str) else ""
    function = SIMILARITIES[score] if isinstance(score, str) else score
    queries, others = most or (_QUERIES, len(corpus))
    rows = max(1, min(_rows(name, query), queries, _BLOCK // max(1, 2 * k)))
    work = -(-len(query) // rows) * len(corpus)
    least = 1 if work * corpus.itemsize * corpus.shape[1] >= _WORTH_A_BAR else work + 1
    with progress(work, "searching", least=least, unit="vectors", delay=PATIENCE) as report:
        for start in range(0, len(query), rows):
            part = query[start : start + rows].astype(dtype, copy=False)
            best = _Best(part, start, k, function, names)
            columns = min(_rows(name, part, len(part)), max(1, others))
            if corpus.dtype == np.float16:  # what is widened is to be in the cache still
                columns = max(1, columns // 4)

            def compare(first: int, best: _Best = best, columns: int = columns) -> None:
                report(best.compare(corpus[first : first + columns], first))

            firsts = range(0, len(corpus), columns)
            # Threads may call our own functions; of another's nobody knows.
            work_off(firsts, compare) if name else list(map(compare, firsts))
            yield start, *best.sorted()


class _Best:
    """The largest scores of some queries: each thread keeps those of the blocks that it has seen.

    Where scores are equal the lower index comes first, whichever thread saw it.
    """

    def __init__(
        self, part: Array, start: int, k: int, function: Scores, names: tuple[str, str]
    ) -> None:
        self._part, self._start, self._k = part, start, k
        self._function, self._names = function, names
        none = np.empty((len(part), 0), part.dtype), np.empty((len(part), 0), np.intp)
        self._none: tuple[Array, IntArray] = none
        self._kept: dict[int, tuple[Array, IntArray]] = {}
        self._rooms: dict[int, Array] = {}

    def compare(self, stored: npt.NDArray[Any], first: int) -> int:
        """Compare the vectors of a corpus from `first` on; return how many they are."""
        part, thread = self._part, threading.get_ident()
        block = self._widened(stored, thread)
        places = (self._names[0], self._start), (self._names[1], first)
        scores = _scores(self._function, part, block, *places)
        if scores.shape != (len(part), len(block)):
            raise InputError(
                "score_function must return the scores of all vectors to all others, "
                f"{(len(part), len(block))}; got {scores.shape}."
            )
        kept = self._kept.get(thread, self._none)
        self._kept[thread] = merged(*kept, scores, first, self._k)
        return len(block)

    def _widened(self, stored: npt.NDArray[Any], thread: int) -> Array:
        """Return vectors in the dtype that is computed in, half-size ones where the last were."""
        dtype = self._part.dtype
        if stored.dtype != np.float16 or dtype != np.float32:
            return stored.astype(dtype, copy=False)
        room = self._rooms.get(thread)
        if room is None or len(room) < len(stored):
            room = self._rooms[thread] = np.empty(stored.shape, dtype)
        widen_into(np.ascontiguousarray(stored), room[: len(stored)])
        return room[: len(stored)]

    def sorted(self) -> tuple[IntArray, Array]:
        """Return the indices and the scores, the best first."""
        best, at = (
            np.hstack(parts) for parts in zip(self._none, *self._kept.values(), strict=True)
        )
        order = np.lexsort((at, -best))[:, : self._k]
        return np.take_along_axis(at, order, 1), np.take_along_axis(best, order, 1)


def _room(where: str, shape: tuple[int, int], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return an array for what is found; raise OutOfMemoryError where there is no memory for it."""

    def what() -> str:
        size = shape[0] * shape[1] * dtype.itemsize
        return f"{shape[0]:,} x {shape[1]:,} scores, which have {size:,} bytes"

    advice = "Give fewer vectors at a time; search, with a small k, keeps the best scores alone."
    with memory_for(where, what, advice):
        return np.empty(shape, dtype)


def _rows(name: str, vectors: npt.NDArray[Any], others: int = 1) -> int:
    """Return how many vectors a block may hold, so that it and its scores stay small."""
    width = max(1, int(vectors.shape[1]))
    each = others * width if name == "manhattan" else max(others, width)
    return max(1, min(1 << 13 if others == 1 else _BLOCK, _BLOCK // max(1, each)))


def merged(best: Array, at: IntArray, scores: Array, first: int, k: int) -> tuple[Array, IntArray]:
    """Return the `k` largest of those kept and of a block, and their places; ties as in `search`.

    Parameters
    ----------
    best, at : ndarray of shape (n, kept)
        The largest scores of earlier blocks, and the places of their columns.
    scores : ndarray of shape (n, m)
        The scores of the block, whose columns' places go on from `first`.

    Examples
    --------
    >>> best, at = np.array([[3.0, 1.0]]), np.array([[7, 2]])
    >>> merged(best, at, np.array([[0.0, 1.0, 2.0]]), 10, 2)
    (array([[3., 2.]]), array([[ 7, 12]]))
    """
    places = np.broadcast_to(np.arange(first, first + scores.shape[1]), scores.shape)
    if best.shape[1] == k:
        scores, places = _better(scores, places, best.min(axis=1, keepdims=True))
    if best.shape[1]:
        # Those kept from earlier blocks stand first, so a column's place is in order of its index.
        scores, places = np.hstack([best, scores]), np.hstack([at, places])
    return _top(scores, places, k)


def _better(scores: Array, places: IntArray, least: Array) -> tuple[Array, IntArray]:
    """Keep what is more than the least of each row, which is little of a large corpus."""
    row, column = np.nonzero(scores > least)
    counts = np.bincount(row, minlength=len(scores))
    to = places_within(counts)
    shape = (len(scores), int(counts.max(initial=0)))
    few, where = np.full(shape, -np.inf, scores.dtype), np.zeros(shape, np.intp)
    few[row, to], where[row, to] = scores[row, column], places[row, column]
    return few, where


def _top(scores: Array, places: IntArray, k: int) -> tuple[Array, IntArray]:
    """Keep the `k` largest of each row in their order; where some are equal, the first of them."""
    if scores.shape[1] <= k:
        return scores, places
    split = scores.shape[1] - k
    least = np.partition(scores, split, axis=1)[:, split, None]
    keep = scores >= least
    crowded = np.flatnonzero(np.count_nonzero(keep, axis=1) > k)
    if len(crowded):
        some, floor = scores[crowded], least[crowded]
        above, equal = some > floor, some == floor
        room = k - above.sum(axis=1, keepdims=True)
        keep[crowded] = above | (equal & (equal.cumsum(axis=1) <= room))
    shape = (len(scores), k)
    return scores[keep].reshape(shape), places[keep].reshape(shape)


def _scores(
    function: Scores, a: Array, b: Array, left: tuple[str, int], right: tuple[str, int]
) -> Array:
    """Return the similarities of two blocks; raise InputError where one is not finite."""
    with np.errstate(all="ignore"):
        scores: Array = np.asarray(function(a, b), a.dtype)
    if not np.isfinite(scores).all():
        for (what, first), rows in ((left, a), (right, b)):
            wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
            if wrong.size:
                place = f"{what}[{first + int(wrong[0])}]"
                raise InputError(f"{place} must be finite; it holds a NaN or infinity.")
        raise InputError(
            f"{left[0]} and {right[0]} have values too large for {a.dtype}; use smaller ones, or "
            "float64."
        )
    return scores


def _cosine(a: Array, b: Array) -> Array:
    # The shorter side is scaled before, the longer one's scores after: nothing large is copied.
    scores: Array = normalize(a) @ b.T
    scores /= _lengths(b)
    return scores


def _lengths(vectors: Array) -> Array:
    """Return what `norms` does but for roundings, in a quarter of its time where numbers allow."""
    squares = np.einsum("ij,ij->i", vectors, vectors)
    if ((squares > _LEAST_SQUARES) & (squares < _MOST_SQUARES)).all():
        lengths: Array = np.sqrt(squares)
        return lengths
    return norms(vectors)


def _dot(a: Array, b: Array) -> Array:
    scores: Array = a @ b.T
    return scores


def _euclidean(a: Array, b: Array) -> Array:
    # In float64, because near neighbours' distances are small differences of large numbers.
    x, y = a.astype(np.float64), b.astype(np.float64)
    squares = (x * x).sum(1)[:, None] - 2.0 * (x @ y.T) + (y * y).sum(1)
    scores: Array = (-np.sqrt(np.maximum(squares, 0.0))).astype(a.dtype)
    return scores


def _manhattan(a: Array, b: Array) -> Array:
    scores: Array = -np.abs(a[:, None] - b).sum(axis=2)
    return scores


def _cosine_pairs(a: Array, b: Array) -> Array:
    return _dot_pairs(a, b) / norms(a) / norms(b)


def _dot_pairs(a: Array, b: Array) -> Array:
    scores: Array = np.einsum("ij,ij->i", a, b, dtype=np.float64)
    return scores


def _euclidean_pairs(a: Array, b: Array) -> Array:
    scores: Array = -np.linalg.norm(a.astype(np.float64) - b, axis=1)
    return scores


def _manhattan_pairs(a: Array, b: Array) -> Array:
    scores: Array = -np.abs(a - b).sum(axis=1)
    return scores


# Under the names that config_sentence_transformers.json may have.
SIMILARITIES: Mapping[str, Callable[[Array, Array], Array]] = MappingProxyType(
    {"cosine": _cosine, "dot": _dot, "euclidean": _euclidean, "manhattan": _manhattan}
)
_PAIRWISE: Mapping[str, Scores] = MappingProxyType(
    {
        "cosine": _cosine_pairs,
        "dot": _dot_pairs,
        "euclidean": _euclidean_pairs,
        "manhattan": _manhattan_pairs,
    }
)
