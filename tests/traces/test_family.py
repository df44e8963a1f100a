"""Recording, comparing, golden packs and bisection of the other architectures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertModel
from numpy_bert.comparison.compare import compare
from numpy_bert.testing import assert_matches_bert
from numpy_bert.traces.layout import BIAS, PROJECT
from numpy_bert.traces.reading import as_trace, open_trace
from numpy_bert.traces.recording import Recorder
from numpy_bert.traces.trace_inputs import inputs_of
from numpy_bert.verification.bisect import arrays_of_inputs, bisect, next_arrays
from numpy_bert.verification.verify import verify
from tests.support.traces import FAMILY, exact, ids_of, relative, without


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: relative(tmp_path_factory.mktemp(kind), kind) for kind in FAMILY}


def recorded(folder: Path, path: Path) -> BertModel:
    model = exact(folder)
    Recorder(model, folder).record(path, inputs_of(ids_of(model.config), model), weights=True)
    return model


@pytest.mark.parametrize("kind", FAMILY)
def test_a_recorded_trace_is_the_models_and_passes(
    kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    model = recorded(folders[kind], tmp_path / "trace.safetensors")
    trace = open_trace(tmp_path / "trace.safetensors")
    has_types = model.parameters.embeddings.token_type_embeddings is not None
    assert ("token_type_ids" in trace.arrays) == has_types
    report = verify(trace, model, look_for_hidden=False)
    assert report.verdict == "pass", report.sentence
    assert not report.not_looked_at
    assert not report.notes
    assert_matches_bert(tmp_path / "trace.safetensors", model=folders[kind])


@pytest.mark.parametrize("kind", FAMILY)
def test_a_candidate_without_positions_has_the_models_own(
    kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    model = recorded(folders[kind], tmp_path / "trace.safetensors")
    reference = open_trace(tmp_path / "trace.safetensors")
    inputs = ids_of(model.config)
    steps = dict(model.trace(**inputs))
    report = compare(reference, as_trace({**inputs, **steps}))
    assert report.verdict == "pass", report.sentence
    if kind == "roberta":
        wrong = {**inputs, **steps, "position_ids": np.arange(7)[np.newaxis]}
        assert compare(reference, as_trace(wrong)).first == "position_ids"
        other = as_trace({**inputs, **steps, "position_ids": reference.get("position_ids")})
        bare = open_trace(tmp_path / "trace.safetensors")
        arrays = {n: a for n, a in bare.arrays.items() if n != "position_ids"}
        found = compare(replace(bare, arrays=arrays), other)
        assert found.verdict == "pass", found.sentence


def test_the_first_hidden_state_is_compared_with_what_the_layers_read(
    folders: dict[str, Path],
) -> None:
    model = exact(folders["electra"])
    inputs = ids_of(model.config)
    steps = dict(model.trace(**inputs))
    states = {"hidden_states.0": steps[PROJECT], "hidden_states.1": steps["encoder.layer.0"]}
    report = compare(as_trace({**inputs, **steps}), as_trace({**inputs, **states}), common=True)
    assert report.verdict == "pass", report.sentence
    assert PROJECT in [row.name for row in report.steps]


@pytest.mark.parametrize("kind", ["mpnet", "distilbert", "electra"])
def test_a_bisection_finds_the_guilty_half_layer(kind: str, folders: dict[str, Path]) -> None:
    model = exact(folders[kind])
    inputs = inputs_of(ids_of(model.config), model)
    given = arrays_of_inputs(inputs, model)
    assert ("token_type_ids" in given) == (kind == "electra")
    right = dict(model.trace(**given))
    spoilt = model.parameters.encoder.layer[1].intermediate.dense  # type: ignore[union-attr]
    wrong = exact(folders[kind])
    tree = wrong.parameters.encoder.layer[1].intermediate  # type: ignore[union-attr]
    object.__setattr__(tree, "dense", type(spoilt)(weight=spoilt.weight, bias=spoilt.bias * 0.0))
    made = dict(wrong.trace(**given))
    assert not np.array_equal(made["encoder"], right["encoder"])

    def port(names: Sequence[str]) -> dict[str, Any]:
        return {name: made[name] for name in names}

    for found in bisect(port, model, inputs):
        assert BIAS not in found.wanted or len(found.wanted) > 4
    assert found.report is not None
    assert (found.report.first, found.report.cause) == (
        "encoder.layer.1.intermediate.dense",
        "bias_missing",
    )


def test_arrays_of_an_own_layout_are_arranged(folders: dict[str, Path]) -> None:
    from numpy_bert.traces.names import NameMap

    model = exact(folders["mpnet"])
    inputs = ids_of(model.config)
    steps = dict(model.trace(**inputs))
    turned = {**without(steps, BIAS), "rel": np.moveaxis(steps[BIAS], -1, 0)}
    names = NameMap({"rel": (BIAS, "ATT")})
    report = verify(as_trace({**inputs, **turned}, names), model, look_for_hidden=False)
    assert report.verdict == "pass", report.sentence


def test_a_bisection_asks_for_the_halves_of_layers(folders: dict[str, Path]) -> None:
    """The bias is read by every layer, and is no place through which all of a model leads."""
    halves = ("encoder.layer.0.attention", "encoder.layer.0", "encoder.layer.1.attention")
    for kind, first in (("mpnet", ["embeddings"]), ("electra", ["embeddings", PROJECT])):
        model = exact(folders[kind])
        wrong = {**ids_of(model.config), "encoder": np.zeros((3, 7, 24), np.float32)}
        found = next_arrays(as_trace(wrong), model, arrays=9)
        assert found.wanted in [(*first[n:], *halves) for n in range(2)]
