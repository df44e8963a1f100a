"""``numpy-bert trace``: every intermediate of a run, in a file."""

from __future__ import annotations

import argparse
from pathlib import Path

from numpy_bert.cli.console import megabytes, note
from numpy_bert.cli.source import model_name, source_options
from numpy_bert.errors import InputError, TraceError
from numpy_bert.files import check_output, file_size
from numpy_bert.messages import quoted
from numpy_bert.model.bert import BertModel
from numpy_bert.text.tokenizer import BertTokenizer
from numpy_bert.traces.inputs import Inputs, padding_left_in
from numpy_bert.traces.recording import Recorder, inputs_of, read_ids

__all__ = ["run"]


def run(options: argparse.Namespace) -> int:
    """Run the model on texts or ids and save the trace."""
    path = _output(options)
    if bool(options.texts) == (options.ids is not None):
        raise InputError("give TEXT, or --ids FILE; one of the two.")
    if options.pair and len(options.texts) != 2:
        raise InputError(f"--pair: two texts were expected, {len(options.texts)} came.")
    name = model_name(options)
    model = BertModel.from_pretrained(name, dtype=options.dtype, **source_options(options))
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
    note(f"wrote {path} ({megabytes(size)})")
    return 0


def _output(options: argparse.Namespace) -> Path:
    """Check where the trace is to go before anything is computed."""
    path = Path(options.output)
    if path.suffix != ".safetensors":
        raise InputError(f"-o {quoted(path)}: the name must end in .safetensors.")
    check_output(path, force=options.force)
    if options.ids is None:
        return path
    if options.padding_side is not None:
        raise InputError("--padding-side: ids are run as they are; pad them yourself.")
    file_size(Path(options.ids), error=TraceError)
    if path.exists() and path.samefile(options.ids):
        raise InputError(f"-o {path}: is the file that --ids reads; name another.")
    return path


def _encoded(options: argparse.Namespace, name: str, model: BertModel) -> Inputs:
    """Tokenize the texts, padded to the longest."""
    tokenizer = BertTokenizer.from_pretrained(name, **source_options(options))
    if options.padding_side is not None:
        tokenizer.padding_side = options.padding_side
    texts = [(options.texts[0], options.texts[1])] if options.pair else options.texts
    return inputs_of(tokenizer(texts, padding=True, return_tensors="np"), model)
