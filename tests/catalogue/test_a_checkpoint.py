"""Rows A1 to A24: the bytes of a checkpoint, whatever somebody has put there."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import pickle
import signal
import socket
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

from numpy_bert import BertForMaskedLM, BertModel, fetch
from numpy_bert.cli import main
from numpy_bert.errors import CheckpointError, IntegrityError
from numpy_bert.loading import header, stored
from numpy_bert.loading.checkpoint import INDEX, SINGLE, open_checkpoint
from numpy_bert.loading.stored import SafetensorsFile
from tests.support.checkpoints import (
    TINY,
    bfloat16_bits,
    pack,
    random_tensors,
    serialize,
    write_checkpoint,
)
from tests.support.hub import StandInHub
from tests.support.limits import allocating_at_most, within
from tests.support.platforms import posix
from tests.support.repository import FILES, REPO, cache_of, contents, corrupt
from tests.support.stored_files import (
    FLAWLESS,
    FOUR,
    MIXED,
    WEIGHTS,
    headed,
    holding,
    noted,
    one,
    opened,
    text,
    two,
    zipped,
)

Capture = pytest.CaptureFixture[str]
Cases = dict[str, tuple[bytes, str]]
ROOT = Path(__file__).parents[2]
WORD = "embeddings.word_embeddings.weight"
DENSE = "encoder.layer.1.output.dense.weight"


def said(folder: Path) -> str:
    """Return what is said of a folder's model.safetensors, without the path before it."""
    with pytest.raises(CheckpointError) as raised, within(10):
        BertModel.from_pretrained(folder)
    start = f"{folder / SINGLE}: "
    assert str(raised.value).startswith(start)
    message = str(raised.value).removeprefix(start)
    assert all(line.isprintable() and len(line) < 600 for line in message.splitlines())
    return message


def refusal(folder: Path, data: bytes, capsys: Capture) -> str:
    """Return what Python and the command line say alike of a model.safetensors of these bytes."""
    (folder / "config.json").write_text(json.dumps(TINY))
    (folder / SINGLE).write_bytes(data)
    message = said(folder)
    assert main(["inspect", str(folder)]) == 1
    assert capsys.readouterr().err == f"numpy-bert inspect: error: {folder / SINGLE}: {message}\n"
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", SINGLE]
    assert (folder / SINGLE).read_bytes() == data
    return message


