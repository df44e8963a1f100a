"""One pass over the steps that a trace holds: each run again from the trace's own numbers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.comparison.differences import (
    EPSILONS,
    comparable,
    counted,
    difference,
    effective_dtype,
)
from numpy_bert.comparison.report import StepReport, measured
from numpy_bert.errors import TraceError
from numpy_bert.model.bert import BertModel
from numpy_bert.traces.layout import axes_of, shape_of, sizes_of
from numpy_bert.traces.reading import Trace, TraceArray
from numpy_bert.verification.diagnosis import Case, Visibility, diagnose, refined
from numpy_bert.verification.mistakes import Cause, Setting
from numpy_bert.verification.steps import Step, segment_of

__all__ = ["Run"]

# How many arrays are kept: a step reads at most a few that lie shortly before it.
_KEPT = 8


class Run:
    """One pass over the steps that a trace holds, in which each is run again.

    Parameters
    ----------
    candidate : Trace
        The trace to verify.
    model : BertModel
        The model, in float64.
    setting : Setting
        The steps and the inputs of the model.
    reference : Trace or None
        A second trace, whose distance from float64 is measured, too.
    all_positions : bool
        Whether padding counts, too.
    look_for_hidden : bool
        Whether to find out which mistakes the trace could not have shown.

    Raises
    ------
    TraceError
        If the candidate holds no step of the model.
    """

    def __init__(
        self,
        candidate: Trace,
        model: BertModel,
        setting: Setting,
        reference: Trace | None,
        *,
        all_positions: bool,
        look_for_hidden: bool,
    ) -> None:
        inputs = setting.inputs
        sizes = sizes_of(model.config, *inputs.input_ids.shape)
        self._model = model
        self._setting = setting
        self._held = _Held(candidate, setting.steps, sizes)
        self._reference = None if reference is None else _Held(reference, setting.steps, sizes)
        self._mask = np.ones_like(inputs.attention_mask) if all_positions else inputs.attention_mask
        self.visibility = Visibility(setting)
        self._looks_for_hidden = look_for_hidden
        self._nearer = [0, 0]
        self._shared = 0
        self._named: list[Cause] = []
        if not len(self._held) and not self._held.faults:
            raise TraceError(
                f"{candidate.label} must hold a step of a BERT under a known name; it holds none. "
                "Name the steps as transformers' modules are named, or give a name map (--map)."
            )

    @property
    def count(self) -> int:
        """How many arrays of the trace are steps of the model."""
        return len(self._held) + len(self._held.faults) + len(self._held.trace.twins)

    def rows(self) -> Iterator[StepReport]:
        """Yield a row for each array of the trace that is a step."""
        inputs = self._setting.inputs
        twins: dict[str, list[TraceArray]] = {}
        for twin in self._held.trace.twins:
            twins.setdefault(twin.step, []).append(twin)
        stream = self._model.trace(
            inputs.input_ids, inputs.attention_mask, inputs.token_type_ids, inputs.position_ids
        )
        for name, truth in stream:
            if name in self._held.faults:
                fault = self._held.faults[name]
                yield StepReport.of(name, self._held.trace.arrays[name], fault)
            elif name in self._held:
                row = self._row(self._setting.steps[name], truth)
                yield row
                for twin in twins.get(name, ()):
                    yield self._twin(twin, row)

    def notes(self) -> list[str]:
        """Say whether the candidate or the reference is nearer to float64."""
        ours, theirs = self._nearer
        if not ours + theirs:
            why = "are as near" if self._shared else "have no step in common"
            return [] if self._reference is None else [f"candidate and reference {why}."]
        who = "the candidate" if ours >= theirs else "the reference"
        return [
            f"{who} is the nearer to float64: the candidate at {ours} steps, the reference at "
            f"{theirs}."
        ]

    def _row(self, step: Step, truth: Array) -> StepReport:
        """Return the row of one step; `truth` is what the model makes of the ids."""
        array = self._held.trace.arrays[step.name]
        case = self._case(step, array.dtype)
        allowed = case.allowed
        truth = np.broadcast_to(case.view(truth), case.found.shape)
        total = difference(case.found, truth, case.places, case.dtype)
        own = difference(case.found, case.expected, case.places, case.dtype)
        inherited = difference(case.expected, truth, case.places, case.dtype)
        if self._looks_for_hidden:
            self.visibility.look(case)
        row = replace(
            StepReport.of(step.name, array),
            verdict="pass" if own.max_abs <= allowed < np.inf and not own.faults else "differs",
            own=own.max_abs,
            inherited=inherited.max_abs,
            budget=allowed,
            reference=self._distance_of_reference(step, truth, case, total.max_abs),
            **measured(total),
        )
        if row.verdict == "pass":
            return row
        block = step.name.removesuffix(".LayerNorm")
        after = self._held[block] if block != step.name and block in self._held else None
        why = refined(diagnose(case, self._setting, self._named), case, after)
        if why.cause is not None:
            self._named.append(why.cause)
        # What makes the step guilty is its own error, so that is where to look.
        return replace(
            row,
            worst=own.worst,
            value=own.value,
            expected=own.expected,
            cause=None if why.cause is None else why.cause.name,
            text=why.text,
        )

    def _case(self, step: Step, dtype: str) -> Case:
        """Return the case of a step: as the candidate has it, and as it should be."""
        view = self._view(step)
        raw = self._held[step.name]
        segment = segment_of(step.name, self._setting.steps, self._held)
        arrays = {name: self._held[name] for name in segment.inputs}
        expected = view(segment.run(arrays))
        places = self._places(step, raw)
        case = Case(
            segment,
            arrays,
            view(raw),
            np.broadcast_to(expected, raw.shape),
            places,
            effective_dtype(raw[np.broadcast_to(places, raw.shape)], dtype),
            view,
        )
        return case._replace(allowed=case.budget(case.expected))

    def _view(self, step: Step) -> Callable[[Array], Array]:
        """Return what is done to a step before it is compared."""
        if step.kind != "scores":
            return lambda array: array
        return partial(comparable, mask=self._setting.inputs.attention_mask)

    def _places(self, step: Step, found: Array) -> BoolArray:
        """Return which places of a step count."""
        return counted(axes_of(step.name, len(found)) or "", self._mask)

    def _distance_of_reference(
        self, step: Step, truth: Array, case: Case, own: float
    ) -> float | None:
        """Measure the reference, and count who is nearer."""
        if self._reference is None or step.name not in self._reference:
            return None
        other = case.view(self._reference[step.name])
        if other.shape != truth.shape and len(other) != 1:
            other = other[:1]  # positions in every row, where the candidate has them once
        other = np.broadcast_to(other, truth.shape)
        self._shared += 1
        distance = difference(other, truth, case.places, "float32").max_abs
        if distance != own:
            self._nearer[own > distance] += 1
        return distance

    def _twin(self, twin: TraceArray, row: StepReport) -> StepReport:
        """Hold a second array of one step against the first."""
        step = self._setting.steps[twin.step]
        name, first = twin.stored.name, self._held[twin.step]
        own = replace(row, name=name, shape=twin.stored.shape, dtype=twin.dtype, cause=None)
        fault = self._held.fault_of(twin, step)
        if fault is not None:
            return replace(own, verdict="differs", text=fault)
        found = self._held.load(twin)
        if found.shape != first.shape:
            return replace(own, verdict="differs", text=f"it is not shaped as {twin.step} is")
        apart = difference(found, first, self._places(step, first), "float32").max_abs
        same = apart <= (row.budget or 0.0)
        text = "" if same else f"it differs from {twin.step}, which it is another name of"
        return replace(
            own,
            verdict="pass" if same else "differs",
            own=apart,
            inherited=row.max_abs,
            text=text,
        )


class _Held(Collection[str]):
    """The steps that a trace holds in the shape that they must have.

    Attributes
    ----------
    trace : Trace
        The trace.
    steps : mapping of str to Step
        The steps of the model, in execution order.
    faults : dict of str to str
        Why the arrays of the other steps cannot be used, by their names.
    """

    def __init__(self, trace: Trace, steps: Mapping[str, Step], sizes: dict[str, int]) -> None:
        self.trace = trace
        self.steps = steps
        self.faults: dict[str, str] = {}
        self._sizes = sizes
        self._cache: OrderedDict[str, Array] = OrderedDict()
        held = (name for name in steps if name in trace.arrays and self._fits(name))
        self._names = dict.fromkeys(held)  # a set in the order of execution

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __getitem__(self, name: str) -> Array:
        """Return the array of a step in float64, in the step's own axes."""
        if name not in self._cache:
            self._cache[name] = self.load(self.trace.arrays[name])
            if len(self._cache) > _KEPT:
                self._cache.popitem(last=False)
        self._cache.move_to_end(name)
        return self._cache[name]

    def load(self, array: TraceArray) -> Array:
        """Return an array of the trace in float64, in its step's axes."""
        return array.load_in(self.steps[array.step].axes).astype(np.float64)

    def _fits(self, name: str) -> bool:
        """Tell whether an array can be used for its step; if not, say why in `faults`."""
        array, step = self.trace.arrays[name], self.steps[name]
        fault = self.fault_of(array, step)
        if fault is not None:
            self.faults[name] = fault
        return fault is None

    def fault_of(self, array: TraceArray, step: Step) -> str | None:
        """Return why an array cannot be used for a step, None if it can."""
        expected = shape_of(step.axes, self._sizes)
        shape = array.stored.shape
        if array.dtype not in EPSILONS:
            return f"its dtype must be a float; got {array.dtype}"
        if not array.stored.size:
            return f"it must not be empty; got shape {shape}"
        try:
            shape = array.shape_in(step.axes)
        except (TraceError, ValueError) as failure:
            return str(failure)
        rows = (self._sizes["B"], *expected[1:])
        if shape == expected or (step.kind == "position_embeddings" and shape == rows):
            return None
        return f"its shape must be {expected}; got {shape}"
