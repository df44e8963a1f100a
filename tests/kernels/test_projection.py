"""The dense layer behind the embedding against the readable one."""

from __future__ import annotations

import numpy as np
import pytest

from numpy_bert import set_num_threads
from numpy_bert.kernels import projection
from numpy_bert.kernels.projection import Projection
from numpy_bert.ops.linear import linear
from numpy_bert.parameters import LinearParameters
from tests.support.arrays import sample
from tests.tolerances import product_budget

pytestmark = pytest.mark.usefixtures("threads")


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("rows", [0, 1, 7, 40])
@pytest.mark.parametrize("sizes", [(10, 24), (32, 64)])
def test_it_is_the_readable_layer(
    monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, int], rows: int, workers: int
) -> None:
    monkeypatch.setattr(projection, "_LEAST_ROWS", 8)
    narrow, wide = sizes
    layer = LinearParameters(
        weight=sample((wide, narrow), "float32"), bias=sample((wide,), "float32", seed=1)
    )
    x = sample((rows, narrow), "float32", seed=2)
    set_num_threads(workers)
    found = Projection(layer)(x)
    exact = linear(x.astype("f8"), layer.weight.astype("f8"), layer.bias.astype("f8"))
    assert found.dtype == np.float32
    assert found.shape == (rows, wide)
    assert np.abs(found - exact).max(initial=0.0) <= product_budget(narrow, "float32")
