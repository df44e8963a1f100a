"""The tasks' losses: their values by hand, and labels that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numpy_bert import InputError
from numpy_bert.tasks.objectives import (
    choice_objective,
    label_objective,
    next_sentence_objective,
    places_that_count,
    replaced_objective,
    sequence_objective,
    span_objective,
)
from tests.support.differences import differences, relative_error

RNG = np.random.default_rng(0)
TOKENS = RNG.standard_normal((2, 3, 4))
ROWS = RNG.standard_normal((3, 5))


def test_labels_of_tokens() -> None:
    labels = np.array([[0, -100, 3], [-100, 2, 1]])
    found = label_objective(TOKENS, labels)
    log = TOKENS - np.log(np.exp(TOKENS).sum(-1, keepdims=True))
    counted = [log[0, 0, 0], log[0, 2, 3], log[1, 1, 2], log[1, 2, 1]]
    assert found.loss == pytest.approx(-np.mean(counted), rel=1e-12)
    assert found.score_gradients[0].shape == TOKENS.shape
    assert not found.score_gradients[0][0, 1].any()
    assert [axis.tolist() for axis in places_that_count(labels, (2, 3), 4)] == [
        [0, 0, 1, 1],
        [0, 2, 1, 2],
    ]


@pytest.mark.parametrize(
    ("labels", "kind", "expected"),
    [
        (np.array([4, 0, 2]), None, "single"),
        (np.array([[4], [0], [2]]), None, "single"),
        (np.array([4, 0, 2]), "single_label_classification", "single"),
        (np.eye(3, 5), None, "several"),
        (np.eye(3, 5, dtype=np.int64), "multi_label_classification", "several"),
        (ROWS + 1.0, "regression", "regression"),
    ],
)
def test_the_kinds_of_classifiers(labels: Any, kind: str | None, expected: str) -> None:
    found = sequence_objective(ROWS, labels, problem_type=kind)
    sigmoid = 1 / (1 + np.exp(-ROWS))
    losses = {
        "single": label_objective(ROWS, np.array([4, 0, 2])).loss,
        "several": -np.where(np.eye(3, 5) > 0, np.log(sigmoid), np.log1p(-sigmoid)).mean(),
        "regression": 1.0,
    }
    assert found.loss == pytest.approx(float(losses[expected]), rel=1e-12)

    def value(scores: Any) -> float:
        return sequence_objective(scores, labels, problem_type=kind).loss

    assert relative_error(found.score_gradients[0], differences(value, ROWS)) < 1e-7


def test_one_score_is_a_regression() -> None:
    scores = np.array([[1.0], [2.0], [4.0]])
    for labels in ([1.0, 1.0, 1.0], [[1], [1], [1]]):
        found = sequence_objective(scores, labels, problem_type=None)
        assert found.loss == pytest.approx(10 / 3)
        assert found.score_gradients[0].shape == (3, 1)


def test_spans_that_were_cut_off_do_not_count() -> None:
    scores = RNG.standard_normal((2, 6, 2))
    both = span_objective(scores, [1, 6], [2, 99])
    alone = span_objective(scores[:1], [1], [2])
    assert both.loss == pytest.approx(alone.loss)
    assert not both.score_gradients[0][1].any()
    value = differences(lambda s: span_objective(s, [1, 5], [2, 0]).loss, scores)
    assert relative_error(span_objective(scores, [1, 5], [2, 0]).score_gradients[0], value) < 1e-7


def test_choices_and_next_sentences() -> None:
    scores = RNG.standard_normal((6, 1))
    found = choice_objective(scores, [2, 0], choices=3)
    assert found.loss == pytest.approx(label_objective(scores.reshape(2, 3), [2, 0]).loss)
    assert found.score_gradients[0].shape == (6, 1)
    pairs = RNG.standard_normal((2, 2))
    same = next_sentence_objective(pairs, [[1], [0]], name="labels")
    assert same.loss == label_objective(pairs, [1, 0]).loss
    total = found + same
    assert total.loss == found.loss + same.loss
    assert len(total.score_gradients) == 2


@pytest.mark.parametrize("items", [None, 9])
def test_replaced_tokens_are_told_where_there_is_no_padding(items: int | None) -> None:
    scores, labels = TOKENS[..., :1], np.array([[0, 1, 5], [1, 0, 0]])
    mask = np.array([[True, True, False], [True, True, True]])
    found = replaced_objective(scores, labels, mask, num_items_in_batch=items)
    sigmoid = 1 / (1 + np.exp(-scores[..., 0]))
    losses = -np.where(labels, np.log(sigmoid), np.log1p(-sigmoid))
    assert found.loss == pytest.approx(losses[mask].sum() / (items or 5), rel=1e-12)
    [gradient] = found.score_gradients
    expected = np.where(mask, sigmoid - labels, 0.0) / (items or 5)
    np.testing.assert_allclose(gradient[..., 0], expected, rtol=0, atol=1e-15)
    labels[0, 2] = 0
    whole = replaced_objective(scores, labels, None)
    losses = -np.where(labels, np.log(sigmoid), np.log1p(-sigmoid))
    assert whole.loss == pytest.approx(losses.mean(), rel=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: replaced_objective(np.zeros((1, 3, 1)), [[0, 2, 0]], None),
            r"labels\[0, 1\] must be from 0 to 1, whether a token was replaced; got 2",
        ),
        (
            lambda: replaced_objective(np.zeros((1, 3, 1)), [0, 1, 0], None),
            r"labels must have shape \(1, 3\); got \(3,\)",
        ),
        (
            lambda: replaced_objective(np.zeros((1, 2, 1)), [[0, 1]], np.zeros((1, 2), bool)),
            r"none counts \(all tokens are padding\)",
        ),
        (
            lambda: label_objective(TOKENS, [[0, 1, 2]]),
            r"labels must have shape \(2, 3\); got \(1, 3\)",
        ),
        (
            lambda: label_objective(ROWS, [0.0, 1.0, 2.0]),
            "must be an array of integers; got dtype float64",
        ),
        (
            lambda: label_objective(ROWS, [0, 5, 2]),
            r"labels\[1\] must be from 0 to 4, .*; got 5",
        ),
        (lambda: label_objective(ROWS, [-1, 0, 2]), r"labels\[0\] must be .*; got -1"),
        (lambda: label_objective(ROWS, [-100] * 3), "none counts"),
        (
            lambda: choice_objective(np.zeros((6, 1)), [0, 3], choices=3),
            r"labels\[1\] must be from 0 to .*; got 3",
        ),
        (
            lambda: sequence_objective(ROWS, np.zeros((3, 4)), problem_type=None),
            r"labels must have shape \(3, 5\); got \(3, 4\)",
        ),
        (
            lambda: sequence_objective(ROWS, 2 * np.eye(3, 5), problem_type=None),
            r"labels\[0, 0\] must be from 0 to 1, how far a label is right; got 2",
        ),
        (
            lambda: sequence_objective(ROWS[:, :1], ["a", "b", "c"], problem_type=None),
            "labels must be numbers; got dtype",
        ),
        (
            lambda: span_objective(np.zeros((1, 5, 2)), [-1], [2]),
            r"start_positions\[0\] must be a token's place, from 0; got -1",
        ),
        (
            lambda: span_objective(np.zeros((1, 5, 2)), [1], [9]),
            "no answer is within the 5 tok",
        ),
        (
            lambda: span_objective(np.zeros((1, 5, 2)), [1, 2], [2]),
            r"start_positions must have shape",
        ),
        (lambda: span_objective(np.zeros((4, 5, 2)), [[1, 2], [1, 2]], [2] * 4), "must have shape"),
        (
            lambda: label_objective(np.zeros((4, 5)), [[1, 2], [1, 2]]),
            r"shape \(4,\); got \(2, 2\)",
        ),
        (
            lambda: sequence_objective(ROWS[:, :1], [1.0, np.nan, 2.0], problem_type=None),
            r"labels\[1, 0\] must be a finite number; got nan",
        ),
        (
            lambda: sequence_objective(ROWS, -np.eye(3, 5), problem_type=None),
            r"labels\[0, 0\] must be from 0 to 1, .*; got -1",
        ),
        (
            lambda: label_objective(ROWS, np.array([2**64 - 100, 0, 1], np.uint64)),
            "must be from 0 to 4",
        ),
        (lambda: label_objective(np.zeros((0, 5)), np.zeros(0, np.int64)), "must not be empty"),
        (lambda: sequence_objective(np.zeros((0, 1)), [], problem_type=None), "must not be empty"),
    ],
)
def test_labels_that_do_not_fit_are_named(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_a_regression_is_no_mean_over_nothing() -> None:
    with pytest.raises(InputError, match=r"num_items_in_batch must be .*; got 0, and 2 count"):
        sequence_objective(
            np.ones((2, 1)), [1.0, 2.0], problem_type="regression", num_items_in_batch=0
        )
