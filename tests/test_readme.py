"""Every README is executed: its Python as doctests, its console sessions as commands.

They are found by walking the repository, so that a new one is run without a word here.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from numpy_bert.cli import main
from tests.support.platforms import PLATFORM
from tests.tolerances import FAST_ENCODER

ROOT = Path(__file__).parent.parent
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# What the tests do with a fence is said in .github/CONTRIBUTING.md, in the same order.
LANGUAGES = {"python", "console", "csv", "json", "sh", "cpp", "text", ""}
# These need torch and ONNX Runtime, a cluster, Spark: two files of tests/parity/ and
# tests/integrations run them.
ELSEWHERE = ("register_forward_hook", "InferenceSession", "to_parquet", "mapInPandas")


class Fence(NamedTuple):
    """A piece of a README between two lines of backticks."""

    language: str
    file: str  # the name that stands behind the language
    text: str
    line: int  # the line that opens it, from 0


def _found() -> Iterator[Path]:
    """Walk the repository, but not into what is hidden or built."""
    for folder, inner, files in os.walk(ROOT):
        hidden = {name for name in inner if name.startswith(".")} - {".github"}
        inner[:] = sorted(set(inner) - hidden - {"build", "dist", "__pycache__"})
        for name in {"README.md", "CONTRIBUTING.md"} & set(files):
            yield Path(folder, name)


def _fences(text: str) -> list[Fence]:
    """Return the fences of a README, those in a list without their indentation."""
    pattern = re.compile(r"^( *)```(\w*) ?([\w.]*)\n(.*?)^\1```$", flags=re.M | re.S)
    return [
        Fence(found[2], found[3], textwrap.dedent(found[4]), text.count("\n", 0, found.start()))
        for found in pattern.finditer(text)
    ]


READMES = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in _found()}
FENCES = {name: _fences(text) for name, text in READMES.items()}
ROOMS = sorted(path.parent.name for path in (ROOT / "numpy_bert").glob("*/__init__.py"))
# With the fixtures that have MiniLM in a cache and leave the number of threads as it was.
pytestmark = pytest.mark.usefixtures("cached_minilm", "threads")


def fences(readme: str, language: str) -> list[str]:
    return [fence.text for fence in FENCES[readme] if fence.language == language]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each README, where its fences leave files for one another."""
    folders = {name: tmp_path_factory.mktemp("readme") for name in READMES}
    for name, folder in folders.items():
        for fence in FENCES[name]:
            if fence.file:
                (folder / fence.file).write_text(fence.text, "utf-8")
    return folders


