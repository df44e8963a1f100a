"""``numpy-bert similarity``: how alike two texts are."""

from __future__ import annotations

import argparse
import json

from numpy_bert.cli.console import show
from numpy_bert.cli.encode import load
from numpy_bert.cli.options import (
    add_examples,
    add_json,
    add_model,
    add_source,
    given_texts,
    text,
)
from numpy_bert.errors import InputError

__all__ = ["add_arguments", "run"]

_STDIN = "without both, or with - alone, the two lines of standard input are read"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command is for, and what it takes."""
    parser.description = "Print how alike two texts are, as the model compares its vectors."
    add_examples(
        parser,
        'numpy-bert similarity "The sun is shining." "It is a sunny day."',
    )
    parser.add_argument("a", metavar="A", nargs="?", type=text, help=f"the first text; {_STDIN}")
    parser.add_argument("b", metavar="B", nargs="?", type=text, help="the second text")
    add_model(parser)
    add_json(parser)
    add_source(parser)


def run(options: argparse.Namespace) -> int:
    """Encode both texts and print the score of their vectors."""
    texts = given_texts([word for word in (options.a, options.b) if word is not None])
    if len(texts) != 2:
        raise InputError(f"A and B must be two texts, or two lines; got {len(texts)}.")
    name, encoder = load(options)
    vectors = encoder.encode(texts)
    score = float(encoder.similarity(vectors[0], vectors[1])[0, 0])
    if options.json:
        kind = encoder.similarity_fn_name
        show(json.dumps({"model": name, "similarity_fn_name": kind, "score": score}))
    else:
        show(f"{score:.4f}")
    return 0
