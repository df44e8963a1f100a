"""numpy_bert.labels: what a classifier makes of id2label and num_labels, whatever stands there.

What transformers makes of the same is in tests/parity/test_config_parity.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from numpy_bert import BertForMaskedLM, BertForTokenClassification, BertModel
from numpy_bert.errors import ConfigError
from numpy_bert.labels import read_labels
from tests.support.heads import CONFIG, head_tensors, write_head

NAMES = {"0": "no", "1": "yes"}
NUMBERED = ("LABEL_0", "LABEL_1")
NO_NUMBERS = "label2id has its numbers as text and was not read; labels go by id2label."
NO_INVERSE = "label2id is not id2label turned round and was not read; labels go by id2label."
NONSENSE: list[dict[str, Any]] = [
    {"num_labels": 0},
    {"num_labels": True},
    {"num_labels": "2"},
    {"num_labels": 10**12},
    {"num_labels": float("nan")},
    {"id2label": {}},
    {"id2label": "no\x1b"},
    {"id2label": ["no"]},
    {"id2label": {"x\x1b": "b"}},
    {"id2label": {"0": "a", "00": "b"}},
    {"id2label": {"1" * 5000: "a"}},
    {"id2label": {"no": 0, "yes": 1}},
    {"id2label": {str(n): "a" for n in range(70_000)}},
    {"num_labels": 3, "id2label": [1], "label2id": [[]]},
    {"problem_type": ["guess"], "num_labels": 7},
]


@pytest.mark.parametrize(
    ("stated", "labels", "notes"),
    [
        ({}, NUMBERED, ()),
        ({"id2label": None, "num_labels": None}, NUMBERED, ()),
        ({"num_labels": 2}, NUMBERED, ()),
        ({"id2label": {}, "num_labels": 2}, NUMBERED, ()),
        ({"id2label": {"1": "yes", "0": "no"}}, ("no", "yes"), ()),
        ({"id2label": {0: "no", 1: "yes"}}, ("no", "yes"), ()),
        ({"id2label": {" +0": "no", "01": "yes"}}, ("no", "yes"), ()),
        ({"id2label": NAMES, "label2id": {"no": 0, "yes": 1}}, ("no", "yes"), ()),
        ({"id2label": {"0": "a", "1": "a"}, "label2id": {"a": 0}}, ("a", "a"), ()),
        ({"id2label": NAMES, "label2id": {"no": "0", "yes": "1"}}, ("no", "yes"), (NO_NUMBERS,)),
        ({"id2label": NAMES, "label2id": {"no": "0", "yes": "0"}}, ("no", "yes"), (NO_INVERSE,)),
        ({"id2label": NAMES, "label2id": NAMES}, ("no", "yes"), (NO_INVERSE,)),
        ({"id2label": NAMES, "label2id": {"LABEL_0": 0}}, ("no", "yes"), (NO_INVERSE,)),
        ({"id2label": NAMES, "label2id": {"no": 1, "yes": 0}}, ("no", "yes"), (NO_INVERSE,)),
        ({"id2label": NAMES, "label2id": [3]}, ("no", "yes"), (NO_INVERSE,)),
        ({"label2id": {"no": 0, "yes": 1}}, NUMBERED, ()),
        (
            {"id2label": NAMES, "num_labels": 9},
            ("no", "yes"),
            ("num_labels = 9 was not read: id2label names 2.",),
        ),
        (
            {"id2label": NAMES, "num_labels": "x"},
            ("no", "yes"),
            ("num_labels must be an integer from 1 to 65,536; got 'x'.",),
        ),
        (
            {"id2label": {"0": "a"}, "num_labels": 2},
            NUMBERED,
            (
                "id2label names 1 labels and was not read: num_labels = 2, as many as the "
                "classifier has rows; they are LABEL_0 and so on, as in transformers.",
            ),
        ),
        (
            {"id2label": ["a", "b"], "num_labels": 2},
            NUMBERED,
            ("id2label must be an object of 1 to 65,536 labels; got ['a', 'b'].",),
        ),
        (
            {"id2label": {"1": "a", "2": "b"}},
            ("LABEL_0", "a"),
            (
                "id2label has no name for the classifier's rows 0, which are called LABEL_0 and "
                "so on, and names 2 (b), which are no rows; transformers counts them from 0, too.",
            ),
        ),
        (
            {"id2label": {"0": 0, "1": 1.5}},
            ("0", "1.5"),
            ("id2label: label 0 is 0, which is no text; such labels go by what is written there.",),
        ),
        (
            {"id2label": {"0": "a", "1": None}},
            ("a", "null"),
            (
                "id2label: label 1 is None, which is no text; such labels go by what is written "
                "there.",
            ),
        ),
        (
            {"id2label": NAMES, "problem_type": "guess"},
            ("no", "yes"),
            (
                "problem_type = 'guess' was not read; known are regression, "
                "single_label_classification, multi_label_classification.",
            ),
        ),
    ],
)
def test_names_of_two_rows(
    stated: dict[str, Any], labels: tuple[str, ...], notes: tuple[str, ...]
) -> None:
    assert read_labels(stated).fitted(2) == (labels, notes)


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({}, "config.json names no labels, by which 2 are meant"),
        ({"id2label": NAMES}, "id2label names 2 labels"),
        ({"num_labels": 4}, "num_labels = 4"),
        ({"id2label": NAMES, "num_labels": 4}, "id2label names 2 labels, num_labels = 4"),
        ({"num_labels": 0}, "num_labels must be an integer from 1 to 65,536; got 0"),
        ({"id2label": {}}, "id2label must be an object of 1 to 65,536 labels; got {}"),
        ({"id2label": {"no": 0}}, "its keys must be the numbers of labels; no is none"),
        (
            {"id2label": {"0": "a", "00": "b"}},
            "must be the numbers of labels; one stands there twice",
        ),
        (
            {"label2id": {"a": 0, "b": 1, "c": 2}},
            "config.json names no labels, by which 2 are meant",
        ),
    ],
)
def test_rows_that_nothing_counts_as_many_of_are_refused(stated: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_labels(stated).fitted(3)
    assert str(caught.value).startswith("the classifier has 3 rows, ")
    assert f"{told}; write the labels' names into id2label, one for each row." in str(caught.value)


@pytest.mark.parametrize("stated", NONSENSE, ids=lambda stated: repr(stated)[:30])
def test_nothing_that_stands_there_raises_before_a_classifier(stated: Mapping[str, Any]) -> None:
    read = read_labels(stated)
    assert all(isinstance(label, str) for label in read.labels)
    with pytest.raises(ConfigError) as caught:
        read.fitted(5)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_a_classifier_reads_them_and_no_other_model_does(tmp_path: Path) -> None:
    tensors = head_tensors("BertForTokenClassification") | head_tensors("BertForMaskedLM")
    stated = {"id2label": {"B": 0}, "num_labels": "5", "label2id": 1, "problem_type": 3}
    folder = write_head(tmp_path, "BertForTokenClassification", tensors, CONFIG | stated)
    for kind in (BertModel, BertForMaskedLM):
        model = kind.from_pretrained(folder)
        assert (model.config.labels, model.loading_info.notes) == (NUMBERED, ())
    path = re.escape(str(folder / "config.json"))
    words = "the classifier has 5 rows, num_labels must be an integer"
    with pytest.raises(ConfigError, match=f"^{path}: {words}"):
        BertForTokenClassification.from_pretrained(folder)


def test_what_is_saved_says_the_same_in_both(tmp_path: Path) -> None:
    names = {str(row): f"L{row}" for row in range(5)}
    stated = {"id2label": names, "num_labels": 3, "label2id": {f"L{n}": str(n) for n in range(5)}}
    folder = write_head(tmp_path / "a", "BertForTokenClassification", config=CONFIG | stated)
    model = BertForTokenClassification.from_pretrained(folder)
    assert model.loading_info.notes == (
        NO_NUMBERS,
        "num_labels = 3 was not read: id2label names 5.",
    )
    model.save_pretrained(tmp_path / "b")
    again = BertForTokenClassification.from_pretrained(tmp_path / "b")
    assert (again.config, again.loading_info.notes) == (model.config, ())
    assert again.config.id2label == {row: f"L{row}" for row in range(5)}
