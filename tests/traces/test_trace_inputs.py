"""What a trace is made of: ids from files, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import InputError, TraceError
from numpy_bert.traces.trace_inputs import read_ids
from tests.support.traces import IDS, exact, trained_like


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("[[1]]", TraceError, "must be a JSON object"),
        ("{}", TraceError, "must hold input_ids and may hold attention_mask, .*; got no input_ids"),
        ('{"input_ids": 3}', TraceError, r"must have shape \(B, T\)"),
        (
            '{"input_ids": [1, 2]}',
            TraceError,
            r"must have shape \(B, T\), with a token; got shape \(2,\)",
        ),
        ('{"input_ids": []}', TraceError, "with a token"),
        ('{"input_ids": [[1], [1, 2]]}', InputError, "must have rows of one length"),
        ('{"input_ids": [[1.5]]}', InputError, "must be an array of integers"),
        ('{"input_ids": [[-1]]}', InputError, r"input_ids\[0, 0\] = -1 is outside"),
        ('{"input_ids": [[61]]}', InputError, "outside the vocabulary of 61"),
        ('{"input_ids": [[1]], "attention_mask": [[0]]}', InputError, "0 everywhere"),
        ('{"input_ids": [[1]], "attention_mask": [[2]]}', InputError, "1 for a token"),
        ('{"input_ids": [[1]], "attention_maks": [[0]]}', TraceError, "got attention_maks"),
        ('{"input_ids": [[NaN]]}', TraceError, "NaN is not JSON"),
        ('{"input_ids": [["a"]]}', TraceError, "must hold plain numbers"),
        ('{"input_ids": [[1e99]]}', InputError, "must be an array of integers"),
        ('{"input_ids": [[99999999999999999999]]}', TraceError, "plain numbers|object"),
    ],
)
def test_ids_that_are_none(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    model = exact(trained_like(tmp_path / "model"))
    path = tmp_path / "ids.json"
    path.write_text(text)
    with pytest.raises(error, match=message):
        read_ids(path, model)


def test_ids_of_another_trace_are_run_again(tmp_path: Path) -> None:
    model = exact(trained_like(tmp_path / "model"))
    np.savez(tmp_path / "t.npz", **dict[str, Any](IDS))
    found = read_ids(tmp_path / "t.npz", model)
    assert np.array_equal(found.attention_mask, IDS["attention_mask"] == 1)
    assert np.array_equal(found.position_ids, [range(7)])
