"""What the labels of a table mean: classes, or numbers to be met by a regression."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from numpy_bert.errors import InputError
from numpy_bert.messages import listed, quoted
from numpy_bert.reprs import short_repr
from numpy_bert.training.text_files import NUMBER, as_number

__all__ = ["REGRESSION", "SINGLE", "Targets", "label_numbers", "targets_of"]

REGRESSION, SINGLE = "regression", "single_label_classification"
_LEAST = 2
_INTEGER = re.compile(r"[+-]?[0-9]{1,300}")
# A number that is not there, as programs write it.
_MISSING = re.compile(
    r"[+-]?(nan|inf|infinity)|#?n[./]?a\.?|nat|<na>|null|none|[-\u2013\u2014?.*_#~/\\()\[\]{}\s]*",
    re.IGNORECASE,
)
# Numbers that are written in another way: with a decimal comma, with something between thousands,
# with a sign of their unit, or with a minus that is no hyphen.
_UNIT = "[%\u2030$\u20ac\u00a3\u00a5]?"
_ODD_NUMBER = re.compile(
    rf"[+\-\u2212]?\s?{_UNIT}\s?("
    r"[0-9]+(,[0-9]+)+(\.[0-9]*)?"
    r"|[0-9]{1,3}([.'\u2019 \u00a0\u2009\u202f][0-9]{3})+([.,][0-9]*)?"
    r"|[0-9]+(\.[0-9]*)?|[.,][0-9]+"
    rf")([eE][+\-\u2212]?[0-9]+)?\s?{_UNIT}"
)
# Each comma and each blank is looked at once, however many there are.
_LIST = re.compile(r"\[.*\]|\{.*\}|\([^,]*,.*\)|[01](\s+[01])+", re.DOTALL)
_JOINED = re.compile("[|;]")
_OTHERWISE = "problem_type='single_label_classification' takes each for the name of a class."


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What a table's labels mean.

    Attributes
    ----------
    problem_type : {"regression", "single_label_classification"}
        What is learned, as transformers' config names it.
    names : tuple of str
        The classes in their order; for a regression the one name that transformers gives it.
    values : list of int, or of float
        The number of each row's class; for a regression each row's number.
    """

    __repr__ = short_repr

    problem_type: str
    names: tuple[str, ...]
    values: list[int] | list[float]

    @property
    def note(self) -> str:
        """A sentence that says what was decided."""
        if self.problem_type == REGRESSION:
            return (
                "the labels are numbers, which a regression learns; "
                "problem_type='single_label_classification' makes classes of them"
            )
        numeric = all(map(NUMBER.fullmatch, self.names))
        other = "; problem_type='regression' takes them as numbers" if numeric else ""
        return f"{len(self.names)} classes: {listed(self.names, 10)}{other}"

    def of(self, labels: Sequence[str], where: str) -> list[int] | list[float]:
        """Return what the labels of another table mean, by the same rule.

        Raises
        ------
        InputError
            If a label is none of the classes, or no number; the first such row is named.
        """
        if self.problem_type == REGRESSION:
            return _numbers(labels, where)
        return label_numbers(list(labels), self.names, where)


def targets_of(labels: Sequence[str], where: str, problem_type: str | None = None) -> Targets:
    """Decide what labels mean, each as it is written, without blanks around it.

    As in transformers' examples numbers with a fraction or an exponent are a regression, integers
    and words are classes. Classes that are numbers stand in the order of these, others in that of
    their text. Integers and words together are words; other numbers among words are refused, as is
    NaN or NA among numbers. A number in another spelling than Python's, such as 0,5 or 50%, is
    refused, for its order as text is none. A label that is several, as in ``a|b``, is refused too;
    with a comma only where each part is the label of another text.

    Parameters
    ----------
    labels : sequence of str
        The label of each text.
    where : str
        What messages call the file.
    problem_type : {"regression", "single_label_classification"}, optional
        What the labels are, whatever they look like.

    Raises
    ------
    InputError
        If the labels are neither, or several of a text, or all alike; the row is named.

    References
    ----------
    .. [1] transformers, examples/pytorch/text-classification/run_glue.py, is_regression.

    Examples
    --------
    >>> targets_of(["10", "2", "2"], "a.csv")
    Targets(problem_type='single_label_classification', names=('2', '10'), values=[1, 0, 0])
    >>> targets_of(["0.5", "1"], "a.csv")
    Targets(problem_type='regression', names=('LABEL_0',), values=[0.5, 1.0])
    """
    if problem_type is None:
        _check_one_each(labels, where)
        _check_spelling(labels, where)
        problem_type = _problem_of(labels, where)
    if problem_type == REGRESSION:
        values = _numbers(labels, where)
        if len(set(values)) < _LEAST:
            raise InputError(
                f"{where}: there must be two different labels at least; got one, {values[0]:g}."
            )
        return Targets(problem_type=REGRESSION, names=("LABEL_0",), values=values)
    names = _in_order(set(labels), where)
    if len(names) < _LEAST:
        raise InputError(
            f"{where}: there must be two different labels at least; got one, {listed(names)}."
        )
    values_of_classes = label_numbers(list(labels), names, where)
    return Targets(problem_type=SINGLE, names=names, values=values_of_classes)


