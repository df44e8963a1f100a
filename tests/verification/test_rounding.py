"""The budgets: no port without a mistake leaves them, and they are no wider than that takes."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertModel, InputError
from numpy_bert.cli import main
from numpy_bert.comparison.report import Report
from numpy_bert.traces.reading import as_trace
from numpy_bert.traces.trace_inputs import inputs_of
from numpy_bert.verification.mistakes import to_bfloat16, to_int8
from numpy_bert.verification.rounding import analysed, budgets, shares_of
from numpy_bert.verification.search import TimeLimit
from numpy_bert.verification.steps import Segment, Step, segment_of, steps_of
from numpy_bert.verification.verify import verify
from tests.support.traces import IDS, Arrays, exact, trace_of, trained_like, without

LAYER = "encoder.layer.1"
SELF = f"{LAYER}.attention.self"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_like(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def model(folder: Path) -> BertModel:
    return exact(folder)


@pytest.fixture(scope="module")
def steps(model: BertModel) -> dict[str, Step]:
    return steps_of(model.config, model.parameters, inputs_of(IDS, model))


def run(arrays: Arrays, model: BertModel, **options: Any) -> Report:
    return verify(as_trace(arrays), model, look_for_hidden=False, **options)


def term_by_term(a: Any, b: Any) -> Any:
    """Return a product of float32 matrices whose sums are taken one term after the other."""
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    total = np.zeros((*batch, a.shape[-2], b.shape[-1]), np.float32)
    for k in range(a.shape[-1]):
        total = total + a[..., :, k, np.newaxis] * b[..., np.newaxis, k, :]
    return total


def segment_and_inputs(
    name: str, steps: dict[str, Step], held: tuple[str, ...], trace: Arrays
) -> tuple[Segment, Arrays]:
    segment = segment_of(name, steps, held)
    return segment, {key: trace[key] for key in segment.inputs}


@pytest.mark.parametrize("seed", range(5))
def test_sums_taken_term_by_term_stay_within_and_need_a_good_part(
    folder: Path, model: BertModel, steps: dict[str, Step], seed: int
) -> None:
    trace = trace_of(folder)
    name = f"{LAYER}.intermediate.dense"
    rng = np.random.default_rng(seed)
    segment, arrays = segment_and_inputs(name, steps, (f"{LAYER}.attention",), trace)
    found = analysed(segment, arrays)
    own = model.parameters.encoder.layer[1].intermediate.dense  # type: ignore[union-attr]
    order = rng.permutation(own.weight.shape[1])
    x = arrays[f"{LAYER}.attention"][..., order]
    weight = own.weight.astype("f4")[:, order]
    result = term_by_term(x, weight.T) + own.bias.astype("f4")
    shares = shares_of(result - found.result, budgets(found, "float32"))
    assert 0.05 < shares.max() < 0.6


def test_scores_that_are_large_have_budgets_that_are(
    folder: Path, model: BertModel, steps: dict[str, Step]
) -> None:
    """The errors of a score grow with it, which four runs of one's own need not show."""
    trace = trace_of(folder)
    query, key = f"{SELF}.query", f"{SELF}.key"
    for factor in (1.0, 30.0):
        scaled = {**trace, query: np.abs(trace[query]) * factor, key: np.abs(trace[key])}
        segment, arrays = segment_and_inputs(f"{SELF}.probs", steps, (query, key), scaled)
        found = analysed(segment, {k: a.astype(np.float32) for k, a in arrays.items()})
        result = segment.run(arrays, np.float32)
        assert shares_of(result - found.result, budgets(found, "float32")).max() < 0.6
        near = np.abs(found.result * (1.0 - found.result)) > 0.05
        relative = budgets(found, "float32")[near] / (1e-7 * factor)
        assert relative.max() < 100 * factor


