"""Every activation that a config.json may name, against transformers' of that name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from transformers.activations import ACT2CLS, ACT2FN

from numpy_bert import BertForMaskedLM, BertModel
from numpy_bert.config import ACTIVATION_NAMES
from numpy_bert.ops.activation import ACTIVATIONS
from tests.support.checkpoints import TINY, random_tensors, write_checkpoint
from tests.support.heads import CONFIG, write_head
from tests.tolerances import HEADS_AGAINST_TORCH, WILD, fast_encoder_budget

# Those that transformers has, too.
NAMES = [name for name in ACTIVATION_NAMES if name in ACT2CLS]
IDS = np.array([[2, 5, 1, 3, 60, 7, 0], [9, 8, 7, 6, 5, 4, 3]])
# Kinks and the ends of pieces are among them.
GRID = np.concatenate([np.linspace(-30, 30, 6001), np.arange(-12.0, 13.0), [-600.0, 600.0]])


def test_all_of_transformers_that_have_no_weights_are_known() -> None:
    assert set(ACT2CLS) - set(ACTIVATION_NAMES) == {"prelu", "xielu"}


@pytest.mark.parametrize("name", NAMES)
def test_values_and_slopes(name: str) -> None:
    ours = ACTIVATIONS[ACTIVATION_NAMES[name]]
    x = torch.from_numpy(GRID).requires_grad_()
    theirs = ACT2FN[name](x)
    theirs.sum().backward()
    assert x.grad is not None
    assert np.abs(ours.forward(GRID) - theirs.detach().numpy()).max() <= 1e-10
    found = ours.backward(np.ones_like(GRID), GRID)
    assert np.abs(found - x.grad.numpy()).max() <= 1e-10


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_model(name: str, tmp_path: Path) -> None:
    config = TINY | {"hidden_act": name}
    tensors = {key: array / 4 for key, array in random_tensors(config).items()}
    folder = write_checkpoint(tmp_path, tensors, config)
    theirs = {}
    for dtype in (torch.float64, torch.float32):
        model = transformers.BertModel.from_pretrained(folder, dtype=dtype).eval()
        with torch.no_grad():
            theirs[dtype] = model(torch.from_numpy(IDS)).last_hidden_state.numpy()
    exact = theirs[torch.float64]
    wide = BertModel.from_pretrained(folder, dtype="float64")(IDS).last_hidden_state
    assert np.abs(wide - exact).max() <= HEADS_AGAINST_TORCH
    narrow = BertModel.from_pretrained(folder)(IDS).last_hidden_state
    budget = WILD * fast_encoder_budget(exact, theirs[torch.float32])
    assert np.abs(narrow - exact).max() <= budget


def test_a_head_has_the_encoders(tmp_path: Path) -> None:
    folder = write_head(tmp_path, "BertForMaskedLM", config=CONFIG | {"hidden_act": "mish"})
    theirs = transformers.BertForMaskedLM.from_pretrained(folder, dtype=torch.float64).eval()
    with torch.no_grad():
        expected = theirs(torch.from_numpy(IDS)).logits.numpy()
    found = BertForMaskedLM.from_pretrained(folder, dtype="float64")(IDS).logits
    assert np.abs(found - expected).max() <= HEADS_AGAINST_TORCH
