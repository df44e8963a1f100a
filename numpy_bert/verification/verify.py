"""A trace against the float64 specification: each step run again from the trace's own numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from numpy_bert.arrays import BoolArray
from numpy_bert.comparison.report import Report, StepReport
from numpy_bert.errors import TraceError
from numpy_bert.loading.keys import near_miss
from numpy_bert.messages import listed
from numpy_bert.model.bert import BertModel
from numpy_bert.parameters import arrays_of
from numpy_bert.progress import progress
from numpy_bert.text.inputs import as_texts
from numpy_bert.text.tokenizer import BertTokenizer
from numpy_bert.traces.inputs import Inputs, padding_left_in, read_inputs
from numpy_bert.traces.names import INPUTS, is_weight, matches, place_of
from numpy_bert.traces.reading import Trace
from numpy_bert.verification.ids import compare_positions, compare_texts
from numpy_bert.verification.mistake import Setting
from numpy_bert.verification.run import Run
from numpy_bert.verification.sizes import check_sizes
from numpy_bert.verification.steps import steps_of
from numpy_bert.verification.weights import compare_with_model

__all__ = ["verify"]


def verify(
    candidate: Trace,
    model: BertModel,
    *,
    tokenizer: BertTokenizer | None = None,
    texts: Sequence[str] | None = None,
    pair: bool = False,
    reference: Trace | None = None,
    allow: Sequence[str] = (),
    all_positions: bool = False,
    fail_fast: bool = False,
    look_for_hidden: bool = True,
) -> Report:
    """Find the first step at which a trace leaves BERT's arithmetic, by how much, and why.

    numpy_bert runs the trace's own ids in float64. Each step that the trace holds is then run once
    more on the trace's own earlier numbers: what differs from that is the step's own error, the
    rest is inherited. A step whose own error is more than rounding explains is guilty.

    Parameters
    ----------
    candidate : Trace
        What is verified. It need not hold every step: what is absent is computed from the nearest
        step before it that is there.
    model : BertModel
        Loaded with ``dtype="float64"``.
    tokenizer, texts : optional
        The model's tokenizer, and what the ids were made of, by default as the trace says: then
        the ids are verified too.
    pair : bool
        Whether `texts` are the two of one row.
    reference : Trace, optional
        A second trace of the same ids, of which is told how far it is from float64.
    allow : sequence of str
        Globs of what may differ, ``position_ids`` among them: then they are taken as they are.
    all_positions : bool
        Whether padding counts too.
    fail_fast : bool
        Stop at the first step that differs.

    look_for_hidden : bool
        Whether to find out which mistakes the trace could not have shown: half of the time.

    Returns
    -------
    Report
        Inputs, weights and steps in this order, the first that differs, and its cause.

    Raises
    ------
    TraceError
        If the trace holds no ids, or no step, or is of a model of other sizes.
    InputError
        If its ids are not the model's.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> from numpy_bert.traces.reading import as_trace
    >>> model = BertModel.from_pretrained("demo", dtype="float64")
    >>> ids = np.array([[2, 5, 3]])
    >>> steps = dict(BertModel.from_pretrained("demo").trace(ids))
    >>> verify(as_trace({"input_ids": ids, **steps}), model).verdict
    'pass'
    >>> steps["encoder.layer.0.intermediate"] = steps["encoder.layer.0.intermediate.dense"]
    >>> verify(as_trace({"input_ids": ids, **steps}), model).sentence  # doctest: +ELLIPSIS
    'The first to differ is encoder.layer.0.intermediate, ...: the activation is left out; it ...'
    """
    if model.dtype != np.float64:
        raise TraceError("verify: the model computes in float32; load it with dtype='float64'.")
    check_sizes(candidate, model.config, ", ".join(model.loading_info.files))
    task = _Task(
        model=model,
        tokenizer=tokenizer,
        texts=texts,
        pair=pair,
        reference=reference,
        allow=allow,
        all_positions=all_positions,
        fail_fast=fail_fast,
        look_for_hidden=look_for_hidden,
    )
    inputs = task.inputs_of(candidate)
    if reference is not None:
        _check_reference(reference, inputs)
    report = task.report(candidate, inputs)
    padding = padding_left_in(inputs, model.config.pad_token_id)
    return report if padding is None else _of_padded(task, candidate, inputs, padding, report)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Task:
    """The arguments of `verify`."""

    model: BertModel
    tokenizer: BertTokenizer | None
    texts: Sequence[str] | None
    pair: bool
    reference: Trace | None
    allow: Sequence[str]
    all_positions: bool
    fail_fast: bool
    look_for_hidden: bool

    def inputs_of(self, candidate: Trace) -> Inputs:
        """Read what the trace was made of."""
        given = matches("position_ids", self.allow)
        return read_inputs(candidate, self.model.parameters, positions_given=given)

    def report(self, candidate: Trace, inputs: Inputs) -> Report:
        """Verify inputs, weights and steps."""
        model, allow = self.model, self.allow
        setting = Setting(model.config, steps_of(model.config, model.parameters, inputs), inputs)
        run = Run(
            candidate,
            model,
            setting,
            self.reference,
            all_positions=self.all_positions,
            look_for_hidden=self.look_for_hidden,
        )
        rows = [
            *_input_rows(candidate, setting, self.tokenizer, self.texts, pair=self.pair),
            *compare_with_model(candidate, model.parameters),
        ]
        with progress(run.count, "verifying", least=2, unit="steps", delay=2.0) as tick:
            for row in run.rows():
                rows.append(row)
                tick(1)
                if self.fail_fast and row.verdict == "differs" and not matches(row.name, allow):
                    break
        allowed = [self.allowed(row) for row in rows]
        if not any(row.verdict != "allowed" for row in allowed if row.name in setting.steps):
            raise TraceError("nothing was verified: every step of the trace is allowed to differ.")
        return Report(
            candidate=candidate.label,
            against=", ".join(model.loading_info.files),
            steps=allowed,
            notes=[*_notes(candidate, setting, dict(arrays_of(model.parameters))), *run.notes()],
            hidden=run.visibility.hidden(),
        )

    def allowed(self, row: StepReport) -> StepReport:
        """Return a row that may differ as one that is allowed to."""
        is_allowed = row.verdict == "differs" and matches(row.name, self.allow)
        return replace(row, verdict="allowed") if is_allowed else row


def _of_padded(
    task: _Task, candidate: Trace, inputs: Inputs, padding: BoolArray, report: Report
) -> Report:
    """Say that padding was taken for tokens; where it explains the first difference, say that.

    The port may have masked what its trace does not: then more steps are right with such a mask.
    """
    mask = inputs.attention_mask & ~padding
    is_stated = "attention_mask" in candidate.arrays
    fault = "is 1 there" if is_stated else "is not in the trace, and was taken as all 1"
    pad = task.model.config.pad_token_id
    what = (
        f"{int(padding.sum())} of the input_ids are {pad}, the padding, and attention_mask {fault}"
    )
    note = (
        f"{what}: they were verified as tokens that the others attend to. If the port masks them, "
        "save its attention_mask beside its input_ids."
    )
    first, told = _first_step(report), replace(report, notes=[*report.notes, note])
    if first is None or not mask.any():
        return told
    masked = task.report(candidate, inputs._replace(attention_mask=mask))
    later = _first_step(masked)
    if later is not None and place_of(later) <= place_of(first):
        return told
    row = StepReport(
        name="attention_mask",
        verdict="differs",
        shape=mask.shape,
        dtype="int64",
        cause="padding_masked",
        text=f"{what}, but the port masks them; save its attention_mask beside its input_ids",
    )
    return replace(masked, steps=[task.allowed(row), *masked.steps])


def _first_step(report: Report) -> str | None:
    """Return the first step that differs, which is neither an input nor a weight."""
    wrong = (row.name for row in report.steps if row.verdict == "differs")
    return next((name for name in wrong if name not in INPUTS and not is_weight(name)), None)


def _check_reference(reference: Trace, inputs: Inputs) -> None:
    """Raise TraceError unless a reference is of the candidate's own ids, at its tokens."""
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        found, expected = reference.get(name), getattr(inputs, name)
        if name == "input_ids" and found is None:
            raise TraceError(f"{reference.label}: holds no input_ids, so it may be of others.")
        counts = ... if name == "attention_mask" else inputs.attention_mask
        if found is None:
            continue
        if found.shape != expected.shape or (found != expected)[counts].any():
            raise TraceError(f"{reference.label}: its {name} are not the candidate's.")


