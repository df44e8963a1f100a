"""One pass over the steps that a trace holds: each run again from the trace's own numbers."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
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
from numpy_bert.traces.layout import axes_of, shape_of, sizes_of
from numpy_bert.traces.reading import Trace, TraceArray
from numpy_bert.verification.cases import LONG, Case
from numpy_bert.verification.diagnosis import diagnose, refined, what_to_save
from numpy_bert.verification.mistakes import Cause, Setting
from numpy_bert.verification.rounding import analysed, budgets, share_of
from numpy_bert.verification.search import TimeLimit
from numpy_bert.verification.steps import Segment, Step, segment_of
from numpy_bert.verification.visibility import Visibility

__all__ = ["Run"]

# How many arrays are kept: a step reads at most a few that lie shortly before it.
_KEPT = 8


class Run:
    """One pass over the steps that a trace holds, in which each is run again.

    Parameters
    ----------
    candidate : Trace
        The trace to verify.
    setting : Setting
        The steps and the inputs of the model.
    reference : Trace or None
        A second trace, whose distance from float64 is measured, too.
    all_positions : bool
        Whether padding counts, too.
    look_for_hidden : bool
        Whether to find out which mistakes the trace could not have shown.
    precision : str or None
        The dtype that the port is meant to compute in, a key of `EPSILONS`; None: that of its
        arrays.
    limit : TimeLimit
        How long causes are looked for.
    tell : callable
        Gets a sentence where a cause is looked for that may take long.

    Raises
    ------
    TraceError
        If the candidate holds no step of the model.
    """

    def __init__(
        self,
        candidate: Trace,
        setting: Setting,
        reference: Trace | None,
        *,
        all_positions: bool,
        look_for_hidden: bool,
        precision: str | None,
        limit: TimeLimit,
        tell: Callable[[str], object],
    ) -> None:
        inputs = setting.inputs
        sizes = sizes_of(setting.config, *inputs.input_ids.shape)
        self._setting = setting
        self._precision = precision
        self._limit = limit
        self._tell = tell
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
        twins: dict[str, list[TraceArray]] = {}
        for twin in self._held.trace.twins:
            twins.setdefault(twin.step, []).append(twin)
        truths = _Truths(self._held, self._setting.steps)
        for name, step in self._setting.steps.items():
            if name in self._held.faults:
                fault = self._held.faults[name]
                yield StepReport.of(name, self._held.trace.arrays[name], fault)
            elif name in self._held:
                row = self._row(step, truths)
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

    def _row(self, step: Step, truths: _Truths) -> StepReport:
        """Return the row of one step, held against itself and against what the ids give."""
        array = self._held.trace.arrays[step.name]
        case, result = self._case(step, truths.segments[step.name])
        truth = np.broadcast_to(case.view(truths.take(step.name, result)), case.found.shape)
        total = difference(case.found, truth, case.places, case.dtype)
        own = difference(case.found, case.expected, case.places, case.dtype)
        inherited = difference(case.expected, truth, case.places, case.dtype)
        need = share_of(case.found - case.expected, case.allowed, case.places)
        if self._looks_for_hidden:
            self.visibility.look(case)
        row = replace(
            StepReport.of(step.name, array),
            verdict="pass" if need.share <= 1.0 and not own.faults else "differs",
            own=need.error,
            inherited=inherited.max_abs,
            budget=need.budget,
            unit=need.unit,
            reference=self._distance_of_reference(step, truth, case, total.max_abs),
            **measured(total),
        )
        if row.verdict == "pass":
            return row
        block = step.name.removesuffix(".LayerNorm")
        after = self._held[block] if block != step.name and block in self._held else None
        if len(case.segment.steps) > LONG and not self._limit.is_over:
            self._tell(
                f"{step.name} differs, by {row.own:.2g} of its own (its budget is "
                f"{row.budget:.2g}); looking for the cause, for {self._limit.seconds:g} s at most. "
                f"For a quick answer, {what_to_save(case.segment)}."
            )
        why = refined(diagnose(case, self._setting, self._limit, self._named), case, after)
        if why.cause is not None:
            self._named.append(why.cause)
        # What makes the step guilty is its own error, so that is where to look.
        return replace(
            row,
            worst=need.worst,
            value=float(case.found[need.worst]),
            expected=float(case.expected[need.worst]),
            cause=None if why.cause is None else why.cause.name,
            text=why.text,
        )

    def _case(self, step: Step, segment: Segment) -> tuple[Case, Array]:
        """Return a step as the candidate has it and as it should be, and this before any view."""
        view, raw = self._view(step), self._held[step.name]
        places = self._places(step, raw)
        dtype = self._dtype_of(step, segment, raw[np.broadcast_to(places, raw.shape)])
        arrays = {name: self._held[name] for name in segment.inputs}
        found = analysed(segment, arrays, dtype)
        case = Case(
            segment,
            arrays,
            view(raw),
            np.broadcast_to(view(found.result), raw.shape),
            places,
            dtype,
            view,
            np.broadcast_to(budgets(found, dtype), raw.shape),
            self._held,
        )
        return case, found.result

    def _dtype_of(self, step: Step, segment: Segment, found: Array) -> str:
        """Return the coarsest dtype that a step was computed in or from, as far as can be known.

        Of a step that is not in the trace it is taken that it has the dtype of its neighbours, the
        steps of the same module.
        """
        stored = effective_dtype(found, self._held.trace.arrays[step.name].dtype)
        modules = {step.name.rpartition(".")[0] for step in segment.steps[:-1]}
        near = (name for name in self._held if name.rpartition(".")[0] in modules)
        dtypes = [self._held.trace.arrays[name].dtype for name in (*segment.inputs, *near)]
        if self._precision is not None:
            dtypes.append(self._precision)
        known = [dtype for dtype in dtypes if EPSILONS[dtype] > EPSILONS["float32"]]
        return max([stored, *known], key=EPSILONS.__getitem__)

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


class _Truths:
    """What the model makes of the ids in float64, step by step as a trace holds them.

    Attributes
    ----------
    segments : dict of str to Segment
        The segment of each step that is held, from the nearest ones that are.
    """

    def __init__(self, held: _Held, steps: Mapping[str, Step]) -> None:
        self.segments = {name: segment_of(name, steps, held) for name in held}
        self._left = Counter(name for own in self.segments.values() for name in own.inputs)
        self._arrays: dict[str, Array] = {}

    def take(self, name: str, result: Array) -> Array:
        """Return the truth of a step; `result` is what its segment gives from the trace's arrays.

        The steps have to be taken in order. What no later one reads is dropped.
        """
        segment = self.segments[name]
        # A segment that begins at the ids read nothing of the trace, so it is the truth.
        truth = segment.run(self._arrays) if segment.inputs else result
        for read in segment.inputs:
            self._left[read] -= 1
            if not self._left[read]:
                del self._arrays[read]
        if self._left[name]:
            self._arrays[name] = truth
        return truth


class _Held(Mapping[str, Array]):
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
        expected = shape_of(step.name, step.axes, self._sizes)
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
