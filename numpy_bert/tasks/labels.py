"""Labels of texts, and whether one text follows another: logits to scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arguments import as_count
from numpy_bert.arrays import Array
from numpy_bert.config import BertConfig
from numpy_bert.errors import InputError
from numpy_bert.messages import must_be
from numpy_bert.ops.softmax import softmax
from numpy_bert.tasks.activations import TORCH_ACTIVATIONS, activation_of_scores
from numpy_bert.tasks.batches import Batch, TextModel, in_batches
from numpy_bert.text.inputs import as_items, as_pairs

__all__ = [
    "FUNCTIONS",
    "LabelScore",
    "NextSentence",
    "classify",
    "function_for",
    "judge_next",
    "ranked",
    "scores_of",
    "top",
]

FUNCTIONS = ("none", "sigmoid", "softmax")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScore:
    """A label and its score."""

    label: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NextSentence:
    """Whether a text follows another, and the probability that it does."""

    is_next: bool
    score: float


def classify(
    model: TextModel,
    text: str | Sequence[str] | Sequence[tuple[str, str]],
    text_pair: str | Sequence[str] | None,
    top_k: int | None,
    function_to_apply: str | None,
) -> list[Any]:
    """Score labels; see `numpy_bert.BertForSequenceClassification.classify`."""
    single, items = as_items(text, text_pair)
    count = None if top_k is None else as_count("top_k", top_k)
    function = _function(model.config, function_to_apply)

    def score(batch: Batch) -> list[list[LabelScore]]:
        scores = function(model(**batch.inputs).logits)
        return [ranked(row, model.config.labels, count) for row in scores]

    found = in_batches(model, items, score)
    return found[0] if single else found


def _function(config: BertConfig, asked: str | None) -> Callable[[Array], Array]:
    """Return the function that is asked for, or the model's own; refuse what is none at once."""
    stated = activation_of_scores(config, stacklevel=5) if asked is None else None
    if stated is not None:
        return np.errstate(all="ignore")(TORCH_ACTIVATIONS[stated])
    name = function_for(config.problem_type, config.num_labels) if asked is None else asked
    scores_of(np.zeros(1), name)
    return partial(scores_of, function=name)


def judge_next(model: TextModel, text: str | Sequence[str], text_pair: str | Sequence[str]) -> Any:
    """Judge pairs of texts; see `numpy_bert.BertForNextSentencePrediction.is_next`."""
    single, items = as_pairs(text, text_pair, ("text", "text_pair"))

    def judge(batch: Batch) -> list[NextSentence]:
        scores = softmax(model(**batch.inputs).logits)[:, 0]  # label 0: it does follow
        return [NextSentence(is_next=score > 0.5, score=score) for score in scores.tolist()]

    found = in_batches(model, items, judge)
    return found[0] if single else found


def function_for(problem_type: str | None, num_labels: int) -> str:
    """Return what turns logits into scores, as transformers' text-classification pipeline does.

    Examples
    --------
    >>> function_for(None, 1), function_for(None, 3), function_for("regression", 1)
    ('sigmoid', 'softmax', 'none')
    """
    if problem_type == "regression":
        return "none"
    if problem_type == "multi_label_classification" or num_labels == 1:
        return "sigmoid"
    return "softmax"


@np.errstate(all="ignore")
def scores_of(logits: Array, function: str) -> Array:
    """Apply one of `FUNCTIONS` to logits (..., K).

    Raises
    ------
    InputError
        If there is no such function.

    Examples
    --------
    >>> scores_of(np.array([0.0, 0.0]), "softmax"), scores_of(np.array([0.0]), "sigmoid")
    (array([0.5, 0.5]), array([0.5]))
    """
    if not isinstance(function, str) or function not in FUNCTIONS:
        wanted = f"one of {', '.join(map(repr, FUNCTIONS))}"
        raise InputError(must_be("function_to_apply", wanted, function))
    if function == "none":
        return logits
    if function == "softmax":
        return softmax(logits)
    one = logits.dtype.type(1.0)
    return one / (one + np.exp(-logits))  # exp of a large number is inf, whose inverse is 0


def ranked(scores: Array, labels: Sequence[str], top_k: int | None) -> list[LabelScore]:
    """Return the `top_k` best labels of scores (K,), all of them by default, the best first."""
    return [
        LabelScore(label=labels[index], score=float(scores[index]))
        for index in top(scores, len(labels) if top_k is None else top_k).tolist()
    ]


def top(scores: Array, count: int) -> npt.NDArray[np.intp]:
    """Return the indices of the best scores (n,), best first; of equal ones the first comes first.

    Examples
    --------
    >>> top(np.array([1.0, 3.0, 2.0, 3.0]), 3)
    array([1, 3, 2])
    """
    count = min(count, len(scores))
    if count == 0:
        return np.empty(0, dtype=np.intp)
    least = np.partition(scores, len(scores) - count)[len(scores) - count]
    candidates = np.flatnonzero(scores >= least)
    order = np.argsort(-scores[candidates], kind="stable")
    best: npt.NDArray[np.intp] = candidates[order][:count]
    return best
