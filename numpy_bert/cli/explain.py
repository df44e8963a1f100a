"""``numpy-bert explain``: a text's way through BERT, in the terminal, as a page or as a drawing."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from numpy_bert.cli.console import has_colours, megabytes, note, show
from numpy_bert.cli.source import model_name, source_options
from numpy_bert.errors import InputError
from numpy_bert.explain import Reading, figure, page, read, terminal
from numpy_bert.explain.drawing import png_renderer
from numpy_bert.files import check_output, write_atomically
from numpy_bert.messages import quoted
from numpy_bert.model.bert import BertModel
from numpy_bert.model.masked_lm import BertForMaskedLM
from numpy_bert.text.tokenizer import BertTokenizer

__all__ = ["run"]

_ENDS = (".html", ".svg", ".png")


def run(options: argparse.Namespace) -> int:
    """Run the model over the text, and draw or print what it did."""
    path = _output(options)
    name = model_name(options)
    tokenizer = BertTokenizer.from_pretrained(name, **source_options(options))
    reading = read(
        options.text,
        options.text_pair,
        model=_model(options, name, tokenizer.mask_token),
        tokenizer=tokenizer,
        token=options.walked,
        truncation=options.truncate,
        name=Path(name).resolve().name if Path(name).is_dir() else name,
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
    note(f"wrote {path} ({megabytes(len(data))})")
    return 0


def _output(options: argparse.Namespace) -> Path | None:
    """Check where the result is to go, and that it can be made, before anything is computed."""
    if options.output is None:
        return None
    path = Path(options.output)
    if path.suffix not in _ENDS:
        raise InputError(f"-o {quoted(path)}: the name must end in one of {', '.join(_ENDS)}.")
    check_output(path, force=options.force)
    if path.suffix == ".png":
        png_renderer()
    return path


def _model(
    options: argparse.Namespace, name: str, mask_token: str | None
) -> BertModel | BertForMaskedLM:
    """Load the model, with the head that predicts words where there is a mask and it has one."""
    keywords = {"dtype": options.dtype, **source_options(options)}
    model = BertModel.from_pretrained(name, **keywords)
    texts = (options.text, options.text_pair or "")
    if mask_token is None or not any(mask_token in text for text in texts):
        return model
    if any("cls.predictions" in key for key in model.loading_info.unexpected_keys):
        del model  # it is loaded anew, with its head
        return BertForMaskedLM.from_pretrained(name, **keywords)
    note(f"{name} has no head that predicts words, so none are shown for {mask_token}.")
    return model


def _file(reading: Reading, end: str) -> bytes:
    """Return the file that a name with this end stands for."""
    if end == ".html":
        return page(reading).encode("utf-8")
    drawing = figure(reading)
    return drawing.png() if end == ".png" else drawing.svg.encode("utf-8")