@pytest.mark.parametrize("held", [("encoder.layer.0",), ()])
def test_a_long_segment_is_no_wider_than_its_errors(
    folder: Path, steps: dict[str, Step], held: tuple[str, ...]
) -> None:
    trace = trace_of(folder)
    segment, arrays = segment_and_inputs(LAYER, steps, held, trace)
    found = analysed(segment, arrays)
    shares = shares_of(trace[LAYER] - found.result, budgets(found, "float32"))
    tokens = IDS["attention_mask"] == 1
    assert 0.02 < shares[tokens].max() < 0.6
    assert (shares[tokens] > 0.005).mean() > 0.5  # of all numbers, not of the largest alone


def test_an_error_too_small_for_the_largest_number_is_seen_at_a_small_one(
    folder: Path, model: BertModel
) -> None:
    trace = trace_of(folder)
    name = f"{LAYER}.attention.self.probs"
    probs = trace[name].copy()
    small = np.unravel_index(np.abs(probs[0] - 1e-2).argmin(), probs[0].shape)
    probs[(0, *small)] += np.float32(1e-7)
    report = run({**trace, name: probs, f"{SELF}.dropout": probs}, model)
    assert report.first == name
    row = next(row for row in report.steps if row.name == name)
    assert row.worst == (0, *small)
    assert (row.own or 0.0) > (row.budget or 0.0) > 0.0


# Lower precision: stated, mixed, and by accident.


def mixed(folder: Path, model: BertModel) -> Arrays:
    """Queries, keys and scores as autocast has them: float16, then a softmax in float32."""
    trace = trace_of(folder)
    query, key = (trace[f"{SELF}.{name}"].astype("f2") for name in ("query", "key"))
    steps = steps_of(model.config, model.parameters, inputs_of(IDS, model))
    arrays = {f"{SELF}.query": query, f"{SELF}.key": key}
    scores = steps[f"{SELF}.scores"].run(arrays, np.float32)
    narrow = np.where(np.abs(scores) < 1e4, scores, -6e4).astype("f2")
    probs = steps[f"{SELF}.probs"].run({f"{SELF}.scores": narrow}, np.float32)
    held = {name: trace[name] for name in (*IDS, "embeddings", "encoder.layer.0")}
    return {**held, **arrays, f"{SELF}.dropout": probs}


def test_a_step_is_held_to_the_coarsest_dtype_that_it_read(folder: Path, model: BertModel) -> None:
    trace = mixed(folder, model)
    assert trace[f"{SELF}.dropout"].dtype == np.float32
    report = run(trace, model)
    assert report.verdict == "pass", report.sentence
    held = next(row for row in report.steps if row.name == f"{SELF}.dropout")
    assert (held.own or 0.0) > 1e-5  # far more than float32 explains


def test_what_is_not_in_the_trace_has_the_dtype_of_its_neighbours(
    folder: Path, model: BertModel
) -> None:
    trace = without(mixed(folder, model), f"{SELF}.key")
    assert run(trace, model).verdict == "pass"
    alone = {name: array for name, array in trace.items() if name != f"{SELF}.query"}
    report = run(alone, model)
    assert report.first == f"{SELF}.dropout"


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "tf32"])
def test_a_precision_that_is_stated_is_what_is_verified(
    folder: Path, model: BertModel, precision: str
) -> None:
    trace = trace_of(folder)
    names = [name for name in trace if name not in IDS]
    with np.errstate(over="ignore"):  # masked scores become -infinity, which is as good
        halves = {**trace, **{n: trace[n].astype("f2").astype("f4") for n in names}}
    assert run(halves, model).verdict == "differs"
    assert run(halves, model, precision=precision).verdict == "pass"
    wrong = {**halves, "pooler": halves["pooler.dense"]}
    assert run(wrong, model, precision=precision).cause == "pooler_without_tanh"


