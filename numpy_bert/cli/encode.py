"""``numpy-bert encode``: texts into vectors."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

import numpy_bert
from numpy_bert.cli.console import note, save_arrays, show, table
from numpy_bert.cli.options import (
    LINES_FROM_STDIN,
    add_examples,
    add_json,
    add_model,
    add_output,
    add_source,
    count,
    given_texts,
    model_name,
    model_options,
    output_path,
    read_lines,
    text,
)
from numpy_bert.encoding import MODES, PRECISIONS
from numpy_bert.errors import InputError

if TYPE_CHECKING:
    from numpy_bert.arrays import Array

__all__ = ["add_arguments", "load", "run"]

_ENDS = (".npy", ".npz", ".safetensors")
_MOST_ROWS = 20
_MOST_VALUES = 4
_MOST_CHARACTERS = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command is for, and what it takes."""
    parser.description = (
        "Turn texts into vectors, one each, as sentence-transformers' models do; print them, or "
        "save them to a file."
    )
    add_examples(
        parser,
        'numpy-bert encode "The sun is shining." "It is a sunny day."',
        "numpy-bert encode --input texts.txt -o vectors.npy",
        "numpy-bert encode --input texts.txt --precision ubinary -o bits.npy",
        'numpy-bert encode "It is warm." --model sentence-transformers/all-MiniLM-L6-v2',
    )
    parser.add_argument(
        "texts", metavar="TEXT", nargs="*", type=text, help=f"a text; {LINES_FROM_STDIN}"
    )
    parser.add_argument(
        "--input", metavar="FILE", help="read a text from each line, in UTF-8; - is standard input"
    )
    add_model(parser)
    _add_ways(parser)
    add_output(parser, "save the vectors: .npy, .npz or .safetensors, as 'vectors'")
    add_json(parser)
    add_source(parser)


def _add_ways(parser: argparse.ArgumentParser) -> None:
    """Add how a text becomes a vector, in place of what the model's files say."""
    parser.add_argument(
        "--normalize",
        action="store_true",
        help="scale vectors to length 1 after all, which many models do anyway",
    )
    parser.add_argument(
        "--pooling",
        choices=MODES,
        help="how tokens' vectors become the text's, in place of the model's own way",
    )
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument("--prompt", metavar="TEXT", type=text, help="put TEXT before each text")
    prompt.add_argument(
        "--prompt-name", metavar="NAME", type=text, help="put this prompt of the model there"
    )
    parser.add_argument("--truncate-dim", metavar="N", type=count, help="keep the first N features")
    parser.add_argument(
        "--batch-size", metavar="N", type=count, help="compute at most N texts together"
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="store a feature in a byte (int8, uint8) or in a bit (binary, ubinary); float32 by "
        "default, which leaves vectors as they are",
    )


def run(options: argparse.Namespace) -> int:
    """Encode the texts, and save the vectors or print them."""
    output = output_path(options, _ENDS, reads="input")
    texts = _texts(options)
    name, encoder = load(options)
    vectors = encoder.encode(
        texts,
        prompt=options.prompt,
        prompt_name=options.prompt_name,
        batch_size=options.batch_size,
        normalize_embeddings=options.normalize,
        pooling=options.pooling,
        truncate_dim=options.truncate_dim,
        precision=options.precision,
    )
    if output is not None:
        save_arrays(output, {"vectors": vectors})
    if options.json:
        report = {
            "model": name,
            "shape": list(vectors.shape),
            "dtype": vectors.dtype.name,
            "vectors": None if output is not None else vectors.tolist(),
        }
        show(json.dumps(report))
    elif output is None:
        show(_as_page(name, texts, vectors))
    return 0


def load(options: argparse.Namespace) -> tuple[str, numpy_bert.SentenceEncoder]:
    """Load the model that is named, or the built-in one with a word about what it is."""
    name = model_name(options)
    encoder = numpy_bert.SentenceEncoder.from_pretrained(name, **model_options(options))
    for line in encoder.notes:
        note(line)
    return name, encoder


def _texts(options: argparse.Namespace) -> list[str]:
    """Return the texts of the command line, of standard input, or of a file."""
    if options.input is None:
        return given_texts(options.texts)
    if options.texts:
        raise InputError("TEXT and --input: give one of the two.")
    return read_lines(options.input)


def _as_page(name: str, texts: list[str], vectors: Array) -> str:
    """Write the first vectors for a person, and of each the first values."""
    shown = min(_MOST_VALUES, vectors.shape[1])
    form = ".4f" if vectors.dtype.kind == "f" else "d"
    rows = [
        (number, *(f"{value:{form}}" for value in vector[:shown]), _short(text))
        for number, (text, vector) in enumerate(
            zip(texts[:_MOST_ROWS], vectors[:_MOST_ROWS], strict=True)
        )
    ]
    header = ("text", *(f"[{column}]" for column in range(shown)), "")
    lines = [
        f"{name}: vectors {vectors.shape}, {vectors.dtype}",
        table(header, rows, right="r" * (shown + 1)),
    ]
    if len(texts) > _MOST_ROWS:
        lines.append(f"  ... and {len(texts) - _MOST_ROWS} more")
    lines.append("Every value: --json, or -o FILE.npy.")
    return "\n\n".join(lines)


def _short(text: str) -> str:
    """Return a text as it fits into a line."""
    line = repr(text)[1:-1] if not text.isprintable() else text
    return line if len(line) <= _MOST_CHARACTERS else line[: _MOST_CHARACTERS - 3] + "..."
