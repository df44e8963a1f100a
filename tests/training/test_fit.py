"""A run: it learns, it says what it did, and a stopped one ends in the same bits."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import (
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
    CheckpointError,
    InputError,
    OutputError,
    TrainingError,
    folder_lock,
    locks,
)
from numpy_bert.model import saving
from numpy_bert.training import fit
from numpy_bert.training import run_folder as state
from numpy_bert.training.data import LabelledTexts, MaskedTexts
from numpy_bert.training.fit import BEST, CHECKPOINT, LOG, Trainer
from numpy_bert.training.joint import JointData, JointModel
from numpy_bert.training.optimizer import AdamW, global_norm
from numpy_bert.training.training_args import TrainingArguments
from tests.support.heads import CONFIG, head_tensors, write_head
from tests.support.platforms import posix

TEXTS = ["hello world", "the world", "hello the un", "un hello world", "world the"]
SETTINGS: dict[str, Any] = {
    "max_steps": 7,
    "per_device_train_batch_size": 2,
    "learning_rate": 1e-3,
    "logging_steps": 1,
    "save_steps": 2,
    "seed": 3,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("model"), "BertForMaskedLM")


def written(place: Path, name: str) -> Path:
    calm = {
        key: (array * 0.1 + key.endswith("LayerNorm.weight")).astype("f4")
        for key, array in head_tensors(name).items()
    }
    return write_head(place, name, calm, CONFIG)


def trainer(folder: Path, run: Path, **changes: Any) -> Trainer[BertForMaskedLM]:
    evaluate = changes.pop("evaluate", None)
    model = BertForMaskedLM.from_pretrained(folder)
    data = MaskedTexts(TEXTS, BertTokenizer.from_pretrained(folder), probability=0.4)
    arguments = TrainingArguments(**{**SETTINGS, **changes})
    return Trainer(model, data, arguments, run, evaluate=evaluate)


Undisturbed = Callable[..., tuple[Path, BertForMaskedLM]]


@pytest.fixture(scope="module")
def undisturbed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Return what trains undisturbed, once for the same arguments, and gives folder and model."""

    @cache
    def trained(**changes: Any) -> tuple[Path, BertForMaskedLM]:
        run = tmp_path_factory.mktemp("whole")
        return run, trainer(folder, run, **changes).train()

    return trained


def log_of(run: Path) -> list[dict[str, Any]]:
    """Return the log without what the clock says."""
    lines = [json.loads(line) for line in (run / LOG).read_text("utf-8").splitlines()]
    return [{k: v for k, v in line.items() if k != "tokens_per_second"} for line in lines]


def test_it_learns(folder: Path, tmp_path: Path) -> None:
    trained = trainer(folder, tmp_path, max_steps=60, learning_rate=3e-3).train()
    losses = [line["loss"] for line in log_of(tmp_path)]
    assert len(losses) == 60
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    before = dict(BertForMaskedLM.from_pretrained(folder).named_parameters())
    after = dict(trained.named_parameters())
    assert set(before) == set(after)
    assert all(not np.array_equal(before[name], after[name]) for name in before)


def test_the_model_that_a_run_starts_from_stays(folder: Path, tmp_path: Path) -> None:
    model = BertForMaskedLM.from_pretrained(folder)
    before = {name: array.copy() for name, array in model.named_parameters()}
    data = MaskedTexts(TEXTS, BertTokenizer.from_pretrained(folder))
    trained = Trainer(model, data, TrainingArguments(max_steps=2), tmp_path).train()
    for name, array in model.named_parameters():
        assert np.array_equal(array, before[name])
    ids = [[2, 5, 3]]
    assert not np.array_equal(trained(ids).logits, model(ids).logits)
    readable = trained.steps(ids).cls.predictions.output
    np.testing.assert_allclose(trained(ids).logits, readable, atol=1e-5)  # no kernel is stale


def test_the_log_says_what_was_done(folder: Path, tmp_path: Path) -> None:
    trainer(folder, tmp_path, max_steps=5, warmup_steps=0.4, logging_steps=2).train()
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text("utf-8").splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 5]
    assert [line["learning_rate"] for line in lines] == pytest.approx([5e-4, 2e-3 / 3, 1e-3 / 3])
    assert all(line["tokens_per_second"] > 0 for line in lines)