@pytest.mark.parametrize(("dtype", "cause"), [("f2", "as_of_float16"), ("bf", "as_of_bfloat16")])
@pytest.mark.parametrize("kept", ["a layer", "the last state"])
def test_an_error_as_of_a_lower_precision_is_said_to_be_one(
    folder: Path, model: BertModel, dtype: str, cause: str, kept: str
) -> None:
    """Hidden states in float32, of a port whose attention computes in half."""
    steps = steps_of(model.config, model.parameters, inputs_of(IDS, model))

    def narrow(array: Any) -> Any:
        if dtype == "bf":
            return to_bfloat16(array.astype(np.float32))
        return np.clip(array, -6e4, 6e4).astype("f2").astype("f4")

    values: Arrays = {}
    for name, step in steps.items():
        values[name] = step.run(values, np.float32)
        inside = name.startswith(LAYER) if kept == "a layer" else "layer" in name
        if inside and step.kind in ("linear", "scores", "context", "activation"):
            values[name] = narrow(values[name])
    names = ("encoder.layer.0", LAYER) if kept == "a layer" else ("encoder",)
    report = run({**IDS, **{name: values[name] for name in names}}, model)
    assert (report.first, report.cause) == (names[-1], cause), report.sentence
    assert f"as of {cause.removeprefix('as_of_')}" in report.sentence


def test_an_error_as_of_int8_is_said_to_be_one(folder: Path, model: BertModel) -> None:
    """Hidden states in float32, of a port with weights and inputs of dense layers in int8."""
    values: Arrays = {}
    for name, step in steps_of(model.config, model.parameters, inputs_of(IDS, model)).items():
        other = step
        if name.startswith(LAYER) and step.kind == "linear":
            given = {**step.arguments, "weight": to_int8(step.arguments["weight"], 1)}
            other = replace(
                step,
                arguments=given,
                function=lambda x, f=step.function, **own: f(to_int8(x, None), **own),
            )
        values[name] = other.run(values, np.float32)
    names = ("encoder.layer.0", LAYER)
    report = run({**IDS, **{name: values[name] for name in names}}, model)
    assert report.first == LAYER
    assert report.cause in ("as_of_int8", "as_of_bfloat16")
    assert "int8 inside the step" in report.sentence


def test_an_unknown_precision_is_one_error(folder: Path, model: BertModel) -> None:
    with pytest.raises(InputError, match="precision must be one of float16, bfloat16, tf32; got"):
        run(trace_of(folder), model, precision="int8")


# Time.


def test_the_verdict_does_not_wait_for_the_cause(folder: Path, model: BertModel) -> None:
    trace = trace_of(folder)
    rng = np.random.default_rng(3)
    last = {**IDS, "encoder": trace["encoder"] + rng.normal(0, 0.5, trace["encoder"].shape)}
    told: list[str] = []
    report = run(last, model, time_limit=0.0, tell=told.append)
    assert (report.first, report.cause) == ("encoder", None)
    assert "the cause was not looked for" in report.sentence
    assert not told
    start = time.perf_counter()
    report = run(last, model, time_limit=0.05, tell=told.append)
    assert time.perf_counter() - start < 20.0
    assert "no cause was found in 0.05 s; save the hidden states embeddings to" in report.sentence
    assert len(told) == 1
    assert told[0].startswith("encoder differs, by ")
    assert "looking for the cause, for 0.05 s at most" in told[0]


@pytest.mark.parametrize("limit", [-1.0, float("nan")])
def test_a_limit_that_is_none_is_one_error(folder: Path, model: BertModel, limit: float) -> None:
    with pytest.raises(InputError, match="time_limit must be a number of seconds from 0; got"):
        run(trace_of(folder), model, time_limit=limit)


def test_time_is_counted_only_where_it_is_used() -> None:
    limit = TimeLimit(0.05)
    time.sleep(0.06)
    assert not limit.is_over
    with limit.counting():
        time.sleep(0.06)
    assert limit.is_over


def test_the_command_states_a_precision_and_a_limit(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = trace_of(folder)
    names = ("embeddings", "encoder.layer.0", LAYER)
    halves = {name: trace[name].astype("f2").astype("f4") for name in names}
    np.savez(tmp_path / "trace.npz", **{**IDS, **halves})  # type: ignore[arg-type]
    command = ["verify", str(tmp_path / "trace.npz"), "--model", str(folder)]
    assert main([*command, "--time-limit", "0"]) == 1
    assert "the cause was not looked for" in capsys.readouterr().out
    assert main([*command, "--precision", "float16"]) == 0
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--time-limit", "-1"])
    assert stopped.value.code == 2
