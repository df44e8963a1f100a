"""J: the disk. What is written appears whole or not at all, and what was there before stays."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from numpy_bert import (
    BertConfig,
    BertModel,
    CheckpointError,
    ConfigError,
    HubError,
    IntegrityError,
    OfflineError,
    OutputError,
    fetch,
    locks,
)
from numpy_bert.cli import main
from numpy_bert.files import check_output, write_atomically, writing, writing_folder
from numpy_bert.loading.stored import SafetensorsFile
from numpy_bert.model.saving import write_tensors
from numpy_bert.traces.writing import Tensor, write_trace
from tests.support.hub import StandInHub
from tests.support.platforms import linux, posix
from tests.support.repository import FILES, REPO, cache_of

PACKAGE = Path(__file__).parent.parent.parent / "numpy_bert"
WRITERS = {
    "trace": ["trace", "a test", "-o", "out.safetensors", "--force"],
    "embed .npy": ["embed", "a test", "-o", "out.npy", "--force"],
    "embed .npz": ["embed", "a test", "-o", "out.npz", "--force"],
    "encode": ["encode", "a test", "-o", "out.safetensors", "--force"],
    "golden": ["golden", "demo", "--names", "embeddings", "-o", "golden"],
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that one is in, with older files."""
    monkeypatch.chdir(tmp_path)
    for command in WRITERS.values():
        if "--force" in command:
            Path(command[3]).write_bytes(b"old")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def failing(reason: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(reason, os.strerror(reason))

    return fail


@pytest.mark.parametrize("command", WRITERS.values(), ids=WRITERS)
def test_j1_a_disk_that_is_full(
    command: list[str],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No disk is filled: the system says that it is, when the file is flushed."""
    before = contents(here)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(errno.ENOSPC))
        assert main(command) == 1
    assert contents(here) == before
    err = capsys.readouterr().err
    assert re.search(
        r"error: \S+: could not be written \(No space left on device\); nothing changed\. It takes "
        r"[\d,]+ bytes; the disk has [\d,]+ bytes free\.\n$",
        err,
    )
    assert ".tmp" not in err


def test_j1_a_disk_that_is_too_small_is_told_before(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(here)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 3))
    for command, what in ((WRITERS["trace"], "out.safetensors"), (WRITERS["golden"], "golden")):
        assert main(command) == 1
        assert re.search(
            rf"error: {what}: takes [\d,]+ bytes, but the disk has 3 bytes free; nothing was "
            r"written\. Take fewer names \(--names\)\.\n$",
            capsys.readouterr().err,
        )
    assert contents(here) == before


def test_j1_a_disk_that_is_full_in_a_download(
    hub: StandInHub, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tests/loading/test_partial.py has each step of it."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(errno.ENOSPC))
        with pytest.raises(HubError, match=r"No space left on device.*--cache-dir"):
            fetch(REPO, only="embeddings")
    assert not list(cache_of(tmp_path).rglob("*.tmp"))
    assert fetch(REPO, only="embeddings").is_dir()


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let this process write no file of more bytes; Python ignores the signal."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@posix
@pytest.mark.parametrize("command", WRITERS.values(), ids=WRITERS)
def test_j2_a_limit_on_the_size_of_files(
    command: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(here)
    with largest_file(1000):
        assert main(command) == 1
    assert contents(here) == before
    assert re.search(
        r"could not be written \(File too large\); nothing changed\. It takes [\d,]+ bytes; a file "
        r"may have at most 1,000 bytes \(ulimit -f\) here\.\n$",
        capsys.readouterr().err,
    )


@posix
def test_j2_a_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not here: a real quota, which wants a file system that is mounted with them."""
    monkeypatch.setattr(os, "fsync", failing(errno.EDQUOT))
    with pytest.raises(OutputError, match=r"quota exceeded\); nothing changed\. It takes 3 bytes"):
        write_atomically(tmp_path / "out", b"new")
    assert not contents(tmp_path)


def test_j3_a_read_only_cache(
    hub: StandInHub, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Warm it works, cold it is one error; the system calls refuse, since root may write all."""
    make = os.mkdir

    def refusing(path: Any, *rest: Any, **named: Any) -> None:
        if str(path).startswith(str(tmp_path / "home")):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        make(path, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", refusing)
        with pytest.raises(HubError, match=r"Read-only file system.*--cache-dir"):
            fetch(REPO)
    folder = fetch(REPO)
    monkeypatch.setattr(os, "mkdir", refusing)
    monkeypatch.setattr(os, "replace", failing(errno.EROFS))
    assert fetch(REPO) == folder
    assert BertModel.from_pretrained(REPO).config.hidden_size == 128


@pytest.mark.parametrize("command", list(WRITERS.values())[:-1], ids=list(WRITERS)[:-1])
def test_j3_a_read_only_folder_is_told_before_anything_is_computed(
    command: list[str],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The system is asked whether it may be written to, where root may write all."""
    before, access = contents(here), os.access
    monkeypatch.setattr(BertModel, "__init__", failing(errno.EIO))
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))
    assert main(command) == 1
    err = capsys.readouterr().err
    assert f": no file can be made in {here.resolve()}; name another folder.\n" in err
    assert contents(here) == before


def test_j3_a_folder_that_becomes_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.EROFS))
    with pytest.raises(OutputError, match=r"\(Read-only file system\); nothing changed\.$"):
        write_atomically(tmp_path / "out", b"new")
    assert not contents(tmp_path)


