"""A dense layer's product with few rows and with many."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from numpy_bert.kernels.dense import Dense
from numpy_bert.kernels.threads import get_num_threads, set_num_threads
from tests.tolerances import product_budget


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = get_num_threads()
    set_num_threads(request.param)
    yield
    set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("rows", [0, 1, 7, 16, 17, 64, 65, 200])
@pytest.mark.parametrize("outs", [(37,), (32,), (96,), (32, 64), (24, 24, 24)])
def test_it_is_the_product(rows: int, outs: tuple[int, ...]) -> None:
    rng = np.random.default_rng(rows)
    weights = [rng.standard_normal((out, 21)).astype(np.float32) for out in outs]
    x = rng.standard_normal((rows, 21)).astype(np.float32)
    dense = Dense(*weights, scale=0.25)
    for array in (x, *weights):
        array.flags.writeable = False
    exact = np.concatenate([weights[0] * 0.25, *weights[1:]]).astype(np.float64)
    found = []
    for again in range(3):
        out = np.full((rows, sum(outs)), np.nan, np.float32)
        dense(x, out)
        assert np.abs(out - x @ exact.T).max(initial=0.0) <= product_budget(21, "float32")
        found.append(out)
        if again == 1:
            dense.release()
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
