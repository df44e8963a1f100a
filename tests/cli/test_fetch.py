"""``numpy-bert fetch``: the folder on stdout, the rest on stderr."""

from __future__ import annotations

from pathlib import Path

import pytest

from numpy_bert.cli import main
from tests.support.hub import StandInHub
from tests.support.repository import FILES, REPO, TAKEN, cache_of, corrupt


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


def test_only_the_embeddings(
    hub: StandInHub, commit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fetch", REPO, "--only", "embeddings"]) == 0
    out, err = capsys.readouterr()
    folder = cache_of(tmp_path) / ".numpy_bert_embeddings" / commit
    assert out == f"{folder}\n"
    assert f"{len(TAKEN)} files, 2.3 MB" in err
    # The name and the folder that was printed are found without a request, and nothing is fetched.
    hub.close()
    for model in (REPO, str(folder)):
        assert main(["embed", "a", "--model", model, "--step", "embeddings.sum"]) == 0
        out, err = capsys.readouterr()
        assert "embeddings.sum  (1, 3, 128)" in out
        assert err == ""
    assert main(["inspect", str(folder), "--check"]) == 0
    assert "checked: no problem found" in capsys.readouterr().out
    assert main(["fetch", REPO, "--only", "embeddings", "--offline"]) == 0
    assert capsys.readouterr().out == f"{folder}\n"
    assert main(["fetch", REPO, "--offline"]) == 1
    assert "lacks model.safetensors" in capsys.readouterr().err


def test_only_the_embeddings_verified_again(
    hub: StandInHub, commit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["fetch", REPO, "--only", "embeddings", "--verify"]
    assert main(command) == 0
    err = capsys.readouterr().err
    assert f"{len(TAKEN) - 1} files hashed again, all as published." in err
    assert "model.safetensors is as it was downloaded. It is a part of a file, which cannot" in err
    corrupt(cache_of(tmp_path) / ".numpy_bert_embeddings" / commit / "model.safetensors")
    assert main([*command, "--offline"]) == 1
    assert "at download it was" in capsys.readouterr().err
    assert main(command) == 0


def test_embed_fetches_the_whole_unless_a_part_is_there(
    hub: StandInHub, commit: str, tmp_path: Path
) -> None:
    assert main(["embed", "a", "--model", REPO]) == 0
    assert (cache_of(tmp_path) / "snapshots" / commit / "model.safetensors").exists()
    assert not (cache_of(tmp_path) / ".numpy_bert_embeddings").exists()


def test_other_parts_are_a_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["fetch", REPO, "--only", "encoder"])
    assert "--only: 'encoder' is not one of embeddings" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        main(["fetch", "--help"])
    help_text = " ".join(capsys.readouterr().out.split())
    assert "a part of a file cannot be checked against the whole file's hash" in help_text
