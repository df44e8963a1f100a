"""numpy_bert.encoding.similarity: equal to the definitions, blocked, ties by index."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numpy_bert.encoding.similarity as module
from numpy_bert import (
    InputError,
    OutOfMemoryError,
    search,
    semantic_search,
    set_num_threads,
    similarity,
    similarity_pairwise,
)
from numpy_bert.encoding.similarity import SIMILARITIES


def by_definition(name: str, a: Any, b: Any) -> Any:
    a, b = a.astype(np.float64), b.astype(np.float64)
    if name == "dot":
        return a @ b.T
    if name == "cosine":
        return (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)
    order = 1 if name == "manhattan" else 2
    return -np.linalg.norm(a[:, None] - b, ord=order, axis=2)


def vectors(n: int, *, seed: int = 0, dtype: str = "float32", width: int = 7) -> Any:
    return np.random.default_rng(seed).standard_normal((n, width)).astype(dtype)


@pytest.mark.parametrize("block", [1 << 21, 64])
@pytest.mark.parametrize("name", SIMILARITIES)
def test_all_pairs(name: str, dtype: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    a, b = vectors(5, dtype=dtype), vectors(11, seed=1, dtype=dtype)
    found = similarity(a, b, name)
    assert found.dtype == dtype
    assert found.shape == (5, 11)
    reference = by_definition(name, a, b)
    assert np.abs(found - reference).max() < (4e-6 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("block", [1 << 21, 20])
@pytest.mark.parametrize("name", SIMILARITIES)
def test_in_pairs(name: str, dtype: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    a, b = vectors(11, dtype=dtype), vectors(11, seed=1, dtype=dtype)
    found = similarity_pairwise(a, b, name)
    assert found.dtype == dtype
    reference = by_definition(name, a, b)
    budget = 4e-6 if dtype == "float32" else 1e-12
    assert np.abs(found - np.diag(reference)).max() < budget
    assert np.abs(similarity_pairwise(a[0], b, name) - reference[0]).max() < budget
    assert np.abs(similarity_pairwise(a, b[:1], name) - reference[:, 0]).max() < budget
    one = similarity_pairwise(a[3], b[2], name)
    assert one.shape == ()
    assert abs(one - reference[3, 2]) < budget


def test_pairs_of_zeros_large_ones_and_none() -> None:
    assert not similarity_pairwise(np.zeros((2, 7)), vectors(2)).any()
    large = vectors(3) * np.float32(1e25)
    assert np.allclose(similarity_pairwise(large, large), 1)
    assert similarity_pairwise(np.zeros((0, 7)), np.zeros((0, 7))).shape == (0,)


def test_one_vector_counts_as_a_row_and_the_wider_dtype_wins() -> None:
    a, b = vectors(1)[0], vectors(3, dtype="float64")
    assert similarity(a, b).shape == (1, 3)
    assert similarity(a, b).dtype == np.float64
    assert similarity(b, a).shape == (3, 1)
    assert similarity(np.zeros((0, 7), np.float32), b).shape == (0, 3)


def test_near_twins_have_a_distance(dtype: str) -> None:
    a = np.full((1, 7), 100.0, dtype)
    b = a + np.array([1e-3, 0, 0, 0, 0, 0, 0], dtype)
    exact = abs(float(b[0, 0]) - float(a[0, 0]))
    assert similarity(a, b, "euclidean")[0, 0] == pytest.approx(-exact, rel=1e-3)


def test_a_vector_of_zeros_is_like_nothing() -> None:
    assert not similarity(np.zeros((2, 7), np.float32), vectors(3)).any()


@pytest.mark.parametrize("block", [1 << 21, 100])
@pytest.mark.parametrize("name", SIMILARITIES)
@pytest.mark.parametrize("k", [1, 4, 60, 1000])
def test_the_nearest(name: str, k: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    # Small whole numbers, of which there are many ties and no rounding.
    rng = np.random.default_rng(3)
    corpus = rng.integers(-2, 3, (60, 3)).astype(np.float64)
    corpus[corpus.any(axis=1) == 0] = 1.0
    query = rng.integers(1, 3, (5, 3)).astype(np.float64)
    scores = similarity(query, corpus, name)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    found = search(query, corpus, k, name)
    assert found.scores.shape == (5, min(k, 60))
    if name in ("dot", "manhattan"):  # exact, so the ties are too
        assert np.array_equal(found.indices, order)
    expected = np.take_along_axis(scores, order, 1)
    assert np.allclose(found.scores, expected, rtol=0, atol=1e-12)
    one = search(query[2], corpus, k, name)
    assert one.indices.shape == (min(k, 60),)
    assert np.allclose(one.scores, expected[2], rtol=0, atol=1e-12)


def test_ties_go_by_index_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 21)
    corpus = np.ones((50, 7))
    corpus[40] = 2.0
    assert search(np.ones(7), corpus, 6, "dot").indices.tolist() == [40, 0, 1, 2, 3, 4]


def test_a_mapped_corpus_is_read_a_block_at_a_time(tmp_path: Path) -> None:
    n, width = 100_000, 32
    path = tmp_path / "corpus.npy"
    corpus = np.lib.format.open_memmap(path, "w+", np.float16, (n, width))
    corpus[:] = np.random.default_rng(0).standard_normal((n, width)).astype(np.float16)
    corpus.flush()
    mapped = np.load(path, mmap_mode="r")
    query = mapped[[5, 77_777, 99_999]].astype(np.float32)
    query = np.repeat(query, 300, axis=0)
    search(query[:1], mapped[:10], 1)
    tracemalloc.start()
    found = search(query, mapped, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.indices[::300, 0].tolist() == [5, 77_777, 99_999]
    assert peak < 150e6  # all scores would be 360 MB


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("k", [1, 40, 700])
def test_ties_go_by_index_whichever_thread_saw_them(
    k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK", 100)
    corpus = np.tile(np.eye(7, dtype=np.float32), (100, 1))[
        np.random.default_rng(0).permutation(700)
    ]
    queries = np.eye(7, dtype=np.float32)[:3]
    set_num_threads(4)
    found = search(queries, corpus, k, "dot")
    expected = np.argsort(-(queries @ corpus.T), axis=1, kind="stable")[:, :k]
    assert found.indices.tolist() == expected.tolist()
    set_num_threads(1)
    assert search(queries, corpus, k, "dot").indices.tolist() == expected.tolist()


@pytest.mark.usefixtures("threads")
def test_threads_share_a_search_and_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 1 << 12)
    corpus, queries = vectors(5000, seed=1), vectors(3)
    seen = set[int]()
    both, compare = threading.Barrier(2), module._Best.compare

    def watched(self: Any, stored: Any, first: int) -> int:
        if len(seen) < 2:  # so that neither is done before the other has begun
            seen.add(threading.get_ident())
            both.wait(timeout=60)
        return compare(self, stored, first)

    set_num_threads(2)
    with monkeypatch.context() as patch:
        patch.setattr(module._Best, "compare", watched)
        shared = search(queries, corpus, 9)
    assert len(seen) == 2
    set_num_threads(1)
    alone = search(queries, corpus, 9)
    assert shared.indices.tolist() == alone.indices.tolist()
    assert shared.scores.tobytes() == alone.scores.tobytes()


@pytest.mark.usefixtures("threads")
def test_a_function_of_others_is_called_by_the_caller_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_BLOCK", 100)
    seen = set[int]()

    def score(a: Any, b: Any) -> Any:
        seen.add(threading.get_ident())
        return a @ b.T

    set_num_threads(2)
    semantic_search(vectors(2), vectors(500, seed=1), score_function=score)
    assert seen == {threading.get_ident()}


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("name", SIMILARITIES)
def test_half_size_vectors_are_compared_exactly(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 200)
    corpus, query = vectors(300, seed=1).astype(np.float16), vectors(2)
    set_num_threads(2)
    found, expected = (search(query, rows, 8, name) for rows in (corpus, corpus.astype(np.float32)))
    assert found.scores.dtype == np.float32
    assert found.indices.tolist() == expected.indices.tolist()
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-6)
    strided = search(query, np.asfortranarray(corpus), 8, name)
    np.testing.assert_allclose(strided.scores, found.scores, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-11, 1e-9, 1.0, 1e17, 1e19, 1e30])
def test_cosines_do_not_depend_on_lengths(scale: float) -> None:
    a, b = vectors(3), vectors(40, seed=1)
    expected = by_definition("cosine", a, b)
    with np.errstate(all="ignore"):
        found = similarity(a, (b * np.float32(scale)).astype(np.float32))
    assert np.abs(found - expected).max() < 1e-6


def test_a_search_that_takes_long_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, done = list[tuple[int, bool]](), list[int]()

    @contextmanager
    def watched(total: int, label: str, *, least: int, **options: Any) -> Iterator[Any]:
        assert (label, options) == ("searching", {"unit": "vectors", "delay": 2.0})
        calls.append((total, total >= least))
        yield done.append

    monkeypatch.setattr(module, "progress", watched)
    corpus = np.zeros((1000, 7), np.float32)
    search(vectors(2), corpus)
    monkeypatch.setattr(module, "_WORTH_A_BAR", 28_000)
    search(vectors(2), corpus)
    assert calls == [(1000, False), (1000, True)]
    assert sum(done) == 2000


def test_an_empty_corpus() -> None:
    found = search(np.ones(7), np.zeros((0, 7)), 3)
    assert found.indices.shape == (0,)
    assert search(np.zeros((0, 7)), np.ones((4, 7)), 3).scores.shape == (0, 3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: similarity_pairwise(vectors(2), vectors(3)),
            r"a and b must have as many vectors, .*; got 2 and 3\. similarity\(a, b\) compares all",
        ),
        (
            lambda: similarity_pairwise([[1.0, np.nan]], [[1.0, 1.0]]),
            r"a\[0\] must be finite",
        ),
        (
            lambda: similarity(vectors(2), vectors(2, width=8)),
            "^a and b must have as many features; got 7 and 8",
        ),
        (lambda: similarity(vectors(2), [[1, 2]]), "^b must be floats of .*; got int64"),
        (
            lambda: similarity(vectors(2)[None], vectors(2)),
            r"^a must be of shape .*; got \(1, 2, 7\)",
        ),
        (
            lambda: similarity(vectors(2), vectors(2), "cos"),
            "must be one of cosine, dot, eucl.*; got 'cos'",
        ),
        (lambda: similarity([[1.0], [np.nan]], [[1.0]]), r"^a\[1\] must be finite"),
        (lambda: search([1.0], [[1.0], [np.inf]]), r"^corpus_vectors\[1\] must be finite"),
        (lambda: search([1.0], [[1.0]], 0), "k must be a whole number from 1; got 0"),
        (lambda: search([1.0], [[1.0]], True), "k must be a whole number from 1; got True"),
        (lambda: search([1.0], [[1.0]], 1.5), "k must be a whole number from 1; got 1.5"),  # type: ignore[arg-type]
        (lambda: similarity([[1e200]], [[1e200]], "dot"), "too large for float64"),
    ],
)
def test_what_is_refused(call: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()


@pytest.mark.parametrize("function", [similarity, partial(search, k=1 << 24)])
def test_scores_for_which_there_is_no_memory_are_named(function: Callable[..., object]) -> None:
    many = np.broadcast_to(np.float32(1), (1 << 24, 3))
    words = "out of memory for 16,777,216 x 16,777,216 scores, which have 1,125,899,906,842,624 by"
    with pytest.raises(OutOfMemoryError, match=words):
        function(many, many)
