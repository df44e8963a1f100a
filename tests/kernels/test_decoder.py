"""The product with the word table in float32 against the specification."""

from __future__ import annotations

import numpy as np
import pytest

from numpy_bert.kernels.decoder import decode, decode_backward
from numpy_bert.ops.linear import linear, linear_backward


@pytest.mark.parametrize("rows", [0, 1, 7, 130])
@pytest.mark.parametrize("words", [1, 61, 1021])
def test_it_is_the_readable_product(rows: int, words: int) -> None:
    rng = np.random.default_rng(0)
    x, weight, bias, grad = (
        rng.standard_normal(shape).astype("f4")
        for shape in ((rows, 24), (words, 24), (words,), (rows, words))
    )
    for array in (x, weight, bias, grad):
        array.flags.writeable = False
    found, expected = decode(x, weight, bias), linear(x, weight, bias)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)
    back, wanted = decode_backward(grad, x, weight), linear_backward(grad, x, weight)
    for name in ("x", "weight", "bias"):
        one, other = getattr(back, name), getattr(wanted, name)
        assert one.dtype == np.float32
        limit = 4e-6 * max(1.0, float(np.abs(other).max(initial=0.0)))
        np.testing.assert_allclose(one, other, rtol=0, atol=limit, err_msg=name)