class _Stop(Exception):
    pass


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_a_stopped_run_ends_in_the_same_bits(
    folder: Path,
    tmp_path: Path,
    stop: int,
    undisturbed: Undisturbed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, _ = undisturbed()
    run = tmp_path / "stopped"
    take = Trainer._take

    def stopping(self: Any, step: int) -> Any:
        if step == stop:
            raise _Stop
        return take(self, step)

    monkeypatch.setattr(Trainer, "_take", stopping)
    with pytest.raises(_Stop):
        trainer(folder, run).train()
    monkeypatch.undo()
    with (run / LOG).open("a", encoding="utf-8") as file:
        file.write('{"step": 1, "lo')  # a line that was being written
    trainer(folder, run).train()
    assert (run / CHECKPOINT).read_bytes() == (whole / CHECKPOINT).read_bytes()
    assert log_of(run) == log_of(whole)


SCRIPT = """
import sys
from tests.training.test_fit import train_long
from pathlib import Path
train_long(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def train_long(folder: Path, run: Path) -> None:
    changes = {"max_steps": 40, "save_steps": 3, "eval_steps": 4, "evaluate": loss_of}
    trainer(folder, run, **changes).train()


@posix
def test_a_run_that_is_killed_again_and_again_ends_in_the_same_bits(
    folder: Path, tmp_path: Path
) -> None:
    root = Path(__file__).parent.parent.parent

    def start(run: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", SCRIPT, str(folder), str(run)]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        return subprocess.Popen(command, cwd=root, env=environment, stderr=subprocess.PIPE)

    train_long(folder, tmp_path / "whole")
    moments, killed = np.random.default_rng(0).uniform(0.0, 0.1, 2), 0
    run = tmp_path / "killed"
    for moment in moments:
        process = start(run)
        while process.poll() is None and not (run / LOG).exists():
            time.sleep(0.005)  # until it is at work
        time.sleep(float(moment))
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert killed
    assert start(run).communicate()[1] == b""
    for file in (CHECKPOINT, BEST):
        assert (run / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert log_of(run) == log_of(tmp_path / "whole")


HELD = (
    r"another training is writing there \(process \d+ on \S+\)\. Wait for its end, or train into "
    "another folder"
)


@posix
def test_a_second_training_into_one_folder_is_refused(
    folder: Path, tmp_path: Path, undisturbed: Undisturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = undisturbed()
    take, refused = Trainer._take, list[int]()

    def disturbed(self: Any, step: int) -> Any:
        if not refused:
            refused.append(step)
            before = {path.name: path.read_bytes() for path in run.iterdir()}
            for act in (trainer(folder, run).train, lambda: state.check_alone(run)):
                with pytest.raises(TrainingError, match=HELD):
                    act()
            assert {path.name: path.read_bytes() for path in run.iterdir()} == before
        return take(self, step)

    monkeypatch.setattr(Trainer, "_take", disturbed)
    run = tmp_path / "run"
    trainer(folder, run).train()
    assert refused == [0]
    assert (run / CHECKPOINT).read_bytes() == (whole / CHECKPOINT).read_bytes()
    assert {path.name for path in run.iterdir()} == {CHECKPOINT, LOG}
    with state.alone(run), pytest.raises(TrainingError, match=HELD):
        trainer(folder, run).train()


@posix
def test_a_killed_training_keeps_nobody_away(folder: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from numpy_bert.training.run_folder import alone\n"
        "with alone(Path(sys.argv[1])):\n    print('at it', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    root = Path(__file__).parent.parent.parent
    with subprocess.Popen(
        command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"at it\n"
        with pytest.raises(TrainingError, match=f"process {child.pid} on "):
            trainer(folder, tmp_path).train()
        child.kill()
    assert (tmp_path / state.LOCK).read_text("utf-8").startswith(f"process {child.pid} on ")
    trainer(folder, tmp_path).train()
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT, LOG}


def test_a_folder_that_may_not_be_written_to_is_told_before_a_step(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(OutputError, match=r": no file can be made there; train into another"):
        trainer(folder, tmp_path).train()
    assert not list(tmp_path.iterdir())


@posix
def test_a_lock_whose_file_has_just_gone_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another training may end between the two: a third one would make a file of its own."""
    lock, gone = locks.try_lock, list[int]()

    def late(descriptor: int) -> bool | None:
        if not gone:
            gone.append(descriptor)
            (tmp_path / state.LOCK).unlink()
        return lock(descriptor)

    monkeypatch.setattr(folder_lock, "try_lock", late)
    with state.alone(tmp_path), pytest.raises(TrainingError, match=HELD):
        state.check_alone(tmp_path)
    assert not list(tmp_path.iterdir())


def test_where_there_are_no_locks_a_training_runs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_lock, "try_lock", lambda _: None)
    trainer(folder, tmp_path).train()
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT, LOG}


