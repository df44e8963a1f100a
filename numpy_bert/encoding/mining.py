"""What is alike among many vectors: the nearest, pairs, communities; called as in the originals.

The functions are those of sentence-transformers' ``util``. They compare a block of vectors at a
time, and never hold the scores of all pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import numpy.typing as npt

from numpy_bert.arguments import as_count, check_switches, is_number
from numpy_bert.arrays import Array, IntArray, as_array
from numpy_bert.encoding.pooling import normalize
from numpy_bert.encoding.similarity import Scores, check_similarity, nearest, vector_pair
from numpy_bert.errors import InputError
from numpy_bert.messages import must_be
from numpy_bert.progress import progress

if TYPE_CHECKING:
    from numpy_bert.encoding.sentence_encoder import SentenceEncoder

__all__ = [
    "Hit",
    "community_detection",
    "paraphrase_mining",
    "paraphrase_mining_embeddings",
    "semantic_search",
]

# Scores that are held at a time: 8 MB of float32.
_BLOCK = 1 << 21


class Hit(TypedDict):
    """One vector that `semantic_search` finds: its row in the corpus, and its score."""

    corpus_id: int
    score: float


def semantic_search(
    query_embeddings: npt.ArrayLike,
    corpus_embeddings: npt.ArrayLike,
    query_chunk_size: int = 100,
    corpus_chunk_size: int = 500_000,
    top_k: int = 10,
    score_function: str | Scores = "cosine",
) -> list[list[Hit]]:
    """Return the vectors of a corpus that are most like each query.

    `numpy_bert.search` finds the same, and returns arrays.

    Parameters
    ----------
    query_embeddings : array_like of shape (Q, H), or (H,) for one vector
        The queries.
    corpus_embeddings : array_like of shape (n, H)
        The vectors that are searched; they may be memory-mapped.
    query_chunk_size, corpus_chunk_size : int
        At most so many vectors are compared at a time; fewer, where their scores would be large.
    top_k : int
        How many are found of each query; a smaller corpus is found whole.
    score_function : {"cosine", "dot", "euclidean", "manhattan"} or callable
        How two vectors are compared, or what returns the scores, (n, m), of n vectors to m others.

    Returns
    -------
    list of list of dict
        For each query the best first; where scores are equal, the lower corpus_id.

    Raises
    ------
    InputError
        If the shapes do not fit, a value is not finite, or an argument is wrong.

    Examples
    --------
    >>> from numpy_bert import semantic_search
    >>> semantic_search([1.0, 0.0], [[0.0, 1.0], [2.0, 0.0], [3.0, 4.0]], top_k=2)
    [[{'corpus_id': 1, 'score': 1.0}, {'corpus_id': 2, 'score': 0.6}]]
    """
    names = ("query_embeddings", "corpus_embeddings")
    most = _chunks(query_chunk_size, corpus_chunk_size)
    top_k = as_count("top_k", top_k)
    query, corpus, dtype = vector_pair(query_embeddings, corpus_embeddings, names)
    score, kept = _scoring(score_function), min(top_k, len(corpus))
    found: list[list[Hit]] = []
    for _, ids, scores in nearest(query, corpus, dtype, kept, score, names, most=most):
        found += [
            [Hit(corpus_id=i, score=s) for i, s in zip(*row, strict=True)]
            for row in zip(ids.tolist(), scores.tolist(), strict=True)
        ]
    return found


def paraphrase_mining(
    model: SentenceEncoder,
    sentences: Sequence[str],
    show_progress_bar: bool | None = False,
    batch_size: int | None = None,
    query_chunk_size: int = 5000,
    corpus_chunk_size: int = 100_000,
    max_pairs: int = 500_000,
    top_k: int = 100,
    score_function: str | Scores = "cosine",
    truncate_dim: int | None = None,
    prompt_name: str | None = None,
    prompt: str | None = None,
) -> list[list[Any]]:
    """Return the pairs of texts that are most alike.

    Parameters
    ----------
    model : SentenceEncoder
        What makes vectors of the texts.
    sentences : sequence, array, Series or other column of str
        The texts.
    show_progress_bar, batch_size, truncate_dim, prompt_name, prompt
        They are those of `SentenceEncoder.encode`.
    query_chunk_size, corpus_chunk_size, max_pairs, top_k, score_function
        They are those of `paraphrase_mining_embeddings`.

    Returns
    -------
    list of [float, int, int]
        The score of a pair and the places of its texts, the best first.

    Raises
    ------
    InputError
        If the model is no encoder, or an argument is wrong.

    Examples
    --------
    >>> from numpy_bert import SentenceEncoder, paraphrase_mining
    >>> texts = ["The sun is shining.", "He drives a car.", "It is a sunny day."]
    >>> score, i, j = paraphrase_mining(SentenceEncoder("demo"), texts)[0]
    >>> round(score, 1), i, j
    (0.8, 0, 2)
    """
    if isinstance(model, str) or not hasattr(model, "encode"):
        raise InputError(must_be("model", "a SentenceEncoder", model))
    vectors = model.encode(
        sentences,
        show_progress_bar=show_progress_bar,
        batch_size=batch_size,
        truncate_dim=truncate_dim,
        prompt_name=prompt_name,
        prompt=prompt,
    )
    return paraphrase_mining_embeddings(
        vectors,
        query_chunk_size=query_chunk_size,
        corpus_chunk_size=corpus_chunk_size,
        max_pairs=max_pairs,
        top_k=top_k,
        score_function=score_function,
    )


def paraphrase_mining_embeddings(
    embeddings: npt.ArrayLike,
    query_chunk_size: int = 5000,
    corpus_chunk_size: int = 100_000,
    max_pairs: int = 500_000,
    top_k: int = 100,
    score_function: str | Scores = "cosine",
) -> list[list[Any]]:
    """Return the pairs of vectors that are most alike.

    Parameters
    ----------
    embeddings : array_like of shape (n, H)
        The vectors.
    query_chunk_size, corpus_chunk_size, score_function
        They are those of `semantic_search`; a score must be the same in both directions.
    max_pairs : int
        How many pairs are returned at most.
    top_k : int
        How many others of each vector are looked at, the nearest.

    Returns
    -------
    list of [float, int, int]
        The score of a pair and its rows, the lower one first; the best pair first, and where
        scores are equal, the one with the lower rows.

    Raises
    ------
    InputError
        If the vectors are not finite floats, or an argument is wrong.

    Examples
    --------
    >>> from numpy_bert import paraphrase_mining_embeddings
    >>> paraphrase_mining_embeddings([[1.0, 0.0], [0.0, 1.0], [3.0, 4.0]], max_pairs=2)
    [[0.8, 1, 2], [0.6, 0, 2]]
    """
    names = ("embeddings", "embeddings")
    most = _chunks(query_chunk_size, corpus_chunk_size)
    max_pairs, top_k = as_count("max_pairs", max_pairs), as_count("top_k", top_k)
    vectors, _, dtype = vector_pair(embeddings, embeddings, names)
    kept = min(top_k + 1, len(vectors))
    found = nearest(vectors, vectors, dtype, kept, _scoring(score_function), names, most=most)
    best, pairs = _best_pairs(found, len(vectors), top_k, max_pairs, dtype)
    places = zip(*(side.tolist() for side in np.divmod(pairs, max(1, len(vectors)))), strict=True)
    return [[score, *pair] for score, pair in zip(best.tolist(), places, strict=True)]


def community_detection(
    embeddings: npt.ArrayLike,
    threshold: float = 0.75,
    min_community_size: int = 10,
    batch_size: int = 1024,
    show_progress_bar: bool = False,
) -> list[list[int]]:
    """Return groups of vectors that are all alike to the one in their middle.

    A vector with enough others near it makes a community of them. Where communities overlap, the
    larger one keeps what they share, if both still stand.

    Parameters
    ----------
    embeddings : array_like of shape (n, H)
        The vectors.
    threshold : float
        The least cosine of a vector to the one in the middle.
    min_community_size : int
        How many vectors a community has at least, the one in its middle included.
    batch_size : int
        At most so many vectors are compared with all others at a time; fewer, where their scores
        would be large.
    show_progress_bar : bool
        Whether a bar is drawn on standard error, if that is a terminal.

    Returns
    -------
    list of list of int
        The rows of each community: the one in its middle, then the others, the nearest first. The
        largest community comes first.

    Raises
    ------
    InputError
        If the vectors are not finite floats, or an argument is wrong.

    Examples
    --------
    >>> from numpy_bert import community_detection
    >>> vectors = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [1.0, 0.2], [0.1, 0.9]])
    >>> community_detection(vectors, threshold=0.95, min_community_size=2)
    [[0, 1, 3], [2, 4]]
    """
    min_community_size = as_count("min_community_size", min_community_size)
    batch_size = as_count("batch_size", batch_size)
    if not is_number(threshold):
        raise InputError(must_be("threshold", "a number", threshold))
    check_switches(show_progress_bar=show_progress_bar)
    if as_array(embeddings, "embeddings").size == 0:
        return []
    vectors, _, dtype = vector_pair(embeddings, embeddings, ("embeddings", "embeddings"))
    wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(wrong):
        raise InputError(f"embeddings[{wrong[0]}] must be finite; it holds a NaN or infinity.")
    unit = normalize(vectors.astype(dtype, copy=False))
    least = np.float32(threshold)  # as it is compared there
    rows = max(1, min(int(batch_size), _BLOCK // len(unit)))
    counts = np.zeros(len(unit), np.intp)
    total = len(unit) if show_progress_bar else 0
    with progress(total, "finding communities", least=1, unit="vectors") as report:
        for start in range(0, len(unit), rows):
            part = slice(start, start + rows)
            counts[part] = np.count_nonzero(unit[part] @ unit.T >= least, axis=1)
            report(min(rows, len(unit) - start))
    return _communities(unit, counts, least, int(min_community_size), rows)


def _best_pairs(
    found: Iterable[tuple[int, IntArray, Array]], n: int, top_k: int, most: int, dtype: Any
) -> tuple[Array, IntArray]:
    """Return the best scores of distinct pairs, and the pairs as i * n + j, in order.

    What is found waits until it is as much as may be kept, so that sorting is rare.
    """
    best: Array = np.empty(0, dtype)
    pairs: IntArray = np.empty(0, np.int64)
    waiting: list[tuple[Array, IntArray]] = []
    for start, others, scores in found:
        own = np.arange(start, start + len(others))[:, None]
        is_other = others != own
        is_other &= is_other.cumsum(axis=1) <= top_k
        if len(best) == most:
            is_other &= scores > best[-1]
        key = np.minimum(own, others) * n + np.maximum(own, others)
        waiting.append((scores[is_other], key[is_other]))
        if sum(len(part) for part, _ in waiting) > most:
            best, pairs = _merged_pairs([(best, pairs), *waiting], most)
            waiting = []
    return _merged_pairs([(best, pairs), *waiting], most)


def _merged_pairs(parts: Sequence[tuple[Array, IntArray]], most: int) -> tuple[Array, IntArray]:
    """Return the best of distinct pairs in order; of a pair that was found twice, the first."""
    scores, pairs = (np.concatenate(side) for side in zip(*parts, strict=True))
    pairs, first = np.unique(pairs, return_index=True)
    order = np.argsort(-scores[first], kind="stable")[:most]
    return scores[first][order], pairs[order]


def _communities(
    unit: Array, counts: IntArray, least: np.float32, size: int, rows: int
) -> list[list[int]]:
    """Return the communities, the largest first; `counts` says how large each one is at first."""
    used = np.zeros(len(unit), np.bool_)
    found: list[list[int]] = []
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] >= size]
    for center, scores in _rows_of_scores(unit, order, used, rows):
        near = np.flatnonzero((scores >= least) & ~used)
        if len(near) < size:
            continue
        near = near[np.argsort(-scores[near], kind="stable")]
        community = [center, *near[near != center].tolist()]
        found.append(community)
        used[community] = True
    return sorted(found, key=len, reverse=True)


def _rows_of_scores(
    unit: Array, order: IntArray, used: npt.NDArray[np.bool_], rows: int
) -> Iterator[tuple[int, Array]]:
    """Yield those of `order` that are not used when their turn comes, and their scores to all."""
    while len(order):
        order = order[~used[order]]
        centers, order = order[:rows], order[rows:]
        for center, scores in zip(centers.tolist(), unit[centers] @ unit.T, strict=True):
            if not used[center]:
                yield center, scores


def _scoring(score_function: str | Scores) -> str | Scores:
    """Return a score function that can be used; raise InputError for any other."""
    if isinstance(score_function, str):
        return check_similarity(score_function, "score_function")
    if not callable(score_function):
        raise InputError(
            must_be("score_function", "the name of a similarity, or a callable", score_function)
        )
    return score_function


def _chunks(query_chunk_size: int, corpus_chunk_size: int) -> tuple[int, int]:
    """Return both, checked."""
    return (
        as_count("query_chunk_size", query_chunk_size),
        as_count("corpus_chunk_size", corpus_chunk_size),
    )
