"""``numpy-bert golden``: traces for a port's own tests."""

from __future__ import annotations

import argparse

import numpy_bert
from numpy_bert.cli.console import megabytes, note, show
from numpy_bert.cli.options import NAME_OR_PATH, add_examples, add_names, add_source, source_options
from numpy_bert.errors import InputError
from numpy_bert.files import as_folder
from numpy_bert.messages import quoted

__all__ = ["add_arguments", "run"]

# The size in bytes from which a pack is written only if that is said.
_LARGE = 200_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command is for, and what it takes."""
    parser.description = (
        "Write traces in float64 of a few texts that exercise pairs, padding on both sides, rare "
        "ids and the longest input: what a port's own tests can compare with."
    )
    add_examples(
        parser,
        "numpy-bert golden demo -o golden",
        "numpy-bert golden bert-base-uncased --names embeddings 'encoder.layer.0*' -o golden",
    )
    parser.add_argument("model", metavar="NAME_OR_PATH", help=NAME_OR_PATH)
    add_names(parser)
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="make this folder")
    parser.add_argument(
        "--yes",
        action="store_true",
        help="write a pack of more than 200 MB, as a model of six layers and more gives",
    )
    add_source(parser)


def run(options: argparse.Namespace) -> int:
    """Write a pack and print its files."""
    from numpy_bert.traces.golden import golden_size, write_golden
    from numpy_bert.traces.recording import Recorder

    folder, source = as_folder(options.output, "-o"), source_options(options)
    model = numpy_bert.AutoModel.from_pretrained(options.model, dtype="float64", **source)
    tokenizer = numpy_bert.BertTokenizer.from_pretrained(options.model, **source)
    recorder = Recorder(model, options.model, **source)
    size = golden_size(model, tokenizer, recorder, options.names)
    if size > _LARGE and not options.yes:
        raise InputError(
            f"{options.output}: the pack will have {megabytes(size)}; add --yes to write it all "
            "the same, or name fewer steps with --names."
        )
    note(f"{quoted(options.output)}: writing {megabytes(size)}")
    written = write_golden(
        folder,
        model,
        tokenizer,
        recorder,
        name=str(options.model),
        names=options.names,
    )
    show("\n".join(str(path) for path in written))
    return 0
