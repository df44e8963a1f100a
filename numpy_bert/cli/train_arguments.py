"""The arguments of ``numpy-bert train``."""

from __future__ import annotations

import argparse
import math

from numpy_bert.cli.arguments import add_model, add_source, count, natural

__all__ = ["TRAIN", "add_train"]

TRAIN = (
    "Train a model further: 'mlm' on texts, a text a line or a column of a table, of which it has "
    "to guess masked words; 'classify' on a table with the columns text, label (and text_pair), "
    "from which it learns the labels, classes or numbers; 'sentence' on texts, whose vectors are "
    "to follow those of a teacher, such as a larger model. A run that was stopped goes on when the "
    "same command is given again. What it saves loads in transformers, too."
)


def add_train(parser: argparse.ArgumentParser) -> None:
    """Add what all tasks take."""
    parser.add_argument(
        "task", choices=("mlm", "classify", "sentence"), help="what is to be learned"
    )
    parser.add_argument("--data", metavar="FILE", required=True, help="texts, or .csv or .tsv")
    parser.add_argument(
        "--eval-data",
        metavar="FILE",
        help="to judge by, the best is kept: the same kind; sentence: text, text_pair, label, how "
        "alike they are",
    )
    parser.add_argument(
        "-o", "--output", metavar="DIR", required=True, help="gets the model, its log, checkpoints"
    )
    parser.add_argument(
        "--text-column", metavar="NAME", help="of a table, where its texts are; 'text' by default"
    )
    parser.add_argument(
        "--problem-type",
        metavar="KIND",
        type=_problem,
        help="classify: 'regression' or 'single_label_classification'; by default numbers with a "
        "fraction are a regression, whole numbers and words are classes",
    )
    add_model(parser)
    parser.add_argument("--teacher", metavar="MODEL", help="sentence: whose vectors are followed")
    _add_settings(parser)
    add_source(parser)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Add how it is trained."""
    group = parser.add_argument_group("how it is trained")
    group.add_argument("--epochs", metavar="X", type=_number, default=3.0, help="passes; 3")
    group.add_argument("--max-steps", metavar="N", type=count, help="steps, in place of passes")
    group.add_argument("--batch-size", metavar="N", type=count, default=8, help="texts a batch; 8")
    group.add_argument("--accumulate", metavar="N", type=count, default=1, help="batches a step; 1")
    group.add_argument(
        "--learning-rate", metavar="X", type=_number, default=5e-5, help="at its highest; 5e-5"
    )
    group.add_argument(
        "--warmup", metavar="X", type=_number, default=0, help="steps, or below 1 their share; 0"
    )
    group.add_argument("--weight-decay", metavar="X", type=_number, default=0.01, help="0.01")
    group.add_argument("--max-grad-norm", metavar="X", type=_number, default=1.0, help="1")
    group.add_argument("--max-length", metavar="N", type=count, default=128, help="tokens; 128")
    group.add_argument("--whole-words", action="store_true", help="mlm: mask words, not pieces")
    group.add_argument(
        "--next-sentence", action="store_true", help="mlm: empty lines end documents; learn order"
    )
    group.add_argument(
        "--group-by-length", action="store_true", help="batches of one length: less padding"
    )
    group.add_argument("--seed", metavar="N", type=natural, default=0, help="0")
    group.add_argument(
        "--save-steps", metavar="N", type=count, default=500, help="steps a checkpoint; 500"
    )
    group.add_argument("--eval-steps", metavar="N", type=count, help="at the end, by default")
    group.add_argument(
        "--patience", metavar="N", type=count, help="end after N evaluations without a better one"
    )


def _number(argument: str) -> float:
    """Read a number from 0."""
    try:
        value = float(argument)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0.0):
        raise argparse.ArgumentTypeError(f"{argument[:100]!r} is not a number from 0")
    return value


def _problem(argument: str) -> str:
    """Read one of transformers' problem types."""
    known = ("regression", "single_label_classification")
    if argument == "multi_label_classification":
        raise argparse.ArgumentTypeError(
            f"{argument} is not supported: a text has one label here; known are {', '.join(known)}"
        )
    if argument not in known:
        raise argparse.ArgumentTypeError(f"{argument[:100]!r} is none of {', '.join(known)}")
    return argument