def refused(cases: Cases) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a test the bytes of each case, and words of what must be said of them."""
    return pytest.mark.parametrize(("data", "words"), cases.values(), ids=cases)


@refused(
    {
        "no byte": (b"", "has 0 bytes; a safetensors header needs 8 at least"),
        "one byte": (b"\x80", "has 1 bytes; a safetensors header needs 8 at least"),
        "seven bytes": (b"<html> ", "has 7 bytes; a safetensors header needs 8 at least"),
    }
)
def test_a1_a_file_of_0_to_7_bytes(
    data: bytes, words: str, tmp_path: Path, capsys: Capture
) -> None:
    assert words in refusal(tmp_path, data, capsys)


@refused(
    {
        "2**63": (
            pack(b"{}", b"", length=1 << 63),
            "the header claims 9,223,372,036,854,775,808 bytes, the file has 10",
        ),
        "2**64 - 1": (pack(b"{}", b"", length=(1 << 64) - 1), "the file has 10; it is incomplete"),
        "100 MB": (pack(b"{}", b"", length=100_000_001), "the header claims 100,000,001 bytes"),
        "one more": (pack(b"{}", b"", length=3), "claims 3 bytes, the file has 10; it is inc"),
        "none": (bytes(8), "the header does not start with '{'"),
    }
)
def test_a2_a_header_that_is_too_long(
    data: bytes, words: str, tmp_path: Path, capsys: Capture
) -> None:
    assert words in refusal(tmp_path, data, capsys)


def test_a3_a_huge_header_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / SINGLE
    path.write_bytes(pack(b"{", b"", length=25_000_001))
    os.truncate(path, 30_000_000)
    with pytest.raises(CheckpointError) as raised, within(5), allocating_at_most(1 << 20):
        SafetensorsFile(path)
    assert "claims 25,000,001 bytes; at most 25,000,000 are read" in str(raised.value)


def test_a3_the_largest_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    length = struct.unpack("<Q", FLAWLESS[:8])[0]
    monkeypatch.setattr(header, "_LARGEST_HEADER", length)
    assert len(opened(tmp_path, FLAWLESS).tensors) == len(MIXED)
    monkeypatch.setattr(header, "_LARGEST_HEADER", length - 1)
    assert "at most" in refusal(tmp_path, FLAWLESS, capsys)


@refused(
    {
        "no utf-8": (headed(b'{"\xff": 1}'), "header: is not UTF-8 (byte 2)"),
        "byte order mark": (headed(b"\xef\xbb\xbf{}"), "the header does not start with '{'"),
        "NULs behind": (headed(b"{}\0\0"), "is not JSON (Extra data: line 1, column 3)"),
        "text behind": (headed(b"{}\n{}"), "is not JSON (Extra data: line 2, column 1)"),
        "cut": (headed(b'{"a":'), "is not JSON (Expecting value: line 1, column 6)"),
        "a list": (headed(b"[]"), "the header does not start with '{'"),
        "nesting": (headed(b'{"a":' + b"[" * 200_000), "is nested too deeply"),
        "less nesting": (one(x=json.loads("[" * 200 + "]" * 200)), "Error while deser"),
        "half a character": (text(r'{"\ud800": T}'), "Error while deser"),
    }
)
def test_a4_a_header_that_is_no_json_object(
    data: bytes, words: str, tmp_path: Path, capsys: Capture
) -> None:
    assert words in refusal(tmp_path, data, capsys)


def test_a5_a_header_that_starts_with_a_space(tmp_path: Path, capsys: Capture) -> None:
    found = refusal(tmp_path, text(' {"a": T}'), capsys)
    assert found == "the header does not start with '{'."


@refused(
    {
        "same": (text('{"a": T, "a": T}'), "the key a stands twice; keep one"),
        "other shape": (text('{"a": {"shape": [1, 1]}, "a": T}'), "the key a stands twice"),
        "escaped": (text(r'{"a": T, "\u0061": T}'), "the key a stands twice"),
    }
)
def test_a6_a_name_that_stands_twice(
    data: bytes, words: str, tmp_path: Path, capsys: Capture
) -> None:
    assert words in refusal(tmp_path, data, capsys)


@refused(
    {
        "twice": (text('{"__metadata__": {"k": "", "k": ""}, "a": T}'), "k stands twice"),
        "two": (text('{"__metadata__": {}, "__metadata__": {}}'), "__metadata__ stands twice"),
        "number": (noted({"k": 1}), "__metadata__ must be an object of strings; got {'k': 1}"),
        "null": (noted(None), "__metadata__ must be an object of strings; got None"),
        "list": (noted(["pt"]), "__metadata__ must be an object of strings; got ['pt']"),
        "null value": (noted({"k": None}), "an object of strings; got {'k': None}"),
    }
)
def test_a7_metadata_that_is_none(data: bytes, words: str, tmp_path: Path, capsys: Capture) -> None:
    assert words in refusal(tmp_path, data, capsys)


def test_a7_metadata_changes_nothing(tmp_path: Path) -> None:
    file = opened(tmp_path, noted({"format": "tf", "dtype": "F64", "a": "b"}))
    assert list(file.tensors) == ["a"]
    assert file.tensors["a"].read(mapped=True).dtype == np.float32
    assert list(opened(tmp_path, noted({})).tensors) == ["a"]
    assert list(opened(tmp_path, headed({}, b"")).tensors) == []


OFFSETS = "must have a dtype, a shape and two offsets; got "


@refused(
    {
        "overlap": (two([2, 6]), "b starts at byte 132; the tensors before it end at 134"),
        "shared": (two([0, 4]), "b starts at byte 130; the tensors before it end at 134"),
        "hole": (two([6, 10]), "b starts at byte 137; the tensors before it end at 135"),
        "hole at the start": (one(data_offsets=[4, 8]), "a starts at byte 73; the tensors before"),
        "reversed": (one(data_offsets=[4, 0]), "a " + OFFSETS + "{'dtype': 'F32', 'shape'"),
        "negative": (one(data_offsets=[-4, 0]), OFFSETS),
        "4300 digits": (one(dtype="I8", data_offsets=[0, 10**4300 - 1]), OFFSETS),
        "float": (one(data_offsets=[0, 4.0]), OFFSETS),
        "true": (one(data_offsets=[False, 4]), OFFSETS),
        "one": (one(data_offsets=[0]), OFFSETS),
        "three": (one(data_offsets=[0, 4, 4]), OFFSETS),
        "none": (one(data_offsets=None), OFFSETS),
        "missing": (headed({"a": {"dtype": "F32", "shape": [1]}}), OFFSETS),
        "an entry as a list": (headed({"a": ["F32", [1], [0, 4]]}), "a " + OFFSETS + "['F32', [1]"),
        "an entry as null": (headed({"a": None}), "a " + OFFSETS + "None"),
        "bytes behind": (one() + bytes(5), "describes 73 bytes, the file has 78; it is too long."),
    }
)
def test_a8_offsets_that_do_not_fill_the_file(
    data: bytes, words: str, tmp_path: Path, capsys: Capture
) -> None:
    assert words in refusal(tmp_path, data, capsys)


SIZE = len(FLAWLESS)
CUTS = sorted({SIZE * n // 64 + d for n in range(65) for d in (-1, 0, 1)} & set(range(SIZE)))


@pytest.mark.parametrize("cut", CUTS)
def test_a9_a_file_that_is_cut_anywhere(cut: int, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as raised:
        opened(tmp_path, FLAWLESS[:cut])
    message = str(raised.value).removeprefix(f"{tmp_path / SINGLE}: ")
    if cut < 8:
        assert message == f"has {cut} bytes; a safetensors header needs 8 at least."
    else:
        assert f"the file has {cut:,}; it is incomplete" in message
        assert message.endswith("Download it again.")


def test_a9_a_cut_file_on_the_command_line(tmp_path: Path, capsys: Capture) -> None:
    assert refusal(tmp_path, FLAWLESS[:-1], capsys) == (
        f"the header describes {SIZE:,} bytes, the file has {SIZE - 1:,}; it is incomplete. "
        "Download it again."
    )
    (tmp_path / SINGLE).write_bytes(serialize(random_tensors()))  # downloaded again
    assert BertModel.from_pretrained(tmp_path).config.hidden_size == TINY["hidden_size"]


@refused(
    {
        "too few": (one(shape=[2]), "a has 4 bytes; F32 of shape (2,) takes 8"),
        "too few behind": (two([4, 7]), "b has 3 bytes; F32 of shape (1,) takes 4."),
        "no size": (one(shape=[0]), "a has 4 bytes; F32 of shape (0,) takes 0"),
        "other dtype": (one(dtype="I8"), "ensor"),
        "overflow": (one(shape=[1 << 62, 4]), "a has shape (4611686018427387904, 4), which no"),
        "0 x 2**62": (one(shape=[0, 1 << 62], data_offsets=[0, 0]), "which no array can have"),
        "0 x 2**64": (one(shape=[0, 1 << 64], data_offsets=[0, 0]), OFFSETS),
        "too large": (one(shape=[0, (1 << 59) + 1], data_offsets=[0, 0]), "which no array can"),
        "rank 65": (one(shape=[1] * 65), "which no array can have"),
        "rank 10**5": (one(shape=[9] * 10**5), "which no array can have"),
        "negative": (one(shape=[-1]), OFFSETS),
        "float": (one(shape=[1.0]), OFFSETS),
        "number": (one(shape=1), OFFSETS),
    }
)
def test_a10_a_shape_that_is_not_that_of_the_bytes(
    data: bytes, words: str, tmp_path: Path, capsys: Capture
) -> None:
    assert words in refusal(tmp_path, data, capsys)


@pytest.mark.parametrize("shape", [(), (0,), (0, 37), (24, 0), (24,)], ids=str)
def test_a11_no_matrix_where_one_is_due(
    shape: tuple[int, ...], tmp_path: Path, capsys: Capture
) -> None:
    tensors = random_tensors() | {DENSE: np.zeros(shape, np.float32)}
    message = said(write_checkpoint(tmp_path, tensors))
    assert message == (
        f"1 of the wrong shape or dtype.\n  misfit   {DENSE} is {shape}, config.json says (24, 37)"
    )
    assert main(["embed", "a text", "--model", str(tmp_path)]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("spaces", range(8))
def test_a12_a_header_of_any_length(spaces: int, tmp_path: Path) -> None:
    array = np.arange(3, dtype=np.float64)
    entry = {"dtype": "F64", "shape": [3], "data_offsets": [0, 24]}
    start = json.dumps({"a": entry, "__metadata__": {"format": "pt"}}).encode()
    file = opened(tmp_path, pack(start + b" " * spaces, array.tobytes()))
    assert list(file.tensors) == ["a"]
    found = file.tensors["a"].read(mapped=True)
    assert found.flags.aligned
    assert np.array_equal(found, array)


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32"])
@pytest.mark.parametrize("before", [0, 1, 2, 3])
def test_a12_unaligned_data_becomes_aligned(
    dtype: str, before: int, mapped: bool, tmp_path: Path
) -> None:
    array = (WEIGHTS * 100).astype(dtype)
    found = holding(tmp_path, array, before=before).tensors["w"].read(mapped=mapped)
    assert found.dtype == dtype
    assert found.flags.aligned
    assert not found.flags.writeable
    assert found.tobytes() == array.tobytes()


def test_a13_dtypes_that_are_mixed_in_one_file(tmp_path: Path) -> None:
    tensors, norm = random_tensors(), "embeddings.LayerNorm.weight"
    mixed = dict(tensors)
    mixed[WORD] = tensors[WORD].astype(np.float16)
    mixed[DENSE] = bfloat16_bits(tensors[DENSE])
    mixed[norm] = tensors[norm].astype(np.float64)
    model = BertModel.from_pretrained(
        write_checkpoint(tmp_path / "mixed", mixed, codes={DENSE: "BF16"})
    )
    assert model.loading_info.cast == (
        (WORD, "F16", "float32"),
        (norm, "F64", "float32"),
        (DENSE, "BF16", "float32"),
    )
    plain = BertModel.from_pretrained(write_checkpoint(tmp_path / "plain", tensors))
    found, expected = (m([[2, 5, 3]]).last_hidden_state for m in (model, plain))
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("before", [0, 1])
def test_a13_every_bfloat16_is_exact(mapped: bool, before: int, tmp_path: Path) -> None:
    """Zeros, subnormals, infinities and NaN payloads of either sign, all 65536 of them."""
    codes = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)
    tensor = holding(tmp_path, codes, "BF16", before=before).tensors["w"]
    assert tensor.is_float
    found = tensor.read(mapped=mapped)
    expected = b"".join(b"\0\0" + struct.pack("<H", code) for code in range(1 << 16))
    assert found.dtype == np.float32
    assert found.shape == (256, 256)
    assert found.tobytes() == expected
    assert not found.flags.writeable


@pytest.mark.parametrize("mapped", [True, False])
def test_a13_a_bfloat16_without_axes_is_an_array(mapped: bool, tmp_path: Path) -> None:
    code = np.array(0x4049, np.uint16)
    found = holding(tmp_path, code, "BF16").tensors["w"].read(mapped=mapped)
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float32
    assert found.tolist() == 3.140625
    assert not found.flags.writeable
    # A bias that BERT ties to another is read before anybody looks at its shape.
    bits = dict.fromkeys(("cls.predictions.bias", "cls.predictions.decoder.bias"), code)
    folder = write_checkpoint(
        tmp_path / "tied", random_tensors(heads=True) | bits, codes=dict.fromkeys(bits, "BF16")
    )
    with pytest.raises(CheckpointError, match=r"cls\.predictions\.\S*bias is \(\), config"):
        BertForMaskedLM.from_pretrained(folder)


@pytest.mark.parametrize("installed", [True, False])
def test_a13_bfloat16_does_not_depend_on_ml_dtypes(
    installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's own reader works only after somebody has imported ml_dtypes."""
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


