"""numpy_bert.tasks.labels: functions of logits, and the best of scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_bert.errors import InputError
from numpy_bert.tasks.fill import mask_places
from numpy_bert.tasks.labels import LabelScore, function_for, ranked, scores_of, top


@given(
    values=st.lists(st.integers(-3, 3), max_size=30),
    count=st.integers(0, 40),
)
def test_top_is_a_stable_sort(values: list[int], count: int) -> None:
    expected = sorted(range(len(values)), key=lambda i: -values[i])[:count]
    assert top(np.array(values, float), count).tolist() == expected


def test_functions(dtype: str) -> None:
    logits = np.array([-1e4, 0.0, 1e4], dtype)
    np.testing.assert_array_equal(scores_of(logits, "sigmoid"), [0, 0.5, 1])
    np.testing.assert_array_equal(scores_of(logits, "softmax"), [0, 0, 1])
    assert scores_of(logits, "none") is logits
    assert scores_of(logits, "sigmoid").dtype == dtype
    with pytest.raises(
        InputError, match=r"function_to_apply must be one of 'none', 'sigmoid', .*; got 'relu'"
    ):
        scores_of(logits, "relu")


@pytest.mark.parametrize(
    ("problem", "count", "function"),
    [
        (None, 1, "sigmoid"),
        (None, 2, "softmax"),
        ("single_label_classification", 2, "softmax"),
        ("multi_label_classification", 2, "sigmoid"),
        ("regression", 1, "none"),
        ("regression", 3, "none"),
    ],
)
def test_the_function_is_transformers(problem: str | None, count: int, function: str) -> None:
    assert function_for(problem, count) == function


def test_labels_are_ranked() -> None:
    scores = np.array([0.25, 0.5, 0.25])
    best = [LabelScore(label="b", score=0.5), LabelScore(label="a", score=0.25)]
    assert ranked(scores, ["a", "b", "c"], 2) == best
    assert len(ranked(scores, ["a", "b", "c"], None)) == 3


def test_masks_are_found() -> None:
    assert mask_places([7, 4, 4], 4, "text", "[MASK]", "a [MASK]") == [1, 2]
    with pytest.raises(InputError, match=r"^text\[2\] has no <m>; write it"):
        mask_places([7], 4, "text[2]", "<m>", "a")
