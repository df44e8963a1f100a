"""The thin scripts run, and make again what is committed."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

from numpy_bert import explain
from tests.support.pages import SENTENCE, read

ROOT = Path(__file__).parent.parent.parent
DEMO = ROOT / "numpy_bert" / "demo"


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / script), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)


def test_fetch_weights_is_the_command() -> None:
    result = run("fetch_weights.py", "demo")
    assert result.returncode == 0
    assert Path(result.stdout.strip()) == DEMO
    assert run("fetch_weights.py").returncode == 2


def test_the_figure_in_the_readme_is_made_again_to_the_byte(minilm: Path) -> None:
    kept = (ROOT / "scripts" / "pictures" / "embedding.svg").read_text("utf-8")
    assert explain.figure(read(minilm, SENTENCE)).svg == kept


def test_the_screenshot_in_the_readme_is_a_picture() -> None:
    data = (ROOT / "scripts" / "pictures" / "page.png").read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert width == 1400
    assert 800 < height < 1600
    assert len(data) < 400_000
