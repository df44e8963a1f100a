"""The other architectures of BERT's family: their steps, and the mistakes that their ports make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertModel
from numpy_bert.comparison.report import Report
from numpy_bert.traces.layout import BIAS, PROJECT, shape_of, sizes_of, steps_in
from numpy_bert.traces.reading import as_trace
from numpy_bert.traces.trace_inputs import inputs_of
from numpy_bert.verification.mistakes import Mistake, Setting, mistakes_in
from numpy_bert.verification.rounding import analysed, budgets, shares_of
from numpy_bert.verification.rows import Row
from numpy_bert.verification.steps import segment_of, steps_of
from numpy_bert.verification.verify import verify
from tests.support.traces import FAMILY, IDS, Arrays, exact, ids_of, only, relative
from tests.verification.test_mistakes import HIDDEN, is_same
from tests.verification.test_steps import run

# The steps in which mistakes are made that no port of a BERT can make, or can make otherwise.
STEPS = (
    "embeddings.token_type_embeddings",
    "embeddings.position_embeddings",
    "embeddings.task_type_embeddings",
    "embeddings.sum",
    "embeddings.LayerNorm",
    PROJECT,
    BIAS,
    "pooler.dense",
    "pooler",
)
# What no text of seven tokens can show, nor one with padding at the end of the rows.
UNSEEN = {
    "each distance has a bucket of its own, up to the last",
    "the last bucket begins as if the largest distance were 64, not 128",
    "the last bucket begins as if the largest distance were 256, not 128",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BertModel]:
    return {kind: exact(relative(tmp_path_factory.mktemp(kind), kind)) for kind in FAMILY}


def setting_of(model: BertModel, ids: Mapping[str, Any] | None = None) -> Setting:
    inputs = inputs_of(ids_of(model.config) if ids is None else ids, model)
    return Setting(model.config, steps_of(model.config, model.parameters, inputs), inputs)


def port(setting: Setting, mistake: Mistake | None = None) -> Arrays:
    """Run a whole model, in which a mistake may be made, and round every step to float32."""
    values: Arrays = {}
    others = {} if mistake is None else mistake.steps
    with np.errstate(all="ignore"):
        for name, step in setting.steps.items():
            wide = others.get(name, step).run(values, np.float64)
            values[name] = np.clip(wide, np.finfo("f4").min, np.finfo("f4").max).astype("f4")
    return {**ids_of(setting.config), **values}


@pytest.mark.parametrize("kind", FAMILY)
def test_the_table_computes_what_the_model_computes_to_the_bit(
    kind: str, models: dict[str, BertModel]
) -> None:
    model = models[kind]
    steps = setting_of(model).steps
    expected = dict(model.trace(**ids_of(model.config)))
    found = run(dict(steps))
    assert list(found) == list(expected) == steps_in(model.config, model.parameters)
    sizes = sizes_of(model.config, 3, 7)
    for name, array in expected.items():
        assert np.array_equal(found[name], array), name
        assert shape_of(name, steps[name].axes, sizes) == array.shape, name


@pytest.mark.parametrize("kind", FAMILY)
@pytest.mark.parametrize("kept", [("*",), ("encoder",), ("embeddings", "encoder.layer.*")])
def test_a_right_port_passes(kind: str, kept: Any, models: dict[str, BertModel]) -> None:
    model = models[kind]
    arrays = only(port(setting_of(model)), kept)
    report = verify(as_trace(arrays), model, look_for_hidden=kept == ("*",))
    assert report.verdict == "pass", report.sentence
    assert not report.not_looked_at
    if model.config.type_vocab_size < 2:
        assert not [text for text in (*report.notes, *report.hidden) if "token_type" in text]


def every(setting: Setting) -> Iterator[tuple[str, Mistake]]:
    for name, step in setting.steps.items():
        for mistake in mistakes_in(step, setting):
            if name in STEPS or "relative attention bias" in mistake.cause.text:
                yield name, mistake


def is_hidden(mistake: Mistake, report: Report) -> bool:
    return mistake.cause.text in HIDDEN | UNSEEN and report.verdict == "pass"


@pytest.mark.parametrize("kind", FAMILY)
def test_each_mistake_is_named_where_it_is_made(kind: str, models: dict[str, BertModel]) -> None:
    model = models[kind]
    setting = setting_of(model)
    wrong, count = [], 0
    right = port(setting)
    for name, mistake in every(setting):
        arrays = port(setting, mistake)
        if all((arrays[key] == array).all() for key, array in right.items()):
            continue  # without token types no segment begins anew
        report = verify(as_trace(arrays), model, look_for_hidden=False, fail_fast=True)
        guilty = report.guilty
        count += 1
        if "distances are those of the positions" in mistake.cause.text:
            assert "its shape must be (7, 7, 4); got (3, 7, 7, 4)" in report.sentence
            continue
        is_small = guilty is not None and (guilty.own or 0.0) < 4.0 * (guilty.budget or 0.0)
        if is_hidden(mistake, report) or (report.cause is None and is_small):
            continue
        if not is_same(report, mistake) or report.first not in mistake.steps:
            wrong.append(f"{name}: {mistake.cause.text}: {report.sentence}")
    assert count > 25
    assert not wrong, "\n".join(wrong)


def mistake_of(setting: Setting, step: str, text: str) -> Mistake:
    return next(m for m in mistakes_in(setting.steps[step], setting) if m.cause.text == text)


SCORES = "encoder.layer.0.attention.self.scores"
CLASSICS = {
    ("roberta", "embeddings.position_embeddings"): {
        "positions begin at 0, not from 2, after the row of padding": "positions_start",
        "positions count padding too, from 2": "positions_count_padding",
        "positions are shifted by -1": "positions_shifted",
    },
    ("roberta", "embeddings.LayerNorm"): {
        "LayerNorm's epsilon is 1e-12, not 1e-05": "layer_norm_epsilon",
    },
    ("mpnet", SCORES): {
        "the relative attention bias is not added": "relative_bias_missing",
        "the relative attention bias is added before the scores are scaled": "relative_bias_scaled",
    },
    ("mpnet", BIAS): {
        "the buckets are one-sided, as a decoder's: keys behind a query have that of distance 0": (
            "relative_bias_buckets"
        ),
        "distances are those of the positions, not of the places in the row": (
            "relative_bias_positions"
        ),
    },
    ("electra", PROJECT): {
        "the projection is left out, and the embedding filled up with zeros": "projection_missing",
    },
    ("ernie", "embeddings.sum"): {"row 0 of the table of tasks is not added": "tasks_dropped"},
    ("ernie", "embeddings.task_type_embeddings"): {
        "row 2 of the table of tasks is added, not row 0": "tasks_other",
    },
    ("dpr", "pooler.dense"): {
        "the pooler reads the mean of the tokens, not the first token": "pooler_token",
    },
}
MADE = [
    (kind, step, text, cause)
    for (kind, step), texts in CLASSICS.items()
    for text, cause in texts.items()
]


@pytest.mark.parametrize(("kind", "step", "text", "cause"), MADE)
@pytest.mark.parametrize("kept", ["states", "last"])
def test_the_classics_are_named_in_traces_of_states(
    kind: str, step: str, text: str, cause: str, kept: str, models: dict[str, BertModel]
) -> None:
    """Made in every layer where it can be, and told from the ends of the layers, or the end."""
    model = models[kind]
    setting = setting_of(model)
    first = mistake_of(setting, step, text)
    mistake = Mistake(
        first.cause,
        {
            name: other
            for n in range(2)
            for name, other in mistake_of(
                setting, step.replace("layer.0", f"layer.{n}"), text
            ).steps.items()
        },
    )
    names = ("encoder", "pooler") if kept == "last" else ("embeddings", "encoder.layer.*", "pooler")
    arrays = only(port(setting, mistake), names)
    report = verify(as_trace(arrays), model, look_for_hidden=False)
    if kept == "last" and "epsilon" in text:  # so little that much makes as little
        assert report.verdict == "differs"
        return
    assert report.cause == cause, report.sentence
    assert text in report.sentence


def test_position_ids_of_a_trace_are_held_to_the_models_own(models: dict[str, BertModel]) -> None:
    model = models["roberta"]
    arrays = port(setting_of(model))
    right = inputs_of(ids_of(model.config), model).position_ids
    assert right.tolist()[1] == [1, 1, 2, 3, 4, 5, 6]
    report = verify(as_trace({**arrays, "position_ids": right}), model)
    assert report.verdict == "pass"
    assert report.steps[0].name == "position_ids"
    places = np.arange(7)[np.newaxis]
    report = verify(as_trace({**arrays, "position_ids": places}), model)
    assert (report.first, report.cause) == ("position_ids", "positions_start")
    report = verify(as_trace({**arrays, "position_ids": places * 0 + 9}), model)
    assert "they are not 2, 3, 4, ... for the ids that are not 1" in report.sentence


def test_padding_that_no_text_stands_behind_is_said_to_hide_whether_it_counts(
    models: dict[str, BertModel],
) -> None:
    model = models["roberta"]
    ids: dict[str, Any] = {
        "input_ids": np.array([[5, 9, 60, 3], [7, 4, 1, 1]]),
        "attention_mask": np.array([[1, 1, 1, 1], [1, 1, 0, 0]]),
    }
    arrays = {**ids, **dict(model.trace(**ids))}
    report = verify(as_trace(arrays), model)
    (text,) = [text for text in report.hidden if "count padding too" in text]
    assert "pad a batch on the left" in text


def test_the_first_hidden_state_of_a_projected_embedding(models: dict[str, BertModel]) -> None:
    """The first of transformers' hidden states is what the first layer reads."""
    model = models["electra"]
    arrays = port(setting_of(model))
    first = {**ids_of(model.config), "hidden_states.0": arrays[PROJECT]}
    report = verify(as_trace(first), model)
    assert [row.name for row in report.steps] == [PROJECT]
    assert report.verdict == "pass"
    both = {**first, "embeddings": arrays["embeddings"]}
    assert verify(as_trace(both), model).verdict == "pass"
    wrong = {**both, "hidden_states.0": arrays[PROJECT] * np.float32(1.5)}
    assert verify(as_trace(wrong), model).first == PROJECT