def test_a_finished_run_is_not_run_again(folder: Path, tmp_path: Path) -> None:
    first = trainer(folder, tmp_path).train()
    log = (tmp_path / LOG).read_bytes()
    again = trainer(folder, tmp_path).train()
    assert (tmp_path / LOG).read_bytes() == log
    for (name, one), (_, other) in zip(
        first.named_parameters(), again.named_parameters(), strict=True
    ):
        assert np.array_equal(one, other), name


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"learning_rate": 2e-3}, "learning_rate was 0.001, now 0.002"),
        ({"seed": 4}, "seed was 3, now 4"),
        ({"max_steps": 8}, "max_steps was 7, now 8"),
    ],
)
def test_another_runs_checkpoint_is_refused(
    folder: Path, tmp_path: Path, changes: dict[str, Any], what: str
) -> None:
    trainer(folder, tmp_path).train()
    kept = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(TrainingError, match=what):
        trainer(folder, tmp_path, **changes).train()
    assert (tmp_path / CHECKPOINT).read_bytes() == kept


def test_other_data_are_another_run(folder: Path, tmp_path: Path) -> None:
    trainer(folder, tmp_path).train()
    tokenizer = BertTokenizer.from_pretrained(folder)
    prints = {
        MaskedTexts(TEXTS, tokenizer, probability=0.4).fingerprint,
        MaskedTexts(TEXTS[:-1], tokenizer, probability=0.4).fingerprint,
        MaskedTexts(TEXTS, tokenizer, probability=0.3).fingerprint,
        MaskedTexts(TEXTS, tokenizer, probability=0.4, whole_words=True).fingerprint,
        MaskedTexts(TEXTS, tokenizer, probability=0.4, max_length=9).fingerprint,
        LabelledTexts(TEXTS, [0, 1, 0, 1, 0], tokenizer).fingerprint,
        LabelledTexts(TEXTS, [0, 1, 0, 1, 1], tokenizer).fingerprint,
    }
    assert len(prints) == 7


