"""numpy_bert.loading.sums: a model held to published hashes, whatever folder it comes from."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from numpy_bert import InputError, IntegrityError, fetch
from numpy_bert.cli import main
from numpy_bert.loading.sums import read_sums
from tests.support.checkpoints import write_checkpoint
from tests.support.hub import StandInHub
from tests.support.repository import REPO, contents, corrupt

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "model")


@pytest.fixture
def lock(folder: Path, tmp_path: Path, capsys: Captured) -> Path:
    """The hashes of that folder."""
    path = tmp_path / "model.sha256"
    assert main(["fetch", str(folder), "--lock", str(path)]) == 0
    capsys.readouterr()
    return path


def test_sha256sum_reads_them(folder: Path, lock: Path) -> None:
    if (program := shutil.which("sha256sum")) is not None:
        command = [program, "-c", "--strict", str(lock)]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert result.returncode == 0
        assert result.stdout == "config.json: OK\nmodel.safetensors: OK\n"
    assert set(read_sums(lock).hashes) == set(contents(folder))


def test_a_folder_is_held_to_them(folder: Path, lock: Path, capsys: Captured) -> None:
    assert fetch(folder, sha256=lock) == folder
    assert main(["fetch", str(folder), "--verify"]) == 0
    assert "nothing to hash: " in capsys.readouterr().err
    assert main(["fetch", str(folder), "--verify", "--sha256", str(lock)]) == 0
    err = capsys.readouterr().err
    assert f"every file is as {lock} has it." in err
    assert "nothing to hash" not in err
    good = contents(folder)
    corrupt(folder / "model.safetensors")
    with pytest.raises(
        IntegrityError, match=r"model\.safetensors: its bytes hash to \w{64}, .*has"
    ):
        fetch(folder, sha256=str(lock))
    assert main(["fetch", str(folder), "--sha256", str(lock)]) == 1
    assert "It is another version, or corrupt." in capsys.readouterr().err
    (folder / "model.safetensors").write_bytes(good["model.safetensors"])
    (folder / "vocab.txt").write_text("x")
    with pytest.raises(IntegrityError, match=r"has no hash of vocab\.txt\. Remove what does not"):
        fetch(folder, sha256=lock)
    (folder / "vocab.txt").unlink()
    (folder / "README.md").write_text("what is not read may be there")
    assert fetch(folder, sha256=lock) == folder


def test_what_is_listed_must_be_there(folder: Path, lock: Path) -> None:
    lock.write_text(f"{lock.read_text()}{'0' * 64}  1_Pooling/config.json\n")
    with pytest.raises(IntegrityError, match=r"has no 1_Pooling/config\.json, of which .* has the"):
        fetch(folder, sha256=lock)


def test_a_repository_is_fetched_at_the_commit_that_they_name(
    hub: StandInHub, folder: Path, tmp_path: Path, capsys: Captured
) -> None:
    commit = hub.add_commit(REPO, contents(folder))
    lock = tmp_path / "lock"
    assert main(["fetch", REPO, "--lock", str(lock)]) == 0
    assert lock.read_text().startswith(f"# numpy-bert fetch {REPO} --revision {commit}\n")
    other = hub.add_commit(REPO, {**contents(folder), "config.json": b"{}"})
    assert fetch(REPO, sha256=lock).name == commit
    assert fetch(folder, sha256=lock) == folder
    with pytest.raises(IntegrityError, match=r"config\.json: its bytes hash to"):
        fetch(REPO, sha256=lock, revision=other)
    # Another repository that has the same files is as good, at whatever commit.
    hub.add_commit("someone/copy", contents(folder))
    assert fetch("someone/copy", sha256=lock).is_dir()


def test_a_file_of_them_is_not_replaced_unasked(
    folder: Path, lock: Path, hub: StandInHub, capsys: Captured
) -> None:
    before = lock.read_text()
    lock.write_text("mine")
    assert main(["fetch", str(folder), "--lock", str(lock)]) == 1
    assert "already exists and was left as it is; --force replaces it" in capsys.readouterr().err
    assert main(["fetch", REPO, "--lock", str(lock)]) == 1  # nothing was asked for
    assert hub.requests == []
    assert lock.read_text() == "mine"
    assert main(["fetch", str(folder), "--lock", str(lock), "--force"]) == 0
    assert lock.read_text() == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"holds no hash; `numpy-bert fetch NAME --lock FILE` writes some"),
        ("# a\n\n", "holds no hash"),
        ("x  config.json\n", r"line 1 must be a sha256, two spaces and the path of a file in the"),
        (f"{'0' * 64}  /etc/passwd\n", "line 1 must be"),
        (f"{'0' * 64}  ../config.json\n", "line 1 must be"),
        (f"{'0' * 64}  C:\\config.json\n", "line 1 must be"),
        (f"{'0' * 64}  a\x1b[31m\n", r"line 1 must be .*\\x1b"),
        (f"{'0' * 64}  a\n{'0' * 64}  a\n", "line 2 must be a sha256, .* which no other line has"),
        (f"{'A' * 64}  a\n", "line 1 must be"),
    ],
)
def test_a_file_that_is_none_of_hashes(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "sums"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        fetch("demo", sha256=path)


def test_line_ends_and_binary_marks_of_other_systems(folder: Path, lock: Path) -> None:
    lock.write_bytes(lock.read_bytes().replace(b"  ", b" *").replace(b"\n", b"\r\n"))
    assert fetch(folder, sha256=lock) == folder


@pytest.mark.parametrize("given", [5, b"x", True])
def test_what_names_no_file(given: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sha256 must be a file of hashes; got"):
        fetch("demo", sha256=given)
    with pytest.raises(InputError, match="does not exist"):
        fetch("demo", sha256=tmp_path / "absent")


def test_a_part_has_no_published_hash(lock: Path, capsys: Captured) -> None:
    with pytest.raises(InputError, match="a part of a file cannot be checked against"):
        fetch("demo", sha256=lock, only="embeddings")
    assert main(["fetch", REPO, "--only", "embeddings", "--lock", str(lock), "--force"]) == 2
    assert "a part has no published hash" in capsys.readouterr().err