@pytest.mark.parametrize("kind", [0, 1])
def test_token_types_that_a_model_has_not_are_passed_over(
    kind: int, models: dict[str, BertModel]
) -> None:
    """A DistilBERT's tokenizer may give token types, which the model passes over."""
    model = models["distilbert"]
    arrays = port(setting_of(model))
    types = np.full((3, 7), kind)
    report = verify(as_trace({**arrays, "token_type_ids": types}), model)
    assert report.verdict == "pass"
    assert not [text for text in (*report.notes, *report.hidden) if "token_type" in text]


def test_a_vector_that_is_the_first_tokens_state(tmp_path: Path) -> None:
    model = exact(relative(tmp_path, "dpr", projection_dim=0))
    setting = setting_of(model)
    assert list(setting.steps)[-2:] == ["encoder", "pooler"]
    for text, cause in (
        ("the pooler reads the mean of the tokens, not the first token", "pooler_token"),
        ("the first token's state is divided by its length", "pooler_normalized"),
    ):
        arrays = port(setting, mistake_of(setting, "pooler", text))
        report = verify(as_trace(arrays), model)
        assert (report.first, report.cause) == ("pooler", cause)
    assert verify(as_trace(port(setting)), model).verdict == "pass"


def test_the_bias_belongs_to_no_layer(models: dict[str, BertModel]) -> None:
    steps = setting_of(models["mpnet"]).steps
    segment = segment_of("encoder.layer.1", steps, {"encoder.layer.0", BIAS})
    assert segment.inputs == ("encoder.layer.0", BIAS)
    assert segment_of("encoder.layer.1", steps, {"encoder.layer.0"}).inputs == ("encoder.layer.0",)


