"""``numpy-bert answer``: the part of a text that answers a question."""

from __future__ import annotations

import argparse

import numpy_bert
from numpy_bert.cli.console import percent, results_as_json, show, table
from numpy_bert.cli.options import (
    FROM_STDIN,
    add_examples,
    add_task,
    count,
    given_text,
    model_options,
    read_text,
    text,
)

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command is for, and what it takes."""
    parser.description = "Print the part of a text that answers a question, and where it is."
    add_examples(
        parser,
        'numpy-bert answer "Who wrote it?" "It is a novel by Jane Austen." '
        "--model deepset/bert-base-cased-squad2",
        'numpy-bert answer "Who wrote it?" --context-file novel.txt --model ./my-model',
    )
    parser.add_argument("question", metavar="QUESTION", type=text, help="the question")
    given = parser.add_mutually_exclusive_group()
    given.add_argument(
        "context",
        metavar="CONTEXT",
        nargs="?",
        type=text,
        help=f"the text with the answer in it; {FROM_STDIN}",
    )
    given.add_argument("--context-file", metavar="FILE", help="a file in UTF-8 with that text")
    add_task(parser)
    parser.add_argument(
        "--top-k", metavar="N", type=count, default=1, help="how many answers to show; 1 by default"
    )
    parser.add_argument(
        "--impossible", action="store_true", help="allow for there being no answer (SQuAD 2.0)"
    )


def run(options: argparse.Namespace) -> int:
    """Find the answers to the question, and print them, best first."""
    file = options.context_file
    context = given_text(options.context) if file is None else read_text(file)
    model = numpy_bert.AutoModelForQuestionAnswering.from_pretrained(
        options.model, **model_options(options)
    )
    found = model.answer(
        options.question,
        context,
        top_k=options.top_k,
        handle_impossible_answer=options.impossible,
    )
    if options.json:
        show(results_as_json(options.model, {"question": options.question}, found))
        return 0
    rows = [
        (best.start, best.end, percent(best.score), best.answer or "(there is no answer)")
        for best in found
    ]
    show(table(("start", "end", "score", "answer"), rows, right="rrrl", nothing="no answer"))
    return 0
