"""Every mistake of the catalogue, made in a port, is found where it was made and named."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from numpy_bert import BertModel
from numpy_bert.comparison.report import Report
from numpy_bert.traces.reading import as_trace
from numpy_bert.verification.mistakes import (
    BROADER,
    Cause,
    Mistake,
    Setting,
    mistakes_in,
    to_bfloat16,
)
from numpy_bert.verification.steps import Step
from numpy_bert.verification.verify import verify
from tests.support.traces import IDS, Arrays, exact, trained_like
from tests.verification.test_steps import table

# What rounding hides in float32 wherever it is made, so that it must pass.
LARGEST = float(np.finfo(np.float32).max)
HIDDEN = {
    "LayerNorm's epsilon is 0, not 1e-12",
    "LayerNorm's epsilon is 1e-08, not 1e-12",
    "LayerNorm's epsilon is 1e-07, not 1e-12",
    "epsilon 1e-12 stands outside the root",
    "epsilon 1e-08 stands outside the root",
    "epsilon 1e-07 stands outside the root",
    "masked scores have 10000 subtracted",
    "LayerNorm's epsilon is 1e-06, not 1e-12",
    "epsilon 1e-06 stands outside the root",
    "LayerNorm's epsilon is 2e-06, not 1e-12",
    "epsilon 2e-06 stands outside the root",
    "the activation is gelu_10",
    "the mask is over keys and queries",
    "the scores are cut at 50, a term that BERT has not",
    "the scores are cut at 10, a term that BERT has not",
}
# At the last layer, the first, and around them; a tiny model's layers are alike.
PLACES = ("embeddings", "encoder.layer.1", "pooler")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> BertModel:
    return exact(trained_like(tmp_path_factory.mktemp("model")))


def port(setting: Setting, mistake: Mistake) -> Arrays:
    """Run a whole model in which a mistake is made, and round every step to float32."""
    values: Arrays = {}
    with np.errstate(all="ignore"):
        for name, step in setting.steps.items():
            other = mistake.steps.get(name, step)
            wide = other.run(values, np.float64)
            values[name] = np.clip(wide, -LARGEST, LARGEST).astype(np.float32)
    return {**IDS, **values}


def every(model: BertModel) -> Iterator[tuple[str, Mistake, Setting]]:
    steps, inputs = table(model)
    setting = Setting(model.config, steps, inputs)
    for name, step in steps.items():
        if name.startswith(PLACES):
            for mistake in mistakes_in(step, setting):
                yield name, mistake, setting


def is_same(report: Report, mistake: Mistake) -> bool:
    """Tell whether the cause is named, or one that gives the same numbers and is its kind."""
    name = mistake.cause.name
    return report.cause in (name, BROADER.get(name, name))


def check(report: Report, mistake: Mistake) -> str:
    """Return how a report is wrong, "" if it is right."""
    if mistake.cause.text in HIDDEN and report.cause is None:
        return ""
    guilty = report.guilty
    if (
        report.cause is None
        and guilty is not None
        and (guilty.own or 0.0) < 4.0 * (guilty.budget or 0.0)
    ):
        return ""  # too little to be named
    if mistake.cause.name == "heads_count" and "its shape must be" in report.sentence:
        return ""
    if not is_same(report, mistake):
        return report.sentence
    return "" if report.first in mistake.steps else f"in {report.first}: {report.sentence}"


# Every how manyth mistake, and from which on: by default a thirtieth, and together all of them.
PARTS = [(30, 0), *(pytest.param(10, n, marks=pytest.mark.slow) for n in range(10))]


@pytest.mark.parametrize(("step", "first"), PARTS)
def test_made_in_one_step_of_a_whole_trace(model: BertModel, step: int, first: int) -> None:
    wrong, count = [], 0
    for name, mistake, setting in itertools.islice(every(model), first, None, step):
        trace = as_trace(port(setting, mistake))
        report = verify(trace, model, look_for_hidden=False, fail_fast=True)
        fault = check(report, mistake)
        count += 1
        if fault:
            wrong.append(f"{name}: {mistake.cause.text}: {fault}")
    assert count > 250 / step
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("step", "first"), PARTS)
def test_made_in_one_step_of_a_trace_of_blocks(model: BertModel, step: int, first: int) -> None:
    """Where only the ends of blocks are held, no cause is named that gives other numbers."""
    kept = ("embeddings", "encoder.layer.0", "encoder.layer.1", "pooler", *IDS)
    wrong, named = [], 0
    for name, mistake, setting in itertools.islice(every(model), first, None, step):
        arrays = port(setting, mistake)
        trace = as_trace({key: array for key, array in arrays.items() if key in kept})
        report = verify(trace, model, look_for_hidden=False, fail_fast=True)
        is_right = is_same(report, mistake)
        named += is_right
        if report.cause is not None and not is_right:
            wrong.append(f"{name}: {mistake.cause.text}: {report.sentence}")
    assert named > 120 / step
    assert not wrong, "\n".join(wrong)


def test_bfloat16_rounds_to_even_and_cuts() -> None:
    numbers = np.array([1.0, 1.00390625, 1.01171875, 1.0078124, -3.9999], np.float32)
    assert to_bfloat16(numbers).tolist() == [1.0, 1.0, 1.015625, 1.0078125, -4.0]
    assert to_bfloat16(numbers, cut=True).tolist() == [1.0, 1.0, 1.0078125, 1.0, -3.984375]


def only(arrays: Arrays, *names: str) -> Arrays:
    return {key: array for key, array in arrays.items() if key in (*names, *IDS)}


def mistake_of(setting: Setting, step: str, text: str) -> Mistake:
    return next(m for m in mistakes_in(setting.steps[step], setting) if m.cause.text == text)


def made(model: BertModel, **texts: str) -> Arrays:
    """Run a model in which several mistakes are made, each named by the end of its step."""
    steps, inputs = table(model)
    setting = Setting(model.config, steps, inputs)
    others: dict[str, Step] = {}
    for short, text in texts.items():
        others.update(mistake_of(setting, STEPS[short], text).steps)
    return port(setting, Mistake(Cause("several", "several mistakes"), others))


LAYER = "encoder.layer.1"
STEPS = {
    "scores": f"{LAYER}.attention.self.scores",
    "residual": f"{LAYER}.output.sum",
    "activation": f"{LAYER}.intermediate",
    "value": f"{LAYER}.attention.self.value",
    "encoder": "encoder",
}


def test_two_mistakes_in_one_layer_are_both_named(model: BertModel) -> None:
    arrays = made(
        model, activation="GELU is the tanh form, not the erf form", value="the bias is not added"
    )
    few = only(arrays, "encoder.layer.0", LAYER)
    report = verify(as_trace(few), model, look_for_hidden=False)
    assert (report.first, report.cause) == (LAYER, "bias_missing")
    assert (
        "two mistakes: the bias is not added (in encoder.layer.1.attention.self.value); and "
        in (report.sentence)
    )
    assert "GELU is the tanh form, not the erf form (in encoder.layer.1.intermediate)" in (
        report.sentence
    )


def test_two_mistakes_in_a_whole_trace_are_both_in_the_sentence(model: BertModel) -> None:
    arrays = made(
        model, activation="GELU is the tanh form, not the erf form", value="the bias is not added"
    )
    report = verify(as_trace(arrays), model, look_for_hidden=False)
    causes = {row.name: row.cause for row in report.steps if row.verdict == "differs"}
    assert causes == {STEPS["value"]: "bias_missing", STEPS["activation"]: "gelu_tanh"}
    assert "; and at encoder.layer.1.intermediate: GELU is the tanh form" in report.sentence


@pytest.mark.parametrize("kept", [STEPS["scores"], f"{LAYER}.attention.self.probs", LAYER])
def test_masks_that_give_the_same_numbers_are_all_said(model: BertModel, kept: str) -> None:
    """Over the queries a mask hides no key, so that it might as well not be there."""
    arrays = made(model, scores="the mask is over the queries, not the keys")
    report = verify(as_trace(only(arrays, "encoder.layer.0", kept)), model, look_for_hidden=False)
    assert (report.first, report.cause) == (kept, "mask_missing")
    assert "the mask is left out, or the mask is over the queries, not the keys" in report.sentence
    assert "this trace cannot tell" in report.sentence


def test_causes_of_other_names_that_give_the_same_numbers_are_no_cause(model: BertModel) -> None:
    """Where no token stands behind [SEP], what is hidden may be the last or every [SEP]."""
    first = "the mask hides the last token ([SEP])"
    steps, inputs = table(model, {"input_ids": np.array([[5, 9, 60, 3]])})
    setting = Setting(model.config, steps, inputs)
    arrays = {
        "input_ids": inputs.input_ids,
        **without_ids(port(setting, mistake_of(setting, STEPS["scores"], first))),
    }
    report = verify(as_trace(arrays), model, look_for_hidden=False, fail_fast=True)
    assert (report.first, report.cause) == (STEPS["scores"], "mask_wrong_tokens")
    assert f"{first}, or the mask hides every [SEP]: this trace cannot tell" in report.sentence


def without_ids(arrays: Arrays) -> Arrays:
    return {key: array for key, array in arrays.items() if key not in IDS}


def test_a_residual_of_a_step_outside_the_segment(model: BertModel) -> None:
    """The layer's input, which the wrong sum reads, is in the trace; the segment begins later."""
    arrays = made(model, residual="the residual is the layer's input, not attention's output")
    few = only(arrays, "encoder.layer.0", f"{LAYER}.attention", f"{LAYER}.output.dropout", LAYER)
    report = verify(as_trace(few), model, look_for_hidden=False)
    assert (report.first, report.cause) == (LAYER, "residual_of_layer_input")


def test_a_last_layer_norm_that_bert_has_not(model: BertModel) -> None:
    arrays = made(
        model, encoder="an extra LayerNorm follows the last layer, with the weights of the last"
    )
    for kept in (("encoder",), (LAYER, "encoder")):
        report = verify(as_trace(only(arrays, *kept)), model, look_for_hidden=False)
        assert (report.first, report.cause) == ("encoder", "layer_norm_extra")


def test_numbers_of_bfloat16_are_not_taken_for_float16(model: BertModel) -> None:
    """They are held by both."""
    steps, inputs = table(model)
    arrays = port(Setting(model.config, steps, inputs), Mistake(Cause("none", "none"), {}))
    name = STEPS["value"]
    report = verify(
        as_trace({**arrays, name: to_bfloat16(arrays[name])}), model, look_for_hidden=False
    )
    assert (report.first, report.cause) == (name, "computed_in_bfloat16")
