"""numpy_bert.locks: temporary files are their process's while it runs, and nobody's afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from numpy_bert import locks
from numpy_bert.files import write_atomically, writing, writing_folder
from numpy_bert.locks import is_named, temporary_file, temporary_folder, try_lock
from tests.support.platforms import posix

SYSTEM = locks._system()
NAME = f".trace.npz.numpy-bert-{SYSTEM}-0123456789ab.tmp"
OTHERS = NAME.replace(SYSTEM, f"{int(SYSTEM, 16) ^ 1:08x}")
DAY = 86400.0


@pytest.fixture(autouse=True)
def _not_swept_yet() -> Iterator[None]:
    """Let each test be a process of its own, which looks once at a folder."""
    locks._sweep.cache_clear()
    yield
    locks._sweep.cache_clear()


def left(folder: Path, name: str = NAME, *, age: float = 0.0, is_folder: bool = False) -> Path:
    """Leave a temporary as a process does that is killed."""
    path = folder / name
    if is_folder:
        path.mkdir()
        (path / "pair.safetensors").write_bytes(b"half")
    else:
        path.write_bytes(b"half")
    when = path.stat().st_mtime - age
    os.utime(path, (when, when))
    return path


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a temporary as the process does that writes to it."""
    descriptor = os.open(path, os.O_RDONLY)
    assert try_lock(descriptor)
    yield
    os.close(descriptor)


