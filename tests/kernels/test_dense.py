"""A dense layer's product, however it is cut."""

from __future__ import annotations

import numpy as np
import pytest

from numpy_bert.kernels.choices import TABLE, Cut
from numpy_bert.kernels.dense import Dense
from tests.tolerances import product_budget

ZEN_4, ZEN_5, XEON = (
    next(entry.cuts for known, entry in TABLE.items() if str(known).startswith(start))
    for start in ("AMD family 25, AVX-512", "AMD family 26", "Intel family 6")
)
CUTS = {
    "plain": (),
    "always": ZEN_4,
    "up to some rows": XEON,
    "of one size or another": ZEN_5,
    "two widths": (Cut(4000, 8, 4, 32), Cut(4000, 63, 0, 0), Cut(4000, 0, 16, 64)),
}


@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 64, 203])
@pytest.mark.parametrize("outs", [(37,), (128,), (32, 96)])
@pytest.mark.parametrize("terms", [21, 489, 1953, 1954, 4000])
def test_it_is_the_product(
    rows: int, outs: tuple[int, ...], terms: int, cuts: tuple[Cut, ...]
) -> None:
    rng = np.random.default_rng(rows)
    weights = [rng.standard_normal((out, terms), dtype=np.float32) for out in outs]
    x = rng.standard_normal((rows, terms), dtype=np.float32)
    for array in (x, *weights):
        array.flags.writeable = False
    dense = Dense(*weights, scale=0.25, cuts=cuts)
    exact = np.concatenate([weights[0] * 0.25, *weights[1:]]).astype(np.float64)
    for _ in range(2):
        out = np.full((rows, sum(outs)), np.nan, np.float32)
        dense(x, out)
        assert np.abs(out - x @ exact.T).max(initial=0.0) <= product_budget(terms, "float32")


def cut_of(features: int, outs: int, rows: int, cuts: tuple[Cut, ...]) -> Cut | None:
    return Dense(np.empty((outs, features), np.float32), cuts=cuts)._cut(rows)


@pytest.mark.parametrize(
    ("features", "rows", "piece"),
    [
        (384, 8, (8, 64)),
        (384, 2048, (8, 64)),
        (1953, 8, (8, 64)),
        (1954, 8, (4, 64)),
        (3906, 1, (4, 64)),
        (3907, 8, None),
    ],
)
def test_small_products_of_any_number_of_rows(
    features: int, rows: int, piece: tuple[int, int] | None
) -> None:
    """Pieces have at most 100**3 terms."""
    cut = cut_of(features, 64, rows, ZEN_4)
    assert (cut and (cut.rows, cut.columns)) == piece
    assert cut is None or cut.rows * cut.columns * features <= 100**3


@pytest.mark.parametrize("features", [384, 768, 1536])
@pytest.mark.parametrize("rows", [8, 15, 16, 31, 32, 64, 65, 200, 201, 2048])
def test_small_products_of_few_rows(features: int, rows: int) -> None:
    most = {384: 200, 768: 64, 1536: 31}[features]
    cut = cut_of(features, 384, rows, XEON)
    assert (cut is not None) == (rows <= most)
    assert cut is None or cut.rows * cut.columns * features <= 100**3


def test_only_the_cuts_of_the_next_larger_size_count() -> None:
    cuts = (Cut(100, 8, 4, 32), Cut(200, 0, 0, 0), Cut(300, 50, 8, 32))
    assert cut_of(100, 64, 9, cuts) is None  # not that of 300 features
    assert cut_of(101, 64, 8, cuts) is None
    assert cut_of(201, 64, 50, cuts) == cuts[2]
    assert cut_of(301, 64, 8, cuts) is None
    assert cut_of(100, 65, 8, cuts) is None  # 32 columns do not divide 65


@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
def test_there_is_one_copy_of_a_weight(cuts: tuple[Cut, ...]) -> None:
    weight = np.ones((192, 48), np.float32)
    dense = Dense(weight, cuts=cuts)
    dense(np.ones((3, 48), np.float32), np.empty((3, 192), np.float32))
    assert dense._arranged is not None
    arrays = list(dense._arranged.values())
    assert sum(array.flags.owndata for array in arrays) == 1
    for array in arrays[1:]:
        assert np.shares_memory(array, arrays[0])
