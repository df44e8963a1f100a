"""``numpy-bert tag``: the entities of a text, and where they are."""

from __future__ import annotations

import argparse

from numpy_bert.cli.results import percent, show_json, show_table
from numpy_bert.cli.source import source_options
from numpy_bert.model.task_models import BertForTokenClassification

__all__ = ["run"]


def run(options: argparse.Namespace) -> int:
    """Label the words of the text, and print the entities, first to last."""
    model = BertForTokenClassification.from_pretrained(
        options.model, dtype=options.dtype, **source_options(options)
    )
    found = model.tag(options.text, options.aggregation)
    if options.json:
        show_json(options.model, {"text": options.text}, found)
        return 0
    rows = [
        (entity.start, entity.end, entity.entity, percent(entity.score), entity.word)
        for entity in found
    ]
    show_table(("start", "end", "entity", "score", "word"), rows, "rrlrl", "no entity")
    return 0
