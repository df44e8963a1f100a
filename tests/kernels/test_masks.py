"""Masks drawn in parts, by any thread, are those that are drawn in one go."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numpy_bert.kernels.masks import Drawn, MaskStream
from numpy_bert.ops.dropout import draw_keep

LARGE = [Drawn((5, 3, 64, 70), 0.1), Drawn((5, 7, 9, 2), 0.5), Drawn((5, 40), 0.9)]
ODD = [Drawn((5, 3, 7, 7), 0.1), Drawn((5, 7, 9), 0.5), Drawn((5, 41), 0.9)]


def pending(seed: int) -> np.random.Generator:
    """Return a generator that has half a step left."""
    rng = np.random.default_rng(seed)
    rng.random(3, np.float32)
    return rng


@pytest.mark.parametrize("masks", [LARGE, ODD], ids=["even", "odd"])
@pytest.mark.parametrize(
    "make",
    [
        np.random.default_rng,
        pending,
        lambda seed: np.random.Generator(np.random.PCG64DXSM(seed)),
        lambda seed: np.random.Generator(np.random.MT19937(seed)),
        lambda seed: np.random.Generator(np.random.Philox(seed)),
    ],
    ids=["PCG64", "pending", "PCG64DXSM", "MT19937", "Philox"],
)
def test_any_rows_are_those_of_the_whole(make: Any, masks: list[Drawn]) -> None:
    one, other = make(3), make(3)
    stream = MaskStream(one, masks)
    whole = [draw_keep(mask.shape, mask.p, other) for mask in masks]
    assert one.random(4).tolist() == other.random(4).tolist()
    for number in (2, 0, 1, 0):  # in any order, and again
        for rows in (slice(0, 5), slice(2, 3), slice(3, 5), slice(4, 4)):
            found = stream.rows(number, rows)
            assert found is not None
            assert np.array_equal(found, whole[number][rows])


@pytest.mark.parametrize("row", [3, 4])
@pytest.mark.parametrize("make", [np.random.default_rng, pending], ids=["PCG64", "pending"])
def test_where_nothing_is_dropped_nothing_is_drawn(make: Any, row: int) -> None:
    one, other = make(0), make(0)
    stream = MaskStream(one, [Drawn((2, row), 0.0), Drawn((2, 4), 0.5)])
    assert stream.rows(0, slice(0, 2)) is None
    found = stream.rows(1, slice(0, 2))
    assert found is not None
    assert np.array_equal(found, draw_keep((2, 4), 0.5, other))
    assert one.random() == other.random()
