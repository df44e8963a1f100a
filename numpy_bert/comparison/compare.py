"""Two traces against each other, without a model: ids, weights, then steps in order."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.architectures import ARCHITECTURES
from numpy_bert.arrays import BoolArray
from numpy_bert.comparison.differences import (
    EPSILONS,
    comparable,
    counted,
    difference,
    effective_dtype,
)
from numpy_bert.comparison.report import Report, StepReport, measured
from numpy_bert.comparison.tolerances import Tolerances
from numpy_bert.errors import InputError, TraceError
from numpy_bert.inputs import counted_positions
from numpy_bert.messages import listed, quoted
from numpy_bert.progress import PATIENCE, progress
from numpy_bert.traces.array_files import LazyArray
from numpy_bert.traces.layout import (
    INPUTS,
    PROJECT,
    axes_of,
    is_weight,
    layers_in,
    place_of,
    same_step,
)
from numpy_bert.traces.reading import Trace, TraceArray, check_stacks, with_first_state
from numpy_bert.traces.trace_inputs import read_mask, usual_input

__all__ = ["compare"]

_ALL: BoolArray = np.ones((), np.bool_)
# The step that may stand once, or in every row.
_POSITIONS = "embeddings.position_embeddings"

# The inputs that a trace need not hold, and what it then says.
_OPTIONAL = {
    "attention_mask": "all 1",
    "token_type_ids": "all 0",
    "position_ids": "0, 1, 2, ...",
}
_MANIFEST = {
    "weights_sha256": "weights",
    "tokenizer_sha256": "tokenizers",
    "config": "configs",
    "text": "texts",
    "versions": "versions of the libraries",
}


def compare(
    reference: Trace,
    candidate: Trace,
    tolerances: Tolerances | None = None,
    *,
    allow: Sequence[str] = (),
    all_positions: bool = False,
    equal_nan: bool = False,
    fail_fast: bool = False,
    common: bool = False,
) -> Report:
    """Find the first tensor in which two traces differ.

    Every tensor of the reference must be in the candidate, in its shape, but for what the trace
    contract calls optional. Weights are compared where both have them. An ``attention_mask`` that
    one of the two leaves out is 1 there, ``token_type_ids`` are 0 and ``position_ids`` the model's
    own. A missing step differs, but the first step that both have and that differs is named before
    it; with `common` it is a note.

    Parameters
    ----------
    reference, candidate : Trace
        The two traces.
    tolerances : Tolerances, optional
        How far the two may be apart.
    allow : sequence of str
        Globs of what may differ or be missing.
    all_positions : bool
        Whether padding counts, too; by default the tokens count that the reference's
        ``attention_mask`` has.
    equal_nan : bool
        Whether two NaNs at one place are no difference.
    fail_fast : bool
        Whether to stop at the first tensor that differs.
    common : bool
        Whether to compare only what both have, so that nothing need be in the candidate.

    Returns
    -------
    Report
        The inputs, weights and steps in this order.

    Raises
    ------
    TraceError
        If the two have no tensor in common, so that nothing would be compared.
    InputError
        If a glob of `tolerances` fits no tensor of the reference.

    Examples
    --------
    >>> from numpy_bert.traces.reading import as_trace
    >>> right = {"embeddings": np.ones((1, 2, 4)), "pooler": np.zeros((1, 4))}
    >>> wrong = {**right, "embeddings": np.full((1, 2, 4), 1.5)}
    >>> compare(as_trace(right), as_trace(wrong)).first
    'embeddings'
    """
    pairs = _Pairs(reference, candidate, common=common)
    given = _Comparison(pairs, tolerances or Tolerances(), all_positions, equal_nan)
    unused = given.tolerances.unused(pairs.names)
    if unused:
        raise InputError(
            f"atol, rtol: {quoted(unused[0])} fits no tensor of {reference.label}. The whole name "
            "counts, and * stands for anything."
        )
    rows: list[StepReport] = []
    with progress(len(pairs.names), "comparing", least=2, unit="steps", delay=PATIENCE) as report:
        for name in pairs.names:
            rows += [row.allowed_by(allow) for row in given.rows(name)]
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
        not_looked_at=[a.stored.name for a in pairs.left_over() if not a.is_named(allow)],
    )


class _Pairs:
    """Which arrays of two traces belong together.

    Attributes
    ----------
    reference, candidate : Trace
        The two traces, each with the inputs that the other one holds (see `_completed`).
    names : list of str
        The names of the reference's arrays in the order of comparison: inputs, weights, steps.
        What need not be there is among them only if the candidate has it.
    assumed : dict of str to str
        A sentence for each input that one of the two leaves out.
    """

    def __init__(self, reference: Trace, candidate: Trace, *, common: bool) -> None:
        self._common = common
        if PROJECT in reference.arrays or PROJECT in candidate.arrays:
            reference, candidate = (with_first_state(t, PROJECT) for t in (reference, candidate))
        self.reference = _completed(reference, candidate)
        self.candidate = _completed(candidate, reference)
        padding = _counted_from((reference, candidate))
        self.assumed = {
            name: f"the {who} holds none, which stands for {_usual(name, padding)}"
            for who, before, after in (
                ("reference", reference, self.reference),
                ("candidate", candidate, self.candidate),
            )
            for name in after.arrays
            if name not in before.arrays
        }
        _check_layers(reference, candidate)
        self._layers = layers_in([*reference.arrays, *candidate.arrays])
        self._check_twins()
        self._theirs: dict[str, list[TraceArray]] = {}
        for array in (*self.candidate.arrays.values(), *candidate.twins):
            self._theirs.setdefault(same_step(array.step, self._layers), []).append(array)
        found = [name for name in self.reference.arrays if not self._is_left_out(name)]
        inputs = [name for name in INPUTS if name in found]
        weights = [name for name in found if is_weight(name)]
        steps = [name for name in found if name not in inputs and not is_weight(name)]
        self.names = [*inputs, *weights, *sorted(steps, key=place_of)]
        if not any(self.of(name) for name in self.names if name not in INPUTS):
            raise TraceError(
                f"{reference.label} and {candidate.label} have no tensor in common. Name the "
                "candidate's as the reference's are, or give a name map (--map)."
            )

    def of(self, name: str) -> list[TraceArray]:
        """Return the candidate's arrays for a name of the reference's, the one that bears it first.

        Another name of the same step will do where the reference has no array of that name. One
        array may so stand for several names, but each array stands for at least one.
        """
        group = self._theirs.get(same_step(name, self._layers), [])
        own = [array for array in group if array.step == name]
        others = [array for array in group if array.step not in self.reference.arrays]
        return own + others if own or others else group[:1]

    def notes(self) -> list[str]:
        """Say what the two claim to be made of, if it differs, and which arrays are left over."""
        notes = []
        for member, what in _MANIFEST.items():
            ours, theirs = self.reference.metadata.get(member), self.candidate.metadata.get(member)
            if ours is not None and theirs is not None and ours != theirs:
                notes.append(f"the two are said to be of different {what}.")
        absent = [name for name in self.reference.arrays if self._is_left_out(name)]
        if absent:
            names = listed(absent)
            notes.append(f"in the reference only, need not be there, and not compared: {names}.")
        left = self.left_over()
        if left:
            names = listed([array.stored.name for array in left])
            notes.append(f"in the candidate only, and not compared: {names}.")
        return notes

    def left_over(self) -> list[TraceArray]:
        """Return the candidate's arrays for which the reference has none."""
        known = {same_step(name, self._layers) for name in self.reference.arrays}
        return [a for step, group in self._theirs.items() if step not in known for a in group]

    def _is_left_out(self, name: str) -> bool:
        """Tell whether a name need not be in the candidate, and is not."""
        optional = self._common or name in _OPTIONAL or is_weight(name)
        return optional and not self.of(name)

    def _check_twins(self) -> None:
        """Raise TraceError if the reference has two arrays for one step that differ."""
        for twin in self.reference.twins:
            first = self.reference.arrays[twin.step]
            if not np.array_equal(twin.stored.load(), first.stored.load(), equal_nan=True):
                raise TraceError(
                    f"{self.reference.label}: {quoted(twin.stored.name)} and "
                    f"{quoted(first.stored.name)} are both {quoted(twin.step)}, but differ."
                )