@posix
@pytest.mark.parametrize("is_folder", [False, True])
def test_what_a_killed_process_left_is_removed_by_the_next(is_folder: bool, tmp_path: Path) -> None:
    left(tmp_path, is_folder=is_folder)
    write_atomically(tmp_path / "other", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


@posix
@pytest.mark.parametrize("is_folder", [False, True])
def test_what_somebody_writes_to_is_kept(is_folder: bool, tmp_path: Path) -> None:
    path = left(tmp_path, age=2 * DAY, is_folder=is_folder)
    with held(path):
        write_atomically(tmp_path / "other", b"new")
    assert path.exists()


@pytest.mark.parametrize(
    "name",
    [
        "trace.npz",
        NAME[1:],
        f"{NAME}~",
        ".trace.npz.0123456789abcdef.tmp",
        NAME.replace("-0123456789ab", "-0123456789AB"),
        NAME.replace("numpy-bert", "numpy"),
        f".numpy-bert-{SYSTEM}-0123456789ab.tmp",
    ],
)
def test_what_is_not_ours_by_name_is_kept(name: str, tmp_path: Path) -> None:
    path = left(tmp_path, name, age=2 * DAY)
    write_atomically(tmp_path / "other", b"new")
    assert path.read_bytes() == b"half"


@posix
def test_a_link_of_such_a_name_stays_and_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    (tmp_path / NAME).symlink_to(target)
    other = tmp_path / NAME.replace("ab.tmp", "cd.tmp")
    os.mkfifo(other)
    write_atomically(tmp_path / "other", b"new")  # does not wait for a writer of the pipe
    assert (tmp_path / NAME).is_symlink()
    assert target.read_bytes() == b"precious"


@pytest.mark.parametrize(("age", "stays"), [(0.9 * DAY, True), (1.1 * DAY, False)])
@pytest.mark.parametrize("why", ["of another system", "no locks", "locks that keep nobody"])
def test_where_no_lock_says_whose_it_is_its_age_does(
    why: str, age: float, stays: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = left(tmp_path, OTHERS if why == "of another system" else NAME, age=age)
    if why == "no locks":
        monkeypatch.setattr(locks, "try_lock", lambda _: None)
    elif why == "locks that keep nobody":  # as on some network file systems
        monkeypatch.setattr(locks, "try_lock", lambda _: True)
    write_atomically(tmp_path / "other", b"new")
    assert path.exists() == stays


def test_a_folder_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = list[Path]()
    scandir = os.scandir

    def counted(path: Path) -> object:
        looked.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counted)
    for number in range(5):
        write_atomically(tmp_path / f"{number}", b"new")
    assert looked == [tmp_path]


@posix
@pytest.mark.parametrize("kind", [temporary_file, temporary_folder])
@pytest.mark.parametrize("how", ["gone", "held"])
def test_what_is_taken_before_it_is_locked_is_made_anew(
    kind: Callable[[Path], contextlib.AbstractContextManager[object]],
    how: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another process may look at the folder between the two, and take it for a dead one's."""
    taken = list[Path]()
    lock = locks.try_lock

    def late(descriptor: int) -> bool | None:
        if taken:
            return lock(descriptor)
        (path,) = tmp_path.iterdir()
        taken.append(path)
        if how == "held":
            return False
        path.rmdir() if path.is_dir() else path.unlink()
        return lock(descriptor)

    monkeypatch.setattr(locks, "try_lock", late)
    with kind(tmp_path / "out"):
        there = [path for path in tmp_path.iterdir() if path not in taken]
        assert len(there) == 1
        assert there[0].name.startswith(".out.numpy-bert-")
        assert len(taken) == 1


@posix
def test_a_folder_that_is_taken_before_it_is_opened_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, opened = list[Path](), os.open

    def late(path: Path, *rest: int) -> int:
        if not taken:
            taken.append(path)
            path.rmdir()
        return opened(path, *rest)

    monkeypatch.setattr(os, "open", late)
    with temporary_folder(tmp_path / "out") as path:
        assert path != taken[0]
        assert list(tmp_path.iterdir()) == [path]


@posix
def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from numpy_bert.files import writing\n"
        "with writing(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush(); print('at it', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "trace.npz")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"at it\n"
        (temporary,) = tmp_path.iterdir()
        write_atomically(tmp_path / "other", b"new")
        assert temporary.read_bytes() == b"half"
        child.kill()
    locks._sweep.cache_clear()
    write_atomically(tmp_path / "other", b"newer")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_name_is_short_enough_for_any_file_system(tmp_path: Path) -> None:
    with temporary_file(tmp_path / ("\N{GRINNING FACE}" * 60)) as (path, _):
        assert locks._TEMPORARY.fullmatch(path.name)
        assert len(os.fsencode(path.name)) <= 255


def test_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("xb") as file:
        assert is_named(path, file.fileno())
        (tmp_path / "other").write_bytes(b"")
        assert not is_named(tmp_path / "other", file.fileno())
        assert not is_named(tmp_path / "gone", file.fileno())


def test_a_folder_takes_its_name_in_one_step(tmp_path: Path) -> None:
    with writing_folder(tmp_path / "pack") as folder:
        write_atomically(folder / "a", b"1")
        assert not (tmp_path / "pack").exists()
    assert (tmp_path / "pack" / "a").read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "trace.npz"
    with writing(path) as one:
        one.write(b"one")
        locks._sweep.cache_clear()
        write_atomically(path, b"two")
        assert path.read_bytes() == b"two"
    assert path.read_bytes() == b"one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["trace.npz"]


def _in_a_fork(act: Callable[[], object]) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which these need not
        child = os.fork()
    if not child:
        status = 1
        with contextlib.suppress(BaseException):
            act()
            status = 0
        os._exit(status)
    return child


@posix
@pytest.mark.slow
def test_many_that_sweep_write_and_are_killed_do_not_disturb_each_other(tmp_path: Path) -> None:
    def write(who: int) -> None:
        for number in range(300):
            locks._sweep.cache_clear()
            write_atomically(tmp_path / f"file {who}", bytes(1000))
            if number % 4 == 0:
                with writing_folder(tmp_path / f"folder {who} {number}") as folder:
                    (folder / "a").write_bytes(b"1")

    def write_for_ever() -> None:
        while True:
            locks._sweep.cache_clear()
            write_atomically(tmp_path / "killed", bytes(1000))

    writers = [_in_a_fork(partial(write, who)) for who in range(6)]
    for number in range(100):
        victim = _in_a_fork(write_for_ever)
        time.sleep(number % 10 * 0.003)
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
    assert [os.waitpid(writer, 0)[1] for writer in writers] == [0] * 6
    locks._sweep.cache_clear()
    write_atomically(tmp_path / "last", b"")
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".tmp"]
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 6 * 75
