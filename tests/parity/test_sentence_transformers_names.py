"""Names, arguments, defaults and results of sentence-transformers, held against it."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentence_transformers as st
import torch
from sentence_transformers import util
from sentence_transformers.util import quantization

import numpy_bert
from numpy_bert import SentenceEncoder
from numpy_bert.encoding import PRECISIONS
from numpy_bert.encoding.names import CONSTRUCTOR
from numpy_bert.loading.cache import demo_folder
from tests.encoding.test_saving import all_modules

TEXTS = [f"{'The moon. ' * (number % 4)}{number} suns" for number in range(110)]
# Ours: where they differ, it is what makes no difference to a result.
DEFAULTS = {"batch_size": (32, None), "score_function": (util.cos_sim, "cosine")}


@pytest.fixture(scope="module")
def pair(minilm: Path) -> tuple[SentenceEncoder, Any]:
    return SentenceEncoder(minilm), st.SentenceTransformer(str(minilm), device="cpu")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Let neither complain of few vectors, or of texts that are cut."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
    logging.disable(logging.NOTSET)


def arguments(function: Any) -> list[inspect.Parameter]:
    return [
        p
        for p in inspect.signature(function).parameters.values()
        if p.name != "self" and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (SentenceEncoder.encode, st.SentenceTransformer.encode),
        (numpy_bert.semantic_search, util.semantic_search),
        (numpy_bert.paraphrase_mining, util.paraphrase_mining),
        (numpy_bert.paraphrase_mining_embeddings, util.paraphrase_mining_embeddings),
        (numpy_bert.community_detection, util.community_detection),
        (numpy_bert.quantize_embeddings, st.quantize_embeddings),
    ],
)
def test_arguments_stand_in_their_order_with_their_defaults(ours: Any, theirs: Any) -> None:
    wanted = arguments(inspect.unwrap(theirs))
    found = arguments(ours)[: len(wanted)]
    names = ["sentences" if p.name == "inputs" else p.name for p in wanted]
    assert [p.name for p in found] == names
    for one, other in zip(found, wanted, strict=True):
        assert one.kind == other.kind
        if one.default != other.default and other.default is not inspect.Parameter.empty:
            assert (other.default, one.default) == DEFAULTS[one.name]


def test_the_arguments_of_the_constructor_are_known() -> None:
    wanted = {p.name for p in arguments(inspect.unwrap(st.SentenceTransformer.__init__))}
    own = {p.name for p in arguments(SentenceEncoder)}
    assert wanted <= own | set(CONSTRUCTOR)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_precision(pair: tuple[SentenceEncoder, Any], vectors: Any, precision: Any) -> None:
    """The same vectors are quantized to the same bits; those of each encode, nearly so."""
    ours, theirs = pair
    vectors = vectors[0]
    own = numpy_bert.quantize_embeddings(vectors, precision)
    reference = st.quantize_embeddings(vectors, precision)
    assert own.dtype == reference.dtype
    assert np.array_equal(own, reference)
    found, expected = (model.encode(TEXTS[:50], precision=precision) for model in pair)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    if precision.endswith("int8"):
        assert np.abs(found.astype(int) - expected).max() <= 1
    assert (found == expected).mean() > (0.99 if precision != "float32" else 0)
    one = "binary" if precision.endswith("8") else precision
    shapes = [model.encode("a", precision=one).shape for model in (ours, theirs)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("count", [300, 7])
def test_quantize_embeddings(precision: Any, dtype: str, count: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((count, 37)).astype(dtype)
    x[:, 3] = 0.5  # a feature without a range
    other = rng.standard_normal((50, 37)).astype(np.float32)
    ranges = np.stack([other.min(0), other.max(0)]).astype(np.float64)
    for options in ({}, {"calibration_embeddings": other}, {"ranges": ranges}):
        for given in (x, list(x), x[:0], [x[:3], x[3:]]):
            found = numpy_bert.quantize_embeddings(given, precision, **options)
            expected = quantization.quantize_embeddings(given, precision, **options)
            lists = isinstance(found, list)
            rows = zip(found, expected, strict=True) if lists else [(found, expected)]
            for one, two in rows:
                assert one.dtype == two.dtype
                assert np.array_equal(one, two)


def test_output_values(pair: tuple[SentenceEncoder, Any]) -> None:
    options: dict[str, Any] = {"truncate_dim": 7, "normalize_embeddings": True, "prompt": "say: "}
    for texts in (TEXTS[:9], TEXTS[3]):
        found, expected = (
            model.encode(texts, output_value="token_embeddings", **options) for model in pair
        )
        rows = [(found, expected)] if isinstance(texts, str) else zip(found, expected, strict=True)
        for one, two in rows:
            assert one.shape == tuple(two.shape)
            assert np.abs(one - two.numpy()).max() < 1e-5
    found, expected = (model.encode(TEXTS[3], output_value=None, **options) for model in pair)
    assert set(expected) == {*found, "modality", "prompt_length"}
    for name, value in found.items():
        assert value.shape == tuple(expected[name].shape)
        assert np.abs(value - expected[name].numpy()).max() < 1e-5
    found, expected = (
        model.encode(TEXTS[:9], output_value="token_embeddings", precision="ubinary")
        for model in pair
    )
    for one, two in zip(found, expected, strict=True):
        assert (one.shape, one.dtype) == (two.shape, two.dtype)
        assert (one == two).mean() > 0.99


@pytest.mark.parametrize("normalizes", [False, True])
def test_normalize_embeddings(tmp_path: Path, normalizes: bool) -> None:
    modules = [st.models.Transformer(str(demo_folder()), model_kwargs={"dtype": "float32"})]
    modules += [st.models.Pooling(128, "mean"), *([st.models.Normalize()] * normalizes)]
    theirs = st.SentenceTransformer(modules=modules, device="cpu")
    theirs.save(str(tmp_path))
    ours = SentenceEncoder(tmp_path)
    assert np.array_equal(
        ours.encode(TEXTS[:9]), ours.encode(TEXTS[:9], normalize_embeddings=False)
    )
    for flag in (False, True):
        found, expected = (
            model.encode(TEXTS[:9], normalize_embeddings=flag) for model in (ours, theirs)
        )
        assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize(
    "prompts",
    [
        None,
        {"query": "q: "},
        {"query": "q: ", "passage": "p: "},
        {"document": "d: ", "other": "o: "},
        {"corpus": "c: ", "other": "o: "},
    ],
)
@pytest.mark.parametrize("default", [None, "other"])
def test_queries_and_documents(prompts: Any, default: str | None) -> None:
    options: dict[str, Any] = {"prompts": prompts, "default_prompt_name": default, "device": "cpu"}
    if default and default not in (prompts or {}):
        for kind in (SentenceEncoder, st.SentenceTransformer):
            with pytest.raises(ValueError, match="other"):
                kind(str(demo_folder()), **options)
        return
    ours = SentenceEncoder(demo_folder(), **options)
    single = {"dtype": "float32"}
    theirs = st.SentenceTransformer(str(demo_folder()), model_kwargs=single, **options)
    assert ours.prompts == theirs.prompts
    for name in ("encode", "encode_query", "encode_document"):
        found, expected = (getattr(model, name)("the sea") for model in (ours, theirs))
        assert np.abs(found - expected).max() < 1e-5, name
    ours.prompts = theirs.prompts = {"other": "o: ", "corpus": "c: ", "passage": "p: "}
    for name in ("encode_query", "encode_document"):
        found, expected = (getattr(model, name)("the sea") for model in (ours, theirs))
        assert np.abs(found - expected).max() < 1e-5, name


def test_small_things(pair: tuple[SentenceEncoder, Any]) -> None:
    ours, theirs = pair
    assert ours.max_seq_length == theirs.max_seq_length
    assert ours.get_embedding_dimension() == theirs.get_embedding_dimension()
    assert ours.device == str(theirs.device)
    assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch.")
    assert ours.to(torch.device("cpu")).eval() is ours
    assert np.array_equal(ours.encode(tuple(TEXTS[:2])), ours.encode(TEXTS[:2]))


@pytest.mark.parametrize("name", ["cosine", "dot", "euclidean", "manhattan"])
def test_similarity_pairwise(pair: tuple[SentenceEncoder, Any], name: Any) -> None:
    ours, theirs = (SentenceEncoder(demo_folder()), pair[1])
    kept = theirs.similarity_fn_name
    ours.similarity_fn_name = theirs.similarity_fn_name = name
    a, b = (np.random.default_rng(n).standard_normal((9, 5)).astype(np.float32) for n in (0, 1))
    for x, y in ((a, b), (a, b[0]), (a[2], b), (a[1], b[1])):
        found: Any = ours.similarity_pairwise(x, y)
        expected = theirs.similarity_pairwise(x, y)
        assert found.shape == tuple(expected.shape)
        assert np.abs(found - expected.numpy()).max() < 2e-6
    theirs.similarity_fn_name = kept


@pytest.fixture(scope="module")
def vectors(pair: tuple[SentenceEncoder, Any]) -> Any:
    """Vectors of texts, and of random ones in clusters."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((60, 48))
    random = centers[rng.integers(0, 60, 700)] + 0.45 * rng.standard_normal((700, 48))
    return [pair[0].encode(TEXTS), random.astype(np.float32)]