def test_a_file_that_is_no_checkpoint_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="is no checkpoint of a training run"):
        trainer(folder, tmp_path).train()


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_examples(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(folder, tmp_path, save_steps=1, seed=5)
    real = BertForMaskedLM.loss_and_gradients

    def wild(self: Any, batch: Any, **options: Any) -> Any:
        found = real(self, batch, **options)
        if (tmp_path / CHECKPOINT).exists():
            object.__setattr__(found, "loss", float("nan"))
        return found

    monkeypatch.setattr(BertForMaskedLM, "loss_and_gradients", wild)
    with pytest.raises(TrainingError, match=r"step 2: the loss is nan, on the examples \[\d, \d\]"):
        run.train()
    monkeypatch.undo()
    assert trainer(folder, tmp_path, save_steps=1, seed=5).train() is not None


def test_a_full_disk_leaves_the_last_checkpoint(
    folder: Path, tmp_path: Path, undisturbed: Undisturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = []
    real = saving.write_tensors

    def full(path: Path, *rest: Any) -> None:
        writes.append(path)
        if len(writes) == 2:
            raise OutputError(f"{path}: could not be written (No space left on device).")
        real(path, *rest)

    monkeypatch.setattr(state, "write_tensors", full)
    with pytest.raises(OutputError, match="No space left"):
        trainer(folder, tmp_path).train()
    monkeypatch.undo()
    assert sorted(p.name for p in tmp_path.iterdir()) == [CHECKPOINT, LOG]
    trainer(folder, tmp_path).train()
    assert (tmp_path / CHECKPOINT).read_bytes() == (undisturbed()[0] / CHECKPOINT).read_bytes()


def test_accumulated_batches_are_one_larger_batch(tmp_path: Path) -> None:
    folder = written(tmp_path / "model", "BertForSequenceClassification")
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    model = BertForSequenceClassification.from_pretrained(folder, dtype="float64")
    texts, labels = ["hello world", "the un", "un the", "world hello"], [0, 1, 2, 3]
    data = LabelledTexts(texts, labels, BertTokenizer.from_pretrained(folder))
    results = []
    for size, count in ((4, 1), (2, 2)):
        settings = TrainingArguments(
            per_device_train_batch_size=size,
            gradient_accumulation_steps=count,
            max_steps=3,
            warmup_steps=0,
        )
        trained = Trainer(model, data, settings, tmp_path / str(size)).train()
        results.append(dict(trained.named_parameters()))
    for name, array in results[0].items():
        np.testing.assert_allclose(array, results[1][name], rtol=0, atol=1e-9, err_msg=name)


def test_the_best_weights_are_kept_and_a_run_that_is_no_better_ends(
    folder: Path, tmp_path: Path
) -> None:
    scores, seen = [0.5, 0.9, 0.7, 0.9, 0.1], []

    def evaluate(model: BertForMaskedLM) -> float:
        seen.append(np.array(model.head.cls.predictions.bias))
        return scores[len(seen) - 1]

    run = trainer(
        folder, tmp_path, eval_steps=1, early_stopping_patience=2, max_steps=9, evaluate=evaluate
    )
    trained = run.train()
    assert len(seen) == 4
    assert np.array_equal(trained.head.cls.predictions.bias, seen[1])
    evaluations = [line["evaluation"] for line in log_of(tmp_path) if "evaluation" in line]
    assert evaluations == scores[:4]
    with pytest.raises(InputError, match="need something to evaluate on"):
        trainer(folder, tmp_path / "other", eval_steps=1)


def test_each_example_comes_once_a_pass_in_another_order(folder: Path, tmp_path: Path) -> None:
    run = trainer(folder, tmp_path)
    passes = [np.concatenate([run._examples(3 * epoch + k) for k in range(3)]) for epoch in (0, 1)]
    assert all(sorted(order.tolist()) == [0, 1, 2, 3, 4] for order in passes)
    assert passes[0].tolist() != passes[1].tolist()
    assert [len(run._examples(number)) for number in range(4)] == [2, 2, 1, 2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"per_device_train_batch_size": 0},
        {"max_steps": 2.5},
        {"learning_rate": -1.0},
        {"learning_rate": float("nan")},
        {"warmup_steps": 1.5},
        {"warmup_steps": -1},
        {"adam_beta2": 1.0},
        {"early_stopping_patience": 2},
        {"seed": -1},
        {"num_train_epochs": 0},
        {"save_steps": 0},
    ],
)
def test_senseless_settings_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        TrainingArguments(**wrong)


def test_data_that_hold_nothing_are_refused(folder: Path) -> None:
    tokenizer = BertTokenizer.from_pretrained(folder)
    with pytest.raises(InputError, match="holds no text"):
        MaskedTexts([], tokenizer)
    with pytest.raises(InputError, match="1 texts and labels of shape"):
        LabelledTexts(["a"], [1, 2], tokenizer)
    with pytest.raises(InputError, match=r"text 2 of 3 has no token to be guessed"):
        MaskedTexts(["hello", "\u200b", ""], tokenizer)


def test_a_short_batch_always_has_something_to_guess(folder: Path) -> None:
    data = MaskedTexts(["hello"], BertTokenizer.from_pretrained(folder), probability=0.05)
    for seed in range(30):
        batch = data.batch(np.array([0]), np.random.default_rng(seed))
        assert (batch["labels"] >= 0).sum() == 1


def test_batches_of_one_length_are_read_together(folder: Path, tmp_path: Path) -> None:
    tokenizer = BertTokenizer.from_pretrained(folder)
    rng = np.random.default_rng(0)
    texts = ["hello " * int(n) for n in rng.integers(1, 18, 64)]
    data, spreads = MaskedTexts(texts, tokenizer), {}
    model = BertForMaskedLM.from_pretrained(folder)
    for grouped in (False, True):
        settings = TrainingArguments(per_device_train_batch_size=8, group_by_length=grouped)
        run = Trainer(model, data, settings, tmp_path)
        numbers = [run._examples(number) for number in range(8)]
        assert sorted(np.concatenate(numbers).tolist()) == list(range(64))
        spreads[grouped] = np.mean([np.ptp(data.lengths[batch]) for batch in numbers])
    assert spreads[True] < spreads[False] / 4