@pytest.mark.parametrize(
    ("dtype", "code"),
    [
        *(("int8", "I8"), ("bool", "BOOL"), ("uint8", "U8"), ("uint8", "F8_E4M3")),
        *(("int16", "I16"), ("int64", "I64")),
    ],
)
def test_a14_a_weight_that_is_no_float(
    dtype: str, code: str, tmp_path: Path, capsys: Capture
) -> None:
    array = random_tensors()[DENSE].astype(dtype)
    codes = {DENSE: code}
    message = refusal(tmp_path, serialize(random_tensors() | {DENSE: array}, codes=codes), capsys)
    assert message == (
        f"1 of the wrong shape or dtype.\n  misfit   {DENSE} has dtype {code}, which is not "
        "supported for weights (F32, F16, BF16, F64)"
    )


@pytest.mark.parametrize("dtype", ["C64", "F4"])
def test_a14_a_dtype_that_older_libraries_do_not_know(
    dtype: str, tmp_path: Path, capsys: Capture
) -> None:
    assert dtype in refusal(tmp_path, one(dtype=dtype, shape=[1]), capsys)


@refused(
    {
        "lower case": (one(dtype="f32"), "It holds dtypes that are not read here: f32."),
        "unknown": (one(dtype="Incomplete"), "that are not read here: Incomplete."),
        "no string": (one(dtype={"F32": None}), "a " + OFFSETS + "{'dtype': {'F32': None}, "),
        "null": (one(dtype=None), "a " + OFFSETS + "{'dtype': None, 'shape': "),
    }
)
def test_a14_a_dtype_that_is_none(data: bytes, words: str, tmp_path: Path, capsys: Capture) -> None:
    assert words in refusal(tmp_path, data, capsys)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a15_a_weight_that_is_not_finite_is_named(
    value: float, tmp_path: Path, capsys: Capture
) -> None:
    """A table is not read whole when it is loaded (design.md): the first call that uses it says."""
    tensors = random_tensors()
    tensors[WORD][7, 3] = tensors[WORD][9, 2] = value
    model = BertModel.from_pretrained(write_checkpoint(tmp_path, tensors))
    assert np.isfinite(model.embeddings([[6]])).all()
    with pytest.raises(CheckpointError) as raised:
        model.embeddings([[6, 7, 9]])
    start = f"{tmp_path / SINGLE}: {WORD}[7, 3] = {value}: this weight is not finite, so"
    assert str(raised.value).startswith(start)
    assert "`numpy-bert inspect --check` lists all such tensors" in str(raised.value)
    assert main(["inspect", str(tmp_path), "--check"]) == 1
    assert f"{WORD}[7, 3] is not finite" in capsys.readouterr().out


