"""What each task of ``numpy-bert train`` trains, on what, and how it is judged."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy_bert.cli.console import note
from numpy_bert.cli.source import source_options
from numpy_bert.encoding.encoder import SentenceEncoder
from numpy_bert.errors import InputError
from numpy_bert.files import listed
from numpy_bert.loading.cache import MODEL_FILES
from numpy_bert.loading.hub import find
from numpy_bert.loading.sentence import find_sentence_model
from numpy_bert.model.bert import BertModel
from numpy_bert.model.masked_lm import BertForMaskedLM
from numpy_bert.model.pretraining import BertForPreTraining
from numpy_bert.model.sequences import BertForSequenceClassification
from numpy_bert.text.tokenizer import BertTokenizer
from numpy_bert.training.data import LabelledTexts, MaskedTexts, TaughtTexts, TrainingData
from numpy_bert.training.evaluation import accuracy, masked_scores, sentence_correlation
from numpy_bert.training.files import (
    label_numbers,
    read_documents,
    read_labelled,
    read_scored,
    read_texts,
)
from numpy_bert.training.heads import new_classifier
from numpy_bert.training.next_sentence import SentencePairs
from numpy_bert.training.student import SentenceStudent
from numpy_bert.training.weights import fingerprint

__all__ = ["TASKS", "Task"]

_LEAST_LABELS = 2


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
    """

    model: Any
    data: TrainingData
    evaluate: Callable[[Any], float] | None = None
    report: Callable[[Any], str] | None = None


def _limit(options: argparse.Namespace, model: Any) -> int:
    """Return how many tokens of a text are read."""
    return min(int(options.max_length), int(model.config.max_position_embeddings))


def _masked(options: argparse.Namespace, name: str, tokenizer: BertTokenizer) -> Task:
    """Return a model that guesses words; with --next-sentence also whether a text follows."""
    kind = BertForPreTraining if options.next_sentence else BertForMaskedLM
    model: Any = kind.from_pretrained(name, dtype=options.dtype, **source_options(options))

    def read(file: str) -> MaskedTexts | SentencePairs:
        limits = {"max_length": _limit(options, model), "whole_words": options.whole_words}
        if options.next_sentence:
            return SentencePairs(read_documents(Path(file)), tokenizer, **limits)
        return MaskedTexts(read_texts(Path(file)), tokenizer, **limits)

    data = read(options.data)
    if options.eval_data is None:
        return Task(model=model, data=data)
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

    return Task(model=model, data=data, evaluate=evaluate, report=report)


def _labelled(options: argparse.Namespace, name: str, tokenizer: BertTokenizer) -> Task:
    """Return a new classifier that learns the labels of a table."""
    rows = read_labelled(Path(options.data))
    names = tuple(sorted(set(rows.labels)))
    if len(names) < _LEAST_LABELS:
        raise InputError(f"{options.data}: has one label, {listed(names)}; two were expected.")
    numbers = label_numbers(rows.labels, names, options.data)
    source = source_options(options)
    bert = BertModel.from_pretrained(name, dtype=options.dtype, **source)
    data = LabelledTexts(rows.texts, numbers, tokenizer, max_length=_limit(options, bert))
    model = new_classifier(bert, names, find(name, needs=MODEL_FILES, **source), seed=options.seed)
    if options.eval_data is None:
        return Task(model=model, data=data)
    held = read_labelled(Path(options.eval_data))
    wanted = label_numbers(held.labels, names, options.eval_data)
    texts = LabelledTexts(held.texts, wanted, tokenizer, max_length=_limit(options, bert))

    def evaluate(model: BertForSequenceClassification) -> float:
        return accuracy(model, texts)

    def report(model: BertForSequenceClassification) -> str:
        return f"right of {options.eval_data}: {100 * evaluate(model):.1f} %"

    return Task(model=model, data=data, evaluate=evaluate, report=report)


def _taught(options: argparse.Namespace, name: str, tokenizer: BertTokenizer) -> Task:
    """Return a student whose sentence vectors learn to follow a teacher's."""
    if options.teacher is None:
        raise InputError("--teacher: name the model whose vectors are to be followed.")
    texts, held = read_texts(Path(options.data)), None
    if options.eval_data is not None:
        held = read_scored(Path(options.eval_data))
    source = source_options(options)
    folder = find_sentence_model(name, **source)
    # A revision is one of the student's.
    teacher = SentenceEncoder.from_pretrained(
        options.teacher, dtype=options.dtype, **{**source, "revision": None}
    )
    note(f"the vectors of {options.teacher} for {len(texts)} texts")
    vectors = teacher.encode(texts)
    model = SentenceStudent.from_folder(
        folder, vectors.shape[1], dtype=options.dtype, seed=options.seed
    )
    known, limit = fingerprint(teacher.model), _limit(options, model)
    data = TaughtTexts(texts, vectors, tokenizer, max_length=limit, teacher=known)
    if held is None:
        return Task(model=model, data=data)
    pairs, scores = held.texts, held.scores

    def evaluate(model: SentenceStudent) -> float:
        return sentence_correlation(model.encoder(tokenizer), pairs, scores)

    before, taught = evaluate(model), sentence_correlation(teacher, pairs, scores)

    def report(model: SentenceStudent) -> str:
        return (
            f"Spearman on {options.eval_data}: {evaluate(model):.4f} (before: {before:.4f}, "
            f"the teacher: {taught:.4f})"
        )

    return Task(model=model, data=data, evaluate=evaluate, report=report)


TASKS: dict[str, Callable[[argparse.Namespace, str, BertTokenizer], Task]] = {
    "mlm": _masked,
    "classify": _labelled,
    "sentence": _taught,
}
