"""``numpy-bert fetch``: download a checkpoint, verified."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy_bert
from numpy_bert.cli.console import megabytes, note, show
from numpy_bert.cli.options import add_examples, add_source, source_options
from numpy_bert.errors import InputError
from numpy_bert.files import check_output, write_atomically

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
        "numpy-bert fetch sentence-transformers/all-MiniLM-L6-v2 --lock minilm.sha256",
        "numpy-bert fetch ./minilm --sha256 minilm.sha256",
    )
    parser.add_argument("model", metavar="NAME", help="a repository on the hub, or a folder")
    parser.add_argument(
        "--only",
        choices=("embeddings",),
        help="fetch no more of the weights than the input embedding's, about a fifth; this must be "
        "asked for, since a part of a file cannot be checked against the whole file's hash",
    )
    parser.add_argument("--verify", action="store_true", help="hash every file again")
    parser.add_argument(
        "--sha256",
        metavar="FILE",
        help="hold every file, of a folder too, to the hashes in FILE, which is in the format of "
        "sha256sum; where FILE names the commit, fetch that",
    )
    parser.add_argument(
        "--lock", metavar="FILE", help="write the commit and the sha256 of every file to FILE"
    )
    parser.add_argument("--force", action="store_true", help="replace the file of --lock")
    add_source(parser)


def run(options: argparse.Namespace) -> int:
    """Print the folder on stdout, so that a script can use it, and what is in it on stderr."""
    from numpy_bert.loading.cache import used_files

    _check(options)
    folder = numpy_bert.fetch(
        options.model, only=options.only, sha256=options.sha256, **source_options(options)
    )
    if options.sha256 is not None:
        note(f"every file is as {options.sha256} has it.")
    if options.verify:
        _verify(folder, held=options.sha256 is not None)
    if options.lock is not None:
        _lock(folder, options)
    files = used_files(folder)
    size = sum(path.stat().st_size for path in files)
    note(f"{len(files)} files, {megabytes(size)}")
    show(str(folder))
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse what could not be written, before anything is fetched."""
    if options.lock is None:
        return
    if options.only is not None:
        raise InputError("--lock and --only cannot be given both: a part has no published hash.")
    check_output(Path(options.lock), force=options.force)


def _lock(folder: Path, options: argparse.Namespace) -> None:
    """Write the hashes of a folder's files, and which commit's they are."""
    from numpy_bert.loading.cache import local_folder
    from numpy_bert.loading.sums import sums_text

    fetched = local_folder(options.model) is None
    text = sums_text(folder, options.model, folder.name) if fetched else sums_text(folder)
    write_atomically(Path(options.lock), text.encode())
    note(f"{options.lock} holds the hashes.")


def _verify(folder: Path, *, held: bool) -> None:
    """Hash all files again, and say what that proves; with `held` that is said already."""
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
    if not checked and not held:
        note(
            "nothing to hash: these files did not come from a hub's cache. --sha256 FILE holds "
            "them to published hashes."
        )
