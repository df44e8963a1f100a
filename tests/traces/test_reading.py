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


STATES = np.arange(3 * 6, dtype=np.float32).reshape(3, 1, 2, 3)
OF_STATES = ["embeddings", "encoder.layer.0", "encoder.layer.1"]


@pytest.mark.parametrize("kind", ["npz", "npy", "safetensors", "memory", "tuple", "torch"])
@pytest.mark.parametrize("name", ["hidden_states", "bert.hidden_states"])
def test_hidden_states_in_one_array_are_read_one_by_one(
    tmp_path: Path, kind: str, name: str
) -> None:
    if kind == "torch":
        torch = pytest.importorskip("torch")
        states = [torch.tensor(state, requires_grad=True) for state in STATES]
        trace = as_trace({name: tuple(states)})
    elif kind in ("memory", "tuple"):
        trace = as_trace({name: STATES if kind == "memory" else tuple(STATES)})
    else:
        trace = open_trace(save(tmp_path, kind, {name: STATES}))
    assert list(trace.arrays) == OF_STATES
    for number, (step, state) in enumerate(zip(OF_STATES, STATES, strict=True)):
        array = trace.arrays[step]
        assert array.stored.name == f"{name}[{number}]"
        assert (array.stored.shape, array.dtype) == ((1, 2, 3), "float32")
        assert np.array_equal(array.load_in("BTH"), state)
    assert [stored.name for stored in trace.stacks.values()] == [name]


def test_attentions_in_one_array_are_those_of_the_layers() -> None:
    trace = as_trace({"attentions": np.zeros((2, 1, 4, 3, 3))})
    assert list(trace.arrays) == [f"encoder.layer.{n}.attention.self.dropout" for n in (0, 1)]


def test_a_stacked_array_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = open_trace(save(tmp_path, "npy", {"hidden_states": STATES}))
    first = trace.get("embeddings")
    (tmp_path / "t" / "hidden_states.npy").unlink()
    last = trace.get("encoder.layer.1")
    assert first is not None
    assert last is not None
    assert np.shares_memory(first.base, last)


def test_a_state_of_its_own_name_comes_before_the_stacked_one() -> None:
    trace = as_trace({"hidden_states": STATES, "encoder.layer.1": STATES[2] + 1})
    assert trace.arrays["encoder.layer.1"].stored.name == "encoder.layer.1"
    assert [twin.stored.name for twin in trace.twins] == ["hidden_states[2]"]


def test_what_is_no_stack_keeps_its_name() -> None:
    for array in (STATES[0], STATES[np.newaxis], np.float32(1)):
        assert list(as_trace({"hidden_states": array}).arrays) == ["hidden_states"]
    rules: Any = {"hidden_states": "pooler", "states": "hidden_states", "attentions": None}
    renamed = as_trace({"hidden_states": A, "states": STATES, "attentions": A}, NameMap(rules))
    assert list(renamed.arrays) == ["pooler", *OF_STATES]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"hidden_states": STATES, "bert.hidden_states": STATES},
            "^the candidate: hidden_states and bert.hidden_states are both hidden_states. Keep one",
        ),
        (
            {"hidden_states": np.zeros((10_001, 0, 1, 1))},
            r"must have at most 10,000 members in its first axis; got shape \(10001, 0, 1, 1\)",
        ),
        (
            {"hidden_states": (STATES[0], STATES[1, :, :1])},
            r"must hold arrays of one shape and dtype; number 0 is float32 of shape \(1, 2, 3\), "
            r"number 1 is float32 of shape \(1, 1, 3\)",
        ),
    ],
)
def test_stacks_that_cannot_be_read(arrays: Any, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        as_trace(arrays)
