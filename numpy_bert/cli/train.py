"""``numpy-bert train``: a model trained further, on texts or on a table with labels."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from numpy_bert.cli.console import note, show
from numpy_bert.cli.source import model_name
from numpy_bert.cli.train_tasks import TASKS, options_named
from numpy_bert.errors import InputError, OutputError
from numpy_bert.files import write_atomically
from numpy_bert.loading.integrity import sha256
from numpy_bert.text.tokenizer_config import tokenizer_files
from numpy_bert.training.arguments import TrainingArguments
from numpy_bert.training.fit import CHECKPOINT, Trainer
from numpy_bert.training.sources import is_table
from numpy_bert.training.student import SentenceStudent

__all__ = ["run"]

# Arguments of one task alone.
_OWN = {
    "mlm": ("whole_words", "next_sentence"),
    "classify": ("problem_type",),
    "sentence": ("teacher",),
}


def run(options: argparse.Namespace) -> int:
    """Train, and save the model in the folder of the run."""
    folder = Path(options.output)
    arguments = _arguments(options)
    with options_named():
        task = TASKS[options.task](options, model_name(options))
    tokenizer = tokenizer_files(task.model.folder)
    _check_folder(folder, task.model, tokenizer)
    note(f"{len(task.data)} examples, {arguments.steps_of(len(task.data))} steps")
    evaluation = None if options.eval_data is None else sha256(Path(options.eval_data))
    also = {**task.also, "evaluation": evaluation}
    trainer = Trainer(task.model, task.data, arguments, folder, evaluate=task.evaluate, also=also)
    trained = trainer.train()
    for file, content in tokenizer.items():
        write_atomically(folder / file, content)
    trained.save_pretrained(folder, force=True)
    if task.report is not None:
        show(task.report(trained))
    note(f"saved {folder}")
    return 0


def _check_folder(folder: Path, model: Any, tokenizer: Iterable[str]) -> None:
    """Refuse a folder in which files of something else than a run would be replaced."""
    if (folder / CHECKPOINT).exists():
        return  # of a run, or the run says that it is of none
    names = ["model.safetensors", "config.json", *tokenizer]
    if isinstance(model, SentenceStudent):
        names += model.files()
    for name in names:
        if (folder / name).exists() or (folder / name).is_symlink():
            raise OutputError(
                f"{folder}: holds {name}, which this command did not write and would replace; name "
                "another folder."
            )


def _arguments(options: argparse.Namespace) -> TrainingArguments:
    """Return the settings of the run."""
    for task, given in _OWN.items():
        for name in given:
            if options.task != task and getattr(options, name):
                raise InputError(f"--{name.replace('_', '-')}: is for {task}.")
    files = [options.data]
    if options.task == "mlm" and options.eval_data is not None:
        files.append(options.eval_data)
    has_table = options.task == "classify" or any(is_table(Path(file)) for file in files)
    if options.text_column is not None and not has_table:
        raise InputError(
            "--text-column: is for a table (.csv, .tsv); of other files each line is a text."
        )
    if options.eval_data is None and (options.eval_steps or options.patience):
        raise InputError("--eval-steps, --patience: need --eval-data.")
    return TrainingArguments(
        learning_rate=options.learning_rate,
        train_batch_size=options.batch_size,
        gradient_accumulation_steps=options.accumulate,
        num_train_epochs=options.epochs,
        max_steps=options.max_steps,
        warmup_steps=options.warmup,
        weight_decay=options.weight_decay,
        max_grad_norm=options.max_grad_norm,
        group_by_length=options.group_by_length,
        save_steps=options.save_steps,
        eval_steps=options.eval_steps,
        early_stopping_patience=options.patience,
        seed=options.seed,
    )
