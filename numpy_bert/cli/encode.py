"""``numpy-bert encode``: texts into vectors."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.cli.console import note, show, table
from numpy_bert.cli.source import model_name, source_options
from numpy_bert.cli.texts import read_lines
from numpy_bert.encoding.encoder import SentenceEncoder
from numpy_bert.errors import InputError
from numpy_bert.files import check_output, writing
from numpy_bert.messages import quoted

__all__ = ["load", "run"]

_FORMATS = (".npy", ".npz", ".safetensors")
_MOST_ROWS = 20
_MOST_VALUES = 4
_MOST_CHARACTERS = 40


def run(options: argparse.Namespace) -> int:
    """Encode the texts, and save the vectors or print them."""
    output = _output(options)
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
    )
    if output is not None:
        _save(output, vectors)
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


def load(options: argparse.Namespace) -> tuple[str, SentenceEncoder]:
    """Load the model that is named, or the built-in one with a word about what it is."""
    name = model_name(options)
    encoder = SentenceEncoder.from_pretrained(name, dtype=options.dtype, **source_options(options))
    for line in encoder.notes:
        note(line)
    return str(name), encoder


def _output(options: argparse.Namespace) -> Path | None:
    """Check where the vectors are to go before anything is computed."""
    if options.output is None:
        return None
    path = Path(options.output)
    if path.suffix not in _FORMATS:
        raise InputError(f"-o {quoted(path)}: the name must end in one of {', '.join(_FORMATS)}.")
    check_output(path, force=options.force)
    if options.input not in (None, "-") and path.exists() and path.samefile(options.input):
        raise InputError(f"-o {path}: is the file that --input reads; name another.")
    return path


def _texts(options: argparse.Namespace) -> list[str]:
    """Return the texts of the command line, or of a file."""
    if options.input is None and not options.texts:
        raise InputError("no text: write TEXT, or name a file with --input.")
    if options.input is None:
        return list(options.texts)
    if options.texts:
        raise InputError("TEXT and --input: give one of the two.")
    texts = read_lines(options.input)
    if not texts:
        note(f"--input {quoted(options.input)}: has no lines.")
    return texts


def _as_page(name: str, texts: list[str], vectors: Array) -> str:
    """Write the first vectors for a person, and of each the first values."""
    shown = min(_MOST_VALUES, vectors.shape[1])
    rows = [
        (number, *(f"{value:.4f}" for value in vector[:shown]), _short(text))
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


def _save(path: Path, vectors: Array) -> None:
    """Write the vectors; the file takes its name when all of it is there."""
    whole = np.ascontiguousarray(vectors)
    with writing(path) as file:
        if path.suffix == ".npy":
            np.save(file, whole, allow_pickle=False)
        elif path.suffix == ".npz":
            np.savez(file, vectors=whole)
        else:
            from safetensors.numpy import save

            file.write(save({"vectors": whole}))
    note(f"wrote {path}")
