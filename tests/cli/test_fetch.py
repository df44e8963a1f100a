"""``numpy-bert fetch``: the folder on stdout, the rest on stderr."""

from __future__ import annotations

from pathlib import Path

import pytest

from numpy_bert.cli import main
from tests.loading.test_hub import FILES, REPO, TAKEN, cache_of, commit, corrupt, hub
from tests.support.hub import StandInHub

__all__ = ["commit", "hub"]  # fixtures


def test_the_folder_is_printed_for_a_script(
    hub: StandInHub, commit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fetch", REPO]) == 0
    out, err = capsys.readouterr()
    assert out == f"{cache_of(tmp_path) / 'snapshots' / commit}\n"
    size = sum(len(FILES[name]) for name in TAKEN) / 1e6
    assert f"{len(TAKEN)} files, {size:.1f} MB" in err


def test_verify_hashes_everything_again(
    hub: StandInHub, commit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fetch", REPO, "--verify"]) == 0
    assert f"{len(TAKEN)} files hashed again, all as published." in capsys.readouterr().err
    folder = cache_of(tmp_path) / "snapshots" / commit
    corrupt(folder / "model.safetensors")
    assert main(["fetch", REPO, "--verify", "--offline"]) == 1
    assert "its bytes hash to" in capsys.readouterr().err


def test_offline_and_revision(
    hub: StandInHub, commit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = str(tmp_path / "other")
    assert main(["fetch", REPO, "--offline", "--cache-dir", cache]) == 1
    assert "no request was allowed" in capsys.readouterr().err
    assert main(["fetch", REPO, "--revision", commit, "--cache-dir", cache]) == 0
    assert main(["fetch", REPO, "--revision", commit, "--cache-dir", cache, "--offline"]) == 0
    assert capsys.readouterr().out.count(commit) == 2


def test_a_gated_repository_on_the_command_line(
    hub: StandInHub,
    commit: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hub.gated.add(REPO)
    assert main(["fetch", REPO]) == 1
    assert "on the command line --token" in capsys.readouterr().err
    monkeypatch.setenv("HF_TOKEN", "good-token")
    assert main(["fetch", REPO, "--token"]) == 0
