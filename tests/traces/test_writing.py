"""What is written is what was computed, whole or not at all, with a checksum of its own."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from numpy_bert import IntegrityError, OutputError, TraceError
from numpy_bert.traces.reading import open_trace
from numpy_bert.traces.writing import CONTRACT, Tensor, write_trace

METADATA = {"contract": CONTRACT}
TENSORS = [Tensor("b", "float32", (2, 3)), Tensor("a", "int64", (1,))]
ARRAYS: dict[str, Any] = {
    "b": np.arange(6, dtype=np.float32).reshape(3, 2).T,
    "between": np.zeros(5),
    "a": np.array([7]),
}


def written(folder: Path) -> Path:
    path = folder / "t.safetensors"
    write_trace(path, TENSORS, ARRAYS.items(), METADATA)
    return path


def test_the_library_reads_it_transposed_arrays_too(tmp_path: Path) -> None:
    path = written(tmp_path)
    found = load_file(path)
    assert set(found) == {"a", "b"}
    for name, array in found.items():
        assert np.array_equal(array, ARRAYS[name])
    with safe_open(path, framework="numpy") as file:
        assert json.loads(file.metadata()["order"]) == ["b", "a"]


def test_the_checksum_is_that_of_the_file_with_zeros_for_it(tmp_path: Path) -> None:
    path = written(tmp_path)
    data = path.read_bytes()
    with safe_open(path, framework="numpy") as file:
        stated = file.metadata()["sha256"]
    blank = data.replace(stated.encode(), b"0" * 64)
    assert hashlib.sha256(blank).hexdigest() == stated


@pytest.mark.parametrize("place", ["a number", "a name", "the checksum", "the metadata"])
def test_a_file_that_was_edited_is_refused(tmp_path: Path, place: str) -> None:
    path = written(tmp_path)
    assert list(open_trace(path).arrays) == ["b", "a"]
    data = bytearray(path.read_bytes())
    at = {
        "a number": len(data) - 1,
        "a name": data.index(b'"b":') + 1,
        "the checksum": data.index(b'"sha256": "') + 11,
        "the metadata": data.index(b'"order": "[') + 13,
    }[place]
    data[at] = ord("c") if data[at] != ord("c") else ord("d")
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="was changed after it was written"):
        open_trace(path)


def test_a_newer_contract_is_refused_and_a_foreign_checksum_is_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    write_trace(path, TENSORS, ARRAYS.items(), {"contract": "numpy_bert.trace/2"})
    with pytest.raises(
        TraceError, match=r"contract must be numpy_bert\.trace/1; got numpy_bert\.trace/2"
    ):
        open_trace(path)
    write_trace(path, TENSORS, ARRAYS.items(), METADATA)
    path.write_bytes(path.read_bytes().replace(b', "sha256": ', b', "sha257": '))
    with pytest.raises(IntegrityError, match="its own sha256 is"):
        open_trace(path)
    write_trace(path, TENSORS, ARRAYS.items(), {})
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert list(open_trace(path).arrays) == ["b", "a"]


def test_what_is_computed_must_be_what_was_announced(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(
        TraceError, match=r"a must be int64 of shape \(1,\), .*; got float64 of shape \(1,\)"
    ):
        write_trace(path, TENSORS, [("b", ARRAYS["b"]), ("a", np.zeros(1))], METADATA)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["t.safetensors"]


def test_a_failure_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    path = written(tmp_path)
    old = path.read_bytes()

    def broken() -> Any:
        yield "b", ARRAYS["b"]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_trace(path, TENSORS, broken(), METADATA)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["t.safetensors"]


def test_a_disk_that_is_too_small_is_told_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 3))
    with pytest.raises(OutputError, match=r"bytes, but the disk has 3 bytes free; nothing was"):
        written(tmp_path)
    assert not list(tmp_path.iterdir())
