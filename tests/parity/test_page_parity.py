"""scripts/bert_on_a_page.py in float32: as near to float64 as the policy asks of the package."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from tests.tolerances import encoder_float32_budget, float32_budget

PAGE = Path(__file__).parent.parent.parent / "scripts" / "bert_on_a_page.py"
TEXT = "The [MASK] by the river was older than the bank that [MASK] us the money."


def page(folder: Path, dtype: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run it, and return the numbers that torch has too."""
    monkeypatch.setattr(sys, "argv", [str(PAGE), str(folder), TEXT, dtype])
    found = runpy.run_path(str(PAGE))
    names = ("embedded", "hidden", "vector", *(["logits"] if "logits" in found else []))
    numbers = {name: found[name] for name in names}
    if "logits" in found:
        numbers["words"] = found["softmax"](found["logits"])
    return numbers


def torchs(folder: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the same of transformers, in float32."""
    is_lm = "demo" in folder.name
    kind = transformers.BertForMaskedLM if is_lm else transformers.BertModel
    model = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        output = model(**inputs, output_hidden_states=True)
    states = [state[0].numpy() for state in output.hidden_states]
    found = {"embedded": states[0], "hidden": states[-1], "vector": states[-1].mean(0)}
    if is_lm:
        logits = output.logits[0]
        found |= {"logits": logits.numpy(), "words": torch.softmax(logits, -1).numpy()}
    return found


@pytest.mark.parametrize("name", ["plain_demo", "minilm"])
def test_float32_is_within_the_policy(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = request.getfixturevalue(name)
    inputs = transformers.AutoTokenizer.from_pretrained(folder)(TEXT, return_tensors="pt")
    theirs = torchs(folder, inputs)
    found, exact = (page(folder, dtype, monkeypatch) for dtype in ("float32", "float64"))
    assert list(found) == list(theirs)
    for step, expected in exact.items():
        budget_of = float32_budget if step in ("embedded", "words") else encoder_float32_budget
        budget = budget_of(expected, theirs[step])
        difference = float(np.abs(found[step] - expected).max())
        assert found[step].shape == theirs[step].shape
        assert difference <= budget, (step, difference, budget)
