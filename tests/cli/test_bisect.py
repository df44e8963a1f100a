"""``numpy-bert bisect``: what it prints, its exits, and what it does with a command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert.cli import main
from numpy_bert.traces.reading import open_trace
from tests.support.platforms import posix

# A port that runs numpy_bert itself and adds something from a step on, as told.
PORT = """
import os, sys, time
import numpy as np
from numpy_bert import BertModel
from numpy_bert.traces.reading import open_trace

inputs, names, output = sys.argv[1:] or (
    os.environ[f"NUMPY_BERT_{what}"] for what in ("INPUTS", "NAMES", "OUTPUT")
)
ids = {name: array.stored.load() for name, array in open_trace(inputs).arrays.items()}
assert sorted(ids) == ["attention_mask", "input_ids", "token_type_ids"], sorted(ids)
found = dict(BertModel.from_pretrained("demo").trace(**ids))
first = os.environ.get("FIRST", "")
for name in list(found)[list(found).index(first) if first else len(found) :]:
    found[name] = found[name] + np.float32(1)
wanted = {name: found[name] for name in names.split(",")}
if output.endswith(".safetensors"):
    from safetensors.numpy import save_file
    save_file(wanted, output)
elif output.endswith(".npz"):
    np.savez(output, **wanted)
else:
    for name, array in wanted.items():
        np.save(f"{output}/{name}.npy", array)
"""
TEXTS = ["--model", "demo", "--text", "Alice saw a rabbit", "it ran"]


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Write the port, and have temporary folders where they can be counted."""
    (tmp_path / "port.py").write_text(PORT)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return [sys.executable, str(tmp_path / "port.py")]


def left_in(folder: Path) -> list[Path]:
    return list((folder / "temporary").iterdir())


def test_a_port_is_run_until_the_guilty_step_is_found(
    port: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FIRST", "encoder.layer.1.attention.output.dense")
    words = [*port, "{inputs}", "{names}", "{output}"]
    assert main(["bisect", *TEXTS, "--", *words]) == 1
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split() == ["run", "asked", "for", "first", "to", "differ"]
    assert lines[1].split() == ["1", "encoder", "encoder"]
    assert "The first to differ is encoder.layer.1.attention.output.dense, by 1" in out
    runs = [line for line in err.splitlines() if " asks for " in line]
    assert len(runs) == 5
    assert runs[0].startswith("numpy-bert: It begins with the end")
    assert runs[1].endswith("at most 4 more runs. Run 2 asks for encoder.layer.0.attention.")
    assert not left_in(tmp_path)


@pytest.mark.parametrize("form", ["npy", "safetensors"])
def test_other_formats(
    port: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    form: str,
) -> None:
    monkeypatch.setenv("FIRST", "embeddings.sum")
    words = [*port, "{inputs}", "{names}", "{output}"]
    until = ["--until", "embeddings", "--format", form]
    assert main(["bisect", *TEXTS, *until, "--", *words]) == 1
    assert "The first to differ is embeddings.sum, by 1" in capsys.readouterr().out


def test_a_right_port_that_reads_its_environment(
    port: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = tmp_path / "ids.json"
    ids.write_text(
        '{"input_ids": [[2, 120, 1273, 3], [2, 5, 3, 0]], "attention_mask": '
        "[[1, 1, 1, 1], [1, 1, 1, 0]]}"
    )
    arguments = ["bisect", "--model", "demo", "--ids", str(ids), "--json"]
    assert main([*arguments, "--keep", str(tmp_path / "kept"), "--", *port]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["verdict"], answer["first"], len(answer["runs"])) == ("pass", None, 2)
    assert answer["runs"][0] == {"asked": ["encoder"], "again": [], "missing": [], "first": None}
    kept = {path.name for path in (tmp_path / "kept").iterdir()}
    assert kept == {"inputs.npz", "run1.npz", "run1.log", "run2.npz", "run2.log"}
    mask = open_trace(tmp_path / "kept" / "inputs.npz").get("attention_mask")
    assert mask is not None
    assert mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert not left_in(tmp_path)
    # A folder that is there is not written to.
    assert main([*arguments, "--keep", str(tmp_path / "kept"), "--", *port]) == 2
    assert "could not be made (File exists)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (
            "import sys; print('one'); sys.exit('two')",
            "exit status 0; got exit status 1.\n  one\n  two\n",
        ),
        ("import os; os.kill(os.getpid(), 11)", "got signal 11"),
        ("print('no')", "it wrote nothing there.\n  no\n"),
        ("import sys; open(sys.argv[1], 'w').write('no')", "run1.npz"),
        ("import numpy, sys; numpy.savez(sys.argv[1], x=1)", "must give encoder, which it was"),
        ("print('a' * 9000)\nprint('\\x1b[31m')\n1 / 0", "\\x1b[31m\n  Traceback"),
        ("import time; time.sleep(60)", "must end within 1 seconds; it did not"),
    ],
)
def test_a_port_that_fails_is_one_error(
    port: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    program: str,
    message: str,
) -> None:
    if "os.kill" in program and os.name != "posix":
        return
    words = [sys.executable, "-c", program, "{output}"]
    assert (
        main(["bisect", *TEXTS, "--timeout", "1" if "sleep" in program else "60", "--", *words])
        == 2
    )
    err = capsys.readouterr().err
    assert message in err
    assert len([line for line in err.splitlines() if ": error: " in line]) == 1
    assert len(err) < 4000
    assert not left_in(tmp_path)


