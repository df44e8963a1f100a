"""How good a model is: against its definition, token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import (
    BertForMaskedLM,
    BertForPreTraining,
    BertModel,
    BertTokenizer,
    InputError,
    SentenceEncoder,
)
from numpy_bert.training import (
    LabelledTexts,
    MaskedTexts,
    SentencePairs,
    TaughtTexts,
    accuracy,
    masked_scores,
    new_classifier,
    regression_scores,
    sentence_correlation,
)
from numpy_bert.training.correlation import pearson, spearman
from tests.training.test_fit import TEXTS
from tests.training.test_joint import DOCUMENTS


def test_masked_words_are_counted(folder: Path) -> None:
    model = BertForMaskedLM.from_pretrained(folder, dtype="float64")
    data = MaskedTexts(TEXTS, BertTokenizer.from_pretrained(folder), probability=0.6)
    found = masked_scores(model, data, batch_size=2, seed=3)
    losses, right, labels = [], [], []
    for start in (0, 2, 4):
        numbers = np.arange(start, min(start + 2, 5))
        batch = data.batch(numbers, np.random.default_rng([3, start]))
        wanted = batch.pop("labels")
        logits = model(**batch).logits
        for place in np.argwhere(wanted >= 0):
            row, label = logits[tuple(place)], wanted[tuple(place)]
            losses.append(np.log(np.exp(row).sum()) - row[label])
            right.append(row.argmax() == label)
            labels.append(int(label))
    assert found.tokens == len(losses)
    assert found.loss == pytest.approx(np.mean(losses), rel=1e-10)
    assert found.accuracy == pytest.approx(np.mean(right))
    assert found.most_frequent == max(map(labels.count, labels)) / len(labels)
    assert found.next_sentence is None


def test_next_sentences_are_counted(folder: Path) -> None:
    model = BertForPreTraining.from_pretrained(folder)
    data = SentencePairs(DOCUMENTS, BertTokenizer.from_pretrained(folder))
    found = masked_scores(model, data, batch_size=8)
    batch = data.batch(np.arange(len(data)), np.random.default_rng([0, 0]))
    wanted = batch["next_sentence_label"]
    inputs = {n: batch[n] for n in ("input_ids", "attention_mask", "token_type_ids")}
    said = model(**inputs).seq_relationship_logits.argmax(axis=1)
    assert found.next_sentence == np.mean(said == wanted)


def test_spearman_is_the_correlation_of_ranks() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 50), rng.standard_normal(50)

    def ranks(values: np.ndarray) -> list[float]:
        return [(values < v).sum() + ((values == v).sum() + 1) / 2 for v in values]

    expected = np.corrcoef(ranks(a), ranks(b))[0, 1]
    assert spearman(a, b) == pytest.approx(expected, abs=1e-11)
    assert spearman(a, np.exp(3.0 * a)) == 1.0
    assert spearman(a, -a) == -1.0


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1.0], [2.0], "at least two"),
        ([1.0, 2.0], [1.0, 2.0, 3.0], "two rows of as many"),
        ([1.0, np.nan], [1.0, 2.0], "not finite"),
        ([1.0, 1.0], [1.0, 2.0], "all numbers of one row are equal"),
    ],
)
def test_what_has_no_correlation_is_refused(a: list[float], b: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        spearman(a, b)


def test_right_labels_are_counted(folder: Path, tmp_path: Path) -> None:
    model = new_classifier(BertModel.from_pretrained(folder), ["a", "b", "c"], folder)
    tokenizer = BertTokenizer.from_pretrained(folder)
    inputs = dict(tokenizer(TEXTS, padding=True, return_tensors="np"))
    said = model(**inputs).logits.argmax(axis=1)
    assert accuracy(model, LabelledTexts(TEXTS, said.tolist(), tokenizer), batch_size=2) == 1.0
    wrong = said.copy()
    wrong[[0, 3]] = (said[[0, 3]] + 1) % 3
    assert accuracy(model, LabelledTexts(TEXTS, wrong.tolist(), tokenizer), batch_size=2) == 0.6


def test_labels_that_do_not_count_are_left_out_and_others_checked(folder: Path) -> None:
    model = new_classifier(BertModel.from_pretrained(folder), ["a", "b", "c"], folder)
    tokenizer = BertTokenizer.from_pretrained(folder)
    inputs = dict(tokenizer(TEXTS, padding=True, return_tensors="np"))
    labels = model(**inputs).logits.argmax(axis=1)
    labels[2] = (labels[2] + 1) % 3
    labels[[0, 4]] = -100
    assert accuracy(model, LabelledTexts(TEXTS, labels, tokenizer), batch_size=2) == 2 / 3
    for wrong, message in (
        ([-100] * 5, "none counts"),
        ([0, 1, 2, 3, 0], r"labels\[3\] must be from 0 to 2, .*; got 3"),
        ([0, 1, -1, 0, 0], r"labels\[2\] must be from 0 to 2, .*; got -1"),
        ([0.0, 1.0, 2.0, 0.0, 0.5], "labels must be an array of integers; got dtype float64"),
    ):
        with pytest.raises(InputError, match=message):
            accuracy(model, LabelledTexts(TEXTS, wrong, tokenizer))
    number = new_classifier(BertModel.from_pretrained(folder), ["a"], folder)
    with pytest.raises(
        InputError, match="one right class of several; its problem_type is regression"
    ):
        accuracy(number, LabelledTexts(TEXTS, [0] * 5, tokenizer))
    with pytest.raises(InputError, match="classes"):
        regression_scores(model, LabelledTexts(TEXTS, [0] * 5, tokenizer))


def test_a_regression_is_judged_by_its_numbers(folder: Path) -> None:
    bert, tokenizer = (
        BertModel.from_pretrained(folder, dtype="float64"),
        BertTokenizer.from_pretrained(folder),
    )
    model = new_classifier(bert, ["LABEL_0"], folder, problem_type="regression")
    said = model(**dict(tokenizer(TEXTS, padding=True, return_tensors="np"))).logits[:, 0]
    wanted = np.array([0.5, -1.0, 2.0, 0.25, 3.0])
    found = regression_scores(model, LabelledTexts(TEXTS, wanted, tokenizer), batch_size=2)
    assert found.mse == pytest.approx(np.square(said - wanted).mean(), rel=1e-5)
    assert found.pearson == pytest.approx(np.corrcoef(said, wanted)[0, 1], abs=1e-5)
    assert found.spearman == spearman(said, wanted)
    alike = regression_scores(model, LabelledTexts(TEXTS, [0.5] * 5, tokenizer))
    assert (alike.pearson, alike.spearman) == (None, None)
    assert pearson([1.0, 2.0, 4.0], [-1e300, -2e300, -4e300]) == -1.0


def test_cosines_are_compared_whatever_the_lengths_of_vectors(plain_demo: Path) -> None:
    encoder = SentenceEncoder.from_pretrained(plain_demo)
    pairs = [("a", "the sea"), ("the moon is up", "the sun"), ("go", "he went home"), ("x", "x")]
    cosines = []
    for pair in pairs:
        a, b = encoder.encode(list(pair)).astype("f8")
        cosines.append(float(a @ b / np.sqrt((a @ a) * (b @ b))))
    lengths = np.linalg.norm(encoder.encode([a for a, _ in pairs]), axis=1)
    assert np.ptp(lengths) > 0.01 * lengths.mean()
    assert sentence_correlation(encoder, pairs, cosines) == 1.0
    assert sentence_correlation(encoder, pairs, [-c for c in cosines]) == -1.0
    assert sentence_correlation(encoder, [("a", "a"), ("a", "a")], [1.0, 2.0]) == 0.0


DEMO = BertTokenizer.from_pretrained("demo")


@pytest.mark.parametrize("size", [0, -1, 1.5, True])
def test_a_batch_has_one_example_at_least(size: Any) -> None:
    model = new_classifier(BertModel.from_pretrained("demo"), ["a", "b"], Path("demo"))
    number = new_classifier(BertModel.from_pretrained("demo"), ["a"], Path("demo"))
    words = BertForMaskedLM.from_pretrained("demo")
    calls: list[Any] = [
        lambda: accuracy(model, LabelledTexts(["a"], [0], DEMO), batch_size=size),
        lambda: regression_scores(number, LabelledTexts(["a"], [0.5], DEMO), batch_size=size),
        lambda: masked_scores(words, MaskedTexts(["a cat"], DEMO), batch_size=size),
    ]
    for call in calls:
        with pytest.raises(InputError, match="batch_size must be a whole number from 1; got "):
            call()


@pytest.mark.parametrize(
    ("pairs", "scores", "message"),
    [
        ([("a", "b")] * 3, [1.0], r"scores must be a number for each of 3 pairs; got .* \(1,\)"),
        (
            [("a", "b")] * 3,
            [1.0, 2.0, float("nan")],
            r"scores\[2\] must be a finite number; got nan",
        ),
        ([], [], "pairs must be at least two pairs"),
        (["a", "b"], [1.0, 2.0], "pairs must be at least two pairs"),
        ([("a", "b")] * 2, ["1", "2"], r"scores must be a number for .*; got <U1"),
    ],
)
def test_pairs_have_a_score_each(pairs: Any, scores: Any, message: str) -> None:
    encoder = SentenceEncoder.from_pretrained("demo")
    with pytest.raises(InputError, match=message):
        sentence_correlation(encoder, pairs, scores)


def test_a_classifier_is_judged_by_labels() -> None:
    taught: Any = TaughtTexts(["a"], [[1.0]], DEMO)
    model = new_classifier(BertModel.from_pretrained("demo"), ["a", "b"], Path("demo"))
    for judge in (accuracy, regression_scores):
        with pytest.raises(
            InputError, match=f"{judge.__name__}: data must be LabelledTexts; got TaughtTexts"
        ):
            judge(model, taught)
