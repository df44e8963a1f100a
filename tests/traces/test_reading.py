"""Traces from files and from memory: one array a step, the rest beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import InputError, TraceError
from numpy_bert.traces.names import NameMap
from numpy_bert.traces.reading import as_trace, open_trace
from tests.support.traces import IDS, trace_of, trained_like

A = np.arange(6, dtype=np.float32).reshape(1, 2, 3)


def save(folder: Path, kind: str, arrays: dict[str, Any]) -> Path:
    if kind == "npz":
        np.savez(folder / "t.npz", **arrays)
        return folder / "t.npz"
    if kind == "npy":
        (folder / "t").mkdir()
        for name, array in arrays.items():
            np.save(folder / "t" / f"{name}.npy", array)
        return folder / "t"
    from safetensors.numpy import save_file

    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, folder / "t.safetensors")
    return folder / "t.safetensors"


@pytest.mark.parametrize("kind", ["npz", "npy", "safetensors"])
def test_three_kinds_of_files_hold_the_same(tmp_path: Path, kind: str) -> None:
    arrays = trace_of(trained_like(tmp_path / "model"))
    trace = open_trace(save(tmp_path, kind, arrays))
    assert set(trace.arrays) == set(arrays)
    for name, array in arrays.items():
        found = trace.get(name)
        assert found is not None
        assert found.dtype == array.dtype
        assert np.array_equal(found, array)
    assert trace.get("nothing") is None


def test_two_arrays_of_one_step_are_twins_the_one_of_its_name_first() -> None:
    wide, inner = A, A + 1
    for order in (
        {"intermediate.intermediate_act_fn": inner, "intermediate": wide},
        {"intermediate": wide, "intermediate.intermediate_act_fn": inner},
    ):
        trace = as_trace({f"encoder.layer.0.{name}": array for name, array in order.items()})
        assert trace.arrays["encoder.layer.0.intermediate"].stored.load() is wide
        assert [twin.stored.load() is inner for twin in trace.twins] == [True]


def test_what_a_map_leaves_out_is_not_read() -> None:
    trace = as_trace({"scores": A, "pooler": A}, NameMap({"scores": None}))
    assert list(trace.arrays) == ["pooler"]


def test_ids_are_never_renamed() -> None:
    trace = as_trace({"input_ids": IDS["input_ids"]}, NameMap({"*": "pooler"}))
    assert list(trace.arrays) == ["input_ids"]


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (np.array([object()]), TraceError, "pooler must hold plain numbers; got dtype object"),
        (np.zeros(2, complex), TraceError, "pooler must hold plain numbers; got dtype complex128"),
        ([[1.0], [1.0, 2.0]], InputError, "pooler must have rows of one length"),
        ("text", TraceError, "must hold plain numbers"),
    ],
)
def test_values_that_are_no_numbers(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        as_trace({"pooler": value})


def test_lists_in_the_metadata_are_lists_of_strings_or_none() -> None:
    trace = as_trace({"pooler": A})
    for text, expected in {
        '["a", "b"]': ["a", "b"],
        "[]": [],
        "[1]": None,
        "{": None,
        '"a"': None,
        "[" * 100_000: None,
    }.items():
        object.__setattr__(trace, "metadata", {"text": text})
        assert trace.listed("text") == expected
