"""``numpy-bert rerank``: which texts answer a query best."""

from __future__ import annotations

import argparse
import json

import numpy_bert
from numpy_bert.cli.console import note, show, table
from numpy_bert.cli.options import (
    LINES_FROM_STDIN,
    add_examples,
    add_task,
    count,
    given_texts,
    read_lines,
    source_options,
    text,
)
from numpy_bert.errors import InputError

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command is for, and what it takes."""
    parser.description = (
        "Print texts with the scores that a cross-encoder gives them beside a query, the best "
        "first."
    )
    add_examples(
        parser,
        'numpy-bert rerank "who wrote Faust?" "Goethe did." "It rains." '
        "--model cross-encoder/ms-marco-MiniLM-L6-v2",
    )
    parser.add_argument("query", metavar="QUERY", type=text, help="the query")
    parser.add_argument(
        "documents",
        metavar="TEXT",
        nargs="*",
        type=text,
        help=f"a text to be ranked; {LINES_FROM_STDIN}",
    )
    parser.add_argument("--input", metavar="FILE", help="read a text from each line, in UTF-8")
    add_task(parser)
    parser.add_argument(
        "-k", "--top-k", metavar="N", type=count, help="how many texts to show; all by default"
    )


def run(options: argparse.Namespace) -> int:
    """Score the texts beside the query, and print them, best first."""
    if options.input is not None and options.documents:
        raise InputError("TEXT and --input: give one of the two.")
    name, source = options.model, source_options(options)
    file, given = options.input, options.documents
    documents = given_texts(given) if file is None else read_lines(file)
    cache = source.pop("cache_dir")
    model = numpy_bert.CrossEncoder(name, dtype=options.dtype, cache_folder=cache, **source)
    for line in model.notes:
        note(line)
    found = model.rank(options.query, documents, options.top_k, return_documents=True)
    if options.json:
        show(json.dumps({"model": name, "query": options.query, "results": found}))
        return 0
    rows = [(f"{best['score']:.4f}", best["corpus_id"], best["text"]) for best in found]
    show(table(("score", "number", "text"), rows, right="rrl", nothing="no text"))
    return 0
