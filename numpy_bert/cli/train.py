"""``numpy-bert train``: a model trained further, on texts or on a table with labels."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from numpy_bert.cli.console import note, show
from numpy_bert.cli.source import model_name, source_options
from numpy_bert.errors import InputError, OutputError
from numpy_bert.files import listed, write_atomically
from numpy_bert.loading.cache import MODEL_FILES
from numpy_bert.loading.hub import find
from numpy_bert.model.bert import BertModel
from numpy_bert.model.masked_lm import BertForMaskedLM
from numpy_bert.text.tokenizer import BertTokenizer
from numpy_bert.training.arguments import TrainingArguments
from numpy_bert.training.data import LabelledTexts, MaskedTexts
from numpy_bert.training.files import label_numbers, read_labelled, read_texts
from numpy_bert.training.fit import CHECKPOINT, Trainer
from numpy_bert.training.heads import new_classifier

__all__ = ["run"]

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json")
_LEAST_LABELS = 2


def run(options: argparse.Namespace) -> int:
    """Train, and save the model in the folder of the run."""
    folder = Path(options.output)
    if (folder / "model.safetensors").exists() and not (folder / CHECKPOINT).exists():
        raise OutputError(f"{folder}: holds a model that this command did not make; name another.")
    arguments = _arguments(options)
    name = model_name(options)
    source = source_options(options)
    tokenizer = BertTokenizer.from_pretrained(name, **source)
    prepare = _masked if options.task == "mlm" else _labelled
    model, data, evaluate = prepare(options, name, tokenizer, source)
    note(f"{len(data)} texts, {arguments.steps_of(len(data))} steps")
    trained = Trainer(model, data, arguments, folder, evaluate=evaluate).train()
    _copy_tokenizer(trained.folder, folder)
    trained.save_pretrained(folder, force=True)
    if evaluate is not None:
        what = "loss on" if options.task == "mlm" else "right of"
        score = abs(evaluate(trained))
        shown = f"{score:.4f}" if options.task == "mlm" else f"{100 * score:.1f} %"
        show(f"{what} {options.eval_data}: {shown}")
    note(f"saved {folder}")
    return 0


def _arguments(options: argparse.Namespace) -> TrainingArguments:
    """Return the settings of the run."""
    if options.eval_data is None and (options.eval_steps or options.patience):
        raise InputError("--eval-steps, --patience: need --eval-data.")
    return TrainingArguments(
        learning_rate=options.learning_rate,
        train_batch_size=options.batch_size,
        gradient_accumulation_steps=options.accumulate,
        num_train_epochs=options.epochs,
        max_steps=options.max_steps,
        warmup_ratio=options.warmup,
        weight_decay=options.weight_decay,
        max_grad_norm=options.max_grad_norm,
        save_steps=options.save_steps,
        eval_steps=options.eval_steps,
        early_stopping_patience=options.patience,
        seed=options.seed,
    )


_Prepared = tuple[Any, MaskedTexts | LabelledTexts, Callable[[Any], float] | None]


def _masked(
    options: argparse.Namespace, name: str, tokenizer: BertTokenizer, source: dict[str, Any]
) -> _Prepared:
    """Return a masked language model, its texts, and how it is judged: by less loss."""
    settings = {"max_length": options.max_length, "whole_words": options.whole_words}
    data = MaskedTexts(read_texts(Path(options.data)), tokenizer, **settings)
    evaluate = None
    if options.eval_data is not None:
        held = MaskedTexts(read_texts(Path(options.eval_data)), tokenizer, **settings)

        def evaluate(model: BertForMaskedLM) -> float:
            size, losses = options.batch_size, []
            for start in range(0, len(held), size):
                rng = np.random.default_rng([options.seed, start])  # the same masks each time
                numbers = np.arange(start, min(start + size, len(held)))
                losses.append(float(model(**held.batch(numbers, rng)).loss or 0.0))
            return -float(np.mean(losses))

    model = BertForMaskedLM.from_pretrained(name, dtype=options.dtype, **source)
    return model, data, evaluate


def _labelled(
    options: argparse.Namespace, name: str, tokenizer: BertTokenizer, source: dict[str, Any]
) -> _Prepared:
    """Return a new classifier, its texts, and how it is judged: by how many are right."""
    if options.whole_words:
        raise InputError("--whole-words: is for mlm.")
    rows = read_labelled(Path(options.data))
    names = tuple(sorted(set(rows.labels)))
    if len(names) < _LEAST_LABELS:
        raise InputError(f"{options.data}: has one label, {listed(names)}; two were expected.")
    numbers = label_numbers(rows.labels, names, options.data)
    data = LabelledTexts(rows.texts, numbers, tokenizer, max_length=options.max_length)
    evaluate = None
    if options.eval_data is not None:
        held = read_labelled(Path(options.eval_data))
        wanted = np.array(label_numbers(held.labels, names, options.eval_data))
        texts = LabelledTexts(held.texts, wanted.tolist(), tokenizer, max_length=options.max_length)

        def evaluate(model: Any) -> float:
            size, right = max(options.batch_size, 32), 0
            for start in range(0, len(wanted), size):
                numbers = np.arange(start, min(start + size, len(wanted)))
                batch = texts.batch(numbers, np.random.default_rng(0))
                right += int((model(**batch).logits.argmax(axis=1) == wanted[numbers]).sum())
            return right / len(wanted)

    bert = BertModel.from_pretrained(name, dtype=options.dtype, **source)
    model = new_classifier(bert, names, find(name, needs=MODEL_FILES, **source), seed=options.seed)
    return model, data, evaluate


def _copy_tokenizer(source: Path, folder: Path) -> None:
    """Put the tokenizer's files beside the model."""
    for name in _TOKENIZER:
        if (source / name).is_file():
            write_atomically(folder / name, (source / name).read_bytes())
