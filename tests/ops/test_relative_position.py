"""numpy_bert.ops.relative_position against its definition, distance by distance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from numpy_bert.ops.relative_position import (
    relative_attention_bias,
    relative_attention_bias_backward,
    relative_position_bucket,
)
from tests.support.arrays import sample

A, BUCKETS = 3, 32


def defined(distance: int) -> int:
    """Return the bucket as the paper's code has it: 8 of single distances, 8 of a logarithm's."""
    far = abs(distance)
    if far >= 8:
        # The square of far / 8, a whole number of sixty-fourths, is exact where the root is not.
        far = min(8 + math.floor(math.log2(far * far / 64)), 15)
    return far + (16 if distance > 0 else 0)


def test_every_distance_has_the_bucket_of_the_definition() -> None:
    distances = np.arange(-1100, 1101)
    found = relative_position_bucket(distances)
    assert found.tolist() == [defined(distance) for distance in distances.tolist()]
    assert set(found.tolist()) == set(range(BUCKETS)) - {16}  # which would be that of +0


@pytest.mark.parametrize("length", [1, 2, 7, 200])
def test_what_is_added_is_the_row_of_the_distance(length: int, dtype: str) -> None:
    table = sample((BUCKETS, A), dtype)
    found = relative_attention_bias(table, length, np.dtype(dtype))
    assert found.shape == (length, length, A)
    assert found.dtype == dtype
    for query, key in ((0, 0), (0, length - 1), (length - 1, 0), (length // 2, length // 3)):
        assert np.array_equal(found[query, key], table[defined(key - query)])


def test_a_table_of_halves_is_widened() -> None:
    table = sample((BUCKETS, A), "float16")
    found = relative_attention_bias(table, 9, np.dtype("float32"))
    assert found.dtype == np.float32
    assert np.array_equal(found[0, 0], table[0])


def test_the_gradient_is_the_sum_of_all_that_read_a_row(dtype: str) -> None:
    grad = sample((A, 150, 150), dtype)
    found = relative_attention_bias_backward(grad, BUCKETS)
    expected = np.zeros((BUCKETS, A))
    for query in range(150):
        for key in range(150):
            expected[defined(key - query)] += grad[:, query, key]
    assert found.shape == (BUCKETS, A)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=1e-6 if dtype == "float32" else 1e-12)


def test_no_token_has_no_bias_and_no_gradient() -> None:
    assert relative_attention_bias(sample((BUCKETS, A), "float32"), 0, np.dtype("f4")).size == 0
    assert not relative_attention_bias_backward(np.zeros((A, 0, 0)), BUCKETS).any()