@pytest.mark.parametrize(
    "options", [{}, {"query_chunk_size": 7, "corpus_chunk_size": 13, "top_k": 3}, {"top_k": 9999}]
)
def test_semantic_search(vectors: Any, options: dict[str, Any]) -> None:
    for x in vectors:
        for score, theirs in (("cosine", util.cos_sim), ("dot", util.dot_score)):
            found = numpy_bert.semantic_search(x[:20], x, score_function=score, **options)
            given = numpy_bert.semantic_search(x[:20], x, score_function=theirs, **options)
            expected = util.semantic_search(x[:20], x, score_function=theirs, **options)
            for ours in (found, given):
                for one, two in zip(ours, expected, strict=True):
                    scores = np.array([[hit["score"] for hit in row] for row in (one, two)])
                    assert np.abs(scores[0] - scores[1]).max() < 1e-4
                    ids = [{hit["corpus_id"] for hit in row} for row in (one, two)]
                    assert ids[0] == ids[1]
                    assert one[0].keys() == two[0].keys()
    assert len(numpy_bert.semantic_search(x[0], x)) == len(util.semantic_search(x[0], x)) == 1


@pytest.mark.parametrize(
    "options", [{}, {"top_k": 3}, {"max_pairs": 50}, {"top_k": 2, "max_pairs": 90}]
)
def test_paraphrase_mining(vectors: Any, options: dict[str, Any]) -> None:
    for x in vectors:
        found = numpy_bert.paraphrase_mining_embeddings(x, **options)
        expected = util.paraphrase_mining_embeddings(torch.from_numpy(x), **options)
        assert {(i, j) for _, i, j in found} == {(i, j) for _, i, j in expected}
        assert max(abs(a[0] - b[0]) for a, b in zip(found, expected, strict=True)) < 1e-6


