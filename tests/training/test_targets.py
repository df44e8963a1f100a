"""What labels mean, as they are written: classes in their order, or a regression's numbers."""

from __future__ import annotations

import pytest

from numpy_bert import InputError
from numpy_bert.training.targets import targets_of
from tests.support.limits import within

REGRESSION, SINGLE = "regression", "single_label_classification"


@pytest.mark.parametrize(
    "labels", [["0.0", "0.5", "1.0"], ["1e3", "-2"], [".5", "3."], ["1.0", "2.0"]]
)
def test_numbers_with_a_fraction_or_an_exponent_are_a_regression(labels: list[str]) -> None:
    found = targets_of(labels, "a.csv")
    assert found.problem_type == REGRESSION
    assert found.names == ("LABEL_0",)
    assert found.values == [float(label) for label in labels]
    assert found.note.startswith("the labels are numbers, which a regression learns; problem_type=")
    assert found.of(["7"], "b.csv") == [7.0]


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["10", "2", "-1", "2"], ("-1", "2", "10")),
        (["b", "a", "B"], ("B", "a", "b")),
        (["2", "10", "other"], ("10", "2", "other")),
        (["True", "False"], ("False", "True")),
        (["None", "nan", "x"], ("None", "nan", "x")),
        (["1_000", "2"], ("1_000", "2")),  # no number but to Python
        (["\u0663.5", "\u0664.5"], ("\u0663.5", "\u0664.5")),
        (["Paris, TX", "Dallas, TX"], ("Dallas, TX", "Paris, TX")),
        (["(a)", "(b)"], ("(a)", "(b)")),
        (["Smith, John", "Smith, Jane", "Smith"], ("Smith", "Smith, Jane", "Smith, John")),
        (["a, b", "b, c", "a"], ("a", "a, b", "b, c")),
        ([":|", ";)"], (":|", ";)")),
        (["1.2.3", "1.2.4"], ("1.2.3", "1.2.4")),
        (["-", "?"], ("-", "?")),
        (["2020-01-02", "2021-01-02"], ("2020-01-02", "2021-01-02")),
    ],
)
def test_integers_and_words_are_classes(labels: list[str], names: tuple[str, ...]) -> None:
    found = targets_of(labels, "a.csv")
    assert (found.problem_type, found.names) == (SINGLE, names)
    assert [found.names[int(value)] for value in found.values] == labels
    assert found.note.startswith(f"{len(names)} classes: ")
    assert ("problem_type='regression'" in found.note) == all(
        n.lstrip("-").isdigit() for n in names
    )
    with pytest.raises(InputError, match=r"b\.csv: row 2: label new is none of"):
        found.of([labels[0], "new"], "b.csv")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["0.5", "bad"], "row 2: label bad is no number, as 0.5 and others are"),
        (["good", "0.5"], "row 1: label good is no number"),
        (["0.5", "nan"], "row 2: label nan is no number"),
        (["1", "2", "NaN"], "row 3: label NaN is no number"),
        (["1", "-inf"], "row 2: label -inf is no number"),
        (["1", "N/A"], "row 2: label N/A is no number"),
        (["0.5", "1_000"], "row 2: label 1_000 is no number"),
        (["0.5", "1e999"], "row 2: label 1e999 is no finite number"),
        (["1", "01"], "the labels 01 and 1 are one number"),
        (["x", "x"], "must be two different labels at least; got one, x"),
        (["3", "3"], "must be two different labels at least; got one, 3"),
        (["0.5", "0.5"], "must be two different labels at least; got one, 0.5"),
        (
            ["[0, 1]", "[1]"],
            r"row 1: label \[0, 1\] is several labels .*multi_label_classification",
        ),
        (["(0, 1)", "(1, 1)"], "row 1: label .* is several labels"),
        (["joy", "joy|anger", "anger"], r"row 2: label joy\|anger is several labels"),
        (["a;b", "b;c", "c;a"], "row 1: label a;b is several labels"),
        (["a", "b", "a, b"], "row 3: label a, b is several labels"),
        (["a|b", "c|d"], r"row 1: label a\|b is several labels"),
        (["x", "c ; d"], "row 2: label c ; d is several labels"),
        (["{a}", "b"], r"row 1: label \{a\} is several labels"),
        (["[a]", "b"], r"row 1: label \[a\] is several labels"),
        (["0 1 0", "1 0 0"], "row 1: label 0 1 0 is several labels"),
        (["0,5", "1,5"], r"row 1: label 0,5 is a number .* write numbers as in 1000\.5"),
        (["1", "2", "1,2"], "row 3: label 1,2 is several labels"),
        (["900", "1,000"], "row 2: label 1,000 is a number"),
        (["1.5", "1,000.5"], "row 2: label 1,000.5 is a number"),
        (["1.000.000", "2"], "row 1: label 1.000.000 is a number"),
        (["1 000", "2"], "row 1: label 1 000 is a number"),
        (["1'000", "2"], "row 1: label 1'000 is a number"),
        (["1\u00a0000", "2"], "row 1: label .* is a number"),
        (["1.000,5", "2"], r"row 1: label 1\.000,5 is a number"),
        (["12,34,567", "2"], "row 1: label 12,34,567 is a number"),
        (["50%", "100%"], "row 1: label 50% is a number"),
        (["50 %", "100 %"], "row 1: label 50 % is a number"),
        (["$5", "$10"], r"row 1: label \$5 is a number"),
        (["\u22121", "1"], "row 1: label \u22121 is a number"),
        (["1,5e3", "1"], "row 1: label 1,5e3 is a number"),
        (["1", "-"], "row 2: label - is no number"),
        (["1", "?", "2"], r"row 2: label \? is no number"),
        (["0.5", "()"], r"row 2: label \(\) is no number"),
        (["1", ""], "row 2: label '' is no number"),
        (["1", "n.a."], r"row 2: label n\.a\. is no number"),
        (["1", "--"], "row 2: label -- is no number"),
    ],
)
def test_what_is_neither_is_refused_by_row(labels: list[str], message: str) -> None:
    with pytest.raises(InputError, match=rf"a\.csv: .*{message}"):
        targets_of(labels, "a.csv")


