"""The labels of a classifier, as config.json names them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy_bert.errors import ConfigError
from numpy_bert.messages import listed, must_be, quoted, shown
from numpy_bert.reprs import short_repr

__all__ = [
    "LABEL_MEMBERS",
    "StatedLabels",
    "asked_labels",
    "check_labels",
    "fits_problem",
    "named_labels",
    "read_labels",
]

LABEL_MEMBERS = ("id2label", "label2id", "num_labels", "problem_type")

# Labels without names get names, and those take memory.
_MOST_LABELS = 1 << 16
_DEFAULT = 2
_PROBLEMS = ("regression", "single_label_classification", "multi_label_classification")
# A label's number, as a key of id2label or as text in label2id.
_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,9}\s*", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StatedLabels:
    """What a config.json says about labels, be it right or wrong: only a head judges it.

    Attributes
    ----------
    names : mapping of int to str, or None
        The names of id2label; None where there is none that can be read.
    count : int or None
        The num_labels; None where there is none, or none that makes sense.
    problem_type : str or None
        The problem_type; None where there is none that transformers knows.
    faults : tuple of str
        Which of id2label and num_labels cannot be read, and why, as sentences.
    notes : tuple of str
        What else is odd, as sentences.
    """

    __repr__ = short_repr

    names: Mapping[int, str] | None
    count: int | None
    problem_type: str | None
    faults: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of as many labels as are stated; id2label counts first."""
        count = len(self.names) if self.names else self.count
        return named_labels(self.names, count or _DEFAULT)

    def fitted(self, rows: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the names of a classifier's rows, and notes on them.

        The rows decide between id2label and num_labels where the two contradict each other.

        Raises
        ------
        ConfigError
            If neither has as many labels as there are rows.

        Examples
        --------
        >>> read_labels({"id2label": {"0": "no", "1": "yes"}, "num_labels": 3}).fitted(2)[0]
        ('no', 'yes')
        >>> read_labels({"id2label": {"0": "no", "1": "yes"}, "num_labels": 3}).fitted(3)[0]
        ('LABEL_0', 'LABEL_1', 'LABEL_2')
        """
        count = _DEFAULT if self._is_silent else self.count
        if self.names is not None and len(self.names) == rows:
            notes = [*self.faults, *self.notes, *self._unnamed(rows)]
            if self.count not in (None, rows):
                notes.append(f"num_labels = {self.count} was not read: id2label names {rows}.")
            return named_labels(self.names, rows), tuple(notes)
        if count == rows:
            notes = [*self.faults, *self.notes]
            if self.names is not None:
                notes.append(
                    f"id2label names {len(self.names)} labels and was not read: num_labels = "
                    f"{count}, as many as the classifier has rows; they are LABEL_0 and so on, as "
                    "in transformers."
                )
            return named_labels(None, rows), tuple(notes)
        raise ConfigError(
            f"the classifier has {rows} rows, {self._told()}; write the labels' names into "
            "id2label, one for each row."
        )

    @property
    def _is_silent(self) -> bool:
        """Whether nothing is said at all; two labels are meant then."""
        return self.names is None and self.count is None and not self.faults

    def _unnamed(self, rows: int) -> list[str]:
        """Say where the numbers of id2label are not those of the rows."""
        names = self.names or {}
        lacking = [str(row) for row in range(rows) if row not in names]
        if not lacking:
            return []
        beyond = [f"{number} ({name})" for number, name in names.items() if not 0 <= number < rows]
        return [
            f"id2label has no name for the classifier's rows {listed(lacking)}, which are called "
            f"LABEL_{lacking[0]} and so on, and names {listed(beyond)}, which are no rows; "
            "transformers counts them from 0, too."
        ]

    def _told(self) -> str:
        """Say how many labels are stated where."""
        if self._is_silent:
            return f"config.json names no labels, by which {_DEFAULT} are meant"
        told = [fault.rstrip(".") for fault in self.faults]
        if self.names is not None:
            told.append(f"id2label names {len(self.names)} labels")
        if self.count is not None:
            told.append(f"num_labels = {self.count}")
        return ", ".join(told)


def read_labels(values: Mapping[str, Any]) -> StatedLabels:
    """Read what a config.json says about labels; nothing that stands there raises an error.

    Parameters
    ----------
    values : mapping
        Its members, of which id2label, label2id, num_labels and problem_type are read.

    Examples
    --------
    >>> read_labels({"id2label": {"0": "no", "1": "yes"}}).labels
    ('no', 'yes')
    >>> read_labels({"num_labels": 3}).labels
    ('LABEL_0', 'LABEL_1', 'LABEL_2')
    """
    faults, notes = list[str](), list[str]()
    count, stated = values.get("num_labels"), values.get("id2label")
    if count is not None and (type(count) is not int or not 1 <= count <= _MOST_LABELS):
        faults.append(must_be("num_labels", f"an integer from 1 to {_MOST_LABELS:,}", count))
        count = None
    names = None
    # An empty one says nothing, as in transformers, if num_labels does.
    if stated is not None and not (stated == {} and count is not None):
        names = _by_number(stated, faults, notes)
    if names is not None and values.get("label2id") is not None:
        notes += _compared(values["label2id"], names)
    problem = values.get("problem_type")
    if problem is not None and problem not in _PROBLEMS:
        notes.append(
            f"problem_type = {shown(problem)} was not read; known are {', '.join(_PROBLEMS)}."
        )
        problem = None
    return StatedLabels(
        names=names,
        count=count,
        problem_type=problem,
        faults=tuple(faults),
        notes=tuple(notes),
    )


def check_labels(labels: object, problem: object) -> None:
    """Raise ConfigError unless labels are strings and fit the problem that they are for."""
    if type(labels) is not tuple or not labels:
        raise ConfigError(must_be("labels", "a tuple of at least one name", labels))
    for number, label in enumerate(labels):
        if not isinstance(label, str):
            raise ConfigError(must_be(f"id2label: label {number}", "a string", label))
    if problem is not None and problem not in _PROBLEMS:
        raise ConfigError(must_be("problem_type", f"one of {', '.join(_PROBLEMS)}", problem))
    if not fits_problem(labels, problem):
        raise ConfigError(
            "problem_type = 'single_label_classification' must have at least 2 labels (num_labels, "
            "id2label); got 1."
        )


def fits_problem(labels: tuple[str, ...], problem: object) -> bool:
    """Tell whether there are as many labels as a known problem needs."""
    return problem != "single_label_classification" or len(labels) > 1


def named_labels(names: Mapping[int, str] | None = None, count: int = _DEFAULT) -> tuple[str, ...]:
    """Return the name of each label; a number without a name gets one.

    Examples
    --------
    >>> named_labels({1: "yes"}, 2)
    ('LABEL_0', 'yes')
    """
    return tuple((names or {}).get(number, f"LABEL_{number}") for number in range(count))


def asked_labels(
    labels: tuple[str, ...], num_labels: object, id2label: object, label2id: object
) -> tuple[str, ...]:
    """Return the names of the labels that are asked for, in the words of transformers.

    Parameters
    ----------
    labels : tuple of str
        The names that there are; they stay where as many are asked for without names.
    num_labels : int, optional
        How many there are to be.
    id2label, label2id : mapping, optional
        Their names by their numbers, or their numbers by their names; of both, one turned round.

    Raises
    ------
    ConfigError
        If they are not what they must be, or contradict each other.

    Examples
    --------
    >>> asked_labels(("no", "yes"), 2, None, None), asked_labels(("no", "yes"), 3, None, None)
    (('no', 'yes'), ('LABEL_0', 'LABEL_1', 'LABEL_2'))
    >>> asked_labels(("no", "yes"), None, {0: "sun", 1: "rain", 2: "snow"}, None)
    ('sun', 'rain', 'snow')
    """
    if num_labels is not None and (
        type(num_labels) is not int or not 1 <= num_labels <= _MOST_LABELS
    ):
        raise ConfigError(
            must_be("num_labels", f"an integer from 1 to {_MOST_LABELS:,}", num_labels)
        )
    found = _asked_names("id2label", id2label)
    turned = label2id
    if isinstance(label2id, Mapping):
        turned = {number: name for name, number in label2id.items()}
    by_name = _asked_names("label2id", turned)
    if found is not None and by_name not in (None, found):
        raise ConfigError(must_be("label2id", "id2label turned round", label2id))
    found = by_name if found is None else found
    if found is None:
        count = len(labels) if num_labels is None else num_labels
        return labels if count == len(labels) else named_labels(count=count)
    if num_labels not in (None, len(found)):
        raise ConfigError(
            f"num_labels = {num_labels}, and {len(found)} labels are named; leave num_labels out."
        )
    return found


def _asked_names(member: str, stated: object) -> tuple[str, ...] | None:
    """Return the names of labels in the order of their numbers, which must be 0, 1 and so on."""
    if stated is None:
        return None
    if isinstance(stated, Mapping) and 1 <= len(stated) <= _MOST_LABELS:
        names = {str(number).strip(): name for number, name in stated.items()}
        wanted = [str(number) for number in range(len(stated))]
        if sorted(names) == sorted(wanted):
            return tuple(names[number] for number in wanted)
    raise ConfigError(
        must_be(member, "an object of labels with the numbers 0, 1 and so on", stated)
    )


def _by_number(stated: object, faults: list[str], notes: list[str]) -> dict[int, str] | None:
    """Return the names of id2label by their numbers; None, and a fault, where there are none."""
    if not isinstance(stated, Mapping) or not 1 <= len(stated) <= _MOST_LABELS:
        faults.append(must_be("id2label", f"an object of 1 to {_MOST_LABELS:,} labels", stated))
        return None
    wrong = [number for number in stated if not _NUMBER.fullmatch(str(number))]
    names = {} if wrong else {int(number): name for number, name in stated.items()}
    if len(names) < len(stated):
        what = f"{quoted(str(wrong[0]))} is none" if wrong else "one stands there twice"
        faults.append(f"id2label: its keys must be the numbers of labels; {what}.")
        return None
    odd = [number for number, name in names.items() if not isinstance(name, str)]
    if odd:
        notes.append(
            f"id2label: label {odd[0]} is {shown(names[odd[0]])}, which is no text; such "
            "labels go by what is written there."
        )
    # What json.dumps writes is what stood there, as good as that can be said.
    return {n: name if isinstance(name, str) else json.dumps(name) for n, name in names.items()}


def _compared(numbers: object, names: Mapping[int, str]) -> list[str]:
    """Say where label2id is not id2label turned round: nothing reads it."""
    inverse = {name: number for number, name in reversed([*names.items()])}
    if numbers == inverse:
        return []
    why = "is not id2label turned round"
    if isinstance(numbers, Mapping):
        as_text = all(isinstance(n, str) and _NUMBER.fullmatch(n) for n in numbers.values())
        if as_text and {label: int(n) for label, n in numbers.items()} == inverse:
            why = "has its numbers as text"
    return [f"label2id {why} and was not read; labels go by id2label."]
