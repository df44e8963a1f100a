"""numpy_bert.ops.softmax against its definition, and at the ends of the number range."""

from __future__ import annotations

import math

import numpy as np
import pytest

from numpy_bert.ops.softmax import softmax
from tests.support.arrays import sample
from tests.tolerances import product_budget


@pytest.mark.parametrize("shape", [(7,), (3, 7), (3, 4, 7, 5), (3, 1)])
def test_it_is_its_definition(shape: tuple[int, ...], dtype: str) -> None:
    x = sample(shape, dtype, scale=3.0)
    output = softmax(x)
    assert output.shape == shape
    assert output.dtype == dtype
    for index in np.ndindex(*shape[:-1]):
        powers = [math.exp(float(score)) for score in x[index]]
        expected = np.array(powers) / math.fsum(powers)
        assert np.abs(output[index] - expected).max() <= product_budget(shape[-1], dtype)


def test_a_shift_changes_nothing_and_nothing_overflows(dtype: str) -> None:
    # Whole numbers, which a shift by a power of two leaves exact.
    x = np.array([[1.0, 4.0, -3.0], [0.0, 0.0, 2.0]], dtype)
    for shift in (2.0**16, -(2.0**16)):
        assert softmax(x + np.dtype(dtype).type(shift)).tobytes() == softmax(x).tobytes()


def test_the_ends_of_the_range(dtype: str) -> None:
    largest = float(np.finfo(dtype).max)
    x = np.array([[largest, 0.0, -largest], [-largest, -largest, -largest]], dtype)
    with np.errstate(all="ignore"):
        output = softmax(x)
    assert output[0].tolist() == [1.0, 0.0, 0.0]
    assert np.abs(output[1] - 1 / 3).max() <= product_budget(3, dtype)


def test_minus_infinity_has_no_weight(dtype: str) -> None:
    with np.errstate(all="raise"):
        output = softmax(np.array([0.0, -np.inf, 0.0], dtype))
    assert output.tolist() == [0.5, 0.0, 0.5]


@pytest.mark.parametrize("bad", [[np.inf, 0.0], [-np.inf, -np.inf], [np.nan, 0.0]])  # G4
def test_an_overflow_is_shown_in_its_own_row_alone(bad: list[float], dtype: str) -> None:
    x = np.array([[1.0, 2.0], bad, [3.0, 1.0]], dtype)
    with np.errstate(all="ignore"):
        output = softmax(x)
    assert np.isnan(output[1]).any()
    assert output[[0, 2]].tobytes() == softmax(x[[0, 2]]).tobytes()


@pytest.mark.parametrize("shape", [(0, 7), (3, 4, 0, 7)])
def test_no_rows_are_defined(shape: tuple[int, ...], dtype: str) -> None:
    output = softmax(np.zeros(shape, dtype))
    assert output.shape == shape
    assert output.dtype == dtype
