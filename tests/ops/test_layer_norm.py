"""numpy_bert.ops.layer_norm against its definition in exact rational arithmetic and float64."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from numpy_bert.arrays import Array
from numpy_bert.errors import InputError
from numpy_bert.ops.layer_norm import layer_norm
from tests.tolerances import float32_budget

EPS = 1e-12


def exact(row: Array, eps: float = EPS) -> Array:
    """Normalize one row with rational mean and variance; only the root is rounded."""
    values = [Fraction(float(x)) for x in row]
    mean = sum(values, Fraction(0)) / len(values)
    variance = sum(((v - mean) ** 2 for v in values), Fraction(0)) / len(values)
    root = np.sqrt(float(variance + Fraction(eps)))
    return np.array([float(v - mean) / root for v in values])


def unit(size: int, dtype: str) -> tuple[Array, Array]:
    return np.ones(size, dtype), np.zeros(size, dtype)


def test_the_steps_follow_the_definition(dtype: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 7, 24)).astype(dtype)
    weight, bias = rng.normal(size=24).astype(dtype), rng.normal(size=24).astype(dtype)
    x.flags.writeable = weight.flags.writeable = bias.flags.writeable = False
    steps = layer_norm(x, weight, bias, eps=1e-3)
    wide = x.astype(np.float64)
    mean, variance = wide.mean(-1, keepdims=True), wide.var(-1, keepdims=True)
    np.testing.assert_allclose(steps.mean, mean, rtol=0, atol=1e-15)
    np.testing.assert_allclose(steps.variance, variance, rtol=1e-14)
    np.testing.assert_allclose(steps.rstd, 1 / np.sqrt(variance + 1e-3), rtol=1e-14)
    rtol, atol = (3e-7, 3e-7) if dtype == "float32" else (0.0, 1e-14)
    normalized = (wide - mean) * steps.rstd
    np.testing.assert_allclose(steps.normalized, normalized, rtol=rtol, atol=atol)
    np.testing.assert_allclose(steps.output, normalized * weight + bias, rtol=rtol, atol=atol)
    assert steps.mean.dtype == steps.variance.dtype == steps.rstd.dtype == np.float64
    assert steps.normalized.dtype == steps.output.dtype == dtype
    assert steps.mean.shape == (3, 7, 1)


@pytest.mark.parametrize("size", [1, 2, 7, 24, 768])
@pytest.mark.parametrize("value", [0.0, 3.3, -1e6, 1e-30, 0.1, 1e15])
def test_a_constant_row_gives_exactly_the_bias(value: float, size: int, dtype: str) -> None:  # G1
    x = np.full((2, size), value, dtype)
    bias = np.linspace(-1, 1, size).astype(dtype)
    output = layer_norm(x, np.full(size, 2.0, dtype), bias, eps=EPS).output
    assert np.array_equal(output, np.broadcast_to(bias, output.shape))


# Errors of the usual float32 two-pass computation at the same rows (../shared/bad_inputs.md).
TWO_PASS = {0: 5.5e-7, 10: 1.2e-6, 1e2: 1.0e-5, 1e3: 9.6e-5, 1e4: 1.0e-3, 1e6: 7.7e-2}


@pytest.mark.parametrize("mean", TWO_PASS)
def test_a_large_mean_loses_nothing(mean: float) -> None:
    x = (np.random.default_rng(1).normal(size=(3, 768)) + mean).astype(np.float32)
    output = layer_norm(x, *unit(768, "float32"), eps=EPS).output
    reference = np.stack([exact(row) for row in x])
    error = float(np.abs(output - reference).max())
    assert error <= float32_budget(reference)
    assert error < TWO_PASS[mean]


@pytest.mark.parametrize("mean", [0.0, 1e3, 1e6])
def test_float64_agrees_with_rational_arithmetic(mean: float) -> None:
    x = np.random.default_rng(2).normal(size=(2, 384)) + mean
    output = layer_norm(x, *unit(384, "float64"), eps=EPS).output
    assert np.abs(output - np.stack([exact(row) for row in x])).max() < 1e-13 * max(1.0, mean)


def test_one_spike_stays_finite() -> None:
    x = np.ones((1, 768), np.float32)
    x[0, 3] = 1e30
    output = layer_norm(x, *unit(768, "float32"), eps=EPS).output
    assert np.isfinite(output).all()
    np.testing.assert_allclose(output[0, 3], np.sqrt(767), rtol=1e-6)


def test_eps_stands_inside_the_root() -> None:
    x = np.array([[1e-6, -1e-6]])
    output = layer_norm(x, *unit(2, "float64"), eps=1e-12).output
    np.testing.assert_allclose(output, [[np.sqrt(0.5), -np.sqrt(0.5)]], rtol=1e-12)


@pytest.mark.parametrize(
    ("weight", "bias", "message"),
    [
        (
            np.ones(3),
            np.zeros(4),
            r"layer_norm: weight must be float64 of .*; got float64 of shape \(3,\)",
        ),
        (
            np.ones(4),
            np.zeros((1, 4)),
            r"layer_norm: bias must be .*; got float64 of shape \(1, 4\)",
        ),
        (
            np.ones(4, np.float32),
            np.zeros(4),
            "layer_norm: weight must be float64 .*; got float32 of shape",
        ),
    ],
)
def test_parameters_of_another_shape_or_dtype_are_refused(
    weight: Array, bias: Array, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        layer_norm(np.ones((2, 4)), weight, bias, eps=EPS)
