"""What the kernels add to scores against the readable rows of the table, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from numpy_bert.kernels import distances
from numpy_bert.kernels.distances import DistanceBias
from numpy_bert.ops.relative_position import relative_attention_bias, relative_position_bucket
from tests.support.arrays import sample

TABLE = sample((32, 4), "float32")


@pytest.mark.parametrize("copied", [0, 1 << 17])
@pytest.mark.parametrize("length", [1, 2, 7, 127, 128, 129, 300])
def test_side_by_side_it_is_the_readable_one(
    monkeypatch: pytest.MonkeyPatch, length: int, copied: int
) -> None:
    monkeypatch.setattr(distances, "_COPIED", copied)
    bias = DistanceBias(TABLE)
    expected = relative_attention_bias(TABLE, length, TABLE.dtype).transpose(2, 0, 1)
    assert np.array_equal(bias.side_by_side(length), expected)
    order = np.arange(length) + np.array([[0], [5], [40]])  # three sequences, moved
    assert np.array_equal(bias(order, order), expected[np.newaxis])


@pytest.mark.parametrize("gap", [1, 200])
@pytest.mark.parametrize("alike", ["none", "seen", "all"])
def test_columns_anywhere_have_their_own_distances(alike: str, gap: int) -> None:
    rng = np.random.default_rng(0)
    seen = np.sort(rng.permuted(np.tile(np.arange(9), (3, 1)), axis=1)[:, :5], axis=1) * gap
    asking = rng.integers(0, 9, (3, 2)) * gap
    if alike != "none":
        moved = np.array([[0], [7], [9]])
        seen, asking = seen[0] + moved, (asking[0] if alike == "all" else asking) + moved
    found = DistanceBias(TABLE)(asking, seen)
    assert found.shape == (1 if alike == "all" else 3, 4, 2, 5)
    expected = TABLE[relative_position_bucket(seen[:, np.newaxis] - asking[:, :, np.newaxis])]
    assert np.array_equal(np.broadcast_to(found, (3, 4, 2, 5)), expected.transpose(0, 3, 1, 2))


def test_a_table_of_halves_is_widened() -> None:
    halves = TABLE.astype(np.float16)
    found = DistanceBias(halves).side_by_side(4)
    assert found.dtype == np.float32
    assert np.array_equal(found[:, 0, 0], halves[0])
