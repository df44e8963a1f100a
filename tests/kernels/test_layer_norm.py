"""numpy_bert.kernels.layer_norm against the readable layer_norm in float64."""

from __future__ import annotations

import numpy as np
import pytest

from numpy_bert.arrays import Array
from numpy_bert.kernels.layer_norm import LayerNormKernel, LayerNormWorkspace, fits
from numpy_bert.ops.layer_norm import layer_norm
from tests.tolerances import FLOAT32_FLOOR

EPS = 1e-12


def affine(features: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(features)
    weight = rng.normal(0.9, 0.1, features).astype(np.float32)
    return weight, rng.normal(0.0, 0.1, features).astype(np.float32)


@np.errstate(all="ignore")
def normalized(x: Array, *, eps: float = EPS) -> Array:
    """Run the kernel on a copy."""
    weight, bias = affine(x.shape[1])
    out = x.copy()
    kernel = LayerNormKernel(weight, bias, eps=eps)
    finite = kernel(out, LayerNormWorkspace(len(x), x.shape[1]))
    assert finite is bool(np.isfinite(out).all())
    return out


@np.errstate(all="ignore")
def specified(x: Array, dtype: str, *, eps: float = EPS) -> Array:
    """Run the specification in float64, or the readable code in float32."""
    weight, bias = (a.astype(dtype) for a in affine(x.shape[1]))
    return layer_norm(x.astype(dtype), weight, bias, eps=eps).output


@pytest.mark.parametrize("features", [2, 3, 24, 37, 384, 768, 1024])
@pytest.mark.parametrize("mean", [0.0, 0.3, 0.9, 3.0, 1e2, 1e4, 1e6])
@pytest.mark.parametrize("eps", [1e-12, 1e-5])
def test_the_error_stays_within_the_budget(features: int, mean: float, eps: float) -> None:
    x = np.random.default_rng(1).normal(mean, 1.0, (129, features)).astype(np.float32)
    reference = specified(x, "float64", eps=eps)
    error = np.abs(normalized(x, eps=eps) - reference).max()
    assert error <= max(FLOAT32_FLOOR, 2 * np.finfo(np.float32).eps * np.abs(reference).max())


@pytest.mark.parametrize("features", [1, 2, 5, 24, 384, 768])
def test_a_row_is_the_same_in_every_block_to_the_bit(features: int) -> None:
    rng = np.random.default_rng(features)
    x = rng.normal(0.2, 1.0, (131, features)).astype(np.float32)
    x[7::13] += 5.0  # some that go through float64
    whole = normalized(x)
    for step in (1, 2, 3, 4, 5, 8, 31, 64, 130):
        parts = [normalized(x[start : start + step]) for start in range(0, len(x), step)]
        assert np.concatenate(parts).tobytes() == whole.tobytes(), step
    order = rng.permutation(len(x))
    assert normalized(x[order]).tobytes() == whole[order].tobytes()


@pytest.mark.parametrize("features", [1, 2, 24, 768])
def test_a_constant_row_is_exactly_the_bias(features: int) -> None:
    x = np.random.default_rng(0).normal(0.0, 1.0, (9, features)).astype(np.float32)
    constants = np.array([0.0, 1.0, -0.1, 3e-20, 1e6, -1e30], np.float32)
    x[1:7] = constants[:, np.newaxis]
    assert (normalized(x)[1:7] == affine(features)[1]).all()


@pytest.mark.parametrize("value", [1e-25, 1e-15, 1e17, 1e19, 1e25, 1e35])
def test_rows_of_any_magnitude_are_those_of_the_readable_code(value: float) -> None:
    x = np.random.default_rng(0).normal(0.0, 1.0, (5, 24)).astype(np.float32)
    x[2] *= np.float32(value)
    found, expected = normalized(x), specified(x, "float32")
    assert np.abs(found - expected).max() <= FLOAT32_FLOOR


def test_rows_far_from_zero_are_the_readable_ones_to_the_bit() -> None:
    x = np.random.default_rng(0).normal(50.0, 1.0, (11, 24)).astype(np.float32)
    assert normalized(x).tobytes() == specified(x, "float32").tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_reported_and_changes_no_other(bad: float) -> None:
    x = np.random.default_rng(0).normal(0.0, 1.0, (9, 24)).astype(np.float32)
    clean = normalized(x)
    x[4, 3] = bad
    found = normalized(x)
    assert np.isnan(found[4]).all()
    others = np.arange(9) != 4
    assert found[others].tobytes() == clean[others].tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e16])
def test_weights_that_could_overflow_are_left_to_the_readable_code(value: float) -> None:
    weight, bias = affine(24)
    assert fits(weight, bias)
    for index in range(2):
        changed = [weight.copy(), bias.copy()]
        changed[index][5] = value
        assert not fits(*changed)
    assert not fits(weight.astype(np.float64), bias.astype(np.float64))


def test_a_workspace_serves_any_number_of_sizes() -> None:
    weight, bias = affine(24)
    kernel, workspace = LayerNormKernel(weight, bias, eps=EPS), LayerNormWorkspace(40, 24)
    x = np.random.default_rng(0).normal(0.0, 1.0, (40, 24)).astype(np.float32)
    whole = normalized(x)
    for n in [*range(1, 41), *range(40, 0, -1)]:
        rows = x[:n].copy()
        assert kernel(rows, workspace)
        assert rows.tobytes() == whole[:n].tobytes()
