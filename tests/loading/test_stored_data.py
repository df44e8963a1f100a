"""numpy_bert.loading.stored: the numbers of a file, mapped or copied, and a file that changes."""

from __future__ import annotations

import errno
import mmap
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from numpy_bert.errors import CheckpointError
from numpy_bert.loading import header, stored
from numpy_bert.loading.stored import SafetensorsFile
from tests.support.checkpoints import serialize
from tests.support.platforms import posix

ROOT = Path(__file__).parents[2]
WEIGHTS = np.random.default_rng(5).normal(size=(11, 7)).astype(np.float32)


def opened(
    folder: Path, array: npt.NDArray[Any], code: str | None = None, *, before: int = 0
) -> SafetensorsFile:
    """Return a file that holds `array` as "w", behind that many bytes of another tensor."""
    path = folder / "model.safetensors"
    tensors = {"b": np.zeros(before, np.uint8), "w": array}
    path.write_bytes(serialize(tensors, codes={"w": code} if code else {}))
    return SafetensorsFile(path)


def owner(array: npt.NDArray[Any]) -> object:
    """Return what holds an array's memory in the end."""
    found: object = array
    while isinstance(found, (np.ndarray, memoryview)):
        found = found.base if isinstance(found, np.ndarray) else found.obj
    return found


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("before", [0, 1])
def test_every_bfloat16_is_exact(mapped: bool, before: int, tmp_path: Path) -> None:
    """A13: zeros, subnormals, infinities and NaN payloads of either sign, all 65536 of them."""
    codes = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)
    tensor = opened(tmp_path, codes, "BF16", before=before).tensors["w"]
    assert tensor.is_float
    found = tensor.read(mapped=mapped)
    expected = b"".join(b"\0\0" + struct.pack("<H", code) for code in range(1 << 16))
    assert found.dtype == np.float32
    assert found.shape == (256, 256)
    assert found.tobytes() == expected
    assert not found.flags.writeable


