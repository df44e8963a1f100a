"""The help of every command: its examples run, and its defaults are said in words."""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numpy_bert
from numpy_bert.cli import COMMANDS, main
from numpy_bert.cli.parser import Parser
from numpy_bert.corpora.index_output import write_index

# They would take minutes, or a hub.
NOT_RUN = ("numpy-bert tune", "numpy-bert fetch")
# What verify and compare say of the port that is written for them: it differs.
STATUS = {"verify": 1, "bisect": 1, "compare": 1}
PORT = """
import sys
import numpy as np
import numpy_bert
inputs, names, output = sys.argv[1:]
ids = dict(np.load(inputs))
steps = dict(numpy_bert.BertModel.from_pretrained("demo").trace(ids["input_ids"]))
steps["encoder"] = steps["encoder"] + 1
np.savez(output, **{name: steps[name] for name in names.split(",")})
"""


def parser_of(command: str) -> Parser:
    parser = Parser(prog=f"numpy-bert {command}")
    importlib.import_module(f"numpy_bert.cli.{command.replace('-', '_')}").add_arguments(parser)
    return parser


def examples() -> list[tuple[str, str]]:
    return [
        (command, line.strip())
        for command in COMMANDS
        for line in str(parser_of(command).epilog).splitlines()[1:]
    ]


def needs_demo_alone(words: list[str], line: str) -> bool:
    model = words[words.index("--model") + 1] if "--model" in words else "demo"
    if words[1] in ("inspect", "golden"):
        model = words[2]
    return model == "demo" and not (line in NOT_RUN or line.startswith("numpy-bert fetch"))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that examples speak of."""
    monkeypatch.chdir(tmp_path)
    Path("texts.txt").write_text("The sun is shining.\nIt rains.\n" * 4)
    Path("others.txt").write_text("It is a sunny day.\n" * 2)
    rows = [f"{text},{label}" for text, label in (("good", "yes"), ("bad", "no")) for _ in range(4)]
    Path("reviews.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    Path("asked.csv").write_text("text,text_pair\nIs it open?,until five\nMay I pay?,by card\n")
    texts, encoder = ["The sun is shining.", "It rains."], numpy_bert.SentenceEncoder("demo")
    write_index("texts.index", texts, encoder.encode_document(texts), encoder, "demo")
    steps: dict[str, Any] = dict(numpy_bert.BertModel.from_pretrained("demo").trace([[2, 5, 3]]))
    ids: Any = np.array([[2, 5, 3]])
    np.savez("reference.npz", input_ids=ids, **steps)
    np.savez("port.npz", input_ids=ids, **steps | {"pooler": steps["pooler.dense"]})
    Path("port.py").write_text(PORT)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example(command: str) -> None:
    heading, *lines = str(parser_of(command).epilog).splitlines()
    assert heading == ("example:" if len(lines) == 1 else "examples:")
    assert lines
    for line in lines:
        assert shlex.split(line)[:2] == ["numpy-bert", command]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("command", "line"), examples())
def test_an_example_runs(
    command: str, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shlex.split(line)
    if needs_demo_alone(words, line):
        words = [sys.executable if word == "python" else word for word in words]
        assert main(words[1:]) == STATUS.get(command, 0), capsys.readouterr().err
        return
    monkeypatch.setattr(f"numpy_bert.cli.{command.replace('-', '_')}.run", lambda options: 0)
    assert main(words[1:]) == 0  # its words are all known


def test_the_example_of_the_program_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    (line,) = (text for text in capsys.readouterr().out.splitlines() if "  numpy-bert" in text)
    assert main(shlex.split(line)[1:]) == 0
    assert float(capsys.readouterr().out) > 0.5


@pytest.mark.parametrize("command", COMMANDS)
def test_a_default_is_said_in_words(command: str) -> None:
    for action in parser_of(command)._actions:
        default = action.default
        if default in (None, False, argparse.SUPPRESS) or isinstance(default, list):
            continue
        said = f"{default:g}" if isinstance(default, float) else str(default)
        assert f"{said} by default" in str(action.help), f"{command}: {action.dest}"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_fits_a_terminal(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for words in (["--help"], [command, "--help"]):
        with pytest.raises(SystemExit):
            main(words)
        _usage, _, rest = capsys.readouterr().out.partition("\n\n")
        lines = rest.splitlines()
        wide = [line for line in lines if len(line) > 79 and not line.startswith("  numpy-bert")]
        assert wide == []
