"""The kernels' activations against the readable ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from numpy_bert.kernels.activation import KNOWN, PLAIN, ActivationKernel, activate
from numpy_bert.kernels.choices import ACTIVATION_FORMS, block_rows
from numpy_bert.ops.activation import ACTIVATIONS
from tests.tolerances import FAST_GELU, FAST_SILU

BUDGETS = {"silu": FAST_SILU, "quick_gelu": FAST_SILU}
Floats = npt.NDArray[np.floating[Any]]
forms = pytest.mark.parametrize("form", ACTIVATION_FORMS)


def allowed(name: str, exact: Floats) -> Floats:
    """Return the budget of each element; of what is large it is a few roundings."""
    rounding = 4.0 * float(np.finfo(np.float32).eps) * np.abs(exact)
    return np.maximum(BUDGETS.get(name, FAST_GELU), rounding if name in PLAIN else 0.0)


def apply(name: str, form: str, x: Floats, bias: Floats, rows: int) -> Floats:
    kernel = ActivationKernel(name, form)
    out = x.copy()
    tiled = np.tile(bias, (rows, 1))
    with np.errstate(all="ignore"):  # as the encoder has it: far out exp overflows
        kernel(out, tiled, np.full((2, tiled.size), np.nan, np.float32))
    return out * np.float32(kernel.factor)


@forms
@pytest.mark.parametrize("name", sorted(KNOWN))
def test_it_is_the_readable_one_within_its_budget(name: str, form: str) -> None:
    x = np.linspace(-12.0, 12.0, 300_001, dtype=np.float32).reshape(-1, 1)
    exact = ACTIVATIONS[name].forward(x.astype(np.float64))
    found = apply(name, form, x, np.zeros(1, np.float32), 1000)
    assert (np.abs(found - exact) <= allowed(name, exact)).all()
    # A budget that every activation met would say nothing.
    assert np.abs(found - ACTIVATIONS["relu" if name != "relu" else "gelu"].forward(x)).max() > 0.01


@forms
def test_the_exact_gelu_is_not_its_tanh_form(form: str) -> None:
    x = np.linspace(-4.0, 4.0, 1001, dtype=np.float32).reshape(-1, 1)
    zero = np.zeros(1, np.float32)
    apart = np.abs(apply("gelu", form, x, zero, 7) - apply("gelu_new", form, x, zero, 7)).max()
    assert 4.6e-4 < apart < 4.8e-4


@forms
@pytest.mark.parametrize("name", sorted(KNOWN))
@pytest.mark.parametrize("rows", [1, 3, 7, 8])
def test_blocks_and_remainders_add_the_bias_of_their_column(
    name: str, form: str, rows: int
) -> None:
    rng = np.random.default_rng(rows)
    x = rng.standard_normal((7, 37)).astype(np.float32)
    bias = rng.standard_normal(37).astype(np.float32)
    exact = ACTIVATIONS[name].forward(x.astype(np.float64) + bias)
    found = apply(name, form, x, bias, rows)
    assert found.dtype == np.float32
    assert (np.abs(found - exact) <= allowed(name, exact)).all()
    np.testing.assert_array_equal(found, apply(name, form, x, bias, 1))


@forms
@pytest.mark.parametrize("name", sorted(KNOWN))
def test_huge_values_come_out_as_they_should(name: str, form: str) -> None:
    x = np.array([[-1e30, -1e6, -50.0, 0.0, 50.0, 1e6, 1e30]], np.float32)
    with np.errstate(all="ignore"):
        found = apply(name, form, x, np.zeros(7, np.float32), 1)
        exact = ACTIVATIONS[name].forward(x.astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(found, exact, rtol=1e-6, atol=BUDGETS.get(name, FAST_GELU))


@forms
@pytest.mark.parametrize("name", sorted(KNOWN))
def test_a_nan_stays_where_it_is(name: str, form: str) -> None:
    x = np.array([[1.0, np.nan, 1.0]], np.float32)
    found = apply(name, form, x, np.zeros(3, np.float32), 1)
    assert np.isnan(found).tolist() == [[False, True, False]]


def test_a_block_has_at_least_a_row() -> None:
    assert block_rows(1 << 24, 192 << 10) == 1
    assert block_rows(1536, 192 << 10) == 32


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_slopes_far_out(name: str) -> None:
    x = np.array([-1e5, -200.0, 0.0, 200.0, 1e5], "f4")
    with np.errstate(all="ignore"):
        _, slope = activate(name, x.copy())
        expected = ACTIVATIONS[name].backward(np.ones(5), x.astype("f8"))
    np.testing.assert_allclose(slope, expected, rtol=5e-7, atol=2e-6)


@pytest.mark.parametrize("name", sorted(KNOWN))
@pytest.mark.parametrize("size", [1, 7, 70_000])
def test_slopes(name: str, size: int) -> None:
    x = np.random.default_rng(0).normal(0, 3, size).astype("f4")
    wide = x.astype("f8")
    value, slope = activate(name, x.copy())
    np.testing.assert_allclose(value, ACTIVATIONS[name].forward(wide), rtol=5e-7, atol=2e-6)
    expected = ACTIVATIONS[name].backward(np.ones(size), wide)
    np.testing.assert_allclose(slope, expected, rtol=5e-7, atol=2e-6)


def test_there_is_a_readable_one_of_each() -> None:
    assert set(ACTIVATIONS) >= KNOWN >= {"gelu", "gelu_new", "relu", "silu", "tanh"}
