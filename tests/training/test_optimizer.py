"""AdamW, clipping and schedule against their definitions; torch's are in tests/parity."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from numpy_bert import InputError, get_num_threads, set_num_threads
from numpy_bert.arrays import Array
from numpy_bert.training.optimizer import (
    AdamW,
    clip_grad_norm,
    global_norm,
    has_decay,
    linear_schedule,
)


def drawn(dtype: str, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (61, 24),
        "encoder.layer.0.output.LayerNorm.weight": (24,),
        "encoder.layer.0.output.dense.bias": (24,),
        "large.weight": (3, 40_000),  # more than one block
    }
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


def test_the_definition_step_by_step(dtype: str) -> None:
    parameters, expected = drawn(dtype), drawn("float64")
    expected = {name: array.astype(dtype).astype("f8") for name, array in expected.items()}
    optimizer = AdamW(parameters, lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.3)
    mean = {name: np.zeros_like(array) for name, array in expected.items()}
    square = {name: np.zeros_like(array) for name, array in expected.items()}
    for step in range(1, 5):
        gradients = drawn(dtype, seed=step)
        optimizer.step(gradients, lr=0.01 * step)
        for name in expected:
            g, lr = gradients[name].astype("f8"), 0.01 * step
            expected[name] *= 1 - lr * (0.3 if has_decay(name) else 0.0)
            mean[name] = 0.8 * mean[name] + 0.2 * g
            square[name] = 0.95 * square[name] + 0.05 * g * g
            root = np.sqrt(square[name] / (1 - 0.95**step)) + 1e-6
            expected[name] -= lr * mean[name] / (1 - 0.8**step) / root
    rtol = 1e-12 if dtype == "float64" else 3e-6
    for name, weight in expected.items():
        np.testing.assert_allclose(parameters[name], weight, rtol=rtol, atol=rtol, err_msg=name)
        assert parameters[name].dtype == dtype
    assert optimizer.steps == 4


def test_what_has_no_gradient_only_decays() -> None:
    weights = {"a.weight": np.full(3, 2.0), "a.bias": np.full(3, 2.0)}
    zero = {name: np.zeros(3) for name in weights}
    optimizer = AdamW(weights, lr=0.1, weight_decay=0.5)
    for _ in range(2):
        optimizer.step(zero)
    assert weights["a.weight"].tolist() == pytest.approx([2.0 * 0.95**2] * 3)
    assert weights["a.bias"].tolist() == [2.0] * 3


def test_gradients_that_do_not_fit_change_nothing() -> None:
    weights = {"a.weight": np.ones(3), "b.weight": np.ones(3)}
    optimizer = AdamW(weights)
    wrong: list[tuple[Any, str]] = [
        ({"a.weight": np.ones(3)}, r"b\.weight must have a parameter and a gradient; got only one"),
        (
            {"a.weight": np.ones(3), "b.weight": np.ones(4)},
            r"of b\.weight must be .*; got float64",
        ),
        ({"a.weight": np.ones(3), "b.weight": np.ones(3, "f4")}, r"got float32 of shape \(3,\)"),
    ]
    for gradients, message in wrong:
        with pytest.raises(InputError, match=message):
            optimizer.step(gradients)
    assert optimizer.steps == 0
    assert all((array == 1.0).all() for array in weights.values())


@pytest.mark.parametrize(
    "options",
    [
        {"lr": -1.0},
        {"lr": math.nan},
        {"eps": -1e-8},
        {"weight_decay": math.inf},
        {"betas": (0.9, 1.0)},
        {"betas": (-0.1, 0.9)},
    ],
)
def test_senseless_settings_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="AdamW"):
        AdamW({"a": np.ones(2)}, **options)


def test_arrays_that_cannot_be_changed_are_refused() -> None:
    fixed = np.ones(2)
    fixed.flags.writeable = False
    for array in (fixed, np.ones((3, 2)).T):
        with pytest.raises(InputError, match="a must be writeable and C-contiguous"):
            AdamW({"a": array})


def test_clipping(dtype: str) -> None:
    gradients = drawn(dtype)
    before = {name: array.copy() for name, array in gradients.items()}
    norm = clip_grad_norm(gradients, 1.5)
    assert norm == pytest.approx(
        math.sqrt(sum(np.square(a.astype("f8")).sum() for a in before.values())), rel=1e-12
    )
    for name, array in gradients.items():
        expected = before[name] * (1.5 / (norm + 1e-6))
        np.testing.assert_allclose(array, expected, rtol=1e-6 if dtype == "float32" else 1e-14)
    assert global_norm(gradients) == pytest.approx(1.5, rel=1e-5)
    kept = {name: array.copy() for name, array in gradients.items()}
    clip_grad_norm(gradients, 2.0)  # short enough
    assert all(np.array_equal(gradients[name], kept[name]) for name in kept)
    for wrong in (0.0, -1.0, math.nan):
        with pytest.raises(InputError, match="max_norm"):
            clip_grad_norm(gradients, wrong)


def test_the_schedule() -> None:
    course = [linear_schedule(step, warmup=3, total=10) for step in range(12)]
    assert course[:4] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert course[3:11] == pytest.approx([(10 - step) / 7 for step in range(3, 11)])
    assert course[11] == 0.0
    assert linear_schedule(0, warmup=0, total=4) == 1.0
    assert linear_schedule(5, warmup=9, total=3) == pytest.approx(5 / 9)


def test_neither_threads_nor_the_order_in_memory_change_a_bit() -> None:
    rng = np.random.default_rng(0)
    shapes = {"word_embeddings.weight": (5000, 300), "dense.weight": (300, 400), "dense.bias": (3,)}
    start = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    pull = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    ended, before = [], get_num_threads()
    for threads, laid_out in ((1, np.copy), (2, np.copy), (3, np.asfortranarray)):
        set_num_threads(threads)
        weights = {name: array.copy() for name, array in start.items()}
        gradients = {name: laid_out(array.copy()) for name, array in pull.items()}
        optimizer = AdamW(weights, lr=0.1)
        norm = clip_grad_norm(gradients, 2.0)
        optimizer.step(gradients)
        ended.append((norm, weights, gradients))
    set_num_threads(before)
    norm = np.sqrt(sum((array**2).sum() for array in pull.values()))
    assert ended[0][0] == pytest.approx(norm, rel=1e-14)
    for name, array in pull.items():
        np.testing.assert_allclose(ended[0][2][name], array * (2.0 / (norm + 1e-6)), rtol=1e-15)
        assert (ended[0][1][name] != start[name]).all()
    for other in ended[1:]:
        assert other[0] == ended[0][0]
        for name in shapes:
            np.testing.assert_array_equal(other[1][name], ended[0][1][name])
            np.testing.assert_array_equal(other[2][name], ended[0][2][name])
