"""The traps of ops/README.md: what each costs, and that numpy_bert is not in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from numpy_bert import BertModel, BertTokenizer, InputError
from numpy_bert.ops.activation import gelu, gelu_tanh
from numpy_bert.ops.attention import attention_scores
from numpy_bert.ops.dropout import dropout
from numpy_bert.ops.embedding import embedding
from numpy_bert.ops.layer_norm import layer_norm
from numpy_bert.ops.softmax import softmax
from tests.support.pages import SENTENCE

README = (Path(__file__).parent.parent / "numpy_bert" / "ops" / "README.md").read_text("utf-8")


def test_the_epsilon_of_another_model(minilm: Path) -> None:
    model = BertModel.from_pretrained(minilm, dtype="float64")
    ids = BertTokenizer.from_pretrained(minilm)(SENTENCE, return_tensors="np")["input_ids"]
    steps, norm = model.embeddings.steps(ids), model.parameters.embeddings.LayerNorm
    wrong = layer_norm(steps.sum, norm.weight, norm.bias, eps=1e-5).output
    off = np.abs(wrong - steps.output).max()
    assert f"{off:.1e}" == "2.7e-03"
    assert "2.7e-3" in README
    cosines = (wrong * steps.output).sum(-1) / np.linalg.norm(wrong, axis=-1)
    assert (cosines / np.linalg.norm(steps.output, axis=-1)).min() > 0.999999


def test_bessels_variance() -> None:
    factor = 1 - np.sqrt(767 / 768)
    assert factor == pytest.approx(1 / (2 * 768), rel=1e-3)
    assert f"{factor:.1e}" == "6.5e-04"
    assert "6.5e-4 at H 768" in README


def test_the_variance_in_one_pass() -> None:
    errors, ours = [], []
    one, zero = np.ones(768, np.float32), np.zeros(768, np.float32)
    for seed in range(200):
        row = np.float32(1000) + np.random.default_rng(seed).standard_normal(768).astype("f4")
        true = row.astype("f8").var()
        errors.append(abs(((row * row).mean() - row.mean() ** 2) / true - 1))
        ours.append(abs(layer_norm(row, one, zero, eps=1e-12).variance[0] / true - 1))
    assert 0.2 < max(errors) < 0.3  # the sum's order, and so its rounding, is the processor's
    assert "up to 26 %" in README
    assert max(ours) < 1e-12


def test_the_two_forms_of_gelu() -> None:
    x = np.linspace(-6, 6, 200_001)
    assert f"{np.abs(gelu(x) - gelu_tanh(x)).max():.1e}" == "4.7e-04"
    assert "up to 4.7e-4" in README


def test_a_row_in_which_all_is_masked() -> None:
    with np.errstate(invalid="ignore"):
        assert np.isnan(np.exp(np.full(3, -np.inf) - -np.inf)).all()
    x = np.ones((1, 1, 3, 4), np.float32)
    scores = attention_scores(x, x, np.zeros((1, 3), np.bool_), scale=0.5)
    assert np.array_equal(softmax(scores), np.full((1, 1, 3, 3), np.float32(1 / 3)))


def test_negative_ids() -> None:
    table = np.arange(6.0).reshape(3, 2)
    assert np.array_equal(table[-1], table[2])  # NumPy
    with pytest.raises(InputError, match="-1"):
        BertModel.from_pretrained("demo").embeddings([[-1]])
    with pytest.raises(InputError, match="-1"):
        embedding(np.array([[-1]]), table)


def test_dropouts_scale() -> None:
    x = np.ones(8)
    assert dropout(x, 0.5).output is x
    assert set(dropout(x, 0.5, keep=np.arange(8) % 2 == 0).output) == {0.0, 2.0}
