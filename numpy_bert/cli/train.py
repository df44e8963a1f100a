"""``numpy-bert train``: a model trained further, on texts, pairs or a table with labels."""

from __future__ import annotations

import argparse
import math
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy_bert
from numpy_bert.cli.console import note, show
from numpy_bert.cli.options import (
    add_examples,
    add_model,
    add_source,
    count,
    model_name,
    natural,
    source_options,
)
from numpy_bert.errors import InputError
from numpy_bert.files import as_folder
from numpy_bert.messages import quoted, shown

if TYPE_CHECKING:
    from numpy_bert.training import (
        LabelledTexts,
        MaskedTexts,
        SentencePairs,
        SentenceStudent,
        TrainingArguments,
    )
    from numpy_bert.training.data import TrainingData

__all__ = ["add_arguments", "run"]

# The problem types of transformers, of which the last is not trained here.
_REGRESSION, _SINGLE = "regression", "single_label_classification"
_SEVERAL = "multi_label_classification"
_EXAMPLES = (
    "numpy-bert train classify --data reviews.csv -o reviews",
    "numpy-bert train pairs --data asked.csv --batch-size 32 -o asked",
    "numpy-bert train mlm --data texts.txt --eval-data others.txt -o mine",
)
# Options that are for one task alone, by the names of `argparse`.
_OPTIONS_OF = {
    "mlm": ("whole_words", "next_sentence"),
    "classify": ("problem_type",),
    "sentence": ("teacher",),
    "pairs": ("loss", "scale"),
}
# The losses of pairs, by sentence-transformers' names in the spelling of an option.
_RANKING, _COSENT, _COSINE = "multiple_negatives_ranking", "cosent", "cosine_similarity"
# How the library calls what is an option here: in its messages, and in what it returns to be told.
_NAMES = (
    (re.compile(r"\bproblem_type='(\w+)'"), r"--problem-type \1"),
    (re.compile(r"\(column=\)"), "(--text-column)"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command is for, and what it takes."""
    parser.description = (
        "Train a model further: 'mlm' on texts, a text a line or a column of a table, of which it "
        "has to guess masked words; 'classify' on a table with the columns text, label (and "
        "text_pair), from which it learns the labels, classes or numbers; 'sentence' on texts, "
        "whose vectors are to follow those of a teacher, such as a larger model; 'pairs' on a "
        "table with the columns text, text_pair (and negative), texts that belong together, or "
        "with a label or score that says how alike they are, from which a sentence model learns "
        "its vectors. A run that was stopped goes on when the same command is given again, and "
        "leaves no checkpoint behind once it has ended. What it saves loads in transformers, too."
    )
    add_examples(parser, *_EXAMPLES)
    parser.add_argument("task", choices=tuple(_OPTIONS_OF), help="what is to be learned")
    parser.add_argument(
        "--data", metavar="FILE", required=True, help="learn from these texts, or .csv or .tsv"
    )
    parser.add_argument(
        "--eval-data",
        metavar="FILE",
        help="judge by this file and keep the best model; it is of the same kind, and for sentence "
        "and pairs a table of text, text_pair and label, a number that says how alike they are",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        required=True,
        help="write the model, its log and its checkpoints to this folder",
    )
    parser.add_argument(
        "--text-column",
        metavar="NAME",
        help="the column of a table that has the texts; 'text' by default",
    )
    add_model(parser)
    parser.add_argument(
        "--teacher", metavar="MODEL", help="sentence: the model whose vectors are followed"
    )
    _add_targets(parser)
    _add_settings(parser)
    add_source(parser)


def _add_targets(parser: argparse.ArgumentParser) -> None:
    """Add what is learnt of labels and pairs."""
    parser.add_argument(
        "--problem-type",
        metavar="KIND",
        type=_problem,
        help="classify: 'regression' or 'single_label_classification'; by default numbers with a "
        "fraction are a regression, whole numbers and words are classes",
    )
    parser.add_argument(
        "--loss",
        choices=(_RANKING, _COSENT, _COSINE),
        help=f"pairs: what is learnt; {_COSENT} by default where there is a label or score, else "
        f"{_RANKING}, for which the other rows of a batch are negatives",
    )
    parser.add_argument(
        "--scale",
        metavar="X",
        type=_number,
        help=f"pairs: what cosines are multiplied by, 20 by default; for {_RANKING} and {_COSENT}",
    )


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Add how the model is trained."""
    group = parser.add_argument_group("how it is trained")

    def number(flag: str, kind: Callable[[str], float], default: float | None, what: str) -> None:
        group.add_argument(
            flag,
            metavar="X" if kind is _number else "N",
            type=kind,
            default=default,
            help=what if default is None else f"{what}; {default:g} by default",
        )

    number("--epochs", _number, 3.0, "how often all of the data is read")
    number("--max-steps", count, None, "how many steps to take, in place of --epochs")
    number("--batch-size", count, 8, "how many texts are read together")
    number("--accumulate", count, 1, "how many batches a step is taken from")
    number("--learning-rate", _number, 5e-5, "the learning rate at its highest")
    number("--warmup", _number, 0, "how many steps it rises for, or below 1 their share")
    number("--weight-decay", _number, 0.01, "how much weights decay")
    number("--max-grad-norm", _number, 1.0, "how long all gradients together may be; 0 for any")
    number("--max-length", count, 128, "how many tokens of a text are read")
    group.add_argument(
        "--whole-words", action="store_true", help="mlm: mask words, not their pieces"
    )
    group.add_argument(
        "--next-sentence",
        action="store_true",
        help="mlm: learn which text follows, too; empty lines end documents",
    )
    group.add_argument(
        "--group-by-length",
        action="store_true",
        help="read texts of about one length together: less padding",
    )
    number("--seed", natural, 0, "draw what is random from this seed")
    number("--save-steps", count, 500, "write a checkpoint after every N steps")
    number("--eval-steps", count, None, "judge after every N steps, not at the end alone")
    number("--patience", count, None, "end after N evaluations without a better one")


def _number(argument: str) -> float:
    """Read a number from 0."""
    try:
        value = float(argument)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0.0):
        raise argparse.ArgumentTypeError(f"{shown(argument)} is not a number from 0")
    return value


def _problem(argument: str) -> str:
    """Read one of transformers' problem types."""
    known = (_REGRESSION, _SINGLE)
    if argument == _SEVERAL:
        raise argparse.ArgumentTypeError(
            f"{argument} is not supported: a text has one label here; use one of {', '.join(known)}"
        )
    if argument not in known:
        raise argparse.ArgumentTypeError(f"{shown(argument)} is not one of {', '.join(known)}")
    return argument


def run(options: argparse.Namespace) -> int:
    """Train, and save the model in the folder of the run."""
    from dataclasses import replace

    from numpy_bert.loading.integrity import sha256
    from numpy_bert.text.saving import SAVED
    from numpy_bert.training import Trainer
    from numpy_bert.training.run_folder import check_alone, check_free

    folder = as_folder(options.output, "-o")
    settings = _arguments(options)
    check_alone(folder)
    tasks = {"mlm": _masked, "classify": _labelled, "sentence": _taught, "pairs": _paired}
    make = tasks[options.task]
    with _options_named():
        task = make(options, model_name(options))
    arguments = replace(settings, batch_sampler=task.sampler)
    tokenizer = None
    if options.task != "pairs":  # of which the encoder writes its tokenizer itself
        tokenizer = numpy_bert.BertTokenizer.from_pretrained(task.model.folder)
    check_free(folder, (*SAVED, *getattr(task.model, "files", tuple)()))
    evaluation = None if options.eval_data is None else sha256(Path(options.eval_data))
    also = {**task.also, "evaluation": evaluation}
    trainer = Trainer(task.model, task.data, arguments, folder, evaluate=task.evaluate, also=also)
    if trainer.is_finished():
        note(f"{quoted(folder)}: this training is finished; nothing is left to do")
        return 0
    note(f"{len(task.data)} examples, {arguments.steps_of(len(task.data))} steps")
    trained = trainer.train()
    if tokenizer is not None:
        tokenizer.save_pretrained(folder, force=True)
    trainer.save_model()
    if task.report is not None:
        show(task.report(trained))
    note(f"saved {quoted(folder)}")
    return 0


def _arguments(options: argparse.Namespace) -> TrainingArguments:
    """Return the settings of the run, once the options are known to go together."""
    from numpy_bert.training import TrainingArguments

    for task, own in _OPTIONS_OF.items():
        for name in own:
            if options.task != task and getattr(options, name):
                raise InputError(f"--{name.replace('_', '-')}: is for {task}.")
    judged = options.eval_data if options.task == "mlm" else None  # by texts, as it learns
    has_table = (
        options.task in ("classify", "pairs") or _is_table(options.data) or _is_table(judged)
    )
    if options.text_column is not None and not has_table:
        raise InputError(
            "--text-column: is for a table (.csv, .tsv); of other files each line is a text."
        )
    if options.eval_data is None and (options.eval_steps or options.patience):
        raise InputError("--eval-steps, --patience: need --eval-data.")
    return TrainingArguments(
        learning_rate=options.learning_rate,
        per_device_train_batch_size=options.batch_size,
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


class _Task(NamedTuple):
    """A model, what it is trained on, and how it is judged.

    `also` is what the command was told that makes another run of it, by the arguments' names;
    `evaluate` takes the model and returns a number of which more is better, and `report` says in a
    line how good it is. `sampler` is the setting batch_sampler.
    """

    model: Any
    data: TrainingData
    also: dict[str, Any]
    evaluate: Callable[[Any], float] | None = None
    report: Callable[[Any], str] | None = None
    sampler: str = "batch_sampler"


def _masked(options: argparse.Namespace, name: str) -> _Task:
    """Return a model that guesses words; with --next-sentence also whether a text follows."""
    from numpy_bert.training import MaskedTexts, SentencePairs, masked_scores
    from numpy_bert.training.text_files import read_documents

    source = source_options(options)
    tokenizer = numpy_bert.BertTokenizer.from_pretrained(name, **source)
    next_sentence = options.next_sentence
    kind = numpy_bert.AutoModelForPreTraining if next_sentence else numpy_bert.AutoModelForMaskedLM
    model: Any = kind.from_pretrained(name, dtype=options.dtype, **source)
    limits = {"max_length": _limit(options, model), "whole_words": options.whole_words}
    also = {
        "next_sentence": next_sentence,
        "text_column": _column(options, options.eval_data),
        **limits,
    }

    def read(file: str) -> MaskedTexts | SentencePairs:
        with _naming(file):
            if next_sentence:
                return SentencePairs(read_documents(Path(file)), tokenizer, **limits)
            return MaskedTexts(_texts(options, file), tokenizer, **limits)

    data = read(options.data)
    if options.eval_data is None:
        return _Task(model, data, also)
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

    return _Task(model, data, also, evaluate, report)


def _labelled(options: argparse.Namespace, name: str) -> _Task:
    """Return a new classifier that learns the labels of a table."""
    from numpy_bert.loading.cache import MODEL_FILES
    from numpy_bert.loading.hub import find
    from numpy_bert.training import LabelledTexts, new_classifier
    from numpy_bert.training.targets import targets_of
    from numpy_bert.training.text_files import LabelledRows, read_labelled

    column, source = options.text_column or "text", source_options(options)
    tokenizer = numpy_bert.BertTokenizer.from_pretrained(name, **source)
    rows = read_labelled(Path(options.data), column)
    targets = targets_of(rows.labels, options.data, options.problem_type)
    bert = numpy_bert.AutoModel.from_pretrained(name, dtype=options.dtype, **source)
    if options.problem_type is None and bert.config.problem_type == _SEVERAL:
        raise InputError(
            f"{name}: its problem_type is {_SEVERAL}, which is not trained here; --problem-type "
            f"{_SINGLE} trains a new classifier over it, of one label a text."
        )
    limit = _limit(options, bert)

    def encoded(table: LabelledRows, values: Any, file: str) -> LabelledTexts:
        with _naming(file):
            return LabelledTexts(table.texts, values, tokenizer, max_length=limit)

    data = encoded(rows, targets.values, options.data)
    note(f"{quoted(options.data)}: {_by_option(targets.note)}")
    model = new_classifier(
        bert,
        targets.names,
        find(name, needs=MODEL_FILES, **source),
        seed=options.seed,
        problem_type=targets.problem_type,
    )
    also = {
        "problem_type": targets.problem_type,
        "text_column": _column(options),
        "max_length": limit,
    }
    task = _Task(model, data, also)
    if options.eval_data is None:
        return task
    held = read_labelled(Path(options.eval_data), column)
    texts = encoded(held, targets.of(held.labels, options.eval_data), options.eval_data)
    judge = _judge_numbers if targets.problem_type == _REGRESSION else _judge_classes
    return judge(task, texts, options.eval_data)


def _judge_classes(task: _Task, held: LabelledTexts, file: str) -> _Task:
    """Judge a classifier by how many of its labels are right."""
    from numpy_bert.training import accuracy

    def evaluate(model: numpy_bert.BertForSequenceClassification) -> float:
        return accuracy(model, held)

    def report(model: numpy_bert.BertForSequenceClassification) -> str:
        return f"right of {file}: {100 * evaluate(model):.1f} %"

    return task._replace(evaluate=evaluate, report=report)


def _judge_numbers(task: _Task, held: LabelledTexts, file: str) -> _Task:
    """Judge a regression by its mean squared error, of which less is better."""
    from numpy_bert.training import regression_scores

    def evaluate(model: numpy_bert.BertForSequenceClassification) -> float:
        return -regression_scores(model, held).mse

    def report(model: numpy_bert.BertForSequenceClassification) -> str:
        found = regression_scores(model, held)
        if found.pearson is None or found.spearman is None:
            follows = "no correlation, since all are equal"
        else:
            follows = f"Pearson {found.pearson:.4f}, Spearman {found.spearman:.4f}"
        return f"mean squared error on {file}: {found.mse:.4f}; {follows}"

    return task._replace(evaluate=evaluate, report=report)


def _taught(options: argparse.Namespace, name: str) -> _Task:
    """Return a student whose sentence vectors learn to follow a teacher's."""
    from numpy_bert.identity import fingerprint
    from numpy_bert.loading.sentence import find_sentence_model
    from numpy_bert.training import SentenceStudent, TaughtTexts, sentence_correlation
    from numpy_bert.training.text_files import read_scored

    if options.teacher is None:
        raise InputError("--teacher: name the model whose vectors are to be followed.")
    texts = _texts(options, options.data)
    held = None if options.eval_data is None else read_scored(Path(options.eval_data))
    source = source_options(options)
    folder = find_sentence_model(name, **source)
    # A revision is one of the student's.
    teacher = numpy_bert.SentenceEncoder.from_pretrained(
        options.teacher, dtype=options.dtype, **{**source, "revision": None}
    )
    note(f"the vectors of {quoted(options.teacher)} for {len(texts)} texts")
    with _naming(options.teacher):
        vectors = teacher.encode(texts)
    model = SentenceStudent.from_folder(
        folder, vectors.shape[1], dtype=options.dtype, seed=options.seed
    )
    # It may lie in a folder of its own, with the Transformer of a sentence model.
    tokenizer = numpy_bert.BertTokenizer.from_pretrained(model.folder)
    known = fingerprint(teacher.model)
    limit = min(_limit(options, model), model.encoder(tokenizer).max_seq_length)
    read = list(map(model.setup.prepared, texts))
    with _naming(options.data):
        data = TaughtTexts(read, vectors, tokenizer, max_length=limit, teacher=known)
    also = {"teacher": known[:12], "text_column": _column(options), "max_length": limit}
    if held is None:
        return _Task(model, data, also)
    pairs, scores = held.texts, held.scores

    def evaluate(model: SentenceStudent) -> float:
        return sentence_correlation(model.encoder(tokenizer), pairs, scores)

    before, taught = evaluate(model), sentence_correlation(teacher, pairs, scores)

    def report(model: SentenceStudent) -> str:
        return (
            f"Spearman on {options.eval_data}: {evaluate(model):.4f} (before: {before:.4f}, "
            f"the teacher: {taught:.4f})"
        )

    return _Task(model, data, also, evaluate, report)


def _paired(options: argparse.Namespace, name: str) -> _Task:
    """Return a sentence model that learns from pairs of texts."""
    from numpy_bert.training import sentence_correlation
    from numpy_bert.training.pairs import PairedTexts, PairModel
    from numpy_bert.training.text_files import read_pairs, read_scored

    columns = read_pairs(Path(options.data), options.text_column or "text")
    held = None if options.eval_data is None else read_scored(Path(options.eval_data))
    encoder = numpy_bert.SentenceEncoder.from_pretrained(
        name, dtype=options.dtype, **source_options(options)
    )
    loss = _loss(options, encoder, "score" in columns)
    model, limit = PairModel(encoder, loss), min(options.max_length, encoder.max_seq_length)
    data = PairedTexts(columns, encoder, max_length=limit, name=options.data)
    data.check_batches(options.batch_size, loss)
    # Where the other rows of a batch are negatives, none of them should be the same text.
    apart = not loss.needs_scores and not options.group_by_length
    also = {"text_column": _column(options), "max_length": limit}
    task = _Task(model, data, also, sampler="no_duplicates" if apart else "batch_sampler")
    if held is None:
        return task

    def evaluate(model: PairModel) -> float:
        return sentence_correlation(model.encoder, held.texts, held.scores)

    before = evaluate(model)

    def report(model: PairModel) -> str:
        return f"Spearman on {options.eval_data}: {evaluate(model):.4f} (before: {before:.4f})"

    return task._replace(evaluate=evaluate, report=report)


def _loss(options: argparse.Namespace, encoder: numpy_bert.SentenceEncoder, scored: bool) -> Any:
    """Return the loss of the pairs, the usual one of their kind if none is named."""
    from numpy_bert import training

    name = options.loss or (_COSENT if scored else _RANKING)
    note(f"{quoted(options.data)}: {'scored pairs' if scored else 'pairs'}, learnt by {name}")
    if name == _COSINE:
        if options.scale is not None:
            raise InputError(f"--scale: is for {_RANKING} and {_COSENT}.")
        return training.CosineSimilarityLoss(encoder)
    kind = training.CoSENTLoss if name == _COSENT else training.MultipleNegativesRankingLoss
    return kind(encoder) if options.scale is None else kind(encoder, scale=options.scale)


def _limit(options: argparse.Namespace, model: Any) -> int:
    """Return how many tokens of a text are read."""
    return min(int(options.max_length), int(model.config.max_tokens))


def _texts(options: argparse.Namespace, file: str) -> list[str]:
    """Read texts, from a line each or from the column of a table."""
    from numpy_bert.training.text_files import read_texts

    column = options.text_column if _is_table(file) else None
    texts = read_texts(Path(file), column)
    if _is_table(file):
        note(f"{quoted(file)}: {len(texts)} texts of the column {quoted(column or 'text')}")
    return texts


def _column(options: argparse.Namespace, judged: str | None = None) -> str | None:
    """Return the column of the texts as a table is asked for it, None where there is no table."""
    if not _is_table(options.data) and not _is_table(judged):
        return None
    column: str = options.text_column or "text"
    return column.strip().lower()


def _is_table(file: str | None) -> bool:
    from numpy_bert.training.text_files import is_table

    return file is not None and is_table(Path(file))


@contextmanager
def _naming(file: str) -> Iterator[None]:
    """Let the warnings of a block begin with the name of the file that they are about."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in found:
        warnings.warn(f"{file}: {warning.message}", warning.category, stacklevel=3)


@contextmanager
def _options_named() -> Iterator[None]:
    """Let what is wrong with the data be told by the names of the command's options."""
    try:
        yield
    except InputError as failure:
        raise InputError(_by_option(str(failure))) from None


def _by_option(message: str) -> str:
    """Name the options of the command where a message names the library's arguments."""
    for pattern, option in _NAMES:
        message = pattern.sub(option, message)
    return message
