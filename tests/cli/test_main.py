"""``numpy-bert`` as a process: pipes, signals, locales, control characters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from numpy_bert.cli import main
from tests.support.checkpoints import random_tensors, write_checkpoint
from tests.support.platforms import linux, posix

PROGRAM = [sys.executable, "-m", "numpy_bert"]


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, encoding="utf-8", **options
    )


def test_the_version() -> None:
    import numpy_bert

    assert run("--version").stdout == f"numpy-bert {numpy_bert.__version__}\n"


@posix
def test_a_closed_pipe_is_quiet() -> None:  # H7
    command = " ".join([*PROGRAM, "embed", f"'{'a ' * 300}'", "--model", "demo", "--json"])
    script = f"{command} | head -c 10; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert result.returncode == 141
    assert result.stderr == ""


@pytest.mark.parametrize("command", ["embed a --model demo", "inspect demo", "fetch demo"])
@pytest.mark.parametrize("redirect", ["> /dev/full", ">&-"])
@linux
def test_an_output_that_is_full_or_closed_is_one_line(command: str, redirect: str) -> None:
    script = f"{' '.join(PROGRAM)} {command} {redirect}"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert result.returncode == 1
    assert "error: standard output: " in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr


@linux
def test_a_note_that_cannot_be_written_is_dropped() -> None:
    script = f"{' '.join(PROGRAM)} embed a 2> /dev/full"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert result.returncode == 0
    assert "embeddings.sum" in result.stdout


def test_reading_the_arguments_imports_no_numpy() -> None:
    code = "import sys, numpy_bert.cli; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_ctrl_c_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("numpy_bert.cli.embed.BertModel.from_pretrained", interrupted)
    assert main(["embed", "a", "--model", "demo"]) == 130


def test_too_little_memory_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("numpy_bert.cli.embed.BertModel.from_pretrained", exhausted)
    assert main(["embed", "a", "--model", "demo"]) == 1
    assert capsys.readouterr().err == "numpy-bert embed: error: out of memory.\n"


@posix
def test_the_plain_c_locale_gives_the_same_ids() -> None:  # D9
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    plain = run("embed", "cafe \u2014 a test", "--model", "demo", "--json")
    locale = subprocess.run(
        [*PROGRAM, "embed", "cafe \u2014 a test".encode(), "--model", "demo", "--json"],
        capture_output=True,
        env=environment,
    )
    assert plain.returncode == 0
    assert json.loads(locale.stdout)["input_ids"] == json.loads(plain.stdout)["input_ids"]


def test_control_characters_in_a_file_are_shown_not_obeyed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # A17
    tensors = random_tensors() | {"evil\x1b[31m\nname": random_tensors()["pooler.dense.bias"]}
    folder = write_checkpoint(tmp_path / "evil", tensors)
    assert main(["inspect", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert r"evil\x1b[31m\nname" in out


def test_warnings_are_notes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import warnings

    from numpy_bert.cli import fetch

    def warns(_: object) -> int:
        warnings.warn("stale\x07 copy", stacklevel=1)
        return 0

    monkeypatch.setattr(fetch, "run", warns)
    assert main(["fetch", "demo"]) == 0
    assert capsys.readouterr().err == "numpy-bert: stale\\x07 copy\n"
