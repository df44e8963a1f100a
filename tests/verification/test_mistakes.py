"""Every mistake of the catalogue, made in a port, is found where it was made and named."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from numpy_bert import BertModel
from numpy_bert.comparison.report import Report
from numpy_bert.traces.reading import as_trace
from numpy_bert.verification.mistakes import Mistake, Setting, mistakes_in, to_bfloat16
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


# By another name the same numbers: of the step at which the one or the other is seen.
SAME = {
    ("mask_after_softmax", "mask_missing"),  # of the scores
    ("scores_transposed", "qkv_swapped"),
}


def is_same(report: Report, mistake: Mistake) -> bool:
    given = mistake.cause.name, report.cause
    return given[0] == given[1] or given in SAME


def check(report: Report, mistake: Mistake) -> str:
    """Return how a report is wrong, "" if it is right."""
    if mistake.cause.text in HIDDEN and report.cause is None:
        return ""
    if not is_same(report, mistake):
        return report.sentence
    return "" if report.first in mistake.steps else f"in {report.first}: {report.sentence}"


PARTS = [0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, 5))]


@pytest.mark.parametrize("part", PARTS)
def test_made_in_one_step_of_a_whole_trace(model: BertModel, part: int) -> None:
    wrong, count = [], 0
    for name, mistake, setting in itertools.islice(every(model), part, None, 5):
        trace = as_trace(port(setting, mistake))
        report = verify(trace, model, look_for_hidden=False, fail_fast=True)
        fault = check(report, mistake)
        count += 1
        if fault:
            wrong.append(f"{name}: {mistake.cause.text}: {fault}")
    assert count > 50
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("part", PARTS)
def test_made_in_one_step_of_a_trace_of_blocks(model: BertModel, part: int) -> None:
    """Where only the ends of blocks are held, no cause is named that gives other numbers."""
    kept = ("embeddings", "encoder.layer.0", "encoder.layer.1", "pooler", *IDS)
    wrong, named = [], 0
    for name, mistake, setting in itertools.islice(every(model), part, None, 5):
        arrays = port(setting, mistake)
        trace = as_trace({key: array for key, array in arrays.items() if key in kept})
        report = verify(trace, model, look_for_hidden=False, fail_fast=True)
        is_right = is_same(report, mistake)
        named += is_right
        if report.cause is not None and not is_right:
            wrong.append(f"{name}: {mistake.cause.text}: {report.sentence}")
    assert named > 25
    assert not wrong, "\n".join(wrong)


def test_bfloat16_rounds_to_even_and_cuts() -> None:
    numbers = np.array([1.0, 1.00390625, 1.01171875, 1.0078124, -3.9999], np.float32)
    assert to_bfloat16(numbers).tolist() == [1.0, 1.0, 1.015625, 1.0078125, -4.0]
    assert to_bfloat16(numbers, cut=True).tolist() == [1.0, 1.0, 1.0078125, 1.0, -3.984375]
