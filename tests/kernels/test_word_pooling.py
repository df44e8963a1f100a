"""Words' scores, pooled in float32 some words at a time, against the readable code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from numpy_bert.blocks.heads import lm_prediction
from numpy_bert.config import BertConfig
from numpy_bert.kernels import word_pooling as kernel
from numpy_bert.kernels.choices import Cut
from numpy_bert.kernels.threads import get_num_threads, set_num_threads
from numpy_bert.kernels.tuning import tuning
from numpy_bert.kernels.word_pooling import WordPoolingKernel, fits
from numpy_bert.ops.word_pooling import saturated
from numpy_bert.parameters import BertLMPredictionHeadParameters, build, shapes

Floats = npt.NDArray[np.floating[Any]]
SIZES: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 600,
    "type_vocab_size": 2,
}
LENGTHS = [[1], [7, 7, 3], [3, 3, 3], [9, 1, 9, 2], [300, 2], [2] * 40]


def parameters(config: BertConfig) -> tuple[BertLMPredictionHeadParameters, Floats]:
    """Return a random head and a decoder, read-only."""
    rng = np.random.default_rng(0)
    table = shapes(BertLMPredictionHeadParameters, config, "")

    def random(shape: tuple[int, ...]) -> Floats:
        array = rng.standard_normal(shape).astype(np.float32)
        array.flags.writeable = False
        return array

    head = build(BertLMPredictionHeadParameters, config, lambda key: random(table[key]), "")
    return replace(head, decoder=None), random((config.vocab_size, config.hidden_size))


def both(
    words: int, lengths: list[int], activation: str = "gelu", strategy: str = "max"
) -> tuple[Floats, Floats]:
    """Return what the kernel makes of random states, and the readable code in float64."""
    # Such an epsilon that the LayerNorm shows by what factor its rows are too large.
    config = BertConfig(vocab_size=words, hidden_act=activation, layer_norm_eps=0.5, **SIZES)
    head, decoder = parameters(config)
    hidden = np.random.default_rng(1).standard_normal((sum(lengths), 24)).astype(np.float32)
    hidden.flags.writeable = False
    assert fits(head, decoder, config.activation)
    made = WordPoolingKernel(head, decoder, activation=config.activation, eps=config.layer_norm_eps)
    given = np.array(lengths)
    if strategy == "max":
        found, finite = made.largest(hidden, given)
    else:
        found, finite = made.total(hidden, given, lambda x: saturated(x, out=x))
    assert finite
    scores = lm_prediction(head, decoder, hidden, config=config).output
    parts = np.split(scores.astype(np.float64), np.cumsum(lengths)[:-1])
    if strategy == "max":
        return found, np.array([part.max(axis=0) for part in parts])
    return found, np.array([saturated(part).sum(axis=0) for part in parts])


@pytest.mark.parametrize("words", [1, 61, 1021])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("strategy", ["max", "sum"])
def test_it_is_the_readable_code(words: int, lengths: list[int], strategy: str) -> None:
    found, expected = both(words, lengths, strategy=strategy)
    assert found.dtype == np.float32
    limit = 3e-6 * float(np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu_new", "silu", "gelu_10", "mish"])
def test_activations(activation: str) -> None:
    found, expected = both(61, [5, 5, 2], activation)
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-6 * float(np.abs(expected).max()))


def test_neither_threads_nor_neighbours_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    before = get_num_threads()
    monkeypatch.setattr(kernel, "_LEAST_TERMS", 1)
    try:
        found = []
        for threads in (1, 2, 3):
            set_num_threads(threads)
            found.append(both(5000, [7, 7, 3])[0])
    finally:
        set_num_threads(before)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_pieces_are_small_products() -> None:
    found = [kernel._piece(rows, 768) for rows in (1, 4, 8, 9, 16, 32, 33, 2048)]
    assert found == [1024, 256, 128, 64, 64, 32, 0, 0]
    assert kernel._piece(32, 1024) == 0


@pytest.mark.parametrize("words", [31, 500, 5000])
@pytest.mark.parametrize("lengths", [[1], [3, 3, 2], [30], [300]], ids=str)
def test_products_may_be_cut(
    monkeypatch: pytest.MonkeyPatch, words: int, lengths: list[int]
) -> None:
    found = []
    for cuts in ((), (Cut(768, 8, 8, 64),)):
        monkeypatch.setattr(kernel, "tuning", lambda cuts=cuts: replace(tuning(), cuts=cuts))
        scores, expected = both(words, lengths)
        np.testing.assert_allclose(scores, expected, atol=3e-6 * np.abs(expected).max())
        found.append(scores)
    assert found[0].shape == found[1].shape


def test_what_is_not_finite_is_told() -> None:
    config = BertConfig(vocab_size=61, **SIZES)
    head, decoder = parameters(config)
    hidden = np.ones((5, 24), np.float32)
    for value in (np.nan, np.inf, -np.inf):
        broken = decoder.copy()
        broken[60, 3] = value
        made = WordPoolingKernel(head, broken, activation="gelu", eps=1e-12)
        assert not made.largest(hidden, np.array([3, 2]))[1]
        assert not made.total(hidden, np.array([3, 2]), lambda x: saturated(x, out=x))[1] or (
            value == -np.inf  # which a ReLU makes 0, as it does in torch
        )


def test_what_it_cannot_do_is_left_to_the_readable_code() -> None:
    head, decoder = parameters(BertConfig(vocab_size=61, **SIZES))
    assert not fits(head, decoder.astype(np.float64), "gelu")
    assert not fits(head, decoder, "an unknown one")


def test_no_texts() -> None:
    head, decoder = parameters(BertConfig(vocab_size=61, **SIZES))
    made = WordPoolingKernel(head, decoder, activation="gelu", eps=1e-12)
    found, finite = made.largest(np.empty((0, 24), np.float32), np.empty(0, int))
    assert finite
    assert found.shape == (0, 61)
