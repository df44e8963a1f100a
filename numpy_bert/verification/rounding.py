"""How far rounding may take a step from the float64 result: derived from the step, not chosen.

A single float32 run may be exact by luck, at the one number that decides or everywhere. So beside
numpy_bert's own plain run stand some of Monte Carlo arithmetic [1]_: float64, with an error added
to every number of every step, normal, cut off at two standard deviations, of the size that a plain
float32 implementation makes there. A sum of K terms goes wrong like a random walk [2]_; the terms
of a mean that cancel, and of a GELU below 0, leave errors of their own size, not of the result's.

References
----------
.. [1] Parker, "Monte Carlo Arithmetic", UCLA CSD-970002, 1997.
.. [2] Higham and Mary, "A new approach to probabilistic rounding error analysis", SIAM Journal on
   Scientific Computing 41, 2019.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.comparison.differences import EPSILONS
from numpy_bert.ops.attention import merge_heads, split_heads
from numpy_bert.verification.steps import UNCHANGED, Segment, Step

__all__ = ["FACTOR", "budget", "rounded_runs"]

# How many times the error of our own float32 runs another one may make: it adds up in an order of
# its own. Calibrated by scripts/report_verification.py.
FACTOR = 4.0
_DRAWS = 3
# Errors of half a unit are two standard deviations.
_SPREAD = 0.5 * EPSILONS["float32"]
# Below it float32's erf is -1, so that nothing is left of a GELU.
_NOTHING_LEFT = -6.0


@np.errstate(all="ignore")
def budget(
    segment: Segment,
    arrays: Mapping[str, npt.NDArray[Any]],
    expected: Array,
    places: BoolArray,
    dtype: str,
    others: Mapping[str, Step] = UNCHANGED,
    view: Callable[[Array], Array] = lambda array: array,
) -> float:
    """Return the largest error that rounding explains in the last step of a segment.

    ``FACTOR * max(e, eps(float32) * max|expected|)``, where e is the largest error of numpy_bert's
    own float32 runs of the same segment from the same numbers: a plain one, and those of
    `rounded_runs`. For another dtype the budget is in proportion to its epsilon.

    Parameters
    ----------
    segment : Segment
        What is run.
    arrays : mapping of str to ndarray
        The arrays of the segment's inputs.
    expected : ndarray
        The result of a run in float64, after `view`.
    places : ndarray of bool
        The places that count, broadcastable to the shape of `expected`.
    dtype : str
        The dtype that the other implementation computes in, a key of `EPSILONS`.
    others : mapping of str to Step
        Steps that stand in the place of the segment's own, by name.
    view : callable
        What is done to a result before it is compared.
    """
    counts = np.broadcast_to(places, expected.shape)
    runs = [segment.run(arrays, np.float32, others), *rounded_runs(segment, arrays, others)]
    error = EPSILONS["float32"] * float(np.abs(expected[counts]).max())
    for run in runs:
        apart = np.abs(view(run) - expected)[counts].max()
        error = max(error, float(apart)) if np.isfinite(apart) else error
    return FACTOR * error * EPSILONS[dtype] / EPSILONS["float32"]


def rounded_runs(
    segment: Segment,
    arrays: Mapping[str, npt.NDArray[Any]],
    others: Mapping[str, Step] = UNCHANGED,
) -> list[Array]:
    """Return the results of the segment in runs whose rounding is drawn at random.

    Parameters
    ----------
    segment, arrays, others
        The same parameters as those of `budget`.
    """
    draws = [np.random.default_rng(seed) for seed in range(_DRAWS)]
    if len(segment.steps) == 1:  # nothing that is rounded goes in, so it is computed once
        step = others.get(segment.target.name, segment.target)
        output = step.run(arrays, np.float64)
        size = _finite_size(step, [arrays[name] for name in step.inputs], output)
        return [_rounded(output, size, rng) for rng in draws]

    def after(rng: np.random.Generator) -> Callable[[Step, list[Array], Array], Array]:
        return lambda step, inputs, output: _rounded(
            output, _finite_size(step, inputs, output), rng
        )

    return [segment.run(arrays, np.float64, others, after=after(rng)) for rng in draws]


def _rounded(output: Array, size: Array, rng: np.random.Generator) -> Array:
    """Return what a step has computed, with an error of this size."""
    error = np.clip(rng.standard_normal(output.shape, np.float32), -2.0, 2.0)
    return output + _SPREAD * error * size


def _finite_size(step: Step, inputs: list[Array], output: Array) -> Array:
    """Return the size of what is rounded, without infinities."""
    size = _size(step, inputs, output)
    if size.shape != output.shape:  # of a step in which something else is done
        size = np.broadcast_to(np.abs(output), output.shape)
    return np.where(np.isfinite(size), np.minimum(size, 1e30), 0.0)


def _size(step: Step, inputs: list[Array], output: Array) -> Array:
    """Return the size of what is rounded, element by element."""
    kind, given = step.kind, step.arguments
    if kind in ("linear", "pooler.dense"):
        x, weight = inputs[0], given["weight"].astype(np.float64, copy=False)
        terms = _squares(x[:, 0] if x.ndim > output.ndim else x, weight.T)
        # A result that is larger than its terms was passed on the way, in sums as large.
        return _walk(1.5 * terms + 0.5 * np.abs(output), weight.shape[1])
    if kind == "scores":
        query, key = (split_heads(x, given["heads"]) for x in inputs)
        scale = float(given["scale"])
        return _walk(scale * _squares(query, key.swapaxes(-1, -2)), query.shape[-1])
    if kind == "context":
        probs, value = inputs
        means = _squares(probs, split_heads(np.nan_to_num(value), given["heads"]))
        return _walk(merge_heads(means), probs.shape[-1])
    if kind == "layer_norm":
        return _size_in_norm(step, inputs[0], output)
    if kind == "activation":
        x = inputs[0]
        left: Array = np.where((x < 0.0) & (x > _NOTHING_LEFT), -x, 0.0)
        return np.abs(output) + left
    plain: Array = np.abs(output)
    return plain


def _squares(a: Array, b: Array) -> Array:
    """Return the root of the sum of the squares of a product's terms."""
    found: Array = np.sqrt(np.square(a) @ np.square(b))
    return found


def _walk(size: Array, terms: int) -> Array:
    return size * max(1.0, math.sqrt(terms) / 4.0)


def _size_in_norm(step: Step, x: Array, output: Array) -> Array:
    """Return the size of what is rounded in LayerNorm's steps."""
    features, part = x.shape[-1], step.arguments["part"]
    mean = x.mean(axis=-1, keepdims=True)
    variance = np.square(x - mean).mean(axis=-1, keepdims=True)
    size: Array = _walk(np.abs(mean) + np.sqrt(variance / features), features)
    if part == "mean":
        return size
    if part in ("variance", "rstd"):
        return _walk(np.abs(output), features)
    rstd = 1.0 / np.sqrt(variance + step.arguments["eps"])
    size = size * rstd + np.abs((x - mean) * rstd)
    if part == "normalized":
        return size
    scaled: Array = size * np.abs(step.arguments["weight"]) + np.abs(output)
    return scaled
