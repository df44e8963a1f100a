"""numpy_bert.files: regular files only, strict JSON, atomic writes."""

from __future__ import annotations

import ast
import errno
import io
import os
import re
import socket
import stat
from collections.abc import Callable
from contextlib import chdir
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import numpy_bert
from numpy_bert import SentenceEncoder, files, locks
from numpy_bert.errors import (
    CheckpointError,
    ConfigError,
    HubError,
    InputError,
    NumpyBertError,
    OutputError,
)
from numpy_bert.files import (
    check_output,
    check_pointer,
    decode_json,
    decode_lines,
    file_size,
    is_listed,
    is_pointer,
    look,
    make_folder,
    permissions,
    read_bytes,
    read_json,
    trouble,
    write_atomically,
    writing,
)
from numpy_bert.loading.cache import CachedRepository, local_folder
from numpy_bert.loading.modules import read_modules
from tests.support.limits import within
from tests.support.platforms import nobody_may_enter, posix
from tests.support.sentence_models import dense_files, write


def irregular(kind: str, folder: Path) -> Path:
    """Return a path of that kind."""
    path = folder / kind.replace(" ", "-")
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with chdir(folder), socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)  # the whole path may be too long for it
    elif kind == "endless device":
        path.symlink_to("/dev/zero")
    elif kind == "broken link":
        path.symlink_to(folder / "gone")
    elif kind == "link to itself":
        path.symlink_to(path)
    elif kind == "below a file":
        path.write_bytes(b"")
        path = path / "config.json"
    return path


IRREGULAR = {
    "nothing": "does not exist",
    "folder": "is a folder; name a file",
    "pipe": "is not a regular file (a pipe, socket or device)",
    "socket": "is not a regular file (a pipe, socket or device)",
    "endless device": "is not a regular file (a pipe, socket or device)",
    "broken link": "is a link to a file that is gone",
    "link to itself": "cannot be looked at (Too many levels of symbolic links)",
    "below a file": "cannot be looked at (Not a directory)",
}


@pytest.mark.parametrize(("kind", "words"), IRREGULAR.items())
@pytest.mark.parametrize("error", [ConfigError, CheckpointError])
@posix
def test_only_regular_files_are_opened(
    kind: str, words: str, error: type[NumpyBertError], tmp_path: Path
) -> None:  # A20: a pipe or /dev/zero would block, or fill the memory, when it is opened
    path = irregular(kind, tmp_path)
    with pytest.raises(NumpyBertError) as raised, within(5):
        read_json(path, error=error)
    assert type(raised.value) is error
    assert str(raised.value) == f"{path}: {words}."


SEEN = {
    "nothing": "absent",
    "folder": "folder",
    "pipe": "other",
    "socket": "other",
    "endless device": "other",
    "broken link": "unreadable",
    "link to itself": "unreadable",
    "below a file": "unreadable",
    "below a broken link": "unreadable",
    "below a link to itself": "unreadable",
    "below nothing": "absent",
    "below nothing below a broken link": "unreadable",
    "a name of 300 letters": "unreadable",
    "a name with a NUL\0": "unreadable",
    "half a surrogate pair \ud800": "unreadable",
}


@pytest.mark.parametrize(("kind", "expected"), SEEN.items(), ids=lambda text: ascii(text)[1:-1])
@posix
def test_only_what_has_no_name_is_absent(kind: str, expected: str, tmp_path: Path) -> None:
    if kind.startswith("below") and kind != "below a file":
        (tmp_path / "gone").symlink_to("elsewhere")
        (tmp_path / "loop").symlink_to("loop")
        places = {"broken": "gone", "itself": "loop", "nothing": "no"}
        path = tmp_path.joinpath(*(places[w] for w in kind.split()[::-1] if w in places), "x")
    elif kind == "a name of 300 letters":
        path = tmp_path / ("x" * 300)
    elif "a name" in kind or "half" in kind:
        path = tmp_path / kind
    else:
        path = irregular(kind, tmp_path)
    assert look(path) == expected
    assert is_listed(path) == (expected != "absent")
    assert bool(trouble(path)) == (expected in ("absent", "unreadable"))
    if trouble(path):
        with pytest.raises(ConfigError) as raised:
            file_size(path, error=ConfigError)
        assert str(raised.value).endswith(f": {trouble(path)}.")