def _check_layers(reference: Trace, candidate: Trace) -> None:
    """Raise TraceError if stacked hidden states or attentions are not those of the layers.

    How many layers there are says the metadata of either or, where that says nothing, the steps.
    """
    traces = (reference, candidate)
    stated = [(count, trace) for trace in traces if (count := _stated_layers(trace)) is not None]
    named = [(layers_in(trace.arrays), trace) for trace in traces]
    layers, whose = stated[0] if stated else max(named, key=lambda pair: pair[0])
    for trace in (candidate, reference):
        check_stacks(trace, layers, whose.label)


def _stated_layers(trace: Trace) -> int | None:
    """Return the number of layers in the config of a trace's metadata, None if it has none."""
    found = _config_of(trace).get("num_hidden_layers")
    return found if type(found) is int else None


def _usual(name: str, padding: int | None) -> str:
    """Say what an input is that a trace leaves out; positions may count from a row of padding."""
    if name == "position_ids" and padding is not None:
        return f"{padding + 1}, {padding + 2}, ... for the ids that are not {padding}"
    return _OPTIONAL[name]


def _counted_from(traces: Sequence[Trace]) -> int | None:
    """Return the row of padding from which a model counts positions, None if from 0.

    What the model is, the config in the metadata of one of its traces says.
    """
    for trace in traces:
        config = _config_of(trace)
        entry = ARCHITECTURES.get(str(config.get("model_type")))
        if entry is not None and entry.positions == "tokens":
            found = entry.position_padding_row(config.get("pad_token_id"))
            return found if type(found) is int else None
    return None


