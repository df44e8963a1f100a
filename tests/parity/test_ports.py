"""Real ports: what is said of those that need no environment of their own, and how it is shown."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
# What is said of each run: its verdict, and words of the sentence.
SAID = {
    "torch, eager": ("pass", ""),
    "torch, SDPA": ("pass", ""),
    "torch, SDPA, states": ("pass", ""),
    "torch, eager, bfloat16": ("pass", ""),
    "torch, SDPA, bfloat16": ("pass", ""),
    "torch, eager, float16": ("pass", ""),
    "torch, SDPA, float16": ("pass", ""),
    "torch, eager, autocast bfloat16": ("pass", ""),
    "torch, eager, autocast float16": ("pass", ""),
    "torch, SDPA, autocast bfloat16": ("differs", "the error is as of bfloat16"),
    "torch, SDPA, autocast bfloat16, --precision bfloat16": ("pass", ""),
    "torch, SDPA, autocast float16": ("differs", "the error is as of float16"),
    "torch, SDPA, autocast float16, --precision float16": ("pass", ""),
    "torch, int8 weights": ("differs", "encoder.layer.0"),
    "torch, compiled": ("pass", ""),
    "ONNX Runtime, as exported": ("pass", ""),
    "ONNX Runtime, optimized": ("pass", ""),
    "ONNX Runtime, FastGelu": ("differs", "GELU is the tanh form"),
    "ONNX Runtime, fused": ("pass", ""),
    "ONNX Runtime, fused, float16": ("pass", ""),
    "ONNX Runtime, int8": ("differs", "embeddings"),
    "OpenVINO, every node": ("pass", ""),
    "OpenVINO": ("pass", ""),
    "OpenVINO, bfloat16": ("differs", "as of bfloat16"),
    "OpenVINO, bfloat16, --precision bfloat16": ("pass", ""),
}
# A compiler for the one, a processor for the others.
NOT_EVERYWHERE = {"torch, compiled", *(name for name in SAID if "OpenVINO, bfloat16" in name)}


@pytest.fixture
def report_ports(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import report_ports

    return report_ports


def test_a_port_that_cannot_be_installed_or_run_has_a_line(
    report_ports: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("no folder", "utf-8")
    unfit = report_ports.Port("port_ctranslate2.py", ())  # which is not installed here
    monkeypatch.setitem(report_ports.PORTS, "ctranslate2", unfit)
    rows = [
        row
        for name in ("flax", "ctranslate2")
        for row in report_ports.rows_of(name, tmp_path, None, tmp_path / "inputs.npz", file)
    ]
    assert [row.verdict for row in rows] == ["not installed", "not run"]
    assert str(file) in rows[0].sentence
    assert "No module named 'ctranslate2'" in rows[1].sentence
    lines = report_ports.table(rows).splitlines()
    assert [line.count("|") for line in lines] == [8] * 4
    assert "transformers==4.46.3" in lines[2]


def test_an_environment_is_made_once(
    report_ports: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str]) -> None:
        commands.append(command)
        (tmp_path / "lib" / "python3" / "site-packages").mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(report_ports, "_run", run)
    port = report_ports.PORTS["keras"]
    python = report_ports.environment(port, tmp_path)
    assert python == tmp_path / "bin" / "python"
    make, needs, alone = commands
    assert make[1:3] == ["-m", "venv"]
    assert needs[-len(port.needs) :] == list(port.needs)
    assert alone[-2:] == ["--no-deps", *port.alone]
    assert report_ports.environment(port, tmp_path) == python
    assert len(commands) == 3
    report_ports.environment(report_ports.PORTS["ctranslate2"], tmp_path)  # another one is made
    assert len(commands) == 5
    (beside,) = tmp_path.glob("lib/*/site-packages/beside.pth")
    assert "site.addsitedir" in beside.read_text("utf-8")
    here = report_ports.environment(report_ports.PORTS["torch"], tmp_path)
    assert (here, len(commands)) == (Path(sys.executable), 5)


@pytest.mark.slow
def test_real_ports(minilm: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "report_ports.py"), str(minilm)]
    ports = ["--ports", "torch,onnxruntime,openvino"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, *ports], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    cells = [line.split(" | ") for line in done.stdout.splitlines()[2:]]
    found = {line[0].removeprefix("| "): line for line in cells}
    assert set(SAID) - NOT_EVERYWHERE <= set(found) <= set(SAID)
    for name, line in found.items():
        verdict, words = SAID[name]
        assert line[3] == verdict, line
        assert words in line[5]
        assert verdict == "differs" or float(line[4]) < 0.95
