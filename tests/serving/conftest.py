"""Models that are served."""

from __future__ import annotations

from pathlib import Path

import pytest

from numpy_bert import BertModel, CrossEncoder, SentenceEncoder
from numpy_bert.loading.cache import demo_folder
from numpy_bert.training import new_classifier


@pytest.fixture(scope="session")
def encoder() -> SentenceEncoder:
    return SentenceEncoder("demo")


@pytest.fixture(scope="session")
def reranker_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a cross-encoder that has learnt nothing."""
    folder = tmp_path_factory.mktemp("rerankers") / "reranker"
    model = BertModel.from_pretrained("demo")
    new_classifier(model, ["score"], demo_folder()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def reranker(reranker_folder: Path) -> CrossEncoder:
    return CrossEncoder(reranker_folder)
