"""Gradients by central differences, the definition that every backward is held to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from numpy_bert.arrays import Array

# Of a function of numbers of about 1: its fifth derivative leaves STEP^4, rounding eps / STEP.
STEP = 1e-3


def differences(value: Callable[[Array], float], at: Array) -> Array:
    """Return the gradient of a function at an array, a number at a time, by four points each."""
    found = np.zeros(at.shape)
    for index in np.ndindex(at.shape):
        found[index] = slope(lambda step, index=index: value(moved(at, index, step)))  # type: ignore[misc]
    return found


def slope(value: Callable[[float], float]) -> float:
    """Return the derivative at 0."""
    near = value(STEP) - value(-STEP)
    far = value(2 * STEP) - value(-2 * STEP)
    return (8 * near - far) / (12 * STEP)


def moved(at: Array, index: tuple[int, ...], step: float) -> Array:
    """Return a copy in which one number is another."""
    copy = at.copy()
    copy[index] += step
    return copy


def relative_error(found: Array, expected: Array) -> float:
    """Return the largest error over the largest gradient."""
    largest = float(np.abs(expected).max(initial=0.0)) or 1.0
    return float(np.abs(found - expected).max(initial=0.0)) / largest