def _config_of(trace: Trace) -> Mapping[str, Any]:
    """Return the config in a trace's metadata, an empty one where there is none."""
    try:
        config = json.loads(trace.metadata.get("config", "{}"))
    except (ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def _completed(trace: Trace, other: Trace) -> Trace:
    """Return a trace with the inputs that it leaves out and another one holds.

    A trace without ids stays as it is: nothing is known of its other inputs.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_bert.traces.reading import as_trace
    >>> ids = {"input_ids": np.array([[2, 5, 3]])}
    >>> other = as_trace({**ids, "position_ids": np.arange(3)})
    >>> _completed(as_trace(ids), other).get("position_ids")
    array([[0, 1, 2]])
    """
    ids = trace.arrays.get("input_ids")
    if ids is None or len(ids.stored.shape) != 2:
        return trace
    arrays = dict(trace.arrays)
    for name in _OPTIONAL:
        if name in other.arrays and name not in arrays:
            array: npt.NDArray[Any] = usual_input(name, ids.stored.shape)
            padding = _counted_from((trace, other))
            if name == "position_ids" and padding is not None:
                array = counted_positions(ids.stored.load(), padding)
            stored = LazyArray(name, array.dtype.name, array.shape, array.view)
            arrays[name] = TraceArray(stored, name, None)
    return replace(trace, arrays=arrays)


class _Comparison:
    """The comparison of pairs of arrays, by one set of rules."""

    def __init__(
        self, pairs: _Pairs, tolerances: Tolerances, all_positions: bool, equal_nan: bool
    ) -> None:
        self.notes: list[str] = []
        self._pairs = pairs
        self.tolerances = tolerances
        self._equal_nan = equal_nan
        self._usual = [_usual_dtype(trace) for trace in (pairs.reference, pairs.candidate)]
        self._stored_mask = _mask_of(pairs.reference)
        self._mask = None if all_positions else self._stored_mask
        tokens, places = (0, 0) if self._mask is None else (int(self._mask.sum()), self._mask.size)
        if tokens < places:
            self.notes.append(
                f"the {tokens} tokens of attention_mask were compared, the {places - tokens} "
                "positions of padding were not (--all-positions)."
            )

    def rows(self, name: str) -> Iterator[StepReport]:
        """Compare one tensor with each array that the candidate has for it."""
        found = self._pairs.of(name)
        if not found:
            yield StepReport(name=name, verdict="differs", text="it is missing in the candidate")
        for number, array in enumerate(found):
            row = self._row(name, array)
            yield row if number == 0 else replace(row, name=array.stored.name)

    def _row(self, name: str, theirs: TraceArray) -> StepReport:
        """Compare one tensor with one array of the candidate's."""
        ours = self._pairs.reference.arrays[name]
        fault = self._fault(name, ours, theirs)
        row = StepReport.of(name, theirs, fault or "")
        if fault is not None:
            return row
        wanted, found = (array.load_in(axes_of(name)) for array in (ours, theirs))
        if name in INPUTS or theirs.dtype not in EPSILONS:
            return self._ids_row(row, found, wanted)
        if name == _POSITIONS:
            found, wanted = np.broadcast_arrays(found, wanted)
        return self._numbers_row(row, found, wanted, self._coarser(ours, theirs, wanted))

    def _fault(self, name: str, ours: TraceArray, theirs: TraceArray) -> str | None:
        """Return why two arrays cannot be compared, None if they can; no number is read."""
        try:
            shapes = [array.shape_in(axes_of(name)) for array in (ours, theirs)]
        except (TraceError, ValueError) as failure:
            return str(failure)
        if not self._fit(name, *shapes):
            return f"its shape must be {shapes[0]}; got {shapes[1]}"
        if not theirs.stored.size:
            return f"it must not be empty; got shape {shapes[1]}"
        integers = [array.dtype not in EPSILONS for array in (ours, theirs)]
        if integers[0] != integers[1] and name not in INPUTS:  # whose values say all
            return f"its dtype must be {ours.dtype}, as in the reference; got {theirs.dtype}"
        claimed = self._pairs.candidate.metadata.get("dtype")
        if (
            name not in INPUTS
            and not is_weight(name)
            and claimed in EPSILONS
            and not integers[1]
            and EPSILONS[theirs.dtype] > EPSILONS[claimed]
        ):
            return f"its dtype must be {claimed}, as the candidate claims; got {theirs.dtype}"
        return None

    def _fit(self, name: str, ours: tuple[int, ...], theirs: tuple[int, ...]) -> bool:
        """Tell whether arrays of two shapes can be compared under one name."""
        if name == "position_ids":
            ours, theirs = (
                self._in_rows(shape, max(ours, theirs, key=len)) for shape in (ours, theirs)
            )
        once = name == _POSITIONS and (1,) in (ours[:1], theirs[:1])
        return ours[1:] == theirs[1:] if once else ours == theirs

    def _in_rows(self, positions: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of positions that are repeated for every row of the ids."""
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
        """Compare integers, which must be equal wherever they count."""
        name = row.name
        if name == "position_ids":
            shape = self._in_rows(found.shape, max(found.shape, wanted.shape, key=len))
            found, wanted = np.broadcast_to(found, shape), np.broadcast_to(wanted, shape)
        counts = _ALL if name == "attention_mask" else self._places(name, found.shape)
        if name not in INPUTS:
            self._tell_constant(name, wanted, counts)
        wrong = found != wanted
        places = np.argwhere(wrong & counts)
        if not len(places):
            if wrong.any():
                self.notes.append(
                    f"{quoted(name)}: {int(wrong.sum())} of {found.size} differ, all at padding, "
                    "which does not count (--all-positions)."
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
        """Compare numbers, which may be apart as far as the tolerances say."""
        places = self._places(row.name, found.shape)
        a, b = found.astype(np.float64), wanted.astype(np.float64)
        if self._equal_nan:
            both = np.isnan(a) & np.isnan(b)
            a, b = np.where(both, 0.0, a), np.where(both, 0.0, b)
        if row.name.endswith(".attention.self.scores") and a.ndim == 4:
            mask = self._stored_mask
            mask = np.ones((a.shape[0], a.shape[-1]), np.bool_) if mask is None else mask
            a, b = (comparable(array, mask).astype(np.float64) for array in (a, b))
        self._tell_constant(row.name, np.where(np.isnan(wanted), np.nan, b), places)
        scale = self._scale(row.name)
        apart = difference(a, b, places, dtype, least=scale)
        scale = max(scale, apart.largest)
        judged = self.tolerances.judge(row.name, apart, (a, b), places, dtype, scale)
        text = "" if judged.passes else self._text(a, b, places)
        numbers = {
            **measured(apart),
            "worst": judged.worst,
            "value": float(a[judged.worst]),
            "expected": float(b[judged.worst]),
        }
        row = replace(row, budget=judged.budget, text=text, **numbers)
        row = replace(row, measure=judged.error, unit=self.tolerances.unit)
        return replace(row, verdict="pass") if judged.passes else row

    def _tell_constant(self, name: str, wanted: npt.NDArray[Any], places: BoolArray) -> None:
        """Note a step of the reference that is one number everywhere; weights may well be."""
        if is_weight(name):
            return
        values = wanted[np.broadcast_to(places, wanted.shape)]
        one = values[0]
        same = (values == one) | (np.isnan(values) & np.isnan(one))
        if same.all() and (values.size > 1 or not one):
            number = f"{float(one) + 0.0:g}"
            self.notes.append(
                f"{quoted(name)}: the reference is all {number} and carries no information."
            )

    def _scale(self, name: str) -> float:
        """Return the largest of the numbers that a mean averages, 0 for what is no mean."""
        path = name.removesuffix(".mean")
        if path == name:
            return 0.0
        total = self._pairs.reference.get(f"{path.removesuffix('.LayerNorm')}.sum")
        variance = self._pairs.reference.get(f"{path}.variance")
        if total is None and variance is not None:
            total = np.sqrt(np.abs(variance))
        return 0.0 if total is None else float(np.nan_to_num(np.abs(total)).max())

    def _text(self, a: npt.NDArray[Any], b: npt.NDArray[Any], places: BoolArray) -> str:
        """Say how many values are not finite, "" if all are."""
        counts = np.broadcast_to(places, a.shape)
        faults = [int((~np.isfinite(array[counts])).sum()) for array in (a, b)]
        if any(faults):
            ours, theirs = faults[1], faults[0]
            return f"{theirs} values of the candidate and {ours} of the reference are not finite"
        return ""

    def _check_mask(self, name: str, axes: str, shape: tuple[int, ...], mask: BoolArray) -> None:
        """Raise TraceError unless a mask has the rows and tokens of a step."""
        sizes = dict(zip(axes, shape, strict=True))
        if (sizes.get("B", len(mask)), sizes.get("T", mask.shape[1])) != mask.shape:
            raise TraceError(
                f"{self._pairs.reference.label}: attention_mask and {quoted(name)} must be of one "
                f"run; got shapes {mask.shape} and {shape}."
            )

    def _places(self, name: str, shape: tuple[int, ...]) -> BoolArray:
        """Return which places of a tensor count."""
        mask, axes = self._mask, axes_of(name, shape[0] if shape else 1)
        if mask is None or is_weight(name):
            return _ALL
        if axes is not None and len(axes) == len(shape):
            self._check_mask(name, axes, shape, mask)
            return counted(axes, mask)
        if shape[:2] != mask.shape:
            return _ALL
        # A name of the user's own, with a row for each token.
        rows: BoolArray = mask.reshape(*mask.shape, *(1,) * (len(shape) - 2))
        return rows


def _mask_of(reference: Trace) -> BoolArray | None:
    """Return the reference's checked mask, None if it has none."""
    found = reference.arrays.get("attention_mask")
    if found is None:
        return None
    shape = reference.arrays.get("input_ids", found).stored.shape
    if len(shape) != 2:
        raise TraceError(
            f"{reference.label}: attention_mask must have shape (B, T); got {found.stored.shape}."
        )
    return read_mask(reference, (shape[0], shape[1]))


def _usual_dtype(trace: Trace) -> str:
    """Return the dtype that most arrays of a trace have."""
    kinds = Counter(a.dtype for a in trace.arrays.values() if a.dtype in EPSILONS)
    return kinds.most_common(1)[0][0] if kinds else "float64"
