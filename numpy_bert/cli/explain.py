"""``numpy-bert explain``: a text's way through BERT, in the terminal, as a page or as a drawing."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy_bert
from numpy_bert.cli.console import has_colours, megabytes, note, show
from numpy_bert.cli.options import (
    add_examples,
    add_output,
    add_source,
    add_text,
    add_truncate,
    given_text,
    model_name,
    model_options,
    natural,
    output_path,
    source_options,
)
from numpy_bert.messages import quoted

if TYPE_CHECKING:
    from numpy_bert.explain import Reading

__all__ = ["add_arguments", "run"]

_ENDS = (".html", ".svg", ".png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command is for, and what it takes."""
    parser.description = (
        "Show how BERT reads a text, or a pair: the rows that its tokens pick from its tables, "
        "their sum, LayerNorm, and a token's way through the layers; in the terminal, or with -o "
        "page.html as one page with every map and strip, or with -o picture.svg as a drawing."
    )
    add_examples(
        parser,
        'numpy-bert explain "The sun is shining."',
        'numpy-bert explain "The sun is [MASK]." -o sun.html',
    )
    add_text(parser)
    parser.add_argument(
        "--token",
        dest="walked",
        metavar="N",
        type=natural,
        help="follow the token at this position through the layers; the middle one by default",
    )
    add_truncate(parser)
    add_output(
        parser, "write .html, the page; .svg, the drawing of the embedding; or .png, the same"
    )
    add_source(parser, flag="--hub-token")


def run(options: argparse.Namespace) -> int:
    """Run the model over the text, and draw or print what it did."""
    from numpy_bert.explain import read, terminal
    from numpy_bert.explain.drawing import png_renderer
    from numpy_bert.files import look, write_atomically

    path = output_path(options, _ENDS)
    if path is not None and path.suffix == ".png":
        png_renderer()  # says now what is missing
    texts = (given_text(options.text), options.text_pair)
    name = model_name(options)
    tokenizer = numpy_bert.BertTokenizer.from_pretrained(name, **source_options(options))
    reading = read(
        *texts,
        model=_model(options, name, tokenizer.mask_token, texts),
        tokenizer=tokenizer,
        token=options.walked,
        truncation=options.truncate,
        name=Path(name).resolve().name if look(Path(name)) == "folder" else name,
    )
    if path is None:
        width = shutil.get_terminal_size().columns
        colour = has_colours()
        show(terminal(reading, width=width, colour=colour), styled=colour)
        return 0
    for sentence in (*reading.notes, *reading.left_out):
        note(sentence)
    data = _file(reading, path.suffix)
    write_atomically(path, data)
    note(f"wrote {quoted(path)} ({megabytes(len(data))})")
    return 0


def _model(
    options: argparse.Namespace, name: str, mask_token: str | None, texts: Sequence[str | None]
) -> numpy_bert.BertModel | numpy_bert.BertForMaskedLM:
    """Load the model, with the head that predicts words where there is a mask and it has one."""
    from numpy_bert.loading.keys import canonical

    model = numpy_bert.AutoModel.from_pretrained(name, **model_options(options))
    if mask_token is None or not any(mask_token in (text or "") for text in texts):
        return model
    entry, unused = model.config.architecture, model.loading_info.unexpected_keys
    if any(canonical(key, entry).startswith("cls.predictions.") for key in unused):
        del model  # it is loaded anew, with its head
        return numpy_bert.AutoModelForMaskedLM.from_pretrained(name, **model_options(options))
    note(f"{quoted(name)} has no head that predicts words, so none are shown for {mask_token}.")
    return model


def _file(reading: Reading, end: str) -> bytes:
    """Return the file that a name with this end stands for."""
    from numpy_bert.explain import figure, page

    if end == ".html":
        return page(reading).encode("utf-8")
    drawing = figure(reading)
    return drawing.png() if end == ".png" else drawing.svg.encode("utf-8")