def test_a_run_goes_on_from_its_own_start_alone(folder: Path, tmp_path: Path) -> None:
    trainer(folder, tmp_path / "run").train()
    model = BertForMaskedLM.from_pretrained(folder)
    arrays = {name: np.array(array) for name, array in model.named_parameters()}
    arrays["cls.predictions.bias"][3] += 1.0
    data = MaskedTexts(TEXTS, BertTokenizer.from_pretrained(folder), probability=0.4)
    settings = TrainingArguments(**SETTINGS)
    with pytest.raises(TrainingError, match=r"another run's checkpoint .model was"):
        Trainer(model.with_parameters(arrays), data, settings, tmp_path / "run").train()
    for also in ({"labels": "a b"}, {"labels": "c d"}):
        place = tmp_path / "also"
        run = Trainer(model, data, settings, place, also=also)
        if also["labels"] == "a b":
            run.train()
        else:
            with pytest.raises(TrainingError, match="labels was 'a b', now 'c d'"):
                run.train()


def test_the_best_weights_that_are_gone_are_missed(folder: Path, tmp_path: Path) -> None:
    def run() -> Any:
        return trainer(folder, tmp_path, evaluate=lambda _: 1.0, eval_steps=3).train()

    run()
    (tmp_path / BEST).unlink()
    with pytest.raises(CheckpointError, match=re.escape(BEST)):
        run()


def bits_of(run: Path, model: Any) -> tuple[bytes, list[dict[str, Any]], dict[str, bytes]]:
    weights = {name: array.tobytes() for name, array in model.named_parameters()}
    return (run / CHECKPOINT).read_bytes(), log_of(run), weights


def loss_of(model: BertForMaskedLM) -> float:
    return -(model([[2, 5, 3]], labels=[[-100, 4, -100]]).loss or 0.0)


