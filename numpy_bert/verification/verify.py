"""A trace against the float64 specification: each step run again from the trace's own numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from numpy_bert.arrays import BoolArray
from numpy_bert.comparison.report import Report, StepReport
from numpy_bert.errors import InputError, TraceError
from numpy_bert.loading.keys import near_miss
from numpy_bert.messages import listed, must_be
from numpy_bert.model.bert import BertModel
from numpy_bert.model.family import AutoModel
from numpy_bert.parameters import arrays_of
from numpy_bert.progress import PATIENCE, progress
from numpy_bert.text.inputs import as_texts
from numpy_bert.text.tokenizer import BertTokenizer
from numpy_bert.traces.layout import INPUTS, PROJECT, is_weight, place_of
from numpy_bert.traces.names import matches
from numpy_bert.traces.reading import Trace, TraceArray, check_stacks, with_first_state
from numpy_bert.traces.trace_inputs import TraceInputs, padding_left_in, read_inputs
from numpy_bert.verification.mistakes import Setting
from numpy_bert.verification.origins import (
    check_sizes,
    compare_positions,
    compare_texts,
    compare_weights,
)
from numpy_bert.verification.run import Run
from numpy_bert.verification.search import TimeLimit
from numpy_bert.verification.steps import steps_of

__all__ = ["PRECISIONS", "load_exactly", "verify"]

# What a port may be meant to compute in, and the dtype whose rounding that is.
PRECISIONS = {"float16": "float16", "bfloat16": "bfloat16", "tf32": "float16"}


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
    precision: str | None = None,
    time_limit: float = 60.0,
    tell: Callable[[str], object] = lambda _sentence: None,
) -> Report:
    """Find the first step at which a trace leaves BERT's arithmetic, by how much, and why.

    numpy_bert runs the trace's own ids in float64. Each step that the trace holds is then run once
    more on the trace's own earlier numbers: what differs from that is the step's own error, the
    rest is inherited. A step whose own error is more than rounding explains is guilty.

    Parameters
    ----------
    candidate : Trace
        The trace to verify. It need not hold every step: what is absent is computed from the
        nearest step before it that is there.
    model : BertModel
        The model, in either dtype; one that is stored in float64 must be loaded in it.
    tokenizer : BertTokenizer, optional
        The model's tokenizer, with which the ids are verified, too.
    texts : sequence of str, optional
        The texts that the ids were made of; by default those that the trace names.
    pair : bool
        Whether `texts` are the two of one row.
    reference : Trace, optional
        A second trace of the same ids; the report says how far it is from float64.
    allow : sequence of str
        Globs of what may differ. If ``position_ids`` are among it, they are taken as they are.
    all_positions : bool
        Whether padding counts, too.
    fail_fast : bool
        Whether to stop at the first step that differs.
    look_for_hidden : bool
        Whether to find out which mistakes the trace could not have shown; it takes half of the
        time.
    precision : {"float16", "bfloat16", "tf32"}, optional
        What the port is meant to compute in, where its arrays do not say so: every step is then
        held to what that dtype's rounding explains. By default a step is held to the coarsest
        dtype that it is stored in or read.
    time_limit : float
        How many seconds causes are looked for; 0: not at all. The verdict does not depend on it.
    tell : callable
        Gets a sentence, at once, where a step differs whose cause may take long to find.

    Returns
    -------
    Report
        The inputs, weights and steps in this order, the first that differs, and its cause.

    Raises
    ------
    TraceError
        If the trace holds no ids or no step, or was made with a model of other sizes.
    InputError
        If its ids are not in the model's tables, or an argument is not one of those above.

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
    limit = _checked_limit(model, precision, time_limit)
    if model.parameters.embeddings_project is not None:
        candidate = with_first_state(candidate, PROJECT)
        reference = None if reference is None else with_first_state(reference, PROJECT)
    check_sizes(candidate, model.config, ", ".join(model.loading_info.files))
    positions_given = matches("position_ids", allow)
    inputs = read_inputs(candidate, model, positions_given=positions_given)
    if reference is not None:
        _check_reference(reference, inputs, model)

    def verified(inputs: TraceInputs) -> Report:
        """Verify the trace with these inputs, whose mask may be another one than the trace's."""
        steps = steps_of(model.config, model.parameters, inputs)
        setting = Setting(model.config, steps, inputs)
        run = Run(
            candidate,
            setting,
            reference,
            all_positions=all_positions,
            look_for_hidden=look_for_hidden,
            precision=None if precision is None else PRECISIONS[precision],
            limit=limit,
            tell=tell,
        )
        made_of = [
            *_input_rows(candidate, setting, tokenizer, texts, pair=pair),
            *compare_weights(candidate, model.parameters, model.config.num_attention_heads),
        ]
        rows = [row.allowed_by(allow) for row in made_of]
        rows += _step_rows(run, allow, fail_fast=fail_fast)
        return _report(candidate, model, run, setting, rows, allow)

    report = verified(inputs)
    padding = padding_left_in(inputs, model.config.pad_token_id)
    if padding is None:
        return report
    return _of_padded(candidate, inputs, padding, report, verified, allow)


def _checked_limit(model: BertModel, precision: str | None, time_limit: float) -> TimeLimit:
    """Return the limit, or raise TraceError or InputError if these are no arguments of `verify`."""
    if _has_lost_digits(model):
        raise TraceError(
            "verify: the weights must have all digits that the checkpoint has; it is stored in "
            "float64, and was loaded in float32. Load it with dtype='float64'."
        )
    if precision is not None and precision not in PRECISIONS:
        raise InputError(must_be("precision", f"one of {', '.join(PRECISIONS)}", precision))
    if not time_limit >= 0.0:
        raise InputError(must_be("time_limit", "a number of seconds from 0", time_limit))
    return TimeLimit(time_limit)


