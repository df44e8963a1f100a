"""numpy_bert.loading.stored against the safetensors library, on headers that nobody wrote.

Every file either holds the tensors that the library finds in it, or is refused with our error.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize

from numpy_bert.errors import CheckpointError
from numpy_bert.loading.stored import SafetensorsFile
from tests.support.checkpoints import pack, serialize
from tests.support.limits import within

READABLE = {"F64", "F32", "F16", "BF16", "I64", "I32"}
TENSORS: dict[str, npt.NDArray[Any]] = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.arange(3, dtype=np.uint8),
    "c": np.array(1.5, np.float64),
    "d": np.arange(4, dtype=np.float16),
    "e": np.empty((0, 2), np.int64),
}
FLAWLESS = serialize(TENSORS)
(LENGTH,) = struct.unpack("<Q", FLAWLESS[:8])
HEADER, BODY = FLAWLESS[8 : 8 + LENGTH], FLAWLESS[8 + LENGTH :]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "model.safetensors"


def judge(path: Path, data: bytes) -> bool:
    """Tell whether a file is taken; fail if it is taken for what it is not, or badly refused."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    try:
        expected = dict(deserialize(data))  # type: ignore[no-untyped-call]
    except SafetensorError:
        expected = None
    file, refusal = None, ""
    with within(20):
        try:
            file = SafetensorsFile(path)
        except CheckpointError as failure:
            refusal = str(failure)
    if file is None:
        assert refusal.startswith(f"{path}: ")
        assert refusal.isprintable()
        assert len(refusal) < 1000
        return False
    assert expected is not None, "the library refuses this file"
    assert file.tensors.keys() == expected.keys()
    for name, tensor in file.tensors.items():
        info = expected[name]
        assert (tensor.dtype, list(tensor.shape)) == (info["dtype"], info["shape"])
        for mapped in (True, False):
            assert file.data(tensor, mapped=mapped).tobytes() == bytes(info["data"])
            if tensor.dtype in READABLE:
                assert tensor.read(mapped=mapped).shape == tensor.shape
            else:
                with pytest.raises(CheckpointError, match="which is not supported"):
                    tensor.read(mapped=mapped)
    return True


def test_the_flawless_file_is_taken(path: Path) -> None:
    assert judge(path, FLAWLESS)


PIECES = st.sampled_from(
    [bytes([byte]) for byte in b'"{}[],: 09-.e\\\n\0\xff']
    + [b"null", b"true", b"NaN", b'"a"', b'"F16"', b'"BF16"', b'"I8"', b'"dtype"', b"{}", b"[]"]
    + [b'"__metadata__":{},', b"18446744073709551615", b"9" * 4300, b"[" * 300]
) | st.binary(max_size=3)
EDITS = st.lists(st.tuples(st.integers(0, len(HEADER)), st.integers(0, 3), PIECES), max_size=4)


@given(EDITS)
@settings(deadline=None, max_examples=150)
def test_a_header_with_some_bytes_changed(path: Path, edits: list[tuple[int, int, bytes]]) -> None:
    header = HEADER
    for place, removed, piece in edits:
        header = header[:place] + piece + header[place + removed :]
    judge(path, pack(header, BODY))


@given(st.integers(0, len(FLAWLESS) - 1), st.binary(min_size=1, max_size=9))
@settings(deadline=None, max_examples=100)
def test_a_file_with_some_bytes_overwritten(path: Path, place: int, piece: bytes) -> None:
    """The header's length among them."""
    judge(path, FLAWLESS[:place] + piece + FLAWLESS[place + len(piece) :])


@given(st.binary(max_size=80))
@settings(deadline=None, max_examples=50)
def test_a_file_of_any_bytes(path: Path, data: bytes) -> None:
    judge(path, data)
    judge(path, pack(data, b""))


ODD: list[Any] = [None, True, -1, 0, 1.5, 2**31, 2**62, 2**63, 2**64, 10**30, "", "F32", "BOOL"]
LEAVES = st.sampled_from(ODD) | st.integers(0, 64) | st.text(max_size=3)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=6,
)
MEMBERS = st.sampled_from(["dtype", "shape", "data_offsets", "x"])


@given(st.sampled_from(list(TENSORS)), MEMBERS, VALUES)
@settings(deadline=None, max_examples=150)
def test_a_header_with_one_member_changed(path: Path, name: str, member: str, value: Any) -> None:
    header = json.loads(HEADER)
    header[name][member] = value
    judge(path, pack(json.dumps(header).encode(), BODY))


@given(st.sampled_from([*TENSORS, "__metadata__", "f"]), VALUES)
@settings(deadline=None, max_examples=75)
def test_a_header_with_one_entry_changed(path: Path, name: str, value: Any) -> None:
    header = json.loads(HEADER) | {name: value}
    judge(path, pack(json.dumps(header).encode(), BODY))


SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)
DTYPES = st.sampled_from(["float64", "float32", "float16", "int64", "int32", "uint8", "bool"])


@given(st.dictionaries(st.text(max_size=9), st.tuples(DTYPES, SHAPES), max_size=6))
@settings(deadline=None, max_examples=75)
def test_every_good_file_is_taken(
    path: Path, parts: dict[str, tuple[str, tuple[int, ...]]]
) -> None:
    parts.pop("__metadata__", None)
    data = serialize({name: np.zeros(shape, dtype) for name, (dtype, shape) in parts.items()})
    assert judge(path, data)
