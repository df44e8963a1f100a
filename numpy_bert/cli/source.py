"""The arguments that say where a model comes from, as loading takes them."""

from __future__ import annotations

import argparse
from typing import Any

from numpy_bert.cli.console import note

__all__ = ["model_name", "source_options"]


def model_name(options: argparse.Namespace) -> str:
    """Return the model that is named, or the built-in one with a word about what it is."""
    if options.model is not None:
        return str(options.model)
    note("model 'demo' (built in, small); name another with --model NAME_OR_PATH.")
    return "demo"


def source_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the keyword arguments of `numpy_bert.fetch` and of every ``from_pretrained``."""
    return {
        "revision": options.revision,
        "cache_dir": options.cache_dir,
        "local_files_only": options.offline,
        "token": options.token,
    }