def load_exactly(name_or_path: str | Path, **source: Any) -> BertModel:
    """Load a model none of whose weights has lost a digit, mapped from its file where that can be.

    A step widens its weights to float64 when it is run, so they need not be held so.

    Parameters
    ----------
    name_or_path, **source
        What `AutoModel.from_pretrained` takes.

    Examples
    --------
    >>> load_exactly("demo").dtype
    dtype('float32')
    """
    model: BertModel = AutoModel.from_pretrained(name_or_path, **source)
    if _has_lost_digits(model):
        model = AutoModel.from_pretrained(name_or_path, dtype="float64", **source)
    return model


def _has_lost_digits(model: BertModel) -> bool:
    """Tell whether a model computes in a narrower dtype than it is stored in."""
    stored = {dtype for _, dtype, _ in model.loading_info.cast}
    return model.dtype == np.float32 and "F64" in stored


def _step_rows(run: Run, allow: Sequence[str], *, fail_fast: bool) -> list[StepReport]:
    """Return the rows of the steps, up to the first that differs where that is enough."""
    rows: list[StepReport] = []
    with progress(run.count, "verifying", least=2, unit="steps", delay=PATIENCE) as tick:
        for row in run.rows():
            rows.append(row.allowed_by(allow))
            tick(1)
            if fail_fast and rows[-1].verdict == "differs":
                break
    return rows


def _of_padded(
    candidate: Trace,
    inputs: TraceInputs,
    padding: BoolArray,
    report: Report,
    verified: Callable[[TraceInputs], Report],
    allow: Sequence[str],
) -> Report:
    """Return a report that says that padding was taken for tokens.

    The port may have masked what its trace does not. Then more steps are right with such a mask,
    and the report is about that.
    """
    mask = inputs.attention_mask & ~padding
    is_stated = "attention_mask" in candidate.arrays
    fault = "is 1 there" if is_stated else "is not in the trace, and was taken as all 1"
    pad = inputs.input_ids[padding][0]
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
    masked = verified(inputs._replace(attention_mask=mask))
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
    return replace(masked, steps=[row.allowed_by(allow), *masked.steps])


def _first_step(report: Report) -> str | None:
    """Return the first step that differs, passing over inputs and weights."""
    wrong = (row.name for row in report.steps if row.verdict == "differs")
    return next((name for name in wrong if name not in INPUTS and not is_weight(name)), None)


def _check_reference(reference: Trace, inputs: TraceInputs, model: BertModel) -> None:
    """Raise TraceError unless a reference is of the model's layers and of the candidate's ids."""
    check_stacks(reference, model.config.num_hidden_layers, ", ".join(model.loading_info.files))
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        found, expected = reference.get(name), getattr(inputs, name)
        if name == "input_ids" and found is None:
            raise TraceError(
                f"{reference.label} must hold input_ids; it holds none, so they may be others."
            )
        counts = ... if name == "attention_mask" else inputs.attention_mask
        if found is None:
            continue
        if found.shape != expected.shape or (found != expected)[counts].any():
            raise TraceError(f"{reference.label}: {name} must be the candidate's; they are not.")


def _input_rows(
    candidate: Trace,
    setting: Setting,
    tokenizer: BertTokenizer | None,
    texts: Sequence[str] | None,
    *,
    pair: bool,
) -> Iterator[StepReport]:
    """Yield the rows of the ids and positions, as far as they can be verified."""
    if texts is None:
        texts, pair = candidate.listed("text"), candidate.metadata.get("pair") == "true"
    if tokenizer is not None and texts is not None:
        checked = as_texts(texts, "texts")[1]
        if checked:
            yield from compare_texts(setting.inputs, checked, tokenizer, pair=pair)
    positions = compare_positions(candidate, setting.inputs, setting.config)
    if positions is not None:
        yield positions


def _report(
    candidate: Trace,
    model: BertModel,
    run: Run,
    setting: Setting,
    rows: Sequence[StepReport],
    allow: Sequence[str],
) -> Report:
    """Return the report of the rows, with what else a reader must know."""
    if not any(row.verdict != "allowed" for row in rows if row.name in setting.steps):
        raise TraceError("nothing was verified: every step of the trace is allowed to differ.")
    weights = [name for name, _ in arrays_of(model.parameters)]
    known = {*INPUTS, *setting.steps, *weights}
    arrays = (*candidate.arrays.values(), *candidate.twins)
    unknown = [array for array in arrays if array.step not in known]
    return Report(
        candidate=candidate.label,
        against=", ".join(model.loading_info.files),
        steps=rows,
        notes=[*_notes(candidate, setting, unknown, weights), *run.notes()],
        hidden=run.visibility.hidden(),
        not_looked_at=[array.stored.name for array in unknown if not array.is_named(allow)],
    )


def _notes(
    candidate: Trace, setting: Setting, unknown: Sequence[TraceArray], weights: Sequence[str]
) -> list[str]:
    """Say what was assumed, and which arrays of the trace were passed over."""
    notes = []
    usual = {"attention_mask": 1}
    if setting.config.type_vocab_size > 1:
        usual["token_type_ids"] = 0
    for name, value in usual.items():
        if name not in candidate.arrays and (getattr(setting.inputs, name) == value).all():
            notes.append(f"the candidate holds no {name}; it was taken as all {value}.")
    if candidate.listed("text") is None:
        notes.append("the metadata's text is no list of strings; the ids were not held to it.")
    if unknown:
        names = [array.stored.name for array in unknown]
        twin = near_miss(names[0], [*setting.steps, *weights])
        hint = f" (did you mean {twin}?)" if twin else ""
        notes.append(f"not a step of this model, and not compared: {listed(names)}{hint}.")
    return notes
