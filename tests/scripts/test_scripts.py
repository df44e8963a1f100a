"""The scripts: the demo is reproducible, the thin ones run."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np

from numpy_bert import BertModel, explain
from numpy_bert.loading.stored import SafetensorsFile
from tests.support.pages import SENTENCE, read

ROOT = Path(__file__).parent.parent.parent
DEMO = ROOT / "numpy_bert" / "demo"


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / script), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)


def test_the_demo_is_made_again_to_the_byte(tmp_path: Path) -> None:
    result = run("make_demo.py", "--output", str(tmp_path))
    assert result.returncode == 0, result.stderr
    names = {path.name for path in DEMO.iterdir()}
    assert {path.name for path in tmp_path.iterdir()} == names
    for name in names:
        assert (tmp_path / name).read_bytes() == (DEMO / name).read_bytes(), name


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    assert run("make_demo.py", "--output", str(tmp_path), "--seed", "1").returncode == 0
    other = (tmp_path / "model.safetensors").read_bytes()
    assert other != (DEMO / "model.safetensors").read_bytes()


def test_the_demo_is_small_and_initialized_as_bert_is() -> None:
    assert sum(path.stat().st_size for path in DEMO.iterdir()) <= 4_000_000
    file = SafetensorsFile(DEMO / "model.safetensors")
    assert {tensor.dtype for tensor in file.tensors.values()} == {"F16"}
    assert "cls.predictions.decoder.weight" not in file.tensors
    weight = BertModel.from_pretrained("demo").embeddings.word_embeddings.weight
    # A normal of 0.02 cut at two standard deviations has 0.88 of its spread.
    assert abs(float(weight.std()) - 0.88 * 0.02) < 1e-4
    assert float(np.abs(weight).max()) <= 0.0401


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
