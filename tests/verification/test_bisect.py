"""The guilty step of a port is found in few runs, whatever the port can save."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertModel, TraceError
from numpy_bert.traces.names import NameMap
from numpy_bert.traces.reading import as_trace
from numpy_bert.traces.trace_inputs import TraceInputs, inputs_of
from numpy_bert.verification.bisect import Bisection, bisect, next_arrays
from numpy_bert.verification.mistakes import PROJECTIONS, Mistake, Setting, mistakes_in
from numpy_bert.verification.steps import Segment, Step, segment_of, steps_of
from tests.support.traces import IDS, Arrays, exact, trained_like

LAYERS = 5
PLACES = 1 + 2 * LAYERS
FIRST, MIDDLE, LAST = "encoder.layer.0", "encoder.layer.2", f"encoder.layer.{LAYERS - 1}"
# A mistake of each kind of step, far above rounding.
MISTAKES = {
    "embeddings.token_type_embeddings": "segments_swapped",
    "embeddings.position_embeddings": "positions_shifted",
    "embeddings.sum": "positions_dropped",
    "embeddings.LayerNorm": "layer_norm_bessel",
    **{
        f"{layer}.{step}": cause
        for layer in (FIRST, MIDDLE, LAST)
        for step, cause in {
            "attention.self.query": "bias_missing",
            "attention.self.value": "weight_not_transposed",
            "attention.self.scores": "attention_scale_missing",
            "attention.self.probs": "softmax_axis",
            "attention.self": "heads_merge",
            "attention.output.dense": "bias_missing",
            "attention.output.sum": "residual_missing",
            "attention.output.LayerNorm": "layer_norm_bessel",
            "intermediate.dense": "bias_missing",
            "intermediate": "gelu_sigmoid",
            "output.dense": "weights_bfloat16",
            "output.LayerNorm": "layer_norm_uncentred",
        }.items()
    },
}

IN_THE_MIDDLE = [name for name in MISTAKES if name.startswith(MIDDLE)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> BertModel:
    folder = tmp_path_factory.mktemp("model")
    return exact(trained_like(folder, num_hidden_layers=LAYERS))


@pytest.fixture(scope="module")
def inputs(model: BertModel) -> TraceInputs:
    return inputs_of(IDS, model)


@pytest.fixture(scope="module")
def steps(model: BertModel, inputs: TraceInputs) -> dict[str, Step]:
    return steps_of(model.config, model.parameters, inputs)


class Port:
    """A port with mistakes in it, which keeps what it was asked for."""

    def __init__(self, steps: dict[str, Step], others: Any = (), lacks: Sequence[str] = ()) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.arrays: Arrays = {}
        self.lacks = lacks
        changed = dict(others)
        for name, step in steps.items():
            wide = changed.get(name, step).run(self.arrays, np.float64)
            self.arrays[name] = np.clip(wide, -1e30, 1e30).astype("f4")

    def __call__(self, names: Sequence[str]) -> Arrays:
        self.asked.append(tuple(names))
        return {name: self.arrays[name] for name in names if not name.endswith(tuple(self.lacks))}


def found_in(port: Any, model: BertModel, inputs: TraceInputs, **options: Any) -> Bisection:
    *_, found = bisect(port, model, inputs, **options)
    assert found.is_found
    assert not found.wanted
    return found


def mistake_at(name: str, cause: str, setting: Setting) -> Mistake:
    step = setting.steps[name]
    return next(m for m in mistakes_in(step, setting) if m.cause.name == cause)


@pytest.fixture(scope="module")
def setting(model: BertModel, steps: dict[str, Step], inputs: TraceInputs) -> Setting:
    return Setting(model.config, steps, inputs)


@pytest.mark.parametrize(
    ("name", "arrays"), [*((name, 1) for name in MISTAKES), *((name, 3) for name in IN_THE_MIDDLE)]
)
def test_the_guilty_step_is_found_in_few_runs(
    model: BertModel, inputs: TraceInputs, setting: Setting, name: str, arrays: int
) -> None:
    mistake = mistake_at(name, MISTAKES[name], setting)
    port = Port(dict(setting.steps), mistake.steps)
    found = found_in(port, model, inputs, arrays=arrays)
    report = found.report
    assert report is not None
    assert (found.verdict, report.first, report.cause) == ("differs", name, MISTAKES[name])
    assert len(port.asked) == len(found.runs)
    assert len(port.asked) <= math.ceil(math.log(PLACES, arrays + 1)) + 2
    assert port.asked[0] == ("encoder",)
    # At most the arrays that were wanted, and both ends of the way again; at last those inside.
    assert max(map(len, port.asked[:-1])) <= arrays + 2
    assert len(port.asked[-1]) <= 15


def test_what_is_announced_is_kept(model: BertModel, inputs: TraceInputs, setting: Setting) -> None:
    port = Port(
        dict(setting.steps), mistake_at(f"{LAST}.intermediate", "gelu_sigmoid", setting).steps
    )
    told = [(found.sentence, len(found.runs)) for found in bisect(port, model, inputs)]
    most = [
        int(sentence.partition("at most ")[2].split()[0]) + runs
        for sentence, runs in told
        if "at most" in sentence
    ]
    assert most == sorted(most, reverse=True)
    assert len(port.asked) <= most[-1] == most[0]


def test_the_pooler_is_looked_at_when_it_is_named(
    model: BertModel, inputs: TraceInputs, setting: Setting
) -> None:
    others = mistake_at("pooler", "pooler_without_tanh", setting).steps
    assert found_in(Port(dict(setting.steps), others), model, inputs).verdict == "pass"
    found = found_in(Port(dict(setting.steps), others), model, inputs, until="pooler")
    assert found.report is not None
    assert (found.report.first, found.report.cause) == ("pooler", "pooler_without_tanh")


def test_a_right_port_is_run_twice(
    model: BertModel, inputs: TraceInputs, steps: dict[str, Step]
) -> None:
    port = Port(steps)
    found = found_in(port, model, inputs)
    assert found.verdict == "pass"
    halves = [f"encoder.layer.{n}{end}" for n in range(LAYERS) for end in (".attention", "")]
    assert port.asked == [("encoder",), ("embeddings", *halves[:-1])]
    assert found.notes == ()
    assert found.sentence.startswith("The same: all 11 are within")


def test_what_the_long_way_hides_is_found_on_a_shorter_one(
    model: BertModel, inputs: TraceInputs, steps: dict[str, Step]
) -> None:
    port = Port(steps)
    port.arrays["encoder.layer.1"] = port.arrays["encoder.layer.1"] + np.float32(1e-2)
    found = found_in(port, model, inputs)
    assert found.runs[0].first is None
    assert found.report is not None
    assert (found.verdict, found.report.first) == ("differs", "encoder.layer.1")
    assert len(found.runs) == 3


def test_a_port_that_writes_everything_is_run_once(
    model: BertModel, inputs: TraceInputs, setting: Setting
) -> None:
    others = mistake_at(f"{MIDDLE}.intermediate", "gelu_sigmoid", setting).steps
    port = Port(dict(setting.steps), others)
    found = found_in(lambda _: {**IDS, **port.arrays}, model, inputs)
    assert found.report is not None
    assert (len(found.runs), found.report.cause) == (1, "gelu_sigmoid")


def test_what_a_port_lacks_is_passed_over(
    model: BertModel, inputs: TraceInputs, setting: Setting
) -> None:
    others = mistake_at(f"{MIDDLE}.intermediate", "gelu_sigmoid", setting).steps
    lacks = [".attention", ".dense", ".sum", ".dropout", "mean", "LayerNorm", ".output", ".self"]
    port = Port(dict(setting.steps), others, lacks=[*lacks, "query", "key", "value", "probs"])
    found = found_in(port, model, inputs)
    report = found.report
    assert report is not None
    assert (report.first, report.cause) == (f"{MIDDLE}.intermediate", "gelu_sigmoid")
    assert any(f"{MIDDLE}.attention" in run.missing for run in found.runs)
    # With hidden states alone it is found between two of them; nothing else is asked for.
    only = ["embeddings", *(f"encoder.layer.{n}" for n in range(LAYERS))]
    port = Port(dict(setting.steps), others)
    found = found_in(port, model, inputs, only=only)
    assert found.report is not None
    assert found.report.first == MIDDLE
    assert {name for asked in port.asked for name in asked} <= {*only, "encoder"}


def test_names_of_its_own(model: BertModel, inputs: TraceInputs, setting: Setting) -> None:
    others = mistake_at(f"{MIDDLE}.output.dense", "weights_bfloat16", setting).steps
    port = Port(dict(setting.steps), others)

    def renamed(names: Sequence[str]) -> Arrays:
        return {f"mine/{name}": array for name, array in port(names).items()}

    found = found_in(renamed, model, inputs, names=NameMap({"mine/*": "*"}))
    assert found.report is not None
    assert found.report.first == f"{MIDDLE}.output.dense"
    with pytest.raises(TraceError, match=r"must give encoder, .* got mine/encoder"):
        found_in(renamed, model, inputs)


def test_a_nan_is_followed_to_where_it_arises(
    model: BertModel, inputs: TraceInputs, steps: dict[str, Step]
) -> None:
    port = Port(steps)
    after = list(steps).index(f"{MIDDLE}.output.dense")
    for name in list(steps)[after:]:
        port.arrays[name] = port.arrays[name] * np.float32("nan")
    found = found_in(port, model, inputs)
    assert found.report is not None
    assert found.report.first == f"{MIDDLE}.output.dense"
    assert "not finite" in found.sentence


def test_dropout_that_is_on_is_found_and_the_runs_are_said_to_differ(
    model: BertModel, inputs: TraceInputs, setting: Setting
) -> None:
    name, rng = f"{MIDDLE}.output.dropout", np.random.default_rng(0)

    def dropped(x: Any, **_: Any) -> Any:
        return x * (rng.random(x.shape) >= 0.1) / 0.9

    step = setting.steps[name]
    other = Step(name=name, kind=step.kind, inputs=step.inputs, function=dropped)

    def port(names: Sequence[str]) -> Arrays:
        return Port(dict(setting.steps), {name: other})(names)

    found = found_in(port, model, inputs)
    assert found.report is not None
    assert (found.report.first, found.report.cause) == (name, "dropout_on")
    assert len(found.notes) == 1
    assert found.notes[0].startswith("the port is not deterministic: its encoder differs by")
    assert found.notes[0].endswith("Is dropout on?")


def test_other_rounding_in_each_run_is_said_without_a_guess(
    model: BertModel, inputs: TraceInputs, setting: Setting
) -> None:
    others = mistake_at(f"{MIDDLE}.intermediate", "gelu_sigmoid", setting).steps
    right, runs = Port(dict(setting.steps), others), []

    def port(names: Sequence[str]) -> Arrays:
        runs.append(names)
        by = np.float32(1 + 2**-22 * (len(runs) % 2))
        return {name: right.arrays[name] * by for name in names}

    found = found_in(port, model, inputs)
    assert found.report is not None
    assert found.report.cause == "gelu_sigmoid"
    (note,) = found.notes
    assert note.endswith("from one run to the next.")


def test_an_error_that_no_part_of_the_way_has_is_no_steps(
    model: BertModel, inputs: TraceInputs, steps: dict[str, Step]
) -> None:
    right, runs = Port(steps), []

    def port(names: Sequence[str]) -> Arrays:
        runs.append(names)
        by = np.float32(len(runs) == 1)
        return {name: right.arrays[name] + by for name in names}

    found = found_in(port, model, inputs)
    assert (found.verdict, found.is_spread) == ("differs", True)
    assert "no single step is guilty" in found.sentence
    assert found.as_dict()["verdict"] == "differs"
    assert "not deterministic" in found.notes[0]


def test_a_port_that_was_run_on_something_else_is_refused(
    model: BertModel, inputs: TraceInputs, steps: dict[str, Step]
) -> None:
    port = Port(steps)
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        other = np.where(IDS["attention_mask"] == 1, 1 - IDS[name].clip(0, 1), IDS[name])
        with pytest.raises(TraceError, match=f"must be run on the {name} that it is given"):
            found_in(lambda names, n=name, o=other: {n: o, **port(names)}, model, inputs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"until": "encoder.layer.9"}, r"encoder.layer.9 must be a step .* Did you mean encoder"),
        ({"only": ["h.*"]}, r"h\.\* must fit a step"),
        ({"arrays": 0}, "arrays must be 1 or more; got 0"),
    ],
)
def test_what_cannot_be_asked(model: BertModel, options: Any, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        next_arrays(as_trace(IDS), model, **options)


def test_the_next_arrays_of_a_trace(
    model: BertModel, inputs: TraceInputs, setting: Setting
) -> None:
    mistake = mistake_at(f"{MIDDLE}.attention.self.key", "weight_not_transposed", setting)
    arrays = Port(dict(setting.steps), mistake.steps).arrays

    def ask(*names: str, **options: Any) -> Bisection:
        return next_arrays(as_trace({**IDS, **{n: arrays[n] for n in names}}), model, **options)

    assert ask().wanted == ("encoder",)
    assert ask().verdict is None
    assert ask("encoder.layer.0").wanted == ("encoder",)
    assert ask("encoder").wanted == ("encoder.layer.1",)
    assert ask("encoder", arrays=2).wanted == ("encoder.layer.0", "encoder.layer.2")
    held = ("encoder.layer.1", "encoder.layer.2.attention", "encoder")
    found = ask(*held)
    assert found.wanted[0] == "encoder.layer.2.attention.self.query"
    assert len(found.wanted) == 12
    assert not found.is_found
    assert "encoder.layer.2.attention is wrong, encoder.layer.1 is right" in found.sentence
    found = ask(*held, *found.wanted)
    assert (found.wanted, found.is_found) == ((), True)
    assert "encoder.layer.2.attention.self.key" in found.sentence
    assert "the weight is not transposed" in found.sentence


def test_an_array_that_cannot_be_used_is_the_answer(model: BertModel) -> None:
    found = next_arrays(as_trace({**IDS, "encoder": np.zeros((3, 6, 24), "f4")}), model)
    assert (found.verdict, found.wanted) == ("differs", ())
    assert "its shape must be (3, 7, 24)" in found.sentence


def test_a_way_without_places_is_halved_all_the_same(model: BertModel, setting: Setting) -> None:
    """Where a layer's attention is held, the way of its residual sum has no place in common."""
    right = Port(dict(setting.steps)).arrays
    others = mistake_at(f"{FIRST}.output.dense", "bias_missing", setting).steps
    wrong = Port(dict(setting.steps), others).arrays
    held = {f"{LAST}.attention": wrong[f"{LAST}.attention"]}
    held |= {f"{LAST}.attention.self.{n}": right[f"{LAST}.attention.self.{n}"] for n in PROJECTIONS}
    asked = []
    while (found := next_arrays(as_trace({**IDS, **held}), model)).wanted:
        asked.append(len(found.wanted))
        held |= {name: wrong[name] for name in found.wanted}
    assert found.report is not None
    assert found.report.first == f"{FIRST}.output.dense"
    assert asked[0] == 1
    assert len(asked) <= math.ceil(math.log2(len(setting.steps)))
    assert max(asked) <= 24


