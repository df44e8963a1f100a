"""The labels of a classifier, as config.json names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy_bert.errors import ConfigError
from numpy_bert.files import quoted

__all__ = ["LABEL_MEMBERS", "check_labels", "read_labels"]

LABEL_MEMBERS = ("id2label", "label2id", "num_labels")

# Labels without names get names, and those take memory.
_MOST_LABELS = 1 << 16
_PROBLEMS = ("regression", "single_label_classification", "multi_label_classification")


def read_labels(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the names of labels that the members of a config.json agree on.

    Parameters
    ----------
    values : mapping
        The members; of them id2label, label2id and num_labels are read.

    Returns
    -------
    dict
        ``labels``, a tuple of str; nothing where neither id2label nor num_labels is there.

    Raises
    ------
    ConfigError
        Naming the member that is malformed, or that contradicts another.

    Examples
    --------
    >>> read_labels({"id2label": {"0": "no", "1": "yes"}})
    {'labels': ('no', 'yes')}
    >>> read_labels({"num_labels": 3})
    {'labels': ('LABEL_0', 'LABEL_1', 'LABEL_2')}
    """
    count, names = values.get("num_labels"), values.get("id2label")
    if count is not None and (type(count) is not int or not 1 <= count <= _MOST_LABELS):
        raise ConfigError(
            f"num_labels = {quoted(repr(count))}; an integer from 1 to {_MOST_LABELS:,} was "
            "expected."
        )
    if names is None and count is None:
        return {}
    if names is None:
        labels = tuple(f"LABEL_{number}" for number in range(count or 0))
    else:
        labels = _names_in_order(names)
    if count is not None and count != len(labels):
        raise ConfigError(
            f"num_labels = {count}, but id2label names {len(labels)} labels; keep the right one."
        )
    if names is not None and values.get("label2id") is not None:
        _check_inverse(values["label2id"], labels)
    return {"labels": labels}


def check_labels(labels: object, problem: object) -> None:
    """Raise ConfigError unless labels are strings and fit the problem that they are for."""
    if type(labels) is not tuple or not labels:
        raise ConfigError(
            f"labels = {quoted(repr(labels))}; a tuple of at least one name was expected."
        )
    for number, label in enumerate(labels):
        if not isinstance(label, str):
            raise ConfigError(
                f"id2label: label {number} is {quoted(repr(label))}; a string was expected."
            )
    if problem is not None and problem not in _PROBLEMS:
        raise ConfigError(
            f"problem_type = {quoted(repr(problem))} is not supported; "
            f"known are {', '.join(_PROBLEMS)}."
        )
    if problem == "single_label_classification" and len(labels) == 1:
        raise ConfigError(
            "problem_type = 'single_label_classification' with 1 label (num_labels, id2label); "
            "choosing takes at least two."
        )


def _names_in_order(names: object) -> tuple[str, ...]:
    """Return the labels of id2label, whose keys are the numbers from 0, written as strings."""
    if not isinstance(names, Mapping) or not 1 <= len(names) <= _MOST_LABELS:
        raise ConfigError(
            f"id2label = {quoted(repr(names))}; an object of 1 to {_MOST_LABELS:,} labels was "
            "expected."
        )
    by_number = {str(number): name for number, name in names.items()}
    for number in map(str, range(len(names))):
        if number not in by_number:
            found = quoted(", ".join(by_number))
            raise ConfigError(
                f"id2label: has {len(names)} labels, but none numbered {number}; the numbers from "
                f"0 were expected, there are {found}."
            )
    return tuple(by_number[str(number)] for number in range(len(names)))


def _check_inverse(numbers: object, labels: tuple[str, ...]) -> None:
    """Raise ConfigError unless label2id says what id2label says."""
    if not isinstance(numbers, Mapping):
        raise ConfigError(f"label2id = {quoted(repr(numbers))}; an object was expected.")
    for label, number in numbers.items():
        inside = type(number) is int and 0 <= number < len(labels)
        if not inside or labels[number] != label:
            other = f"names {number} {quoted(labels[number])}" if inside else "has no such number"
            raise ConfigError(
                f"label2id: {quoted(label)} is {quoted(repr(number))}, but id2label {other}; make "
                "them agree, or leave label2id out."
            )
    unnamed = [label for label in labels if label not in numbers]
    if unnamed:
        raise ConfigError(
            f"label2id: lacks {quoted(unnamed[0])}, which id2label names; make them agree, or "
            "leave label2id out."
        )
