"""``numpy-bert fetch``: download a checkpoint, verified."""

from __future__ import annotations

import argparse
from pathlib import Path

from numpy_bert.cli.console import megabytes, note, show
from numpy_bert.cli.source import source_options
from numpy_bert.loading.cache import is_part, used_files
from numpy_bert.loading.checkpoint import SINGLE
from numpy_bert.loading.hub import fetch, verify_again

__all__ = ["run"]


def run(options: argparse.Namespace) -> int:
    """Print the folder on stdout, so that a script can use it, and what is in it on stderr."""
    folder = fetch(options.model, only=options.only, **source_options(options))
    if options.verify:
        _verify(folder)
    files = used_files(folder)
    size = sum(path.stat().st_size for path in files)
    note(f"{len(files)} files, {megabytes(size)}")
    show(str(folder))
    return 0


def _verify(folder: Path) -> None:
    """Hash all files again, and say what that proves."""
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
