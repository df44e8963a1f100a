"""The heads of tests/model/test_new_heads.py against torch's, of the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers.models.roberta.modeling_roberta import RobertaClassificationHead

from tests.model.test_new_heads import IDS, MASK, BertForFirstToken, BertForSplade
from tests.parity.test_heads_parity import SIZES
from tests.tolerances import GRADIENT_FLOAT64, HEADS_AGAINST_TORCH

GIVEN: dict[str, Any] = {"input_ids": IDS % 61, "attention_mask": MASK}
LABELS = [4, 0, 2]


def config_of() -> Any:
    # The encoder's attention as readable code has it, and no dropout when gradients are taken.
    return transformers.BertConfig(
        **SIZES, num_labels=5, attn_implementation="eager", architectures=["BertModel"]
    )


class RobertaLike(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.bert = transformers.BertModel(config, add_pooling_layer=False)
        self.classifier = RobertaClassificationHead(config)

    def forward(self, **given: Any) -> Any:
        return self.classifier(self.bert(**given).last_hidden_state)


class SpladeLike(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.model = transformers.BertForMaskedLM(config)

    def forward(self, **given: Any) -> Any:
        logits = self.model(**given).logits
        weights = torch.log1p(torch.relu(logits)) * given["attention_mask"].unsqueeze(-1)
        return weights.max(dim=1).values


def seeded(kind: Any) -> Any:
    torch.manual_seed(7)
    model = kind(config_of()).eval().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def saved(folder: Path, model: Any) -> Path:
    """Write a model of torch as transformers would."""
    from safetensors.torch import save_file

    config_of().save_pretrained(folder)
    state = {name.removeprefix("model."): value for name, value in model.state_dict().items()}
    state = {name: value.clone() for name, value in state.items() if "decoder" not in name}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("ours", "theirs"), [(BertForFirstToken, RobertaLike), (BertForSplade, SpladeLike)]
)
def test_scores_and_gradients(ours: Any, theirs: Any, tmp_path: Path) -> None:
    expected, given = seeded(theirs), {key: torch.tensor(value) for key, value in GIVEN.items()}
    scores = expected(**given)
    loaded = ours.from_pretrained(saved(tmp_path, expected), dtype="float64")
    assert loaded.loading_info.unexpected_keys == ()
    found = loaded(**GIVEN).scores[0]
    np.testing.assert_allclose(found, scores.detach().numpy(), rtol=0, atol=HEADS_AGAINST_TORCH)
    if ours is BertForFirstToken:
        labels: Any = np.array(LABELS)
        loss = torch.nn.functional.cross_entropy(scores, torch.tensor(labels))
    else:
        labels = np.random.default_rng(2).random(found.shape)
        loss = torch.nn.functional.mse_loss(scores, torch.tensor(labels))
    loss.backward()
    gradients = loaded.loss_and_gradients({**GIVEN, "labels": labels})
    assert gradients.loss == pytest.approx(loss.item(), rel=1e-12)
    wanted = {
        name.removeprefix("model."): parameter.grad.numpy()
        for name, parameter in expected.named_parameters()
        if parameter.grad is not None
    }
    mine = dict(gradients.named())
    assert mine.keys() == wanted.keys()
    for name, array in wanted.items():
        atol = GRADIENT_FLOAT64 * max(float(np.abs(array).max()), 1.0)
        np.testing.assert_allclose(mine[name], array, rtol=0, atol=atol, err_msg=name)