def label_numbers(labels: list[str], names: tuple[str, ...], where: str) -> list[int]:
    """Return the number of each label among the names.

    Raises
    ------
    InputError
        If a label is none of the names; the first such row is named.
    """
    numbers = {name: number for number, name in enumerate(names)}
    for row, label in enumerate(labels, 1):
        if label not in numbers:
            raise InputError(
                f"{where}: row {row}: label {quoted(label)} is none of {listed(names, 10)}."
            )
    return [numbers[label] for label in labels]


def _problem_of(labels: Sequence[str], where: str) -> str:
    """Return whether labels are classes or numbers, by how they are written."""
    numbers = [label for label in labels if NUMBER.fullmatch(label)]
    has_floats = any(not _INTEGER.fullmatch(label) for label in numbers)
    if len(numbers) == len(labels):
        return REGRESSION if has_floats else SINGLE
    for row, label in enumerate(labels, 1):
        is_word = not NUMBER.fullmatch(label)
        if numbers and is_word and (has_floats or _MISSING.fullmatch(label)):
            raise InputError(
                f"{where}: row {row}: label {quoted(label)} is no number, as {numbers[0]} and "
                f"others are; mend it, or leave the row out. {_OTHERWISE}"
            )
    return SINGLE


def _check_one_each(labels: Sequence[str], where: str) -> None:
    """Refuse several labels of a text: lists, and labels that are joined."""
    whole = set(labels)
    for row, label in enumerate(labels, 1):
        joined = [part for part in _JOINED.split(label) if part.strip()]
        parts = [part.strip() for part in label.split(",")]
        is_listed = len(parts) > 1 and whole.issuperset(parts)
        if len(joined) > 1 or is_listed or _LIST.fullmatch(label):
            raise InputError(
                f"{where}: row {row}: label {quoted(label)} is several labels of a text "
                "(multi_label_classification), which are not trained here; give one. "
                f"{_OTHERWISE}"
            )


def _check_spelling(labels: Sequence[str], where: str) -> None:
    """Refuse numbers that are written so that they would be words, and be ordered as words."""
    for row, label in enumerate(labels, 1):
        if _is_odd(label):
            raise InputError(
                f"{where}: row {row}: label {quoted(label)} is a number with more than digits and "
                f"a point in it; write numbers as in 1000.5. {_OTHERWISE}"
            )


def _is_odd(label: str) -> bool:
    """Tell whether a label is a number to people, and not in a table."""
    return not NUMBER.fullmatch(label) and _ODD_NUMBER.fullmatch(label) is not None


def _numbers(labels: Sequence[str], where: str) -> list[float]:
    """Return labels as finite numbers."""
    found = list(map(as_number, labels))
    for row, (label, value) in enumerate(zip(labels, found, strict=True), 1):
        if not math.isfinite(value):
            raise InputError(
                f"{where}: row {row}: label {quoted(label)} is no finite number; a regression "
                + (
                    "reads numbers as in 1000.5, with nothing but digits and a point."
                    if _is_odd(label)
                    else f"learns these alone. {_OTHERWISE}"
                )
            )
    return found


def _in_order(names: set[str], where: str) -> tuple[str, ...]:
    """Return classes by their numbers where all have one, else by their text."""
    for pattern, number in ((_INTEGER, int), (NUMBER, float)):
        if not all(map(pattern.fullmatch, names)):
            continue
        ordered = sorted(names, key=lambda name: (number(name), name))
        for one, other in pairwise(ordered):
            if number(one) == number(other):
                raise InputError(
                    f"{where}: the labels {one} and {other} are one number; write it in one way, "
                    "or two classes would be made of it."
                )
        return tuple(ordered)
    return tuple(sorted(names))
