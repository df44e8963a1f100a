"""Examples: what is cut is told once, what fits no model is named, what is read together."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import (
    BertForMaskedLM,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
    InputError,
)
from numpy_bert.loading.cache import demo_folder
from numpy_bert.training import (
    JointData,
    JointModel,
    LabelledTexts,
    MaskedTexts,
    SentencePairs,
    SentenceStudent,
    TaughtTexts,
    Trainer,
    TrainingArguments,
    new_classifier,
)
from numpy_bert.training.data import batches
from tests.support.pages import random_model

TEXTS = ["the cat sat on the mat", "a dog", "the sun is up and warm"]
DOCUMENTS = [["The cat sat.", "It slept."], ["A dog ran to the big old house.", "It barked."]]


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return BertTokenizer.from_pretrained("demo")


@pytest.fixture(scope="module")
def bert() -> BertModel:
    return BertModel.from_pretrained("demo")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> BertModel:
    """Return a model whose tables are too small for the demo's tokenizer."""
    sizes: dict[str, Any] = {"vocab_size": 99, "max_position_embeddings": 6, "type_vocab_size": 1}
    return BertModel.from_pretrained(random_model(tmp_path_factory.mktemp("tiny"), **sizes))


def classifier(
    bert: BertModel, labels: int, problem_type: str | None = None
) -> BertForSequenceClassification:
    names = [f"l{number}" for number in range(labels)]
    return new_classifier(bert, names, demo_folder(), problem_type=problem_type)


def test_texts_that_are_cut_are_told_once(tokenizer: BertTokenizer) -> None:
    message = (
        r"data: 2 of 3 texts have more than 5 tokens and were cut; the first is texts\[0\], of 8\."
    )
    for make in (
        lambda: MaskedTexts(TEXTS, tokenizer, max_length=5),
        lambda: LabelledTexts(TEXTS, [0, 1, 0], tokenizer, max_length=5),
        lambda: TaughtTexts(TEXTS, np.eye(3), tokenizer, max_length=5),
    ):
        with pytest.warns(UserWarning, match=message) as found:
            data: Any = make()
        assert len(found) == 1
        assert found[0].filename == __file__
        assert data.lengths.tolist() == [5, 4, 5]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            data.batch(np.arange(3), np.random.default_rng(0))
    with pytest.warns(
        UserWarning, match=r"1 of 4 sentences have more than the 7 tokens .*\[1\]\[0\]"
    ):
        SentencePairs(DOCUMENTS, tokenizer, max_length=11)
    SentencePairs(DOCUMENTS, tokenizer, max_length=40)  # nothing is said


@pytest.mark.parametrize(
    ("labels", "count", "problem", "message"),
    [
        ([0.0, 1.0, 0.5], 2, None, "the model's 2 classes; got dtype float64"),
        ([0.0, 1.0, 0.5], 3, "single_label_classification", "numbers of the model's 3 classes"),
        ([0, 1, 0], 1, None, "must be floats, since the model is a regression .*; got dtype int64"),
        ([0, 1, 0], 1, "regression", "labels must be floats"),
        ([0.0, 1.0, 0.5], 2, "regression", "have one number each; the model has 2"),
        ([0, 1, 2], 2, None, r"labels\[2\] must be from 0 to 1, .*; got 2"),
        ([0, -1, 1], 2, None, r"labels\[1\] must be from 0 to 1, .*; got -1"),
        ([0, 1, -100], 2, None, r"labels\[2\] = -100, which is no label; leave the text out"),
        ([0, 1, 1], 2, "multi_label_classification", "problem_type is multi_label_classification"),
        ([0.0, 1.0, 1e39], 1, None, r"labels\[2\] = 1e\+39 does not fit into float32"),
    ],
)
def test_labels_that_do_not_fit_are_named_before_a_step(
    labels: list[Any],
    count: int,
    problem: str | None,
    message: str,
    tokenizer: BertTokenizer,
    bert: BertModel,
    tmp_path: Path,
) -> None:
    data = LabelledTexts(TEXTS, labels, tokenizer)
    with pytest.raises(InputError, match=message):
        Trainer(classifier(bert, count, problem), data, TrainingArguments(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_labels_that_fit_are_taken(tokenizer: BertTokenizer, bert: BertModel) -> None:
    LabelledTexts(TEXTS, [0, 1, 2], tokenizer).check(classifier(bert, 3))
    LabelledTexts(TEXTS, np.array([0, 1, 2], "u1"), tokenizer).check(classifier(bert, 3))
    for problem in (None, "regression"):
        LabelledTexts(TEXTS, [0.5, 1, -100], tokenizer).check(classifier(bert, 1, problem))
    judge = BertForNextSentencePrediction.from_pretrained("demo")
    LabelledTexts(TEXTS, [0, 1, 1], tokenizer).check(judge)
    with pytest.raises(InputError, match="must be from 0 to 1, "):
        LabelledTexts(TEXTS, [0, 1, 2], tokenizer).check(judge)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.0, np.nan, 1.0], r"labels\[1\] must be finite; got nan"),
        ([0.0, 1.0, np.inf], r"labels\[2\] must be finite; got inf"),
        (["a", "b", "c"], "labels must be integers, .*; got dtype <U1"),
        ([True, False, True], "labels must be integers, .*; got dtype bool"),
        ([None, 1, 2], "labels must be integers, .*; got dtype object"),
        ([0, 1], r"3 texts and labels of shape \(2,\)"),
        ([[0, 1]] * 3, r"labels of shape \(3, 2\); .*several labels a text are not trained"),
        ([[0], [0, 1], [1]], "labels must have rows of one length"),
    ],
)
def test_labels_that_are_none_are_refused_at_once(
    labels: list[Any], message: str, tokenizer: BertTokenizer
) -> None:
    with pytest.raises(InputError, match=message):
        LabelledTexts(TEXTS, labels, tokenizer)


