"""The model as a stream: the same steps as all at once, checked as early, blamed as well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from numpy_bert import BertModel, CheckpointError, InputError
from numpy_bert.trace import named_steps
from tests.support.checkpoints import random_tensors, write_checkpoint
from tests.support.traces import IDS, trained_like

GIVEN = tuple(IDS.values())


@pytest.mark.parametrize("drops", [False, True])
def test_the_stream_is_the_steps_in_order(tmp_path: Path, dtype: str, drops: bool) -> None:
    model = BertModel.from_pretrained(trained_like(tmp_path), dtype=dtype)
    rngs = [np.random.default_rng(0) if drops else None for _ in range(2)]
    whole = list(named_steps(model.steps(*GIVEN, rng=rngs[0]), ""))
    stream = list(model.trace(*GIVEN, rng=rngs[1]))
    assert [name for name, _ in stream] == [name for name, _ in whole]
    for (name, found), (_, expected) in zip(stream, whole, strict=True):
        assert found.dtype == expected.dtype, name
        assert np.array_equal(found, expected), name


def test_arguments_are_checked_before_the_first_step(tmp_path: Path) -> None:
    model = BertModel.from_pretrained(trained_like(tmp_path))
    with pytest.raises(InputError, match="outside the vocabulary"):
        model.trace([[61]])
    with pytest.raises(InputError, match="attention_mask"):
        model.trace([[1, 2]], [[1]])
    part = BertModel.from_pretrained(tmp_path, only="embeddings")
    with pytest.raises(InputError, match="load the whole to run the encoder"):
        part.trace([[1]])


@pytest.mark.parametrize(
    ("key", "last"),
    [
        ("encoder.layer.1.output.dense.bias", "encoder.layer.0"),
        ("pooler.dense.weight", "encoder"),
        ("embeddings.LayerNorm.bias", None),
    ],
)
def test_a_weight_that_is_not_finite_is_named_where_it_is_met(
    tmp_path: Path, key: str, last: str | None
) -> None:
    tensors = random_tensors()
    tensors[key].flat[0] = np.nan
    model = BertModel.from_pretrained(write_checkpoint(tmp_path, tensors))
    seen: list[str] = []
    with pytest.raises(CheckpointError, match=key.replace(".", r"\.")):
        seen.extend(name for name, _ in model.trace([[1, 2, 3]]))
    assert (seen[-1] if seen else None) == last


def test_rows_of_no_tokens_and_no_pooler(tmp_path: Path) -> None:
    tensors = {k: v for k, v in random_tensors().items() if not k.startswith("pooler.")}
    model = BertModel.from_pretrained(write_checkpoint(tmp_path / "a", tensors))
    assert [name for name, _ in model.trace([[1]])][-1] == "encoder"
    model = BertModel.from_pretrained(trained_like(tmp_path / "b"))
    assert [name for name, _ in model.trace(np.zeros((2, 0), int))][-1] == "encoder"
