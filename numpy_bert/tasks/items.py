"""How many labels each loss is a mean over: those of a batch, or of all batches of a step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from numpy_bert.arguments import as_count
from numpy_bert.arrays import as_array, as_ids
from numpy_bert.ops.losses import IGNORED

__all__ = [
    "Items",
    "added_items",
    "items_of",
    "label_items",
    "problem_of",
    "sequence_items",
    "span_items",
    "token_items",
]

# How many labels a loss is divided by; where there are several losses, a number for each, by the
# name of its labels.
Items: TypeAlias = "int | Mapping[str, Items]"


def added_items(items: Iterable[Items]) -> Items:
    """Add up the numbers of labels of several batches, name by name.

    Examples
    --------
    >>> added_items([{"words": {"labels": 3}}, {"words": {"labels": 4}}])
    {'words': {'labels': 7}}
    """

    def add(first: Any, second: Any) -> Any:
        if isinstance(first, Mapping):
            return {name: add(part, second[name]) for name, part in first.items()}
        return first + second

    return reduce(add, items)


def items_of(items: Items, name: str) -> int:
    """Return the number of labels of one loss; an int is the number of every loss.

    Raises
    ------
    InputError
        If there is no number for this loss, or it is no whole number from 0.

    Examples
    --------
    >>> items_of(7, "labels"), items_of({"labels": 3, "next_sentence_label": 2}, "labels")
    (7, 3)
    """
    found = items.get(name) if isinstance(items, Mapping) else items
    return as_count(f"num_items_in_batch for {name}", found, least=0)


def label_items(labels: npt.ArrayLike, *, name: str = "labels") -> int:
    """Return how many labels count, which `label_objective` is a mean over: those not -100.

    Examples
    --------
    >>> label_items([[3, -100], [-100, 0]])
    2
    """
    return int(np.count_nonzero(as_ids(labels, name=name) != IGNORED))


def sequence_items(labels: npt.ArrayLike, classes: int, *, problem_type: str | None) -> int:
    """Return how many labels `sequence_objective` is a mean over.

    For one label of several these are the labels that are not -100, else all numbers: -100 is a
    number like others in a regression.

    Examples
    --------
    >>> sequence_items([-100, 3], 5, problem_type=None), sequence_items([-100, 3], 1,
    ...     problem_type=None), sequence_items([[0.0, 1.0]], 2, problem_type=None)
    (1, 2, 2)
    """
    given = as_array(labels, "labels")
    if problem_of(given, classes, problem_type) == "single_label_classification":
        return label_items(given)
    return given.size


def span_items(positions: npt.ArrayLike, length: int, *, name: str) -> int:
    """Return how many places are among the tokens, which `span_objective` is a mean over.

    Examples
    --------
    >>> span_items([0, 6, 99], 7, name="start_positions")
    2
    """
    return int(np.count_nonzero(as_ids(positions, name=name) < length))


def token_items(labels: npt.ArrayLike, attention_mask: npt.ArrayLike | None, *, name: str) -> int:
    """Return how many tokens are no padding, which `replaced_objective` is a mean over.

    Examples
    --------
    >>> token_items([[0, 1, 0]], [[1, 1, 0]], name="labels"), token_items([[0, 1]], None, name="")
    (2, 2)
    """
    if attention_mask is None:
        return as_array(labels, name).size
    return int(np.count_nonzero(as_array(attention_mask, "attention_mask")))


def problem_of(labels: npt.NDArray[Any], classes: int, problem_type: str | None) -> str:
    """Return the problem type, or what transformers takes it for where none is stated.

    Examples
    --------
    >>> problem_of(np.array([1, 0]), 2, None), problem_of(np.array([0.5, 2.0]), 1, None)
    ('single_label_classification', 'regression')
    """
    if problem_type is not None:
        return problem_type
    if classes == 1:
        return "regression"
    is_one = labels.dtype.kind in "iu"
    return "single_label_classification" if is_one else "multi_label_classification"
