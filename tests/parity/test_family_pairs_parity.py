"""Training sentence encoders of BERT's family: gradients and runs against sentence-transformers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers.sentence_transformer import losses

from numpy_bert import BertConfig, SentenceEncoder
from numpy_bert.loading.keys import canonical
from numpy_bert.training import (
    MultipleNegativesRankingLoss,
    SentenceEncoderTrainer,
    Trainer,
    TrainingArguments,
)
from numpy_bert.training.pairs import PairedTexts, PairModel
from numpy_bert.training.run_folder import LOG
from tests.parity.test_family_sentences_parity import LAYOUTS, peer_of, write_layout
from tests.parity.test_pairs_parity import features_of, named_as_ours, their_losses
from tests.tolerances import GRADIENT_FLOAT64

FIRST = ["a cat", "the dog", "it is warm", "hello world"]
SECOND = ["a kitten", "a puppy went", "the sun", "a test, unaffable"]
# One of each architecture, and a BERT with the tokenizer of another.
TRAINED = (
    *("paraphrase-multilingual-MiniLM-L12-v2", "multilingual-e5-base", "all-distilroberta-v1"),
    *("distiluse-base-multilingual-cased-v2", "all-mpnet-base-v2", "an ELECTRA", "an ERNIE"),
)
# The settings that switch dropout off, by every architecture's names.
_RATES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout")


def undropped(folder: Path) -> Path:
    """Write rates of 0 in the place of those in a config.json."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config |= {name: 0.0 for name in _RATES if name in config}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder


def by_our_names(peer: Any, config: BertConfig) -> Iterator[tuple[str, Any]]:
    """Yield the parameters of sentence-transformers' model by ours, a pooler's left out."""
    for name, parameter in named_as_ours(peer):
        start, _, rest = name.partition(".")
        own = f"bert.{canonical(rest, config.architecture)}" if start == "bert" else name
        if not own.startswith("bert.pooler."):
            yield own, parameter


@pytest.mark.parametrize("layout", TRAINED)
def test_every_gradient(layout: str, tmp_path: Path) -> None:
    folder = write_layout(tmp_path, LAYOUTS[layout])
    encoder, peer = (
        SentenceEncoder.from_pretrained(folder, dtype="float64"),
        peer_of(folder, "float64"),
    )
    model = PairModel(encoder, MultipleNegativesRankingLoss(encoder))
    data = PairedTexts({"a": FIRST, "b": SECOND}, encoder)
    data.check(model)
    found = model.loss_and_gradients(data.batch(np.arange(4), np.random.default_rng(0)))
    loss = losses.MultipleNegativesRankingLoss(peer)(features_of(peer, [FIRST, SECOND]), None)
    loss.backward()
    assert found.loss == pytest.approx(float(loss.detach()), rel=1e-9)
    ours = dict(found.named())
    wanted = {name: p.grad.numpy() for name, p in by_our_names(peer, model.config)}
    assert set(wanted) == set(dict(model.named_parameters()))
    largest = max(float(np.abs(reference).max()) for reference in wanted.values())
    for name, reference in wanted.items():
        apart = float(np.abs(ours[name] - reference).max())
        size = max(float(np.abs(reference).max()), 1e-3 * largest)
        assert apart <= GRADIENT_FLOAT64 * size, name


@pytest.mark.parametrize(
    "layout", ["bge-m3", "distiluse-base-multilingual-cased-v2", "all-mpnet-base-v2"]
)
def test_a_run_has_the_losses_of_their_run(layout: str, tmp_path: Path) -> None:
    folder = undropped(write_layout(tmp_path, LAYOUTS[layout]))
    dataset: dict[str, Any] = {"a": FIRST, "b": SECOND}
    encoder = SentenceEncoder.from_pretrained(folder, dtype="float64")
    arguments = TrainingArguments(
        output_dir=tmp_path / "run",
        num_train_epochs=2,
        per_device_train_batch_size=2,
        learning_rate=1e-3,
        warmup_steps=0.5,
        weight_decay=0.1,
        logging_steps=1,
    )
    model = PairModel(encoder, MultipleNegativesRankingLoss(encoder))
    run = Trainer[Any](model, PairedTexts(dataset, encoder), arguments)
    order = [run._examples(step).tolist() for step in range(4)]
    trained = run.train()
    lines = [json.loads(line) for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    peer = peer_of(folder, "float64")
    theirs = their_losses(peer, losses.MultipleNegativesRankingLoss(peer), dataset, order)
    np.testing.assert_allclose([line["loss"] for line in lines], theirs, rtol=0, atol=1e-9)
    after = dict(trained.named_parameters())
    for name, parameter in by_our_names(peer, model.config):
        np.testing.assert_allclose(
            after[name], parameter.detach().numpy(), rtol=0, atol=1e-7, err_msg=name
        )


@pytest.mark.parametrize("layout", ["multilingual-e5-base", "msmarco-distilbert-base-tas-b"])
def test_a_trained_model_loads_there(layout: str, tmp_path: Path) -> None:
    model = SentenceEncoder.from_pretrained(write_layout(tmp_path, LAYOUTS[layout]))
    trainer = SentenceEncoderTrainer(
        model=model,
        args=TrainingArguments(output_dir=tmp_path / "run", max_steps=2, learning_rate=1e-2),
        train_dataset={"anchor": FIRST, "positive": SECOND},
        loss=MultipleNegativesRankingLoss(model),
    )
    trained = trainer.train()
    assert type(trained.model) is type(model.model)
    peer = peer_of(tmp_path / "run")
    assert np.abs(trained.encode(FIRST) - peer.encode(FIRST)).max() < 1e-5
    assert np.abs(trained.encode(FIRST) - model.encode(FIRST)).max() > 1e-3
