"""loss_and_gradients of every head: slopes of the loss itself, classes, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numpy_bert
from numpy_bert import BertForMaskedLM, BertModel, CheckpointError, InputError
from numpy_bert.kernels.training import EncoderTraining
from numpy_bert.model import with_head
from numpy_bert.model.gradients import BertRun, ReadableTraining
from numpy_bert.parameters import arrays_of
from tests.support.checkpoints import TINY, write_checkpoint
from tests.support.differences import slope
from tests.support.heads import CONFIG, TREES, head_tensors
from tests.support.traces import IDS, trained_like

TRAINED = {**TINY, "type_vocab_size": 2}
CALM = {**CONFIG, "hidden_act": "gelu"}
TOKENS = np.array([[1, -100, 3, 0, -100, 2, 4], [-100] * 7, [0, 1, -100, -100, 2, -100, -100]])
LABELS: Mapping[str, dict[str, Any]] = {
    "BertForPreTraining": {"labels": TOKENS, "next_sentence_label": np.array([0, 1, 1])},
    "BertForMaskedLM": {"labels": TOKENS},
    "BertForNextSentencePrediction": {"labels": np.array([1, 0, 1])},
    "BertForSequenceClassification": {"labels": np.array([4, 0, 2])},
    "BertForTokenClassification": {"labels": TOKENS},
    "BertForQuestionAnswering": {
        "start_positions": np.array([0, 2, 1]),
        "end_positions": np.array([3, 6, 1]),
    },
    "BertForMultipleChoice": {"labels": np.array([2])},
}


def readable(model: BertModel, inputs: Mapping[str, Any]) -> BertRun:
    return BertRun(model, model.inputs(**inputs), kind=ReadableTraining)


def batch_of(name: str) -> dict[str, Any]:
    ids = {key: value % 5 if key == "input_ids" else value for key, value in IDS.items()}
    if name == "BertForMultipleChoice":
        ids = {key: value[np.newaxis] for key, value in ids.items()}
    return {**ids, **LABELS[name]}


def written(folder: Path, name: str, shifts: Mapping[str, Any] | None = None) -> Path:
    """Write a model; some of its tensors moved by so much."""
    tensors = {
        key: (array * 0.3 + key.endswith("LayerNorm.weight")).astype(np.float64)
        for key, array in head_tensors(name, CALM).items()
    }
    for key, shift in (shifts or {}).items():
        tensors[key] = tensors[key] + shift
    return write_checkpoint(folder, tensors, CALM)


def load(folder: Path, name: str, dtype: str = "float64") -> Any:
    return getattr(numpy_bert, name).from_pretrained(folder, dtype=dtype)


@pytest.mark.parametrize("drops", [False, True])
@pytest.mark.parametrize("name", TREES)
def test_the_gradient_is_the_slope_of_the_loss(name: str, drops: bool, tmp_path: Path) -> None:
    def rng() -> np.random.Generator | None:
        return np.random.default_rng(5) if drops else None

    batch = batch_of(name)
    found = load(written(tmp_path / "0", name), name).loss_and_gradients(batch, rng=rng())
    gradients = {**dict(arrays_of(found.bert)), **dict(arrays_of(found.head))}
    assert set(gradients) == set(head_tensors(name, CALM)) - (
        set() if found.bert.pooler is not None else {"pooler.dense.weight", "pooler.dense.bias"}
    )
    # Along one random direction through all parameters at once, [PAD]'s row apart.
    random = np.random.default_rng(1)
    along = {key: random.standard_normal(array.shape) for key, array in gradients.items()}
    along["embeddings.word_embeddings.weight"][0] = 0.0
    expected = sum(float((gradients[key] * along[key]).sum()) for key in gradients)

    def loss(step: float) -> float:
        shifts = {key: step * direction for key, direction in along.items()}
        model = load(written(tmp_path / str(step), name, shifts), name)
        return float(model.loss_and_gradients(batch, rng=rng()).loss)

    assert slope(lambda step: loss(step * 0.01)) / 0.01 == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("name", TREES)
def test_a_call_with_labels_has_the_same_loss_first(name: str, dtype: str, tmp_path: Path) -> None:
    model, batch = load(written(tmp_path, name), name, dtype), batch_of(name)
    output = model(**batch)
    found = model.loss_and_gradients(batch)
    assert output.loss == pytest.approx(found.loss, rel=1e-5 if dtype == "float32" else 1e-12)
    assert output[0] == output.loss
    assert next(iter(output)) == "loss"
    without = model(**{key: value for key, value in batch.items() if key in IDS})
    assert without.loss is None
    assert "loss" not in without


@pytest.mark.parametrize("name", TREES)
def test_gradients_are_parameters_classes_in_the_models_dtype(
    name: str, dtype: str, tmp_path: Path
) -> None:
    model = load(written(tmp_path, name), name, dtype)
    found = model.loss_and_gradients(batch_of(name))
    for tree, own in ((found.bert, model.bert.parameters), (found.head, model.head)):
        assert type(tree) is type(own)
        theirs = dict(arrays_of(own))
        for key, array in arrays_of(tree):
            assert array.shape == theirs[key].shape, key
            assert array.dtype == dtype
            assert np.isfinite(array).all()
    assert {field.name for field in fields(found)} == {"loss", "bert", "head"}


def test_only_labelled_tokens_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    model = BertForMaskedLM.from_pretrained("demo")
    seen: list[tuple[int, ...]] = []
    run = type(model)._run

    def spy(self: Any, call: Any) -> Any:
        seen.append(call.hidden.shape)
        return run(self, call)

    monkeypatch.setattr(type(model), "_run", spy)
    labels = np.full((2, 5), -100)
    labels[0, 1] = labels[1, 4] = 7
    model.loss_and_gradients({"input_ids": [[2, 4, 8, 9, 3]] * 2, "labels": labels})
    assert seen == [(2, 128)]


def test_half_precision_tables_have_gradients_in_the_models_dtype() -> None:
    batch = {"input_ids": [[2, 4, 8, 3]], "labels": [[-100, 7, -100, -100]]}
    found = BertForMaskedLM.from_pretrained("demo").loss_and_gradients(batch)  # stored in F16
    words = np.asarray(found.bert.embeddings.word_embeddings.weight)
    assert words.dtype == np.float32
    assert words[9].any()  # through the decoder every word has one
    assert found.bert.pooler is not None
    assert not found.bert.pooler.dense.weight.any()  # this head does not read it


def test_a_model_with_a_pooler_that_is_not_read_gives_it_nothing(tmp_path: Path) -> None:
    model = BertModel.from_pretrained(trained_like(tmp_path), dtype="float64")
    found = readable(model, IDS).gradients(hidden=np.ones((3, 7, 24)))
    assert found.pooler is not None
    assert not found.pooler.dense.weight.any()
    pooled = readable(model, IDS).gradients(pooled=np.ones((3, 24)))
    assert pooled.pooler is not None
    assert pooled.pooler.dense.weight.any()


def test_rows_in_place_of_ids_leave_the_word_table_alone(tmp_path: Path) -> None:
    model = BertModel.from_pretrained(trained_like(tmp_path), dtype="float64")
    rows = np.random.default_rng(0).standard_normal((2, 5, 24))
    run = readable(model, {"inputs_embeds": rows})
    found = run.gradients(hidden=np.ones_like(run.hidden) * np.arange(24))
    assert not np.asarray(found.embeddings.word_embeddings.weight).any()
    assert np.asarray(found.embeddings.position_embeddings.weight)[:5].any()


def test_positions_by_row_have_their_own_gradients(tmp_path: Path) -> None:
    model = BertModel.from_pretrained(trained_like(tmp_path), dtype="float64")
    same = {**IDS, "position_ids": np.tile(np.arange(7), (3, 1))}
    results = []
    for inputs in (IDS, same):
        run = readable(model, inputs)
        weights = np.random.default_rng(0).standard_normal(run.hidden.shape)
        found = run.gradients(hidden=weights)
        results.append(np.asarray(found.embeddings.position_embeddings.weight))
    assert np.abs(results[0] - results[1]).max() < 1e-12


@pytest.mark.parametrize("drops", [False, True])
def test_the_kernels_run_is_the_readable_one(tmp_path: Path, drops: bool) -> None:
    model = BertModel.from_pretrained(trained_like(tmp_path))
    runs = [
        BertRun(model, model.inputs(**IDS), np.random.default_rng(2) if drops else None, kind=kind)
        for kind in (EncoderTraining, ReadableTraining)
    ]
    assert np.abs(runs[0].hidden - runs[1].hidden).max() < 2e-5
    weights = np.random.default_rng(0).standard_normal(runs[0].hidden.shape).astype("f4")
    fast, slow = (dict(arrays_of(run.gradients(hidden=weights))) for run in runs)
    for key, array in slow.items():
        largest = max(float(np.abs(np.asarray(array)).max()), 0.1)  # key.bias has a gradient of 0
        assert np.abs(np.asarray(fast[key]) - array).max() < 1e-4 * largest, key


@pytest.mark.parametrize("name", ["BertForMaskedLM", "BertForPreTraining"])
def test_words_are_scored_in_float32_but_in_steps(
    name: str, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []
    for kernel in ("decode", "decode_backward"):
        real = getattr(with_head, kernel)

        def spy(*arrays: Any, kernel: str = kernel, real: Any = real) -> Any:
            used.append(kernel)
            return real(*arrays)

        monkeypatch.setattr(with_head, kernel, spy)
    model = load(written(tmp_path, name), name, dtype)
    model.steps(IDS["input_ids"])
    assert not used
    model(IDS["input_ids"])
    model.loss_and_gradients(batch_of(name))
    assert used == (["decode", "decode", "decode_backward"] if dtype == "float32" else [])


def test_a_part_of_a_model_cannot_be_trained(tmp_path: Path) -> None:
    part = BertModel.from_pretrained(trained_like(tmp_path), only="embeddings")
    with pytest.raises(InputError, match="load the whole to run the encoder"):
        BertRun(part, part.inputs(**IDS))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, "batch must have labels; it may have input_ids, "),
        ({"label": 1}, "batch must not have label; it may have"),
        ({"labels": [[1, 2]]}, r"labels must have shape \(3, 7\); got \(1, 2\)"),
        ({"labels": np.full((3, 7), -100)}, "labels: none counts"),
        ({"labels": np.full((3, 7), 99)}, r"labels\[0, 0\] must be from 0 to .*; got 99"),
        ({"input_ids": None}, "give input_ids or inputs_embeds"),
    ],
)
def test_a_batch_that_does_not_fit_is_named(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    name = "BertForMaskedLM"
    model = load(written(tmp_path, name), name)
    with pytest.raises(InputError, match=message):
        model.loss_and_gradients({**batch_of(name), **changes})


def test_labels_of_another_head_are_an_unexpected_argument(tmp_path: Path) -> None:
    name = "BertForQuestionAnswering"
    model = load(written(tmp_path, name), name)
    ids = {key: value for key, value in batch_of(name).items() if key in IDS}
    with pytest.raises(
        TypeError, match="unexpected keyword argument 'labels'; it takes start_positions"
    ):
        model(**ids, labels=[1, 2, 3])
    assert model(**ids, start_positions=[1, 2, 3]).loss is None  # as in transformers


def test_a_weight_that_is_not_finite_is_blamed(tmp_path: Path) -> None:
    name = "BertForTokenClassification"
    shifts = {"classifier.bias": np.array([0.0, np.nan, 0.0, 0.0, 0.0])}
    model = load(written(tmp_path, name, shifts), name)
    with pytest.raises(CheckpointError, match=r"classifier\.bias"):
        model.loss_and_gradients(batch_of(name))


def test_a_second_score_that_is_not_finite_is_blamed_too(tmp_path: Path) -> None:
    for name, key in (
        ("BertForQuestionAnswering", "qa_outputs.bias"),
        ("BertForPreTraining", "cls.seq_relationship.bias"),
    ):
        model = load(written(tmp_path / name, name, {key: np.array([0.0, np.nan])}), name)
        with pytest.raises(CheckpointError, match=key):
            model(**batch_of(name))
        with pytest.raises(CheckpointError, match=key):
            model.loss_and_gradients(batch_of(name))


@pytest.mark.parametrize("labels", [[0, 1], [], [[0]], 0, [9]])
def test_a_choice_takes_a_label_a_question(labels: Any, tmp_path: Path) -> None:
    name = "BertForMultipleChoice"
    model, batch = load(written(tmp_path, name), name), {**batch_of(name), "labels": labels}
    with pytest.raises(InputError, match="labels"):
        model(**batch)
    with pytest.raises(InputError, match="labels"):
        model.loss_and_gradients(batch)


def test_a_question_without_choices_is_refused(tmp_path: Path) -> None:
    name = "BertForMultipleChoice"
    model = load(written(tmp_path, name), name)
    for shape in ((0, 3, 7), (2, 0, 7)):
        with pytest.raises(InputError, match="must have a choice at least"):
            model(np.zeros(shape, np.int64))


@pytest.mark.parametrize("batch", [None, [1], "abc", np.zeros(3), 5])
def test_what_is_no_batch_is_refused(batch: Any) -> None:
    with pytest.raises(InputError, match="batch must be a mapping of names to arrays"):
        BertForMaskedLM.from_pretrained("demo").loss_and_gradients(batch)


def test_strict_numpy_settings_disturb_no_loss(tmp_path: Path) -> None:
    name = "BertForTokenClassification"
    model = load(written(tmp_path, name), name)
    with np.errstate(all="raise"):
        assert np.isfinite(model(**batch_of(name)).loss)
        assert np.isfinite(model.loss_and_gradients(batch_of(name)).loss)


def test_the_gradient_without_token_types_and_with_a_sequence_of_padding(tmp_path: Path) -> None:
    model = BertModel.from_pretrained(trained_like(tmp_path), dtype="float64")
    inputs = {
        "input_ids": IDS["input_ids"],
        "attention_mask": np.array([[1] * 7, [0] * 7, [1, 1, 0, 1, 1, 0, 0]]),
    }
    run = readable(model, inputs)
    weights = np.random.default_rng(0).standard_normal(run.hidden.shape)
    gradients = dict(arrays_of(run.gradients(hidden=weights)))
    assert not np.asarray(gradients["embeddings.token_type_embeddings.weight"])[1].any()
    for key in ("encoder.layer.0.attention.self.query.weight", "encoder.layer.1.output.dense.bias"):
        array = dict(arrays_of(model.parameters))[key]
        along = np.random.default_rng(1).standard_normal(array.shape)

        def value(step: float, key: str = key, along: Any = along) -> float:
            moved = {
                name: np.asarray(a) + (step * 0.01 * along if name == key else 0.0)
                for name, a in arrays_of(model.parameters)
            }
            folder = write_checkpoint(tmp_path / f"{key}{step}", moved, TRAINED)
            other = BertModel.from_pretrained(folder, dtype="float64")
            return float((readable(other, inputs).hidden * weights).sum())

        expected = float((np.asarray(gradients[key]) * along).sum())
        assert slope(value) / 0.01 == pytest.approx(expected, rel=1e-6)
