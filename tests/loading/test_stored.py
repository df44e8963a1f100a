"""numpy_bert.loading.stored: one safetensors file, whatever bytes it is made of."""

from __future__ import annotations

import errno
import gzip
import io
import json
import mmap
import os
import pickle
import signal
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors import SafetensorError

from numpy_bert.errors import CheckpointError
from numpy_bert.loading import header, stored
from numpy_bert.loading.stored import SafetensorsFile
from tests.support.checkpoints import pack, serialize
from tests.support.limits import allocating_at_most, within
from tests.support.platforms import posix

FOUR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
OFFSETS = "must have a dtype, a shape and two offsets; got "
RNG = np.random.default_rng(3)
MIXED: dict[str, npt.NDArray[Any]] = {
    "bytes": np.arange(5, dtype=np.uint8),  # what follows is not aligned
    "wide": RNG.normal(size=(3, 5)),
    "single": RNG.normal(size=(7, 2)).astype(np.float32),
    "half": RNG.normal(size=9).astype(np.float16),
    "ids": np.arange(4).reshape(1, 4),
    "scalar": np.array(2.5, np.float32),
    "none": np.empty((0, 3), np.float32),
}
FLAWLESS = serialize(MIXED)


def opened(folder: Path, data: bytes) -> SafetensorsFile:
    path = folder / "model.safetensors"
    path.write_bytes(data)
    return SafetensorsFile(path)


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


def headed(header: object, body: bytes = bytes(4)) -> bytes:
    """Return a file with that header: bytes as they are, all else as JSON."""
    return pack(header if isinstance(header, bytes) else json.dumps(header).encode(), body)


def one(**changes: object) -> bytes:
    """Return a file of one tensor, `a`, of which some members are changed."""
    return headed({"a": FOUR | changes})


def two(offsets: list[int]) -> bytes:
    """Return a file of two tensors, the second where it is told."""
    return headed({"a": FOUR, "b": FOUR | {"data_offsets": offsets}}, bytes(8))


def noted(metadata: object) -> bytes:
    """Return a file with one tensor and that metadata."""
    return headed({"__metadata__": metadata, "a": FOUR})


def text(header: str) -> bytes:
    """Return a file with that header, in which T stands for a good tensor."""
    return headed(header.replace("T", json.dumps(FOUR)).encode())


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"x" * 400)
    return buffer.getvalue()


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


@pytest.mark.parametrize("spaces", range(8))
def test_a_header_of_any_length(spaces: int, tmp_path: Path) -> None:  # A12
    array = np.arange(3, dtype=np.float64)
    entry = {"dtype": "F64", "shape": [3], "data_offsets": [0, 24]}
    header = json.dumps({"a": entry, "__metadata__": {"format": "pt"}}).encode()
    file = opened(tmp_path, pack(header + b" " * spaces, array.tobytes()))
    assert list(file.tensors) == ["a"]
    found = file.tensors["a"].read(mapped=True)
    assert found.flags.aligned
    assert np.array_equal(found, array)


