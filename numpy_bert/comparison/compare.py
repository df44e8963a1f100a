"""Two traces against each other, without a model: ids, weights, then steps in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import BoolArray
from numpy_bert.comparison.differences import (
    EPSILONS,
    comparable,
    counted,
    difference,
    effective_dtype,
)
from numpy_bert.comparison.pairs import Pairs
from numpy_bert.comparison.report import Report, StepReport, measured
from numpy_bert.comparison.tolerances import Tolerances
from numpy_bert.progress import progress
from numpy_bert.traces.layout import arranged
from numpy_bert.traces.names import INPUTS, axes_of, is_weight, matches
from numpy_bert.traces.reading import Trace, TraceArray

__all__ = ["compare"]

_ALL: BoolArray = np.ones((), np.bool_)


def compare(
    reference: Trace,
    candidate: Trace,
    tolerances: Tolerances | None = None,
    *,
    allow: Sequence[str] = (),
    all_positions: bool = False,
    equal_nan: bool = False,
    fail_fast: bool = False,
) -> Report:
    """Find the first tensor in which two traces differ.

    Parameters
    ----------
    reference, candidate : Trace
        Every tensor of the reference must be in the candidate, in its shape.
    tolerances : Tolerances, optional
        What is allowed.
    allow : sequence of str
        Globs of what may differ or be missing.
    all_positions : bool
        Whether padding counts too; by default only what the reference's ``attention_mask`` has.
    equal_nan : bool
        Whether a NaN in both at one place is no difference.
    fail_fast : bool
        Stop at the first that differs.

    Raises
    ------
    TraceError
        If the two have no tensor in common, so that nothing would be compared.

    Examples
    --------
    >>> from numpy_bert.traces.reading import as_trace
    >>> right = {"embeddings": np.ones((1, 2, 4)), "pooler": np.zeros((1, 4))}
    >>> wrong = {**right, "embeddings": np.full((1, 2, 4), 1.5)}
    >>> compare(as_trace(right), as_trace(wrong)).first
    'embeddings'
    """
    pairs = Pairs(reference, candidate)
    given = _Comparison(pairs, tolerances or Tolerances(), all_positions, equal_nan)
    rows: list[StepReport] = []
    with progress(len(pairs.names), "comparing", least=2, unit="steps", delay=2.0) as report:
        for name in pairs.names:
            for row in given.rows(name):
                is_allowed = row.verdict == "differs" and matches(row.name, allow)
                rows.append(replace(row, verdict="allowed") if is_allowed else row)
            report(1)
            if fail_fast and rows[-1].verdict == "differs":
                break
    return Report(
        candidate=candidate.label,
        against=reference.label,
        steps=rows,
        notes=[*pairs.notes(), *given.notes],
    )


class _Comparison:
    """How pairs of arrays are compared."""

    def __init__(
        self, pairs: Pairs, tolerances: Tolerances, all_positions: bool, equal_nan: bool
    ) -> None:
        self.notes: list[str] = []
        self._pairs = pairs
        self._tolerances = tolerances
        self._equal_nan = equal_nan
        self._usual = [_usual_dtype(trace) for trace in (pairs.reference, pairs.candidate)]
        mask = pairs.reference.get("attention_mask")
        is_mask = mask is not None and mask.ndim == 2 and mask.dtype.kind in "iub"
        self._mask = None if all_positions or not is_mask or mask is None else mask == 1

    def rows(self, name: str) -> Iterator[StepReport]:
        """Compare one tensor, with whatever the candidate has for it."""
        theirs = self._pairs.of(name)
        if theirs is None:
            yield StepReport(name=name, verdict="differs", text="missing in the candidate")
            return
        yield self._row(name, theirs)
        for twin in self._pairs.candidate.twins:
            if twin.step == theirs.step == name:
                yield replace(self._row(name, twin), name=twin.stored.name)

    def _row(self, name: str, theirs: TraceArray) -> StepReport:
        """Compare one tensor with one of the candidate's."""
        ours = self._pairs.reference.arrays[name]
        row = StepReport(
            name=name, verdict="differs", shape=theirs.stored.shape, dtype=theirs.dtype
        )
        fault = self._fault(name, ours, theirs)
        if fault is not None:
            return replace(row, text=fault)
        wanted, found = self._load(name, ours), self._load(name, theirs)
        if name in INPUTS:
            return self._ids_row(row, found, wanted)
        if name == "embeddings.position_embeddings" and found.shape != wanted.shape:
            wanted = np.broadcast_to(wanted, found.shape)
        return self._numbers_row(row, found, wanted, self._coarser(ours, theirs, wanted))

    def _fault(self, name: str, ours: TraceArray, theirs: TraceArray) -> str | None:
        """Return why two arrays cannot be compared, from their headers alone."""
        shapes = [self._shape(name, array) for array in (ours, theirs)]
        rows = shapes[0][1:] == shapes[1][1:] and shapes[0][:1] == (1,)
        if shapes[0] != shapes[1] and not (rows and name == "embeddings.position_embeddings"):
            return f"shape {shapes[1]}; {shapes[0]} was expected"
        if not theirs.stored.size:
            return "it is empty"
        integers = [array.dtype not in EPSILONS for array in (ours, theirs)]
        if integers[0] != integers[1]:
            return f"dtype {theirs.dtype}; the reference has {ours.dtype}"
        claimed = self._pairs.candidate.metadata.get("dtype")
        if (
            name not in INPUTS
            and not is_weight(name)
            and claimed in EPSILONS
            and not integers[1]
            and EPSILONS[theirs.dtype] > EPSILONS[claimed]
        ):
            return f"dtype {theirs.dtype}; the candidate claims to be {claimed}"
        return None

    def _shape(self, name: str, array: TraceArray) -> tuple[int, ...]:
        axes = axes_of(name)
        if array.axes is None or axes is None:
            return array.stored.shape
        stand_in = np.broadcast_to(np.float32(0), array.stored.shape)
        return arranged(stand_in, array.axes, axes, name).shape

    def _load(self, name: str, array: TraceArray) -> npt.NDArray[Any]:
        axes = axes_of(name)
        found = array.stored.load()
        if array.axes is not None and axes is not None:
            found = arranged(found, array.axes, axes, name)
        return found

    def _coarser(self, ours: TraceArray, theirs: TraceArray, wanted: npt.NDArray[Any]) -> str:
        """Return the dtype by which a difference is judged."""
        kinds = [array.dtype if array.dtype in EPSILONS else "float32" for array in (ours, theirs)]
        if kinds == ["float64", "float64"]:  # of float32 only, or statistics of a float32 trace
            kinds = [effective_dtype(wanted, "float64"), *self._usual]
        return max(kinds, key=lambda kind: EPSILONS[kind])

    def _ids_row(
        self, row: StepReport, found: npt.NDArray[Any], wanted: npt.NDArray[Any]
    ) -> StepReport:
        """Compare ids, which must be equal."""
        places = np.argwhere(found != wanted)
        if not len(places):
            return replace(row, verdict="pass")
        worst = tuple(int(i) for i in places[0])
        value, expected = float(found[worst]), float(wanted[worst])
        text = f"{len(places)} of {found.size} differ"
        return replace(row, worst=worst, value=value, expected=expected, text=text)

    def _numbers_row(
        self, row: StepReport, found: npt.NDArray[Any], wanted: npt.NDArray[Any], dtype: str
    ) -> StepReport:
        """Compare numbers."""
        places = self._places(row.name, found.shape)
        if not np.broadcast_to(places, found.shape).any():
            return replace(row, text="no place of it counts: all is padding")
        a, b = found.astype(np.float64), wanted.astype(np.float64)
        if self._equal_nan:
            both = np.isnan(a) & np.isnan(b)
            a, b = np.where(both, 0.0, a), np.where(both, 0.0, b)
        if self._mask is not None and row.name.endswith(".attention.self.scores"):
            a, b = (comparable(array, self._mask).astype(np.float64) for array in (a, b))
        apart = difference(a, b, places, dtype)
        judged = self._tolerances.judge(row.name, apart, (a, b), places, dtype)
        text = "" if judged.passes else self._text(a, b, places)
        if apart.largest == 0.0 and not is_weight(row.name):
            self.notes.append(f"{row.name}: the reference is all 0 and carries no information.")
        numbers = {
            **measured(apart),
            "worst": judged.worst,
            "value": float(a[judged.worst]),
            "expected": float(b[judged.worst]),
        }
        row = replace(row, budget=judged.budget, text=text, **numbers)
        return replace(row, verdict="pass") if judged.passes else row

    def _text(self, a: npt.NDArray[Any], b: npt.NDArray[Any], places: BoolArray) -> str:
        """Say what a difference is beside large."""
        counts = np.broadcast_to(places, a.shape)
        faults = [int((~np.isfinite(array[counts])).sum()) for array in (a, b)]
        if any(faults):
            return f"not finite: {faults[0]} values of the candidate, {faults[1]} of the reference"
        return ""

    def _places(self, name: str, shape: tuple[int, ...]) -> BoolArray:
        """Return what counts of a tensor."""
        mask, axes = self._mask, axes_of(name)
        if mask is None or is_weight(name):
            return _ALL
        if axes is not None and len(axes) == len(shape):
            chosen = "BTH" if axes[0] == "1" and shape[0] != 1 else axes
            return counted(chosen, mask)
        if shape[:2] != mask.shape:
            return _ALL
        # A name of the user's own, with a row for each token.
        rows: BoolArray = mask.reshape(*mask.shape, *(1,) * (len(shape) - 2))
        return rows


def _usual_dtype(trace: Trace) -> str:
    """Return the dtype that most steps of a trace are in."""
    kinds = Counter(a.dtype for a in trace.arrays.values() if a.dtype in EPSILONS)
    return kinds.most_common(1)[0][0] if kinds else "float64"
