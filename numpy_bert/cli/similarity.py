"""``numpy-bert similarity``: how alike two texts are."""

from __future__ import annotations

import argparse
import json

from numpy_bert.cli.console import show
from numpy_bert.cli.encode import load
from numpy_bert.cli.options import add_examples, add_json, add_model, add_source, text

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command is for, and what it takes."""
    parser.description = "Print how alike two texts are, as the model compares its vectors."
    add_examples(
        parser,
        'numpy-bert similarity "The sun is shining." "It is a sunny day."',
    )
    parser.add_argument("a", metavar="A", type=text, help="the first text")
    parser.add_argument("b", metavar="B", type=text, help="the second text")
    add_model(parser)
    add_json(parser)
    add_source(parser)


def run(options: argparse.Namespace) -> int:
    """Encode both texts and print the score of their vectors."""
    name, encoder = load(options)
    vectors = encoder.encode([options.a, options.b])
    score = float(encoder.similarity(vectors[0], vectors[1])[0, 0])
    if options.json:
        kind = encoder.similarity_fn_name
        show(json.dumps({"model": name, "similarity_fn_name": kind, "score": score}))
    else:
        show(f"{score:.4f}")
    return 0
