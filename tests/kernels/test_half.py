"""numpy_bert.kernels.half against NumPy's own conversion, over every number there is."""

from __future__ import annotations

import numpy as np
import pytest

from numpy_bert.arrays import widen
from numpy_bert.kernels.half import widen_into

ALL = np.arange(1 << 16, dtype=np.uint16)
FINITE = ALL[(ALL & 0x7C00) != 0x7C00]


@pytest.mark.parametrize("bits", [ALL, FINITE], ids=["all", "finite"])
@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_every_value_is_exact(kind: str, bits: np.ndarray) -> None:
    stored = bits.view(np.float16) if kind == "float16" else bits
    out = np.full(len(bits), 7.0, np.float32)
    with np.errstate(all="ignore"):
        widen_into(stored, out)
        expected = widen(stored, "float32")
    if kind == "float16":
        assert np.array_equal(expected, stored.astype(np.float32), equal_nan=True)
    assert np.array_equal(np.isnan(out), np.isnan(expected))
    numbers = ~np.isnan(expected)
    assert out[numbers].tobytes() == expected[numbers].tobytes()


def test_float32_is_copied_and_nothing_is_nothing() -> None:
    out = np.zeros((2, 3), np.float32)
    widen_into(np.arange(6, dtype=np.float32).reshape(2, 3), out)
    assert out.tolist() == [[0, 1, 2], [3, 4, 5]]
    for dtype in (np.float16, np.uint16):
        widen_into(np.empty((0, 3), dtype), np.empty((0, 3), np.float32))