def test_paraphrase_mining_of_texts(pair: tuple[SentenceEncoder, Any]) -> None:
    ours, theirs = pair
    found = numpy_bert.paraphrase_mining(ours, TEXTS[:20], top_k=4)
    expected = util.paraphrase_mining(theirs, TEXTS[:20], top_k=4)
    assert {(i, j) for _, i, j in found} == {(i, j) for _, i, j in expected}


@pytest.mark.parametrize(
    "options",
    [{}, {"threshold": 0.8, "min_community_size": 4}, {"threshold": 0.5, "batch_size": 100}],
)
def test_community_detection(vectors: Any, options: dict[str, Any]) -> None:
    for x in vectors:
        found = numpy_bert.community_detection(x, **options)
        expected = util.community_detection(x, **options)
        assert expected
        assert [one[0] for one in found] == [one[0] for one in expected]
        assert [set(one) for one in found] == [set(one) for one in expected]


@pytest.mark.parametrize("source", ["minilm", "demo", "all"])
def test_a_saved_folder_is_theirs_too(minilm: Path, tmp_path: Path, source: str) -> None:
    folders: dict[str, Any] = {"minilm": minilm, "demo": "demo"}
    folder = all_modules(tmp_path / "old") if source == "all" else folders[source]
    ours = SentenceEncoder(folder)
    ours.max_seq_length = 17
    ours.prompts["query"] = "find \u0434: "
    if source == "minilm":
        ours.pooling, ours.truncate_dim, ours.similarity_fn_name = ["lasttoken"], 100, "dot"
    ours.save_pretrained(tmp_path / "new")
    theirs = st.SentenceTransformer(str(tmp_path / "new"), device="cpu")
    assert theirs.max_seq_length == 17
    assert theirs.prompts == ours.prompts
    assert theirs.similarity_fn_name == ours.similarity_fn_name
    for name in (None, "query"):
        found, expected = (model.encode(TEXTS[:9], prompt_name=name) for model in (ours, theirs))
        assert np.abs(found - expected).max() < 1e-5
    theirs.save_pretrained(str(tmp_path / "back"))
    again = SentenceEncoder(tmp_path / "back").encode(TEXTS[:9])
    assert np.abs(again - ours.encode(TEXTS[:9])).max() < 1e-6