def test_data_for_another_model_are_refused(tokenizer: BertTokenizer, bert: BertModel) -> None:
    words, both = (kind.from_pretrained("demo") for kind in (BertForMaskedLM, BertForPreTraining))
    student = SentenceStudent.new(bert, 4, demo_folder())
    masked = MaskedTexts(TEXTS, tokenizer)
    labelled = LabelledTexts(TEXTS, [0, 1, 0], tokenizer)
    taught = TaughtTexts(TEXTS, np.eye(3), tokenizer)
    data: Any
    for data, model, message in (
        (masked, both, "MaskedTexts are for a BertForMaskedLM; the model is a BertForPreTraining"),
        (labelled, words, "LabelledTexts are for a BertForSequenceClassification or"),
        (SentencePairs(DOCUMENTS, tokenizer), words, "SentencePairs are for a BertForPreTraining"),
        (taught, words, "TaughtTexts are for a SentenceStudent"),
        (taught, student, "vectors have 3 features, the student's map makes 4"),
        (TaughtTexts(TEXTS, [[1e39] * 4] * 3, tokenizer), student, "vector of text 1 does not fit"),
        (JointData({"a": masked}), words, "the models are none: it is no JointModel"),
        (JointData({"a": masked}), JointModel({"b": words}), "is for a, but the models are b"),
        (
            JointData({"a": labelled}),
            JointModel({"a": classifier(bert, 1)}),
            "a: labels must be floats",
        ),
    ):
        with pytest.raises(InputError, match=message):
            Trainer(model, data, TrainingArguments(), "nowhere")
    for vectors, message in (
        ([["a"]] * 3, "vectors must be numbers, .*; got dtype"),
        ([[1], [1, 2], [3]], "vectors must have rows of one length"),
    ):
        with pytest.raises(InputError, match=message):
            TaughtTexts(TEXTS, vectors, tokenizer)
    for probability in (0.0, 1.0, float("nan")):
        with pytest.raises(InputError, match="probability must be"):
            MaskedTexts(TEXTS, tokenizer, probability=probability)
        with pytest.raises(InputError, match="probability must be"):
            SentencePairs(DOCUMENTS, tokenizer, probability=probability)


def test_texts_beyond_a_models_tables_are_named(
    tokenizer: BertTokenizer, tiny: BertModel, tmp_path: Path
) -> None:
    model = classifier(tiny, 2)
    with pytest.raises(InputError, match=r"has the token id \d+; the model's vocab_size is 99"):
        LabelledTexts(TEXTS, [0, 1, 0], tokenizer).check(model)
    few = LabelledTexts(["[CLS]" * 9], [0], tokenizer)
    with pytest.raises(
        InputError, match="a text of 11 tokens; the model's max_position_embeddings"
    ):
        few.check(model)
    with pytest.raises(InputError, match="token type 1; the model's type_vocab_size is 1"):
        LabelledTexts([("[SEP]", "[SEP]")], [0], tokenizer).check(model)
    folder = random_model(tmp_path, vocab_size=7999, num_hidden_layers=1)
    student = SentenceStudent.new(BertModel.from_pretrained(folder), 3, folder)
    TaughtTexts(TEXTS, np.eye(3), tokenizer).check(student)  # it draws no token


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(("examples", "size"), [(1, 4), (7, 3), (1000, 8), (64, 8)])
def test_each_example_comes_once(examples: int, size: int, grouped: bool) -> None:
    lengths = np.random.default_rng(1).integers(1, 99, examples) if grouped else None
    found = batches(examples, size, np.random.default_rng(0), lengths)
    assert sorted(np.concatenate(found).tolist()) == list(range(examples))
    assert len(found) == -(-examples // size)
    assert max(map(len, found)) <= size
    again = batches(examples, size, np.random.default_rng(0), lengths)
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))


def test_lengths_are_alike_and_batches_come_in_any_order() -> None:
    lengths = np.random.default_rng(1).integers(1, 500, 4000)
    found = batches(4000, 8, np.random.default_rng(0), lengths)
    spread = np.mean([np.ptp(lengths[batch]) for batch in found])
    loose = np.mean([np.ptp(lengths[b]) for b in batches(4000, 8, np.random.default_rng(0))])
    assert spread < loose / 20
    means = [lengths[batch].mean() for batch in found]
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.2
