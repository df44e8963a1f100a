"""Which few arrays of a port to save next, so that few runs lead to its guilty step.

A step through which every way from the ids passes tells by one array whether all before it is
right. Such steps (the embedding, and both halves of each layer) are asked for first, so that each
run halves what is left; where there are none in between, everything in between is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from numpy_bert.comparison.differences import counted
from numpy_bert.comparison.report import Report, StepReport
from numpy_bert.errors import TraceError
from numpy_bert.loading.keys import near_miss
from numpy_bert.messages import listed, must_be, quoted
from numpy_bert.model.bert import BertModel
from numpy_bert.reprs import short_repr
from numpy_bert.traces.layout import BIAS, INPUTS, axes_of, same_step
from numpy_bert.traces.names import NameMap, matches
from numpy_bert.traces.reading import Trace, TraceArray, as_trace
from numpy_bert.traces.trace_inputs import TraceInputs, read_inputs, taken_by
from numpy_bert.verification.steps import Segment, segment_of, steps_of
from numpy_bert.verification.verify import verify

__all__ = ["Bisection", "Port", "PortRun", "arrays_of_inputs", "bisect", "next_arrays"]

# Takes the names of steps, and returns these arrays of a run: by the same names, or as a trace.
Port = Callable[[tuple[str, ...]], "Mapping[str, Any] | Trace"]
# More steps than a layer has are no few arrays.
_MANY = 24
# Seconds; between arrays of one half of a layer it takes a few.
_FOR_THE_CAUSE = 60.0
# A part of the largest number that no other order of sums makes of a difference.
_LARGE = 1e-3


class PortRun(NamedTuple):
    """One run of a port: what it was asked for, what of it it lacks, and what then differs first.

    `again` are the arrays that it had been asked for before, to see that they are the same.
    """

    asked: tuple[str, ...]
    again: tuple[str, ...]
    missing: tuple[str, ...]
    first: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bisection:
    """What the arrays of a port tell so far, and which ones to save next.

    Attributes
    ----------
    report : Report or None
        The verification of the arrays, up to the first that differs; None while there are none.
    wanted : tuple of str
        The names of the arrays to save next, none where nothing is left to ask for.
    is_found : bool
        Whether the report is the answer: it names the guilty step, or all passes to the end.
        Arrays that are wanted all the same would make it sharper.
    sentence : str
        The answer, or why these arrays are wanted.
    again : tuple of str
        The arrays between which the wanted ones lie, where the trace holds them.
    runs : tuple of PortRun
        The runs of the port so far.
    notes : tuple of str
        What else a reader must know, as sentences.
    is_spread : bool
        Whether the end differs although each part of the way is within its budget.
    """

    __repr__ = short_repr

    report: Report | None
    wanted: tuple[str, ...]
    is_found: bool
    sentence: str
    again: tuple[str, ...] = ()
    runs: tuple[PortRun, ...] = ()
    notes: tuple[str, ...] = ()
    is_spread: bool = False

    @property
    def verdict(self) -> Literal["pass", "differs"] | None:
        """Whether the port differs; None while nothing has been verified."""
        if self.report is None:
            return None
        return "differs" if self.is_spread else self.report.verdict

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as JSON has it."""
        report = self.report
        return {
            "verdict": self.verdict,
            "found": self.is_found,
            "first": None if report is None else report.first,
            "cause": None if report is None else report.cause,
            "sentence": self.sentence,
            "wanted": list(self.wanted),
            "runs": [run._asdict() for run in self.runs],
            "notes": list(self.notes),
            "report": None if report is None else report.as_dict(),
        }


def next_arrays(
    candidate: Trace,
    model: BertModel,
    *,
    arrays: int = 1,
    until: str | None = None,
    only: Sequence[str] = ("*",),
    precision: str | None = None,
    all_positions: bool = False,
) -> Bisection:
    """Say which arrays to add to a trace so that the guilty step is found in few runs.

    Parameters
    ----------
    candidate : Trace
        The trace so far; ``input_ids`` alone are a beginning.
    model : BertModel
        The model, as `verify` takes it.
    arrays : int
        How many arrays to ask for at once, as long as more than one part of a layer is left.
    until : str, optional
        The step that is asked for first, up to which the port must be right; by default the last
        hidden state, ``"encoder"``.
    only : sequence of str
        Globs of the arrays that the port can save.
    precision : {"float16", "bfloat16", "tf32"}, optional
        What the port is meant to compute in, where its arrays do not say so.
    all_positions : bool
        Whether padding counts, too.

    Raises
    ------
    TraceError
        If `until` or `only` name no step, or the trace cannot be verified.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> model = BertModel.from_pretrained("demo")
    >>> ids = np.array([[2, 5, 3]])
    >>> next_arrays(as_trace({"input_ids": ids}), model).wanted
    ('encoder',)
    >>> found = {"input_ids": ids, "encoder": np.zeros((1, 3, 128), np.float32)}
    >>> next_arrays(as_trace(found), model).wanted
    ('encoder.layer.0.attention',)
    """
    inputs = read_inputs(candidate, model)
    options = {"precision": precision, "all_positions": all_positions}
    search = _Search(model, inputs, arrays, until, only, options)
    return search.look(candidate)


