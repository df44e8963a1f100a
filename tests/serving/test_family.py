"""Models of BERT's family, served: a tiny XLM-R, and a reranker and a DistilBERT of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from numpy_bert import CrossEncoder, SentenceEncoder
from numpy_bert.serving import create_app
from tests.support.family_models import MOST_TOKENS, write_model

TEXTS = ["hello unaffable world", "a", "Es war einmal ein Mann", "a"]


@pytest.mark.parametrize("model_type", ["xlm-roberta", "distilbert"])
def test_vectors(model_type: str, tmp_path: Path) -> None:
    encoder = SentenceEncoder(write_model(tmp_path, model_type))
    with TestClient(create_app(encoder, name="tiny")) as client:
        answer = client.post("/v1/embeddings", json={"input": TEXTS})
        found = np.array([one["embedding"] for one in answer.json()["data"]], np.float32)
        assert np.array_equal(found, encoder.encode(TEXTS))
        count = sum(len(ids) for ids in encoder.tokenizer(TEXTS)["input_ids"])
        assert answer.json()["usage"]["prompt_tokens"] == count
        long = client.post("/v1/embeddings", json={"input": "a b " * 99})
        assert long.status_code == 400
        assert f"the model reads {MOST_TOKENS} tokens" in long.json()["error"]["message"]
        assert client.get("/info").json()["max_input_length"] == MOST_TOKENS


@pytest.mark.parametrize("model_type", ["xlm-roberta", "distilbert"])
def test_ranks(model_type: str, tmp_path: Path) -> None:
    folder = write_model(tmp_path, model_type, "ForSequenceClassification", num_labels=1)
    encoder = CrossEncoder(folder)
    with TestClient(create_app(encoder, name="tiny")) as client:
        answer = client.post("/rerank", json={"query": "who?", "texts": TEXTS, "raw_scores": True})
    found = {one["index"]: one["score"] for one in answer.json()}
    expected = encoder.predict([("who?", text) for text in TEXTS], activation_fn="identity")
    assert np.allclose([found[i] for i in range(4)], expected, rtol=0, atol=1e-6)
