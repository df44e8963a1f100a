"""What numpy_bert saves, transformers loads, and computes the same with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import numpy_bert
from numpy_bert import BertModel
from numpy_bert.cli import main
from tests.parity.test_heads_parity import HEADS, inputs_of, seeded
from tests.support.pages import random_model
from tests.support.traces import IDS, trained_like
from tests.tolerances import HEADS_AGAINST_TORCH


@pytest.mark.parametrize("case", HEADS)
def test_a_saved_head_is_transformers(case: str, tmp_path: Path) -> None:
    name, config, _ = HEADS[case]
    seeded(name, **config).save_pretrained(tmp_path / "theirs")
    model = getattr(numpy_bert, name).from_pretrained(tmp_path / "theirs", dtype="float64")
    model.save_pretrained(tmp_path / "ours")
    loaded, info = getattr(transformers, name).from_pretrained(
        tmp_path / "ours",
        dtype=torch.float64,
        attn_implementation="eager",
        output_loading_info=True,
    )
    assert not info["unexpected_keys"]
    assert not [key for key in info["missing_keys"] if "decoder" not in key]
    inputs = inputs_of(name)
    with torch.no_grad():
        theirs = loaded.eval()(**{key: torch.from_numpy(a) for key, a in inputs.items()})
    ours = model(**inputs, unpad_inputs=False)
    for key in ours:
        np.testing.assert_allclose(
            ours[key], theirs[key].numpy(), rtol=0, atol=HEADS_AGAINST_TORCH, err_msg=key
        )
    written = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert written["architectures"] == [name]
    again = getattr(numpy_bert, name).from_pretrained(tmp_path / "ours", dtype="float64")
    assert again.config == model.config
    assert again.loading_info.unexpected_keys == ()
    assert all(key.startswith("pooler.") for key in again.loading_info.missing_keys)


def test_a_saved_model_is_the_same_and_overwrites_nothing(tmp_path: Path) -> None:
    model = BertModel.from_pretrained(trained_like(tmp_path / "a"))
    model.save_pretrained(tmp_path / "b")
    with pytest.raises(numpy_bert.OutputError, match="exists"):
        model.save_pretrained(tmp_path / "b")
    model.save_pretrained(tmp_path / "b", force=True)
    again: Any = BertModel.from_pretrained(tmp_path / "b")
    ids: Any = dict(IDS)
    assert np.array_equal(again(**ids).last_hidden_state, model(**ids).last_hidden_state)
    with torch.no_grad():
        theirs = transformers.BertModel.from_pretrained(tmp_path / "b").eval()
        found = theirs(**{key: torch.from_numpy(a) for key, a in ids.items()})
    mask = ids["attention_mask"].astype(bool)
    apart = found.last_hidden_state.numpy() - model(**ids).last_hidden_state
    assert np.abs(apart[mask]).max() < 1e-5
    (tmp_path / "file").write_text("")
    with pytest.raises(numpy_bert.OutputError, match="cannot be made"):
        model.save_pretrained(tmp_path / "file")


def test_half_precision_is_saved_in_the_models_dtype(tmp_path: Path) -> None:
    BertModel.from_pretrained("demo").save_pretrained(tmp_path)
    again = BertModel.from_pretrained(tmp_path)
    assert again.loading_info.cast == ()
    words = BertModel.from_pretrained("demo").embeddings.word_embeddings.weight
    assert np.array_equal(again.embeddings.word_embeddings.weight, words)


def test_a_trained_regression_is_transformers(tmp_path: Path) -> None:
    folder = random_model(tmp_path / "model", num_hidden_layers=2)
    (tmp_path / "scores.csv").write_text("text,label\nthe cat,0.5\na dog,2\nthe sun is up,-1e0\n")
    command = ["train", "classify", "--data", str(tmp_path / "scores.csv"), "--max-steps", "3"]
    assert main([*command, "--model", str(folder), "-o", str(tmp_path / "run")]) == 0
    peer = transformers.BertForSequenceClassification.from_pretrained(
        tmp_path / "run", dtype=torch.float64, attn_implementation="eager"
    ).eval()
    assert (peer.config.problem_type, peer.config.num_labels) == ("regression", 1)
    ours = numpy_bert.BertForSequenceClassification.from_pretrained(
        tmp_path / "run", dtype="float64"
    )
    texts = ["the cat", "a dog ran"]
    inputs = transformers.AutoTokenizer.from_pretrained(tmp_path / "run")(
        texts, padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        theirs = peer(**inputs, labels=torch.tensor([0.5, 2.0], dtype=torch.float64))
    found = ours(**{k: v.numpy() for k, v in inputs.items()}, labels=[0.5, 2.0])
    np.testing.assert_allclose(
        found.logits, theirs.logits.numpy(), rtol=0, atol=HEADS_AGAINST_TORCH
    )
    assert found.loss == pytest.approx(float(theirs.loss), rel=1e-10)
    scores = [row[0].score for row in ours.classify(texts)]
    np.testing.assert_allclose(
        scores, theirs.logits.numpy()[:, 0], rtol=0, atol=HEADS_AGAINST_TORCH
    )
