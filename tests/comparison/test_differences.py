"""Distances of arrays, against their definitions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from numpy_bert.comparison.differences import (
    EPSILONS,
    comparable,
    cosine_distance,
    counted,
    difference,
    effective_dtype,
    nmse,
)

ALL = np.ones((), np.bool_)
MASK = np.array([[True, True, False], [False, True, True]])


def test_every_measure_against_its_definition() -> None:
    rng = np.random.default_rng(0)
    b = rng.normal(size=(3, 4, 5))
    a = b + rng.normal(size=b.shape) * 1e-3
    found = difference(a, b, ALL, "float32")
    worst = np.unravel_index(np.abs(a - b).argmax(), b.shape)
    assert found.worst == tuple(int(i) for i in worst)
    assert (found.value, found.expected) == (a[worst], b[worst])
    assert found.max_abs == np.abs(a - b).max()
    assert math.isclose(found.max_rel, (np.abs(a - b) / np.abs(b)).max())
    assert math.isclose(nmse(a, b), ((a - b) ** 2).sum() / (b**2).sum())
    cosine = (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)
    assert math.isclose(cosine_distance(a.ravel(), b.ravel()), 1 - cosine, rel_tol=1e-6)
    assert found.largest == np.abs(b).max()
    assert found.faults == 0


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("value", [1.0, -1.5, 3.9e-3, 1e4, 0.0])
def test_an_ulp_is_the_spacing_of_the_dtype(dtype: str, value: float) -> None:
    number = np.array([value], dtype)
    next_one = np.nextafter(number, number.dtype.type(np.inf))
    found = difference(next_one, number, ALL, dtype)
    expected = abs(float(next_one[0]) - float(number[0])) / float(np.spacing(np.abs(number))[0])
    # A power of two has a nearer neighbour on the one side.
    assert found.ulp == expected


def test_an_ulp_is_that_of_the_largest_number_of_the_row() -> None:
    row = np.array([[3.0, 1e-9, 0.0], [1e-3, 2e-9, -1e-9]])
    wrong = row + np.array([[0.0, 2**-22, 0.0], [0.0, 0.0, 2**-30]])
    assert difference(wrong, row, ALL, "float32").ulp == 8.0  # 2^-10 is below 1e-3: 2^-33
    assert difference(wrong[:1], row[:1], ALL, "float32").ulp == 1.0
    assert difference(wrong[1:], row[1:], ALL, "float32", least=1.0).ulp == 2**-7
    # What is masked, or infinite, is nobody's size; a row of one number is no row.
    counts = np.array([[True], [False]])
    assert difference(wrong, row, counts, "float32").ulp == 1.0
    endless = np.array([[np.inf, 1.0]])
    assert difference(endless + np.array([[0.0, 2**-23]]), endless, ALL, "float32").ulp == 1.0
    means = np.array([[[1.0], [1e-9]]])
    assert difference(means + np.array([[[0.0], [2**-23]]]), means, ALL, "float32").ulp == 1.0
    assert difference(np.array(1.5), np.array(1.0), ALL, "float16").ulp == 512.0


def test_bfloat16s_ulp_is_that_of_its_eight_bits() -> None:
    assert difference(np.array([1.0 + 2**-7]), np.array([1.0]), ALL, "bfloat16").ulp == 1.0
    assert EPSILONS["bfloat16"] == 2**-7


def test_only_what_counts_counts() -> None:
    a, b = np.zeros((2, 3, 4)), np.zeros((2, 3, 4))
    a[0, 2], a[1, 0] = 9.0, np.nan
    assert difference(a, b, counted("BTH", MASK), "float32").max_abs == 0.0
    a[1, 2, 3] = 0.5
    found = difference(a, b, counted("BTH", MASK), "float32")
    assert (found.max_abs, found.worst) == (0.5, (1, 2, 3))


@pytest.mark.parametrize(
    ("axes", "shape", "count"),
    [
        ("BTH", (2, 3, 4), 16),
        ("BT1", (2, 3, 1), 4),
        ("1TH", (1, 3, 4), 12),
        ("BATT", (2, 5, 3, 3), 60),
        ("BH", (2, 4), 8),
    ],
)
def test_places_of_every_shape(axes: str, shape: tuple[int, ...], count: int) -> None:
    assert np.broadcast_to(counted(axes, MASK), shape).sum() == count


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (np.nan, 1.0, math.inf),
        (np.nan, np.nan, math.inf),
        (np.inf, np.inf, 0.0),
        (np.inf, -np.inf, math.inf),
        (np.inf, 1.0, math.inf),
    ],
)
def test_what_is_not_finite(a: float, b: float, expected: float) -> None:
    found = difference(np.array([0.0, a]), np.array([0.0, b]), ALL, "float32")
    assert found.max_abs == expected
    assert found.faults == 1


def test_zeros_are_no_division() -> None:
    zeros = np.zeros(4)
    found = difference(zeros, zeros, ALL, "float32")
    assert (found.max_rel, found.ulp) == (0.0, 0.0)
    assert (nmse(zeros, zeros), cosine_distance(zeros, zeros)) == (0.0, 0.0)
    assert difference(zeros + 1, zeros, ALL, "float32").max_rel == math.inf
    assert (nmse(zeros + 1, zeros), cosine_distance(zeros + 1, zeros)) == (math.inf, math.inf)


def test_the_dtype_that_numbers_were_computed_in() -> None:
    single = np.array([0.1, 2.0], np.float32)
    assert effective_dtype(single.astype("f8"), "float64") == "float32"
    assert effective_dtype(np.array([0.1]), "float64") == "float64"
    assert effective_dtype(single, "float16") == "float16"
    assert effective_dtype(np.array([1e300]), "float64") == "float64"


def scores(masked: npt.ArrayLike) -> npt.NDArray[Any]:
    """Three queries of one head over three keys, the last of which is masked."""
    rows = np.array([[1.0, 2.0, 0.0], [3.0, -4.0, 0.0], [0.5, 0.5, 0.0]])
    return (rows + np.array([0, 0, 1]) * masked)[np.newaxis, np.newaxis]


@pytest.mark.parametrize("least", [np.finfo("f4").min, -1e9, -1e4, -np.inf])
def test_it_does_not_matter_how_a_score_is_masked(least: float) -> None:
    mask = np.array([[True, True, False]])
    expected = comparable(scores(np.finfo("f8").min), mask)
    assert np.array_equal(comparable(np.where(mask, scores(0.0), least), mask), expected)


@pytest.mark.parametrize("seen", [0.0, 0.3, -50.0, np.nan])
def test_a_masked_score_that_softmax_sees_stands_out(seen: float) -> None:
    mask = np.array([[True, True, False]])
    found = comparable(np.where(mask, scores(0.0), seen), mask)
    apart = difference(found, comparable(scores(-1e9), mask), counted("BATT", mask), "float32")
    assert apart.max_abs > 900
    assert apart.worst[-1] == 2


def test_where_all_is_masked_only_differences_between_scores_count() -> None:
    mask = np.zeros((1, 3), np.bool_)
    least = np.full((1, 1, 3, 3), np.finfo("f8").min)
    assert not comparable(least, mask).any()
    assert comparable(scores(0.0) - 1e4, mask).any()