@pytest.mark.parametrize("place", ["_take", "_rate", "_after", "_judge", "_is_stopped", "_save"])
@pytest.mark.parametrize(("call", "every"), [(1, None), (1, 2), (3, 2)])
def test_a_call_after_an_interruption_has_the_bits_of_a_fresh_run(
    folder: Path,
    tmp_path: Path,
    place: str,
    call: int,
    every: int | None,
    undisturbed: Undisturbed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changes = {"save_steps": 500, "eval_steps": every, "evaluate": loss_of}
    fresh = undisturbed(**changes)
    run = trainer(folder, tmp_path / "run", **changes)
    real, calls = getattr(Trainer, place), []

    def interrupting(self: Any, *arguments: Any) -> Any:
        calls.append(place)
        if len(calls) == call:
            raise KeyboardInterrupt
        return real(self, *arguments)

    monkeypatch.setattr(Trainer, place, interrupting)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    monkeypatch.undo()
    assert bits_of(tmp_path / "run", run.train()) == bits_of(*fresh)


def test_an_interruption_within_the_optimizer_leaves_nothing_behind(
    folder: Path, tmp_path: Path, undisturbed: Undisturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = undisturbed()
    run, real, calls = trainer(folder, tmp_path / "run"), AdamW._move, []

    def interrupting(self: Any, *arguments: Any) -> None:
        calls.append(0)
        if len(calls) == 90:  # in the middle of a step, after the first checkpoint
            raise KeyboardInterrupt
        real(self, *arguments)

    monkeypatch.setattr(AdamW, "_move", interrupting)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    monkeypatch.undo()
    assert bits_of(tmp_path / "run", run.train()) == bits_of(*fresh)


def test_a_finished_run_whose_checkpoint_is_gone_is_run_anew(folder: Path, tmp_path: Path) -> None:
    run = trainer(folder, tmp_path, evaluate=loss_of)
    first = run.train()
    bits = bits_of(tmp_path, first)
    (tmp_path / CHECKPOINT).unlink()
    second = run.train()
    assert bits_of(tmp_path, second) == bits
    assert bits_of(tmp_path, first) == bits  # what was returned is not trained further
    assert bits_of(tmp_path, run.train()) == bits  # nor is a run that has ended


def test_a_call_after_an_error_has_the_bits_of_a_fresh_run(
    folder: Path, tmp_path: Path, undisturbed: Undisturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = undisturbed(save_steps=500)
    run, real, calls = trainer(folder, tmp_path / "run", save_steps=500), global_norm, []

    def infinite(gradients: Any) -> float:
        calls.append(0)
        return float("inf") if len(calls) == 3 else real(gradients)

    monkeypatch.setattr(fit, "global_norm", infinite)
    with pytest.raises(TrainingError, match="step 3: a gradient is not finite"):
        run.train()
    assert bits_of(tmp_path / "run", run.train()) == bits_of(*fresh)


def test_the_shortest_run_learns(folder: Path, tmp_path: Path) -> None:
    model = BertForMaskedLM.from_pretrained(folder)
    data = MaskedTexts(TEXTS, BertTokenizer.from_pretrained(folder))
    trained = Trainer(model, data, TrainingArguments(max_steps=1), tmp_path).train()
    before = dict(model.named_parameters())
    assert all(not np.array_equal(a, before[n]) for n, a in trained.named_parameters())
    assert TrainingArguments().warmup_of(1000) == 0


@pytest.mark.parametrize(
    "changes", [{"warmup_steps": 0.1}, {"warmup_steps": 5}, {"learning_rate": 0.0}]
)
def test_a_run_that_would_learn_nothing_is_refused(
    folder: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(
        InputError, match=r"learning_rate = .*, warmup_steps = .* every step \(1 in"
    ):
        trainer(folder, tmp_path / "run", max_steps=1, **changes)
    assert not (tmp_path / "run").exists()
    if "warmup_steps" in changes:
        trainer(folder, tmp_path / "run", max_steps=2, **changes).train()


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([NAN, 0.5, 0.2], 1),
        ([INF, 0.5, NAN], 1),
        ([-INF, -7.0, -INF], 1),
        ([0.1, NAN, 0.3], 2),
        ([0.3, NAN, 0.1], 0),
    ],
)
def test_an_evaluation_that_is_no_number_is_never_the_best(
    folder: Path, tmp_path: Path, scores: list[float], best: int
) -> None:
    seen: list[Any] = []

    def evaluate(model: BertForMaskedLM) -> float:
        seen.append(model)
        return scores[len(seen) - 1]

    trained = trainer(folder, tmp_path, eval_steps=1, max_steps=3, evaluate=evaluate).train()
    # The models that were judged are as they were then.
    assert len({model.head.cls.predictions.bias.tobytes() for model in seen}) == 3
    wanted = dict(seen[best].named_parameters())
    assert all(np.array_equal(array, wanted[name]) for name, array in trained.named_parameters())
    text = (tmp_path / LOG).read_text("utf-8")
    lines = [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]
    logged = [line["evaluation"] for line in lines if "evaluation" in line]
    assert logged == [score if np.isfinite(score) else None for score in scores]


def test_without_any_finite_evaluation_the_last_weights_are_kept(
    folder: Path, tmp_path: Path
) -> None:
    plain = trainer(folder, tmp_path / "plain").train()
    with pytest.warns(UserWarning, match="no finite number in the whole run; .* last weights"):
        trained = trainer(folder, tmp_path / "run", eval_steps=2, evaluate=lambda _: NAN).train()
    wanted = dict(plain.named_parameters())
    assert all(np.array_equal(array, wanted[name]) for name, array in trained.named_parameters())
    assert not (tmp_path / "run" / BEST).exists()
    run = trainer(
        folder, tmp_path / "ends", eval_steps=1, early_stopping_patience=2, evaluate=lambda _: NAN
    )
    with pytest.warns(UserWarning, match="no finite number"):
        run.train()
    assert log_of(tmp_path / "ends")[-1] == {"step": 2, "evaluation": None}
    with pytest.raises(InputError, match=r"evaluate must return a number, .*; got a NoneType"):
        trainer(folder, tmp_path / "none", evaluate=lambda _: None).train()


def test_a_run_that_ended_early_goes_no_further(folder: Path, tmp_path: Path) -> None:
    def run() -> Any:
        return trainer(
            folder,
            tmp_path,
            eval_steps=1,
            early_stopping_patience=2,
            evaluate=lambda _: 1.0,
        )

    first = run().train()
    bits = bits_of(tmp_path, first)
    assert log_of(tmp_path)[-1]["step"] == 3
    assert bits_of(tmp_path, run().train()) == bits


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("hidden_dropout_prob", 0.3),
        ("attention_probs_dropout_prob", 0.0),
        ("num_attention_heads", 2),
        ("hidden_act", "relu"),
        ("layer_norm_eps", 1e-5),
        ("problem_type", "regression"),
        ("classifier_dropout", 0.5),
        ("pad_token_id", None),
        ("labels", ("A", "B", "C", "D", "E")),
    ],
)
def test_a_run_does_not_go_on_with_another_config(
    folder: Path, tmp_path: Path, change: str, value: Any
) -> None:
    def run(config: Any, joint: bool) -> Any:
        model = BertForMaskedLM.from_pretrained(folder)
        bert = BertModel(config, model.bert.parameters, model.loading_info)
        words = BertForMaskedLM(bert, model.head, folder)
        data = MaskedTexts(TEXTS, BertTokenizer.from_pretrained(folder), probability=0.4)
        settings = TrainingArguments(**{**SETTINGS, "max_steps": 1})
        if joint:
            both = JointModel({"words": words}), JointData({"words": data})
            return Trainer(*both, settings, tmp_path / "joint")
        return Trainer(words, data, settings, tmp_path / "alone")

    config = BertForMaskedLM.from_pretrained(folder).config
    for joint, place in ((False, tmp_path / "alone"), (True, tmp_path / "joint")):
        run(config, joint).train()
        kept = {path.name: path.read_bytes() for path in place.iterdir()}
        name = f"words.config.{change}" if joint else f"config.{change}"
        with pytest.raises(TrainingError, match=rf"another run's checkpoint \({name} was"):
            run(replace(config, **{change: value}), joint).train()
        assert {path.name: path.read_bytes() for path in place.iterdir()} == kept


