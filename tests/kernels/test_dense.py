"""A dense layer's product, whatever the number of rows and the routines that BLAS has."""

from __future__ import annotations

import numpy as np
import pytest

from numpy_bert.kernels import dense as module
from numpy_bert.kernels.dense import Dense
from tests.tolerances import product_budget


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 64, 203])
@pytest.mark.parametrize("outs", [(37,), (64,), (128,), (32, 96), (64, 64, 64)])
@pytest.mark.parametrize("terms", [21, 1953, 1954, 4000])
def test_it_is_the_product(
    rows: int, outs: tuple[int, ...], terms: int, small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1953 terms are the most that 8 rows may have, 3906 the most for 4."""
    monkeypatch.setattr(module, "SMALL_PRODUCTS", small)
    rng = np.random.default_rng(rows)
    weights = [rng.standard_normal((out, terms), dtype=np.float32) for out in outs]
    x = rng.standard_normal((rows, terms), dtype=np.float32)
    for array in (x, *weights):
        array.flags.writeable = False
    dense = Dense(*weights, scale=0.25)
    cuts = small and sum(outs) % 64 == 0
    assert dense._rows == ({21: 8, 1953: 8, 1954: 4, 4000: 0}[terms] if cuts else 0)
    exact = np.concatenate([weights[0] * 0.25, *weights[1:]]).astype(np.float64)
    for _ in range(2):
        out = np.full((rows, sum(outs)), np.nan, np.float32)
        dense(x, out)
        assert np.abs(out - x @ exact.T).max(initial=0.0) <= product_budget(terms, "float32")