@pytest.mark.parametrize("value", [1e39, -3.5e38, np.finfo(np.float64).max])
@pytest.mark.parametrize("key", [WORD, DENSE])
def test_a16_a_double_that_does_not_fit(value: float, key: str, tmp_path: Path) -> None:
    tensors: dict[str, npt.NDArray[Any]] = {**random_tensors()}
    tensors[key] = tensors[key].astype(np.float64)
    tensors[key][3, 5] = tensors[key][4, 1] = value
    folder = write_checkpoint(tmp_path, tensors)
    assert said(folder) == (
        f"{key}[3, 5] = {value} does not fit into float32; load with dtype='float64'."
    )
    model = BertModel.from_pretrained(folder, dtype="float64")
    assert dict(model.named_parameters())[key][3, 5] == value


NAMES = ["", "a\0b", "a\nb", "\x1b[31m", "n" * 10**6, "\u202e"]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:9]))
def test_a17_a_wild_name_is_a_name(name: str, tmp_path: Path, capsys: Capture) -> None:
    """It is read, and shown by its repr, cut where it is long."""
    file = opened(tmp_path, serialize({name: np.arange(3, dtype=np.int8)}))
    assert list(file.tensors) == [name]
    with pytest.raises(CheckpointError, match="has dtype I8, which is not supported") as raised:
        file.tensors[name].read(mapped=True)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 600
    folder = write_checkpoint(tmp_path, random_tensors() | {name: np.zeros(2, np.float32)})
    assert BertModel.from_pretrained(folder).loading_info.unexpected_keys == (name,)
    assert main(["inspect", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert (ascii(name)[1:-1] or "''")[:100] in out
    assert all(line.isprintable() and len(line) < 600 for line in (out + err).splitlines())


@refused(
    {
        "wild": (headed({"\x1b[31m\n": None}), r"'\x1b[31m\n' must have a dtype"),
        "empty": (headed({"": None}), "'' must have a dtype"),
        "long": (headed({"n" * 10**6: None}), "n" * 200 + "... must have a dtype"),
        "a wild dtype": (one(dtype="\x1b[31m"), r"not read here: '\x1b[31m'."),
    }
)
def test_a17_a_wild_name_in_a_message(
    data: bytes, words: str, tmp_path: Path, capsys: Capture
) -> None:
    assert words in refusal(tmp_path, data, capsys)


def no_library(*_: object, **__: object) -> None:
    raise AssertionError("the library was let at a header that had to be refused before")


def test_a18_too_many_tensors_are_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are refused by their number, before anything is made of them."""
    members = ",".join(f'"{n}":{{"data_offsets":[0,0]}}' for n in range(300_000))
    data = headed(f"{{{members}}}".encode(), b"")
    monkeypatch.setattr(stored, "safe_open", no_library)
    write_checkpoint(tmp_path)
    (tmp_path / SINGLE).write_bytes(data)
    with allocating_at_most(3 * len(data)):
        assert said(tmp_path) == "holds more than 100,000 tensors."


def test_a18_as_many_tensors_as_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(header, "_MOST_TENSORS", len(MIXED))
    assert len(opened(tmp_path, FLAWLESS).tensors) == len(MIXED)
    monkeypatch.setattr(header, "_MOST_TENSORS", len(MIXED) - 1)
    assert refusal(tmp_path, FLAWLESS, capsys) == f"holds more than {len(MIXED) - 1} tensors."


def test_a18_a_million_of_other_values(tmp_path: Path) -> None:
    """Lists in lists, of which each takes as many bytes of memory as 30 of the file."""
    data = headed(b'{"__metadata__":[' + b"[]," * 1_000_001 + b"0]}", b"")
    write_checkpoint(tmp_path)
    (tmp_path / SINGLE).write_bytes(data)
    with allocating_at_most(2 * len(data)):
        assert said(tmp_path) == "header: holds more than 1,000,000 values; so many are not read."


ZIP = "a zip archive, as torch.save makes: pickles are never opened here"
PICKLE = "a pickle: pickles are never opened here"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 9\n"
FOREIGN = {
    "git lfs": (
        LFS,
        "a Git LFS pointer: the file itself was not downloaded. Run git lfs pull in its "
        "repository, or download the file",
    ),
    "html": (
        b"<!DOCTYPE html><title>Sign in</title>",
        "an HTML or XML page, not weights: download the file again",
    ),
    "zip": (zipped(), ZIP),
    "pickle 2": (pickle.dumps([0.5] * 99, protocol=2), PICKLE),
    "pickle 4": (pickle.dumps([0.5] * 99, protocol=4), PICKLE),
    "gzip": (gzip.compress(FLAWLESS), "gzip-compressed: decompress it first"),
    "gzip 0": (gzip.compress(FLAWLESS, mtime=0), "gzip-compressed: decompress it first"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file (Keras): convert it to safetensors"),
    "gguf": (b"GGUF\x03" + bytes(99), "a GGUF file: take the original safetensors file"),
}


@refused(FOREIGN)
def test_a19_a_file_of_another_kind_is_called_by_its_name(
    data: bytes, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    for module in (pickle, zipfile, gzip):
        monkeypatch.delattr(module, "open", raising=False)
    assert refusal(tmp_path, data, capsys) == f"is {words}."


@pytest.mark.parametrize("length", [0x100 + ord("<"), 0x80, 0x8B1F])
def test_a19_a_header_length_that_looks_like_another_kind(
    length: int, tmp_path: Path, capsys: Capture
) -> None:
    start = json.dumps({"a": FOUR}).encode().ljust(length)
    assert len(start) == length
    assert "a" in opened(tmp_path, headed(start)).tensors
    cut = headed(start)[: length // 2]
    assert "is incomplete" in refusal(tmp_path, cut, capsys)  # and no page, pickle or archive


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "\x1b[31m.bin"], ids=ascii)
@posix
def test_a19_a_pickle_is_named_and_never_opened(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)  # whoever opens it hangs
    with pytest.raises(CheckpointError) as raised, within(10):
        open_checkpoint(tmp_path)
    shown = name if name.isprintable() else repr(name)
    assert str(raised.value).startswith(
        f"{tmp_path}: has neither {SINGLE} nor {INDEX}. It has only pickled weights ({shown}), "
        "which are refused, since opening a pickle runs whatever code is in it. Convert it "
    )


NO_FILES = {
    "folder": "is a folder; name a file",
    "pipe": "is not a regular file",
    "socket": "is not a regular file",
    "device": "is not a regular file",
    "broken link": "is a link to a file that is gone",
}


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize("name", [SINGLE, INDEX])
@posix
def test_a20_weights_are_a_regular_file(
    kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        monkeypatch.chdir(tmp_path)  # a socket's path may be no longer than 100 characters
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(name)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else "gone")
    with pytest.raises(CheckpointError) as raised, within(10):
        open_checkpoint(tmp_path)
    assert str(raised.value).startswith(f"{path}: {NO_FILES[kind]}")


def test_a20_weights_that_may_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """As whoever is not root sees them, who may read every file."""
    data = serialize(random_tensors())
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != SINGLE and access(path, mode))
    assert refusal(tmp_path, data, capsys) == "may not be read (permission denied)."


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
def test_a21_a_file_that_changed_after_its_header_was_read(
    change: Callable[[Path], None], words: str, mapped: bool, tmp_path: Path
) -> None:
    file = holding(tmp_path, WEIGHTS)
    change(file.path)
    with pytest.raises(CheckpointError) as raised:
        file.tensors["w"].read(mapped=mapped)
    assert str(raised.value) == f"{file.path}: {words}"


@pytest.mark.parametrize("cut", [True, False])
def test_a21_a_file_that_changes_while_it_is_copied(
    cut: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


@posix
def test_a21_cutting_a_mapped_file_ends_the_process(tmp_path: Path) -> None:
    """The documented price of mapping; nobody can catch it."""
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


def test_a22_a_flipped_bit_in_the_data(hub: StandInHub, tmp_path: Path) -> None:
    """Nothing in the file shows it; the hash that the hub published does."""
    hub.add_commit(REPO, FILES)
    whole = fetch(REPO)
    kept = {path for path in contents(cache_of(tmp_path)) if path.startswith("blobs/")}
    hub.add_commit(REPO, {**FILES, SINGLE: FILES[SINGLE][:-1] + b"\x7f"})
    hub.fault("flip", path=SINGLE)
    with pytest.raises(IntegrityError, match=f"{SINGLE}: .*its bytes hash to .*hub published"):
        fetch(REPO)
    blobs = [path for path in contents(cache_of(tmp_path)) if path.startswith("blobs/")]
    assert set(blobs) == kept
    model = BertModel.from_pretrained(REPO, local_files_only=True)  # the last good copy
    assert model.loading_info.files == (str(whole / SINGLE),)


def test_a22_a_flipped_bit_in_a_folder(tmp_path: Path, capsys: Capture) -> None:
    """Nobody knows a folder's hashes but who wrote them down, as sha256sum does."""
    folder, hashes = write_checkpoint(tmp_path / "model"), tmp_path / "model.sha256"
    files = (path for path in sorted(folder.iterdir()))
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    hashes.write_text("".join(lines))
    command = ["fetch", str(folder), "--sha256", str(hashes)]
    assert main(command) == 0
    corrupt(folder / SINGLE)
    capsys.readouterr()
    assert main(command) == 1
    assert capsys.readouterr().err.startswith(f"numpy-bert fetch: error: {folder / SINGLE}: its ")


@refused(
    {
        "data before": (b"#!/bin/sh\n" + one(), "Download it again"),
        "a zip behind": (one() + zipped(), "it is too long. Download it again"),
    }
)
def test_a23_a_file_that_is_two_things(
    data: bytes, words: str, tmp_path: Path, capsys: Capture
) -> None:
    assert words in refusal(tmp_path, data, capsys)


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize(
    ("code", "other"),
    [("F32", ">f4"), ("F64", ">f8"), ("F16", ">f2"), ("I64", ">i8"), ("BF16", ">u2")],
)
def test_a24_the_other_byte_order_becomes_ours(
    code: str, other: str, mapped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a big-endian machine does with a little-endian file, with the roles exchanged.

    Not here: a big-endian machine, on which the kernels and the libraries would run as well.
    """
    array = np.arange(1, 7).astype(other)
    monkeypatch.setitem(header.DTYPES, code, np.dtype(other))
    swapped = array.view(np.dtype(other).newbyteorder("="))  # the bytes stay
    found = opened(tmp_path, serialize({"w": swapped}, codes={"w": code})).tensors["w"]
    numbers = found.read(mapped=mapped)
    assert numbers.dtype.isnative
    if code == "BF16":
        numbers = numbers.view(np.uint32) >> 16
    assert numbers.tolist() == [1, 2, 3, 4, 5, 6]


def test_a24_every_dtype_is_read_as_little_endian() -> None:
    assert {dtype.str[0] for dtype in header.DTYPES.values()} == {"<"}
