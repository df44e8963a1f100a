"""numpy_bert.loading.stored: one safetensors file, whatever bytes it is made of."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path
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

FOUR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
OFFSETS = "; a dtype, a shape and two offsets were expected."
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
    "A7 number": (noted({"k": 1}), "__metadata__ is {'k': 1}; an object of strings was expected"),
    "A7 null": (noted(None), "__metadata__ is None; an object of strings was expected"),
    "A7 list": (noted(["pt"]), "__metadata__ is ['pt']; an object of strings was expected"),
    "A7 null value": (noted({"k": None}), "__metadata__ is {'k': None}; an object of strings"),
    "A8 overlap": (two([2, 6]), "b starts at byte 132; the tensors before it end at 134"),
    "A8 shared": (two([0, 4]), "b starts at byte 130; the tensors before it end at 134"),
    "A8 hole": (two([6, 10]), "b starts at byte 137; the tensors before it end at 135"),
    "A8 hole at the start": (one(data_offsets=[4, 8]), "a starts at byte 73; the tensors before"),
    "A8 reversed": (one(data_offsets=[4, 0]), "a is {'dtype': 'F32', 'shape': [1], 'data_offse"),
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
    "A14 no string": (one(dtype={"F32": None}), "a is {'dtype': {'F32': None}, 'shape': [1], "),
    "A14 null": (one(dtype=None), "a is {'dtype': None, 'shape': [1], 'data_offsets': [0, 4]}; a"),
    "A17 a wild name": (headed({"\x1b[31m\n": None}), r"'\x1b[31m\n' is None"),
    "A17 an empty name": (headed({"": None}), "'' is None"),
    "A17 a long name": (headed({"n" * 10**6: None}), "n" * 200 + "... is None"),
    "A17 a wild dtype": (one(dtype="\x1b[31m"), r"not read here: '\x1b[31m'."),
    "A23 data before": (b"#!/bin/sh\n" + one(), "Download it again"),
    "A23 data behind": (one() + bytes(5), "describes 73 bytes, the file has 78; it is too long."),
    "A23 a zip behind": (one() + zipped(), "it is too long. Download it again"),
    "an entry as a list": (headed({"a": ["F32", [1], [0, 4]]}), "a is ['F32', [1], [0, 4]]; a dty"),
    "an entry as null": (headed({"a": None}), "a is None; a dtype, a shape and two offsets"),
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
