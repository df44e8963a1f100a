"""Two traces: a comparison may fail, but never pass by accident."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import InputError, TraceError
from numpy_bert.comparison.compare import compare
from numpy_bert.comparison.differences import cosine_distance
from numpy_bert.comparison.report import as_html, as_text
from numpy_bert.comparison.tolerances import CHECKS, Tolerances
from numpy_bert.loading.cache import demo_folder
from numpy_bert.traces.layout import step_names
from numpy_bert.traces.reading import as_trace
from tests.support.traces import IDS, Arrays, changed, run, trace_of, trained_like, without

STEP = "encoder.layer.1.intermediate"


@pytest.fixture
def right(tmp_path: Path) -> Arrays:
    return trace_of(trained_like(tmp_path), "float64")


@pytest.fixture
def narrow(tmp_path: Path) -> Arrays:
    return trace_of(trained_like(tmp_path))


def test_the_same_in_another_dtype_and_order(right: Arrays, narrow: Arrays) -> None:
    other = dict(reversed(narrow.items()))
    report = run(right, other)
    assert report.verdict == "pass"
    assert (report.first, report.cause) == (None, None)
    assert [row.name for row in report.steps] == [*IDS, *step_names(2, pools=True)]
    assert all(row.own is row.inherited is None for row in report.steps)


def test_the_first_difference_in_execution_order(right: Arrays, narrow: Arrays) -> None:
    wrong = changed(changed(narrow, "pooler", (0, 3), 9.0), STEP, (0, 2, 5), 1.5)
    report = run(right, wrong)
    assert report.first == STEP
    row = next(row for row in report.steps if row.name == STEP)
    assert (row.worst, row.value) == ((0, 2, 5), 1.5)
    assert row.expected == right[STEP][0, 2, 5]
    assert f"The first to differ is {STEP}" in report.sentence
    assert "1 after it differ too" in report.sentence


def test_ids_come_first(right: Arrays) -> None:
    wrong = changed(changed(right, STEP, 0, 1.0), "token_type_ids", (1, 3), 1)
    report = run(right, wrong)
    assert report.first == "token_type_ids"
    assert report.guilty is not None
    assert (report.guilty.worst, report.guilty.text) == ((1, 3), "1 of 21 differ")


def test_weights_come_before_steps(right: Arrays) -> None:
    weight = {"encoder.layer.0.output.dense.weight": np.ones((24, 37), np.float32)}
    wrong = {"bert.encoder.layer.0.output.dense.weight": np.zeros((24, 37), np.float32)}
    report = run({**right, **weight}, {**changed(right, STEP, 0, 1.0), **wrong})
    assert report.first == "encoder.layer.0.output.dense.weight"


def test_another_name_of_an_array_will_do(right: Arrays) -> None:
    few = {name: a for name, a in right.items() if not name.endswith((".attention", ".output"))}
    assert run(right, few).verdict == "pass"
    wrong = changed(few, "encoder.layer.0.attention.output.LayerNorm", (0, 0, 0), 9.0)
    names = [row.name for row in run(right, wrong).steps if row.verdict == "differs"]
    assert names == [
        "encoder.layer.0.attention.output.LayerNorm",
        "encoder.layer.0.attention.output",
        "encoder.layer.0.attention",
    ]


def test_both_arrays_of_a_step_are_compared(right: Arrays) -> None:
    twin = {f"{STEP}.intermediate_act_fn": right[STEP] + 1.0}
    assert run(right, {**right, **twin}).first == f"{STEP}.intermediate_act_fn"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros((3, 7)), "its shape must be (3, 7, 37); got (3, 7)"),
        (np.zeros((7, 3, 37)), "its shape must be (3, 7, 37); got (7, 3, 37)"),
        (np.zeros((1, 7, 37)), "its shape must be (3, 7, 37); got (1, 7, 37)"),
        (
            np.zeros((3, 7, 37), np.int64),
            "its dtype must be float64, as in the reference; got int64",
        ),
    ],
)
def test_other_shapes_and_kinds(right: Arrays, value: Any, text: str) -> None:
    report = run(right, {**right, STEP: value})
    assert report.first == STEP
    assert report.guilty is not None
    assert report.guilty.text == text


def test_a_dtype_that_is_not_the_claimed_one(right: Arrays, narrow: Arrays) -> None:
    candidate = as_trace({**narrow, STEP: narrow[STEP].astype(np.float16)})
    object.__setattr__(candidate, "metadata", {"dtype": "float32"})
    report = compare(as_trace(right), candidate)
    assert report.first == STEP
    assert report.guilty is not None
    assert report.guilty.text == "its dtype must be float32, as the candidate claims; got float16"


def test_masked_scores_may_be_masked_otherwise_but_must_be_masked(right: Arrays) -> None:
    name = "encoder.layer.0.attention.self.scores"
    scores = right[name]
    masked = scores < -1e100
    assert masked.any()
    assert run(right, {**right, name: np.where(masked, -1e4, scores)}).verdict == "pass"
    assert run(right, {**right, name: np.where(masked, -np.inf, scores)}).verdict == "pass"
    assert run(right, {**right, name: np.where(masked, 0.0, scores)}).first == name


def test_positions_may_stand_once_or_in_every_row(right: Arrays) -> None:
    name = "embeddings.position_embeddings"
    rows = np.repeat(right[name], 3, axis=0)
    assert run(right, {**right, name: rows}).verdict == "pass"
    assert run(right, {**right, name: rows + 1}).first == name


def test_nothing_in_common_cannot_be_compared(right: Arrays) -> None:
    with pytest.raises(TraceError, match="have no tensor in common"):
        run(right, {"input_ids": right["input_ids"], "other": np.ones(3)})
    with pytest.raises(TraceError, match="have no tensor in common"):
        run(dict(IDS), dict(IDS))


def test_an_infinite_reference_allows_nothing(right: Arrays) -> None:
    a = {"loss": np.array([np.inf, 1.0, 2.0, 3.0])}
    b = {"loss": np.array([np.inf, 100.0, -200.0, 3.0])}
    checks: list[Any] = [(), ([], [], "nmse"), ([], [], "mean"), (["0"], ["1e-3"])]
    for options in checks:
        assert run(a, b, *options).first == "loss"
        assert run(a, a, *options).verdict == "pass"
    name = "encoder.layer.0.attention.self.scores"
    noisy = right[name] + 1000 * np.random.default_rng(0).normal(size=right[name].shape)
    bare = {n: x for n, x in right.items() if n != "attention_mask"}
    assert run(right, {**right, name: noisy}, all_positions=True).first == name
    assert run(bare, {**bare, name: noisy}).first == name
    assert run(bare, bare).verdict == run(right, right, all_positions=True).verdict == "pass"


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((3, 6), int), "must have shape"),
        (np.ones((2, 7), int), "must have shape"),
        (np.full((3, 7), 2), "must be 1 for a token or 0 for padding"),
        (np.zeros((3, 7), int), "is 0 everywhere"),
        (np.ones(7, int), "must have shape"),
    ],
)
def test_a_mask_that_is_none(right: Arrays, mask: Any, message: str) -> None:
    wrong = {**right, "attention_mask": mask}
    with pytest.raises((TraceError, InputError), match=message):
        run(wrong, wrong)
    if mask.ndim == 2 and mask.any() and mask.max() == 1:
        bare = {n: a for n, a in wrong.items() if n in ("attention_mask", STEP)}
        with pytest.raises(TraceError, match="must be of one run; got shapes"):
            run(bare, bare)


def test_half_precision_is_judged_by_a_few_of_its_own_units(right: Arrays) -> None:
    rng = np.random.default_rng(0)
    half = {n: a.astype("f2") if a.dtype.kind == "f" and n == STEP else a for n, a in right.items()}
    assert run(right, half).verdict == "pass"
    noise = 0.02 * np.abs(right[STEP]).max() * rng.uniform(-1, 1, right[STEP].shape)
    assert run(right, {**right, STEP: (right[STEP] + noise).astype("f2")}).first == STEP


def test_globs_that_fit_nothing_are_told(right: Arrays) -> None:
    for atol in ("Pooler:1e-9", "pool?r:1e-9", "pool:1e-9"):
        with pytest.raises(InputError, match="fits no tensor"):
            run(right, right, ["1e-2", atol])


def test_integers_are_equal_or_not() -> None:
    for a, b in ((10**7, 10**7 + 20), (2**60, 2**60 + 1)):
        one, two = {"x": np.array([a, 1])}, {"x": np.array([b, 1])}
        assert run(one, two).first == "x"
        assert run(one, two, ["0"]).first == "x"
        assert run(one, one).verdict == "pass"


def test_every_array_of_the_candidate_is_compared(right: Arrays) -> None:
    path = "encoder.layer.0"
    few = {n: a for n, a in right.items() if n not in (path, f"{path}.output")}
    assert run(few, right).verdict == "pass"
    assert run(few, {**right, path: right[path] * 7}).first == path
    twin = {f"bert.{path}.attention": right[f"{path}.attention"] * 5}
    assert run(few, {**right, **twin}).first == f"bert.{path}.attention"


def test_a_reference_that_contradicts_itself(right: Arrays) -> None:
    twice = {**right, "bert.pooler": right["pooler"] * 7}
    with pytest.raises(TraceError, match=r"bert\.pooler and pooler are both pooler, but differ"):
        run(twice, right)
    assert run({**right, "bert.pooler": right["pooler"]}, right).verdict == "pass"


def test_nothing_is_compared_where_all_is_allowed(right: Arrays) -> None:
    broken = {n: a * np.nan if a.dtype.kind == "f" else a for n, a in right.items()}
    with pytest.raises(TraceError, match="nothing was compared"):
        run(right, broken, allow=["*"])


def test_a_mean_is_judged_by_what_was_averaged(right: Arrays, narrow: Arrays) -> None:
    mean = "encoder.layer.0.output.LayerNorm.mean"
    for kept in ((mean, "encoder.layer.0.output.sum"), (mean, mean.replace("mean", "variance"))):
        few = {name: right[name].astype("f4") for name in kept}
        centred = {**few, mean: few[mean] * np.float32(1e-9)}
        assert run(centred, {**centred, mean: centred[mean] + np.float32(1e-7)}).verdict == "pass"
        assert run(centred, {**centred, mean: centred[mean] + np.float32(1e-3)}).first == mean


def test_names_of_the_users_own_are_compared_in_their_order() -> None:
    mask = {"attention_mask": np.array([[1, 1, 0]])}
    a = {**mask, "zeta": np.ones((1, 3, 2)), "alpha": np.ones(5)}
    b = {**a, "zeta": np.array([[[1.0, 1.0], [1.0, 1.0], [9.0, 9.0]]])}
    assert [row.name for row in run(a, b).steps] == ["attention_mask", "zeta", "alpha"]
    assert run(a, b).verdict == "pass"
    assert run(a, b, all_positions=True).first == "zeta"


def test_it_stops_at_the_first(right: Arrays) -> None:
    wrong = changed(right, STEP, (0, 0, 0), 9.0)
    report = run(right, wrong, fail_fast=True)
    assert report.steps[-1].name == STEP
    assert report.first == STEP


@pytest.mark.parametrize(
    ("options", "passes"),
    [
        ((["1e-2"],), True),
        ((["9e-4"],), False),
        (([], ["1e-2"]), False),  # at a number near 0
        ((["1e-4", "encoder.layer.1.*:1e-2"],), True),
        ((["1e-2", "encoder.layer.1.*:1e-4"],), False),
        ((["1e-4"], [], "mean"), True),
        ((["1e-9"], [], "mean"), False),
        ((["1e-4"], [], "nmse"), True),
        ((["1e-12"], [], "nmse"), False),
        (([], [], "nmse"), False),
        ((["1e-4"], [], "cosine"), True),
        ((["1e-12"], [], "cosine"), False),
        ((["1e30"], [], "ulp"), True),
        ((["1000"], [], "ulp"), False),
        (([], [], "ulp"), False),
    ],
)
def test_checks_and_tolerances(right: Arrays, options: tuple[Any, ...], passes: bool) -> None:
    smallest = np.unravel_index(np.abs(right[STEP][0]).argmin(), right[STEP][0].shape)
    wrong = {**right, STEP: right[STEP].copy()}
    wrong[STEP][0][smallest] += 1e-3
    report = run(right, wrong, *options)
    assert report.first == (None if passes else STEP)


@pytest.fixture(scope="module", params=["demo", "tiny"])
def clean(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[Arrays, Arrays, Arrays]]:
    """Return runs of three batches: in float64, in float32, and the first stored as float16."""
    is_demo = request.param == "demo"
    folder = demo_folder() if is_demo else trained_like(tmp_path_factory.mktemp("tiny"))
    found = []
    for seed in range(3):
        ids = IDS
        if is_demo:
            words = np.random.default_rng(seed).integers(5, 4000, (3, 7)) * IDS["attention_mask"]
            ids = {**IDS, "input_ids": words}
        exactly, rounded = (trace_of(folder, dtype, ids) for dtype in ("float64", "float32"))
        half = {
            name: np.clip(array, -6e4, 6e4).astype("f2") if array.dtype.kind == "f" else array
            for name, array in exactly.items()
        }
        found.append((exactly, rounded, half))
    return found


@pytest.mark.parametrize("check", CHECKS)
def test_clean_runs_are_within_the_limits_of_every_check(
    clean: list[tuple[Arrays, Arrays, Arrays]], check: Any
) -> None:
    for exactly, rounded, half in clean:
        assert run(exactly, rounded, [], [], check).sentence.startswith("The same: all")
        assert run(rounded, half, [], [], check).verdict == "pass"


@pytest.mark.parametrize("check", CHECKS)
def test_no_check_passes_a_mistake(right: Arrays, check: Any) -> None:
    # GELU's tanh form is off by 4.7e-4 at most.
    inner = right[f"{STEP}.dense"]
    form = 0.5 * inner * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
    for step, wrong in ((STEP, form), ("pooler", right["pooler.dense"])):
        assert run(right, {**right, step: wrong}, [], [], check).first == step


@pytest.mark.parametrize(
    ("check", "unit", "measure"),
    [
        ("max", "abs", lambda a, b: np.abs(a - b).max()),
        ("mean", "mean abs", lambda a, b: np.abs(a - b).mean()),
        ("ulp", "ULP", lambda a, b: np.abs(a - b).max() / 2**-22),  # of 2.x
        ("nmse", "NMSE", lambda a, b: np.square(a - b).sum() / np.square(b).sum()),
        ("cosine", "1 - cosine", lambda a, b: cosine_distance(a.ravel(), b.ravel())),
    ],
)
def test_the_number_and_its_budget_are_of_one_unit(check: Any, unit: str, measure: Any) -> None:
    b = np.random.default_rng(3).uniform(-1, 1, (2, 3, 5)).astype("f4")
    b[..., 0] = 2.5
    a = b + np.float32(2e-3) * np.random.default_rng(4).normal(size=b.shape).astype("f4")
    expected = float(measure(a.astype("f8"), b.astype("f8")))
    for budget, passes in ((expected * 0.5, False), (expected * 2, True)):
        report = run({"x": b}, {"x": a}, [f"{budget:.17g}"], [], check)
        (row,) = report.steps
        assert row.verdict == ("pass" if passes else "differs")
        assert row.error == pytest.approx(expected)
        assert (row.budget, row.unit) == (budget, unit)
        (found,) = report.as_dict()["steps"]
        assert (found["error"], found["budget"], found["unit"]) == (row.error, budget, unit)
        head = as_text(report).splitlines()[2].split("  ")
        name = "budget" if check == "max" else f"budget ({unit})"
        assert [cell.strip() for cell in head if cell][-1] == name
        assert f"<th>{name}</th>" in as_html(report)
    sentence = run({"x": b}, {"x": a}, ["1e-12"], [], check).sentence
    shown = f"{expected:.0f}" if check == "ulp" else f"{expected:.2g}"
    more = "" if check == "max" else f" {unit}"
    assert sentence == f"The first to differ is x, by {shown}{more} (its budget is 1e-12{more})."


def test_a_distance_is_shown_with_the_budget_of_its_place() -> None:
    a, b = {"x": np.array([1000.5, 1.1])}, {"x": np.array([1000.0, 1.0])}
    report = run(b, a, [], ["1e-2"])
    (row,) = report.steps
    assert row.error == pytest.approx(0.1)
    assert (row.budget, row.max_abs, row.worst) == (0.01, 0.5, (1,))
    assert "by 0.1 (its budget is 0.01)" in report.sentence


def test_checks_that_are_none() -> None:
    with pytest.raises(InputError, match="check must be one of max, mean, ulp, nmse, cosine; got"):
        Tolerances(check="maximum")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="rtol has no meaning for the check ulp"):
        Tolerances(rtol=["1"], check="ulp")


OPTIONAL: Arrays = {
    "attention_mask": np.ones((3, 7), np.int64),
    "token_type_ids": np.zeros((3, 7), np.int64),
    "position_ids": np.arange(7)[np.newaxis],
    "embeddings.LayerNorm.weight": np.ones(24),
    "encoder.layer.0.output.dense.bias": np.ones(24),
}


@pytest.mark.parametrize("absent", [*([name] for name in OPTIONAL), [*OPTIONAL]], ids=str)
def test_what_a_trace_may_leave_out_changes_nothing(tmp_path: Path, absent: list[str]) -> None:
    ids = {"input_ids": IDS["input_ids"]}
    whole = {**trace_of(trained_like(tmp_path), "float64", ids), **OPTIONAL}
    wrong = changed(whole, STEP, (0, 2, 5), 1.5)
    for ours, theirs in ((whole, wrong), (without(whole, *absent), wrong), (wrong, whole)):
        assert run(ours, theirs).first == STEP
        assert run(ours, without(theirs, *absent)).first == STEP
        assert run(ours, without(ours, *absent)).verdict == "pass"
        assert run(without(ours, *absent), ours, all_positions=True).verdict == "pass"


@pytest.mark.parametrize(
    ("name", "array", "usual"),
    [
        ("attention_mask", IDS["attention_mask"], "all 1"),
        ("token_type_ids", IDS["token_type_ids"], "all 0"),
        ("position_ids", np.arange(7)[np.newaxis] + 2, "0, 1, 2, ..."),
        ("position_ids", np.cumsum(IDS["attention_mask"], axis=1), "0, 1, 2, ..."),
    ],
)
def test_what_is_left_out_stands_for_its_usual_value(
    right: Arrays, name: str, array: Any, usual: str
) -> None:
    bare = without(right, *OPTIONAL)
    wrong = changed(bare, STEP, (0, 2, 5), 1.5)
    for ours, theirs, who in (
        ({**bare, name: array}, wrong, "candidate"),
        (bare, {**wrong, name: array}, "reference"),
    ):
        report = run(ours, theirs)
        assert report.first == name
        assert f"differ; the {who} holds none, which stands for {usual}" in report.sentence
    # Where there are no ids, nothing is said of the rest.
    few = without(bare, "input_ids")
    assert (
        run({**few, name: array}, few).verdict == run(few, {**few, name: array}).verdict == "pass"
    )


def test_position_ids_may_stand_once_or_in_every_row(right: Arrays) -> None:
    ways = [np.arange(7), np.arange(7)[np.newaxis], np.arange(7)[np.newaxis].repeat(3, axis=0)]
    for ours in ways:
        for theirs in ways:
            one, other = {**right, "position_ids": ours}, {**right, "position_ids": theirs}
            assert run(one, other).verdict == "pass"
            assert run(one, {**other, "position_ids": theirs + 1}).first == "position_ids"
    report = run({**right, "position_ids": ways[0]}, {**right, "position_ids": np.arange(8)})
    assert report.guilty is not None
    assert report.guilty.text == "its shape must be (7,); got (8,)"
    for odd in (np.arange(8), np.array(3), np.zeros((4, 7), int)):  # of no row, but the same
        same = {**right, "position_ids": odd}
        assert run(same, same).verdict == "pass"
        assert run(right, same).first == run(same, right).first == "position_ids"
    bare = without(right, "input_ids", "attention_mask")
    once, twice = ({**bare, "position_ids": way} for way in (ways[0], ways[2]))
    assert run(once, twice).verdict == run(twice, once).verdict == "pass"


def test_ids_of_padding_count_as_padding_does(right: Arrays) -> None:
    hidden = np.array([[0, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 1, 1]])
    for name in ("input_ids", "token_type_ids"):
        other = {**right, name: right[name] + hidden}
        report = run(right, other)
        assert report.verdict == "pass"
        assert report.notes[-1] == (
            f"{name}: 5 of 21 differ, all at padding, which does not count (--all-positions)."
        )
        assert run(right, other, all_positions=True).first == name


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "float32", "float64"])
def test_ids_and_masks_are_compared_by_their_values(right: Arrays, dtype: str) -> None:
    names = ["attention_mask"] if dtype == "bool" else [*IDS]
    other = {name: a.astype(dtype) if name in names else a for name, a in right.items()}
    assert run(right, other).verdict == run(other, right).verdict == "pass"
    assert run(other, changed(right, "attention_mask", (0, 6), 0)).first == "attention_mask"


def test_what_is_missing_is_named_after_what_differs(right: Arrays) -> None:
    few = without(right, "embeddings.sum", "embeddings.dropout", "input_ids")
    report = run(right, few)
    assert (report.verdict, report.first) == ("differs", "input_ids")
    assert report.sentence == (
        "The first to differ is input_ids: it is missing in the candidate; 1 more is missing in "
        "the candidate."
    )
    for options in ({}, {"fail_fast": True}):
        wrong = run(right, changed(few, STEP, (0, 2, 5), 1.5), **options)
        assert wrong.first == STEP
        assert wrong.sentence.endswith("; 2 are missing in the candidate.")


def test_weights_of_one_alone_are_noted(right: Arrays) -> None:
    weight = {"embeddings.LayerNorm.weight": np.ones(24)}
    assert run({**right, **weight}, right).notes[0] == (
        "in the reference only, need not be there, and not compared: embeddings.LayerNorm.weight."
    )


def test_what_both_hold_alone_is_compared_if_asked(right: Arrays) -> None:
    few = {name: right[name] for name in ("encoder", STEP, "embeddings.sum")}
    assert run(right, few).first == "input_ids"
    report = run(right, few, common=True)
    assert report.verdict == "pass"
    names = [row.name for row in report.steps]
    assert {"embeddings.sum", STEP, "encoder"} <= set(names)
    assert all(row.verdict == "pass" for row in report.steps)
    assert report.notes[0].startswith(
        "in the reference only, need not be there, and not compared: input_ids,"
    )
    assert report.not_looked_at == []
    for wrong in (changed(few, STEP, (0, 2, 5), 1.5), {**few, STEP: few[STEP][:2]}):
        assert run(right, wrong, common=True).first == STEP
    with pytest.raises(TraceError, match="have no tensor in common"):
        run(right, {"input_ids": right["input_ids"], "loss": np.ones(1)}, common=True)
    with pytest.raises(InputError, match="fits no tensor"):
        run(right, few, ["1e-2", "pooler:1e-9"], common=True)


def test_position_embeddings_may_stand_once_or_in_every_row_of_either(right: Arrays) -> None:
    name = "embeddings.position_embeddings"
    rows = {**right, name: np.repeat(right[name], 3, axis=0)}
    assert run(rows, right).verdict == run(rows, rows).verdict == "pass"
    wrong = changed(rows, name, (2, 0, 0), 9.0)
    assert run(wrong, right).first == run(right, wrong).first == name
    with pytest.raises(TraceError, match="must be of one run"):
        run(right, {**right, name: np.repeat(right[name], 2, axis=0)})


def test_what_was_not_looked_at_stands_in_the_sentence(right: Arrays) -> None:
    extra = {**right, "logits": np.zeros((3, 5)), "0.sentence_embedding": np.zeros((3, 24))}
    report = run(right, extra)
    names = ["logits", "0.sentence_embedding"]
    assert (report.verdict, report.not_looked_at) == ("pass", names)
    assert report.as_dict()["not_looked_at"] == names
    assert report.sentence.endswith(
        "within their budgets; 2 arrays were not looked at: logits, 0.sentence_embedding."
    )
    strict = replace(report, strict=True)
    assert (strict.verdict, strict.first, strict.cause) == ("differs", "logits", None)
    assert strict.sentence.startswith(
        "No pass where all must be looked at: 2 arrays were not looked at: logits, 0.sentence_"
    )
    assert "<b>Differs.</b>" in as_html(strict)
    wrong = run(right, changed(extra, STEP, (0, 2, 5), 1.5))
    assert wrong.first == replace(wrong, strict=True).first == STEP
    assert wrong.sentence.endswith("2 arrays were not looked at: logits, 0.sentence_embedding.")
    # What a glob allows is nobody's claim; what both hold is compared.
    assert run(right, extra, allow=["logits"]).not_looked_at == names[1:]
    whole = {**extra, "logits": np.ones((3, 5))}
    assert run(whole, extra).first == "logits"
    assert replace(run(extra, extra), strict=True).verdict == "pass"
    assert "1 array was not looked at" in run(without(extra, names[1]), extra).sentence


STATES = ("embeddings", "encoder.layer.0", "encoder.layer.1")


def stacked(arrays: Arrays, *names: str) -> Arrays:
    return {**IDS, "hidden_states": np.stack([arrays[name] for name in names])}


def test_stacked_hidden_states_are_compared_with_each_of_their_steps(right: Arrays) -> None:
    states, few = stacked(right, *STATES), {**IDS, **{name: right[name] for name in STATES}}
    for one, other in ((states, few), (few, states), (states, states), (right, states)):
        report = run(one, other, common=True)
        assert report.verdict == "pass"
        assert set(STATES) <= {row.name for row in report.steps}
    wrong = changed(states, "hidden_states", (1, 0, 2, 5), 9.0)
    assert run(few, wrong).first == run(wrong, few).first == "encoder.layer.0"


def test_stacked_hidden_states_of_other_layers_are_one_error(right: Arrays) -> None:
    states, short = stacked(right, *STATES), stacked(right, *STATES[1:])
    message = (
        r"hidden_states must have shape \(3, B, T, H\), for the embedding and the 2 layers of "
    )
    for one, other in ((right, short), (states, short), (short, states), (short, right)):
        with pytest.raises(TraceError, match=message + r"the candidate; got \(2, 3, 7, 24\)"):
            run(one, other, common=True)
    # A trace that says how many layers there are is believed.
    few, candidate = as_trace({**IDS, "embeddings": right["embeddings"]}), as_trace(short)
    assert compare(few, candidate).first == "embeddings"
    object.__setattr__(few, "metadata", {"config": '{"num_hidden_layers": 2}'})
    with pytest.raises(TraceError, match=message):
        compare(few, candidate)
    for config in ("[", "[2]", '{"num_hidden_layers": "2"}', "[" * 100_000):
        object.__setattr__(few, "metadata", {"config": config})
        assert compare(few, candidate).first == "embeddings"
