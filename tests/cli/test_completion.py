"""``numpy-bert completion``: what a real bash makes of a Tab, and what zsh and fish are told."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from numpy_bert.cli import COMMANDS, main
from tests.support.platforms import PLATFORM, posix

pytestmark = posix
has_bash = pytest.mark.skipif(shutil.which("bash") is None, reason=f"{PLATFORM}: it is bash")
# Calls the function as bash does, for the words that are its arguments.
ASK = """
eval "$SCRIPT"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_numpy_bert
printf '%s\\n' "${COMPREPLY[@]}"
"""


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


@has_bash
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("numpy-bert|fill", "fill-mask"),
        ("numpy-bert|co", "compare completion"),
        ("numpy-bert|--v", "--version"),
        ("numpy-bert|encode|--tru", "--truncate-dim"),
        ("numpy-bert|encode|a|--no", "--normalize"),
        ("numpy-bert|encode|--dtype|", "float32 float64"),
        ("numpy-bert|encode|--model|d", "demo"),
        ("numpy-bert|tag|a|--aggregation|a", "average"),
        ("numpy-bert|train|m", "mlm"),
        ("numpy-bert|inspect|", "demo"),
        ("numpy-bert|completion|", "bash zsh fish"),
        # Where nothing is known, bash completes file names.
        ("numpy-bert|encode|--input|te", ""),
        ("numpy-bert|compare|po", ""),
        ("numpy-bert|frob|", ""),
    ],
)
def test_bash_completes(words: str, completed: str, capsys: pytest.CaptureFixture[str]) -> None:
    environment = {**os.environ, "SCRIPT": script("bash", capsys)}
    command = ["bash", "--norc", "-uc", ASK, "bash", *words.split("|")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stderr == ""
    assert set(done.stdout.split()) == set(completed.split())


@has_bash
def test_a_tab_in_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import pty

    (tmp_path / "numpy-bert").write_text('#!/bin/sh\necho "called: $*."\n')
    (tmp_path / "numpy-bert").chmod(0o755)
    (tmp_path / "texts.txt").touch()
    (tmp_path / "script").write_text(script("bash", capsys))
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "TERM": "dumb"}
    shell = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        cwd=tmp_path,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        os.write(ours, b"source script\nnumpy-bert enc\t--inp\t te\t--poo\tc\t\nexit\n")
        shown, end = "", time.monotonic() + 60
        while "called: " not in shown and time.monotonic() < end:
            if select.select([ours], [], [], 1)[0]:
                shown += os.read(ours, 1000).decode()
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)
    called = re.search(r"called: (.*)\.", shown)
    assert called is not None, shown
    assert called[1] == "encode --input texts.txt --pooling cls"


def test_zsh_gets_the_script_of_bash_and_what_makes_it_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second, *rest = script("zsh", capsys).splitlines()
    assert "compinit" in first
    assert second == "autoload -Uz bashcompinit && bashcompinit"
    assert rest == script("bash", capsys).splitlines()


def test_fish_is_told_every_command_option_and_choice(capsys: pytest.CaptureFixture[str]) -> None:
    lines = script("fish", capsys).splitlines()
    assert all(line.startswith("complete -c numpy-bert ") for line in lines)
    for name in COMMANDS:
        assert any(f"__fish_use_subcommand -a {name} -d " in line for line in lines)
    encode = [line for line in lines if "from encode'" in line]
    assert any(" -s o -l output -r -d " in line for line in encode)
    assert any(" -l dtype -x -a 'float32 float64' -d " in line for line in encode)
    assert any(" -l json -d " in line for line in encode)
    assert any(" -l model -r -a demo -d " in line for line in encode)
