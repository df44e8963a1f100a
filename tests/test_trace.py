"""The trace names: stable API."""

from __future__ import annotations

import numpy as np
import pytest

from numpy_bert import BertModel, TraceError
from numpy_bert.trace import named_steps, select

NAMES = [
    "embeddings.word_embeddings",
    "embeddings.token_type_embeddings",
    "embeddings.position_embeddings",
    "embeddings.sum",
    "embeddings.LayerNorm.mean",
    "embeddings.LayerNorm.variance",
    "embeddings.LayerNorm.rstd",
    "embeddings.LayerNorm.normalized",
    "embeddings.LayerNorm",
    "embeddings.dropout",
    "embeddings",
]


def test_the_names_of_the_input_embedding_in_execution_order() -> None:
    embeddings = BertModel.from_pretrained("demo").embeddings
    assert [name for name, _ in named_steps(embeddings.steps([[2, 3]]), "embeddings")] == NAMES
    dropped = embeddings.steps([[2, 3]], rng=np.random.default_rng(0))
    names = [name for name, _ in named_steps(dropped, "embeddings")]
    assert names == [*NAMES[:9], "embeddings.dropout.keep", *NAMES[9:]]


def test_one_step_or_all() -> None:
    steps = {name: np.zeros(1) for name in NAMES}
    assert select(steps, None) is steps
    assert list(select(steps, "embeddings.sum")) == ["embeddings.sum"]
    with pytest.raises(TraceError, match=r"no step is named embeddings\.summ; there are embed"):
        select(steps, "embeddings.summ")
