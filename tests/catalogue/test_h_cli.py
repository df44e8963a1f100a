"""H1 to H9: the command line and its environment."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from fuzz_commands import GOOD, Outcome, World, run

from numpy_bert.cli import COMMANDS, main
from numpy_bert.files import writing
from tests.support.demo import write_plain
from tests.support.platforms import linux, posix
from tests.support.repository import contents

pytestmark = posix  # as the World is, which has a pipe

# What a terminal would obey, a line end, and a byte that is not UTF-8.
HOSTILE = "a\x1b[31mb\nc\udcff"
# Every command that writes, up to the name of what it writes, and how that must end.
WRITERS = {
    "encode": ("encode|the cat|--model|bert|-o", ".npy"),
    "embed": ("embed|the cat|--model|bert|-o", ".npz"),
    "explain": ("explain|the cat|--model|bert|-o", ".html"),
    "trace": ("trace|the cat|--model|bert|-o", ".safetensors"),
    "compare": ("compare|t.npz|t.npz|--html", ".html"),
    "verify": ("verify|t.npz|--model|bert|--html", ".html"),
    "golden": ("golden|bert|-o", ""),
    "train": ("train|mlm|--data|texts.txt|--max-steps|1|--model|words|-o", ""),
    "tune": ("tune|-o", ".json"),
}


COMPARING = ("bisect", "compare", "verify")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def refusal(found: Outcome, command: str) -> str:
    """Return the one line that says why a command was refused, which has done nothing."""
    assert found.out == ""
    assert found.made == []
    _, prefix, said = found.err.rpartition(f"numpy-bert {command}: error: ")
    assert prefix
    assert said.endswith("\n")
    line = said.removesuffix("\n").partition("\nsuch as in: ")[0]
    assert line.isprintable()
    assert len(line) < 1000
    return line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        *((f"{name}|--frob", "'--frob' is no option; ") for name in COMMANDS),
        ("encode|a|--batch-size", "argument --batch-size: expected one argument"),
        ("encode|a|--batch-size|abc", "'abc' is not a whole number from 1"),
        ("encode|a|--batch-size|0", "'0' is not a whole number from 1"),
        ("encode|a|--dtype|int8", "'int8' is not one of float32, float64"),
        ("answer|q|c|--context-file|empty", "not allowed with argument CONTEXT"),
        ("train|mlm|--data|texts.txt", "the following arguments are required: -o/--output"),
        ("train|mlm|--data|texts.txt|-o|out|--learning-rate|-1", "--learning-rate: "),
    ],
)
def test_h1_a_wrong_word(words: str, said: str, world: World) -> None:
    found = run(world, words.split("|"))
    command = words.split("|")[0]
    assert found.code == 2
    assert said in refusal(found, command)
    assert found.err.startswith(f"usage: numpy-bert {command}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("encode|a|--input|texts.txt", "TEXT and --input: give one of the two."),
        ("rerank|q|a|--input|texts.txt|--model|score", "TEXT and --input: give one of the two."),
        ("trace|a|--ids|ids.json|-o|out.safetensors", "give TEXT, or --ids FILE; one of the two."),
        ("bisect|--text|a|--ids|ids.json|--model|bert|--|x", "give --text or --ids; one of the"),
    ],
)
def test_h1_two_sources_of_one_text(words: str, said: str, world: World) -> None:
    found = run(world, words.split("|"))
    assert found.code == 2
    assert refusal(found, words.split("|")[0]).startswith(said)


NAMES = ["../x", "a/b/c", "a--b", "", " ", "x" * 200, "https://huggingface.co/a/b", "a\nb", "a..b"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("command", ["inspect", "fetch", "encode"])
def test_h2_a_name_that_is_none(command: str, name: str, world: World) -> None:
    words = ["encode", "a", "--model", name] if command == "encode" else [command, name]
    found = run(world, words)
    assert found.code == 2
    assert refusal(found, command).startswith("model")


def test_h2_a_folder_of_such_a_name_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_plain(tmp_path / "a--b" / "c" / "d")
    assert main(["inspect", "a--b/c/d", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["folder"] == "a--b/c/d"


def test_h3_a_folder_wins_over_the_repository(
    cached_minilm: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Which of the two it is, `inspect` prints, and so does `fetch`."""
    monkeypatch.chdir(tmp_path)
    owner, name = cached_minilm.split("/")
    folders = []
    for _ in range(2):
        assert main(["inspect", cached_minilm, "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        folders.append((report["folder"], report["config"]["hidden_size"]))
        assert main(["fetch", cached_minilm]) == 0
        assert capsys.readouterr().out == f"{report['folder']}\n"
        write_plain(tmp_path / owner / name)
    assert folders[0][1] == 384
    assert folders[1] == (cached_minilm, 128)


@pytest.mark.parametrize("kind", ["file", "folder", "no folder"])
@pytest.mark.parametrize("command", WRITERS)
def test_h6_what_is_there_stays(command: str, kind: str, world: World, tmp_path: Path) -> None:
    """A training makes folders that are missing, and leaves other files of its folder alone."""
    line, end = WRITERS[command]
    path = tmp_path / f"mine{end}"
    if kind == "file":
        path.write_text("mine")
    elif kind == "folder":
        path.mkdir()
        (path / "config.json").write_text("mine")
    else:
        path = tmp_path / "no" / f"mine{end}"
    before = contents(tmp_path)
    found = run(world, [*line.split("|"), str(path)])
    if kind == "no folder" and command == "train":
        assert found.code == 0
        assert path.exists()
        return
    assert found.code in (1, 2)
    assert refusal(found, command).startswith(str(tmp_path))
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "line",
    [
        "encode|--input|{}.npy|--model|bert|-o|{}.npy",
        "trace|--ids|{}.safetensors|--model|bert|-o|{}.safetensors",
        "compare|t.npz|{}|--html|{}",
        "verify|{}|--model|bert|--html|{}",
        "train|mlm|--data|{}|--max-steps|1|--model|words|-o|{}",
    ],
)
def test_h6_an_input_is_not_replaced(line: str, world: World, tmp_path: Path) -> None:
    words = line.format(*[tmp_path / "in"] * 2).split("|")
    path = Path(words[-1])
    path.write_bytes(world.bytes["t.npz" if words[0] in ("compare", "verify") else "texts.txt"])
    before = contents(tmp_path)
    found = run(world, words if words[0] == "train" else [*words, "--force"])
    assert found.code in (1, 2)
    assert str(path) in refusal(found, words[0])
    assert contents(tmp_path) == before


@linux
def test_h7_the_reader_of_a_pipe_goes_away() -> None:
    command = f"{sys.executable} -m numpy_bert embed '{'a ' * 300}' --model demo --json"
    script = f"{command} | head -c 10; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert result.returncode == 141
    assert result.stderr == ""


@pytest.mark.parametrize("command", GOOD)
def test_h7_standard_output_is_closed(command: str, world: World) -> None:
    """A file that is asked for is written all the same; what would print fails in one line."""
    words = GOOD[command][-1].split("|")
    found = run(world, words, stdin=b"the cat\n", out="none" if command < "d" else "closed")
    prints = run(world, words, stdin=b"the cat\n").out != ""
    assert found.code == (0 if not prints else 2 if command in COMPARING else 1)
    last = found.err.splitlines()[-1] if prints else ""
    assert last == (f"numpy-bert {command}: error: standard output: is closed." if prints else "")


@pytest.mark.parametrize(
    ("name", "code"),
    [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)],
)
def test_h7_a_signal(
    name: str, code: int, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = getattr(signal, name)
    path = tmp_path / "vectors.npy"

    def save(*_: object, **__: object) -> None:
        with writing(path) as file:
            file.write(b"half")
            assert len(list(tmp_path.iterdir())) == 1
            signal.raise_signal(number)

    monkeypatch.setattr("numpy_bert.cli.encode.save_arrays", save)
    before = signal.getsignal(number)
    assert before in (signal.SIG_DFL, signal.default_int_handler)
    found = run(world, ["encode", "the cat", "--model", "bert", "-o", str(path)])
    assert (found.code, found.out) == (code, "")
    assert all(line.startswith("numpy-bert: ") for line in found.err.splitlines())  # notes alone
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(number) is before


def raise_and_go_on(_: object) -> int:
    signal.raise_signal(signal.SIGTERM)
    return 0


def test_h7_a_signal_that_another_program_has_taken_is_left_to_it(world: World) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with mock.patch("numpy_bert.cli.fetch.run", side_effect=raise_and_go_on):
            assert run(world, ["fetch", "bert"]).code == 0
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("command", GOOD)
def test_h8_hostile_arguments_are_escaped(command: str, world: World) -> None:
    for words in (line.split("|") for line in GOOD[command]):
        for place in range(1, len(words)):
            hostile = [*words[:place], HOSTILE, *words[place + 1 :]]
            found = run(world, hostile, stdin=b"the cat\n")
            for text in (found.out, found.err):
                assert all(line.isprintable() for line in text.split("\n"))
            if found.code != 0 and not found.out:
                refusal(found, command)


def test_h8_texts_and_files_of_such_names(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "a\x1b[31m\n.npz"
    found = run(
        world, ["encode", "the\x1b[31m\ncat", "--model", "bert", "-o", str(tmp_path / name)]
    )
    assert found.code == 0
    assert found.err.splitlines()[-1] == f"numpy-bert: wrote '{tmp_path}/a\\x1b[31m\\n.npz'"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    found = run(world, ["encode", "the", "--model", "bert", "-o", str(tmp_path / name)])
    assert refusal(found, "encode").startswith(f"'{tmp_path}/a\\x1b[31m\\n.npz': already exists")


OTHERS = ("torch", "transformers", "sentence_transformers", "pandas", "resvg_py", "threadpoolctl")


@pytest.mark.parametrize("command", GOOD)
def test_h9_no_package_but_the_four(
    command: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in OTHERS:
        monkeypatch.setitem(sys.modules, name, None)
    found = run(world, GOOD[command][0].split("|"))
    assert found.code == 0, found.err


def test_h9_what_needs_another_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    words = ["explain", "the cat", "--model", "bert", "-o"]
    found = run(world, [*words, "out.png"])
    assert found.code == 2
    assert "needs the package resvg-py" in refusal(found, "explain")
    assert run(world, [*words, "out.svg"]).code == 0
