"""``numpy-bert fetch``: download a checkpoint, verified."""

from __future__ import annotations

import argparse

from numpy_bert.cli.console import megabytes, note, show
from numpy_bert.cli.source import source_options
from numpy_bert.loading.cache import used_files
from numpy_bert.loading.hub import fetch, verify_again

__all__ = ["run"]


def run(options: argparse.Namespace) -> int:
    """Print the folder on stdout, so that a script can use it, and what is in it on stderr."""
    folder = fetch(options.model, **source_options(options))
    if options.verify:
        checked = verify_again(folder)
        note(
            f"{len(checked)} files hashed again, all as published."
            if checked
            else "nothing to hash: these files did not come from a hub's cache."
        )
    files = used_files(folder)
    size = sum(path.stat().st_size for path in files)
    note(f"{len(files)} files, {megabytes(size)}")
    show(str(folder))
    return 0