REFUSED: dict[str, tuple[bytes, str]] = {
    "A1 no byte": (b"", "has 0 bytes; a safetensors header needs 8 at least"),
    "A1 one byte": (b"\x80", "has 1 bytes; a safetensors header needs 8 at least"),
    "A1 seven bytes": (b"<html> ", "has 7 bytes; a safetensors header needs 8 at least"),
    "A2 2**63": (pack(b"{}", b"", length=1 << 63), "claims 9,223,372,036,854,775,808 bytes, the"),
    "A2 2**64 - 1": (pack(b"{}", b"", length=(1 << 64) - 1), "the file has 10; it is incomplete"),
    "A2 100 MB": (pack(b"{}", b"", length=100_000_001), "the header claims 100,000,001 bytes"),
    "A2 one more": (pack(b"{}", b"", length=3), "claims 3 bytes, the file has 10; it is inc"),
    "A2 none": (bytes(8), "the header does not start with '{'"),
    "A4 no utf-8": (headed(b'{"\xff": 1}'), "header: is not UTF-8 (byte 2)"),
    "A4 byte order mark": (headed(b"\xef\xbb\xbf{}"), "the header does not start with '{'"),
    "A4 NULs behind": (headed(b"{}\0\0"), "is not JSON (Extra data: line 1, column 3)"),
    "A4 text behind": (headed(b"{}\n{}"), "is not JSON (Extra data: line 2, column 1)"),
    "A4 cut": (headed(b'{"a":'), "is not JSON (Expecting value: line 1, column 6)"),
    "A4 a list": (headed(b"[]"), "the header does not start with '{'"),
    "A4 nesting": (headed(b'{"a":' + b"[" * 200_000), "is nested too deeply"),
    "A4 less nesting": (one(x=json.loads("[" * 200 + "]" * 200)), "Error while deser"),
    "A4 half a character": (text(r'{"\ud800": T}'), "Error while deser"),
    "A5 a space": (text(' {"a": T}'), "the header does not start with '{'"),
    "A6 same": (text('{"a": T, "a": T}'), "the key a stands twice; keep one"),
    "A6 other shape": (text('{"a": {"shape": [1, 1]}, "a": T}'), "the key a stands twice"),
    "A6 escaped": (text(r'{"a": T, "\u0061": T}'), "the key a stands twice"),
    "A7 twice": (text('{"__metadata__": {"k": "", "k": ""}, "a": T}'), "k stands twice"),
    "A7 two": (text('{"__metadata__": {}, "__metadata__": {}}'), "__metadata__ stands twice"),
    "A7 number": (noted({"k": 1}), "__metadata__ must be an object of strings; got {'k': 1}"),
    "A7 null": (noted(None), "__metadata__ must be an object of strings; got None"),
    "A7 list": (noted(["pt"]), "__metadata__ must be an object of strings; got ['pt']"),
    "A7 null value": (noted({"k": None}), "an object of strings; got {'k': None}"),
    "A8 overlap": (two([2, 6]), "b starts at byte 132; the tensors before it end at 134"),
    "A8 shared": (two([0, 4]), "b starts at byte 130; the tensors before it end at 134"),
    "A8 hole": (two([6, 10]), "b starts at byte 137; the tensors before it end at 135"),
    "A8 hole at the start": (one(data_offsets=[4, 8]), "a starts at byte 73; the tensors before"),
    "A8 reversed": (one(data_offsets=[4, 0]), "a " + OFFSETS + "{'dtype': 'F32', 'shape'"),
    "A8 negative": (one(data_offsets=[-4, 0]), OFFSETS),
    "A8 4300 digits": (one(dtype="I8", data_offsets=[0, 10**4300 - 1]), OFFSETS),
    "A8 float": (one(data_offsets=[0, 4.0]), OFFSETS),
    "A8 true": (one(data_offsets=[False, 4]), OFFSETS),
    "A8 one": (one(data_offsets=[0]), OFFSETS),
    "A8 three": (one(data_offsets=[0, 4, 4]), OFFSETS),
    "A8 none": (one(data_offsets=None), OFFSETS),
    "A8 missing": (headed({"a": {"dtype": "F32", "shape": [1]}}), OFFSETS),
    "A10 too few": (one(shape=[2]), "a has 4 bytes; F32 of shape (2,) takes 8"),
    "A10 too few behind": (two([4, 7]), "b has 3 bytes; F32 of shape (1,) takes 4."),
    "A10 no size": (one(shape=[0]), "a has 4 bytes; F32 of shape (0,) takes 0"),
    "A10 other dtype": (one(dtype="I8"), "ensor"),
    "A10 overflow": (one(shape=[1 << 62, 4]), "a has shape (4611686018427387904, 4), which no"),
    "A10 0 x 2**62": (one(shape=[0, 1 << 62], data_offsets=[0, 0]), "which no array can have"),
    "A10 0 x 2**64": (one(shape=[0, 1 << 64], data_offsets=[0, 0]), OFFSETS),
    "A10 too large": (one(shape=[0, (1 << 59) + 1], data_offsets=[0, 0]), "which no array can"),
    "A10 rank 65": (one(shape=[1] * 65), "which no array can have"),
    "A10 rank 10**6": (one(shape=[9] * 10**6), "which no array can have"),
    "A10 negative": (one(shape=[-1]), OFFSETS),
    "A10 float": (one(shape=[1.0]), OFFSETS),
    "A10 number": (one(shape=1), OFFSETS),
    "A14 lower case": (one(dtype="f32"), "It holds dtypes that are not read here: f32."),
    "A14 unknown": (one(dtype="Incomplete"), "that are not read here: Incomplete."),
    "A14 no string": (one(dtype={"F32": None}), "a " + OFFSETS + "{'dtype': {'F32': None}, "),
    "A14 null": (one(dtype=None), "a " + OFFSETS + "{'dtype': None, 'shape': "),
    "A17 a wild name": (headed({"\x1b[31m\n": None}), r"'\x1b[31m\n' must have a dtype"),
    "A17 an empty name": (headed({"": None}), "'' must have a dtype"),
    "A17 a long name": (headed({"n" * 10**6: None}), "n" * 200 + "... must have a dtype"),
    "A17 a wild dtype": (one(dtype="\x1b[31m"), r"not read here: '\x1b[31m'."),
    "A23 data before": (b"#!/bin/sh\n" + one(), "Download it again"),
    "A23 data behind": (one() + bytes(5), "describes 73 bytes, the file has 78; it is too long."),
    "A23 a zip behind": (one() + zipped(), "it is too long. Download it again"),
    "an entry as a list": (
        headed({"a": ["F32", [1], [0, 4]]}),
        "a " + OFFSETS + "['F32', [1], [0, 4]]",
    ),
    "an entry as null": (headed({"a": None}), "a " + OFFSETS + "None"),
}


