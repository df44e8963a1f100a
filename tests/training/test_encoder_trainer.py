"""SentenceEncoderTrainer: it learns, it goes on, and its folder holds a model in the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import InputError, OutputError, SentenceEncoder, TrainingError
from numpy_bert.training import (
    CoSENTLoss,
    CosineSimilarityLoss,
    MultipleNegativesRankingLoss,
    SentenceEncoderTrainer,
    Trainer,
    TrainingArguments,
)
from numpy_bert.training.encoder_trainer import pair_loss
from numpy_bert.training.run_folder import CHECKPOINT, FINISHED, LOG

PAIRS = {
    "anchor": ["a cat", "it is warm", "the dog ran", "alice read a book"],
    "positive": ["a kitten", "the sun is up", "a puppy", "she had a story"],
}
SCORED = {**PAIRS, "score": [1.0, 0.1, 0.6, 0.3]}
EVERY: dict[str, Any] = {
    "num_train_epochs": 4,
    "per_device_train_batch_size": 2,
    "learning_rate": 1e-3,
    "logging_steps": 1,
}


@pytest.fixture(scope="module")
def model() -> SentenceEncoder:
    return SentenceEncoder.from_pretrained("demo")


def trainer(model: SentenceEncoder, folder: Path, **changes: Any) -> SentenceEncoderTrainer:
    given = {"train_dataset": PAIRS, "loss": MultipleNegativesRankingLoss(model), **changes}
    settings = {**EVERY, **given.pop("settings", {})}
    return SentenceEncoderTrainer(
        model=model, args=TrainingArguments(output_dir=folder, **settings), **given
    )


def test_what_belongs_together_comes_together(model: SentenceEncoder, tmp_path: Path) -> None:
    def own(encoder: SentenceEncoder) -> Any:
        return encoder.similarity(*(encoder.encode(PAIRS[side]) for side in PAIRS))

    before = own(model)
    run = trainer(model, tmp_path, settings={"num_train_epochs": 15})
    trained = run.train()
    after = own(trained)
    apart = after.mean() - np.diag(after).mean()
    assert apart < before.mean() - np.diag(before).mean() - 0.2
    assert np.array_equal(own(model), before)  # the one it began from stays as it is
    assert run.model is trained
    assert {path.name for path in tmp_path.iterdir()} >= {"modules.json", LOG, FINISHED}
    assert not (tmp_path / CHECKPOINT).exists()
    loaded = SentenceEncoder.from_pretrained(tmp_path)
    assert np.array_equal(loaded.encode("a cat"), trained.encode("a cat"))


def test_a_finished_run_returns_its_model(
    model: SentenceEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trainer(model, tmp_path).train()
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    monkeypatch.setattr(Trainer, "_take", None)  # nothing is trained
    again = trainer(model, tmp_path)
    second = again.train()
    assert np.array_equal(first.encode("a cat"), second.encode("a cat"))
    again.save_model()
    assert {path: path.read_bytes() for path in files} == files
    for change in (
        {"loss": CosineSimilarityLoss(model), "train_dataset": SCORED},
        {"settings": {"seed": 3}},
        {"train_dataset": {**PAIRS, "anchor": PAIRS["positive"]}},
    ):
        with pytest.raises(TrainingError, match="is another run's"):
            trainer(model, tmp_path, **change).train()


@pytest.mark.parametrize("stop", [1, 5])
def test_a_stopped_run_ends_in_the_same_bytes(
    stop: int, model: SentenceEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"save_steps": 2, "batch_sampler": "no_duplicates"}
    trainer(model, tmp_path / "whole", settings=settings).train()
    take = Trainer._take

    def stopping(self: Any, step: int) -> Any:
        if step == stop:
            raise KeyboardInterrupt
        return take(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_take", stopping)
        with pytest.raises(KeyboardInterrupt):
            trainer(model, tmp_path / "run", settings=settings).train()
    trainer(model, tmp_path / "run", settings=settings).train()
    for path in (tmp_path / "whole").rglob("*"):
        if path.is_file() and path.name != LOG:
            other = tmp_path / "run" / path.relative_to(tmp_path / "whole")
            assert other.read_bytes() == path.read_bytes(), path.name


@pytest.mark.parametrize("scored", [False, True])
def test_held_out_rows_judge(scored: bool, model: SentenceEncoder, tmp_path: Path) -> None:
    loss = CoSENTLoss(model) if scored else MultipleNegativesRankingLoss(model)
    rows = SCORED if scored else PAIRS
    run = trainer(
        model,
        tmp_path,
        loss=loss,
        train_dataset=rows,
        eval_dataset=rows,
        settings={"eval_steps": 2, "per_device_eval_batch_size": 3},
    )
    run.train()
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    found = [line["evaluation"] for line in lines if "evaluation" in line]
    assert len(found) == 4
    assert all(score < 0.0 for score in found)
    assert found[-1] > found[0]


def test_an_evaluator_judges_and_the_best_is_kept(model: SentenceEncoder, tmp_path: Path) -> None:
    scores, seen = [0.1, 0.9, 0.3, 0.2], []

    def evaluator(encoder: SentenceEncoder) -> float:
        seen.append(encoder.encode("a cat"))
        return scores[len(seen) - 1]

    trained = trainer(model, tmp_path, evaluator=evaluator, settings={"eval_steps": 2}).train()
    assert np.array_equal(trained.encode("a cat"), seen[1])
    assert not np.array_equal(seen[1], seen[3])


def test_it_is_saved_elsewhere_too(model: SentenceEncoder, tmp_path: Path) -> None:
    run = trainer(model, tmp_path / "run")
    with pytest.raises(InputError, match="nothing was trained yet"):
        run.save_model()
    run.train()
    run.save_model(tmp_path / "copy")
    for name in ("model.safetensors", "modules.json", "tokenizer.json"):
        one, other = (tmp_path / place / name for place in ("run", "copy"))
        assert one.read_bytes() == other.read_bytes()
    with pytest.raises(OutputError, match="already exists"):
        run.save_model(tmp_path / "copy")


def test_a_model_of_others_is_left_alone(model: SentenceEncoder, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(OutputError, match="which no training wrote and this one would replace"):
        trainer(model, tmp_path).train()
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert not (tmp_path / LOG).exists()


def test_the_usual_loss_and_losses_that_are_made(model: SentenceEncoder) -> None:
    assert isinstance(pair_loss(None, model), CoSENTLoss)
    assert isinstance(pair_loss(CosineSimilarityLoss, model), CosineSimilarityLoss)
    with pytest.raises(InputError, match="loss must be a MultipleNegativesRankingLoss"):
        pair_loss(3, model)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_dataset": None}, "train_dataset must be given"),
        ({"eval_dataset": PAIRS, "evaluator": len}, "eval_dataset, evaluator: give one"),
        ({"eval_dataset": {"anchor": ["a"]}}, "eval_dataset: MultipleNegativesRankingLoss needs"),
        ({"settings": {"per_device_train_batch_size": 1}}, "compares the rows of a batch"),
        ({"settings": {"eval_steps": 2}}, "need something to evaluate on"),
        ({"loss": 3}, "loss must be a Multiple"),
    ],
)
def test_what_does_not_fit_is_named(
    changes: dict[str, Any], message: str, model: SentenceEncoder, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        trainer(model, tmp_path, **changes)
    assert not list(tmp_path.iterdir())


def test_what_it_trains_is_a_sentence_encoder(model: SentenceEncoder) -> None:
    with pytest.raises(InputError, match="model must be a SentenceEncoder; got BertModel"):
        SentenceEncoderTrainer(model=model.model, train_dataset=PAIRS)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="args must be TrainingArguments; got dict"):
        SentenceEncoderTrainer(model=model, args={}, train_dataset=PAIRS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fp16": True}, "fp16 must be False; got True. Load the model with dtype"),
        ({"eval_strategy": "epoch"}, "eval_strategy must be 'no' or 'steps'; got 'epoch'"),
        ({"eval_strategy": "steps"}, "eval_steps must be given with eval_strategy='steps'"),
        ({"lr_scheduler_type": "cosine"}, "lr_scheduler_type must be 'linear'; got 'cosine'"),
        ({"report_to": "wandb"}, "What is logged stands in log.jsonl"),
        ({"load_best_model_at_end": False}, "load_best_model_at_end must be True"),
        ({"batch_sampler": "group_by_label"}, "batch_sampler must be one of batch_sampler, no_"),
        ({"batch_sampler": "no_duplicates", "group_by_length": True}, "give one of the two"),
    ],
)
def test_settings_that_ask_for_something_else_are_refused(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        TrainingArguments(**given)


def test_the_folder_stands_first_and_a_checkpoint_is_always_gone_on_from(
    model: SentenceEncoder, tmp_path: Path
) -> None:
    args = TrainingArguments(str(tmp_path), max_steps=1, learning_rate=1e-3)
    run = SentenceEncoderTrainer(model, args, PAIRS, loss=MultipleNegativesRankingLoss)
    with pytest.raises(InputError, match=r"resume_from_checkpoint must be True: .*; got False"):
        run.train(resume_from_checkpoint=False)
    assert run.train(resume_from_checkpoint=True) is run.model
    assert (tmp_path / FINISHED).exists()


def test_settings_that_ask_for_what_happens_anyway() -> None:
    given: dict[str, Any] = {
        "output_dir": "run",
        "warmup_ratio": 0.1,
        "fp16": False,
        "bf16": False,
        "save_strategy": "steps",
        "save_total_limit": 2,
        "report_to": "none",
        "run_name": "a run",
        "max_steps": -1,
        "eval_strategy": "no",
        "batch_sampler": "no_duplicates_hashed",
    }
    wanted = TrainingArguments(
        output_dir="run", warmup_steps=0.1, batch_sampler="no_duplicates", max_steps=None
    )
    assert TrainingArguments(**given) == wanted


def test_only_pairs_have_no_duplicates(model: SentenceEncoder, tmp_path: Path) -> None:
    from numpy_bert import BertForMaskedLM
    from numpy_bert.training import MaskedTexts

    words = BertForMaskedLM.from_pretrained("demo")
    data = MaskedTexts(["a cat"], words.tokenizer)
    settings = TrainingArguments(batch_sampler="no_duplicates", output_dir=tmp_path)
    with pytest.raises(InputError, match=r"is for pairs of texts, .* the data are MaskedTexts"):
        Trainer(words, data, settings)
    with pytest.raises(InputError, match="folder must be given, or output_dir"):
        Trainer(words, data, TrainingArguments())
