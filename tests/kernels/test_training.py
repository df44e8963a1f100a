"""The training kernels against the readable code, over what can differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from numpy_bert import get_num_threads, set_num_threads
from numpy_bert.blocks.encoder import encoder, encoder_backward
from numpy_bert.config import BertConfig
from numpy_bert.kernels.activation import KNOWN, PLAIN
from numpy_bert.kernels.training import EncoderTraining
from numpy_bert.parameters import BertEncoderParameters, EmbeddingParameters, arrays_of, build
from tests.support.checkpoints import TINY
from tests.tolerances import TRAINING_KERNEL

CONFIG = BertConfig.from_dict(
    {**TINY, "hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3}
)
MASK = np.array(
    [[1, 1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 0, 1], [1, 1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0]],
    np.bool_,
)


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = get_num_threads()
    set_num_threads(request.param)
    yield request.param
    set_num_threads(before)


# What the encoder reads of a config, with another rate of dropout in each place.
RATES: Any = SimpleNamespace(
    **{name: getattr(CONFIG, name) for name in ("num_attention_heads", "activation")},
    layer_norm_eps=CONFIG.layer_norm_eps,
    attention_probs_dropout_prob=0.3,
    attention_output_dropout_prob=0.1,
    hidden_dropout_prob=0.2,
)


def weights(dtype: str, seed: int = 0, *, biased: bool = False) -> BertEncoderParameters:
    rng = np.random.default_rng(seed)

    def get(key: str) -> Any:
        from numpy_bert.parameters import shapes

        shape = shapes(BertEncoderParameters, CONFIG, "encoder.")[key]
        norm = key.endswith("LayerNorm.weight")
        return (norm + rng.normal(0, 0.3, shape)).astype("f4").astype(dtype)

    own = build(BertEncoderParameters, CONFIG, get, "encoder.")
    table = rng.normal(0, 1, (32, 4)).astype("f4").astype(dtype)
    return (
        replace(own, relative_attention_bias=EmbeddingParameters(weight=table)) if biased else own
    )


def relative(found: Any, expected: Any) -> float:
    return float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-3))


@pytest.mark.parametrize("act", sorted(KNOWN - set(PLAIN)))
@pytest.mark.parametrize("drops", [False, True])
@pytest.mark.parametrize("batch", [1, 3, 4])
def test_both_ways_are_the_readable_ones(act: str, drops: bool, batch: int, threads: int) -> None:
    hold(replace(CONFIG, hidden_act=act), drops, batch)


@pytest.mark.parametrize("places", [(), ("attention_output",), ("attention_probs", "hidden")])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("batch", [3, 4])
def test_scores_with_a_bias_and_rates_by_place(
    batch: int, biased: bool, places: tuple[str, ...], threads: int
) -> None:
    off = {f"{name}_dropout_prob": 0.0 for name in places}
    hold(SimpleNamespace(**{**vars(RATES), **off}), True, batch, biased=biased)


def hold(config: Any, drops: bool, batch: int, *, biased: bool = False) -> None:
    """Compare a step of the kernels with the readable code's in float64."""
    rng = np.random.default_rng(1)
    hidden, grad = rng.standard_normal((2, batch, 7, 24)).astype("f4")
    mask = None if batch == 3 else MASK[:batch]
    draws = [np.random.default_rng(4) if drops else None for _ in range(2)]
    training = EncoderTraining(weights("float32", biased=biased), config)
    output = training.forward(hidden, mask, draws[0])
    gradients, back = training.backward(grad)
    exact, wide = weights("float64", biased=biased), hidden.astype("f8")
    steps = encoder(exact, wide, mask, config=config, rng=draws[1])
    expected = encoder_backward(grad.astype("f8"), exact, wide, steps, mask, config=config)
    assert output.dtype == back.dtype == np.float32
    assert relative(output, steps.output) < TRAINING_KERNEL
    assert relative(back, expected.hidden) < TRAINING_KERNEL
    theirs = dict(arrays_of(expected.parameters))
    assert theirs.keys() == dict(arrays_of(gradients)).keys()
    for key, array in arrays_of(gradients):
        assert array.dtype == np.float32
        assert array.shape == theirs[key].shape
        if key.endswith("key.bias"):  # whose true gradient is 0
            assert np.abs(array).max() < 1e-4
        else:
            assert relative(array, theirs[key]) < TRAINING_KERNEL, key
    if drops:  # both have drawn as much
        assert draws[0] is not None
        assert draws[1] is not None
        assert draws[0].random() == draws[1].random()


def test_what_went_in_is_not_changed(threads: int) -> None:
    hidden = np.random.default_rng(1).standard_normal((3, 7, 24)).astype("f4")
    hidden.flags.writeable = False
    grad = np.ones_like(hidden)
    grad.flags.writeable = False
    training = EncoderTraining(weights("float32"), CONFIG)
    first = training.forward(hidden, MASK[:3], np.random.default_rng(0))
    training.backward(grad)
    again = EncoderTraining(weights("float32"), CONFIG)
    assert np.array_equal(again.forward(hidden, MASK[:3], np.random.default_rng(0)), first)


def test_a_row_in_which_all_is_masked_hands_nothing_to_its_scores(threads: int) -> None:
    hidden = np.random.default_rng(1).standard_normal((2, 7, 24)).astype("f4")
    mask = np.array([[False] * 7, [True] * 7])
    training = EncoderTraining(weights("float32"), CONFIG)
    output = training.forward(hidden, mask, None)
    assert np.isfinite(output).all()
    gradients, _ = training.backward(np.ones_like(output))
    exact = weights("float64")
    steps = encoder(exact, hidden.astype("f8"), mask, config=CONFIG)
    ones = np.ones(hidden.shape)
    expected = encoder_backward(ones, exact, hidden.astype("f8"), steps, mask, config=CONFIG)
    for (key, found), (_, theirs) in zip(
        arrays_of(gradients), arrays_of(expected.parameters), strict=True
    ):
        assert np.abs(found - theirs).max() < 1e-4 * max(np.abs(np.asarray(theirs)).max(), 1.0), key


@pytest.mark.parametrize("name", PLAIN)
def test_the_rare_activations_both_ways(name: str) -> None:
    test_both_ways_are_the_readable_ones(name, True, 4, 1)