@pytest.mark.parametrize(("data", "words"), REFUSED.values(), ids=REFUSED)
def test_a_malformed_file_is_refused(data: bytes, words: str, tmp_path: Path) -> None:
    assert words in refusal(tmp_path, data)


ZIP = "a zip archive, as torch.save makes: pickles are never opened here"
PICKLE = "a pickle: pickles are never opened here"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 9\n"
HDF = b"\x89HDF\r\n\x1a\n" + bytes(99)
PAGE = b"<!DOCTYPE html><title>Sign in</title>"
FOREIGN = {  # A19
    "git lfs": (
        LFS,
        "a Git LFS pointer: the file itself was not downloaded. Run git lfs pull in its "
        "repository, or download the file",
    ),
    "html": (PAGE, "an HTML or XML page, not weights: download the file again"),
    "zip": (zipped(), ZIP),
    "pickle 2": (pickle.dumps([0.5] * 99, protocol=2), PICKLE),
    "pickle 4": (pickle.dumps([0.5] * 99, protocol=4), PICKLE),
    "gzip": (gzip.compress(FLAWLESS), "gzip-compressed: decompress it first"),
    "gzip 0": (gzip.compress(FLAWLESS, mtime=0), "gzip-compressed: decompress it first"),
    "hdf5": (HDF, "an HDF5 file (Keras): convert it to safetensors"),
    "gguf": (b"GGUF\x03" + bytes(99), "a GGUF file: take the original safetensors file"),
}


