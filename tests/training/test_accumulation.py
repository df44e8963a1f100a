"""Batches that one step is taken from are one batch of their examples, for every loss."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numpy_bert
from numpy_bert import BertForMaskedLM, BertForSequenceClassification, BertModel, InputError
from numpy_bert.ops.distillation import cosine_embedding_loss, similarity_preserving_loss
from numpy_bert.tasks.items import added_items
from numpy_bert.training import JointModel, SentenceStudent, Trainer, TrainingArguments
from tests.support.checkpoints import write_checkpoint
from tests.support.heads import CONFIG, head_tensors
from tests.training.test_fit import log_of

ROWS, LENGTH = 5, 7
CALM = {**CONFIG, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
RNG = np.random.default_rng(7)
IDS = {
    "input_ids": RNG.integers(2, 5, (ROWS, LENGTH)),
    "attention_mask": (np.arange(LENGTH) < [[7], [4], [6], [3], [5]]).astype(np.int64),
}
# The second text has no label, and of the others some have more than others.
TOKENS = np.full((ROWS, LENGTH), -100)
TOKENS[0, :5], TOKENS[2, 1], TOKENS[3, :2], TOKENS[4, 3] = [1, 3, 0, 2, 4], 2, [4, 0], 1
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "words": ("BertForMaskedLM", {"labels": TOKENS}, {}),
    "tokens": ("BertForTokenClassification", {"labels": TOKENS}, {}),
    "labels": ("BertForSequenceClassification", {"labels": np.array([4, -100, 2, 0, 1])}, {}),
    "regression": (
        "BertForSequenceClassification",
        {"labels": np.array([0.5, -100.0, 2.0, -1.0, 3.0])},
        {"num_labels": 1},
    ),
    "two regressions": (
        "BertForSequenceClassification",
        {"labels": RNG.standard_normal((ROWS, 5))},
        {"problem_type": "regression"},
    ),
    "several right": ("BertForSequenceClassification", {"labels": np.eye(ROWS)}, {}),
    "answers": (
        "BertForQuestionAnswering",
        {
            "start_positions": np.array([0, 99, 1, 50, 2]),
            "end_positions": np.array([3, 7, 1, 2, 4]),
        },
        {},
    ),
    "order": ("BertForNextSentencePrediction", {"labels": np.array([1, 0, -100, 1, 1])}, {}),
    "both": (
        "BertForPreTraining",
        {"labels": TOKENS, "next_sentence_label": np.array([0, 1, -100, 1, 0])},
        {},
    ),
}
PARTS = ([[0, 1], [2, 3], [4]], [[0], [1], [2], [3], [4]], [[1], [0, 2, 3, 4]])


def model_of(folder: Path, name: str, changes: Mapping[str, Any], dtype: str = "float64") -> Any:
    config = {**CALM, **changes}
    tensors = {
        key: (array * 0.3 + key.endswith("LayerNorm.weight")).astype(np.float64)
        for key, array in head_tensors(name, config).items()
    }
    write_checkpoint(folder, tensors, config)
    return getattr(numpy_bert, name).from_pretrained(folder, dtype=dtype)


def taken(batch: Mapping[str, Any], rows: list[int]) -> dict[str, Any]:
    """Return some of the examples, and of every batch in it."""
    return {
        name: taken(part, rows) if isinstance(part, Mapping) else part[rows]
        for name, part in batch.items()
    }


def added(model: Any, batches: list[dict[str, Any]]) -> tuple[float, dict[str, Any]]:
    """Return the loss and the gradients of some batches, as a step of a run takes them."""
    items = added_items(model.num_items_in_batch(batch) for batch in batches)
    found = [model.loss_and_gradients(batch, num_items_in_batch=items) for batch in batches]
    sums: dict[str, Any] = {}
    for part in found:
        for name, array in part.named():
            sums[name] = sums.get(name, 0.0) + array
    return sum(part.loss for part in found), sums


def assert_one(model: Any, batch: Mapping[str, Any], parts: list[list[int]], near: float) -> None:
    whole = model.loss_and_gradients(batch)
    loss, sums = added(model, [taken(batch, rows) for rows in parts])
    assert loss == pytest.approx(whole.loss, rel=near, abs=near)
    for name, array in whole.named():
        largest = max(1.0, float(np.abs(array).max()))
        np.testing.assert_allclose(sums[name], array, rtol=0, atol=near * largest, err_msg=name)


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("case", CASES)
def test_batches_are_one_batch(case: str, parts: list[list[int]], tmp_path: Path) -> None:
    name, labels, changes = CASES[case]
    assert_one(model_of(tmp_path, name, changes), {**IDS, **labels}, parts, 1e-12)


@pytest.mark.parametrize("case", ["words", "answers", "both"])
def test_batches_are_one_batch_for_the_kernels(case: str, tmp_path: Path) -> None:
    name, labels, changes = CASES[case]
    model = model_of(tmp_path, name, changes, "float32")
    for parts in PARTS:
        assert_one(model, {**IDS, **labels}, parts, 1e-5)


def test_choices_are_one_batch(tmp_path: Path) -> None:
    ids = {name: np.stack([array, array[::-1]], axis=1) for name, array in IDS.items()}
    labels = {"labels": np.array([0, 1, -100, 1, 0])}
    for parts in PARTS:
        model = model_of(tmp_path, "BertForMultipleChoice", {})
        assert_one(model, {**ids, **labels}, parts, 1e-12)


def test_each_part_of_a_joint_model_has_its_own_count(tmp_path: Path) -> None:
    words = model_of(tmp_path, "BertForPreTraining", {})
    model = JointModel(
        {"both": words, "words": BertForMaskedLM.from_pretrained(tmp_path, dtype="float64")},
        {"words": 0.25},
    )
    batch = {"both": {**IDS, **CASES["both"][1]}, "words": {**IDS, "labels": TOKENS[::-1]}}
    for parts in PARTS:
        assert_one(model, batch, parts, 1e-12)


def test_a_student_compares_the_pairs_that_are_read_together(tmp_path: Path) -> None:
    model_of(tmp_path, "BertForMaskedLM", {})
    bert = BertModel.from_pretrained(tmp_path, dtype="float64")
    student = SentenceStudent.new(bert, 3, tmp_path)
    taught = np.random.default_rng(1).standard_normal((ROWS, 3))
    batch = {**IDS, "labels": taught}
    parts = [[0, 1], [2, 3, 4]]
    loss, sums = added(student, [taken(batch, rows) for rows in parts])
    # The two losses of the definition, over all texts and over the 4 + 9 pairs.
    hidden = student.bert(IDS["input_ids"], IDS["attention_mask"]).last_hidden_state
    mask = IDS["attention_mask"][..., np.newaxis]
    pooled = (hidden * mask).sum(axis=1) / mask.sum(axis=1)
    vectors = pooled @ student.head.projection.weight.T + student.head.projection.bias
    pairs = sum(
        similarity_preserving_loss(vectors[rows], taught[rows]).output * len(rows) ** 2
        for rows in parts
    )
    expected = cosine_embedding_loss(vectors, taught).output + 10.0 * pairs / 13
    assert loss == pytest.approx(expected, rel=1e-12)
    assert set(sums) == set(dict(student.named_parameters()))
    # Where each text has a batch of its own no pair counts but each with itself, which is 0.
    alone, _ = added(student, [taken(batch, [row]) for row in range(ROWS)])
    assert alone == pytest.approx(cosine_embedding_loss(vectors, taught).output, rel=1e-12)


def test_counts_that_are_none_are_refused(tmp_path: Path) -> None:
    model = model_of(tmp_path, "BertForMaskedLM", {})
    batch = {**IDS, "labels": TOKENS}
    for items in (-1, 1.5, True, "3", {"label": 3}):
        with pytest.raises(
            InputError, match="num_items_in_batch for labels must be a whole number from 0"
        ):
            model.loss_and_gradients(batch, num_items_in_batch=items)
    with pytest.raises(InputError, match="labels: none counts"):
        model.loss_and_gradients(taken(batch, [1]), num_items_in_batch=0)
    assert model.num_items_in_batch(batch) == {"labels": 9}
    twice = model.loss_and_gradients(batch, num_items_in_batch=18)  # an int, as transformers has it
    assert twice.loss == pytest.approx(model.loss_and_gradients(batch).loss / 2, rel=1e-12)


class Rows:
    """Examples that are read as they stand."""

    fingerprint, lengths = "rows", np.full(ROWS, LENGTH)

    def __init__(self, labels: dict[str, Any]) -> None:
        self.labels, self.asked = labels, list[list[int]]()

    def __len__(self) -> int:
        return ROWS

    def batch(self, numbers: Any, rng: np.random.Generator) -> Any:
        del rng
        self.asked.append(numbers.tolist())
        return {name: array[numbers] for name, array in {**IDS, **self.labels}.items()}


@pytest.mark.parametrize("case", ["words", "labels", "both"])
def test_a_run_of_accumulated_batches_is_one_of_larger_ones(case: str, tmp_path: Path) -> None:
    name, labels, changes = CASES[case]
    # A step of one text is refused if that has no label, as a batch of it is.
    labels = {
        key: np.where(array == -100, np.roll(array, 2, 0), array) for key, array in labels.items()
    }
    model = model_of(tmp_path / "model", name, changes)
    found = []
    for size, count in ((4, 1), (2, 2), (1, 4)):  # of which each pass leaves one example
        settings = TrainingArguments(
            per_device_train_batch_size=size,
            gradient_accumulation_steps=count,
            num_train_epochs=3,
            learning_rate=1e-3,
            logging_steps=1,
        )
        trained = Trainer(model, Rows(labels), settings, tmp_path / str(size)).train()
        found.append((log_of(tmp_path / str(size)), dict(trained.named_parameters())))
    for log, arrays in found[1:]:
        assert [line["step"] for line in log] == [1, 2, 3, 4, 5, 6]
        for line, one in zip(log, found[0][0], strict=True):
            assert line["loss"] == pytest.approx(one["loss"], rel=1e-10)
        for key, array in arrays.items():
            np.testing.assert_allclose(array, found[0][1][key], rtol=0, atol=1e-9, err_msg=key)


@pytest.mark.parametrize("passes", [1, 2, 0.5, 1.3])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_each_example_is_read_once_a_pass(
    size: int, count: int, passes: float, tmp_path: Path
) -> None:
    model = BertForSequenceClassification.from_pretrained(_tiny(tmp_path))
    settings = TrainingArguments(
        per_device_train_batch_size=size, gradient_accumulation_steps=count, num_train_epochs=passes
    )
    run = Trainer(model, Rows(CASES["labels"][1]), settings, tmp_path / "run")
    batches = -(-ROWS // size)
    of_pass = -(-batches // count)
    total = int(np.ceil(passes * of_pass))  # transformers' max_steps
    assert settings.steps_of(ROWS) == run._total == total
    read = [np.concatenate([run._examples(n) for n in run._batches(s)]) for s in range(total)]
    for start in range(0, total, of_pass):
        examples = np.concatenate(read[start : start + of_pass]).tolist()
        assert len(set(examples)) == len(examples)
        if start + of_pass <= total:
            assert sorted(examples) == list(range(ROWS))


def _tiny(folder: Path) -> Path:
    model_of(folder / "model", "BertForSequenceClassification", {})
    return folder / "model"
