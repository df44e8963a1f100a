"""numpy_bert.ops.linear against sums that are rounded once."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from numpy_bert.arrays import Array
from numpy_bert.errors import InputError
from numpy_bert.ops.linear import linear
from tests.support.arrays import sample
from tests.tolerances import product_budget

T, H, INNER = 7, 24, 37
ZEROS = np.zeros(INNER, np.float32)


def exact(row: Array, weight: Array, bias: Array) -> list[float]:
    """Return one row of the product; each of its sums is rounded once."""
    return [
        math.fsum([*(float(a) * float(b) for a, b in zip(row, line, strict=True)), float(shift)])
        for line, shift in zip(weight, bias, strict=True)
    ]


@pytest.mark.parametrize("lead", [(), (3,), (3, 7), (2, 3, 7)])
def test_it_is_the_product_and_the_bias(lead: tuple[int, ...], dtype: str) -> None:
    x, weight = sample((*lead, H), dtype), sample((INNER, H), dtype, seed=1)
    bias = sample((INNER,), dtype, seed=2)
    output = linear(x, weight, bias)
    assert output.shape == (*lead, INNER)
    assert output.dtype == dtype
    for index in np.ndindex(*lead):
        expected = exact(x[index], weight, bias)
        assert np.abs(output[index] - expected).max() <= product_budget(H, dtype)


def test_float32_is_rounded_once() -> None:
    x, weight, bias = sample((T, 384), "float32"), sample((INNER, 384), "float32"), ZEROS
    wide = x.astype(np.float64) @ weight.astype(np.float64).T
    assert linear(x, weight, bias).tobytes() == wide.astype(np.float32).tobytes()


def test_the_weight_is_stored_out_by_in() -> None:
    weight = np.arange(6.0).reshape(2, 3)
    assert linear(np.array([1.0, 10.0, 100.0]), weight, np.zeros(2)).tolist() == [210.0, 543.0]


@pytest.mark.parametrize("shape", [(0, 7, H), (3, 0, H), (0, H)])
def test_no_rows_are_defined(shape: tuple[int, ...], dtype: str) -> None:
    output = linear(np.zeros(shape, dtype), np.ones((INNER, H), dtype), np.ones(INNER, dtype))
    assert output.shape == (*shape[:-1], INNER)
    assert output.dtype == dtype


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_that_is_not_finite_changes_no_other(bad: float, dtype: str) -> None:
    x = np.array(sample((3, 7, H), dtype))
    weight, bias = sample((INNER, H), dtype, seed=1), sample((INNER,), dtype, seed=2)
    clean = linear(x, weight, bias)
    x[1, 3, 5] = bad
    output = linear(x, weight, bias)
    others = np.ones((3, 7), bool)
    others[1, 3] = False
    assert output[others].tobytes() == clean[others].tobytes()
    assert not np.isfinite(output[1, 3]).any()


WEIGHT = "linear: weight must be float64 of shape (out, 24), as the last axis of x; got {}."
BIAS = "linear: bias must be float64 of shape (37,), a value for each row of weight; got {}."


@pytest.mark.parametrize(
    ("weight", "bias", "message"),
    [
        (np.ones((H, INNER)), np.ones(H), WEIGHT.format("float64 of shape (24, 37)")),
        (np.ones(H), np.ones(1), WEIGHT.format("float64 of shape (24,)")),
        (np.ones((2, INNER, H)), np.ones(INNER), WEIGHT.format("float64 of shape (2, 37, 24)")),
        (
            np.ones((INNER, H), np.float32),
            np.ones(INNER),
            WEIGHT.format("float32 of shape (37, 24)"),
        ),
        (np.ones((INNER, H)), np.ones(H), BIAS.format("float64 of shape (24,)")),
        (np.ones((INNER, H)), np.ones((INNER, 1)), BIAS.format("float64 of shape (37, 1)")),
        (np.ones((INNER, H)), np.ones(INNER, np.float32), BIAS.format("float32 of shape (37,)")),
    ],
)
def test_what_does_not_fit_is_named(weight: Array, bias: Array, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        linear(np.ones((3, 7, H)), weight, bias)


def test_a_number_has_no_last_axis() -> None:
    with pytest.raises(InputError, match=r"weight must be float64 of shape \(out, \.\.\.\), "):
        linear(np.array(1.0), np.ones((INNER, H)), np.ones(INNER))
