"""``numpy-bert trace``: every intermediate of a run, in a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy_bert
from numpy_bert.cli.console import megabytes, note
from numpy_bert.cli.options import (
    add_examples,
    add_model,
    add_names,
    add_output,
    add_source,
    model_name,
    model_options,
    output_path,
    source_options,
    text,
)
from numpy_bert.errors import InputError, TraceError
from numpy_bert.files import file_size
from numpy_bert.messages import quoted

if TYPE_CHECKING:
    from numpy_bert.traces.trace_inputs import TraceInputs

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command is for, and what it takes."""
    parser.description = (
        "Run the model on texts, each a row of the batch, or on ids, and save every intermediate "
        "under its name in one safetensors file, with what it was made of."
    )
    add_examples(
        parser,
        'numpy-bert trace "The sun is shining." -o sun.safetensors',
        "numpy-bert trace \"The sun is shining.\" --names 'encoder.layer.*' -o sun.safetensors",
    )
    parser.add_argument(
        "texts", metavar="TEXT", nargs="*", type=text, help="a text, which is a row of the batch"
    )
    parser.add_argument(
        "--pair", action="store_true", help="make one row of the two texts, with two segments"
    )
    parser.add_argument(
        "--ids",
        metavar="FILE",
        help="run these ids: a JSON object or a trace with input_ids and, where they are not all 1 "
        "and all 0, attention_mask and token_type_ids",
    )
    parser.add_argument(
        "--padding-side",
        choices=("right", "left"),
        help="pad shorter rows on this side; the tokenizer's by default",
    )
    add_model(parser, dtype="float64")
    add_names(parser)
    parser.add_argument(
        "--weights", action="store_true", help="save the model's weights too, before the steps"
    )
    add_output(parser, "write this .safetensors file", required=True)
    add_source(parser)


def run(options: argparse.Namespace) -> int:
    """Run the model on texts or ids and save the trace."""
    from numpy_bert.traces.recording import Recorder
    from numpy_bert.traces.trace_inputs import padding_left_in, read_ids

    path = _output(options)
    if bool(options.texts) == (options.ids is not None):
        raise InputError("give TEXT, or --ids FILE; one of the two.")
    if options.pair and len(options.texts) != 2:
        raise InputError(f"--pair: there must be two texts; got {len(options.texts)}.")
    name = model_name(options)
    model = numpy_bert.AutoModel.from_pretrained(name, **model_options(options))
    inputs = (
        _encoded(options, name, model)
        if options.ids is None
        else read_ids(Path(options.ids), model)
    )
    padding = padding_left_in(inputs, model.config.pad_token_id)
    if padding is not None and options.ids is not None:
        note(
            f"{options.ids}: {int(padding.sum())} of the input_ids are {model.config.pad_token_id},"
            " the model's padding, and attention_mask does not mask them: they are run as tokens. "
            "If they are padding, give an attention_mask that is 0 there."
        )
    size = Recorder(model, name, **source_options(options)).record(
        path,
        inputs,
        names=options.names,
        weights=options.weights,
        texts=options.texts or None,
        pair=options.pair,
    )
    note(f"wrote {quoted(path)} ({megabytes(size)})")
    return 0


def _output(options: argparse.Namespace) -> Path:
    """Check where the trace is to go before anything is computed."""
    path = output_path(options, (".safetensors",), reads="ids")
    assert path is not None
    if options.ids is not None:
        if options.padding_side is not None:
            raise InputError("--padding-side: ids are run as they are; pad them yourself.")
        file_size(Path(options.ids), error=TraceError)
    return path


def _encoded(options: argparse.Namespace, name: str, model: numpy_bert.BertModel) -> TraceInputs:
    """Tokenize the texts, padded to the longest."""
    from numpy_bert.traces.trace_inputs import inputs_of

    tokenizer = numpy_bert.BertTokenizer.from_pretrained(name, **source_options(options))
    if options.padding_side is not None:
        tokenizer.padding_side = options.padding_side
    texts = [(options.texts[0], options.texts[1])] if options.pair else options.texts
    return inputs_of(tokenizer(texts, padding=True, return_tensors="np"), model)
