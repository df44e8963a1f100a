"""``numpy-bert fill-mask``: which words fit at a text's masks."""

from __future__ import annotations

import argparse

from numpy_bert.cli.console import show
from numpy_bert.cli.results import percent, show_json, show_table
from numpy_bert.cli.source import model_name, source_options
from numpy_bert.model.task_models import BertForMaskedLM

__all__ = ["run"]


def run(options: argparse.Namespace) -> int:
    """Fill the masks of the text, and print the words mask by mask."""
    name = model_name(options)
    model = BertForMaskedLM.from_pretrained(name, dtype=options.dtype, **source_options(options))
    found = model.fill_mask(options.text, top_k=options.top_k)
    masks = found if isinstance(found[0], list) else [found]
    if options.json:
        show_json(name, {"text": options.text}, masks)
        return 0
    for number, fills in enumerate(masks):
        if len(masks) > 1:
            show(f"mask {number + 1}")
        show_table(
            ("score", "word", "id", "text"),
            [(percent(fill.score), fill.token_str, fill.token, fill.sequence) for fill in fills],
            "rlrl",
            "no word",
        )
    return 0
