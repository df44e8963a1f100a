"""``numpy-bert encode``: texts into vectors."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    tell_of_terminal,
    text,
)
from numpy_bert.encoding import MODES, PRECISIONS
from numpy_bert.errors import InputError
from numpy_bert.messages import quoted

if TYPE_CHECKING:
    from numpy_bert.arrays import Array

__all__ = ["add_arguments", "load", "run"]

_HALF = "float16"
_PRECISIONS = (PRECISIONS[0], _HALF, *PRECISIONS[1:])
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
        "numpy-bert encode --input texts.txt --precision float16 -o vectors.jsonl",
        "numpy-bert encode --input texts.txt --index sentences.index",
        'numpy-bert encode "It is warm." --model sentence-transformers/all-MiniLM-L6-v2',
    )
    parser.add_argument(
        "texts", metavar="TEXT", nargs="*", type=text, help=f"a text; {LINES_FROM_STDIN}"
    )
    add_model(parser)
    _add_ways(parser)
    add_output(
        parser,
        "save the vectors: .npy, .npz or .safetensors, as 'vectors'; with --input .jsonl or "
        ".parquet, too, beside the texts",
    )
    add_json(parser)
    add_source(parser)
    _add_corpus(parser)


def _add_corpus(parser: argparse.ArgumentParser) -> None:
    """Add where a corpus is read from, and what becomes of a job that was stopped."""
    group = parser.add_argument_group(
        "a corpus, with -o or --index; stopped and given again, the command goes on"
    )
    group.add_argument(
        "--input",
        metavar="FILE",
        help="read texts in UTF-8: lines, a column of a table or of Parquet, or JSON lines; - is "
        "standard input",
    )
    group.add_argument(
        "--index",
        metavar="DIR",
        help="make a folder of the texts and their vectors, which numpy-bert search reads; vectors "
        "are of documents, in float32 or float16",
    )
    group.add_argument(
        "--input-format",
        choices=("text", "csv", "tsv", "jsonl", "parquet"),
        help="how FILE is read, in place of what its name says (.csv, .tsv, .jsonl, .parquet, and "
        "text lines for others); .gz, .bz2 and .xz are unpacked",
    )
    group.add_argument(
        "--text-column",
        metavar="NAME",
        help="the column, or JSON's member, that has the texts; 'text' by default",
    )
    group.add_argument(
        "--bad-lines",
        metavar="FILE",
        help="put what is no text aside, as lines of JSON; without it the first is an error",
    )
    group.add_argument(
        "--restart", action="store_true", help="throw away what an earlier run left, and begin anew"
    )


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
        choices=_PRECISIONS,
        default="float32",
        help="store a feature in two bytes (float16), in one (int8, uint8) or in a bit (binary, "
        "ubinary); float32 by default, which leaves vectors as they are",
    )


def run(options: argparse.Namespace) -> int:
    """Encode the texts, and save the vectors or print them."""
    _check(options)
    if options.input is not None and (options.output or options.index) is not None:
        return _encode_corpus(options)
    output = output_path(options, _ENDS)
    texts = given_texts(options.texts) if options.input is None else _read(options)
    name, encoder = load(options)
    is_half = options.precision == _HALF
    vectors = encoder.encode(
        texts, **_ways(options), precision="float32" if is_half else options.precision
    )
    if is_half:
        from numpy_bert.encoding.quantization import as_float16

        vectors = as_float16(vectors, "text {}".format)
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


def _check(options: argparse.Namespace) -> None:
    """Raise InputError for options that do not go together; say what is waited for."""
    if options.texts and options.input is not None:
        raise InputError("TEXT and --input: give one of the two.")
    if options.input is None and (options.input_format or options.text_column):
        flag = "--input-format" if options.input_format else "--text-column"
        raise InputError(f"{flag}: says how --input FILE is read; give that, too.")
    if options.index is not None and (options.input is None or options.output is not None):
        raise InputError("--index: is for --input FILE in place of -o; give these two alone.")
    is_job = options.input is not None and (options.output or options.index) is not None
    if not is_job and (options.bad_lines is not None or options.restart):
        flag = "--restart" if options.restart else "--bad-lines"
        raise InputError(f"{flag}: is for --input FILE with -o or --index; give both.")
    if options.input == "-":
        tell_of_terminal("texts, one a line,")


def _encode_corpus(options: argparse.Namespace) -> int:
    """Encode a corpus block by block, and say what has been done."""
    from dataclasses import asdict

    from numpy_bert.corpora.index_output import encode_index
    from numpy_bert.corpora.job import encode_corpus
    from numpy_bert.corpora.outputs import file_output

    is_index = options.index is not None
    output = None if is_index else file_output(Path(options.output), options.precision)
    name, encoder = load(options)
    given = {
        **_ways(options),
        "precision": options.precision,
        "input_format": options.input_format,
        "text_column": options.text_column,
        "bad_lines": options.bad_lines,
        "force": options.force,
        "restart": options.restart,
        "note": note,
    }
    place = {"revision": options.revision, "cache_folder": options.cache_dir}
    try:
        if output is None:
            report = encode_index(encoder, options.input, options.index, name, **place, **given)
        else:
            report = encode_corpus(encoder, options.input, output, **given)
    except (KeyboardInterrupt, SystemExit):
        note("stopped; the same command goes on behind the last whole block.")
        raise
    if options.json:
        show(json.dumps({"model": name, **asdict(report)}))
        return 0
    bad = f" {report.bad:,} bad lines are in {quoted(options.bad_lines)}." if report.bad else ""
    note(
        f"wrote {quoted(report.output)}: {report.texts:,} texts; {report.seconds:,.1f} s, "
        f"{report.texts_per_second:,.0f} texts/s.{bad}"
    )
    return 0


def _ways(options: argparse.Namespace) -> dict[str, Any]:
    """Return how a text becomes a vector, as `SentenceEncoder.encode` takes it."""
    return {
        "prompt": options.prompt,
        "prompt_name": options.prompt_name,
        "batch_size": options.batch_size,
        "normalize_embeddings": options.normalize,
        "pooling": options.pooling,
        "truncate_dim": options.truncate_dim,
    }


def load(options: argparse.Namespace) -> tuple[str, numpy_bert.SentenceEncoder]:
    """Load the model that is named, or the built-in one with a word about what it is."""
    name = model_name(options)
    encoder = numpy_bert.SentenceEncoder.from_pretrained(name, **model_options(options))
    for line in encoder.notes:
        note(line)
    return name, encoder


def _read(options: argparse.Namespace) -> list[str]:
    """Return the texts of a file, or of standard input."""
    from numpy_bert.corpora.sources import open_source
    from numpy_bert.corpora.tape import Tape

    column, form = options.text_column, options.input_format
    with open_source(options.input, column=column, form=form) as source:
        texts = list(Tape(source).texts())
        if not texts:
            note(f"{quoted(source.where)}: has no texts.")
    return texts


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
