"""The benchmarks run, their contenders agree, and what they print of memory stays in its bounds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from numpy_bert.model.embeddings import BertEmbeddings
from tests.support.platforms import linux, posix

ROOT = Path(__file__).parent.parent.parent


def run(script: str, *arguments: str) -> list[list[str]]:
    """Run a script and return the words of each line that it prints."""
    command = [sys.executable, str(ROOT / "scripts" / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


@pytest.mark.parametrize("mixed", [pytest.param(False, marks=pytest.mark.slow), True])
def test_an_embedding_is_that_of_torch_onnx_runtime_and_naive_numpy(
    mixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the benchmark's script holds before it measures."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import bench_embeddings as bench

    monkeypatch.setattr(bench, "TURN", 1e-3)
    parameters = bench.random_parameters(np.random.default_rng(0))
    rivals = (
        bench.Torch(parameters, 1),
        bench.OnnxRuntime(parameters, 1),
        bench.Naive(parameters),
    )
    ours = BertEmbeddings(parameters, bench.CONFIG)
    found = bench.compare(ours, rivals, "2x5", mixed, 1, 1)
    assert found.keys() >= {"torch", "ORT", "naive"}


@pytest.mark.slow
def test_the_embedding_against_torch_onnx_runtime_and_naive_numpy() -> None:
    """The script itself holds the results of all contenders against one another."""
    lines = run("bench_embeddings.py", "--shapes", "1x7", "2x5", "--rounds", "2")
    tables = [number for number, line in enumerate(lines) if line[1:2] == ["thread,"]]
    assert len(tables) == 1
    shapes = [line[:2] for line in lines if line and "x" in line[0]]
    expected = [[shape, kind] for shape in ("1x7", "2x5") for kind in ("one", "mixed")]
    assert shapes == expected * 2  # with one thread and with two
    means = [line for line in lines if line[:2] == ["geometric", "mean"]]
    assert all(float(ratio) > 0 for line in means for ratio in line[2:])


@pytest.mark.slow
def test_whole_processes_to_the_first_embedding(minilm: Path) -> None:
    lines = run("bench_startup.py", str(minilm), "--runs", "1")
    assert [line[0] for line in lines[:4]] == ["numpy_bert", "ONNX", "ORT,", "torch"]
    assert [line[0] for line in lines[5:]] == ["import", "import", "..."]


@pytest.mark.slow
@linux
def test_one_sentence_takes_at_most_15_mb_beyond_the_imports(minilm: Path) -> None:
    lines = run("bench_memory.py", str(minilm), "--runs", "3", "--programs", "numpy_bert")
    assert [line[0] for line in lines] == ["peak,", "numpy_bert"]
    assert 0 < float(lines[1][-1]) <= 15


@pytest.mark.slow
def test_texts_into_vectors_against_all_rivals(minilm: Path, data: Path) -> None:
    """The script itself holds the vectors of all contenders against one another."""
    few = ("--texts", "12", "--rounds", "1", "--data", str(data))
    lines = run("bench_encode.py", str(minilm), *few)
    assert lines[0][:2] == ["12", "texts"]
    for threads in ("1", "2"):
        at = next(n for n, line in enumerate(lines) if line[:1] == [threads] and len(line) == 2)
        names = [line[0] for line in lines[at + 1 : at + 6]]
        assert names == ["numpy_bert", "sentence-transformers", "torch", "ONNX", "matrix"]


@pytest.mark.slow
def test_one_text_against_torch_and_onnx_runtime(minilm: Path) -> None:
    few = ("--tokens", "8", "20", "--rounds", "1", "--threads", "1")
    lines = run("bench_latency.py", str(minilm), *few)
    assert [line[0] for line in lines[2:]] == ["tokens", "8", "20"]
    assert all(float(ratio) > 0 for line in lines[3:] for ratio in line[3:])


@pytest.mark.slow
@linux
def test_a_corpus_stays_within_its_memory(minilm: Path, data: Path) -> None:
    """4,000 texts here; the vectors of 100,000 are 148 MB more."""
    lines = run("bench_corpus.py", str(minilm), "--texts", "4000", "--data", str(data))
    assert 0 < int(lines[1][-2]) <= 250


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "budget"), [("float32", 1e-3), ("float64", 1e-8)])
def test_the_curve_of_a_training_against_torchs(
    dtype: str, budget: float, minilm: Path, data: Path, tmp_path: Path
) -> None:
    few = ("--steps", "10", "--batch-size", "4", "--dtype", dtype, "--svg", str(tmp_path / "c.svg"))
    lines = run("report_training.py", str(minilm), str(data / "sts" / "stsb-en-dev.csv"), *few)
    assert lines[0][:2] == ["step", "1"]
    assert lines[0][3] != lines[1][3]  # it moves
    assert lines[-1][:2] == [f"{dtype}:", "10"]
    assert float(lines[-1][-2]) <= budget
    assert (tmp_path / "c.svg").read_text("utf-8").count("<polyline") == 2


@pytest.mark.slow
@linux
def test_a_training_step_takes_at_most_a_fifth_more_memory_than_torchs(minilm: Path) -> None:
    (line,) = run("bench_training.py", str(minilm), "--memory")
    assert 0 < float(line[-3]) <= 1.2


@pytest.mark.slow
@posix
@pytest.mark.parametrize(
    "script",
    [
        "bench_corpus.py",
        "bench_embeddings.py",
        "bench_encode.py",
        "bench_latency.py",
        "bench_memory.py",
        "bench_startup.py",
        "bench_training.py",
    ],
)
def test_help_says_what_is_measured(script: str) -> None:
    assert run(script, "--help")[0][0] == "usage:"
