"""Weights that a trace carries, compared before any step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import BoolArray, StoredArray, widen
from numpy_bert.comparison.differences import EPSILONS, difference
from numpy_bert.comparison.report import StepReport, measured
from numpy_bert.parameters import BertParameters, arrays_of
from numpy_bert.traces.reading import Trace, TraceArray
from numpy_bert.verification.dense_mistakes import to_bfloat16

__all__ = ["compare_with_model"]

_ALL: BoolArray = np.ones((), np.bool_)
_PROJECTIONS = ("query", "key", "value")


def compare_with_model(trace: Trace, parameters: BertParameters) -> Iterator[StepReport]:
    """Yield a row for each weight that a trace carries and a model has; they must be equal."""
    own = dict(arrays_of(parameters))
    for array in (*trace.arrays.values(), *trace.twins):
        if array.step in own:
            yield _row(array.step, array, own)


def _row(name: str, array: TraceArray, own: Mapping[str, StoredArray]) -> StepReport:
    """Compare one weight."""
    found, expected = array.stored.load(), _wide(own[name])
    row = StepReport(name=name, verdict="differs", shape=found.shape, dtype=array.dtype)
    if found.dtype.kind != "f":
        return replace(row, text=f"dtype {array.dtype}; a float one was expected")
    if found.shape != expected.shape:
        transposed = found.shape == expected.shape[::-1] and np.array_equal(found.T, expected)
        cause = "weight_not_transposed" if transposed else None
        text = "it is transposed" if transposed else f"{expected.shape} was expected"
        return replace(row, text=f"shape {found.shape}: {text}", cause=cause)
    dtype = array.dtype if array.dtype in EPSILONS else "float32"
    apart = difference(found, expected, _ALL, dtype)
    numbers = {**measured(apart), "budget": 0.0}
    if apart.max_abs == 0.0:
        return replace(row, verdict="pass", **numbers)
    for cause, text, other in _otherwise(name, own):
        if other.shape == found.shape and np.array_equal(found, other):
            return replace(row, cause=cause, text=text, **numbers)
    return replace(row, text="the weights are others", **numbers)


def _otherwise(
    name: str, own: Mapping[str, StoredArray]
) -> Iterator[tuple[str, str, npt.NDArray[Any]]]:
    """Yield what a weight becomes by known mistakes."""
    right = _wide(own[name])
    ways: tuple[tuple[str, str, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]], ...] = (
        ("weight_not_transposed", "it is transposed", lambda w: w.T),
        (
            "weights_float16",
            "it is rounded to float16",
            lambda w: w.astype(np.float16).astype(w.dtype),
        ),
        ("weights_bfloat16", "it is rounded to bfloat16", to_bfloat16),
        ("weights_bfloat16", "it is cut to bfloat16", lambda w: to_bfloat16(w, cut=True)),
        ("bias_missing", "it is 0", np.zeros_like),
    )
    with np.errstate(all="ignore"):
        for cause, text, make in ways:
            yield cause, text, make(right)
    path, _, kind = name.rpartition(".")
    block, _, last = path.rpartition(".")
    for other in _PROJECTIONS:
        if last in _PROJECTIONS and other != last:
            yield "qkv_swapped", f"it is the {other}'s", _wide(own[f"{block}.{other}.{kind}"])


def _wide(stored: StoredArray) -> npt.NDArray[Any]:
    return widen(stored, np.float32 if stored.dtype == np.uint16 else stored.dtype)
