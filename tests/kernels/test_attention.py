"""Packed attention against the readable one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from numpy_bert.kernels import attention as kernel
from numpy_bert.kernels.attention import attend, scores_size
from numpy_bert.ops.attention import attention

Floats = npt.NDArray[np.floating[Any]]


def qkv(shape: tuple[int, ...], size: float = 1.0) -> Floats:
    """Return query, key and value as views of one array, as projections give them."""
    count, heads, length, features = shape
    rng = np.random.default_rng(length)
    joined = rng.standard_normal((count, length, 3, heads, features)).astype(np.float32)
    joined[:, :, 0] *= size
    joined.flags.writeable = False
    return joined.transpose(2, 0, 3, 1, 4)


def run(parts: Floats, *, cuts: bool = False, bias: Floats | None = None) -> Floats:
    scale = np.float32(parts.shape[-1] ** -0.5)
    _, count, heads, length, features = parts.shape
    # A view, as the kernel of the encoder hands it in.
    out = np.full((count, length, heads, features), np.nan, np.float32).swapaxes(1, 2)
    memory = np.full(scores_size(length**2), np.nan, np.float32)
    with np.errstate(all="ignore"):
        attend(parts[0] * scale, parts[1], parts[2], out, memory, cuts=cuts, bias=bias)
    return out


def wide(parts: Floats, bias: Floats | None = None) -> Floats:
    exact = None if bias is None else bias.astype(np.float64)
    return attention(*parts.astype(np.float64), bias=exact).output


@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1, 1), (3, 4, 7, 6), (5, 2, 40, 3), (2, 3, 130, 8), (2, 3, 400, 8), (300, 4, 9, 5)],
)
@pytest.mark.parametrize("cuts", [False, True])
def test_it_is_the_readable_one(shape: tuple[int, ...], cuts: bool) -> None:
    parts = qkv(shape)
    assert np.abs(run(parts, cuts=cuts) - wide(parts)).max() <= 2e-6


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("most", [1, 49 * 4, 49 * 9, 1 << 20])
@pytest.mark.parametrize("size", [1.0, 300.0])
@pytest.mark.parametrize("cuts", [False, True])
def test_what_is_added_to_the_scores(
    monkeypatch: pytest.MonkeyPatch, cuts: bool, size: float, most: int, shared: bool
) -> None:
    monkeypatch.setattr(kernel, "_BLOCK", most)
    monkeypatch.setattr(kernel, "_MOST_TERMS", 50)
    parts = qkv((5, 4, 7, 6), size)
    rng = np.random.default_rng(1)
    bias = rng.standard_normal((1 if shared else 5, 7, 7, 4)).astype("f4").transpose(0, 3, 2, 1)
    found = run(parts, cuts=cuts, bias=bias)
    exact = [wide(parts[:, n : n + 1], bias[0 if shared else n]) for n in range(5)]
    assert np.abs(found - np.concatenate(exact)).max() <= 2e-6 * size


@pytest.mark.parametrize("most", [1, 50, 49 * 4, 49 * 9, 1 << 20])
def test_blocks_of_heads_and_of_sequences(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    parts = qkv((5, 4, 7, 6))
    whole = run(parts)
    monkeypatch.setattr(kernel, "_BLOCK", most)
    np.testing.assert_allclose(run(parts), whole, atol=1e-6)


@pytest.mark.parametrize("size", [30.0, 300.0, 3e4])
@pytest.mark.parametrize("length", [7, 40])
def test_large_scores_lose_nothing(size: float, length: int) -> None:
    parts = qkv((3, 4, length, 6), size)
    exact = wide(parts)
    found = run(parts)
    assert np.isfinite(found).all()
    # A score's own rounding, which is as large as it is, decides.
    assert np.abs(found - exact).max() <= 2e-6 * size


@pytest.mark.parametrize("length", [5, 40])
def test_scores_far_below_zero_do_not_vanish(length: int) -> None:
    parts = qkv((2, 3, length, 4)).copy()
    parts[0] = 30.0
    parts[1] = -8.0 - 0.01 * np.arange(length)[:, np.newaxis]  # scores from -480 down
    found = run(parts)
    assert np.isfinite(found).all()
    assert np.abs(found - wide(parts)).max() <= 1e-3
    rng = np.random.default_rng(1)
    bias = rng.standard_normal((1, 3, length, length)).astype("f4")
    assert np.abs(run(parts, bias=bias) - wide(parts, bias[0])).max() <= 1e-3


def test_a_nan_stays_in_its_sequence() -> None:
    parts = qkv((3, 4, 7, 6)).copy()
    clean = run(parts)
    parts[0, 1, 2, 3, 0] = np.nan
    found = run(parts)
    assert np.isnan(found[1, 2, 3]).all()
    np.testing.assert_allclose(found[[0, 2]], clean[[0, 2]], atol=1e-6)
