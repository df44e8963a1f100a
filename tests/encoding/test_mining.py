"""numpy_bert.encoding.mining: equal to plain definitions, in blocks, and what is refused."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import numpy_bert.encoding.mining as module
import numpy_bert.encoding.similarity as likeness
from numpy_bert import (
    InputError,
    SentenceEncoder,
    community_detection,
    paraphrase_mining,
    paraphrase_mining_embeddings,
    search,
    semantic_search,
    similarity,
)


def clustered(n: int, width: int = 9, *, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((n // 6, width))
    noise = 0.3 * rng.standard_normal((n, width))
    return (centers[rng.integers(0, len(centers), n)] + noise).astype(np.float32)


@pytest.fixture(params=[1 << 21, 500])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likeness, "_BLOCK", request.param)
    monkeypatch.setattr(module, "_BLOCK", request.param)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("score", ["cosine", "dot", "euclidean", "manhattan"])
def test_semantic_search_is_search(score: str) -> None:
    corpus, query = clustered(90), clustered(90, seed=1)[:7]
    expected = search(query, corpus, 5, score)
    for options in ({}, {"query_chunk_size": 2, "corpus_chunk_size": 13}):
        found = semantic_search(query, corpus, top_k=5, score_function=score, **options)
        assert [[hit["corpus_id"] for hit in row] for row in found] == expected.indices.tolist()
        scores = [[hit["score"] for hit in row] for row in found]
        assert np.abs(np.array(scores) - expected.scores).max() < 1e-5
        assert all(type(hit["score"]) is float for hit in found[0])
    assert len(semantic_search(query[0], corpus)) == 1
    assert semantic_search(query[:2], corpus[:0]) == [[], []]
    assert len(semantic_search(query, corpus[:3])[0]) == 3


def test_a_score_function_of_ones_own() -> None:
    corpus = clustered(40)
    shapes = []

    def score(a: Any, b: Any) -> Any:
        shapes.append((len(a), len(b)))
        return -similarity(a, b)

    found = semantic_search(corpus[:5], corpus, 2, 13, 4, score)
    order = np.argsort(similarity(corpus[:5], corpus), axis=1, kind="stable")[:, :4]
    assert [[hit["corpus_id"] for hit in row] for row in found] == order.tolist()
    assert max(shapes) == (2, 13)
    with pytest.raises(InputError, match=r"score_function must return .* \(5, 40\); got \(5,\)"):
        semantic_search(corpus[:5], corpus, score_function=lambda a, b: a[:, 0])


def pairs_by_definition(x: Any, top_k: int, max_pairs: int) -> set[tuple[int, int]]:
    scores = similarity(x, x).astype(np.float64)
    np.fill_diagonal(scores, -np.inf)
    near = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    found = {(min(i, j), max(i, j)) for i, row in enumerate(near.tolist()) for j in row if i != j}
    return set(sorted(found, key=lambda pair: -scores[pair])[:max_pairs])


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize(("top_k", "max_pairs"), [(100, 500_000), (3, 500_000), (3, 20), (100, 50)])
def test_the_best_pairs(top_k: int, max_pairs: int) -> None:
    x = clustered(73)
    found = paraphrase_mining_embeddings(x, top_k=top_k, max_pairs=max_pairs)
    assert {(i, j) for _, i, j in found} == pairs_by_definition(x, top_k, max_pairs)
    assert len(found) == len({(i, j) for _, i, j in found})
    scores = [score for score, _, _ in found]
    assert scores == sorted(scores, reverse=True)
    all_scores = similarity(x, x)
    assert max(abs(score - all_scores[i, j]) for score, i, j in found) < 1e-6
    assert all([type(value) for value in row] == [float, int, int] for row in found)


def test_pairs_of_texts(plain_demo: Any) -> None:
    encoder = SentenceEncoder(plain_demo)
    texts = ["the sea", "a test", "the moon", "the sea"]
    found = paraphrase_mining(encoder, texts, truncate_dim=20, prompt="say: ")
    vectors = encoder.encode(texts, truncate_dim=20, prompt="say: ")
    assert found == paraphrase_mining_embeddings(vectors)
    assert found[0][1:] == [0, 3]
    assert len(found) == 6
    assert paraphrase_mining(encoder, []) == []


def test_twins_do_not_hide_each_other() -> None:
    """More equal vectors than are looked at: one's own place may not be among them."""
    found = paraphrase_mining_embeddings(np.ones((5, 3)), top_k=1, score_function="dot")
    assert found == [[3.0, 0, other] for other in (1, 2, 3, 4)]


