"""numpy_bert.ops.dropout: the mask, the scale, the expectation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numpy_bert.errors import InputError
from numpy_bert.ops.dropout import draw_keep, dropout, dropout_backward


def sample(dtype: str) -> Any:
    x = np.random.default_rng(3).normal(size=(3, 7, 24)).astype(dtype)
    x.flags.writeable = False
    return x


def test_without_a_mask_or_its_source_it_is_the_identity(dtype: str) -> None:
    x = sample(dtype)
    steps = dropout(x, 0.5)
    assert steps.output is x
    assert steps.keep is None


@pytest.mark.parametrize("p", [0.1, 0.25, 0.9, 0.999])
def test_kept_elements_are_scaled_and_the_rest_is_zero(p: float, dtype: str) -> None:
    x = sample(dtype)
    steps = dropout(x, p, rng=np.random.default_rng(4))
    assert steps.keep is not None
    assert steps.output.dtype == dtype
    # The scale as torch rounds it: 1 / (1 - p), both in the dtype of x.
    scale = np.ones((), dtype) / np.asarray(1.0 - p, dtype)
    assert np.array_equal(steps.output, np.where(steps.keep, x * scale, 0))


def test_a_mask_drawn_apart_gives_the_same_bits(dtype: str) -> None:
    x = sample(dtype)
    keep = draw_keep(x.shape, 0.3, np.random.default_rng(5))
    drawn = dropout(x, 0.3, rng=np.random.default_rng(5))
    given = dropout(x, 0.3, keep=keep)
    assert drawn.output.tobytes() == given.output.tobytes()
    assert not keep.all()


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_fraction_and_expectation_over_many_draws(p: float) -> None:
    draws, size = 400, 2500
    rng = np.random.default_rng(6)
    x = np.full(size, 3.0)
    kept = np.empty(draws)
    means = np.empty(draws)
    for draw in range(draws):
        steps = dropout(x, p, rng=rng)
        assert steps.keep is not None
        kept[draw], means[draw] = steps.keep.mean(), steps.output.mean()
    # Five standard errors of a proportion over a million elements.
    error = 5 * np.sqrt(p * (1 - p) / (draws * size))
    assert abs(kept.mean() - (1 - p)) < error
    assert abs(means.mean() - 3.0) < 3.0 * error / (1 - p)
    # Successive draws differ: the generator moves on.
    assert len(np.unique(kept)) > draws // 10


def test_p_of_zero_keeps_everything_and_draws_nothing(dtype: str) -> None:
    assert draw_keep((1000,), 0.0, np.random.default_rng(0)).all()
    x, rng, untouched = sample(dtype), np.random.default_rng(0), np.random.default_rng(0)
    steps = dropout(x, 0.0, rng=rng)
    assert steps.output is x
    assert steps.keep is None
    assert rng.random() == untouched.random()
    with pytest.raises(InputError, match="rng must be a numpy"):
        dropout(x, 0.0, rng=5)  # type: ignore[arg-type]


def test_p_of_one_drops_everything(dtype: str) -> None:
    x = sample(dtype)
    steps = dropout(x, 1.0, rng=np.random.default_rng(0))
    assert steps.keep is not None
    assert not steps.keep.any()
    # As torch: zeros with the signs of x, and a gradient of zeros.
    assert steps.output.tobytes() == (x * np.dtype(dtype).type(0)).tobytes()
    assert not dropout_backward(x, steps.keep, 1.0).any()
    assert not dropout(x, 1.0, keep=np.ones(x.shape, bool)).output.any()


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan"), float("inf")])
def test_a_p_that_is_no_probability_is_refused(p: float) -> None:  # G5
    with pytest.raises(InputError, match="dropout: p must be a probability from 0 to 1; got"):
        dropout(np.ones(3), p)
    with pytest.raises(InputError, match="a probability"):
        draw_keep((3,), p, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep": [True, False]}, r"keep must be bool of shape \(3,\); got bool of shape \(2,\)"),
        ({"keep": [1, 0, 1]}, "keep must be bool .*; got int64 of shape"),
        ({"keep": [1.0, 0.0, 1.0]}, "keep must be bool .*; got float64"),
        ({"rng": 5}, "rng must be a numpy.random.Generator; got int"),
        ({"rng": np.random.RandomState(0)}, "rng must be .*; got RandomState"),
        ({"rng": np.random.default_rng(0), "keep": [True] * 3}, "both rng and keep"),
    ],
)
def test_other_masks_and_sources_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        dropout(np.ones(3), 0.5, **arguments)
