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
from numpy_bert.errors import InputError, TraceError
from numpy_bert.messages import quoted
from numpy_bert.progress import progress
from numpy_bert.traces.inputs import read_mask
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
        Every tensor of the reference must be in the candidate, in its shape, but for what the trace
        contract calls optional: weights are compared where both have them; of ``attention_mask``,
        ``token_type_ids`` and ``position_ids`` what one leaves out is 1, 0 or 0, 1, 2, ... there. A
        missing step differs, but the first that both have and that differs is named before it.
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
    unused = given.tolerances.unused(pairs.names)
    if unused:
        raise InputError(
            f"atol, rtol: {quoted(unused[0])} fits no tensor of {reference.label}; * stands for "
            "anything, and the whole name counts."
        )
    rows: list[StepReport] = []
    with progress(len(pairs.names), "comparing", least=2, unit="steps", delay=2.0) as report:
        for name in pairs.names:
            for row in given.rows(name):
                is_allowed = row.verdict == "differs" and matches(row.name, allow)
                rows.append(replace(row, verdict="allowed") if is_allowed else row)
            report(1)
            if fail_fast and rows[-1].verdict == "differs" and not rows[-1].is_missing:
                break
    if not any(row.verdict != "allowed" for row in rows if row.name not in INPUTS):
        raise TraceError("nothing was compared: all that the two have is allowed to differ.")
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
        self.tolerances = tolerances
        self._equal_nan = equal_nan
        self._usual = [_usual_dtype(trace) for trace in (pairs.reference, pairs.candidate)]
        self._stored_mask = _mask_of(pairs.reference)
        self._mask = None if all_positions else self._stored_mask

    def rows(self, name: str) -> Iterator[StepReport]:
        """Compare one tensor, with whatever the candidate has for it."""
        found = self._pairs.of(name)
        if not found:
            yield StepReport(name=name, verdict="differs", text="missing in the candidate")
        for number, array in enumerate(found):
            row = self._row(name, array)
            yield row if number == 0 else replace(row, name=array.stored.name)

    def _row(self, name: str, theirs: TraceArray) -> StepReport:
        """Compare one tensor with one of the candidate's."""
        ours = self._pairs.reference.arrays[name]
        row = StepReport(
            name=name, verdict="differs", shape=theirs.stored.shape, dtype=theirs.dtype
        )
        fault = self._fault(name, ours, theirs)
        if fault is not None:
            return replace(row, text=fault)
        wanted, found = _load(name, ours), _load(name, theirs)
        if name in INPUTS or theirs.dtype not in EPSILONS:
            return self._ids_row(row, found, wanted)
        if name == "embeddings.position_embeddings" and found.shape != wanted.shape:
            wanted = np.broadcast_to(wanted, found.shape)
        return self._numbers_row(row, found, wanted, self._coarser(ours, theirs, wanted))

    def _fault(self, name: str, ours: TraceArray, theirs: TraceArray) -> str | None:
        """Return why two arrays cannot be compared, from their headers alone."""
        try:
            shapes = [_shape_of(name, array) for array in (ours, theirs)]
        except (TraceError, ValueError) as failure:
            return str(failure)
        if not self._fit(name, *shapes):
            return f"shape {shapes[1]}; {shapes[0]} was expected"
        if not theirs.stored.size:
            return "it is empty"
        integers = [array.dtype not in EPSILONS for array in (ours, theirs)]
        if integers[0] != integers[1] and name not in INPUTS:  # whose values say all
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

    def _fit(self, name: str, ours: tuple[int, ...], theirs: tuple[int, ...]) -> bool:
        """Tell whether two shapes of one name are of the same thing."""
        if name == "position_ids":
            ours, theirs = (
                self._in_rows(shape, max(ours, theirs, key=len)) for shape in (ours, theirs)
            )
        if name == "embeddings.position_embeddings" and ours[:1] == (1,):
            return ours[1:] == theirs[1:]
        return ours == theirs

    def _in_rows(self, positions: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of positions in every row of the ids; they may stand once for all."""
        ids = self._pairs.reference.arrays.get("input_ids")
        shape = other if ids is None else ids.stored.shape
        return shape if positions in ((1, *shape[1:]), shape[1:]) else positions

    def _coarser(self, ours: TraceArray, theirs: TraceArray, wanted: npt.NDArray[Any]) -> str:
        """Return the dtype by which a difference is judged."""
        kinds = [array.dtype if array.dtype in EPSILONS else "float32" for array in (ours, theirs)]
        if kinds == ["float64", "float64"]:  # of float32 only, or statistics of a float32 trace
            kinds = [effective_dtype(wanted, "float64"), *self._usual]
        return max(kinds, key=lambda kind: EPSILONS[kind])

    def _ids_row(
        self, row: StepReport, found: npt.NDArray[Any], wanted: npt.NDArray[Any]
    ) -> StepReport:
        """Compare integers, which must be equal; those of padding as far as padding counts."""
        name = row.name
        if name == "position_ids":
            shape = self._in_rows(found.shape, max(found.shape, wanted.shape, key=len))
            found, wanted = np.broadcast_to(found, shape), np.broadcast_to(wanted, shape)
        counts = _ALL if name == "attention_mask" else self._places(name, found.shape)
        wrong = found != wanted
        places = np.argwhere(wrong & counts)
        if not len(places):
            if wrong.any():
                self.notes.append(
                    f"{name}: {int(wrong.sum())} of {found.size} differ, all at padding, which "
                    "does not count (--all-positions)."
                )
            return replace(row, verdict="pass")
        worst = tuple(int(i) for i in places[0])
        value, expected = float(found[worst]), float(wanted[worst])
        texts = [f"{len(places)} of {found.size} differ", self._pairs.assumed.get(name)]
        text = "; ".join(filter(None, texts))
        return replace(row, worst=worst, value=value, expected=expected, text=text)

    def _numbers_row(
        self, row: StepReport, found: npt.NDArray[Any], wanted: npt.NDArray[Any], dtype: str
    ) -> StepReport:
        """Compare numbers."""
        places = self._places(row.name, found.shape)
        a, b = found.astype(np.float64), wanted.astype(np.float64)
        if self._equal_nan:
            both = np.isnan(a) & np.isnan(b)
            a, b = np.where(both, 0.0, a), np.where(both, 0.0, b)
        if row.name.endswith(".attention.self.scores") and a.ndim == 4:
            mask = self._stored_mask
            mask = np.ones((a.shape[0], a.shape[-1]), np.bool_) if mask is None else mask
            a, b = (comparable(array, mask).astype(np.float64) for array in (a, b))
        apart = difference(a, b, places, dtype)
        scale = self._scale(row.name, apart.largest)
        judged = self.tolerances.judge(row.name, apart, (a, b), places, dtype, scale)
        text = "" if judged.passes else self._text(a, b, places)
        if not b.any() and not is_weight(row.name):
            self.notes.append(f"{row.name}: the reference is all 0 and carries no information.")
        numbers = {
            **measured(apart),
            "worst": judged.worst,
            "value": float(a[judged.worst]),
            "expected": float(b[judged.worst]),
        }
        row = replace(row, budget=judged.budget, text=text, **numbers)
        return replace(row, verdict="pass") if judged.passes else row

    def _scale(self, name: str, own: float) -> float:
        """Return the largest number that a tensor is made of: of a mean, what was averaged."""
        path = name.removesuffix(".mean")
        if path == name:
            return own
        total = self._pairs.reference.get(f"{path.removesuffix('.LayerNorm')}.sum")
        variance = self._pairs.reference.get(f"{path}.variance")
        if total is None and variance is not None:
            total = np.sqrt(np.abs(variance))
        return own if total is None else max(own, float(np.nan_to_num(np.abs(total)).max()))

    def _text(self, a: npt.NDArray[Any], b: npt.NDArray[Any], places: BoolArray) -> str:
        """Say what a difference is beside large."""
        counts = np.broadcast_to(places, a.shape)
        faults = [int((~np.isfinite(array[counts])).sum()) for array in (a, b)]
        if any(faults):
            return f"not finite: {faults[0]} values of the candidate, {faults[1]} of the reference"
        return ""

    def _check_mask(self, name: str, axes: str, shape: tuple[int, ...], mask: BoolArray) -> None:
        """Raise TraceError unless a mask is of the rows and tokens of a step."""
        sizes = dict(zip(axes, shape, strict=True))
        if (sizes.get("B", len(mask)), sizes.get("T", mask.shape[1])) != mask.shape:
            raise TraceError(
                f"{self._pairs.reference.label}: attention_mask has shape {mask.shape}, {name} "
                f"has {shape}; they are not of one run."
            )

    def _places(self, name: str, shape: tuple[int, ...]) -> BoolArray:
        """Return what counts of a tensor."""
        mask, axes = self._mask, axes_of(name)
        if mask is None or is_weight(name):
            return _ALL
        if axes is not None and len(axes) == len(shape):
            chosen = "BTH" if axes[0] == "1" and shape[0] != 1 else axes
            self._check_mask(name, chosen, shape, mask)
            return counted(chosen, mask)
        if shape[:2] != mask.shape:
            return _ALL
        # A name of the user's own, with a row for each token.
        rows: BoolArray = mask.reshape(*mask.shape, *(1,) * (len(shape) - 2))
        return rows


def _shape_of(name: str, array: TraceArray) -> tuple[int, ...]:
    axes = axes_of(name)
    return array.stored.shape if axes is None else array.shape_in(axes)


def _load(name: str, array: TraceArray) -> npt.NDArray[Any]:
    axes = axes_of(name)
    return array.stored.load() if axes is None else array.load_in(axes)


def _mask_of(reference: Trace) -> BoolArray | None:
    """Return the reference's mask, None where it has none; raise an error if it is no mask."""
    found = reference.arrays.get("attention_mask")
    if found is None:
        return None
    shape = reference.arrays.get("input_ids", found).stored.shape
    if len(shape) != 2:
        raise TraceError(
            f"{reference.label}: attention_mask: has shape {found.stored.shape}; (B, T) was "
            "expected."
        )
    return read_mask(reference, (shape[0], shape[1]))


def _usual_dtype(trace: Trace) -> str:
    """Return the dtype that most steps of a trace are in."""
    kinds = Counter(a.dtype for a in trace.arrays.values() if a.dtype in EPSILONS)
    return kinds.most_common(1)[0][0] if kinds else "float64"
