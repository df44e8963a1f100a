"""``numpy-bert classify``: the labels of a text, or of a pair of texts."""

from __future__ import annotations

import argparse

from numpy_bert.cli.results import show_json, show_table
from numpy_bert.cli.source import source_options
from numpy_bert.model.task_models import BertForSequenceClassification

__all__ = ["run"]


def run(options: argparse.Namespace) -> int:
    """Classify the text or the pair, and print the labels, best first."""
    model = BertForSequenceClassification.from_pretrained(
        options.model, dtype=options.dtype, **source_options(options)
    )
    found = model.classify(options.text, options.text_pair, top_k=options.top_k)
    if options.json:
        given = {"text": options.text, "text_pair": options.text_pair}
        show_json(options.model, given, found)
    else:
        # No percentage: the score of a regression is none.
        rows = [(f"{best.score:.4f}", best.label) for best in found]
        show_table(("score", "label"), rows, "rl", "no label")
    return 0
