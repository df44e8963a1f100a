"""Verification on MiniLM: clean runs of torch and ONNX Runtime pass, mistakes are named."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from numpy_bert import BertModel, BertTokenizer
from numpy_bert.comparison.compare import compare
from numpy_bert.traces.reading import as_trace, open_trace
from numpy_bert.verification.verify import verify
from tests.parity.pair import Pair

ROOT = Path(__file__).parent.parent.parent
ROOM = (ROOT / "numpy_bert" / "verification" / "README.md").read_text("utf-8")
RECIPES = (ROOT / "numpy_bert" / "traces" / "README.md").read_text("utf-8")
TEXTS = [
    "this is a test sentence",
    "The bank of the river.",
    "na\u00efve caf\u00e9 \u6771\u4eac",
]


def recipe(word: str) -> str:
    """Return the one Python fence of the room of traces in which a word stands."""
    fences = re.findall(r"^```python\n(.*?)^```$", RECIPES, flags=re.M | re.S)
    (found,) = [fence for fence in fences if word in fence]
    return str(found)


@pytest.fixture(scope="module")
def exact(minilm: Path) -> BertModel:
    return BertModel.from_pretrained(minilm, dtype="float64")


@pytest.fixture(scope="module")
def hooked(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the recipe for torch saves."""
    folder = tmp_path_factory.mktemp("torch")
    before = Path.cwd()
    os.chdir(folder)
    try:
        exec(recipe("register_forward_hook"), {"NAME": str(minilm), "TEXTS": TEXTS})
    finally:
        os.chdir(before)
    return folder / "torch.npz"


def test_the_recipe_for_torch(hooked: Path, exact: BertModel, minilm: Path) -> None:
    tokenizer = BertTokenizer.from_pretrained(minilm)
    trace = open_trace(hooked)
    report = verify(trace, exact, tokenizer=tokenizer, texts=TEXTS, look_for_hidden=False)
    assert report.verdict == "pass"
    assert report.steps[0].name == "input_ids"
    modules = {name for name, _ in transformers.BertModel.from_pretrained(minilm).named_modules()}
    seen = {row.name for row in report.steps}
    # Every module; those that are called with no name of their own are another's second name.
    assert {name for name in modules if name and name != "encoder.layer"} <= seen
    assert max(row.own or 0.0 for row in report.steps) < 1e-3
    exactly = as_trace(dict(exact.trace(**_inputs(trace))) | _inputs(trace))
    missing = [f"*.{part}" for part in ("sum", "scores", "probs", "mean", "variance", "rstd")]
    plain = compare(exactly, trace, allow=[*missing, "*.normalized"])
    assert plain.verdict == "pass"


def _inputs(trace: Any) -> dict[str, Any]:
    names = ("input_ids", "attention_mask", "token_type_ids")
    return {name: trace.get(name) for name in names}


def test_torch_in_half_precision_passes_and_says_what_it_hides(
    minilm: Path, exact: BertModel
) -> None:
    pair = Pair(minilm, "float32")
    pair.theirs = pair.theirs.half()
    batch = dict(
        BertTokenizer.from_pretrained(minilm)(TEXTS[:2], padding=True, return_tensors="np")
    )
    seen: Any = pair.hooked(batch)
    report = verify(as_trace({**batch, **seen}), exact)
    assert report.verdict == "pass"
    hidden = "\n".join(report.hidden)
    for text in ("epsilon is 1e-05", "Bessel-corrected", "the tanh form", "rounded to float16"):
        assert text in hidden


def test_arrays_of_torch_are_taken_as_they_are(minilm: Path, exact: BertModel) -> None:
    model = transformers.BertModel.from_pretrained(minilm).eval()
    inputs = transformers.AutoTokenizer.from_pretrained(minilm)(
        TEXTS, padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        output = model(**inputs, output_hidden_states=True)
    states = {f"hidden_states.{n}": state for n, state in enumerate(output.hidden_states)}
    last = {"last_hidden_state": output.last_hidden_state, "pooler_output": output.pooler_output}
    report = verify(as_trace({**inputs, **states, **last}), exact, look_for_hidden=False)
    assert report.verdict == "pass"
    assert [row.name for row in report.steps][-3:] == ["encoder.layer.5", "encoder", "pooler"]
    assert np.isfinite([row.own or 0.0 for row in report.steps]).all()


MADE = (
    "LayerNorm (attention): epsilon 1e-5 outside the root",
    "words multiplied by the root of H",
    "positions by segment",
    "attention scale twice",
    "mask over the queries",
    "mask hides [SEP]",
    "rotary positions",
    "residual from before LayerNorm",
    "GELU's erf without its root",
    "dropout left on (attention)",
    "an extra last LayerNorm",
    "tokenizer: [CLS] doubled",
)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_mistakes_in_a_middle_layer(
    dtype: str, minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of the table below; test_mistakes.py has every mistake, made in NumPy."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from port_mistakes import MISTAKES
    from report_verification import Bench, outcomes

    names = MADE if dtype == "float32" else MADE[::3]
    made = [mistake for mistake in MISTAKES if mistake.name in names]
    found = list(outcomes(Bench(minilm, tmp_path, dtype), made, layers=(2,), kinds=("hooks",)))
    assert len(found) == len(made) == len(names)
    if dtype == "float32":
        assert [outcome.mistake.name for outcome in found if not outcome.is_right] == []
    assert [outcome.mistake.name for outcome in found if outcome.is_wrong] == []


@pytest.mark.slow
def test_every_mistake_and_the_graphs(minilm: Path) -> None:
    """The script whose tables stand in the room; it exits with 1 where a cause is wrong."""
    command = [sys.executable, str(ROOT / "scripts" / "report_verification.py"), str(minilm)]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    clean = [line.split() for line in lines if " pass " in line or " differs " in line]
    assert len(clean) == 9
    for words in clean:
        at = words.index("pass")
        assert float(words[at + 1]) <= 1.0, words
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    names = {row[0] for row in rows if len(row) == 6} - {"mistake", "---"}
    assert len(names) >= 100
    counts = {(row[0], row[1]): row[2:] for row in rows if row[0] in ("float32", "bfloat16")}
    for (dtype, trace), (runs, right, *_others) in counts.items():
        if dtype == "float32" and not trace.startswith("last state"):
            assert int(right) >= 0.8 * int(runs), trace
    graphs = lines[lines.index("ONNX Runtime's graphs") :]
    assert "The same" in next(line for line in graphs if line.startswith("as exported"))
    assert "The same" in next(line for line in graphs if line.startswith("optimized, hidden"))
    assert "GELU is the tanh form" in next(line for line in graphs if "FastGelu" in line)
    shown = [line for line in ROOM.splitlines() if line.startswith("| ")]
    assert names <= {row.split("|")[1].strip() for row in shown}