@pytest.mark.parametrize(("data", "words"), FOREIGN.values(), ids=FOREIGN)
def test_a_file_of_another_kind_is_called_by_its_name(
    data: bytes, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (pickle, zipfile, gzip):
        monkeypatch.delattr(module, "open", raising=False)
    assert refusal(tmp_path, data) == f"is {words}."


@pytest.mark.parametrize("length", [0x100 + ord("<"), 0x80, 0x8B1F])
def test_a_header_length_that_looks_like_another_kind(length: int, tmp_path: Path) -> None:
    header = json.dumps({"a": FOUR}).encode().ljust(length)
    assert len(header) == length
    assert "a" in opened(tmp_path, headed(header)).tensors
    cut = headed(header)[: length // 2]
    assert "is incomplete" in refusal(tmp_path, cut)  # and no page, pickle or archive


SIZE = len(FLAWLESS)


@pytest.mark.parametrize(
    "cut", sorted({SIZE * n // 64 + d for n in range(65) for d in (-1, 0, 1)} & set(range(SIZE)))
)
def test_a_file_cut_anywhere_is_incomplete(cut: int, tmp_path: Path) -> None:  # A9
    message = refusal(tmp_path, FLAWLESS[:cut])
    if cut < 8:
        assert message == f"has {cut} bytes; a safetensors header needs 8 at least."
    else:
        assert f"the file has {cut:,}; it is incomplete" in message
        assert message.endswith("Download it again.")


def test_a_huge_header_is_not_read(tmp_path: Path) -> None:  # A3
    path = tmp_path / "model.safetensors"
    path.write_bytes(pack(b"{", b"", length=25_000_001))
    os.truncate(path, 30_000_000)
    with pytest.raises(CheckpointError) as raised, within(5), allocating_at_most(1 << 20):
        SafetensorsFile(path)
    assert "claims 25,000,001 bytes; at most 25,000,000 are read" in str(raised.value)


def test_the_largest_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # A3
    length = struct.unpack("<Q", FLAWLESS[:8])[0]
    monkeypatch.setattr(header, "_LARGEST_HEADER", length)
    assert len(opened(tmp_path, FLAWLESS).tensors) == len(MIXED)
    monkeypatch.setattr(header, "_LARGEST_HEADER", length - 1)
    assert "at most" in refusal(tmp_path, FLAWLESS)


def no_library(*_: object, **__: object) -> None:
    raise AssertionError("the library was let at a header that had to be refused before")


def test_too_many_tensors_are_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A18: refused by their number, before anything is made of them."""
    members = ",".join(f'"{n}":{{"data_offsets":[0,0]}}' for n in range(100_001))
    data = headed(f"{{{members}}}".encode(), b"")
    monkeypatch.setattr(stored, "safe_open", no_library)
    with allocating_at_most(3 * len(data)):
        message = refusal(tmp_path, data)
    assert message == "holds more than 100,000 tensors."


def test_as_many_tensors_as_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # A18
    monkeypatch.setattr(header, "_MOST_TENSORS", len(MIXED))
    assert len(opened(tmp_path, FLAWLESS).tensors) == len(MIXED)
    monkeypatch.setattr(header, "_MOST_TENSORS", len(MIXED) - 1)
    assert refusal(tmp_path, FLAWLESS) == f"holds more than {len(MIXED) - 1} tensors."


@pytest.mark.parametrize("name", ["", "a\0b", "a\nb", "\x1b[31m", "n" * 10**6, "\u202e"])
def test_a_wild_name_is_a_name(name: str, tmp_path: Path) -> None:  # A17
    file = opened(tmp_path, serialize({name: np.arange(3, dtype=np.int8)}))
    assert list(file.tensors) == [name]
    with pytest.raises(CheckpointError, match="has dtype I8, which is not supported") as raised:
        file.tensors[name].read(mapped=True)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 600


def test_what_the_library_refuses_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def strict(*_: object, **__: object) -> None:
        raise SafetensorError("some new rule\n")

    monkeypatch.setattr(stored, "safe_open", strict)
    assert refusal(tmp_path, one()) == r"'some new rule\n'."


def test_metadata_changes_nothing(tmp_path: Path) -> None:  # A7
    file = opened(tmp_path, noted({"format": "tf", "dtype": "F64", "a": "b"}))
    assert list(file.tensors) == ["a"]
    assert file.tensors["a"].read(mapped=True).dtype == np.float32
    assert list(opened(tmp_path, noted({})).tensors) == ["a"]
    assert list(opened(tmp_path, headed({}, b"")).tensors) == []


ROOT = Path(__file__).parents[2]
WEIGHTS = np.random.default_rng(5).normal(size=(11, 7)).astype(np.float32)


def holding(
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
    tensor = holding(tmp_path, codes, "BF16", before=before).tensors["w"]
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
    found = holding(tmp_path, codes, "BF16").tensors["w"].read(mapped=True)
    assert found.dtype == np.float32
    assert found.tolist() == [1.0, 3.140625]


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32"])
@pytest.mark.parametrize("before", [0, 1, 2, 3])
def test_unaligned_data_becomes_aligned(
    dtype: str, before: int, mapped: bool, tmp_path: Path
) -> None:  # A12
    array = (WEIGHTS * 100).astype(dtype)
    found = holding(tmp_path, array, before=before).tensors["w"].read(mapped=mapped)
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
        found = holding(tmp_path, bits.view(dtype)).tensors["w"].read(mapped=True)
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
    tensor = holding(tmp_path, array, code).tensors["w"]
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
    file = holding(tmp_path, WEIGHTS)
    change(file.path)
    with pytest.raises(CheckpointError) as raised:
        file.tensors["w"].read(mapped=mapped)
    assert str(raised.value) == f"{file.path}: {words}"


@pytest.mark.parametrize("cut", [True, False])
def test_a_file_that_changes_while_it_is_copied(
    cut: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # A21
    file = holding(tmp_path, WEIGHTS)
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


@posix
def test_cutting_a_mapped_file_ends_the_process(tmp_path: Path) -> None:
    """A21: the documented price of mapping; nobody can catch it."""
    file = holding(tmp_path, np.ones(1 << 16, np.float32))
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
