"""The recipes of encoding/RECIPES.md: each program is run as it stands there, and then used.

What the extra `test` does not bring, and what takes long, is marked slow.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import SentenceEncoder

PAGE = Path(__file__).parents[2] / "numpy_bert" / "encoding" / "RECIPES.md"
TEXT = PAGE.read_text("utf-8")
PARTS = [part.partition("\n") for part in re.split(r"^## ", TEXT, flags=re.M)[1:]]
FENCES = {name: re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S) for name, _, text in PARTS}
TEXTS = ["The sun is shining.", "He drives a car."]


class Modules:
    """Recipes as modules of a user's, in a folder that other processes find, too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, recipe: str) -> Any:
        """Run a recipe and return its module."""
        name = "recipe_" + re.sub(r"\W", "_", recipe.lower())
        ((_, program),) = FENCES[recipe]
        (self.folder / f"{name}.py").write_text(program, "utf-8")
        importlib.invalidate_caches()
        sys.modules.pop(name, None)
        return importlib.import_module(name)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Modules:
    monkeypatch.syspath_prepend(tmp_path)
    return Modules(tmp_path)


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder("demo")


def test_each_recipe_has_a_program_and_a_test() -> None:
    assert all([language for language, _ in found] == ["python"] for found in FENCES.values())
    assert TEXT.count("```") == 2 * len(FENCES)
    used = re.findall(r'run\("([^"]*)"\)', Path(__file__).read_text("utf-8"))
    assert set(used) == set(FENCES)


def test_pandas(run: Modules, encoder: SentenceEncoder) -> None:
    done = run("pandas")
    vectors = done.frame["vector"]
    assert vectors.isna().tolist() == [False, True, False]
    assert np.array_equal(np.stack(vectors.dropna()), encoder.encode(TEXTS))
    assert done.best == TEXTS[0]


@pytest.mark.slow
def test_pandas_with_an_index_of_its_own(run: Modules, encoder: SentenceEncoder) -> None:
    """The rows of a frame that was filtered, and one without any text."""
    import pandas as pd

    done = run("pandas")
    for texts in ([TEXTS[1], None, *TEXTS, float("nan")], [None, None]):
        frame = pd.DataFrame({"text": texts}, index=range(9, 9 + 3 * len(texts), 3)).iloc[::-1]
        there = frame["text"].dropna()
        frame["vector"] = pd.Series(list(done.encoder.encode(there)), index=there.index)
        for text, vector in zip(frame["text"], frame["vector"], strict=True):
            if isinstance(text, str):
                assert np.allclose(vector, encoder.encode(text), atol=1e-6)
            else:
                assert np.isnan(vector)


@pytest.mark.slow
def test_polars(run: Modules, encoder: SentenceEncoder) -> None:
    import polars as pl

    done = run("polars")
    assert done.frame["vector"].dtype == pl.Array(pl.Float32, 384)
    assert done.frame["vector"].is_null().to_list() == [False, True, False]
    assert done.matrix.dtype == np.float32
    assert np.array_equal(done.matrix, encoder.encode(TEXTS))
    vector = pl.col("text").map_batches(done.embed, return_dtype=done.VECTOR)
    assert done.frame.lazy().select("text", vector=vector).collect().equals(done.frame)
    for texts in ([], [None], [None, *TEXTS[::-1], None]):
        frame = pl.DataFrame({"text": texts}, schema={"text": pl.String})
        found = frame.select(vector)["text"]
        assert found.dtype == done.VECTOR
        assert found.is_null().to_list() == [text is None for text in texts]
    assert np.array_equal(found.drop_nulls().to_numpy(), encoder.encode(TEXTS[::-1]))


def sentences(data: Path, book: str, count: int) -> list[str]:
    """Return sentences of a book, none of which is short or long."""
    text = " ".join((data / "text" / f"{book}.txt").read_text("utf-8").split())
    found = [one for one in re.split(r"(?<=[.!?]) ", text) if 40 < len(one) < 150]
    return found[50 : 50 + count]


