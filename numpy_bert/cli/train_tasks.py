"""What each task of ``numpy-bert train`` trains, on what, and how it is judged."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy_bert.cli.console import naming, note
from numpy_bert.cli.source import source_options
from numpy_bert.encoding.encoder import SentenceEncoder
from numpy_bert.errors import InputError
from numpy_bert.loading.cache import MODEL_FILES
from numpy_bert.loading.hub import find
from numpy_bert.loading.sentence import find_sentence_model
from numpy_bert.messages import quoted
from numpy_bert.model.bert import BertModel
from numpy_bert.model.masked_lm import BertForMaskedLM
from numpy_bert.model.pretraining import BertForPreTraining
from numpy_bert.model.sequences import BertForSequenceClassification
from numpy_bert.text.tokenizer import BertTokenizer
from numpy_bert.training.data import LabelledTexts, MaskedTexts, TaughtTexts, TrainingData
from numpy_bert.training.evaluation import (
    accuracy,
    masked_scores,
    regression_scores,
    sentence_correlation,
)
from numpy_bert.training.files import (
    LabelledRows,
    read_documents,
    read_labelled,
    read_scored,
    read_texts,
)
from numpy_bert.training.heads import new_classifier
from numpy_bert.training.next_sentence import SentencePairs
from numpy_bert.training.sources import is_table
from numpy_bert.training.student import SentenceStudent
from numpy_bert.training.targets import REGRESSION, SINGLE, targets_of
from numpy_bert.training.weights import fingerprint

__all__ = ["TASKS", "Task", "options_named"]

_SEVERAL = "multi_label_classification"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A model and what it is trained on.

    Attributes
    ----------
    model : a trainable model
        As it is before.
    data : TrainingData
        The examples.
    evaluate : callable or None
        Takes the model and returns a number of which more is better.
    report : callable or None
        Takes the model and says in a line how good it is.
    also : dict
        What the command was told that makes another run of it, by the arguments' names.
    """

    model: Any
    data: TrainingData
    evaluate: Callable[[Any], float] | None = None
    report: Callable[[Any], str] | None = None
    also: dict[str, Any] = field(default_factory=dict)


# How the library calls what is an option here: in its messages, and in what it returns to be told.
_OPTIONS = (
    (re.compile(r"\bproblem_type='(\w+)'"), r"--problem-type \1"),
    (re.compile(r"\(column=\)"), "(--text-column)"),
)


def _by_option(message: str) -> str:
    """Name the options of the command where a message names the library's arguments."""
    for pattern, option in _OPTIONS:
        message = pattern.sub(option, message)
    return message


@contextmanager
def options_named() -> Iterator[None]:
    """Let what is wrong with the data be told by the names of the command's options."""
    try:
        yield
    except InputError as failure:
        raise InputError(_by_option(str(failure))) from None


def _limit(options: argparse.Namespace, model: Any) -> int:
    """Return how many tokens of a text are read."""
    return min(int(options.max_length), int(model.config.max_position_embeddings))


def _texts(options: argparse.Namespace, file: str) -> list[str]:
    """Read texts, from a line each or from the column of a table."""
    path = Path(file)
    column = options.text_column if is_table(path) else None
    texts = read_texts(path, column)
    if is_table(path):
        note(f"{file}: {len(texts)} texts of the column {quoted(column or 'text')}")
    return texts


def _column(options: argparse.Namespace, *files: str | None) -> str | None:
    """Return the column of the texts as a table is asked for it, None where there is no table."""
    tables = any(file is not None and is_table(Path(file)) for file in files)
    return (options.text_column or "text").strip().lower() if tables else None


def _masked(options: argparse.Namespace, name: str) -> Task:
    """Return a model that guesses words; with --next-sentence also whether a text follows."""
    source = source_options(options)
    tokenizer = BertTokenizer.from_pretrained(name, **source)
    kind = BertForPreTraining if options.next_sentence else BertForMaskedLM
    model: Any = kind.from_pretrained(name, dtype=options.dtype, **source)
    limits = {"max_length": _limit(options, model), "whole_words": options.whole_words}
    also = {
        "next_sentence": options.next_sentence,
        "text_column": _column(options, options.data, options.eval_data),
        **limits,
    }

    def read(file: str) -> MaskedTexts | SentencePairs:
        with naming(file):
            if options.next_sentence:
                return SentencePairs(read_documents(Path(file)), tokenizer, **limits)
            return MaskedTexts(_texts(options, file), tokenizer, **limits)

    data = read(options.data)
    if options.eval_data is None:
        return Task(model=model, data=data, also=also)
    held = read(options.eval_data)

    def evaluate(model: Any) -> float:
        return -masked_scores(model, held, batch_size=options.batch_size, seed=options.seed).loss

    def report(model: Any) -> str:
        found = masked_scores(model, held, batch_size=options.batch_size, seed=options.seed)
        follows = found.next_sentence
        return (
            f"loss on {options.eval_data}: {found.loss:.4f}; {100 * found.accuracy:.1f} % of "
            f"{found.tokens} masked tokens right (always the most frequent: "
            f"{100 * found.most_frequent:.1f} %)"
            + ("" if follows is None else f"; next sentence: {100 * follows:.1f} % right")
        )

    return Task(model=model, data=data, evaluate=evaluate, report=report, also=also)


