"""``numpy-bert classify``: the labels of a text, or of a pair of texts."""

from __future__ import annotations

import argparse

import numpy_bert
from numpy_bert.cli.console import results_as_json, show, table
from numpy_bert.cli.options import (
    LINES_FROM_STDIN,
    add_examples,
    add_task,
    count,
    given_text,
    given_texts,
    model_options,
    text,
)

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command is for, and what it takes."""
    parser.description = (
        "Print the labels of a text, or of a pair of texts, with their scores: probabilities, "
        "unless the model is a regression or names another activation."
    )
    add_examples(
        parser,
        'numpy-bert classify "What a lovely film!" '
        "--model nlptown/bert-base-multilingual-uncased-sentiment",
    )
    parser.add_argument(
        "text", metavar="TEXT", nargs="?", type=text, help=f"the text; {LINES_FROM_STDIN}"
    )
    parser.add_argument(
        "text_pair", metavar="TEXT2", nargs="?", type=text, help="a second text, for a pair"
    )
    add_task(parser)
    parser.add_argument(
        "--top-k", metavar="N", type=count, help="how many labels to show; all by default"
    )


def run(options: argparse.Namespace) -> int:
    """Classify the texts or the pair, and print the labels, best first."""
    first, second = options.text, options.text_pair
    alone = [] if first is None else [first]
    texts = given_texts(alone) if second is None else [given_text(first)]
    model = numpy_bert.AutoModelForSequenceClassification.from_pretrained(
        options.model, **model_options(options)
    )
    pairs = None if second is None else [second]
    for written, found in zip(
        texts, model.classify(texts, pairs, top_k=options.top_k), strict=True
    ):
        if options.json:
            asked = {"text": written, "text_pair": second}
            show(results_as_json(options.model, asked, found))
            continue
        if len(texts) > 1:
            show(written)
        # No percentage: the score of a regression is none.
        rows = [(f"{best.score:.4f}", best.label) for best in found]
        show(table(("score", "label"), rows, right="rl", nothing="no label"))
    return 0
