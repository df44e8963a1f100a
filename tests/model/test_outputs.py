"""numpy_bert.model.outputs: fields that index like a tuple and like a dict."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from numpy_bert.model.outputs import BertModelOutput

LAST, POOLED = np.zeros((3, 7, 24)), np.ones((3, 24))


def test_a_field_that_is_none_is_not_there() -> None:
    output = BertModelOutput(last_hidden_state=LAST, attentions=(POOLED,))
    assert output.keys() == tuple(output) == ("last_hidden_state", "attentions")
    assert len(output) == 2
    assert "attentions" in output
    assert "pooler_output" not in output
    assert 0 not in output
    assert output.pooler_output is None
    with pytest.raises(KeyError, match="pooler_output"):
        output["pooler_output"]


def test_it_indexes_like_a_tuple_and_like_a_dict() -> None:
    output = BertModelOutput(last_hidden_state=LAST, pooler_output=POOLED)
    assert output[0] is output["last_hidden_state"] is output.last_hidden_state is LAST
    assert output[1] is output[-1] is output["pooler_output"] is POOLED
    first, second = output.to_tuple()
    assert (first is LAST, second is POOLED) == (True, True)
    assert output[:1] == (LAST,)
    assert [(name, value is output[name]) for name, value in output.items()] == [
        ("last_hidden_state", True),
        ("pooler_output", True),
    ]
    assert dict(output.items()).keys() == {"last_hidden_state", "pooler_output"}
    with pytest.raises(IndexError):
        output[2]
    with pytest.raises(KeyError, match="to_tuple"):
        output["to_tuple"]


def test_it_cannot_be_changed_by_accident() -> None:
    output = BertModelOutput(last_hidden_state=LAST)
    with pytest.raises(dataclasses.FrozenInstanceError):
        output.pooler_output = POOLED  # type: ignore[misc]
    with pytest.raises(TypeError):
        LAST + output  # type: ignore[operator]