@pytest.mark.parametrize("installed", [True, False])
def test_bfloat16_does_not_depend_on_ml_dtypes(
    installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A13: the library's own reader works only after somebody has imported ml_dtypes."""
    impostor = ModuleType("ml_dtypes")
    impostor.bfloat16 = np.float16  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ml_dtypes", impostor if installed else None)
    if installed:  # as ml_dtypes does, so that np.dtype("bfloat16") is understood
        monkeypatch.setitem(np.sctypeDict, "bfloat16", np.float16)
        assert np.dtype("bfloat16") == np.float16
    codes = np.array([0x3F80, 0x4049], np.uint16)
    found = opened(tmp_path, codes, "BF16").tensors["w"].read(mapped=True)
    assert found.dtype == np.float32
    assert found.tolist() == [1.0, 3.140625]


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32"])
@pytest.mark.parametrize("before", [0, 1, 2, 3])
def test_unaligned_data_becomes_aligned(
    dtype: str, before: int, mapped: bool, tmp_path: Path
) -> None:  # A12
    array = (WEIGHTS * 100).astype(dtype)
    found = opened(tmp_path, array, before=before).tensors["w"].read(mapped=mapped)
    assert found.dtype == dtype
    assert found.flags.aligned
    assert not found.flags.writeable
    assert found.tobytes() == array.tobytes()


def test_special_values_are_kept_to_the_bit(tmp_path: Path) -> None:  # A13
    for bits, dtype in (
        (np.arange(1 << 16, dtype=np.uint16), np.float16),
        (np.array([1, 0x80000000, 0x7F800001, 0xFFC00000], np.uint32), np.float32),
        (np.array([1, 1 << 63, 0x7FF0000000000001], np.uint64), np.float64),
    ):
        found = opened(tmp_path, bits.view(dtype)).tensors["w"].read(mapped=True)
        assert found.tobytes() == bits.tobytes()


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize(
    ("code", "other"),
    [("F32", ">f4"), ("F64", ">f8"), ("F16", ">f2"), ("I64", ">i8"), ("BF16", ">u2")],
)
def test_the_other_byte_order_becomes_ours(
    code: str, other: str, mapped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A24: what a big-endian machine does with a little-endian file, with the roles exchanged."""
    array = np.arange(1, 7).astype(other)
    monkeypatch.setitem(header.DTYPES, code, np.dtype(other))
    path = tmp_path / "model.safetensors"
    swapped = array.view(np.dtype(other).newbyteorder("="))  # the bytes stay
    path.write_bytes(serialize({"w": swapped}, codes={"w": code}))
    found = SafetensorsFile(path).tensors["w"].read(mapped=mapped)
    assert found.dtype.isnative
    if code == "BF16":
        found = found.view(np.uint32) >> 16
    assert found.tolist() == [1, 2, 3, 4, 5, 6]


def test_every_dtype_is_read_as_little_endian() -> None:  # A24
    assert {dtype.str[0] for dtype in header.DTYPES.values()} == {"<"}


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (np.ones(3, np.int8), "I8"),
        (np.ones(3, np.bool_), "BOOL"),
        (np.ones(3, np.uint8), "U8"),
        (np.ones(3, np.uint8), "F8_E4M3"),
        (np.ones(3, np.int16), "I16"),
    ],
)
@pytest.mark.parametrize("mapped", [True, False])
def test_other_dtypes_are_refused(
    array: npt.NDArray[Any], code: str, mapped: bool, tmp_path: Path
) -> None:  # A14
    tensor = opened(tmp_path, array, code).tensors["w"]
    assert not tensor.is_float
    with pytest.raises(CheckpointError) as raised:
        tensor.read(mapped=mapped)
    assert str(raised.value) == (
        f"{tmp_path / 'model.safetensors'}: w has dtype {code}, which is not supported; "
        "F64, F32, F16, BF16, I64, I32 are."
    )


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,) * 64, (0, 1 << 59)])
def test_shapes_at_the_edge(shape: tuple[int, ...], tmp_path: Path) -> None:  # A10, A11
    array = np.full(shape, 2.5, np.float32)
    tensor = opened(tmp_path, array).tensors["w"]
    for mapped in (True, False):
        assert tensor.read(mapped=mapped).tolist() == array.tolist()
    assert tensor.scan() is None


def test_mapped_tensors_are_views_of_one_mapping(tmp_path: Path) -> None:  # A21
    file = opened(tmp_path, WEIGHTS, before=4096)
    first, second = (file.tensors["w"].read(mapped=True) for _ in range(2))
    assert isinstance(owner(first), mmap.mmap)
    assert np.shares_memory(first, second)
    for array in (first, first[2:3], first.view()):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True


def test_copied_tensors_have_memory_of_their_own(tmp_path: Path) -> None:  # A21
    file = opened(tmp_path, WEIGHTS)
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
    file = opened(tmp_path, WEIGHTS)
    array = file.tensors["w"].read(mapped=True)
    file.path.unlink()
    (tmp_path / "model.safetensors").write_bytes(bytes(file.size))
    assert np.array_equal(array, WEIGHTS)
    assert np.array_equal(file.tensors["w"].read(mapped=True), WEIGHTS)


def rewrite(path: Path) -> None:
    time = path.stat().st_mtime_ns
    path.write_bytes(bytes(path.stat().st_size))
    os.utime(path, ns=(time, time + 1))


def replace(path: Path) -> None:
    status = path.stat()
    other = path.with_name("other")
    other.write_bytes(bytes(status.st_size))
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


CHANGED = "changed while it was read; load it again."


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (rewrite, CHANGED),
        (replace, CHANGED),
        (lambda path: os.truncate(path, path.stat().st_size - 1), CHANGED),
        (lambda path: os.truncate(path, path.stat().st_size + 1), CHANGED),
        (Path.unlink, "cannot be read (No such file or directory); load it again."),
    ],
    ids=["rewritten", "replaced", "cut", "longer", "removed"],
)
def test_a_file_that_changed_after_its_header_was_read(
    change: Callable[[Path], None], words: str, mapped: bool, tmp_path: Path
) -> None:  # A21
    file = opened(tmp_path, WEIGHTS)
    change(file.path)
    with pytest.raises(CheckpointError) as raised:
        file.tensors["w"].read(mapped=mapped)
    assert str(raised.value) == f"{file.path}: {words}"


@pytest.mark.parametrize("cut", [True, False])
def test_a_file_that_changes_while_it_is_copied(
    cut: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # A21
    file = opened(tmp_path, WEIGHTS)
    look, calls = stored._look, 0

    def disturbing(handle: BufferedReader) -> tuple[int, ...]:
        nonlocal calls
        seen = look(handle)
        calls += 1
        if calls == 1:  # right after the file was found unchanged
            os.truncate(file.path, 100) if cut else rewrite(file.path)
        return seen

    monkeypatch.setattr(stored, "_look", disturbing)
    with pytest.raises(CheckpointError, match=f"model.safetensors: {CHANGED}"):
        file.tensors["w"].read(mapped=False)


def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # J7
    file = opened(tmp_path, WEIGHTS)

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
    file = opened(tmp_path, WEIGHTS)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr(mmap, "mmap", refuse)
    with pytest.raises(CheckpointError) as raised:
        file.tensors["w"].read(mapped=True)
    assert str(raised.value) == (
        f"{file.path}: cannot be mapped into memory (No such device); load it with mmap=False."
    )
    assert np.array_equal(file.tensors["w"].read(mapped=False), WEIGHTS)


@posix
def test_cutting_a_mapped_file_ends_the_process(tmp_path: Path) -> None:
    """A21: the documented price of mapping; nobody can catch it."""
    file = opened(tmp_path, np.ones(1 << 16, np.float32))
    script = (
        "import os, pathlib, sys\n"
        "from numpy_bert.loading.stored import SafetensorsFile\n"
        "file = SafetensorsFile(pathlib.Path(sys.argv[1]))\n"
        "array = file.tensors['w'].read(mapped=True)\n"
        "os.truncate(file.path, 100)\n"
        "print(array[-1])\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", script, str(file.path)], capture_output=True, timeout=300, cwd=ROOT
    )
    assert child.returncode == -signal.SIGBUS
    assert "SIGBUS" in str(SafetensorsFile.__doc__)


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
    tensor = opened(tmp_path, array, code).tensors["w"]
    assert tensor.is_float
    assert tensor.scan() == (3, 1)


def test_a_large_tensor_is_scanned_whole(tmp_path: Path) -> None:  # A15
    array = np.full((1100, 1000), np.finfo(np.float32).max, np.float32)  # more than 4 MiB
    assert opened(tmp_path, array).tensors["w"].scan() is None
    array[1090, 7] = np.nan
    assert opened(tmp_path, array, before=1).tensors["w"].scan() == (1090, 7)
    scalar = np.array(np.inf, np.float32)
    assert opened(tmp_path, scalar).tensors["w"].scan() == ()
