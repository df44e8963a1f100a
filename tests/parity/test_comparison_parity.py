"""Clean runs of torch, ONNX Runtime and numpy_bert: within all limits, and verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from numpy_bert import BertConfig, BertModel, BertTokenizer
from numpy_bert.comparison.compare import compare
from numpy_bert.comparison.tolerances import CHECKS, Tolerances
from numpy_bert.loading.cache import demo_folder
from numpy_bert.traces.reading import as_trace, open_trace
from numpy_bert.verification.verify import verify
from tests.parity.pair import Pair
from tests.parity.test_verification_parity import TEXTS, recipe


def batch_of(seed: int, words: int) -> dict[str, Any]:
    """Return ids drawn at random between the first and the last of their row, padded."""
    rng = np.random.default_rng(seed)
    lengths = np.array([29, 3, 17])
    ids = rng.integers(1000, words, (3, lengths.max()))
    mask = (np.arange(ids.shape[1]) < lengths[:, np.newaxis]).astype(np.int64)
    types = (np.arange(ids.shape[1]) >= lengths[:, np.newaxis] // 2) * mask
    return {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": types}


class Exported(NamedTuple):
    folder: Path
    graph: Path
    layers: int


@pytest.fixture(scope="module", params=["demo", pytest.param("minilm", marks=pytest.mark.slow)])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Export a model, which takes ten seconds."""
    from port_onnx import export

    folder = demo_folder() if request.param == "demo" else request.getfixturevalue("minilm")
    graph = export(folder, tmp_path_factory.mktemp("graph") / "model.onnx")
    return Exported(folder, graph, BertConfig.from_pretrained(folder).num_hidden_layers)


@pytest.mark.parametrize("seeds", [[0], pytest.param([1, 2], marks=pytest.mark.slow)])
def test_clean_runs_are_within_the_limits_of_every_check(
    exported: Exported, seeds: list[int]
) -> None:
    from port_onnx import run_graph

    folder, graph, _ = exported
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


def test_the_recipe_for_onnx_runtime(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tokenizer = BertTokenizer.from_pretrained(exported.folder)
    batch = dict(tokenizer(TEXTS, padding=True, return_tensors="np"))
    exec(recipe("InferenceSession"), {"PATH": str(exported.graph), "INPUTS": batch})
    exact = BertModel.from_pretrained(exported.folder, dtype="float64")
    report = verify(open_trace(tmp_path / "onnx.npz"), exact, look_for_hidden=False)
    assert report.verdict == "pass"
    assert len(report.steps) >= 15 * exported.layers
    assert any("not a step of this model" in note for note in report.notes)
