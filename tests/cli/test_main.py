"""``numpy-bert`` as a process: pipes, signals, locales, control characters."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import numpy_bert
from numpy_bert.cli import COMMANDS, main
from tests.support.platforms import linux, posix

PROGRAM = [sys.executable, "-m", "numpy_bert"]


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, encoding="utf-8", **options
    )


def test_the_version() -> None:
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


def loaded_after(*commands: list[str]) -> set[str]:
    """Run commands that end while their arguments are read; return what they have imported."""
    code = """if True:
        import contextlib, io, json, sys
        from numpy_bert.cli import main
        for command in json.loads(sys.argv[1]):
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(sys.stdout):
                with contextlib.suppress(SystemExit):
                    main(command)
        print(json.dumps(sorted(sys.modules)))"""
    words = [sys.executable, "-c", code, json.dumps(commands)]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout))


def test_reading_the_arguments_imports_no_numpy() -> None:
    commands = [[name, *rest] for name in COMMANDS for rest in (["--help"], ["--nothing"])]
    loaded = loaded_after(*commands)
    assert {f"numpy_bert.cli.{name.replace('-', '_')}" for name in COMMANDS} <= loaded
    assert not loaded & {"numpy", "safetensors", "tokenizers", "huggingface_hub", "dataclasses"}


def test_help_and_version_import_no_command() -> None:
    loaded = loaded_after(["--help"], ["--version"], [], ["nothing"], ["help"])
    ours = {name for name in loaded if name.startswith("numpy_bert.")}
    names = ("cli", "cli.console", "cli.parser", "errors", "messages")
    assert ours == {f"numpy_bert.{name}" for name in names}


def test_every_command_is_a_module_with_arguments_and_run() -> None:
    shared = {"__init__", "console", "options", "parser"}
    files = {path.stem for path in Path(numpy_bert.cli.__file__).parent.glob("*.py")}
    assert {name.replace("-", "_") for name in COMMANDS} == files - shared
    for name in files - shared:
        module = importlib.import_module(f"numpy_bert.cli.{name}")
        assert str(module.__doc__).startswith(f"``numpy-bert {name.replace('_', '-')}``: ")
        parser = argparse.ArgumentParser()
        module.add_arguments(parser)
        assert str(parser.description).endswith(".")
        assert callable(module.run)
        for action in parser._actions:
            assert action.help, f"{name}: {action.dest} has no help"


def test_ctrl_c_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("numpy_bert.BertModel.from_pretrained", interrupted)
    assert main(["embed", "a", "--model", "demo"]) == 130


def test_too_little_memory_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("numpy_bert.BertModel.from_pretrained", exhausted)
    assert main(["embed", "a", "--model", "demo"]) == 1
    assert (
        capsys.readouterr().err
        == "numpy-bert embed: error: out of memory. Give it less at a time.\n"
    )


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
