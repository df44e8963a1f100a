"""A trace against the model: what is verified, what is inherited, what cannot be told."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertModel, BertTokenizer, InputError, TraceError
from numpy_bert.comparison.report import Report
from numpy_bert.parameters import arrays_of
from numpy_bert.traces.layout import step_names
from numpy_bert.traces.names import NameMap
from numpy_bert.traces.reading import Trace, as_trace, open_trace
from numpy_bert.traces.recording import Recorder
from numpy_bert.traces.trace_inputs import inputs_of
from numpy_bert.verification.verify import load_exactly, verify
from tests.support.checkpoints import random_tensors, write_checkpoint
from tests.support.traces import IDS, Arrays, exact, trace_of, trained_like, without

STEP = "encoder.layer.1.intermediate"
MASK = IDS["attention_mask"] == 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_like(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def model(folder: Path) -> BertModel:
    return exact(folder)


@pytest.fixture
def trace(folder: Path) -> Arrays:
    return trace_of(folder)


def run(arrays: Arrays, model: BertModel, **options: Any) -> Report:
    """Verify; where only the verdict is asked for, `time_limit=0` looks for no cause."""
    names = options.pop("names", None)
    options.setdefault("look_for_hidden", False)
    return verify(as_trace(arrays, names), model, **options)


def row_of(report: Report, name: str) -> Any:
    return next(row for row in report.steps if row.name == name)


def touched(trace: Arrays, name: str, at: Any, by: float) -> Arrays:
    array = trace[name].copy()
    array[at] += by
    return {**trace, name: array}


def test_every_step_is_verified_and_passes(trace: Arrays, model: BertModel) -> None:
    report = run(trace, model)
    assert report.verdict == "pass"
    assert [row.name for row in report.steps] == step_names(2, pools=True)
    for row in report.as_dict()["steps"]:
        assert row["own"] <= row["budget"]


def test_the_models_own_kernels_pass(folder: Path, model: BertModel) -> None:
    given: Any = IDS
    output: Any = BertModel.from_pretrained(folder)(**given, output_hidden_states=True)
    states = {f"hidden_states.{n}": state for n, state in enumerate(output.hidden_states)}
    report = run({**IDS, **states, "pooler_output": output.pooler_output}, model)
    assert report.verdict == "pass"
    assert [row.name for row in report.steps] == [
        "embeddings",
        "encoder.layer.0",
        "encoder.layer.1",
        "pooler",
    ]


def test_stacked_hidden_states_are_verified(folder: Path, model: BertModel) -> None:
    given: Any = IDS
    output: Any = BertModel.from_pretrained(folder)(**given, output_hidden_states=True)
    names = ["embeddings", "encoder.layer.0", "encoder.layer.1"]
    stack = np.stack(output.hidden_states)
    for states in (stack, output.hidden_states):
        report = run({**IDS, "hidden_states": states}, model)
        assert report.verdict == "pass"
        assert [row.name for row in report.steps] == names
        assert report.not_looked_at == []
    moved = stack.copy()
    moved[1] += 1
    assert run({**IDS, "hidden_states": moved}, model, time_limit=0).first == names[1]
    for wrong in (stack[1:], np.concatenate([stack, stack[:1]])):
        message = (
            r"hidden_states must have shape \(3, B, T, H\), for the embedding and the 2 layers"
        )
        for options in ({}, {"reference": as_trace({**IDS, "hidden_states": wrong})}):
            found = stack if options else wrong
            with pytest.raises(TraceError, match=message):
                run({**IDS, "hidden_states": found}, model, **options)
    wide = np.zeros((3, *IDS["input_ids"].shape, 32))
    with pytest.raises(TraceError, match="was made with a BERT of hidden_size 32"):
        run({**IDS, "hidden_states": wide}, model)


def test_the_guilty_step_stands_out_and_what_follows_only_inherits(
    folder: Path, model: BertModel
) -> None:
    parts = {name: a for name, a in trace_of(folder).items() if name not in IDS}
    wrong = dict(parts)
    wrong[STEP] = parts[STEP] + np.float32(1e-3)
    dense = model.parameters.encoder.layer[1].output.dense  # type: ignore[union-attr]
    wrong["encoder.layer.1.output.dense"] = wrong[STEP] @ dense.weight.T.astype(
        "f4"
    ) + dense.bias.astype("f4")
    report = run({**IDS, **wrong}, model)
    assert report.first == STEP
    guilty, after = row_of(report, STEP), row_of(report, "encoder.layer.1.output.dense")
    assert guilty.own == pytest.approx(1e-3, rel=1e-3)
    assert guilty.inherited < 1e-6
    assert (after.verdict, after.own < 1e-5, after.inherited > 1e-4) == ("pass", True, True)
    assert guilty.text == "no known mistake gives these numbers"
    assert report.cause is None


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_has_a_budget_of_its_own(
    trace: Arrays, model: BertModel, dtype: str
) -> None:
    from numpy_bert.verification.mistakes import to_bfloat16

    def narrow(array: Any) -> Any:
        if array.dtype.kind != "f":
            return array
        clipped = np.clip(array, -6e4, 6e4)
        return clipped.astype("f2") if dtype == "float16" else to_bfloat16(clipped)

    halves = {name: narrow(array) for name, array in trace.items()}
    if dtype == "float16":
        report = run(halves, model, look_for_hidden=True)
        assert report.verdict == "pass"
        assert any("tanh form" in text for text in report.hidden)
        return
    # Numbers of bfloat16 in float32: a port that computed in half, and says that it did not.
    report = run(halves, model)
    assert report.first == "embeddings.word_embeddings"
    assert report.cause in ("weights_bfloat16", "computed_in_bfloat16")
    assert {row.cause for row in report.steps if row.verdict == "differs"} >= {
        "computed_in_bfloat16"
    }


def test_float64_is_held_to_float64(folder: Path, model: BertModel) -> None:
    wide = trace_of(folder, "float64")
    assert run(wide, model).verdict == "pass"
    assert run(touched(wide, STEP, (0, 0, 0), 1e-12), model, time_limit=0).first == STEP
    single = {n: a.astype("f8") if a.dtype == "f4" else a for n, a in trace_of(folder).items()}
    assert run(single, model).verdict == "pass"


@pytest.mark.parametrize(
    "kept",
    [
        ["encoder"],
        ["pooler"],
        ["embeddings", "encoder.layer.0", "encoder.layer.1"],
        ["encoder.layer.1.attention.self.query"],
        ["encoder.layer.0.attention.self.probs", "encoder.layer.0.attention.self"],
    ],
)
def test_a_trace_need_not_hold_every_step(trace: Arrays, model: BertModel, kept: list[str]) -> None:
    few = {name: array for name, array in trace.items() if name in (*kept, *IDS)}
    report = run(few, model)
    assert (report.verdict, [row.name for row in report.steps]) == ("pass", kept)
    last = kept[-1]
    assert run(touched(few, last, (0,), 0.5), model, time_limit=0).first == last


def test_padding_does_not_count(trace: Arrays, model: BertModel) -> None:
    for value in (9.0, np.nan):
        garbage = dict(trace)
        for name, array in trace.items():
            if array.ndim == 3 and array.shape[0] == 3 and array.dtype.kind == "f":
                garbage[name] = np.where(MASK[:, :, None], array, array.dtype.type(value))
        # The pooler reads the first token of a row, padding or not; it has to be said to be left.
        assert run(garbage, model, time_limit=0).first == "pooler.dense"
        assert run(garbage, model, allow=["pooler*"]).verdict == "pass"
    wrong = touched(trace, "encoder.layer.1", (1, 0), 9.0)
    assert run(wrong, model).verdict == "pass"
    found = run(wrong, model, all_positions=True, time_limit=0)
    assert found.first == "encoder.layer.1"
    assert run(trace, model, all_positions=True).verdict == "pass"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["embeddings.sum", "encoder.layer.0.attention.self.probs", STEP])
def test_what_is_not_finite_never_passes(
    trace: Arrays, model: BertModel, name: str, value: float
) -> None:
    array = trace[name].copy()
    array[0, 1] = value
    report = run({**trace, name: array}, model)
    assert (report.first, report.cause) == (name, None)
    assert "not finite" in row_of(report, name).text


def test_rows_that_begin_with_padding_are_verified_with_their_pooler(
    folder: Path, model: BertModel
) -> None:
    ids: Arrays = {
        "input_ids": np.array([[0, 2, 5, 3]]),
        "attention_mask": np.array([[0, 1, 1, 1]]),
    }
    trace = trace_of(folder, ids=ids)
    assert verify(as_trace(trace), model).verdict == "pass"
    for name in ("pooler", "pooler.dense"):
        assert run(touched(trace, name, 0, 1.0), model, time_limit=0).first == name


def test_a_row_without_a_token_says_how_it_is_masked(folder: Path, model: BertModel) -> None:
    mask = IDS["attention_mask"].copy()
    mask[1] = 0
    ids = {**IDS, "attention_mask": mask}
    trace = trace_of(folder, ids=ids)
    assert run(trace, model, all_positions=True).verdict == "pass"
    scores = "encoder.layer.0.attention.self.scores"
    raw = BertModel.from_pretrained(folder).steps(IDS["input_ids"], None, IDS["token_type_ids"])
    plain = raw.encoder.layer[0].attention.self.scores
    subtracted = np.where(mask[:, None, None, :] == 1, plain, plain - np.float32(1e4))
    report = run({**trace, scores: subtracted}, model, all_positions=True)
    assert (report.first, report.cause) == (scores, "mask_10000")
    assert run({**trace, scores: subtracted}, model).verdict == "pass"


def test_what_cannot_be_used_is_named(trace: Arrays, model: BertModel) -> None:
    for array, text in (
        (trace[STEP][:, :, :-1], "its shape must be (3, 7, 37); got (3, 7, 36)"),
        (trace[STEP].swapaxes(0, 1), "its shape must be (3, 7, 37); got (7, 3, 37)"),
        (trace[STEP][:0], "it must not be empty; got shape (0, 7, 37)"),
        (trace[STEP].astype(np.int64), "its dtype must be a float; got int64"),
    ):
        report = run({**trace, STEP: array}, model)
        assert report.first == STEP
        assert row_of(report, STEP).text == text
        # The steps behind it are computed from what stands before it.
        assert row_of(report, "encoder.layer.1.output.dense").verdict == "pass"


def test_allowed_and_stopped_at(trace: Arrays, model: BertModel) -> None:
    mean = "embeddings.LayerNorm.mean"
    wrong = touched(touched(trace, mean, 0, 1.0), "pooler", 0, 1.0)
    allowed = run(wrong, model, allow=["*.mean"], time_limit=0)
    assert allowed.first == "pooler"
    assert row_of(allowed, mean).verdict == "allowed"
    stopped = run(wrong, model, fail_fast=True, time_limit=0)
    assert stopped.steps[-1].name == mean


def test_a_second_array_of_a_step(trace: Arrays, model: BertModel) -> None:
    inner = f"{STEP}.intermediate_act_fn"
    same = run({**trace, inner: trace[STEP]}, model)
    assert same.verdict == "pass"
    assert row_of(same, inner).own == 0.0
    other = run({**trace, inner: trace[STEP] + 1}, model)
    assert other.first == inner
    assert "another name of" in row_of(other, inner).text
    short = run({**trace, inner: trace[STEP][:1]}, model)
    assert "its shape must be" in row_of(short, inner).text


def test_a_reference_and_who_is_nearer(folder: Path, trace: Arrays, model: BertModel) -> None:
    exactly = trace_of(folder, "float64")
    report = run(trace, model, reference=as_trace(exactly))
    assert "the reference is the nearer to float64" in report.notes[-1]
    assert row_of(report, STEP).reference == 0.0
    report = run(trace, model, reference=as_trace(touched(trace, STEP, 0, 1e-3)))
    assert row_of(report, STEP).reference == pytest.approx(1e-3, rel=1e-2)
    assert "the candidate is the nearer to float64" in report.notes[-1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_ids": IDS["input_ids"][::-1]}, "input_ids must be the candidate's; they are not"),
        ({"input_ids": IDS["input_ids"][:, :3]}, "input_ids must be the candidate's; they are not"),
        ({"attention_mask": np.ones((3, 7), int)}, "attention_mask must be the candidate's"),
        ({"input_ids": None}, "must hold input_ids; it holds none, so they may be others"),
    ],
)
def test_a_reference_of_other_ids(
    trace: Arrays, model: BertModel, changes: dict[str, Any], message: str
) -> None:
    other = {name: array for name, array in (trace | changes).items() if array is not None}
    with pytest.raises(TraceError, match=message):
        run(trace, model, reference=as_trace(other))


def test_a_reference_that_says_nothing(trace: Arrays, model: BertModel) -> None:
    few = {**IDS, "loss": np.ones(1)}
    assert run(trace, model, reference=as_trace(few)).notes[-1] == (
        "candidate and reference have no step in common."
    )
    assert run(trace, model, reference=as_trace(trace)).notes[-1] == (
        "candidate and reference are as near."
    )
    rows = np.repeat(trace["embeddings.position_embeddings"], 3, axis=0)
    other = {**trace, "embeddings.position_embeddings": rows}
    assert run(trace, model, reference=as_trace(other)).verdict == "pass"


def test_other_names_and_axes(trace: Arrays, model: BertModel) -> None:
    heads = {
        f"blocks.1.attn.hook_{short}": trace[f"encoder.layer.1.attention.self.{long}"].reshape(
            3, 7, 4, 6
        )
        for short, long in {"q": "query", "k": "key", "v": "value"}.items()
    }
    scores = {"blocks.1.attn.hook_pattern": trace["encoder.layer.1.attention.self.probs"]}
    given = {**IDS, "hook_full_embed": trace["embeddings"], **heads, **scores}
    report = run({**given, "encoder.layer.0": trace["encoder.layer.0"]}, model)
    assert report.verdict == "pass"
    assert len(report.steps) == 6
    names = NameMap({"mine.q": ("encoder.layer.0.attention.self.query", "BATD")})
    query = trace["encoder.layer.0.attention.self.query"].reshape(3, 7, 4, 6).swapaxes(1, 2)
    few = {**IDS, "embeddings": trace["embeddings"], "mine.q": query}
    assert run(few, model, names=names).verdict == "pass"
    mixed = {**few, "mine.q": query[:, ::-1]}
    assert run(mixed, model, names=names, time_limit=0).verdict == "differs"
    wrong = run({**few, "mine.q": query[0]}, model, names=names)
    assert wrong.guilty is not None
    assert "the axes BATD must fit shape" in wrong.guilty.text


def test_positions_may_stand_in_every_row(trace: Arrays, model: BertModel) -> None:
    name = "embeddings.position_embeddings"
    rows = np.repeat(trace[name], 3, axis=0)
    assert run({**trace, name: rows}, model).verdict == "pass"
    moved = np.roll(rows, 1, axis=1)
    assert run({**trace, name: moved}, model, time_limit=0).first == name


def test_what_it_was_not_told_is_noted(folder: Path, model: BertModel) -> None:
    ids = {"input_ids": IDS["input_ids"]}
    trace = trace_of(folder, ids=ids)
    report = run({**trace, "embeddings.summ": np.ones(2), "loss": np.ones(1)}, model)
    assert report.verdict == "pass"
    assert report.notes == [
        "the candidate holds no attention_mask; it was taken as all 1.",
        "the candidate holds no token_type_ids; it was taken as all 0.",
        "not a step of this model, and not compared: embeddings.summ, loss (did you mean "
        "embeddings.sum?).",
        "5 of the input_ids are 0, the padding, and attention_mask is not in the trace, and was "
        "taken as all 1: they were verified as tokens that the others attend to. If the port masks "
        "them, save its attention_mask beside its input_ids.",
    ]


def test_what_is_misnamed_or_stands_twice_is_noted(trace: Arrays, model: BertModel) -> None:
    wrong = {"encoder.layer.0.attention.self.qeury.weight": np.zeros((24, 24), "f4")}
    notes = run({**trace, **wrong}, model).notes
    assert "did you mean encoder.layer.0.attention.self.query.weight?" in notes[0]
    for name in ("model.input_ids", "bert.attention_mask"):
        with pytest.raises(TraceError, match="Keep one of them"):
            run({**trace, name: IDS["input_ids"]}, model)


def test_nothing_is_verified_where_all_is_allowed(trace: Arrays, model: BertModel) -> None:
    broken = {name: a * np.nan if a.dtype.kind == "f" else a for name, a in trace.items()}
    with pytest.raises(TraceError, match="nothing was verified"):
        run(broken, model, allow=["*"])


def test_float32_in_float64_with_nan_in_padding(trace: Arrays, model: BertModel) -> None:
    wide = {n: a.astype("f8") if a.dtype.kind == "f" else a for n, a in trace.items()}
    wide["encoder.layer.0.output.dense"][~MASK] = np.nan
    name = "encoder.layer.0.attention.self.scores"
    wide[name] = np.where(wide[name] < -1e30, np.finfo("f8").min, wide[name])
    assert run(wide, model).verdict == "pass"


def test_a_float_mask_of_0_and_1(trace: Arrays, model: BertModel) -> None:
    floats = {**trace, "attention_mask": MASK.astype("f4")}
    assert run(floats, model).verdict == "pass"
    assert run(trace, model, reference=as_trace(floats)).verdict == "pass"
    with pytest.raises(InputError, match="attention_mask"):
        run({**trace, "attention_mask": np.where(MASK, 0.0, -1e9)}, model)


def test_where_zeros_are_expected_nothing_is_allowed(tmp_path: Path) -> None:
    tensors = random_tensors()
    tensors["embeddings.token_type_embeddings.weight"][:] = 0.0
    folder = write_checkpoint(tmp_path, tensors)
    trace, name = trace_of(folder), "embeddings.token_type_embeddings"
    assert row_of(run(trace, exact(folder)), name).verdict == "pass"
    report = run(touched(trace, name, (0, 0, 0), 1e-30), exact(folder))
    assert (report.first, row_of(report, name).budget) == (name, 0.0)


def test_what_comes_of_an_infinity_does_not_pass(trace: Arrays, model: BertModel) -> None:
    broken = touched(trace, "encoder.layer.0.output.dense", (0, 0, 0), np.inf)
    report = run(broken, model, allow=["encoder.layer.0.output.dense"])
    assert report.first == "encoder.layer.0.output.dropout"


def drop(array: Any, keep: Any, scale: float = 1.0) -> Any:
    return np.where(keep, array * np.float32(scale), np.float32(0.0))


@pytest.mark.parametrize("scaled", [True, False])
def test_dropout_is_told_by_a_mask_of_chance(tmp_path: Path, scaled: bool) -> None:
    folder = trained_like(tmp_path, hidden_size=96, hidden_dropout_prob=0.1)
    model, trace = exact(folder), trace_of(folder)
    keep = np.random.default_rng(0).random((3, 7, 96)) >= 0.1
    for name in ("embeddings.dropout", "encoder.layer.1.output.dropout"):
        dropped = drop(trace[name], keep, 1 / 0.9 if scaled else 1.0)
        report = run({**trace, name: dropped}, model, fail_fast=True)
        cause = "dropout_on" if scaled else "dropout_unscaled"
        assert (report.first, report.cause) == (name, cause)
    # Behind it, the sum of what is left and the residual says the same.
    name = "encoder.layer.1.output.sum"
    residual = trace["encoder.layer.1.attention"]
    kept = drop(trace["encoder.layer.1.output.dense"], keep, 1 / 0.9 if scaled else 1.0)
    few = {n: a for n, a in trace.items() if n != "encoder.layer.1.output.dropout"}
    report = run({**few, name: kept + residual}, model, fail_fast=True)
    assert (report.first, report.cause) == (name, cause)


def test_zeros_with_a_pattern_are_no_dropout(tmp_path: Path) -> None:
    folder = trained_like(tmp_path, hidden_size=96)
    model, trace = exact(folder), trace_of(folder)
    name, probs = "encoder.layer.1.output.dropout", "encoder.layer.1.attention.self.dropout"
    tail = np.arange(96) < 86
    small = np.abs(trace[name]) > np.quantile(np.abs(trace[name]), 0.1)
    few = np.ones((3, 7, 96), bool)
    few[0, 0, :3] = False
    for keep in (tail, small, few):
        report = run({**trace, name: drop(trace[name], keep)}, model, fail_fast=True)
        assert (report.first, report.cause) == (name, None)
    heads = np.arange(4)[:, None, None] != 2
    columns = np.arange(7) != 3
    for keep in (heads, columns, ~np.eye(7, dtype=bool)):
        report = run({**trace, probs: drop(trace[probs], keep)}, model, fail_fast=True)
        assert (report.first, report.cause) == (probs, None)


def test_what_the_trace_could_not_have_shown(folder: Path, model: BertModel) -> None:
    ids = {"input_ids": IDS["input_ids"][:1]}
    report = verify(as_trace(trace_of(folder, ids=ids)), model)
    hidden = "\n".join(report.hidden)
    assert "the mask is left out (no row is padded: give a batch of texts of several" in hidden
    assert "positions count tokens only, not padding (no token stands behind padding" in hidden
    assert "every token is taken for segment 0 (all token_type_ids are 0: give a pair" in hidden
    assert "the scores are not scaled" not in hidden
    full = "\n".join(verify(as_trace(trace_of(folder)), model).hidden)
    for text in ("the mask is left out", "positions count tokens only", "segment 0"):
        assert text not in full


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ({}, TraceError, "must hold input_ids"),
        (
            {"input_ids": np.array([1, 2])},
            TraceError,
            r"must have shape \(B, T\), with a token; got shape \(2,\)",
        ),
        ({"input_ids": np.zeros((0, 3), int)}, TraceError, "with a token"),
        ({"input_ids": np.array([[99]])}, InputError, r"input_ids\[0, 0\] = 99 is outside"),
        ({"input_ids": np.array([[1.0]])}, InputError, "must be an array of integers"),
        (
            {"input_ids": np.array([[1]]), "attention_mask": np.array([[0]])},
            InputError,
            "attention_mask must be 1 at a token; it is 0 everywhere",
        ),
    ],
)
def test_ids_that_cannot_be_run(
    model: BertModel, ids: Arrays, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run({**ids, "pooler": np.zeros((1, 24), "f4")}, model)


def test_nothing_to_verify_and_a_model_of_the_wrong_kind(
    folder: Path, model: BertModel, trace: Arrays
) -> None:
    with pytest.raises(TraceError, match="must hold a step of a BERT under a known name"):
        run({**IDS, "output": np.ones(3)}, model)


def test_the_dtype_of_the_model_is_that_of_its_file(
    folder: Path, model: BertModel, trace: Arrays, tmp_path: Path
) -> None:
    assert load_exactly(folder).dtype == np.float32
    assert run(trace, load_exactly(folder)).as_dict() == run(trace, model).as_dict()
    wide = {key: array.astype("f8") for key, array in random_tensors().items()}
    write_checkpoint(tmp_path, wide)
    assert load_exactly(tmp_path).dtype == np.float64
    with pytest.raises(TraceError, match="Load it with dtype='float64'"):
        run(trace, BertModel.from_pretrained(tmp_path))


@pytest.mark.parametrize(
    ("positions", "cause", "text"),
    [
        (np.arange(7) + 1, "positions_shifted", "shifted by 1"),
        (np.arange(7) + 2, "positions_shifted", "shifted by 2"),
        (np.cumsum(MASK, axis=1) - 1, "positions_restart", "count tokens only, not padding"),
        (np.cumsum(MASK, axis=1) + 1, "positions_restart", "not padding, from 2"),
        (np.arange(7)[::-1], "positions_reversed", "counted from the end, padding too"),
        (np.arange(7)[::-1] + 3, None, "they are not 0, 1, 2"),
        (np.arange(6), None, "its shape must be (1, 7); got (6,)"),
    ],
)
def test_positions_that_the_trace_states(
    trace: Arrays, model: BertModel, positions: Any, cause: str | None, text: str
) -> None:
    report = run({**trace, "position_ids": positions}, model)
    assert (report.first, report.cause) == ("position_ids", cause)
    assert text in row_of(report, "position_ids").text
    right = run({**trace, "position_ids": np.arange(7)[None]}, model)
    assert row_of(right, "position_ids").verdict == "pass"


def test_positions_that_are_meant(folder: Path, model: BertModel) -> None:
    ids = {**IDS, "position_ids": np.arange(7)[None, ::-1]}
    trace = trace_of(folder, ids=ids)
    assert run(trace, model).first == "position_ids"
    assert run(trace, model, allow=["position_ids"]).verdict == "pass"


TEXTS = ["Alice saw a Rabbit", "IT RAN"]


def demo_trace(texts: Any, tokenizer: BertTokenizer) -> Arrays:
    ids = tokenizer(texts, padding=True, return_tensors="np")
    return {**ids, **dict(BertModel.from_pretrained("demo").trace(**ids))}


def test_the_tokenizer_is_verified_where_the_texts_are_known() -> None:
    model = BertModel.from_pretrained("demo", dtype="float64")
    tokenizer = BertTokenizer.from_pretrained("demo")
    trace = demo_trace(TEXTS, tokenizer)
    known: Any = {"tokenizer": tokenizer, "texts": TEXTS}
    assert row_of(run(trace, model, **known), "input_ids").verdict == "pass"
    other = run(trace, model, tokenizer=tokenizer, texts=["Alice saw a cat", "IT RAN"])
    assert (other.first, other.cause) == ("input_ids", None)
    assert "no known mistake gives these ids; input_ids[0, 4] is 2331 (rabbit), not" in (
        row_of(other, "input_ids").text
    )
    short = run(trace, model, tokenizer=tokenizer, texts=TEXTS[:1])
    assert row_of(short, "input_ids").text == "there must be a row for each of 1 texts; got 2"
    bare = tokenizer(TEXTS, padding=True, add_special_tokens=False, return_tensors="np")
    steps = dict(BertModel.from_pretrained("demo").trace(**bare))
    missing = run({**bare, **steps}, model, **known)
    assert (missing.first, missing.cause) == ("input_ids", "special_tokens_missing")


def test_a_cased_tokenizer_and_others() -> None:
    from tokenizers import Tokenizer
    from tokenizers.normalizers import BertNormalizer

    model = BertModel.from_pretrained("demo", dtype="float64")
    tokenizer = BertTokenizer.from_pretrained("demo")
    texts = ["Alice saw a Caf\u00e9 \u6771\u4eac", "IT RAN"]
    for cause, settings in {
        "tokenizer_cased": {"lowercase": False},
        "tokenizer_chinese": {"handle_chinese_chars": False},
    }.items():
        changed = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        changed.normalizer = BertNormalizer(**settings)
        rows = [encoding.ids for encoding in changed.encode_batch(texts)]
        width = max(map(len, rows))
        ids = np.array([row + [0] * (width - len(row)) for row in rows])
        mask = np.array([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        given = {"input_ids": ids, "attention_mask": mask}
        steps = dict(BertModel.from_pretrained("demo").trace(ids, mask))
        report = run({**given, **steps}, model, tokenizer=tokenizer, texts=texts)
        expected = (
            "input_ids" if rows != tokenizer(texts)["input_ids"] else None,
            cause if rows != tokenizer(texts)["input_ids"] else None,
        )
        assert (report.first, report.cause) == expected
        if cause == "tokenizer_cased":
            assert expected[0] == "input_ids"


def test_texts_in_the_metadata_are_verified_too(tmp_path: Path) -> None:
    from numpy_bert.traces.reading import open_trace

    model = BertModel.from_pretrained("demo", dtype="float64")
    tokenizer = BertTokenizer.from_pretrained("demo")
    path = tmp_path / "t.safetensors"
    encoded = tokenizer("a test", "it ran", return_tensors="np")
    recorder = Recorder(model, "demo")
    recorder.record(path, inputs_of(encoded, model), texts=["a test", "it ran"], pair=True)
    report = verify(open_trace(path), model, tokenizer=tokenizer, look_for_hidden=False)
    assert report.verdict == "pass"
    assert report.steps[0].name == "input_ids"
    recorder.record(path, inputs_of(encoded, model), texts=["a test", "it sat"], pair=True)
    report = verify(open_trace(path), model, tokenizer=tokenizer, look_for_hidden=False)
    assert report.first == "input_ids"


WEIGHT = "encoder.layer.1.attention.self.query.weight"


@pytest.mark.parametrize(
    ("make", "cause", "text"),
    [
        (lambda w, _: w.T, "weight_not_transposed", "it is transposed"),
        (lambda w, _: w.astype("f2").astype("f4"), "weights_float16", "it is rounded to float16"),
        (lambda _, other: other, "qkv_swapped", "it is the key's"),
        (lambda w, _: w * 0, "bias_missing", "it is 0"),
        (lambda w, _: w + 1, None, "the weights are others"),
        (lambda w, _: w[:3], None, "its shape must be (24, 24); got (3, 24)"),
        (lambda w, _: w.astype(int), None, "its dtype must be a float; got int64"),
    ],
)
def test_weights_that_a_trace_carries(
    trace: Arrays, model: BertModel, make: Any, cause: str | None, text: str
) -> None:
    weights: Any = dict(arrays_of(model.parameters))
    right = {f"bert.{key}": array.astype("f4") for key, array in weights.items()}
    assert run({**right, **trace}, model).verdict == "pass"
    wrong = make(weights[WEIGHT].astype("f4"), weights[WEIGHT.replace("query", "key")].astype("f4"))
    report = run({**right, f"bert.{WEIGHT}": wrong, **trace}, model)
    assert (report.first, report.cause) == (WEIGHT, cause)
    assert row_of(report, WEIGHT).text == text


def test_two_mistakes_that_rounding_cannot_tell_apart_are_no_answer(
    folder: Path, model: BertModel
) -> None:
    """In float16 a LayerNorm without weight and one with another have no name."""
    trace = trace_of(folder)
    norm = model.parameters.embeddings.LayerNorm
    odd = trace["embeddings.LayerNorm.normalized"] * norm.bias.astype("f4") + 1
    report = run({**trace, "embeddings.LayerNorm": odd.astype("f2")}, model)
    assert (report.first, report.cause) == ("embeddings.LayerNorm", None)


def test_memory_does_not_grow_with_the_layers(tmp_path: Path) -> None:
    """The arrays of one layer, a few times over, whatever the number of layers."""
    peaks = []
    for layers in (2, 8):
        folder = trained_like(
            tmp_path / str(layers), num_hidden_layers=layers, max_position_embeddings=64
        )
        deep = exact(folder)
        ids = np.ones((4, 64), np.int64)
        path = tmp_path / f"{layers}.safetensors"
        Recorder(deep, folder).record(path, inputs_of({"input_ids": ids}, deep))
        from numpy_bert.traces.reading import open_trace

        opened = open_trace(path)
        tracemalloc.start()
        assert verify(opened, deep, look_for_hidden=False).verdict == "pass"
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


@pytest.mark.parametrize(
    ("kept", "mask"),
    [
        (None, "absent"),
        (["pooler"], "all 1"),
        (["encoder.layer.0.attention.self.probs", "encoder.layer.1"], "absent"),
    ],
)
def test_padding_that_the_port_masks_and_its_trace_does_not(
    trace: Arrays, model: BertModel, kept: list[str] | None, mask: str
) -> None:
    steps = {n: a for n, a in trace.items() if kept is None or n in (*kept, *IDS)}
    stated = {} if mask == "absent" else {"attention_mask": np.ones((3, 7), int)}
    report = run({**without(steps, "attention_mask"), **stated}, model)
    assert (report.verdict, report.first, report.cause) == (
        "differs",
        "attention_mask",
        "padding_masked",
    )
    assert [row.name for row in report.steps if row.verdict == "differs"] == ["attention_mask"]
    where = "is not in the trace, and was taken as all 1" if mask == "absent" else "is 1 there"
    assert report.sentence == (
        "The first to differ is attention_mask: 5 of the input_ids are 0, the padding, and "
        f"attention_mask {where}, but the port masks them; save its attention_mask beside its "
        "input_ids."
    )
    assert not any("taken as all 1" in note for note in report.notes)
    few = {**without(steps, "attention_mask"), **stated}
    assert run(few, model, allow=["attention_mask"], time_limit=0).verdict == "pass"
    assert run(few, model, reference=as_trace(few), time_limit=0).first == "attention_mask"


def test_padding_that_a_port_leaves_out(trace: Arrays, model: BertModel) -> None:
    packed = {
        n: np.where(MASK[:, :, None], a, np.float32(0))
        if a.shape[:2] == (3, 7) and a.ndim == 3
        else a
        for n, a in trace.items()
        if not n.startswith("pooler")
    }
    assert run(without(packed, "attention_mask"), model).cause == "padding_masked"
    wrong = touched(packed, "encoder.layer.1", (0, 0), 9.0)
    report = run(without(wrong, "attention_mask"), model, time_limit=0)
    assert [row.name for row in report.steps if row.verdict == "differs"] == [
        "attention_mask",
        "encoder.layer.1",
        "encoder",
    ]


def test_padding_that_a_port_attends_to(folder: Path, model: BertModel) -> None:
    ids = without(dict(IDS), "attention_mask")
    whole = trace_of(folder, ids=ids)
    report = run(whole, model)
    assert report.verdict == "pass"
    assert "they were verified as tokens that the others attend to" in report.notes[-1]
    wrong = run(touched(whole, STEP, (0, 0), 9.0), model, time_limit=0)
    assert wrong.first == STEP  # which no mask explains
    assert "they were verified as tokens" in wrong.notes[-1]
    inner = {"input_ids": np.where(ids["input_ids"] == 0, 1, ids["input_ids"])}
    inner["input_ids"][0, 3] = 0  # a text that says [PAD]
    assert not any("padding" in n for n in run(trace_of(folder, ids=inner), model).notes)


def test_padding_stands_in_ids_that_are_known_by_their_texts() -> None:
    model = BertModel.from_pretrained("demo", dtype="float64")
    tokenizer = BertTokenizer.from_pretrained("demo")
    texts = ["a test", "the cat sat on the mat"]
    batch = tokenizer(texts, padding=True, return_tensors="np")
    ids = {"input_ids": batch["input_ids"]}
    kept = ("embeddings", "encoder.layer.0.attention.self.probs")
    for given, first, cause in (
        (ids, "input_ids", "padding_unmasked"),
        (batch, "attention_mask", "padding_masked"),
    ):
        steps = {name: array for name, array in model.trace(**given) if name in kept}
        report = run({**ids, **steps}, model, tokenizer=tokenizer, texts=texts)
        assert (report.first, report.cause) == (first, cause)


@pytest.mark.parametrize(
    ("changes", "theirs", "ours"),
    [
        ({"hidden_size": 32}, "hidden_size 32", "hidden_size 24"),
        ({"num_hidden_layers": 3}, "num_hidden_layers 3", "num_hidden_layers 2"),
        ({"num_attention_heads": 2}, "num_attention_heads 2", "num_attention_heads 4"),
        ({"intermediate_size": 41}, "intermediate_size 41", "intermediate_size 37"),
        (
            {"hidden_size": 36, "num_hidden_layers": 3, "vocab_size": 150},
            "hidden_size 36, num_hidden_layers 3",
            "hidden_size 24, num_hidden_layers 2",
        ),
    ],
)
def test_sizes_come_before_ids(
    tmp_path: Path, model: BertModel, changes: dict[str, int], theirs: str, ours: str
) -> None:
    ids = {"input_ids": IDS["input_ids"] + changes.get("vocab_size", 0) // 2}
    with pytest.raises(TraceError) as raised:
        run(trace_of(trained_like(tmp_path, **changes), ids=ids), model)
    file = model.loading_info.files[0]
    assert str(raised.value) == (
        f"the candidate was made with a BERT of {theirs}; {file} has {ours}. Name the model that "
        "was ported."
    )


def test_sizes_that_the_metadata_states(tmp_path: Path, model: BertModel) -> None:
    folder = trained_like(tmp_path, vocab_size=150, num_hidden_layers=3)
    other = exact(folder)
    path = tmp_path / "trace.safetensors"
    inputs = inputs_of({"input_ids": np.array([[140, 2]])}, other)
    Recorder(other, folder).record(path, inputs, names=["embeddings"])
    said = "num_hidden_layers 3, vocab_size 150; .* has num_hidden_layers 2, vocab_size 61"
    with pytest.raises(TraceError, match=said):
        verify(open_trace(path), model)
    arrays = open_trace(path).arrays
    for config in ("{", "[]", '{"num_hidden_layers": "2"}', "[" * 100_000):
        assert verify(Trace("few", arrays, (), {"config": config}), other).verdict == "pass"


def test_what_a_trace_may_leave_out_changes_nothing(folder: Path, model: BertModel) -> None:
    ids = {"input_ids": np.where(IDS["input_ids"] == 0, 1, IDS["input_ids"])}
    optional = {
        "attention_mask": np.ones((3, 7), int),
        "token_type_ids": np.zeros((3, 7), int),
        "position_ids": np.arange(7)[None],
        **{key: np.asarray(array) for key, array in arrays_of(model.parameters)},
    }
    steps = without(trace_of(folder, ids=ids), "input_ids")
    wrong = touched(steps, STEP, (0, 0), 9.0)
    for arrays, first in ((steps, None), (wrong, STEP)):
        whole = {**ids, **optional, **arrays}
        assert run(whole, model, time_limit=0).first == first
        for absent in (["attention_mask"], ["token_type_ids"], ["position_ids"], list(optional)):
            assert run(without(whole, *absent), model, time_limit=0).first == first
            other = run(whole, model, reference=as_trace(without(whole, *absent)), time_limit=0)
            assert other.first == first