def test_a_port_that_gives_nothing_more_is_not_asked_for_each_array(
    model: BertModel, inputs: TraceInputs, setting: Setting
) -> None:
    others = mistake_at(f"{MIDDLE}.intermediate", "gelu_sigmoid", setting).steps
    ends = Port(dict(setting.steps), others).arrays["encoder"]
    found = found_in(lambda _: {"encoder": ends}, model, inputs)
    assert found.report is not None
    assert (found.verdict, found.report.first) == ("differs", "encoder")
    assert [len(run.missing) for run in found.runs[:3]] == [0, 1, PLACES - 1]
    assert len(found.runs) == 4


def reaches(segment: Segment, without: str) -> bool:
    """Tell whether a way leads to the end of a segment that does not pass a step."""
    inside = {step.name for step in segment.steps}
    reached = set[str]()
    for step in segment.steps:
        is_begin = not step.inputs or any(name not in inside for name in step.inputs)
        if step.name != without and (is_begin or reached & set(step.inputs)):
            reached.add(step.name)
    return segment.target.name in reached


@pytest.mark.parametrize(
    ("end", "held"),
    [
        ("encoder", []),
        ("pooler", ["embeddings"]),
        ("encoder", ["encoder.layer.1.attention.self.query"]),
        ("encoder", ["encoder.layer.1.attention.self.query", "encoder.layer.1"]),
        ("encoder.layer.2.attention.self.scores", ["encoder.layer.0"]),
    ],
)
def test_places_are_what_every_way_passes(
    steps: dict[str, Step], end: str, held: list[str]
) -> None:
    from numpy_bert.verification.bisect import _places_in

    segment = segment_of(end, steps, held)
    names = [step.name for step in segment.steps]
    expected = [name for name in names[:-1] if not reaches(segment, name)]
    found = _places_in(segment, lambda _: True)
    assert set(found) <= set(expected)
    # Each of the others leads, one step after another, to one that is asked for, or to the end.
    for name in set(expected) - set(found):
        assert names[names.index(name) + 1] in {*expected, end}
    assert all(names[names.index(name) + 1] not in {*expected, end} for name in found)
