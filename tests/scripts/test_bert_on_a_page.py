"""scripts/bert_on_a_page.py: a page, of three packages, that computes what numpy_bert computes."""

from __future__ import annotations

import ast
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from numpy_bert import BertForMaskedLM, BertModel, BertTokenizer, SentenceEncoder
from tests.tolerances import SAME_MATHS

PAGE = Path(__file__).parent.parent.parent / "scripts" / "bert_on_a_page.py"
TEXT = "The [MASK] by the river is [MASK]."

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the page as the command does, and returns all that it has computed, by name."""

    def run(*arguments: object) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", [str(PAGE), *map(str, arguments)])
        return runpy.run_path(str(PAGE))

    return run


@pytest.fixture(params=["plain_demo", "minilm"])
def folder(request: pytest.FixtureRequest) -> Path:
    """One with keys that start with `bert.` and a masked-LM head, and one without either."""
    found: Path = request.getfixturevalue(request.param)
    return found


def off(found: Any, expected: Any) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max())


def test_it_is_a_page() -> None:
    assert len(PAGE.read_text("utf-8").splitlines()) <= 80


def test_it_imports_three_packages() -> None:
    names = set()
    for node in ast.walk(ast.parse(PAGE.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).split(".")[0])
    assert names - set(sys.stdlib_module_names) == {"numpy", "safetensors", "tokenizers"}


def test_embedding_encoder_and_vector_are_the_packages(run: Run, folder: Path) -> None:
    found = run(folder, TEXT, "float64")
    inputs = BertTokenizer.from_pretrained(folder)(TEXT, return_tensors="np")
    assert found["tokens"].ids == inputs["input_ids"][0].tolist()
    output = BertModel.from_pretrained(folder, dtype="float64")(**inputs, output_hidden_states=True)
    assert output.hidden_states is not None
    assert off(found["embedded"], output.hidden_states[0][0]) < SAME_MATHS
    assert off(found["hidden"], output.last_hidden_state[0]) < SAME_MATHS
    encoder = SentenceEncoder.from_pretrained(folder, dtype="float64")
    states = encoder.encode(TEXT, output_value="token_embeddings")
    assert off(found["vector"], states.mean(axis=0)) < SAME_MATHS


def test_the_words_are_the_packages(run: Run, plain_demo: Path) -> None:
    found = run(plain_demo, TEXT, "float64")
    model = BertForMaskedLM.from_pretrained(plain_demo, dtype="float64")
    inputs = model.tokenizer(TEXT, return_tensors="np")
    logits = model(**inputs).logits[0]
    assert off(found["logits"], logits) < SAME_MATHS * np.abs(logits).max()
    rows = found["softmax"](logits[inputs["input_ids"][0] == model.tokenizer.mask_token_id])
    for row, fills in zip(rows, model.fill_mask([TEXT])[0], strict=True):
        best = np.argsort(-row)[:5]
        assert best.tolist() == [fill.token for fill in fills]
        assert off(row[best], np.array([fill.score for fill in fills])) < SAME_MATHS


def test_nothing_promotes(run: Run, folder: Path, dtype: str) -> None:
    found = run(folder, TEXT, dtype)
    del found["value"]  # the last tensor, as it is stored
    arrays = {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
    assert {"embedded", "q", "scores", "context", "activated", "hidden", "vector"} <= set(arrays)
    assert {str(array.dtype) for array in (*arrays.values(), *found["w"].values())} == {dtype}
    for name in ("gelu", "softmax"):
        assert found[name](np.ones(3, dtype)).dtype == dtype


def test_keys_in_another_spelling(run: Run, plain_demo: Path, tmp_path: Path) -> None:
    tensors = load_file(plain_demo / "model.safetensors")
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((plain_demo / name).read_bytes())
    old = {
        key.removeprefix("bert.")
        .replace("LayerNorm.weight", "LayerNorm.gamma")
        .replace("LayerNorm.bias", "LayerNorm.beta"): value
        for key, value in tensors.items()
    }
    assert not set(old) <= set(tensors)
    save_file(old, tmp_path / "model.safetensors")
    expected = run(plain_demo, TEXT)
    found = run(tmp_path, TEXT)
    for name in ("embedded", "hidden", "vector", "logits"):
        assert np.array_equal(found[name], expected[name])


def test_a_long_text_is_read_whole_or_refused(run: Run, minilm: Path) -> None:
    # Its tokenizer.json pads and cuts to 128 tokens.
    assert len(run(minilm, "moon " * 400)["tokens"]) == 402
    with pytest.raises(ValueError, match="shapes"):
        run(minilm, "moon " * 600)


def test_what_it_prints(run: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(folder, TEXT)
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith(("10 tokens, 128 features in float32: [", "10 tokens, 384 features"))
    assert len(others) == (2 if "demo" in str(folder) else 0)
    run(folder, "no mask")
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_it_is_a_command(plain_demo: Path) -> None:
    command = [sys.executable, str(PAGE), str(plain_demo), "I drink a cup of [MASK]."]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stderr == ""
    assert result.stdout.splitlines()[1].split()[::2] == ["coffee", "water", "tea", "milk", "sugar"]
