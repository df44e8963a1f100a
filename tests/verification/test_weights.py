"""Whose weights a step was computed with: found from the numbers, and never named wrongly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertModel
from numpy_bert.arrays import widen
from numpy_bert.comparison.report import Report
from numpy_bert.parameters import arrays_of
from numpy_bert.traces.reading import as_trace
from numpy_bert.traces.trace_inputs import inputs_of
from numpy_bert.verification.layers import layer_mistakes
from numpy_bert.verification.mistakes import Setting, to_bfloat16
from numpy_bert.verification.steps import Step, segment_of, steps_of
from numpy_bert.verification.verify import verify
from numpy_bert.verification.weights import weight_mistakes
from tests.support.traces import Arrays, exact, trained_like

LAYER, NEXT = "encoder.layer.1", "encoder.layer.2"
NEXT_KEY = f"{NEXT}.attention.self.key"
QUERY, KEY, VALUE = (f"{LAYER}.attention.self.{name}" for name in ("query", "key", "value"))
OUT, UP, DOWN = (f"{LAYER}.{name}.dense" for name in ("attention.output", "intermediate", "output"))
NORM = f"{LAYER}.output.LayerNorm"
WORDS, POSITIONS = (f"embeddings.{name}_embeddings" for name in ("word", "position"))
H, A, D = 24, 4, 6
HALF: dict[str, Callable[[Any], Any]] = {
    "float16": lambda x: np.clip(x, -6e4, 6e4).astype("f2"),
    "bfloat16": to_bfloat16,
}

Others = Mapping[str, Mapping[str, Any]]
Change = Callable[[Mapping[str, Step]], Others]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> BertModel:
    return exact(trained_like(tmp_path_factory.mktemp("model"), num_hidden_layers=3))


def setting_of(model: BertModel, rows: int = 3, width: int = 9) -> Setting:
    """Return the steps over random ids, of which the last row ends in padding."""
    shape = (rows, width)
    ids = np.random.default_rng(5).integers(3, model.config.vocab_size, shape)
    mask = np.ones(shape, np.int64)
    if rows > 1:
        mask[-1, -2:] = 0
    given = {
        "input_ids": ids,
        "attention_mask": mask,
        "token_type_ids": np.arange(width) % 2 + 0 * ids,
    }
    inputs = inputs_of(given, model)
    return Setting(model.config, steps_of(model.config, model.parameters, inputs), inputs)


def port(setting: Setting, others: Others, dtype: str = "float32") -> Arrays:
    """Run a model of which some steps have other arguments, rounding every step."""
    values: Arrays = {
        "input_ids": setting.inputs.input_ids,
        "attention_mask": setting.inputs.attention_mask.astype(np.int64),
        "token_type_ids": setting.inputs.token_type_ids,
    }
    for name, step in setting.steps.items():
        other = replace(step, arguments={**step.arguments, **others.get(name, {})})
        wide = np.clip(other.run(values, np.float64), -1e30, 1e30)
        values[name] = HALF[dtype](wide) if dtype in HALF else wide.astype(dtype)
    return values


def verified(model: BertModel, trace: Arrays, **options: Any) -> Report:
    return verify(as_trace(trace), model, look_for_hidden=False, fail_fast=True, **options)


def of(name: str, *keys: str) -> Callable[[Mapping[str, Step]], dict[str, Any]]:
    """Return a function that takes arguments from a step."""
    return lambda steps: {key: steps[name].arguments[key] for key in keys or ("weight", "bias")}


def given(name: str, change: Callable[[Any], Any], *keys: str) -> Change:
    """Return the change of a step's weight and bias, or of what is named, by a function."""

    def others(steps: Mapping[str, Step]) -> Others:
        found = of(name, *keys)(steps)
        return {name: {key: change(array) for key, array in found.items()}}

    return others


def taken(name: str, other: str, *keys: str) -> Change:
    return lambda steps: {name: of(other, *keys)(steps)}