@pytest.mark.slow
def test_scikit_learn_has_what_it_asks_of_a_transformer(
    run: Modules, encoder: SentenceEncoder
) -> None:
    from sklearn.base import clone
    from sklearn.exceptions import NotFittedError

    done = run("scikit-learn")
    made = done.SentenceVectors(truncate_dim=64).set_params(pooling="cls")
    assert made.get_params() == {"model": "demo", "pooling": "cls", "truncate_dim": 64}
    vectors = made.fit_transform(TEXTS)
    assert np.array_equal(vectors, encoder.encode(TEXTS, pooling="cls", truncate_dim=64))
    copied = clone(made)
    with pytest.raises(NotFittedError):
        copied.transform(TEXTS)
    assert copied.get_params() == made.get_params()
    assert np.array_equal(pickle.loads(pickle.dumps(made)).transform(TEXTS), vectors)
    names = [f"sentencevectors{number}" for number in range(64)]
    assert made.get_feature_names_out().tolist() == names
    frame = made.set_output(transform="pandas").transform(TEXTS)
    assert list(frame.columns) == names
    assert np.array_equal(frame.to_numpy(), vectors)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_scikit_learn_searches_over_it(
    jobs: int, run: Modules, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which of two novels a sentence is from: chance is 0.5."""
    monkeypatch.setenv("NUMPY_BERT_NUM_THREADS", "1")
    done = run("scikit-learn")
    books = ("alice", "pride_and_prejudice")
    texts = [text for book in books for text in sentences(data, book, 80)]
    labels = [book for book in books for _ in range(80)]
    done.search.set_params(n_jobs=jobs, error_score="raise").fit(texts[::2], labels[::2])
    assert len(done.search.cv_results_["params"]) == 4
    assert all(score > 0.6 for score in done.search.cv_results_["mean_test_score"])
    assert done.search.score(texts[1::2], labels[1::2]) > 0.8
    best = done.search.best_estimator_
    assert np.array_equal(pickle.loads(pickle.dumps(best)).predict(texts), best.predict(texts))
    remembered = best.set_params(memory=str(tmp_path / "cache"))
    found = remembered.fit(texts, labels).predict(texts)
    assert np.array_equal(remembered.fit(texts, labels).predict(texts), found)
    assert list((tmp_path / "cache").rglob("output.pkl"))


@pytest.mark.slow
def test_fastapi(run: Modules, encoder: SentenceEncoder) -> None:
    """Requests at once, each of which gets its own vectors; and what is refused."""
    from fastapi.testclient import TestClient

    groups = [[f"Text {number}.", *TEXTS[: number % 3]] for number in range(12)]
    with TestClient(run("FastAPI").app) as client, ThreadPoolExecutor(6) as pool:
        answers = pool.map(lambda texts: client.post("/vectors", json={"texts": texts}), groups)
        for texts, answer in zip(groups, answers, strict=True):
            assert answer.status_code == 200
            assert np.array_equal(np.array(answer.json(), np.float32), encoder.encode(texts))
        refused: Any
        for refused in ("one", ["a"] * 101, ["a" * 10_001], [1], None):
            assert client.post("/vectors", json={"texts": refused}).status_code == 422


def test_langchain(run: Modules, encoder: SentenceEncoder) -> None:
    done = run("LangChain")
    assert done.document.page_content == TEXTS[0]
    made = done.NumpyBertEmbeddings("demo")
    assert made.embed_documents(TEXTS) == encoder.encode(TEXTS).tolist()
    assert asyncio.run(made.aembed_query(TEXTS[0])) == encoder.encode(TEXTS[0]).tolist()
    made.encoder.prompts = {"query": "query: ", "document": "passage: "}
    assert made.embed_query(TEXTS[0]) == encoder.encode("query: " + TEXTS[0]).tolist()
    assert made.embed_documents(TEXTS[:1]) == [encoder.encode("passage: " + TEXTS[0]).tolist()]


def test_a_function_as_a_service(run: Modules, encoder: SentenceEncoder) -> None:
    done = run("A function as a service")
    answer = done.handler({"body": json.dumps({"texts": TEXTS})}, None)
    assert answer["statusCode"] == 200
    found = np.array(json.loads(answer["body"])["vectors"], np.float32)
    assert np.array_equal(found, encoder.encode(TEXTS))


@pytest.mark.slow
def test_a_function_with_its_model_beside_it(run: Modules) -> None:
    """In a process of its own, from a folder, with no hub and no home to write to."""
    run("A function as a service")
    encoder = SentenceEncoder("demo", truncate_dim=64)
    encoder.save_pretrained(str(run.folder / "model"))
    code = (
        "import json, recipe_a_function_as_a_service as made\n"
        'print(made.handler({"body": json.dumps({"texts": ["a"]})}, None)["body"])'
    )
    given = {"NUMPY_BERT_MODEL": "model", "HF_HUB_OFFLINE": "1", "HOME": "/nonexistent"}
    environment = {**os.environ, **given, "PYTHONPATH": str(PAGE.parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=run.folder, env=environment, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    found = np.array(json.loads(done.stdout)["vectors"], np.float32)
    assert np.array_equal(found, encoder.encode(["a"]))