def test_a_run_does_not_go_on_with_another_metric(folder: Path, tmp_path: Path) -> None:
    def judge(by: str) -> Any:
        history = []

        def evaluate(model: BertForMaskedLM) -> float:
            history.append(model)  # what a call changes makes no other metric
            return loss_of(model) if by == "loss" else -loss_of(model)

        return evaluate

    def run(evaluate: Any) -> Any:
        return trainer(folder, tmp_path, max_steps=2, evaluate=evaluate)

    first = judge("loss")
    run(first).train()
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    run(first).train()
    run(judge("loss")).train()
    for other in (judge("accuracy"), loss_of, lambda _: 1.0, None):
        with pytest.raises(TrainingError, match=r"checkpoint \(evaluate was "):
            run(other).train()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_a_used_run_pickles_to_the_same_size(folder: Path, tmp_path: Path) -> None:
    model = BertForMaskedLM.from_pretrained(folder)
    data = MaskedTexts(TEXTS * 1000, BertTokenizer.from_pretrained(folder))
    run = Trainer(model, data, TrainingArguments(max_steps=1), tmp_path)
    size = len(pickle.dumps(run))
    run.train()
    assert len(pickle.dumps(run)) == size


class Faulty(Exception):
    pass


def test_an_evaluation_that_fails_loses_no_step(folder: Path, tmp_path: Path) -> None:
    def broken(_: Any) -> float:
        raise Faulty

    changes = {"eval_steps": 3, "save_steps": 500}
    whole = trainer(folder, tmp_path / "whole", evaluate=loss_of, **changes).train()
    run = tmp_path / "run"
    for wrong, error in ((broken, Faulty), (lambda _: None, InputError)):
        with pytest.raises(error):
            trainer(folder, run, evaluate=wrong, **changes).train()
        assert (run / CHECKPOINT).exists()
        assert log_of(run)[-1]["step"] == 3
    mended = trainer(folder, run, evaluate=loss_of, **changes).train()
    assert bits_of(run, mended) == bits_of(tmp_path / "whole", whole)
    assert (run / BEST).read_bytes() == (tmp_path / "whole" / BEST).read_bytes()


