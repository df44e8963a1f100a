"""``numpy-bert fetch``: download a checkpoint, verified."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy_bert
from numpy_bert.cli.console import megabytes, note, show
from numpy_bert.cli.options import add_examples, add_source, source_options

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command is for, and what it takes."""
    parser.description = (
        "Download a published safetensors checkpoint into the cache, or bring it up to date, "
        "verify every file against its hash, and print the folder."
    )
    add_examples(
        parser,
        "numpy-bert fetch sentence-transformers/all-MiniLM-L6-v2",
    )
    parser.add_argument("model", metavar="NAME", help="a repository on the hub")
    parser.add_argument(
        "--only",
        choices=("embeddings",),
        help="fetch no more of the weights than the input embedding's, about a fifth; this must be "
        "asked for, since a part of a file cannot be checked against the whole file's hash",
    )
    parser.add_argument("--verify", action="store_true", help="hash every file again")
    add_source(parser)


def run(options: argparse.Namespace) -> int:
    """Print the folder on stdout, so that a script can use it, and what is in it on stderr."""
    from numpy_bert.loading.cache import used_files

    folder = numpy_bert.fetch(options.model, only=options.only, **source_options(options))
    if options.verify:
        _verify(folder)
    files = used_files(folder)
    size = sum(path.stat().st_size for path in files)
    note(f"{len(files)} files, {megabytes(size)}")
    show(str(folder))
    return 0


def _verify(folder: Path) -> None:
    """Hash all files again, and say what that proves."""
    from numpy_bert.loading.cache import is_part
    from numpy_bert.loading.checkpoint import SINGLE
    from numpy_bert.loading.hub import verify_again

    checked = verify_again(folder)
    part = [path for path in checked if is_part(folder) and path.name == SINGLE]
    published = len(checked) - len(part)
    if published:
        note(f"{published} files hashed again, all as published.")
    if part:
        note(
            f"{SINGLE} is as it was downloaded. It is a part of a file, which cannot be checked "
            "against the hash that was published for the whole."
        )
    if not checked:
        note("nothing to hash: these files did not come from a hub's cache.")
