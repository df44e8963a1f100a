"""Arrays for tests: random, and read-only, so that a function that writes into them fails."""

from __future__ import annotations

import numpy as np

from numpy_bert.arrays import Array


def sample(shape: tuple[int, ...], dtype: str, *, seed: int = 0, scale: float = 1.0) -> Array:
    """Return normally distributed numbers that cannot be written to."""
    array = (scale * np.random.default_rng(seed).normal(size=shape)).astype(dtype)
    array.flags.writeable = False
    return array


def far(found: Array, expected: Array) -> float:
    """Return the largest difference of two arrays of one shape."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max(initial=0.0))
