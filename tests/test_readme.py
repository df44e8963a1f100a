"""The README is executed: its Python as doctests, its console sessions as commands."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest

from numpy_bert.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
pytestmark = pytest.mark.usefixtures("cached_minilm", "threads")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def fences(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.M | re.S)


def test_the_python_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews.csv").write_text(fences("csv")[0], "utf-8")
    source = "\n".join(fences("python"))
    test = doctest.DocTestParser().get_doctest(source, {}, "README.md", "README.md", 0)
    assert len(test.examples) > 15
    failures: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    runner.run(test, out=failures.append)
    assert not failures, "".join(failures)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the sessions leave files for one another."""
    folder = tmp_path_factory.mktemp("sessions")
    (table,) = fences("csv")
    (folder / "reviews.csv").write_text(table, "utf-8")
    return folder


SESSIONS = [
    (command, expected)
    for fence in fences("console")
    for command, expected in re.findall(r"^\$ (.*?)\n(.*?)(?=^\$ |\Z)", fence, flags=re.M | re.S)
]


# Those of a fine-tuned MiniLM, which takes a while to learn.
FINE_TUNING = [c for c, _ in SESSIONS if c.startswith("numpy-bert train") or "./reviews" in c]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        pytest.param(*session, marks=[pytest.mark.slow] if session[0] in FINE_TUNING else [])
        for session in SESSIONS
    ],
    ids=[c for c, _ in SESSIONS],
)
def test_the_console_sessions(
    command: str,
    expected: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    place: Path,
) -> None:
    monkeypatch.chdir(place)
    program, *arguments = shlex.split(command)
    assert program == "numpy-bert"
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert doctest.OutputChecker().check_output(expected, out, FLAGS), out


def test_nothing_is_left_to_fill_in() -> None:
    assert "@@" not in README
    assert len(SESSIONS) == 15
    assert len(FINE_TUNING) == 3


def test_there_are_two_set_up_commands_of_one_line() -> None:
    lines = [line for fence in fences("sh") for line in fence.splitlines()]
    assert len(lines) == 2
    assert all(line.startswith("python3 -m venv ") for line in lines)


def test_every_file_that_it_names_exists() -> None:
    ticked = re.findall(r"`((?:numpy_bert|scripts|tests|ops|blocks|model)/[\w./]+)`", README)
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert len(pictures) == 2
    for name in (*ticked, *pictures):
        paths = (ROOT / name, ROOT / "numpy_bert" / name)
        assert any(path.exists() for path in paths), name


def test_the_scripts_readme_names_every_file_of_its_folder() -> None:
    text = (ROOT / "scripts" / "README.md").read_text("utf-8")
    named = set(re.findall(r"[\w./]+", text))
    for path in (ROOT / "scripts").iterdir():
        if path.suffix in {".py", ".ipynb"}:
            assert {path.name, f"scripts/{path.name}"} & named, path.name
