"""``numpy-bert tag``: the entities of a text, and where they are."""

from __future__ import annotations

import argparse

import numpy_bert
from numpy_bert.cli.console import percent, results_as_json, show, table
from numpy_bert.cli.options import add_examples, add_task, model_options, text

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command is for, and what it takes."""
    parser.description = (
        "Print the entities of a text (or whatever a model labels words by), and where they are. A "
        "text may be longer than the model reads."
    )
    add_examples(
        parser,
        'numpy-bert tag "Ada Lovelace lived in London." --model dslim/bert-base-NER',
    )
    parser.add_argument("text", metavar="TEXT", type=text, help="the text")
    add_task(parser)
    parser.add_argument(
        "--aggregation",
        choices=("simple", "first", "average", "max", "none"),
        default="simple",
        help="how labels of tokens become entities; simple by default",
    )


def run(options: argparse.Namespace) -> int:
    """Label the words of the text, and print the entities, first to last."""
    model = numpy_bert.AutoModelForTokenClassification.from_pretrained(
        options.model, **model_options(options)
    )
    found = model.tag(options.text, options.aggregation)
    if options.json:
        show(results_as_json(options.model, {"text": options.text}, found))
        return 0
    rows = [
        (entity.start, entity.end, entity.entity, percent(entity.score), entity.word)
        for entity in found
    ]
    header = ("start", "end", "entity", "score", "word")
    show(table(header, rows, right="rrlrl", nothing="no entity"))
    return 0