def test_a_file_may_be_behind_links(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").write_bytes(b"1")
    (tmp_path / "link").symlink_to("folder", target_is_directory=True)
    found = [tmp_path / "link" / name for name in ("x", "y")]
    assert [look(path) for path in (tmp_path / "link", *found)] == ["folder", "file", "absent"]


@posix
def test_what_is_in_a_closed_folder_is_not_absent(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    (folder / "in").mkdir(parents=True)
    with nobody_may_enter(folder):
        for path in (folder / "in", folder / "in" / "x", folder / "no"):
            assert (look(path), trouble(path)) == (
                "unreadable",
                "cannot be looked at (Permission denied)",
            )
        with pytest.raises(InputError, match=r"in cannot be looked at \(Permission denied\)\.$"):
            local_folder(folder / "in")
        with pytest.raises(InputError, match=r"denied\)\. It is of the cache; mend that, or name"):
            CachedRepository("a/b", folder).snapshot(None)
    assert look(folder / "no") == "absent"


def test_nobody_asks_on_their_own_whether_a_file_is_there() -> None:
    """Path.exists says no of a link whose file is gone, and of a folder the one or the other."""
    asking = {"exists", "is_file", "is_dir", "isfile", "isdir", "lexists"}
    asks = re.compile(rf"\b({'|'.join(asking)})\b")
    root = Path(numpy_bert.__file__).parent
    found = [
        f"{path.relative_to(root)}:{node.lineno}: {node.attr}"
        for path in sorted(root.rglob("*.py"))
        if path not in (Path(files.__file__), Path(locks.__file__))
        and asks.search(path.read_text("utf-8"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in asking
    ]
    assert found == [], "ask numpy_bert.files.look, or is_listed"


def test_a_folder_that_may_not_be_entered() -> None:  # A20: root may enter every one
    denied = PermissionError(errno.EACCES, "Permission denied", "/secret/model")
    words = r"^/secret/model: permission denied\.$"
    with pytest.raises(InputError, match=words), permissions(InputError):
        raise denied
    with pytest.raises(FileNotFoundError), permissions(InputError):
        raise FileNotFoundError


def test_a_path_that_no_system_has(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'.*a\\x00b': cannot be a path\.$"):
        file_size(tmp_path / "a\0b", error=ConfigError)


@pytest.mark.parametrize(
    "use",
    [
        partial(check_output, force=True),
        partial(file_size, error=OutputError),
        partial(write_atomically, data=b""),
        make_folder,
        lambda path: CachedRepository("a/b", path).snapshot(None),
    ],
    ids=["check_output", "file_size", "write_atomically", "make_folder", "cache"],
)
@posix
def test_a_path_of_thousands_of_characters_is_cut(
    use: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path.joinpath("x" * 200, *["y" * 200] * 30)
    with pytest.raises(NumpyBertError, match="name too long") as raised:
        use(path)
    assert len(str(raised.value)) < 600


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # A20
    path = tmp_path / "config.json"
    path.write_bytes(b"{}")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.R_OK)  # root may read all
    with pytest.raises(ConfigError, match=r"config\.json: may not be read \(permission denied\)"):
        file_size(path, error=ConfigError)


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("blob")  # as in the hub's cache
    assert file_size(tmp_path / "link", error=ConfigError) == 5
    assert read_bytes(tmp_path / "link", error=ConfigError, limit=5) == b"12345"


@pytest.mark.parametrize("size", [0, 100, (1 << 20) + 1])
def test_a_file_that_changes_is_noticed(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # A21
    path = tmp_path / "config.json"
    path.write_bytes(bytes(1 << 20))
    monkeypatch.setattr(files, "file_size", lambda *_, **__: size)
    with pytest.raises(ConfigError, match=r"config\.json: changed while it was read; try again"):
        read_bytes(path, error=ConfigError, limit=2 << 20)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 9\n"


@pytest.mark.parametrize("name", ["config.json", "modules.json", "model.safetensors.index.json"])
def test_a_git_lfs_pointer_is_called_by_its_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(POINTER)
    readers: list[Callable[[], object]] = [
        lambda: read_json(path, error=ConfigError),
        lambda: read_bytes(path, error=ConfigError, limit=999),
    ]
    if name == "modules.json":
        readers.append(lambda: read_modules(path, error=ConfigError))
    for read in readers:
        with pytest.raises(ConfigError) as raised:
            read()
        assert str(raised.value) == (
            f"{path}: is a Git LFS pointer: the file itself was not downloaded. Run git lfs pull "
            "in its repository, or download the file."
        )


@pytest.mark.parametrize(
    "data", [b"", b"{}", POINTER[:20], b" " + POINTER, POINTER.ljust(1024), b"version 1\n"]
)
def test_what_is_no_git_lfs_pointer(data: bytes) -> None:
    assert not is_pointer(data)
    check_pointer(data, where="a", error=ConfigError)


def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # J7
    path = tmp_path / "config.json"
    path.write_bytes(b"{}")

    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "open", broken)
    with pytest.raises(ConfigError, match=r"config\.json: cannot be read \(Input/output error\)"):
        read_json(path, error=ConfigError)


MALFORMED = {  # C1, C2, C3
    "empty": (b"", "must be a JSON object; got an empty file"),
    "html": (b"<!DOCTYPE html>", "is not JSON (Expecting value: line 1, column 1)"),
    "byte order mark": (b"\xef\xbb\xbf{}", "is not JSON (Unexpected UTF-8 BOM"),
    "utf-16": ("{}".encode("utf-16"), "is not UTF-8 (byte 0)"),
    "utf-16 without a mark": ('{"a": 1}'.encode("utf-16-le"), "is not JSON ("),
    "latin-1": (b'{"a": "\xe9"}', "is not UTF-8 (byte 7)"),
    "a cut": (b'{\n  "a": 1,\n', "is not JSON (Expecting property name"),
    "more behind it": (b"{} {}", "is not JSON (Extra data: line 1, column 4)"),
    "a list": (b"[{}]", "must be a JSON object; got [{}]"),
    "a number": (b"3", "must be a JSON object; got 3"),
    "null": (b"null", "must be a JSON object; got None"),
    "nesting": (b'{"a":' + b"[" * 200_000, "is nested too deeply"),
    "a key twice": (b'{"a": 1, "b": 2, "a": 1}', "the key a stands twice; keep one"),
    "a key twice within": (b'{"c": [{"a": 1, "a": 2}]}', "the key a stands twice; keep one"),
    "a wild key twice": (b'{"\\u001b[31m":1,"\\u001b[31m":1}', r"the key '\x1b[31m' stands twice"),
    "NaN": (b'{"a": NaN}', "NaN is not JSON; write a finite number"),
    "Infinity": (b'{"a": -Infinity}', "-Infinity is not JSON"),
    "1e400": (b'{"a": -1e400}', "-1e400 is beyond float64"),
    "5000 digits": (b'{"a": ' + b"9" * 5000 + b"}", "holds a number that is too long"),
}


@pytest.mark.parametrize(("data", "words"), MALFORMED.values(), ids=MALFORMED)
def test_json_is_read_strictly(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as raised, within(10):
        read_json(path, error=ConfigError)
    assert str(raised.value).startswith(f"{path}: {words}")
    with pytest.raises(CheckpointError, match=r"^header: "):
        decode_json(data, where="header", error=CheckpointError)


def test_good_json_is_what_it_says() -> None:
    data = ' {"a": [1, -2.5, 1e-12, null, true], "é": {"b": "\\ud83d\\ude00"}, "n": 1e308}\n'
    expected = {"a": [1, -2.5, 1e-12, None, True], "é": {"b": "\N{GRINNING FACE}"}, "n": 1e308}
    assert decode_json(data.encode(), where="x", error=ConfigError) == expected


def test_json_of_too_many_values_is_not_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b'{"a": [[], {}, 1], "b": {"c": 2}}')  # three commas, five that open
    monkeypatch.setattr(files, "_MOST_VALUES", 8)
    assert read_json(path, error=ConfigError) == {"a": [[], {}, 1], "b": {"c": 2}}
    monkeypatch.setattr(files, "_MOST_VALUES", 7)
    with pytest.raises(ConfigError) as raised:
        read_json(path, error=ConfigError)
    assert str(raised.value) == f"{path}: holds more than 7 values; so many are not read."


def test_a_key_twice_among_many_is_found_in_time() -> None:
    members = ",".join(f'"{n}":0' for n in range(200_000))
    data = f'{{{members},"199999":0}}'.encode()
    with pytest.raises(ConfigError, match="the key 199999 stands twice"), within(10):
        decode_json(data, where="x", error=ConfigError)


@pytest.mark.parametrize(
    ("name", "force", "words"),
    [
        ("missing/out.npz", True, "missing does not exist; make it first"),
        ("file/out.npz", True, "file is no folder."),
        ("folder", True, "is a folder; name a file"),
        ("file", False, "left as it is; --force replaces it, in Python force=True"),
        ("pipe", True, "is a pipe, socket or device; name a regular file"),
        ("device", True, "is a pipe, socket or device; name a regular file"),
        ("x" * 300, True, "cannot be looked at (File name too long)"),
    ],
)
@posix
def test_outputs_that_cannot_be(name: str, force: bool, words: str, tmp_path: Path) -> None:  # H6
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"old")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/null")
    with pytest.raises(OutputError) as raised, within(5):
        check_output(tmp_path / name, force=force)
    assert str(raised.value).startswith(f"{tmp_path / name}: ")
    assert words in str(raised.value)
    assert (tmp_path / "file").read_bytes() == b"old"


def test_outputs_that_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    check_output(tmp_path / "new", force=False)
    check_output(tmp_path / "file", force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("step", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_failed_write_changes_nothing(
    step: str, failure: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # J1, K6
    path = tmp_path / "trace.npz"
    path.write_bytes(b"old")

    def fail(*_: object, **__: object) -> None:
        raise failure

    class Full(io.BufferedWriter):
        def write(self, data: Any, /) -> int:
            super().write(data[:1])
            raise failure

    with monkeypatch.context() as patch:
        patch.setattr(locks, "_system", lambda: "0" * 8)  # reads a file, too
        if step == "open":
            patch.setattr(Path, "open", fail)
        elif step == "write":
            patch.setattr(Path, "open", lambda self, mode: Full(io.FileIO(self, mode[0])))
        elif step == "fsync":
            patch.setattr(os, "fsync", fail)
        else:
            patch.setattr(Path, "replace", fail)
        expected = OutputError if isinstance(failure, OSError) else KeyboardInterrupt
        with pytest.raises(expected) as raised:
            write_atomically(path, b"new")
    if expected is OutputError:
        assert str(raised.value).startswith(f"{path}: could not be written (No space left)")
        assert "nothing changed" in str(raised.value)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["trace.npz"]


@posix
def test_a_write_is_flushed_and_takes_the_name_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trace.npz"
    path.write_bytes(b"old")
    events: list[tuple[str, bytes]] = []
    fsync, replace = os.fsync, Path.replace

    def logged_fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            events.append(("fsync folder", path.read_bytes()))
        else:
            (temporary,) = tmp_path.glob(".trace*.tmp")
            events.append(("fsync", temporary.read_bytes()))
        fsync(descriptor)

    def logged_replace(self: Path, target: Path) -> Path:
        assert self.parent == target.parent  # another file system could not do it in one step
        events.append(("replace", path.read_bytes()))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", logged_fsync)
    monkeypatch.setattr(Path, "replace", logged_replace)
    write_atomically(path, b"new")
    assert events == [("fsync", b"new"), ("replace", b"old"), ("fsync folder", b"new")]
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["trace.npz"]


def test_a_folder_that_cannot_be_flushed_keeps_the_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "as on Windows")

    monkeypatch.setattr(os, "open", refuse)
    write_atomically(tmp_path / "trace.npz", b"new")
    assert (tmp_path / "trace.npz").read_bytes() == b"new"


@pytest.mark.parametrize("failure", [HubError("cut"), KeyboardInterrupt(), ZeroDivisionError()])
@pytest.mark.parametrize("where", ["block", "check"])
def test_a_stream_that_ends_badly_changes_nothing(
    failure: BaseException, where: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    seen: list[bytes] = []

    def check(temporary: Path) -> None:
        seen.append(temporary.read_bytes())
        raise failure

    def write() -> None:
        with writing(path, check) as file:
            file.write(b"new")
            if where == "block":
                raise failure

    with pytest.raises(type(failure)) as raised:
        write()
    assert raised.value is failure  # a HubError is an OSError, but not one of writing
    assert seen == ([b"new"] if where == "check" else [])
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone/out", "No such file or directory"),
        ("file/out", "Not a directory"),
        ("x" * 300, "File name too long"),
    ],
)
@posix
def test_a_place_that_cannot_be_written_to(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=rf"could not be written \({words}\); nothing changed"):
        write_atomically(tmp_path / name, b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_nothing_but_a_newline_ends_a_line() -> None:
    text = "one\u2028a\u2029b\x85c\x0cd\x0be\x1cf\rg\r\n\n two\r\r\nlast"
    file = io.BytesIO(b"\xef\xbb\xbf" + text.encode())
    assert decode_lines(file, where="a", error=InputError) == [
        "one\u2028a\u2029b\x85c\x0cd\x0be\x1cf\rg",
        "",
        " two\r",
        "last",
    ]
    assert decode_lines(io.BytesIO(b"a\n"), where="a", error=InputError) == ["a"]
    for empty in (b"", b"\xef\xbb\xbf"):
        assert decode_lines(io.BytesIO(empty), where="a", error=InputError) == []
    with pytest.raises(InputError, match=r"a\.txt: line 2: is not UTF-8 \(byte 1, 0xff\)"):
        decode_lines(io.BytesIO(b"a\nb\xff"), where="a.txt", error=InputError)


SMALL = {
    "config.json": 1 << 20,
    "modules.json": 1 << 20,
    "config_sentence_transformers.json": 1 << 20,
    "sentence_bert_config.json": 1 << 20,
    "1_Pooling/config.json": 1 << 20,
    "2_Dense/config.json": 1 << 20,
    "tokenizer_config.json": 4 << 20,
    "special_tokens_map.json": 4 << 20,
    "added_tokens.json": 4 << 20,
    "tokenizer.json": 50_000_000,
    "model.safetensors.index.json": 4 << 20,
}


@pytest.mark.parametrize(("name", "most"), SMALL.items(), ids=SMALL)
def test_settings_are_read_up_to_a_size_that_takes_little(
    name: str, most: int, tmp_path: Path
) -> None:
    """75 MB of lists in a tokenizer_config.json took 2 GB and a minute."""
    folder = write(tmp_path, dense_files(), model=True)
    if "index" in name:
        (folder / "model.safetensors").unlink()
    (folder / name).touch()
    os.truncate(folder / name, most + 1)
    with pytest.raises(NumpyBertError) as raised, within(5):
        SentenceEncoder(folder)
    assert str(raised.value) == (
        f"{folder / name}: has {most + 1:,} bytes; at most {most:,} are read."
    )