def bisect(
    port: Port,
    model: BertModel,
    inputs: TraceInputs,
    *,
    arrays: int = 1,
    until: str | None = None,
    only: Sequence[str] = ("*",),
    names: NameMap | None = None,
    precision: str | None = None,
    all_positions: bool = False,
) -> Iterator[Bisection]:
    """Run a port again and again until its guilty step is found.

    With P places in a model (the embedding, and the two halves of each layer) and K `arrays` a run
    it takes at most ``ceil(log(P, K + 1)) + 2`` runs, of which the first asks for the end and the
    last for all that is inside the guilty half. A port that is right is run twice: a mistake that
    the budget of the whole way hides may show on a shorter one, so all places are asked for.

    Parameters
    ----------
    port : callable
        Takes the names of steps, runs the port on the inputs, and returns these arrays by name. It
        may return others too, and may lack some.
    model, arrays, until, only, precision, all_positions
        The same parameters as those of `next_arrays`.
    inputs : TraceInputs
        What the port is run on.
    names : NameMap, optional
        What the port calls the steps, where these are not the names that it is asked for.

    Yields
    ------
    Bisection
        What is known before each run, and at last the answer, which wants nothing.

    Raises
    ------
    TraceError
        If the port has not even the end, or was run on other ids.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> from numpy_bert.traces.trace_inputs import inputs_of
    >>> model = BertModel.from_pretrained("demo")
    >>> inputs = inputs_of({"input_ids": np.array([[2, 5, 3]])}, model)
    >>> right = dict(model.trace(inputs.input_ids))
    >>> def port(names):
    ...     return {name: right[name] for name in names}
    >>> for found in bisect(port, model, inputs):
    ...     print(len(found.runs), found.wanted)
    0 ('encoder',)
    1 ('embeddings', 'encoder.layer.0.attention', 'encoder.layer.0', 'encoder.layer.1.attention')
    2 ()
    >>> found.verdict
    'pass'
    """
    options = {"precision": precision, "all_positions": all_positions}
    search = _Search(model, inputs, arrays, until, only, options)
    record = _Record(inputs, model, names or NameMap())
    found = search.look(record.trace)
    while True:
        found = replace(found, runs=tuple(record.runs), notes=tuple(record.notes))
        yield found
        if not found.wanted:
            return
        asked, again = found.wanted, found.again
        answer = port((*asked, *again))
        record.add(answer)
        missing = tuple(name for name in asked if name not in record.trace.arrays)
        if not record.runs and missing:
            _refuse(record.trace, missing)
        search.missing.update(missing)
        search.misses = search.misses + 1 if missing == asked else 0
        found = search.look(record.trace)
        first = None if found.report is None else found.report.first
        record.runs.append(PortRun(asked, again, missing, first))


def arrays_of_inputs(inputs: TraceInputs, model: BertModel) -> dict[str, Any]:
    """Return what a port is run on, by the names of the trace contract, as int64."""
    return {n: array for n, array in taken_by(model, inputs).items() if n in INPUTS[:3]}


def _refuse(trace: Trace, missing: Sequence[str]) -> None:
    """Raise TraceError for a port that lacks the array with which all begins."""
    others = [name for name in trace.arrays if name not in INPUTS]
    came = listed(others) if others else "nothing"
    raise TraceError(
        f"{trace.label} must give {missing[0]}, which it was asked for; got {came}. Give each "
        "array the name that it is asked for by, or a name map (--map)."
    )