def _labelled(options: argparse.Namespace, name: str) -> Task:
    """Return a new classifier that learns the labels of a table."""
    column, source = options.text_column or "text", source_options(options)
    tokenizer = BertTokenizer.from_pretrained(name, **source)
    rows = read_labelled(Path(options.data), column)
    targets = targets_of(rows.labels, options.data, options.problem_type)
    bert = BertModel.from_pretrained(name, dtype=options.dtype, **source)
    if options.problem_type is None and bert.config.problem_type == _SEVERAL:
        raise InputError(
            f"{name}: its problem_type is {_SEVERAL}, which is not trained here; --problem-type "
            f"{SINGLE} trains a new classifier over it, of one label a text."
        )

    def encoded(table: LabelledRows, values: Any, file: str) -> LabelledTexts:
        with naming(file):
            return LabelledTexts(table.texts, values, tokenizer, max_length=_limit(options, bert))

    data = encoded(rows, targets.values, options.data)
    note(f"{options.data}: {_by_option(targets.note)}")
    model = new_classifier(
        bert,
        targets.names,
        find(name, needs=MODEL_FILES, **source),
        seed=options.seed,
        problem_type=targets.problem_type,
    )
    also = {
        "problem_type": targets.problem_type,
        "text_column": _column(options, options.data),
        "max_length": _limit(options, bert),
    }
    if options.eval_data is None:
        return Task(model=model, data=data, also=also)
    held = read_labelled(Path(options.eval_data), column)
    texts = encoded(held, targets.of(held.labels, options.eval_data), options.eval_data)
    judge = _judge_numbers if targets.problem_type == REGRESSION else _judge_classes
    return replace(judge(model, data, texts, options.eval_data), also=also)


def _judge_classes(
    model: BertForSequenceClassification, data: LabelledTexts, held: LabelledTexts, file: str
) -> Task:
    """Return a classifier that is judged by how many of its labels are right."""

    def evaluate(model: BertForSequenceClassification) -> float:
        return accuracy(model, held)

    def report(model: BertForSequenceClassification) -> str:
        return f"right of {file}: {100 * evaluate(model):.1f} %"

    return Task(model=model, data=data, evaluate=evaluate, report=report)


def _judge_numbers(
    model: BertForSequenceClassification, data: LabelledTexts, held: LabelledTexts, file: str
) -> Task:
    """Return a regression that is judged by its mean squared error, of which less is better."""

    def evaluate(model: BertForSequenceClassification) -> float:
        return -regression_scores(model, held).mse

    def report(model: BertForSequenceClassification) -> str:
        found = regression_scores(model, held)
        if found.pearson is None or found.spearman is None:
            follows = "no correlation, since all are equal"
        else:
            follows = f"Pearson {found.pearson:.4f}, Spearman {found.spearman:.4f}"
        return f"mean squared error on {file}: {found.mse:.4f}; {follows}"

    return Task(model=model, data=data, evaluate=evaluate, report=report)


def _taught(options: argparse.Namespace, name: str) -> Task:
    """Return a student whose sentence vectors learn to follow a teacher's."""
    if options.teacher is None:
        raise InputError("--teacher: name the model whose vectors are to be followed.")
    texts, held = _texts(options, options.data), None
    if options.eval_data is not None:
        held = read_scored(Path(options.eval_data))
    source = source_options(options)
    folder = find_sentence_model(name, **source)
    # A revision is one of the student's.
    teacher = SentenceEncoder.from_pretrained(
        options.teacher, dtype=options.dtype, **{**source, "revision": None}
    )
    note(f"the vectors of {options.teacher} for {len(texts)} texts")
    with naming(options.teacher):
        vectors = teacher.encode(texts)
    model = SentenceStudent.from_folder(
        folder, vectors.shape[1], dtype=options.dtype, seed=options.seed
    )
    # It may lie in a folder of its own, with the Transformer of a sentence model.
    tokenizer = BertTokenizer.from_pretrained(model.folder)
    known = fingerprint(teacher.model)
    limit = min(_limit(options, model), model.encoder(tokenizer).max_seq_length)
    read = list(map(model.setup.prepared, texts))
    with naming(options.data):
        data = TaughtTexts(read, vectors, tokenizer, max_length=limit, teacher=known)
    also = {
        "teacher": known[:12],
        "text_column": _column(options, options.data),
        "max_length": limit,
    }
    if held is None:
        return Task(model=model, data=data, also=also)
    pairs, scores = held.texts, held.scores

    def evaluate(model: SentenceStudent) -> float:
        return sentence_correlation(model.encoder(tokenizer), pairs, scores)

    before, taught = evaluate(model), sentence_correlation(teacher, pairs, scores)

    def report(model: SentenceStudent) -> str:
        return (
            f"Spearman on {options.eval_data}: {evaluate(model):.4f} (before: {before:.4f}, "
            f"the teacher: {taught:.4f})"
        )

    return Task(model=model, data=data, evaluate=evaluate, report=report, also=also)


TASKS: dict[str, Callable[[argparse.Namespace, str], Task]] = {
    "mlm": _masked,
    "classify": _labelled,
    "sentence": _taught,
}