@posix
def test_j4_no_links(hub: StandInHub, commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "symlink", failing(errno.EPERM))
    folder = fetch(REPO)
    assert not any(path.is_symlink() for path in folder.iterdir())
    assert BertModel.from_pretrained(REPO).config.hidden_size == 128


@pytest.mark.parametrize("command", list(WRITERS.values())[:-1], ids=list(WRITERS)[:-1])
def test_j4_another_device(command: list[str], here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is renamed within its folder alone, also where TMPDIR is on another device."""
    replace = os.replace

    def within_a_folder(source: Any, target: Any, **rest: Any) -> None:
        if Path(source).resolve().parent != Path(target).resolve().parent:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        replace(source, target, **rest)

    for name in ("replace", "rename"):
        monkeypatch.setattr(os, name, within_a_folder)
    monkeypatch.setenv("TMPDIR", "/dev/null")
    with writing_folder(here / "pack") as folder:
        write_atomically(folder / "a", b"1")
    assert main(command) == 0
    assert (here / command[3]).stat().st_size > 100


@posix
def test_j5_what_a_killed_process_left(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    """Ours goes with the next run; huggingface_hub's is ignored, since it is not ours.

    tests/test_locks.py has what is taken for ours, and for whose. No command lists them: none are
    left for long.
    """
    part = fetch(REPO, only="embeddings")
    ours = part / f".model.safetensors.numpy-bert-{locks._system()}-0123456789ab.tmp"
    theirs = cache_of(tmp_path) / "blobs" / f"{'a' * 40}.01234567.incomplete"
    for path in (ours, theirs):
        path.write_bytes(b"half")
    locks._sweep.cache_clear()
    (part / "model.safetensors").unlink()
    assert BertModel.from_pretrained(REPO, only="embeddings").config.hidden_size == 128
    assert not ours.exists()
    assert theirs.read_bytes() == b"half"


NAMES = [
    "with blanks and # %20 'quotes'.npy",
    "e\u0301\N{GRINNING FACE}\u202e.npy",
    f"{'x' * 251}.npy",
    pytest.param(os.fsdecode(b"latin-1 \xe9.npy"), marks=linux, id="not UTF-8"),
]


@pytest.mark.parametrize("name", NAMES)
def test_j6_a_name_that_is_odd(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", "a test", "-o", name]) == 0
    assert np.load(here / name).shape == (1, 4, 128)
    assert "Traceback" not in capsys.readouterr().err


@posix
@pytest.mark.parametrize(
    ("name", "words"),
    [
        (f"{'x' * 260}.npy", "cannot be looked at (File name too long)"),
        ("gone/e.npy", "the folder gone does not exist; make it first"),
        ("round.npy", "is a link that leads back to itself; remove it, or name another file"),
        ("", "the name must end in"),
    ],
)
@pytest.mark.parametrize("force", [[], ["--force"]], ids=["", "force"])
def test_j6_a_name_that_cannot_be(
    name: str, words: str, force: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "round.npy").symlink_to("round.npy")
    assert main(["embed", "a test", "-o", name, *force]) in (1, 2)
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err
    assert (here / "round.npy").is_symlink()


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
def test_j6_what_no_system_has_for_a_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"': cannot be a path\.$"):
        check_output(tmp_path / name, force=True)
    with pytest.raises(OutputError, match=r"': cannot be a path\.$"):
        write_atomically(tmp_path / name, b"new")


@posix
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", r"-o must be the name of a folder; got ''\.$"),
        (".", r"\.: is the folder that you are in; name a new one in it\.$"),
        (
            "round",
            r"round cannot be looked at \(Too many levels of symbolic links\); name a new one",
        ),
    ],
)
def test_j6_a_name_that_is_no_new_folder(
    name: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty" if name == "." else tmp_path)
    assert main(["golden", "demo", "--names", "embeddings", "-o", name]) in (1, 2)
    assert re.search(words, capsys.readouterr().err.strip())
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["empty", "round"]


class _Short:
    """A file of which a read gives less than was asked for."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __enter__(self) -> _Short:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, size: int = -1) -> bytes:
        return bytes(self._file.read(size)[:-1])

    def readinto(self, buffer: Any) -> int:
        return int(self._file.readinto(memoryview(buffer)[:-1]))


@pytest.mark.parametrize("how", ["EIO", "short"])
def test_j7_a_disk_that_fails_when_it_is_read(
    how: str, plain_demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not here: a page of a mapped file that cannot be read ends the process (SIGBUS).

    Where the bytes stand that could not be read, no system says. An interrupted read (EINTR) is
    taken up again by Python itself (PEP 475).
    """
    file = SafetensorsFile(plain_demo / "model.safetensors")
    tensor = next(iter(file.tensors.values()))
    whole: Any = Path.open

    def short(self: Path, *rest: Any, **named: Any) -> _Short:
        return _Short(whole(self, *rest, **named))

    words = {"EIO": r"cannot be read \(Input/output error\)", "short": "changed while"}[how]
    monkeypatch.setattr(Path, "open", short if how == "short" else failing(errno.EIO))
    with pytest.raises(ConfigError, match=rf"config\.json: {words}"):
        BertConfig.from_json_file(plain_demo / "config.json")
    with pytest.raises(CheckpointError, match=rf"model\.safetensors: {words}"):
        tensor.read(mapped=False)


def test_j8_local_dir_is_not_used(hub: StandInHub, commit: str) -> None:
    """It deletes before it downloads: here what was good stays until what is new is."""
    assert not [path for path in PACKAGE.rglob("*.py") if "local_dir=" in path.read_text("utf-8")]
    folder = fetch(REPO)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    weights = bytearray(FILES["model.safetensors"])
    weights[-1] ^= 1
    hub.add_commit(REPO, {**FILES, "model.safetensors": bytes(weights)})
    hub.fault("flip", path="model.safetensors")
    with pytest.raises(IntegrityError):
        fetch(REPO)
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} == before
    with contextlib.suppress(OfflineError):
        assert fetch(REPO, local_files_only=True) == folder


def _odd_arrays() -> dict[str, Any]:
    whole = np.arange(24, dtype="f4").reshape(4, 6)
    return {
        "transposed": whole.T,
        "strided": whole[::2, ::3],
        "reversed": whole[::-1],
        "fortran": np.asfortranarray(whole),
        "broadcast": np.broadcast_to(whole[0], (3, 6)),
        "big-endian": whole.astype(">f4"),
    }


@pytest.mark.parametrize("name", _odd_arrays())
def test_j9_an_array_that_is_not_contiguous(name: str, tmp_path: Path) -> None:
    array = _odd_arrays()[name]
    write_tensors(tmp_path / "weights.safetensors", {"a": array})
    tensor = Tensor("a", array.dtype.name, array.shape)
    write_trace(tmp_path / "trace.safetensors", [tensor], [("a", array)], {})
    for path in tmp_path.iterdir():
        assert np.array_equal(load_file(path)["a"], array), path.name


def test_j9_a_file_that_is_read_back_wrong_never_takes_its_name(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")

    def check(temporary: Path) -> None:
        raise OutputError(f"{temporary.read_bytes()!r} is wrong")

    with pytest.raises(OutputError, match="b'new' is wrong"), writing(path, check) as file:
        file.write(b"new")
    assert contents(tmp_path) == {"out": b"old"}