class _Search:
    """What is asked for next, by the arrays that are there.

    Attributes
    ----------
    missing : set of str
        What the port was asked for and lacks.
    misses : int
        In how many runs, up to the last, the port lacked all that it was asked for.
    """

    def __init__(
        self,
        model: BertModel,
        inputs: TraceInputs,
        arrays: int,
        until: str | None,
        only: Sequence[str],
        options: Mapping[str, Any],
    ) -> None:
        self.missing: set[str] = set()
        self.misses = 0
        self._model = model
        self._steps = steps_of(model.config, model.parameters, inputs)
        self._arrays = arrays
        self._only = only
        self._options = options
        self._has_differed = False
        last = "encoder" if "encoder" in self._steps else "embeddings"
        self._until = last if until is None else until
        if arrays < 1:
            raise TraceError(must_be("arrays", "1 or more", arrays))
        if self._until not in self._steps:
            twin = near_miss(self._until, list(self._steps))
            hint = f" Did you mean {twin}?" if twin else ""
            raise TraceError(
                f"{quoted(self._until)} must be a step of this model; it is none.{hint}"
            )
        if not any(matches(name, only) for name in self._steps):
            raise TraceError(f"{listed(only)} must fit a step of this model; it fits none.")

    def look(self, candidate: Trace) -> Bisection:
        """Verify what is there, and choose what to ask for next."""
        if not set(candidate.arrays) - set(INPUTS):
            return Bisection(
                report=None,
                wanted=(self._until,),
                is_found=False,
                sentence="It begins with the end: whether the port is wrong at all.",
            )
        report = self._verified(candidate, seconds=0.0)
        guilty = report.guilty
        if guilty is None:
            return self._of_right(report)
        self._has_differed = True
        held = {row.name for row in report.steps}
        if guilty.name in self._steps and guilty.own is not None:
            segment = segment_of(guilty.name, self._steps, held)
            wanted = self._within(segment)
            if wanted:
                return Bisection(
                    report=report,
                    wanted=wanted,
                    is_found=False,
                    sentence=self._why(guilty, segment),
                    again=(*segment.inputs, guilty.name),
                )
        report = self._verified(candidate, seconds=_FOR_THE_CAUSE)
        return Bisection(report=report, wanted=(), is_found=True, sentence=report.sentence)

    def _verified(self, candidate: Trace, *, seconds: float) -> Report:
        """Verify up to the first array that differs, and look so long for the cause."""
        return verify(
            candidate,
            self._model,
            fail_fast=True,
            look_for_hidden=False,
            time_limit=seconds,
            **self._options,
        )

    def _of_right(self, report: Report) -> Bisection:
        """Return what to do where all that is there passes."""
        layers = self._model.config.num_hidden_layers
        seen = {same_step(row.name, layers) for row in report.steps}
        if same_step(self._until, layers) not in seen and self._until not in self.missing:
            why = f"All that is there is right; whether {self._until} is is not known."
            return Bisection(report=report, wanted=(self._until,), is_found=False, sentence=why)
        whole = segment_of(self._until, self._steps, ())
        left = [name for name in self._places(whole) if same_step(name, layers) not in seen]
        if self._has_differed and not left:
            return Bisection(
                report=report, wanted=(), is_found=True, sentence=_SPREAD, is_spread=True
            )
        sentence = report.sentence
        if left:
            sentence += (
                " A mistake that the budget of a long way hides may show on a shorter one: save "
                "what lies between."
            )
        return Bisection(report=report, wanted=tuple(left), is_found=True, sentence=sentence)

    def _within(self, segment: Segment) -> tuple[str, ...]:
        """Return what to ask for inside a segment whose end alone is wrong."""
        inside = [step.name for step in segment.steps[:-1] if self._can_ask(step.name)]
        places = self._places(segment)
        if self.misses:  # rather than one name after another
            return tuple(places if places and self.misses == 1 else inside)
        if places:
            count, parts = min(self._arrays, len(places)), len(places) + 1
            return tuple(places[(n + 1) * parts // (count + 1) - 1] for n in range(count))
        return tuple(inside) if len(inside) <= _MANY else (_middle(segment, inside),)

    def _places(self, segment: Segment) -> list[str]:
        """Return the places of a segment that can be asked for."""
        return _places_in(segment, self._can_ask)

    def _can_ask(self, name: str) -> bool:
        return name not in self.missing and matches(name, self._only)

    def _why(self, guilty: StepReport, segment: Segment) -> str:
        """Say where the guilty step must be."""
        right = f"{listed(segment.inputs, most=3)} " if segment.inputs else ""
        before = f"{right}{'are' if len(segment.inputs) > 1 else 'is'} right" if right else ""
        most = _most_runs(len(self._places(segment)), self._arrays)
        return (
            f"{guilty.name} is wrong{f', {before}' if before else ''}; {len(segment.steps)} steps "
            f"are left, and at most {most} more run{'s' * (most > 1)}."
        )


_SPREAD = (
    "Each part of the way is within its budget, but not the whole: no single step is guilty. Often "
    "weights or sums are of a lower precision than the arrays say."
)


class _Record:
    """The arrays that a port has given so far, the newest of each name.

    Attributes
    ----------
    trace : Trace
        These arrays, and the inputs.
    runs : list of PortRun
        The runs so far.
    notes : list of str
        What is strange in them.
    """

    def __init__(self, inputs: TraceInputs, model: BertModel, names: NameMap) -> None:
        self._mask = inputs.attention_mask
        self._given = arrays_of_inputs(inputs, model)
        self._names = names
        self.trace = as_trace(self._given, label="the port")
        self.runs: list[PortRun] = []
        self.notes: list[str] = []

    def add(self, answer: Mapping[str, Any] | Trace) -> None:
        """Add what a run has given."""
        if not isinstance(answer, Trace):
            answer = as_trace(answer, self._names, label="the port")
        self._check_inputs(answer)
        arrays: dict[str, TraceArray] = dict(self.trace.arrays)
        for name, array in answer.arrays.items():
            if name in INPUTS:
                continue
            if name in arrays and not self.notes:
                self._check_same(name, arrays[name], array)
            arrays[name] = array
        self.trace = replace(self.trace, arrays=arrays, twins=answer.twins)

    def _check_inputs(self, answer: Trace) -> None:
        """Raise TraceError if the port says that it was run on something else."""
        for name, own in self._given.items():
            found = answer.get(name)
            counts = ... if name == "attention_mask" else self._mask
            if found is not None and (found.shape != own.shape or (found != own)[counts].any()):
                raise TraceError(
                    f"the port must be run on the {name} that it is given; it was run on others."
                )

    def _check_same(self, name: str, old: TraceArray, new: TraceArray) -> None:
        """Note an array that is another one in each run."""
        first, second = (array.stored.load().astype(np.float64) for array in (old, new))
        if first.shape != second.shape:
            return
        axes = axes_of(name, len(first) if first.ndim else 1) or ""
        places = counted(axes, self._mask) if len(axes) == first.ndim else True
        counts = places & np.isfinite(first) & np.isfinite(second)
        apart = float(np.max(np.abs(first - second), where=counts, initial=0.0))
        if apart > 0.0:
            size = float(np.max(np.abs(first), where=counts, initial=0.0))
            hint = " Is dropout on?" if apart > _LARGE * size else ""
            self.notes.append(
                f"the port is not deterministic: its {name} differs by {apart:.1e} from one run to "
                f"the next.{hint}"
            )


def _places_in(segment: Segment, can_ask: Callable[[str], bool]) -> list[str]:
    """Return the steps of a segment through which every way to its end passes.

    Of those that follow one another directly the last is returned, and none of those that lead
    directly to the end.
    """
    steps = segment.steps
    number = {step.name: n for n, step in enumerate(steps)}
    # Which step is the last to read what was there before the segment, or what a step made.
    readers = [0] * (len(steps) + 1)
    for n, step in enumerate(steps):
        for source in step.inputs or ("",):
            if BIAS not in (source, step.name):  # which every layer reads
                readers[number.get(source, -1) + 1] = n
    places, is_taken = list[str](), True
    for n in range(len(steps) - 2, -1, -1):
        if max(readers[: n + 1]) > n:  # a way leads past it
            is_taken = False
        elif not is_taken and can_ask(steps[n].name):
            places.append(steps[n].name)
            is_taken = True
    return places[::-1]


def _middle(segment: Segment, names: Sequence[str]) -> str:
    """Return the step before which there is as much of the segment as there is elsewhere."""
    before: dict[str, set[str]] = {}
    for step in segment.steps:
        own = [before[name] for name in step.inputs if name in before]
        before[step.name] = {step.name}.union(*own)
    return min(names, key=lambda name: abs(2 * len(before[name]) - len(segment.steps)))


def _most_runs(places: int, arrays: int) -> int:
    """Return how many runs lead to the guilty step among so many places, at most.

    Examples
    --------
    >>> [_most_runs(places, 1) for places in (0, 1, 12, 24)], _most_runs(12, 3)
    ([1, 2, 5, 6], 3)
    """
    runs, parts = 1, places + 1
    while parts > 1:
        parts = math.ceil(parts / (arrays + 1))
        runs += 1
    return runs
