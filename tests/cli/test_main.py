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

import fuzz_commands
import pytest
from fuzz_commands import GOOD, World

import numpy_bert
from numpy_bert.cli import COMMANDS, console, main
from tests.support.limits import within
from tests.support.platforms import linux, posix

PROGRAM = [sys.executable, "-m", "numpy_bert"]


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, encoding="utf-8", **options
    )


def in_bash(rest: str) -> subprocess.CompletedProcess[str]:
    """Run a command whose streams bash redirects."""
    script = f"{' '.join(PROGRAM)} {rest}"
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True)


def test_the_version() -> None:
    assert run("--version").stdout == f"numpy-bert {numpy_bert.__version__}\n"


@pytest.mark.parametrize(
    ("command", "redirect"),
    [("embed a --model demo", "> /dev/full"), ("fetch demo", ">&-"), ("--help", "> /dev/full")],
)
@linux
def test_an_output_that_is_full_or_closed_is_one_line(command: str, redirect: str) -> None:
    result = in_bash(f"{command} {redirect}")
    assert result.returncode == 1
    assert "error: standard output: " in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr


@pytest.mark.parametrize("redirect", ["2> /dev/full", "2>&-", "2>&- <&-"])
@linux
def test_a_note_that_cannot_be_written_is_dropped(redirect: str) -> None:
    result = in_bash(f"similarity a b --json {redirect}")
    assert result.returncode == 0
    assert result.stdout.startswith('{"model": "demo"')
    assert result.stdout.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["frob"], ["encode", "--frob"], ["similarity"]])
def test_what_is_wrong_is_never_said_on_standard_output(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", None)
    monkeypatch.setattr("sys.stdin", None)
    try:
        code: object = main(words)
    except SystemExit as end:
        code = end.code
    assert code == 2
    assert capsys.readouterr().out == ""


@linux
def test_no_file_takes_the_place_of_a_closed_stream() -> None:
    code = (
        "import os; from numpy_bert.cli.console import hold_standard_streams as hold; hold();"
        "print(os.open(os.devnull, os.O_RDONLY), [os.get_inheritable(n) for n in range(3)])"
    )
    script = f"{sys.executable} -c '{code}' 2>&- <&-"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    number, _, kept = result.stdout.partition(" ")
    assert int(number) > 2
    assert kept == "[True, True, True]\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("command", GOOD)
@posix
def test_no_command_needs_standard_error(command: str, world: World) -> None:
    words = GOOD[command][0].split("|")
    with_it = fuzz_commands.run(world, words)
    without = fuzz_commands.run(world, words, err="closed" if command < "d" else "none")
    assert with_it.code == 0
    assert (without.code, without.out, without.made) == (0, with_it.out, with_it.made)


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
    monkeypatch.setattr("sys.stderr", None)
    assert main(["fetch", "demo"]) == 0
    assert capsys.readouterr().out == ""


def test_a_cell_of_many_blanks_does_not_take_long() -> None:
    blanks = " " * 300_000
    with within(2):
        lines = console.table(["text"], [[f"a{blanks}b \r\n\t c\n"]]).splitlines()
    assert lines[1] == f"  a{blanks}b c"
