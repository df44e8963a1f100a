"""``numpy-bert tune``: measured, printed, and kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from numpy_bert.cli import main
from numpy_bert.kernels.machine import machine
from numpy_bert.kernels.measure import Sizes
from numpy_bert.kernels.tuning_file import user_file

TINY = Sizes({48: (64,)}, rows=(8,), cold=1, features=16, tokens=256, rounds=1)


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("numpy_bert.kernels.measure.Sizes", lambda: TINY)


def test_it_is_kept_for_later_processes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune"]) == 0
    out, err = capsys.readouterr()
    assert "unset the environment variable NUMPY_BERT_TUNING, which is table now." in err
    assert "8 rows, 48 to 64: one call" in out
    assert f"measured here by `numpy-bert tune`, in {user_file()}" in out
    (name,) = json.loads(user_file().read_text("utf-8"))
    assert name == str(machine())


def test_another_file_is_for_the_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", "-o", str(tmp_path / "own.json")]) == 0
    assert "NUMPY_BERT_TUNING" in capsys.readouterr().err
    assert (tmp_path / "own.json").exists()
    assert not user_file().exists()


def test_a_file_that_is_another_thing_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    assert main(["tune", "-o", str(path)]) == 2
    assert path.read_text() == "mine"
    captured = capsys.readouterr()
    assert "notes.txt" in captured.err
    assert captured.out == ""  # nothing was measured


def test_a_file_is_not_named_where_none_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["tune", "--show", "-o", "own.json"])
    assert "not allowed with" in capsys.readouterr().err


def test_what_is_in_force_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "--show"]) == 0
    assert "activation" in capsys.readouterr().out
    assert not user_file().exists()
