"""The trainer's arithmetic against torch's own optimizer, clipping and schedule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers

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