def fused(joined: tuple[int, ...], parted: tuple[int, ...]) -> Change:
    """Join query, key and value in one order of (3, A, D) and take them apart in another."""

    def others(steps: Mapping[str, Step]) -> Others:
        found: dict[str, dict[str, Any]] = {QUERY: {}, KEY: {}, VALUE: {}}
        for key in ("weight", "bias"):
            whole = np.stack([steps[name].arguments[key] for name in found])
            rest = whole.shape[2:]
            cut = whole.reshape(3, A, D, *rest)
            stored = cut.transpose(*joined, *range(3, cut.ndim)).reshape(3 * H, *rest)
            read = stored.reshape(*(cut.shape[axis] for axis in parted), *rest)
            back = read.transpose(*np.argsort(parted), *range(3, cut.ndim))
            for name, part in zip(found, back.reshape(3, H, *rest), strict=True):
                found[name][key] = part
        return found

    return others


def other_layer(name: str) -> str:
    return name.replace(LAYER, NEXT)


SHUFFLED = np.random.default_rng(3).permutation(H)
MISTAKES: dict[str, tuple[Change, str, str]] = {
    "another layer": (
        taken(VALUE, other_layer(VALUE)),
        "weights_of_another_layer",
        f"with the weight and bias of {other_layer(VALUE)};",
    ),
    "another layer's weight": (
        taken(VALUE, other_layer(VALUE), "weight"),
        "weights_of_another_layer",
        f"with the weight of {other_layer(VALUE)}, with its own bias;",
    ),
    "another module": (
        taken(OUT, VALUE),
        "weights_of_another_module",
        f"with the weight and bias of {VALUE};",
    ),
    "another layer, transposed": (
        lambda steps: {OUT: {"weight": steps[other_layer(OUT)].arguments["weight"].T}},
        "weights_of_another_layer",
        f"with the weight of {other_layer(OUT)}, transposed, with its own bias;",
    ),
    "the other half of the feed-forward network, reshaped": (
        lambda steps: {DOWN: {"weight": steps[UP].arguments["weight"].reshape(H, -1)}},
        "weights_of_another_module",
        f"with the weight of {UP}, reshaped, with its own bias;",
    ),
    "the wide layer of another": (
        taken(UP, other_layer(UP)),
        "weights_of_another_layer",
        f"with the weight and bias of {other_layer(UP)};",
    ),
    "rows shifted": (
        given(VALUE, lambda x: np.roll(x, -3, axis=0)),
        "rows_permuted",
        "the rows of its weight and bias stand shifted by 3;",
    ),
    "rows shifted, not the bias": (
        given(VALUE, lambda x: np.roll(x, -3, axis=0), "weight"),
        "rows_permuted",
        "the rows of its weight stand shifted by 3, with its own bias;",
    ),
    "rows reversed": (
        given(VALUE, lambda x: x[::-1]),
        "rows_permuted",
        "stand in reverse order;",
    ),
    "heads permuted": (
        given(VALUE, lambda x: x.reshape(A, D, -1)[[2, 0, 3, 1]].reshape(x.shape)),
        "rows_permuted",
        "stand with the heads 2, 0, 3, 1;",
    ),
    "heads as (D, A)": (
        given(VALUE, lambda x: x.reshape(A, D, -1).swapaxes(0, 1).reshape(x.shape)),
        "rows_permuted",
        "stand ordered as (D, A), not (A, D);",
    ),
    "halves of heads interleaved": (
        given(VALUE, lambda x: x.reshape(A, 2, D // 2, -1).swapaxes(1, 2).reshape(x.shape)),
        "rows_permuted",
        "stand with the halves of each head interleaved;",
    ),
    "two rows exchanged": (
        given(VALUE, lambda x: x[[1, 0, *range(2, H)]]),
        "rows_permuted",
        "stand in another order (row 1 at 0; row 0 at 1);",
    ),
    "rows shuffled": (
        given(VALUE, lambda x: x[SHUFFLED]),
        "rows_permuted",
        f"stand in another order (row {SHUFFLED[0]} at 0; row {SHUFFLED[1]} at 1;",
    ),
    "half of another": (
        lambda steps: {
            VALUE: {
                key: np.concatenate([own[: H // 2], steps[NEXT_KEY].arguments[key][H // 2 :]])
                for key, own in of(VALUE)(steps).items()
            }
        },
        "rows_mixed",
        f"(rows {H // 2} to {H - 1} of {NEXT_KEY} at {H // 2});",
    ),
    "thirds read by head": (
        fused((0, 1, 2), (1, 0, 2)),
        "qkv_layout",
        "joined as (3, A, D), by thirds, and taken apart as (A, 3, D), head by head;",
    ),
    "heads read by thirds": (
        fused((1, 0, 2), (0, 1, 2)),
        "qkv_layout",
        "joined as (A, 3, D), head by head, and taken apart as (3, A, D), by thirds;",
    ),
    "rows read by thirds": (
        fused((1, 2, 0), (0, 1, 2)),
        "qkv_layout",
        "joined as (A, D, 3), row by row, and taken apart as (3, A, D), by thirds;",
    ),
    "another's bias": (
        taken(VALUE, KEY, "bias"),
        "bias_of_another",
        "the key's bias stands for the value's;",
    ),
    "bias twice": (
        given(VALUE, lambda x: 2.0 * x, "bias"),
        "bias_twice",
        "the bias is added twice;",
    ),
    "bias shifted": (
        given(VALUE, lambda x: np.roll(x, -2), "bias"),
        "bias_shifted",
        "its bias shifted by 2;",
    ),
    "bias of nobody": (
        given(VALUE, lambda x: x + np.linspace(-1.0, 1.0, H), "bias"),
        "bias_unknown",
        "a bias is added that is none of this model's;",
    ),
    "LayerNorm exchanged": (
        lambda steps: {NORM: dict(zip(("bias", "weight"), of(NORM)(steps).values(), strict=True))},
        "layer_norm_exchanged",
        "LayerNorm's weight and bias are exchanged;",
    ),
    "LayerNorm of another layer": (
        taken(NORM, other_layer(NORM)),
        "weights_of_another_layer",
        f"with the weight and bias of {other_layer(NORM)};",
    ),
    "LayerNorm of another module": (
        taken(NORM, f"{LAYER}.attention.output.LayerNorm"),
        "weights_of_another_module",
        f"with the weight and bias of {LAYER}.attention.output.LayerNorm;",
    ),
    "LayerNorm without weight and bias": (
        lambda steps: {NORM: {"weight": np.ones(H), "bias": np.zeros(H)}},
        "layer_norm_plain",
        "weight (gamma) and bias (beta) are left out;",
    ),
    "LayerNorm with another's bias": (
        taken(NORM, "embeddings.LayerNorm", "bias"),
        "bias_of_another",
        "with embeddings.LayerNorm.bias as its bias;",
    ),
    "LayerNorm by 1 + weight": (
        given(NORM, lambda x: 1.0 + x, "weight"),
        "layer_norm_weight_plus_one",
        "LayerNorm multiplies by 1 + its weight (gamma);",
    ),
    "pooler of another module": (
        taken("pooler.dense", OUT),
        "weights_of_another_module",
        f"with the weight and bias of {OUT};",
    ),
    "ids shifted": (
        given(WORDS, lambda x: x - 2, "ids"),
        "ids_shifted",
        "the ids of the tokens are shifted by -2;",
    ),
    "ids turned": (
        given(WORDS, lambda x: x[:, ::-1], "ids"),
        "ids_other",
        "the ids of the tokens are others: ",
    ),
    "positions far off": (
        given(POSITIONS, lambda x: x + 7, "ids"),
        "positions_shifted",
        "positions are shifted by 7;",
    ),
    "positions turned": (
        given(POSITIONS, lambda x: x[..., ::-1], "ids"),
        "positions_other",
        "positions are others: 8 (not 0) at [0, 0], ",
    ),
    "another table": (
        taken(POSITIONS, WORDS, "table"),
        "weights_of_another_module",
        f"the rows of {WORDS} are looked up in place of its own;",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_a_step_was_computed_with_is_named(model: BertModel, name: str) -> None:
    change, cause, text = MISTAKES[name]
    setting = setting_of(model)
    others = change(setting.steps)
    report = verified(model, port(setting, others))
    assert (report.first, report.cause) == (next(iter(others)), cause), report.sentence
    assert text in report.sentence


# Not to be told from the right numbers, or from what the catalogue has, in half precision.
@pytest.mark.parametrize("dtype", ["float16", pytest.param("bfloat16", marks=pytest.mark.slow)])
@pytest.mark.parametrize("width", [3, pytest.param(12, marks=pytest.mark.slow)])
def test_in_half_precision_nothing_wrong_is_named(model: BertModel, dtype: str, width: int) -> None:
    setting = setting_of(model, width=width)
    right, wrong = 0, []
    for name, (change, cause, _) in MISTAKES.items():
        report = verified(model, port(setting, change(setting.steps), dtype), precision=dtype)
        right += report.cause == cause
        if report.cause not in (cause, None):
            wrong.append(f"{name}: {report.sentence}")
    assert not wrong, "\n".join(wrong)
    assert right >= len(MISTAKES) // 2


@pytest.mark.parametrize("count", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3))])
def test_few_tokens_say_little_but_nothing_wrong(model: BertModel, count: int) -> None:
    setting = setting_of(model, rows=1, width=count)
    wrong, named = [], set()
    for name, (change, cause, _) in MISTAKES.items():
        if "positions" in name or "ids" in name:
            continue
        report = verified(model, port(setting, change(setting.steps)))
        if report.cause == cause:
            named.add(name)
        elif report.cause is not None:
            wrong.append(f"{name}: {report.sentence}")
    assert not wrong, "\n".join(wrong)
    assert {"another layer", "another module", "LayerNorm exchanged"} <= named


UNKNOWN: dict[str, Change] = {
    "noise in the weight": given(
        VALUE, lambda x: x + np.random.default_rng(0).normal(0, 0.01, x.shape), "weight"
    ),
    "a scale": given(VALUE, lambda x: 1.01 * x, "weight"),
    "weights of nobody": given(
        VALUE, lambda x: np.random.default_rng(0).normal(0, 0.3, x.shape), "weight"
    ),
    "a scaled LayerNorm": given(NORM, lambda x: 1.1 * x),
    "a table of nobody": lambda steps: {
        POSITIONS: {"table": np.random.default_rng(0).normal(0, 0.3, (19, H))}
    },
    "one row of nobody": given(
        VALUE,
        lambda x: np.concatenate([x[:1] * np.linspace(0.5, 2.0, x.shape[1]), x[1:]]),
        "weight",
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_no_tensor_gives_is_not_named(model: BertModel, name: str) -> None:
    setting = setting_of(model)
    report = verified(model, port(setting, UNKNOWN[name](setting.steps)))
    assert report.verdict == "differs"
    assert report.cause is None, report.sentence


def test_other_mistakes_suggest_nothing(model: BertModel) -> None:
    """Where a step is wrong for other reasons, no weight and no layer comes near its numbers."""
    setting = setting_of(model)
    arrays = port(setting, {})
    noise = np.random.default_rng(1)
    for name in (VALUE, NORM, LAYER, "encoder", POSITIONS):
        held = [other for other in ("embeddings", "encoder.layer.0") if name != POSITIONS]
        held += [f"{LAYER}.output.sum"] if name == NORM else []
        segment = segment_of(name, setting.steps, held)
        found = segment.run(arrays) + noise.normal(0, 0.05, arrays[name].shape)
        places = setting.inputs.attention_mask[:, :, np.newaxis]
        given = {key: arrays[key] for key in segment.inputs}
        for suggest in (weight_mistakes, layer_mistakes):
            for mistake in suggest(segment, given, found, places[: len(found)], setting):
                left = segment.run(given, np.float64, mistake.steps) - found
                assert np.abs(left).max() > 0.05, mistake.cause.text


PLANS: dict[str, tuple[tuple[int, ...], str, str]] = {
    "reversed": ((3, 2, 1, 0), "layers_reversed", "the layers are run in reverse"),
    "the last one's": ((3, 3, 3, 3), "layers_shared", f"the weights of encoder.layer.{3}"),
    "the first one's": ((0, 0, 0, 0), "layers_shared", "the weights of encoder.layer.0"),
    "pairs": ((0, 0, 2, 2), "layers_shared", "share weights in groups of 2"),
    "each twice": ((0, 0, 1, 1), "layers_shared", "used for 2 layers in a row"),
    "off by one": ((1, 2, 3, 3), "layers_shifted", "the weights of the next"),
    "off by minus one": ((0, 0, 1, 2), "layers_shifted", "the weights of the one before"),
    "in a ring": ((1, 2, 3, 0), "layers_shifted", "the weights of the next, in a ring"),
    "the last left out": ((0, 1, 2), "layer_left_out", "this is hidden_states[-2]"),
    "one left out": ((0, 2, 3), "layer_left_out", "encoder.layer.1 is left out"),
    "one twice": ((0, 1, 1, 2, 3), "layer_repeated", "encoder.layer.1 is run twice"),
    "two exchanged": ((0, 2, 1, 3), "layers_exchanged", "encoder.layer.1 and encoder.layer.2"),
}


def states_of(setting: Setting, plan: tuple[int, ...]) -> list[Any]:
    """Return the hidden states of a model that runs layers in another order."""
    found = [segment_of("embeddings", setting.steps, ()).run({})]
    for layer in plan:
        read = f"encoder.layer.{layer - 1}" if layer else "embeddings"
        segment = segment_of(f"encoder.layer.{layer}", setting.steps, {read})
        found.append(segment.run({read: found[-1]}))
    return found


def trace_of_states(setting: Setting, states: list[Any], *, every: bool, dtype: str) -> Arrays:
    narrow = HALF.get(dtype, lambda x: x.astype(dtype))
    named = {f"hidden_states.{n}": narrow(x) for n, x in enumerate(states)} if every else {}
    ids = {
        "input_ids": setting.inputs.input_ids,
        "attention_mask": setting.inputs.attention_mask.astype(np.int64),
        "token_type_ids": setting.inputs.token_type_ids,
    }
    return {**ids, **(named or {"last_hidden_state": narrow(states[-1])})}


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> BertModel:
    return exact(trained_like(tmp_path_factory.mktemp("deep"), num_hidden_layers=4))


@pytest.mark.parametrize(
    "dtype", ["float32", "bfloat16", pytest.param("float16", marks=pytest.mark.slow)]
)
def test_the_order_of_layers_is_read_off_the_last_state(deep: BertModel, dtype: str) -> None:
    setting, right, wrong = setting_of(deep), 0, []
    for name, (plan, cause, text) in PLANS.items():
        states = states_of(setting, plan)
        trace = trace_of_states(setting, states, every=False, dtype=dtype)
        report = verified(deep, trace, precision=None if dtype == "float32" else dtype)
        is_right = report.cause == cause and text in report.sentence
        right += is_right
        if not is_right and (dtype == "float32" or report.cause is not None):
            wrong.append(f"{name}: {report.sentence}")
    assert not wrong, "\n".join(wrong)
    assert right > len(PLANS) // 2


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_layer_with_the_weights_of_another(deep: BertModel, dtype: str) -> None:
    setting = setting_of(deep)
    states = states_of(setting, (0, 3, 2, 3))
    trace = trace_of_states(setting, states, every=True, dtype=dtype)
    report = verified(deep, trace, precision=None if dtype == "float32" else dtype)
    assert (report.first, report.cause) == ("encoder.layer.1", "weights_of_another_layer")
    assert "encoder.layer.1 was run with the weights of encoder.layer.3;" in report.sentence


@pytest.mark.parametrize(
    ("plan", "cause", "text"),
    [
        ((0, 0, 2, 3), "weights_of_another_layer", "with the weights of encoder.layer.0"),
        ((0, 2, 2, 3), "weights_of_another_layer", "with the weights of encoder.layer.2"),
    ],
)
def test_hidden_states_of_layers_in_another_order(
    deep: BertModel, plan: tuple[int, ...], cause: str, text: str
) -> None:
    setting = setting_of(deep)
    trace = trace_of_states(setting, states_of(setting, plan), every=True, dtype="float32")
    report = verified(deep, trace)
    assert (report.first, report.cause) == ("encoder.layer.1", cause)
    assert text in report.sentence


def test_a_layer_that_is_left_out_or_run_twice(deep: BertModel) -> None:
    setting = setting_of(deep)
    states = states_of(setting, (0, 1, 2, 3))
    ways = {
        "encoder.layer.1 is left out: this is what it reads": [*states[:2], states[1], states[1]],
        "encoder.layer.2 is run, too: this is a hidden state later": [*states[:2], states[3]],
        "encoder.layer.1 is run twice": states_of(setting, (0, 1, 1))[:2]
        + states_of(setting, (0, 1, 1))[3:],
    }
    for text, found in ways.items():
        trace = trace_of_states(setting, found, every=True, dtype="float32")
        report = verified(deep, trace)
        assert report.first == "encoder.layer.1"
        assert text in report.sentence


MODULES: dict[str, tuple[Change, str]] = {
    "a projection": (
        taken(VALUE, other_layer(VALUE)),
        f"{VALUE} was computed with the weights of {other_layer(VALUE)};",
    ),
    "attention": (
        lambda steps: {
            name: of(other_layer(name))(steps)
            for name, step in steps.items()
            if name.startswith(f"{LAYER}.attention.") and "weight" in step.arguments
        },
        f"{LAYER}.attention was computed with the weights of {NEXT}.attention;",
    ),
    "a module of the same layer": (
        taken(OUT, VALUE),
        f"{OUT} was computed with the weight and bias of {VALUE};",
    ),
    "both LayerNorms": (
        lambda steps: {
            NORM: of(f"{LAYER}.attention.output.LayerNorm")(steps),
            f"{LAYER}.attention.output.LayerNorm": of(NORM)(steps),
        },
        f"of {LAYER}.attention.output.LayerNorm and {NORM} are exchanged;",
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_within_a_layer_whose_ends_are_held(model: BertModel, name: str) -> None:
    change, text = MODULES[name]
    setting = setting_of(model)
    arrays = port(setting, change(setting.steps))
    kept = {"input_ids", "attention_mask", "token_type_ids", "embeddings", "encoder.layer.0", LAYER}
    report = verified(model, {key: arrays[key] for key in kept})
    assert report.first == LAYER
    assert text in report.sentence


def test_the_pooler_is_found_behind_its_tanh(model: BertModel) -> None:
    setting = setting_of(model)
    arrays = port(setting, {"pooler.dense": of(OUT)(setting.steps)})
    report = verified(model, {key: a for key, a in arrays.items() if key != "pooler.dense"})
    assert (report.first, report.cause) == ("pooler", "weights_of_another_module")
    assert f"pooler.dense was computed with the weight and bias of {OUT};" in report.sentence


def stored(change: Callable[[Any], Any], name: str = f"{VALUE}.weight") -> Any:
    return lambda weights: {name: change(weights[name])}


STORED: dict[str, tuple[Any, str, str]] = {
    "another layer": (
        lambda w: {f"{VALUE}.weight": w[f"{other_layer(VALUE)}.weight"]},
        "weights_of_another_layer",
        f"it is {other_layer(VALUE)}.weight",
    ),
    "another layer, transposed": (
        lambda w: {f"{OUT}.weight": w[f"{other_layer(OUT)}.weight"].T},
        "weights_of_another_layer",
        f"it is {other_layer(OUT)}.weight, transposed",
    ),
    "another bias": (
        lambda w: {f"{OUT}.bias": w[f"{VALUE}.bias"]},
        "bias_of_another",
        f"it is {VALUE}.bias",
    ),
    "shifted": (
        stored(lambda x: np.roll(x, -3, axis=0)),
        "rows_permuted",
        "its rows stand shifted by 3",
    ),
    "heads": (
        stored(lambda x: x.reshape(A, D, -1)[::-1].reshape(x.shape)),
        "rows_permuted",
        "its rows stand with the heads 3, 2, 1, 0",
    ),
    "a bias reversed": (
        stored(lambda x: x[::-1], f"{VALUE}.bias"),
        "rows_permuted",
        "its rows stand in reverse order",
    ),
    "joined": (
        lambda w: {
            f"{QUERY}.weight": np.stack([w[f"{name}.weight"] for name in (QUERY, KEY, VALUE)])
            .reshape(3, A, D, H)
            .swapaxes(0, 1)
            .reshape(3, H, H)[0]
        },
        "qkv_layout",
        "query, key and value were joined as (A, 3, D), head by head, and taken apart as (3, A, D)"
        ", by thirds",
    ),
    "LayerNorm's other half": (
        lambda w: {f"{NORM}.weight": w[f"{NORM}.bias"]},
        "layer_norm_exchanged",
        f"it is {NORM}.bias",
    ),
    "LayerNorm's weight missing": (
        stored(np.ones_like, f"{NORM}.weight"),
        "layer_norm_weight_missing",
        "it is 1",
    ),
    "words turned": (
        stored(lambda x: x[::-1], f"{WORDS}.weight"),
        "rows_permuted",
        "its rows stand in reverse order",
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", STORED)
def test_weights_in_a_trace_that_are_those_of_others(
    model: BertModel, name: str, dtype: str
) -> None:
    make, cause, text = STORED[name]
    setting = setting_of(model)
    weights = {key: widen(array, "float64") for key, array in arrays_of(model.parameters)}
    wrong = {f"bert.{key}": array.astype(dtype) for key, array in make(weights).items()}
    report = verified(model, {**wrong, **port(setting, {})})
    assert (report.cause, report.guilty and report.guilty.text) == (cause, text)


def test_a_weight_of_nobody_has_no_name(model: BertModel) -> None:
    weight = np.random.default_rng(0).normal(0, 0.3, (H, H)).astype("f4")
    report = verified(model, {f"bert.{VALUE}.weight": weight, **port(setting_of(model), {})})
    assert (report.first, report.cause) == (f"{VALUE}.weight", None)


@pytest.mark.parametrize("name", [VALUE, NORM, WORDS, LAYER])
def test_numbers_whose_squares_overflow_suggest_nothing(model: BertModel, name: str) -> None:
    setting = setting_of(model)
    arrays = port(setting, {}, "float64")
    segment = segment_of(name, setting.steps, ["encoder.layer.0", f"{LAYER}.output.sum"])
    found = arrays[name] + np.where(np.arange(H) % 2, 1e200, -1e200)
    places = setting.inputs.attention_mask[:, :, np.newaxis]
    given = {key: arrays[key] for key in segment.inputs}
    with np.errstate(all="ignore"):
        for suggest in (weight_mistakes, layer_mistakes):
            assert list(suggest(segment, given, found, places, setting)) == []
