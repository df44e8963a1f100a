"""A row of a batch, run alone, never rules out the mistake that was made in the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from numpy_bert import BertModel
from numpy_bert.arrays import Array
from numpy_bert.traces.trace_inputs import inputs_of
from numpy_bert.verification.cases import Case, variants
from numpy_bert.verification.mistakes import Setting
from numpy_bert.verification.search import ACROSS
from numpy_bert.verification.steps import Segment, segment_of, steps_of
from numpy_bert.verification.trials import Trials

# Rows that differ in length, padded at both sides, with two segments.
IDS = np.array([[2, 5, 9, 3, 7, 8, 3, 0], [2, 11, 3, 6, 3, 0, 0, 0], [0, 0, 2, 5, 3, 9, 12, 3]])
MASK = np.array([[1, 1, 1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1, 1, 1]])
TYPES = np.array([[0, 0, 0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1, 1, 1]])


@pytest.fixture(scope="module")
def setting() -> Setting:
    model = BertModel.from_pretrained("demo", dtype="float64")
    given = {"input_ids": IDS, "attention_mask": MASK, "token_type_ids": TYPES}
    inputs = inputs_of(given, model)
    return Setting(model.config, steps_of(model.config, model.parameters, inputs), inputs)


def case_of(
    setting: Setting, segment: Segment, arrays: dict[str, npt.NDArray[Any]], right: Array
) -> Case:
    """Return the case of a port that is right."""
    places = setting.inputs.attention_mask[:, :, np.newaxis]
    allowed = np.full(right.shape, 1e-6)
    return Case(segment, arrays, right, right, places, "float32", lambda x: x, allowed)


@pytest.mark.parametrize("rare", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("held", [(), ("embeddings",)])
def test_a_row_never_rules_out_what_was_done(
    setting: Setting, held: tuple[str, ...], rare: bool
) -> None:
    segment = segment_of("encoder", setting.steps, held)
    arrays = {name: segment_of(name, setting.steps, ()).run({}) for name in held}
    right = segment.run(arrays)
    case = case_of(setting, segment, arrays, right)
    told = 0
    for variant in variants(segment, setting):
        if not variant.is_general or variant.cause.name in ACROSS or variant.is_rare != rare:
            continue
        try:
            found = Trials(case, setting).run(variant.steps)
        except ValueError:
            continue
        if not np.isfinite(found).all() or np.abs(case.counts(found - right)).max() < 1e-9:
            continue
        row = Trials(case._replace(found=found), setting).of_a_row()
        assert row is not None
        left = row.share_left(variant.steps)
        assert left is None or left < 1e-6, (variant.cause, variant.where)
        told += left is not None
        assert row.share_left() is None
    assert told > 100


def test_a_row_tells_what_explains_nothing(setting: Setting) -> None:
    segment = segment_of("encoder", setting.steps, ())
    right = segment.run({})
    case = case_of(setting, segment, {}, right)
    first, second = (
        next(v for v in variants(segment, setting) if v.cause.name == name and v.is_general)
        for name in ("segments_ignored", "attention_scale_missing")
    )
    found = case.run(first.steps)
    row = Trials(case._replace(found=found), setting).of_a_row()
    assert row is not None
    left = row.share_left(second.steps)
    assert left is not None
    assert left > 0.75
