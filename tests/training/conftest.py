"""Fixtures for the tests of training."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.heads import calm_head


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny BERT with both of the heads that it was pre-trained with."""
    return calm_head(tmp_path_factory.mktemp("model"), "BertForPreTraining")