def examples(readme: str) -> str:
    """Return a README's doctests at their own lines, with empty lines for all else."""
    lines = [""] * len(READMES[readme].splitlines())
    for fence in FENCES[readme]:
        if fence.language == "python" and ">>> " in fence.text:
            code = fence.text.splitlines()
            lines[fence.line + 1 : fence.line + 1 + len(code)] = code
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("readme", [name for name in READMES if examples(name).strip()])
def test_the_python_examples(
    readme: str, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(places[readme])
    test = doctest.DocTestParser().get_doctest(examples(readme), {}, readme, readme, 0)
    failures: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    runner.run(test, out=failures.append)
    assert not failures, "".join(failures)


PROGRAMS = [
    (name, text)
    for name in READMES
    for text in fences(name, "python")
    if ">>> " not in text and not any(word in text for word in ELSEWHERE)
]


@pytest.mark.parametrize(("readme", "program"), PROGRAMS, ids=[name for name, _ in PROGRAMS])
def test_the_python_programs(
    readme: str, program: str, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(places[readme])
    exec(program, {})


SESSIONS = [
    (name, command, expected)
    for name in READMES
    for text in fences(name, "console")
    for command, expected in re.findall(r"^\$ (.*?)\n(.*?)(?=^\$ |\Z)", text, flags=re.M | re.S)
]


# Those of a fine-tuned MiniLM, which takes a while to learn.
FINE_TUNING = [c for _, c, _ in SESSIONS if ("train" in c and "MiniLM" in c) or "./reviews" in c]


@pytest.mark.parametrize(
    ("readme", "command", "expected"),
    [
        pytest.param(*session, marks=[pytest.mark.slow] if session[1] in FINE_TUNING else [])
        for session in SESSIONS
    ],
    ids=[f"{name}: {command}" for name, command, _ in SESSIONS],
)
def test_the_console_sessions(
    readme: str,
    command: str,
    expected: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    places: dict[str, Path],
) -> None:
    monkeypatch.chdir(places[readme])
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    program, *arguments = shlex.split(command)
    assert program == "numpy-bert"
    assert main(arguments) == ("The first to differ is" in expected)
    out = capsys.readouterr().out
    assert doctest.OutputChecker().check_output(expected, out, FLAGS), out


def test_the_recipe_in_c(tmp_path: Path) -> None:
    (recipe,) = fences("numpy_bert/traces/README.md", "cpp")
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip(f"{PLATFORM}: a C++ compiler")
    includes = "".join(
        f"#include <{name}>\n" for name in ("cstdint", "fstream", "string", "vector")
    )
    call = 'int main() { float x[6] = {0, 1, 2, 3, 4, 5}; save("embeddings.sum", x, {1, 2, 3}); }\n'
    (tmp_path / "port.cpp").write_text(includes + recipe + call, "utf-8")
    (tmp_path / "trace").mkdir()
    subprocess.run([compiler, "port.cpp", "-o", "port"], cwd=tmp_path, check=True)
    subprocess.run([tmp_path / "port"], cwd=tmp_path, check=True)
    found = np.load(tmp_path / "trace" / "embeddings.sum.npy")
    assert found.dtype == np.float32
    assert np.array_equal(found, np.arange(6.0).reshape(1, 2, 3))


def test_no_fence_is_left_out_or_run_twice() -> None:
    assert len(READMES) > 15
    every = [fence for found in FENCES.values() for fence in found]
    assert sum(text.count("```") for text in READMES.values()) == 2 * len(every)
    assert {fence.language for fence in every} <= LANGUAGES
    assert all(fence.file for fence in every if fence.language in {"csv", "json"})
    texts = [fence.text for fence in every]
    assert len(texts) == len(set(texts))
    commands = [command for _, command, _ in SESSIONS]
    assert len(commands) == len(set(commands)) >= 15
    assert len(FINE_TUNING) == 3
    recipes = [text for name in READMES for text in fences(name, "python")]
    assert sum(any(word in text for word in ELSEWHERE) for text in recipes) == len(ELSEWHERE)


def test_nothing_is_left_to_fill_in() -> None:
    assert not [name for name, text in READMES.items() if "@@" in text]


def test_the_root_is_one_page() -> None:
    assert len(READMES["README.md"].splitlines()) <= 200


def test_there_are_two_set_up_commands_of_one_line() -> None:
    lines = [line for text in fences("README.md", "sh") for line in text.splitlines()]
    every = READMES["README.md"].splitlines()
    assert lines == [line for line in every if line.startswith("python3 -m venv")]  # as .ci/run
    assert len(lines) == 2
    shown = [command for name, command, _ in SESSIONS if name == "README.md"]
    assert lines[0].rpartition(".venv/bin/")[2] == shown[0]


def test_what_else_a_shell_is_told_exists() -> None:
    lines = [
        line.partition("#")[0]
        for name in READMES
        for text in fences(name, "sh")
        for line in text.splitlines()
        if not line.startswith("python3 -m venv")
    ]
    for line in lines:
        script, *arguments = [word for word in line.split() if word not in {"python", "bash"}]
        source = (ROOT / script).read_text("utf-8")
        for word in arguments:
            if not word.isupper() and not word.isdigit() and not (ROOT / word).exists():
                assert re.search(rf"(?<![\w-]){word}(?![\w-])", source), line
    assert len(lines) > 5


def without_fences(text: str) -> str:
    return re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.M | re.S)


def anchors(text: str) -> set[str]:
    """Return what GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", without_fences(text), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("readme", READMES)
def test_every_link_leads_somewhere(readme: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", without_fences(READMES[readme])):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        there = (ROOT / readme).parent / path if path else ROOT / readme
        assert there.exists(), link
        if anchor:
            assert anchor in anchors(there.read_text("utf-8")), link


@pytest.mark.parametrize("readme", READMES)
def test_every_file_that_it_names_exists(readme: str) -> None:
    rooms = "|".join(("numpy_bert", "scripts", "tests", *ROOMS))
    for name in re.findall(rf"`(?:python )?((?:{rooms})/[\w./]+)", READMES[readme]):
        paths = (ROOT / name, ROOT / "numpy_bert" / name)
        assert any(path.exists() for path in paths), name


def test_every_room_has_a_readme_that_the_root_links_to() -> None:
    linked = set(re.findall(r"\]\(([^)\s#]+)", READMES["README.md"]))
    assert len(ROOMS) > 10
    assert {f"numpy_bert/{room}/README.md" for room in ROOMS} <= set(READMES)
    assert set(READMES) - {"README.md"} <= linked


def test_the_scripts_readme_names_every_file_of_its_folder() -> None:
    named = set(re.findall(r"[\w./]+", READMES["scripts/README.md"]))
    for path in (ROOT / "scripts").iterdir():
        if path.suffix in {".py", ".ipynb"}:
            assert {path.name, f"scripts/{path.name}"} & named, path.name


def rows(readme: str, heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its first two lines."""
    below = READMES[readme].partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in below.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_the_speeds_are_those_of_the_benchmark() -> None:
    sections = READMES["scripts/README.md"].split("\n## ")
    table = rows("README.md", "## How fast it is")
    assert len(table) == 5
    for rival, *cells in table:
        name = "torch" if "BertModel" in rival else rival
        for machine, cell in zip(("AMD Zen 5", "AMD Zen 4", "AMD Zen 3"), cells, strict=True):
            (section,) = [text for text in sections if text.startswith(machine)]
            ratios = re.findall(rf"^ *{name}  .* ([\d.]+) times as long", section, flags=re.M)
            assert cell.partition(";")[0] == (", ".join(ratios) or "not measured")
            if "cosine" in cell:
                lowest = re.findall(rf"^ *{name}  .*lowest cosine ([\d.]+)$", section, flags=re.M)
                assert cell.endswith(f"lowest cosine {float(lowest[0]):.2f}")


def test_the_accuracies_are_those_of_the_report() -> None:
    table = rows("README.md", "## How exact it is")
    assert len(table) == 5
    every = rows("tests/README.md", "## How far float32 is from float64")
    assert [row for row in every if row in table] == table


def test_the_budget_of_a_plain_call_is_that_of_the_tests() -> None:
    digits = f"{FAST_ENCODER:.1e}".replace("e-0", "e-")
    assert f"and {digits} more for its GELU" in READMES["tests/README.md"]
