"""Clean runs of torch, ONNX Runtime and numpy_bert within the limits of every check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert.comparison.compare import compare
from numpy_bert.comparison.tolerances import CHECKS, Tolerances
from numpy_bert.loading.cache import demo_folder
from numpy_bert.traces.reading import as_trace
from tests.parity.pair import Pair

ROOT = Path(__file__).parent.parent.parent


def batch_of(seed: int, words: int) -> dict[str, Any]:
    """Return ids drawn at random between the first and the last of their row, padded."""
    rng = np.random.default_rng(seed)
    lengths = np.array([29, 3, 17])
    ids = rng.integers(1000, words, (3, lengths.max()))
    mask = (np.arange(ids.shape[1]) < lengths[:, np.newaxis]).astype(np.int64)
    types = (np.arange(ids.shape[1]) >= lengths[:, np.newaxis] // 2) * mask
    return {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": types}


@pytest.mark.parametrize(
    ("name", "seeds"),
    [
        ("demo", [0]),
        pytest.param("demo", [1, 2], marks=pytest.mark.slow),
        pytest.param("minilm", [0], marks=pytest.mark.slow),
    ],
)
def test_clean_runs_are_within_the_limits_of_every_check(
    name: str,
    seeds: list[int],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = demo_folder() if name == "demo" else request.getfixturevalue("minilm")
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from port_onnx import export, run_graph

    graph = export(folder, tmp_path / "model.onnx")
    pair, exact = Pair(folder, "float32"), Pair(folder, "float64")
    for seed in seeds:
        batch = batch_of(seed, pair.ours.config.vocab_size)
        runs: dict[str, Any] = {
            "float64": dict(exact.ours.trace(**batch)),
            "float32": dict(pair.ours.trace(**batch)),
            "torch": pair.hooked(batch),
            "onnx": run_graph(graph, batch, every=True),
        }
        traces = {name: as_trace({**batch, **run}, label=name) for name, run in runs.items()}
        for one, other in (
            ("float64", "float32"),
            ("float64", "torch"),
            ("float64", "onnx"),
            ("torch", "onnx"),
        ):
            for check in CHECKS:
                report = compare(traces[one], traces[other], Tolerances(check=check), common=True)
                assert report.verdict == "pass", (one, other, check, report.sentence)
                assert len(report.steps) >= 30