def test_a_row_of_the_batch_has_the_same_bias() -> None:
    bias = np.arange(7 * 7 * 4).reshape(7, 7, 4)
    assert np.array_equal(Row(1).of(bias, "TTA"), bias)
    assert np.array_equal(Row(1, slice(2, 5)).of(bias, "TTA"), bias[2:5, 2:5])


def test_where_dropout_follows_attention_is_the_models(models: dict[str, BertModel]) -> None:
    """A DistilBERT has none there, so no port leaves its scale on."""
    for kind, count in (("distilbert", 0), ("roberta", 3)):
        setting = setting_of(models[kind])
        path = "encoder.layer.0.attention.output.dropout"
        assert len([*mistakes_in(setting.steps[path], setting)]) == count
        after = setting.steps["encoder.layer.0.output.dropout"]
        assert len([*mistakes_in(after, setting)]) == 3


@pytest.mark.parametrize("factor", [1.0, 30.0])
def test_scores_with_a_bias_in_float32_stay_within_and_need_a_good_part(
    factor: float, models: dict[str, BertModel]
) -> None:
    steps = setting_of(models["mpnet"]).steps
    path = "encoder.layer.0.attention.self"
    rng = np.random.default_rng(0)
    arrays = {
        f"{path}.{name}": rng.normal(0, 1, (3, 7, 24)).astype("f4") for name in ("query", "key")
    }
    arrays[BIAS] = (factor * rng.normal(0, 1, (7, 7, 4))).astype("f4")
    segment = segment_of(f"{path}.scores", steps, arrays)
    found = analysed(segment, arrays)
    seen = np.broadcast_to(IDS["attention_mask"][:, np.newaxis, np.newaxis] == 1, (3, 4, 7, 7))
    error = segment.run(arrays, np.float32) - found.result
    shares = shares_of(error, budgets(found, "float32"))[seen]
    assert 0.05 < shares.max() < 0.6
