"""Hostile files: every size is checked before anything is read, and nothing is unpickled."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from numpy_bert import TraceError
from numpy_bert.traces.array_files import read_folder, read_npz, read_safetensors
from numpy_bert.traces.reading import open_trace
from tests.support.checkpoints import pack, serialize
from tests.support.limits import allocating_at_most
from tests.support.platforms import posix

A = np.arange(6, dtype=np.float32).reshape(2, 3)
CODES = {"bool": "BOOL", "uint8": "U8", "int8": "I8", "int16": "I16"}
DTYPES = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")


def npy(array: npt.NDArray[Any], *, pickled: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=pickled)
    return buffer.getvalue()


def header(text: str, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """Write an npy file by hand."""
    raw = text.encode() + b"\n"
    size = struct.pack("<H", len(raw)) if version == (1, 0) else struct.pack("<I", len(raw))
    return b"\x93NUMPY" + bytes(version) + size + raw + data


def described(shape: str, descr: str = "'<f4'", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return path


@pytest.mark.parametrize("kind", ["npz", "compressed npz", "npy", "safetensors"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_comes_back(tmp_path: Path, kind: str, dtype: str) -> None:
    array = np.array([[1, 0, 1], [0, 0, 1]], dtype)
    if kind == "npy":
        np.save(tmp_path / "a.b.npy", array)
        (found,) = read_folder(tmp_path)
    elif kind == "safetensors":
        path = tmp_path / "x.safetensors"
        codes = {
            "a.b": {"bool": "BOOL", "uint8": "U8", "int8": "I8", "int16": "I16"}.get(dtype, "")
        }
        path.write_bytes(serialize({"a.b": array}, codes={k: v for k, v in codes.items() if v}))
        (found,), metadata = read_safetensors(path)
        assert metadata == {}
    else:
        save: Any = np.savez if kind == "npz" else np.savez_compressed
        save(tmp_path / "x.npz", **{"a.b": array})
        (found,) = read_npz(tmp_path / "x.npz")
    assert (found.name, found.dtype, found.shape) == ("a.b", dtype, (2, 3))
    assert found.load().dtype == dtype
    assert np.array_equal(found.load(), array)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["<f4", ">f4", ">i8", "<f2"])
def test_orders_of_bytes_and_axes(tmp_path: Path, order: Any, kind: str) -> None:
    array = np.asarray(A.astype(kind), order=order)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", a=array)
    for (found,) in (read_folder(tmp_path), read_npz(tmp_path / "a.npz")):
        assert found.load().dtype.isnative
        assert np.array_equal(found.load(), A)


def test_bfloat16_as_jax_saves_it_and_as_torch_does(tmp_path: Path) -> None:
    bits = np.array([0x3F80, 0xC000], np.uint16)
    (tmp_path / "a.npy").write_bytes(header(described("(2,)", "'<V2'"), bits.tobytes()))
    path = tmp_path / "a.safetensors"
    path.write_bytes(serialize({"a": bits}, codes={"a": "BF16"}))
    for found in (read_folder(tmp_path)[0], read_safetensors(path)[0][0]):
        assert found.dtype == "bfloat16"
        assert np.array_equal(found.load(), [1.0, -2.0])


def test_a_scalar_of_bfloat16(tmp_path: Path) -> None:
    bits = np.array(0xC000, np.uint16)
    (tmp_path / "a.npy").write_bytes(header(described("()", "'<V2'"), bits.tobytes()))
    path = tmp_path / "a.safetensors"
    path.write_bytes(serialize({"a": bits}, codes={"a": "BF16"}))
    for found in (read_folder(tmp_path)[0], read_safetensors(path)[0][0]):
        assert np.array_equal(found.load(), -2.0)


def test_what_stands_before_the_arrays_of_an_npz(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, a=A)
    path.write_bytes(b"PK\x03\x04 is something else" + path.read_bytes())
    with pytest.raises(TraceError, match="must begin with an array"):
        read_npz(path)
    with zipfile.ZipFile(path, "w"):
        pass
    with pytest.raises(TraceError, match="must hold arrays; it holds none"):
        read_npz(path)


def test_a_scalar_and_an_empty_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", scalar=np.float32(2), empty=np.zeros((0, 3), np.float32))
    one, none = read_npz(tmp_path / "a.npz")
    assert (one.shape, float(one.load()), none.shape, none.size) == ((), 2.0, (0, 3), 0)


BAD_NPY: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is no npy file"),
    "garbage": (b"\x00" * 200, "is no npy file"),
    "a pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 9\n",
        "is a Git LFS pointer: the file itself was not downloaded",
    ),
    "a pickle": (b"\x80\x04N.", "is no npy file"),
    "objects": (npy(np.array([{}]), pickled=True), "Python objects, which are pickles"),
    "strings": (npy(np.array(["a"])), "must hold plain numbers"),
    "complex": (npy(np.zeros(2, complex)), "must hold plain numbers"),
    "fields": (npy(np.zeros(2, [("a", "f4")])), "must hold plain numbers|is no npy file"),
    "long double": (npy(np.zeros(2, np.longdouble)), "must be float16, float32 or float64"),
    "truncated": (
        npy(A)[:-1],
        r"must have 24 bytes of data, which float32 of shape \(2, 3\) takes; got 23",
    ),
    "too long": (npy(A) + b"x", "24 bytes of data, .* got 25"),
    "a header that claims 400 GB": (
        header(described("(100000000000,)"), b"1234"),
        r"400,000,000,000 bytes of data, which float32 of shape \(100000000000,\) takes; got 4",
    ),
    "negative": (header(described("(-1, -6)"), b"0" * 24), "a shape that no array can have"),
    "axes without end": (header(described(str((1,) * 99))), "a shape that no array can have"),
    "code": (header("__import__('os').system('x')"), "is no npy file"),
    "deep": (header("(" * 5000), "is no npy file"),
    "a shape that is not closed": (header(described("(3")), "is no npy file"),
    "a shape of minus signs": (header(described(f"({'-' * 9000}1,)")), "is no npy file"),
    "a shape of 5000 digits": (header(described(f"(0x{'f' * 5000},)")), "is no npy file|no array"),
    "a shape of booleans": (header(described("(True, 6)"), b"0" * 24), "is no npy file"),
    "a shape of nothing and all": (header(described(f"(0, {10**30})")), "no array can have"),
    "no dtype": (header(described("(2,)", "()"), b"0" * 8), "plain numbers"),
    "two bytes with a name": (
        header(described("(2,)", "[('a', '<f2')]"), b"0" * 4),
        "plain numbers",
    ),
    "pairs of bytes": (
        header(described("(2,)", "('|u1', (2,))"), b"0" * 4),
        "plain numbers|bytes of",
    ),
    "a control character behind it": (
        header(described("(2,)") + " \x1d", b"0" * 8),
        "is no npy file",
    ),
    "one member twice": (header(described("(2,), 'shape': (2,)"), b"0" * 8), "is no npy file"),
    "a member too few": (header("{'descr': '<f4', 'shape': (2,), }"), "is no npy file"),
    "a dtype that is none": (header(described("(2,)", "'<f3'"), b"0" * 6), "is no npy file"),
    "cut within its header": (npy(np.zeros((0, 3)))[:-1], "ends within its header"),
    "version 9": (header(described("(2,)"), b"0" * 8, (9, 0)), "is no npy file|version"),
    "version 3": (header(described("(2,)"), b"0" * 8, (3, 0)), r"version 1\.0 or 2\.0; got 3\.0"),
    "a header longer than any": (header(" " * 70_000, version=(2, 0)), "is no npy file"),
}


@pytest.mark.parametrize("name", BAD_NPY)
def test_bad_npy(tmp_path: Path, name: str) -> None:
    data, message = BAD_NPY[name]
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.npy").write_bytes(data)
    path = zipped(tmp_path / "a.npz", a=data)
    with allocating_at_most(1 << 24):
        for place in (folder, path):
            with pytest.raises(TraceError, match=message) as caught:
                open_trace(place)
            assert str(place) in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
        '{"shape":(2,3),"fortran_order":False,"descr":"<f4"}',
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L,), }",  # by Python 2
        " { 'descr' : '<f4' , 'fortran_order' : False , 'shape' : ( 2 , 3 ) } ",
    ],
)
def test_headers_as_other_programs_write_them(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.npy").write_bytes(header(text, A.tobytes()))
    (found,) = read_folder(tmp_path)
    assert np.array_equal(found.load(), A)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_members_of_a_file_are_listed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Any
) -> None:
    path, opened = tmp_path / "a.npz", list[Path]()
    save(path, **{f"a{n}": np.full(2, n, np.float32) for n in range(30)})
    archive = zipfile.ZipFile

    def counted(file: Path) -> zipfile.ZipFile:
        opened.append(file)
        return archive(file)

    monkeypatch.setattr(zipfile, "ZipFile", counted)
    found = [array.load() for array in read_npz(path)]
    assert [list(array) for array in found] == [[n, n] for n in range(30)]
    assert opened == [path]


def bomb(path: Path) -> None:
    zipped(path, a=npy(np.zeros(200 << 20, np.uint8)))


def twice(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", npy(A))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.npy", npy(A))


def cut(path: Path) -> None:
    data = zipped(path, a=npy(A), b=npy(A)).read_bytes()
    path.write_bytes(data[: len(data) // 2])


def other(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"\x80\x04N.")


def encrypted(path: Path) -> None:
    data = bytearray(zipped(path, a=npy(A)).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)


def text(path: Path) -> None:
    path.write_bytes(b"PK but no zip")


def damaged(path: Path) -> None:
    np.savez_compressed(path, a=np.random.default_rng(0).normal(size=1000))
    data = bytearray(path.read_bytes())
    data[44:60] = b"\xff" * 16
    path.write_bytes(data)


def squeezed(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.npy", npy(A))


def not_utf8(path: Path) -> None:
    data = zipped(path, abcdef=npy(A)).read_bytes()
    data = data.replace(b"abcdef.npy", b"\xff\xfe\xfdbcd.npy"[:10])
    at = data.index(b"PK\x01\x02") + 8
    path.write_bytes(data[:at] + struct.pack("<H", 0x800) + data[at + 2 :])


BAD_NPZ: dict[str, tuple[Callable[[Path], None], str]] = {
    "bomb": (bomb, "which no computed numbers do"),
    "one name twice": (twice, "must hold each name once; a.npy stands there twice"),
    "cut": (cut, "is no npz file"),
    "no npy": (other, "must be an .npy file"),
    "encrypted": (encrypted, "must not be encrypted"),
    "a text": (text, "is no npz file"),
    "damaged": (damaged, "is no npz file|CRC|cannot be read"),
    "LZMA": (squeezed, "is compressed in a way that NumPy does not write"),
    "names that are no text": (not_utf8, "is no npz file"),
}


@pytest.mark.parametrize("name", BAD_NPZ)
def test_bad_npz(tmp_path: Path, name: str) -> None:
    make, message = BAD_NPZ[name]
    path = tmp_path / "a.npz"
    make(path)
    with allocating_at_most(1 << 24), pytest.raises(TraceError, match=message):
        open_trace(path)


def test_a_flipped_bit_in_a_member_is_found_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, a=np.arange(100_000, dtype=np.float32))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (found,) = read_npz(path)
    with pytest.raises(TraceError, match="Bad CRC-32"):
        found.load()


def test_zeros_of_a_large_batch_are_no_bomb(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", token_type_ids=np.zeros((1024, 512), np.int64))
    (found,) = read_npz(tmp_path / "a.npz")
    assert not found.load().any()


BAD_SAFETENSORS: dict[str, tuple[bytes, str]] = {
    "a header that claims 400 GB": (struct.pack("<Q", 400 << 30) + b"{}", "claims 429,496,729,600"),
    "an unknown dtype": (
        pack(b'{"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}', b"0"),
        "F8_E4M3",
    ),
    "lying offsets": (
        pack(b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}', b"0000"),
        "has 4 bytes; F32 of shape",
    ),
    "a hole": (
        pack(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}', b"00"),
        "starts at byte",
    ),
    "one name twice": (
        pack(
            b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
            b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
            b"0",
        ),
        "stands twice",
    ),
    "truncated": (serialize({"a": A})[:-1], "incomplete"),
    "a pickle": (b"\x80\x04\x95" + b"0" * 60, "pickle"),
    "empty": (b"", "has 0 bytes"),
}


@pytest.mark.parametrize("name", BAD_SAFETENSORS)
def test_bad_safetensors(tmp_path: Path, name: str) -> None:
    data, message = BAD_SAFETENSORS[name]
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with allocating_at_most(1 << 24), pytest.raises(TraceError, match=message):
        open_trace(path)


def test_booleans_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(serialize({"a": np.array([0, 1, 2], np.uint8)}, codes={"a": "BOOL"}))
    (found,), _ = read_safetensors(path)
    with pytest.raises(TraceError, match="must hold 0 and 1 alone, as booleans"):
        found.load()


@posix
def test_places_that_are_no_traces(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="does not exist"):
        open_trace(tmp_path / "none")
    with pytest.raises(TraceError, match=r"must hold \.npy files; this folder holds none"):
        open_trace(tmp_path)
    os.mkfifo(tmp_path / "a.npy")
    with pytest.raises(TraceError, match="is not a regular file"):
        open_trace(tmp_path)
    np.save(tmp_path / "b.npy", A)
    with pytest.raises(TraceError, match="Name the folder that it is in"):
        open_trace(tmp_path / "b.npy")


def test_an_npy_that_changes_under_us(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", A)
    (found,) = read_folder(tmp_path)
    (tmp_path / "a.npy").write_bytes(npy(A)[:-4])
    with pytest.raises(TraceError, match="changed while it was read"):
        found.load()
    (tmp_path / "a.npy").unlink()
    with pytest.raises(TraceError, match="cannot be read"):
        found.load()