def test_a_program_that_is_none(port: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("no/such/program", ""):
        assert main(["bisect", *TEXTS, "--", word]) == 2
        assert "must be a program; it cannot be run (" in capsys.readouterr().err


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_port_too_and_leaves_nothing(
    port: list[str], tmp_path: Path, number: signal.Signals
) -> None:
    pid = tmp_path / "pid"
    sleeps = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    words = [
        sys.executable,
        "-m",
        "numpy_bert",
        "bisect",
        *TEXTS,
        "--",
        sys.executable,
        "-c",
        sleeps,
    ]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    ours = subprocess.Popen(words, stderr=subprocess.PIPE, env=environment, text=True)
    end = time.monotonic() + 60
    while not (pid.exists() and pid.read_text()):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert left_in(tmp_path)
    ours.send_signal(number)
    _, err = ours.communicate(timeout=60)
    assert ours.returncode == 128 + number
    assert "Traceback" not in err
    assert not left_in(tmp_path)
    while is_running(int(pid.read_text())):
        assert time.monotonic() < end
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Tell whether a process is there, and is more than a status that nobody has read yet."""
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat").read_text() if Path("/proc").exists() else ""
    except (ProcessLookupError, FileNotFoundError):
        return False
    return not status or status.rpartition(")")[2].split()[0] != "Z"


def test_the_next_arrays_of_a_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = tmp_path / "t.safetensors"
    texts = ["Alice saw a rabbit", "it ran"]
    assert main(["trace", *texts, "--dtype", "float32", "-o", str(whole)]) == 0
    arrays: Any = {name: array.stored.load() for name, array in open_trace(whole).arrays.items()}
    wrong = list(arrays)[list(arrays).index("encoder.layer.0.output.dense") :]
    arrays |= {name: arrays[name] + np.float32(1) for name in wrong}
    names, asked = ["input_ids", "attention_mask"], []
    trace = tmp_path / "port.npz"

    def ask(*more: str) -> tuple[int, str, str]:
        np.savez(trace, **{name: arrays[name] for name in names})
        capsys.readouterr()
        return main(["bisect", str(trace), "--model", "demo", *more]), *capsys.readouterr()

    assert ask() == (
        1,
        "encoder\n",
        "numpy-bert: It begins with the end: whether the port is wrong at all. Save these next:\n",
    )
    for _ in range(6):
        code, out, _ = ask("--json")
        answer = json.loads(out)
        assert code == 1
        if not answer["wanted"]:
            break
        assert ask()[1].split() == answer["wanted"]
        names += answer["wanted"]
        asked.append(answer["wanted"])
    assert (answer["found"], answer["first"]) == (True, "encoder.layer.0.output.dense")
    assert [len(names) for names in asked] == [1, 1, 1, 7]
    code, out, _ = ask()
    assert code == 1
    assert "The first to differ is encoder.layer.0.output.dense, by 1" in " ".join(out.split())
    code = main(["bisect", str(whole), "--model", "demo"])
    assert (code, "The same: all" in capsys.readouterr().out) == (0, True)


def test_what_would_make_sure_is_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.safetensors"
    given = ["--names", "encoder", "--dtype", "float32"]
    assert main(["trace", "Alice saw a rabbit", *given, "-o", str(path)]) == 0
    capsys.readouterr()
    assert main(["bisect", str(path), "--model", "demo"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith("The same: all ")
    assert err == (
        "numpy-bert: to be sure, save these too: embeddings, encoder.layer.0.attention, "
        "encoder.layer.0, encoder.layer.1.attention\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give CANDIDATE, a trace; or --text or --ids, and after --"),
        (["a", "b"], "Got 2 words and no ids"),
        (["--text", "a"], "give the command that runs the port, after --."),
        (["--text", "a", "--ids", "x", "--", "true"], "give --text or --ids; one of the two."),
        (["--text", "a", "--pair", "--", "true"], "--pair: there must be two texts"),
        (["none", "--keep", "x"], "--keep and --timeout are about a command"),
        (["--ids", "none.json", "--", "true"], "none.json: does not exist"),
        (["none.npz"], "none.npz: does not exist"),
        (
            ["--text", "a", "--until", "encoder.layer.9", "--", "true"],
            "must be a step of this model",
        ),
        (["--text", "a", "--names", "h.*", "--", "true"], "h.* must fit a step"),
    ],
)
def test_wrong_usage(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["bisect", "--model", "demo", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