@pytest.mark.parametrize("place", ["write_best", "write_state"])
@pytest.mark.parametrize("after", [False, True])
def test_a_run_that_ends_around_an_evaluation_keeps_the_model_that_was_judged_best(
    folder: Path, tmp_path: Path, place: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = {2: 0.1, 4: 0.9, 6: 0.3, 7: 0.2}
    changes = {"eval_steps": 2, "save_steps": 500}

    def judging(run: Trainer[Any], judged: list[int]) -> Any:
        def evaluate(_: Any) -> float:
            judged.append(run._optimizer.steps)
            return scores[judged[-1]]

        run._evaluate = evaluate
        return run

    every = list[int]()
    whole = judging(trainer(folder, tmp_path / "whole", evaluate=loss_of, **changes), every).train()
    assert every == [2, 4, 6, 7]
    real = getattr(fit, place)
    for call in (1, 2):
        calls, judged = list[int](), list[int]()

        def interrupting(*arguments: Any, call: int = call, calls: list[int] = calls) -> None:
            calls.append(0)
            if after:
                real(*arguments)
            if len(calls) == call:
                raise KeyboardInterrupt
            if not after:
                real(*arguments)

        run = judging(trainer(folder, tmp_path / str(call), evaluate=loss_of, **changes), judged)
        monkeypatch.setattr(fit, place, interrupting)
        with pytest.raises(KeyboardInterrupt):
            run.train()
        monkeypatch.undo()
        bits = bits_of(tmp_path / str(call), run.train())
        assert bits == bits_of(tmp_path / "whole", whole)
        if place == "write_best" and after:
            assert judged == every  # what was judged and kept is not judged again
        bests = [(tmp_path / name / BEST).read_bytes() for name in ("whole", str(call))]
        assert bests[0] == bests[1]


def test_a_file_that_no_run_wrote_is_neither_deleted_nor_replaced(
    folder: Path, tmp_path: Path
) -> None:
    for name, content in (("a", b"mine"), ("b", (folder / "model.safetensors").read_bytes())):
        place = tmp_path / name
        place.mkdir()
        (place / BEST).write_bytes(content)
        with pytest.raises(OutputError, match=r"best\.safetensors: no run wrote it"):
            trainer(folder, place, evaluate=loss_of).train()
        trainer(folder, place).train()
        assert (place / BEST).read_bytes() == content
        (place / CHECKPOINT).unlink()
        (place / LOG).write_bytes(content)
        with pytest.raises(OutputError, match=r"log\.jsonl: no run wrote its line 1"):
            trainer(folder, place).train()
        assert (place / LOG).read_bytes() == content
        assert not (place / CHECKPOINT).exists()


@pytest.mark.parametrize("wrong", ["0.5", b"1", "one", None, 1j, [1.0]])
def test_what_is_no_number_is_no_evaluation(folder: Path, tmp_path: Path, wrong: Any) -> None:
    run = trainer(folder, tmp_path, max_steps=1, evaluate=lambda _: wrong)
    with pytest.raises(
        InputError, match=f"evaluate must return a number, .*; got a {type(wrong).__name__}"
    ):
        run.train()


def test_a_number_beyond_float64_is_infinite(folder: Path, tmp_path: Path) -> None:
    run = trainer(folder, tmp_path, max_steps=1, evaluate=lambda _: 10**400)
    with pytest.warns(UserWarning, match="no finite number"):
        run.train()
    assert log_of(tmp_path)[-1] == {"step": 1, "evaluation": None}


def test_what_was_told_is_named_before_what_is_a_hash(folder: Path, tmp_path: Path) -> None:
    model, settings = BertForMaskedLM.from_pretrained(folder), TrainingArguments(max_steps=1)
    tokenizer = BertTokenizer.from_pretrained(folder)

    def run(length: int) -> Any:
        data, also = MaskedTexts(TEXTS, tokenizer, max_length=length), {"max_length": length}
        return Trainer(model, data, settings, tmp_path, also=also, evaluate=lambda m: len(data))

    run(9).train()
    with pytest.raises(TrainingError, match=r"checkpoint \(max_length was 9, now 10\)"):
        run(10).train()


def test_what_else_a_run_has_in_common_is_json(folder: Path, tmp_path: Path) -> None:
    model = BertForMaskedLM.from_pretrained(folder)
    data = MaskedTexts(TEXTS, BertTokenizer.from_pretrained(folder))
    settings = TrainingArguments(max_steps=1)

    def run(also: Any) -> Any:
        return Trainer(model, data, settings, tmp_path, also=also).train()

    run({"held": ("a", 1)})
    run({"held": ("a", 1)})  # which a file gives back as a list
    for wrong in ({"held": {1}}, {"held": NAN}):
        with pytest.raises(InputError, match="also: held must be a JSON value"):
            run(wrong)
    for names in ({1: 2}, ["held"], "held", {None: 1}):
        with pytest.raises(InputError, match="also must be a mapping of names"):
            run(names)
    for own in ("seed", "data", "config.hidden_act"):
        with pytest.raises(InputError, match=f"also: {own} is a name that the run has itself"):
            run({own: 5})


def test_a_checkpoint_of_another_version_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "_CONTRACT", "numpy_bert.training/1")
    trainer(folder, tmp_path).train()
    monkeypatch.undo()
    with pytest.raises(TrainingError, match="was written by another version of numpy_bert"):
        trainer(folder, tmp_path).train()