def test_a_switch_overrides() -> None:
    assert targets_of(["1", "2"], "a.csv", REGRESSION).values == [1.0, 2.0]
    found = targets_of(["10.0", "9.5", "10.0"], "a.csv", SINGLE)
    assert (found.names, found.values) == (("9.5", "10.0"), [1, 0, 1])
    assert targets_of(["a", "b", "a, b"], "a.csv", SINGLE).names == ("a", "a, b", "b")
    assert targets_of(["0.5", "n/a"], "a.csv", SINGLE).names == ("0.5", "n/a")
    assert targets_of(["50%", "a|b"], "a.csv", SINGLE).names == ("50%", "a|b")
    with pytest.raises(
        InputError, match=r"row 2: label x is no finite number.*problem_type='single"
    ):
        targets_of(["1", "x"], "a.csv", REGRESSION)
    for odd in ("0,5", "1,000", "50%"):
        with pytest.raises(InputError, match=r"reads numbers as in 1000\.5.*point\.$"):
            targets_of(["1", odd], "a.csv", REGRESSION)
    with pytest.raises(InputError, match=r"the labels 1 and 1\.0 are one number"):
        targets_of(["1", "1.0", "2"], "a.csv", SINGLE)


def test_a_label_of_many_commas_does_not_take_long() -> None:
    with within(2):
        assert targets_of(["a", "(" + "," * 300_000], "a.csv").names[1] == "a"
    with within(2), pytest.raises(InputError, match="several labels of a text"):
        targets_of(["a", "(" + "," * 300_000 + ")"], "a.csv")