def _input_rows(
    candidate: Trace,
    setting: Setting,
    tokenizer: BertTokenizer | None,
    texts: Sequence[str] | None,
    *,
    pair: bool,
) -> Iterator[StepReport]:
    """Yield what is to be said of the ids."""
    if texts is None:
        texts, pair = candidate.listed("text"), candidate.metadata.get("pair") == "true"
    if tokenizer is not None and texts is not None:
        checked = as_texts(texts, "texts")[1]
        if checked:
            yield compare_texts(setting.inputs, checked, tokenizer, pair=pair)
    positions = compare_positions(candidate, setting.inputs)
    if positions is not None:
        yield positions


def _notes(candidate: Trace, setting: Setting, weights: Iterable[str]) -> list[str]:
    """Say what was assumed, and what of the trace was passed over."""
    notes = []
    for name, value in (("attention_mask", 1), ("token_type_ids", 0)):
        if name not in candidate.arrays and (getattr(setting.inputs, name) == value).all():
            notes.append(f"the candidate holds no {name}; it was taken as all {value}.")
    if candidate.listed("text") is None:
        notes.append("the metadata's text is no list of strings; the ids were not held to it.")
    known = {*INPUTS, *setting.steps, *weights}
    arrays = (*candidate.arrays.values(), *candidate.twins)
    other = [array.stored.name for array in arrays if array.step not in known]
    if other:
        twin = near_miss(other[0], [*setting.steps, *weights])
        hint = f" (did you mean {twin}?)" if twin else ""
        notes.append(f"not a step of this model, and not compared: {listed(other)}{hint}.")
    return notes
