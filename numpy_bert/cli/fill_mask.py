"""``numpy-bert fill-mask``: which words fit at a text's masks."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy_bert
from numpy_bert.cli.console import percent, results_as_json, show, table
from numpy_bert.cli.options import (
    LINES_FROM_STDIN,
    add_examples,
    add_task,
    count,
    given_texts,
    model_name,
    model_options,
    text,
)

if TYPE_CHECKING:
    from numpy_bert.tasks.fill import Fill

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command is for, and what it takes."""
    parser.description = (
        "Print the words that fit best at each mask of a text, [MASK] or, in a RoBERTa, <mask>, "
        "with their probabilities."
    )
    add_examples(
        parser,
        'numpy-bert fill-mask "I drink a cup of [MASK]."',
        'numpy-bert fill-mask "Paris is the [MASK] of France." --model bert-base-uncased',
    )
    parser.add_argument(
        "texts",
        metavar="TEXT",
        nargs="*",
        type=text,
        help=f"a text with a mask in it; {LINES_FROM_STDIN}",
    )
    add_task(parser, default="the built-in 'demo', which is small,")
    parser.add_argument(
        "--top-k",
        metavar="N",
        type=count,
        default=5,
        help="how many words to show for a mask; 5 by default",
    )


def run(options: argparse.Namespace) -> int:
    """Fill the masks of the texts, and print the words mask by mask."""
    texts = given_texts(options.texts)
    name = model_name(options)
    model = numpy_bert.AutoModelForMaskedLM.from_pretrained(name, **model_options(options))
    for written, found in zip(texts, model.fill_mask(texts, top_k=options.top_k), strict=True):
        masks: list[list[Fill]] = found if isinstance(found[0], list) else [found]
        if options.json:
            show(results_as_json(name, {"text": written}, masks))
        else:
            _show_words(masks, model.tokenizer)
    return 0


def _show_words(masks: list[list[Fill]], tokenizer: numpy_bert.BertTokenizer) -> None:
    """Print the words for the masks of a text, and the text without the tokens that frame it."""
    begin, end = str(tokenizer.cls_token), str(tokenizer.sep_token)
    for number, fills in enumerate(masks):
        if len(masks) > 1:
            show(f"mask {number + 1}")
        rows = [
            (
                percent(fill.score),
                fill.token_str,
                fill.token,
                fill.sequence.removeprefix(begin).removesuffix(end).strip(),
            )
            for fill in fills
        ]
        show(table(("score", "word", "id", "text"), rows, right="rlrl", nothing="no word"))
