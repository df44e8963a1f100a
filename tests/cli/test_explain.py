"""``numpy-bert explain``: the terminal's view, the page, the drawing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from numpy_bert.cli import main
from tests.support.checkpoints import write_checkpoint
from tests.support.pages import SENTENCE, data_of, random_model
from tests.support.platforms import posix

NOTE = "numpy-bert: model 'demo' (built in, small); name another with --model NAME_OR_PATH.\n"
COMMAND = [sys.executable, "-m", "numpy_bert", "explain", SENTENCE]


def environment(**changes: str) -> dict[str, str]:
    plain = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return {**plain, "TERM": "xterm-256color", **changes}


def on_a_terminal(**changes: str) -> str:
    """Run the command with its output on a terminal, and return what came there."""
    import pty  # POSIX has it

    ours, theirs = pty.openpty()
    with subprocess.Popen(
        COMMAND, stdout=theirs, stderr=subprocess.DEVNULL, env=environment(**changes)
    ) as process:
        os.close(theirs)
        data = b""
        while True:
            try:
                more = os.read(ours, 65536)
            except OSError:  # the end of it
                break
            data += more
        os.close(ours)
        assert process.wait() == 0
    return data.decode().replace("\r\n", "\n")


def test_it_tells_the_story(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", SENTENCE]) == 0
    out, err = capsys.readouterr()
    assert err == NOTE
    assert "Input embedding: LayerNorm(word + segment + position)" in out
    assert "Layer by layer" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("columns", [80, 120])
@posix
def test_a_terminal_has_colours_and_its_width(columns: int) -> None:
    shown = on_a_terminal(COLUMNS=str(columns))
    assert "\x1b[30;46mw" in shown
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert max(map(len, plain.splitlines())) <= columns
    assert ("variance" in plain) == (columns == 120)
    result = subprocess.run(
        COMMAND, capture_output=True, text=True, env=environment(COLUMNS=str(columns))
    )
    assert result.stdout == plain  # and a pipe has the same without


@pytest.mark.parametrize("changes", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
@posix
def test_a_terminal_without_colours_has_none(changes: dict[str, str]) -> None:
    assert "\x1b" not in on_a_terminal(**changes)


def test_colours_can_be_forced_into_a_pipe() -> None:
    result = subprocess.run(
        COMMAND, capture_output=True, text=True, env=environment(FORCE_COLOR="1")
    )
    assert "\x1b[1m" in result.stdout


@posix
def test_a_text_cannot_steer_the_terminal(tmp_path: Path) -> None:
    hostile = tmp_path / "\x1b[31mred"
    random_model(hostile)
    command = [sys.executable, "-m", "numpy_bert", "explain", "a \x1b[2Jb", "--model", str(hostile)]
    for force in ("", "1"):
        result = subprocess.run(
            command, capture_output=True, text=True, env=environment(FORCE_COLOR=force)
        )
        assert result.returncode == 0
        assert "\x1b[31m" not in result.stdout + result.stderr
        assert "\x1b[2J" not in result.stdout + result.stderr


@posix
def test_the_reader_of_a_pipe_may_go_away() -> None:
    command = subprocess.Popen(
        COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    assert command.stdout is not None
    command.stdout.close()
    assert command.stderr is not None
    assert b"Traceback" not in command.stderr.read()
    command.stderr.close()
    assert command.wait() == 141


def test_a_page_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "page.html"
    assert main(["explain", SENTENCE, "a second", "--token", "2", "-o", str(path)]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert f"wrote {path} (" in err
    data = data_of(path.read_text("utf-8"))
    assert data["walked"] == 2
    assert [t["segment"] for t in data["tokens"]] == [0] * 7 + [1] * 3
    assert main(["explain", SENTENCE, "-o", str(path)]) == 1
    assert "exists" in capsys.readouterr().err
    assert main(["explain", SENTENCE, "-o", str(path), "--force"]) == 0


def test_a_drawing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "picture.svg"
    assert main(["explain", SENTENCE, "-o", str(path)]) == 0
    assert path.read_text("utf-8").startswith("<svg ")


def test_png_without_its_extra_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    assert main(["explain", SENTENCE, "-o", str(tmp_path / "a.png")]) == 2
    assert "pip install 'numpy_bert[png]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_words_are_predicted_where_the_model_can(
    minilm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "The [MASK] is up."]) == 0
    assert "Words that fit at the mask\nposition 2: " in capsys.readouterr().out
    assert main(["explain", "The [MASK] is up.", "--model", str(minilm)]) == 0
    out, err = capsys.readouterr()
    assert "Words that fit" not in out
    assert err == (
        f"numpy-bert: {minilm} has no head that predicts words, so none are shown for [MASK].\n"
    )


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["-o", "page.pdf"], 2, r"-o page\.pdf: the name must end in one of \.html, \.svg, \.png"),
        (["-o", "nowhere/page.html"], 1, "nowhere"),
        (
            ["--token", "7"],
            2,
            "token must be a position from 0 to 6, as the text has 7 tokens; got 7",
        ),
        (["--model", "./nothing"], 2, r"there is no folder \./nothing"),
    ],
)
def test_mistakes_are_told_in_a_line(
    arguments: list[str],
    status: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["explain", SENTENCE, *arguments]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(f"numpy-bert explain: error: .*{message}", err)
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_token_is_a_position() -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["explain", SENTENCE, "--token", "test"])


def test_a_text_that_is_too_long(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = random_model(tmp_path, max_position_embeddings=19)
    assert main(["explain", "word " * 30, "--model", str(folder)]) == 2
    assert "has 32 tokens, the model takes 19" in capsys.readouterr().err
    assert main(["explain", "word " * 30, "--model", str(folder), "--truncate"]) == 0
    assert "it was cut to 19" in capsys.readouterr().out


def test_a_checkpoint_without_a_tokenizer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "a", "--model", str(write_checkpoint(tmp_path))]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_what_was_lost_and_left_out_is_told_beside_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "page.html"
    assert main(["explain", "te\u200bst " + "word " * 80, "-o", str(path)]) == 0
    err = capsys.readouterr().err
    assert "numpy-bert: 1 character dropped by the tokenizer: U+200B." in err
    assert "numpy-bert: 48 of 83 tokens are drawn" in err
