"""A trace against the float64 specification: each step run again from the trace's own numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from numpy_bert.comparison.report import Report, StepReport
from numpy_bert.errors import TraceError
from numpy_bert.files import listed
from numpy_bert.loading.keys import near_miss
from numpy_bert.model.bert import BertModel
from numpy_bert.parameters import arrays_of
from numpy_bert.progress import progress
from numpy_bert.text.inputs import as_texts
from numpy_bert.text.tokenizer import BertTokenizer
from numpy_bert.traces.inputs import read_inputs
from numpy_bert.traces.names import INPUTS, matches
from numpy_bert.traces.reading import Trace
from numpy_bert.verification.ids import compare_positions, compare_texts
from numpy_bert.verification.mistake import Setting
from numpy_bert.verification.run import Run
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
        If the trace holds no ids, or no step.
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
    given = matches("position_ids", allow)
    inputs = read_inputs(candidate, model.parameters, positions_given=given)
    setting = Setting(model.config, steps_of(model.config, model.parameters, inputs), inputs)
    run = Run(
        candidate,
        model,
        setting,
        reference,
        all_positions=all_positions,
        look_for_hidden=look_for_hidden,
    )
    rows = [
        *_input_rows(candidate, setting, tokenizer, texts, pair=pair),
        *compare_with_model(candidate, model.parameters),
    ]
    with progress(run.count, "verifying", least=2, unit="steps", delay=2.0) as report:
        for row in run.rows():
            rows.append(row)
            report(1)
            if fail_fast and row.verdict == "differs" and not matches(row.name, allow):
                break
    allowed = [
        replace(row, verdict="allowed")
        if row.verdict == "differs" and matches(row.name, allow)
        else row
        for row in rows
    ]
    if not any(row.verdict != "allowed" for row in allowed if row.name in setting.steps):
        raise TraceError("nothing was verified: every step of the trace is allowed to differ.")
    return Report(
        candidate=candidate.label,
        against=", ".join(model.loading_info.files),
        steps=allowed,
        notes=[*_notes(candidate, setting, dict(arrays_of(model.parameters))), *run.notes()],
        hidden=run.visibility.hidden(),
    )


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
        if name not in candidate.arrays:
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
