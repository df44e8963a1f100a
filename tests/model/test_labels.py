"""Labels and what is counted of them: refused by name, and judged where padding has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numpy_bert
from numpy_bert import InputError
from tests.support.heads import calm_head

IDS = np.array([[2, 5, 6, 3], [2, 7, 3, 0]])
MASK = np.array([[1, 1, 1, 1], [1, 1, 1, 0]])
RAGGED = [[-100, 7, -100, -100], [-100]]
AT_PADDING = np.array([[-100, 7, -100, -100], [-100, -100, -100, 9]])


def model_of(tmp_path: Path, name: str, dtype: str = "float32") -> Any:
    return getattr(numpy_bert, name).from_pretrained(calm_head(tmp_path, name), dtype=dtype)


@pytest.mark.parametrize("mask", [None, MASK])
@pytest.mark.parametrize(
    "name", ["BertForMaskedLM", "BertForTokenClassification", "BertForPreTraining"]
)
def test_ragged_labels_are_refused_by_name_with_padding_too(
    name: str, mask: Any, tmp_path: Path
) -> None:
    labels: dict[str, Any] = {"labels": RAGGED}
    if name == "BertForPreTraining":
        labels["next_sentence_label"] = [0, 1]
    with pytest.raises(InputError, match="labels must have rows of one length"):
        model_of(tmp_path, name)(IDS, mask, **labels)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["BertForMaskedLM", "BertForPreTraining"])
def test_scores_at_labels_of_padding_are_those_that_the_loss_is_of(
    name: str, dtype: str, tmp_path: Path
) -> None:
    model = model_of(tmp_path, name, dtype)
    batch = {"input_ids": IDS, "attention_mask": MASK, "labels": AT_PADDING}
    if name == "BertForPreTraining":
        batch["next_sentence_label"] = np.array([0, 1])
    whole = model(IDS, MASK, unpad_inputs=False).scores[0]
    found = model.at_labels(batch).scores[0]
    assert found == pytest.approx(whole[AT_PADDING != -100], abs=1e-5)


def test_ragged_ids_are_refused_by_name_where_labels_are_counted(tmp_path: Path) -> None:
    batch = {"input_ids": [[2, 5, 3], [2]], "start_positions": [0, 1], "end_positions": [0, 1]}
    with pytest.raises(InputError, match="input_ids"):
        model_of(tmp_path, "BertForQuestionAnswering").num_items_in_batch(batch)


def test_ragged_ids_do_not_matter_where_labels_alone_are_counted(tmp_path: Path) -> None:
    batch = {"input_ids": [[2, 5, 3], [2]], "labels": AT_PADDING}
    assert model_of(tmp_path, "BertForMaskedLM").num_items_in_batch(batch) == {"labels": 2}


def test_choices_without_a_token_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 tokens"):
        model_of(tmp_path, "BertForMultipleChoice")(np.zeros((2, 2, 0), int))
