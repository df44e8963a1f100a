"""The trainer's arithmetic against torch's own optimizer, clipping and schedule."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from numpy_bert import BertTokenizer
from numpy_bert.training.data import LabelledTexts
from numpy_bert.training.optimizer import AdamW, clip_grad_norm, has_decay, linear_schedule

NAMES = {
    "word_embeddings.weight": (61, 24),
    "dense.weight": (24, 37),
    "dense.bias": (24,),
    "LayerNorm.weight": (24,),
}


def test_steps_clipped_and_scheduled_are_torchs(dtype: str) -> None:
    rng = np.random.default_rng(0)
    ours = {name: rng.standard_normal(shape).astype(dtype) for name, shape in NAMES.items()}
    theirs = {name: torch.nn.Parameter(torch.from_numpy(a.copy())) for name, a in ours.items()}
    groups = [
        {"params": [p for n, p in theirs.items() if has_decay(n)], "weight_decay": 0.1},
        {"params": [p for n, p in theirs.items() if not has_decay(n)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.01, eps=1e-8)
    scheduler = transformers.get_linear_schedule_with_warmup(optimizer, 3, 20)
    mine = AdamW(ours, lr=0.01, weight_decay=0.1)
    for step in range(20):
        gradients = {
            name: (3 * rng.standard_normal(shape)).astype(dtype) for name, shape in NAMES.items()
        }
        for name, parameter in theirs.items():
            parameter.grad = torch.from_numpy(gradients[name].copy())
        norm = torch.nn.utils.clip_grad_norm_(theirs.values(), 1.0)
        assert clip_grad_norm(gradients, 1.0) == pytest.approx(float(norm), rel=1e-6)
        optimizer.step()
        mine.step(gradients, lr=0.01 * linear_schedule(step, warmup=3, total=20))
        scheduler.step()
    budget = 1e-13 if dtype == "float64" else 2e-6
    for name, parameter in theirs.items():
        np.testing.assert_allclose(ours[name], parameter.detach().numpy(), rtol=0, atol=budget)


def test_the_losses_of_a_training_are_torchs(
    dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a tiny model what scripts/report_training.py draws of MiniLM: dropout, clipping, rates."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent.parent / "scripts"))
    monkeypatch.setattr(torch.nn.functional, "dropout", torch.nn.functional.dropout)  # it sets it
    from report_training import curves

    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 24, "num_attention_heads": 4, "intermediate_size": 37}
    config = transformers.BertConfig(vocab_size=8000, num_hidden_layers=2, num_labels=1, **sizes)
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path)
    pairs = [("a cat sat", "a cat"), ("it ran", "the sun is up, and it is a fine day"), ("a", "b")]
    data = LabelledTexts(pairs, [1.0, 0.2, 0.4], BertTokenizer.from_pretrained("demo"))
    options = argparse.Namespace(steps=12, batch_size=2, dtype=dtype)
    losses = np.array(list(curves(str(tmp_path), data, options)))
    assert losses.shape == (12, 2)
    assert len(set(losses[:, 0])) == 12  # it moves
    assert np.abs(losses[:, 0] - losses[:, 1]).max() <= (1e-3 if dtype == "float32" else 1e-8)
