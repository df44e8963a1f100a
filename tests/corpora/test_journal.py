"""The folder of a job: what is whole, what is cut back, who is kept out, what is refused."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from numpy_bert.corpora import journal
from numpy_bert.corpora.journal import FINISHED, JOB, JOURNAL, LOCK, Mark, Parts
from numpy_bert.errors import OutputError
from tests.support.platforms import posix

IDENTITY = {"precision": "float32", "threads": 2}


def mark(records: int, **fields: Any) -> Mark:
    return Mark(texts=records, records=records, **fields)


def written(path: Path, blocks: int = 2) -> Parts:
    """Do some blocks, and behind them what no line of the journal counts, as a kill leaves it."""
    parts = Parts(path)
    with parts.held():
        assert parts.begin(IDENTITY, {}) == []
        parts.grow("rows", b"head")
        for number in range(1, blocks + 1):
            parts.write("rows", b"%d" % number * 3)
            parts.commit(mark(3 * number))
        parts.write("rows", b"half")
    return parts


def test_what_no_line_counts_is_cut_off(tmp_path: Path) -> None:
    folder = written(tmp_path / "x").folder
    assert (folder / "rows").read_bytes() == b"head111222half"
    with (folder / JOURNAL).open("ab") as file:
        file.write(b'{"texts": 9, "rec')  # the kill came while it was written
    parts = Parts(tmp_path / "x")
    with parts.held():
        marks = parts.begin(IDENTITY, {})
        assert [found.records for found in marks] == [3, 6]
        assert marks[1].sizes == {"rows": 10}
        parts.go_on(marks[1])
        assert parts.grow("rows", b"head").size == 10
        parts.write("rows", b"333")
        parts.commit(mark(9))
    assert (folder / "rows").read_bytes() == b"head111222333"
    lines = (folder / JOURNAL).read_text().splitlines()
    assert [json.loads(line)["records"] for line in lines] == [3, 6, 9]


def test_a_job_can_go_on_behind_the_line_before(tmp_path: Path) -> None:
    folder = written(tmp_path / "x").folder
    parts = Parts(tmp_path / "x")
    with parts.held():
        parts.go_on(parts.begin(IDENTITY, {})[0])
        parts.grow("rows")
        parts.commit(mark(4))
    assert (folder / "rows").read_bytes() == b"head111"
    lines = (folder / JOURNAL).read_text().splitlines()
    assert [json.loads(line)["records"] for line in lines] == [3, 4]


@pytest.mark.parametrize("tail", [b"\0" * 50, b"\0" * 50 + b"\n", b"[1]\n", b'{"a": 1}\n'])
def test_what_is_no_line_of_the_journal_counts_nothing(tail: bytes, tmp_path: Path) -> None:
    folder = written(tmp_path / "x").folder
    with (folder / JOURNAL).open("ab") as file:
        file.write(tail)
    parts = Parts(tmp_path / "x")
    with parts.held():
        assert [found.records for found in parts.begin(IDENTITY, {})] == [3, 6]


def test_of_a_long_journal_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path / "x", 9).folder
    size = len((folder / JOURNAL).read_bytes().splitlines()[-1]) + 1
    parts = Parts(tmp_path / "x")
    monkeypatch.setattr(journal, "_TAIL", 3 * size - 5)  # which begins within a line
    with parts.held():
        marks = parts.begin(IDENTITY, {})
        assert [found.records for found in marks] == [24, 27]
        parts.go_on(marks[0])
        parts.grow("rows")
        parts.commit(mark(25))
    lines = (folder / JOURNAL).read_text().splitlines()
    assert [json.loads(line)["records"] for line in lines] == [*range(3, 25, 3), 25]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"precision": "int8"}, "(precision was 'float32', now 'int8')"),
        ({"threads": 1}, "(threads was 2, now 1)"),
        ({"more": [1]}, "(more was None, now [1])"),
    ],
)
def test_another_job_is_refused_by_its_first_difference(
    change: dict[str, object], said: str, tmp_path: Path
) -> None:
    before = {path.name: path.read_bytes() for path in written(tmp_path / "x").folder.iterdir()}
    parts = Parts(tmp_path / "x")
    with (
        pytest.raises(OutputError, match="holds what another job has done") as failure,
        parts.held(),
    ):
        parts.begin({**IDENTITY, **change}, {})
    assert said in str(failure.value)
    assert "--restart, in Python restart=True" in str(failure.value)
    assert {path.name: path.read_bytes() for path in parts.folder.iterdir()} == before


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "x")
    parts.folder.mkdir()
    (parts.folder / "mine.txt").write_text("precious")
    for act in (lambda: parts.begin(IDENTITY, {}), parts.remove):
        with pytest.raises(OutputError, match=r"holds mine\.txt, which no job wrote"), parts.held():
            act()
    assert [path.name for path in parts.folder.iterdir()] == ["mine.txt"]
    (tmp_path / "y.part").write_text("no folder")
    with pytest.raises(OutputError, match="is no folder"), Parts(tmp_path / "y").held():
        pass


def test_a_file_that_lost_bytes_is_said_to_be_damaged(tmp_path: Path) -> None:
    folder = written(tmp_path / "x").folder
    os.truncate(folder / "rows", 9)
    parts = Parts(tmp_path / "x")
    with parts.held():
        parts.go_on(parts.begin(IDENTITY, {})[-1])
        with pytest.raises(OutputError, match=r"has fewer bytes .* says \(10\)"):
            parts.grow("rows")
    (folder / "rows").unlink()
    with parts.held():
        parts.go_on(parts.begin(IDENTITY, {})[-1])
        with pytest.raises(OutputError, match=r"is damaged, or not there; --restart"):
            parts.grow("rows")


def test_a_line_behind_which_nothing_goes_on_is_gone_before_the_files_are_cut(
    tmp_path: Path,
) -> None:
    folder = written(tmp_path / "x").folder
    parts = Parts(tmp_path / "x")
    with parts.held():
        parts.go_on(parts.begin(IDENTITY, {})[0])
        assert len((folder / JOURNAL).read_text().splitlines()) == 1
        assert (folder / "rows").read_bytes() == b"head111222half"
    with parts.held():
        parts.go_on(Mark())
        assert (folder / JOURNAL).read_bytes() == b""


def test_a_mark_says_itself_what_is_whole_of_a_file_that_is_ahead(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "x")
    with parts.held():
        parts.begin(IDENTITY, {})
        for name in ("rows", "ahead"):
            parts.grow(name)
            parts.write(name, b"abc")
        parts.commit(mark(1, sizes={"ahead": 2}))
    with parts.held():
        found = parts.begin(IDENTITY, {})[-1]
        assert found.sizes == {"rows": 3, "ahead": 2}
        parts.go_on(found)
        assert parts.grow("ahead").size == 2


def test_what_ends_before_its_first_block_leaves_nothing(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "x")
    with parts.held():
        parts.begin(IDENTITY, {})
        parts.grow("rows", b"head")
    assert not list(tmp_path.iterdir())


@posix
def test_one_process_at_a_time(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from numpy_bert.corpora.journal import Parts\n"
        "with Parts(Path(sys.argv[1])).held():\n    print('at it', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "at it\n"
        held = rf"x.part: another job is writing there \(process {other.pid} on "
        with pytest.raises(OutputError, match=held), Parts(tmp_path / "x").held():
            pass
        other.stdin.close()
    with Parts(tmp_path / "x").held():
        assert [path.name for path in (tmp_path / "x.part").iterdir()] == [LOCK]
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_error_and_what_is_whole_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "x")
    parts = Parts(tmp_path / "x")
    with parts.held():
        parts.go_on(parts.begin(IDENTITY, {})[-1])
        parts.grow("rows")
        parts.write("rows", b"333")
        with monkeypatch.context() as patch:

            def full(_: int) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

            patch.setattr(os, "fsync", full)
            with pytest.raises(OutputError) as failure:
                parts.commit(mark(9))
    said = str(failure.value)
    assert "x.part: could not be written (No space left on device; the disk has " in said
    assert said.endswith(" 6 texts are done: the same command goes on behind them.")
    with parts.held():
        assert parts.begin(IDENTITY, {})[-1].records == 6


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_job_has_ended_once_its_output_has_the_name(kind: str, tmp_path: Path) -> None:
    path, parts = tmp_path / "x", written(tmp_path / "x")
    made = parts.folder / "made"
    made.mkdir() if kind == "folder" else made.write_bytes(b"result")
    with parts.held():
        parts.sign(made, {"report": {"texts": 6}})
        assert parts.finished() is None  # it has no name yet
        path.write_bytes(b"an older file")
        assert parts.finished() is None
        path.unlink()
        made.rename(path)
        found = parts.finished()
        assert found is not None
        assert found["report"] == {"texts": 6}
        parts.remove()
    assert list(tmp_path.iterdir()) == [path]


def test_what_says_that_a_job_has_ended_goes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = written(tmp_path / "x")
    (parts.folder / "index").mkdir()
    (parts.folder / "index" / "a").touch()
    with parts.held():
        parts.sign(parts.folder / "rows", {})
        gone, unlink = list[str](), Path.unlink

        def remove(path: Path) -> None:
            gone.append(path.name)
            unlink(path)

        monkeypatch.setattr(Path, "unlink", remove)
        parts.remove()
        assert gone == [JOURNAL, "rows", JOB, FINISHED]
    assert not list(tmp_path.iterdir())
