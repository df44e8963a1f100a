"""numpy_bert.loading.stored: one safetensors file, whatever bytes it is made of."""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors import SafetensorError

from numpy_bert.errors import CheckpointError
from numpy_bert.loading import stored
from numpy_bert.loading.stored import SafetensorsFile
from tests.support.checkpoints import serialize
from tests.support.limits import allocating_at_most, within
from tests.support.stored_files import FLAWLESS, MIXED, WEIGHTS, holding, one, opened


def refusal(folder: Path, data: bytes) -> str:
    """Return what is said of a file, without the path before it."""
    with pytest.raises(CheckpointError) as raised, within(10):
        opened(folder, data)
    start = f"{folder / 'model.safetensors'}: "
    assert str(raised.value).startswith(start)
    message = str(raised.value).removeprefix(start)
    assert message.isprintable()
    assert len(message) < 600
    return message


@pytest.mark.parametrize("mapped", [True, False])
def test_every_tensor_is_what_was_written(mapped: bool, tmp_path: Path) -> None:  # A12, A13
    file = opened(tmp_path, FLAWLESS)
    assert list(file.tensors) == list(MIXED)
    for name, array in MIXED.items():
        tensor = file.tensors[name]
        assert (tensor.name, tensor.shape, tensor.nbytes) == (name, array.shape, array.nbytes)
        assert file.data(tensor, mapped=mapped).tobytes() == array.tobytes()
        if name == "bytes":
            continue
        found = tensor.read(mapped=mapped)
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert found.tobytes() == array.tobytes()
        assert found.flags.aligned
        assert not found.flags.writeable


def test_what_the_library_refuses_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def strict(*_: object, **__: object) -> None:
        raise SafetensorError("some new rule\n")

    monkeypatch.setattr(stored, "safe_open", strict)
    assert refusal(tmp_path, one()) == r"'some new rule\n'."


def owner(array: npt.NDArray[Any]) -> object:
    """Return what holds an array's memory in the end."""
    found: object = array
    while isinstance(found, (np.ndarray, memoryview)):
        found = found.base if isinstance(found, np.ndarray) else found.obj
    return found


def test_special_values_are_kept_to_the_bit(tmp_path: Path) -> None:  # A13
    for bits, dtype in (
        (np.arange(1 << 16, dtype=np.uint16), np.float16),
        (np.array([1, 0x80000000, 0x7F800001, 0xFFC00000], np.uint32), np.float32),
        (np.array([1, 1 << 63, 0x7FF0000000000001], np.uint64), np.float64),
    ):
        found = holding(tmp_path, bits.view(dtype)).tensors["w"].read(mapped=True)
        assert found.tobytes() == bits.tobytes()


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,) * 64, (0, 1 << 59)])
def test_shapes_at_the_edge(shape: tuple[int, ...], tmp_path: Path) -> None:  # A10, A11
    array = np.full(shape, 2.5, np.float32)
    tensor = holding(tmp_path, array).tensors["w"]
    for mapped in (True, False):
        assert tensor.read(mapped=mapped).tolist() == array.tolist()
    assert tensor.scan() is None


def test_mapped_tensors_are_views_of_one_mapping(tmp_path: Path) -> None:  # A21
    file = holding(tmp_path, WEIGHTS, before=4096)
    first, second = (file.tensors["w"].read(mapped=True) for _ in range(2))
    assert isinstance(owner(first), mmap.mmap)
    assert np.shares_memory(first, second)
    for array in (first, first[2:3], first.view()):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True


def test_copied_tensors_have_memory_of_their_own(tmp_path: Path) -> None:  # A21
    file = holding(tmp_path, WEIGHTS)
    first, second = (file.tensors["w"].read(mapped=False) for _ in range(2))
    assert not isinstance(owner(first), mmap.mmap)
    assert not np.shares_memory(first, second)
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 1
    os.truncate(file.path, 0)
    assert np.array_equal(first, WEIGHTS)
    file.path.unlink()
    assert np.array_equal(second, WEIGHTS)


def test_a_mapping_outlives_its_name(tmp_path: Path) -> None:  # K5
    file = holding(tmp_path, WEIGHTS)
    array = file.tensors["w"].read(mapped=True)
    file.path.unlink()
    (tmp_path / "model.safetensors").write_bytes(bytes(file.size))
    assert np.array_equal(array, WEIGHTS)
    assert np.array_equal(file.tensors["w"].read(mapped=True), WEIGHTS)


def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # J7
    file = holding(tmp_path, WEIGHTS)

    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "open", broken)
    for act in (
        lambda: file.tensors["w"].read(mapped=True),
        lambda: file.tensors["w"].read(mapped=False),
        lambda: SafetensorsFile(file.path),
    ):
        with pytest.raises(CheckpointError, match=r"cannot be read \(Input/output error\)"):
            act()


def test_a_file_system_without_mappings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = holding(tmp_path, WEIGHTS)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr(mmap, "mmap", refuse)
    with pytest.raises(CheckpointError) as raised:
        file.tensors["w"].read(mapped=True)
    assert str(raised.value) == (
        f"{file.path}: cannot be mapped into memory (No such device); load it with mmap=False."
    )
    assert np.array_equal(file.tensors["w"].read(mapped=False), WEIGHTS)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("dtype", "code"), [("f8", "F64"), ("f4", "F32"), ("f2", "F16"), ("u2", "BF16")]
)
def test_the_first_value_that_is_not_finite_is_found(
    value: float, dtype: str, code: str, tmp_path: Path
) -> None:  # A15
    array: npt.NDArray[Any] = np.zeros((5, 3), dtype)
    bad = np.array(value, np.float32).view(np.uint32) >> 16 if code == "BF16" else value
    array[3, 1] = array[4, 0] = bad
    tensor = holding(tmp_path, array, code).tensors["w"]
    assert tensor.is_float
    assert tensor.scan() == (3, 1)


def test_a_large_tensor_is_scanned_whole(tmp_path: Path) -> None:  # A15
    array = np.full((1100, 1000), np.finfo(np.float32).max, np.float32)  # more than 4 MiB
    assert holding(tmp_path, array).tensors["w"].scan() is None
    array[1090, 7] = np.nan
    assert holding(tmp_path, array, before=1).tensors["w"].scan() == (1090, 7)
    scalar = np.array(np.inf, np.float32)
    assert holding(tmp_path, scalar).tensors["w"].scan() == ()


def test_large_tensors_are_compared_whole_and_a_block_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "_BLOCK", 10_001)
    array = np.ones((1100, 1000), np.float32)
    array[3, 4] = np.nan
    other = array.copy()
    file = opened(tmp_path, serialize({"a": array, "b": other, "wide": array.astype("f8")}))
    one, same, wide = (file.tensors[name] for name in ("a", "b", "wide"))
    file.data(one, mapped=True)
    with allocating_at_most(1 << 19):
        assert one.has_bytes_of(same)
        assert one.has_values_of(wide)
        assert wide.has_values_of(one)
    assert not one.has_bytes_of(wide)
    other[1099, 999] = 2
    (tmp_path / "other").mkdir()
    last = opened(tmp_path / "other", serialize({"b": other, "c": other.T})).tensors
    assert not one.has_bytes_of(last["b"])
    assert not one.has_values_of(last["b"])
    assert not wide.has_values_of(last["b"])
    assert not one.has_values_of(last["c"])  # of another shape
