"""``numpy-bert similarity``: how alike two texts are."""

from __future__ import annotations

import argparse
import json

from numpy_bert.cli.console import show
from numpy_bert.cli.encode import load

__all__ = ["run"]


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
