"""numpy_bert.encoding.quantization: equal to the definitions, in blocks, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numpy_bert.encoding.quantization as module
from numpy_bert import InputError, quantize_embeddings


def vectors(n: int, width: int = 13, *, dtype: str = "float32", seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((n, width)).astype(dtype)


def by_definition(x: Any, precision: str, low: Any, high: Any) -> Any:
    if precision.endswith("binary"):
        width = x.shape[1]
        bits = np.zeros((len(x), -(-width // 8) * 8), int)
        bits[:, :width] = x > 0
        values = (bits.reshape(len(x), -1, 8) * 2 ** np.arange(7, -1, -1)).sum(axis=2)
        return values - (128 if precision == "binary" else 0)
    part = (high - low) / 255
    places = np.floor((x - low) / np.where(part == 0, 1, part)).clip(0, 255)
    return places.astype(int) - (128 if precision == "int8" else 0)


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
@pytest.mark.parametrize("block", [1 << 21, 40])
def test_each_precision(
    precision: str, dtype: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    x, other = vectors(120, dtype=dtype), vectors(11, seed=1)
    x[:, 3] = 0.5
    x[7, :3] = 0.0
    x.flags.writeable = False
    for low, high, options in (
        (x.min(0), x.max(0), {}),
        (other.min(0), other.max(0), {"calibration_embeddings": other}),
        (-1.0, 1.0, {"ranges": [[-1] * 13, [1] * 13]}),
    ):
        low32, high32 = np.float32(low), np.float32(high)
        expected = by_definition(x, precision, low32, high32)
        found = quantize_embeddings(x, precision, **options)
        assert found.dtype == (np.int8 if precision in ("int8", "binary") else np.uint8)
        assert np.array_equal(found, expected)
        assert np.array_equal(quantize_embeddings(list(x), precision, **options), expected)
    one = quantize_embeddings(x[0], precision, calibration_embeddings=other)
    assert np.array_equal(one, quantize_embeddings(x, precision, None, other)[0])


def test_float32_is_no_quantization() -> None:
    assert quantize_embeddings(vectors(3, dtype="float64"), "float32").dtype == np.float32


def test_matrices_have_their_ranges_in_common() -> None:
    x = vectors(120)
    whole = quantize_embeddings(x, "uint8")
    parts = quantize_embeddings([x[:7], x[7:7], x[7:]], "uint8")
    assert np.array_equal(np.concatenate(parts), whole)
    assert [part.shape for part in parts] == [(7, 13), (0, 13), (113, 13)]


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_no_vectors(precision: str) -> None:
    width = 2 if precision.endswith("binary") else 13
    assert quantize_embeddings(np.zeros((0, 13)), precision).shape == (0, width)
    assert quantize_embeddings([], precision) == []
    assert quantize_embeddings([np.zeros((0, 13))], precision)[0].shape == (0, width)


def test_few_vectors_are_told() -> None:
    with pytest.warns(UserWarning, match="^uint8: .* come from 99 vectors alone") as caught:
        quantize_embeddings(vectors(99), "uint8")
    assert caught[0].filename == __file__
    quantize_embeddings(vectors(99), "binary")
    quantize_embeddings(vectors(99), "uint8", calibration_embeddings=vectors(3))


@pytest.mark.parametrize(
    ("x", "options", "words"),
    [
        (
            vectors(3),
            {"precision": "int4"},
            "precision must be one of float32, int8, .*; got 'int4'",
        ),
        (vectors(1), {}, "int8 needs the ranges of the features, and one vector has none"),
        (vectors(1)[0], {}, "int8 needs the ranges"),
        (np.zeros((2, 3), np.int8), {}, "embeddings must be floats, not quantized yet; got int8"),
        (
            np.zeros((2, 3, 4)),
            {},
            r"embeddings must be of shape \(n, H\) or \(H,\); got \(2, 3, 4\)",
        ),
        (np.array([[0.0], [np.nan]]), {}, r"embeddings\[1, 0\] must be finite"),
        (vectors(3), {"ranges": np.zeros((2, 3))}, r"ranges must be numbers of shape \(2, 13\)"),
        (vectors(3), {"ranges": np.full((2, 13), np.inf)}, "ranges must be finite"),
        (
            vectors(3),
            {"calibration_embeddings": np.zeros((0, 13))},
            r"calibration_embeddings must be of shape \(m, H\)",
        ),
        (
            vectors(3),
            {"calibration_embeddings": np.zeros((3, 12))},
            r"ranges must be numbers of shape \(2, 13\)",
        ),
    ],
)
def test_what_is_refused(x: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        quantize_embeddings(x, **{"precision": "int8", **options})
