"""``numpy-bert classify``: the labels of a text, or of a pair of texts."""

from __future__ import annotations

import argparse

import numpy_bert
from numpy_bert.cli.console import results_as_json, show, table
from numpy_bert.cli.options import add_examples, add_task, count, model_options, text

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command is for, and what it takes."""
    parser.description = (
        "Print the labels of a text, or of a pair of texts, with their scores: probabilities, "
        "unless the model is a regression."
    )
    add_examples(
        parser,
        'numpy-bert classify "What a lovely film!" '
        "--model nlptown/bert-base-multilingual-uncased-sentiment",
    )
    parser.add_argument("text", metavar="TEXT", type=text, help="the text")
    parser.add_argument(
        "text_pair", metavar="TEXT2", nargs="?", type=text, help="a second text, for a pair"
    )
    add_task(parser)
    parser.add_argument(
        "--top-k", metavar="N", type=count, help="how many labels to show; all by default"
    )


def run(options: argparse.Namespace) -> int:
    """Classify the text or the pair, and print the labels, best first."""
    model = numpy_bert.BertForSequenceClassification.from_pretrained(
        options.model, **model_options(options)
    )
    found = model.classify(options.text, options.text_pair, top_k=options.top_k)
    if options.json:
        asked = {"text": options.text, "text_pair": options.text_pair}
        show(results_as_json(options.model, asked, found))
        return 0
    # No percentage: the score of a regression is none.
    rows = [(f"{best.score:.4f}", best.label) for best in found]
    show(table(("score", "label"), rows, right="rl", nothing="no label"))
    return 0