def communities_by_definition(x: Any, threshold: float, size: int) -> list[list[int]]:
    scores = similarity(x, x)
    around = [
        np.argsort(-row, kind="stable")[: (row >= threshold).sum()].tolist() for row in scores
    ]
    used: set[int] = set()
    found = []
    for center in sorted(range(len(x)), key=lambda row: -len(around[row])):
        near = [row for row in around[center] if row not in used]
        if center in used or len(around[center]) < size or len(near) < size:
            continue
        found.append([center, *(row for row in near if row != center)])
        used.update(near)
    return sorted(found, key=len, reverse=True)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize(("threshold", "size"), [(0.75, 2), (0.5, 5), (0.9, 3), (-1.0, 10)])
def test_communities(threshold: float, size: int) -> None:
    x = clustered(150)
    expected = communities_by_definition(x, threshold, size)
    assert len(expected) > 5 or threshold == -1.0
    for options in ({}, {"batch_size": 7}, {"show_progress_bar": True}):
        found = community_detection(x, threshold, size, **options)
        assert [set(one) for one in found] == [set(one) for one in expected]
        assert [one[0] for one in found] == [one[0] for one in expected]
    assert all(type(row) is int for one in found for row in one)


def test_no_communities() -> None:
    x = clustered(12)
    assert community_detection(x, 0.75, 13) == []
    assert community_detection(x, 1.1) == []
    assert community_detection([]) == []
    assert community_detection(np.zeros((0, 7), np.float32)) == []
    assert community_detection(np.zeros((3, 7)), 0.5, 1) == []  # zeros are like nothing


def test_memory_is_bounded_where_all_are_alike() -> None:
    x = np.ones((12_000, 5), np.float32)
    tracemalloc.start()
    found = community_detection(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [len(one) for one in found] == [12_000]
    assert peak < 60e6  # all communities would be 576 MB


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: semantic_search(x, x, top_k=0), "top_k must be a whole number from 1; got 0"),
        (lambda x: semantic_search(x, x, 0), "query_chunk_size must be a whole number from 1"),
        (
            lambda x: semantic_search(x, x[:, :3]),
            "query_embeddings and corpus_embeddings must have",
        ),
        (lambda x: semantic_search(x, x, score_function="l2"), "score_function must be one of"),
        (lambda x: semantic_search(x, x, score_function=3), "score_function must be the name of"),  # type: ignore[arg-type]
        (
            lambda x: paraphrase_mining_embeddings(x, max_pairs=0),
            "max_pairs must be a whole number",
        ),
        (lambda x: paraphrase_mining_embeddings(x * np.nan), r"embeddings\[0\] must be finite"),
        (lambda x: community_detection(x * np.nan), r"embeddings\[0\] must be finite"),
        (lambda x: community_detection(x, "0.7"), "threshold must be a number; got '0.7'"),  # type: ignore[arg-type]
        (lambda x: community_detection(x, float("nan")), "threshold must be a number; got nan"),
        (lambda x: paraphrase_mining("demo", ["a"]), "model must be a SentenceEncoder; got 'demo'"),  # type: ignore[arg-type]
        (lambda x: paraphrase_mining(["a"], ["a"]), "model must be a SentenceEncoder"),  # type: ignore[arg-type]
        (lambda x: community_detection(x, min_community_size=0), "min_community_size must be a"),
        (
            lambda x: community_detection(x, show_progress_bar=3),  # type: ignore[arg-type]
            "show_progress_bar must be True or",
        ),
    ],
)
def test_what_is_refused(call: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call(clustered(12))
