"""The arguments that say where a model comes from, as loading takes them."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["source_options"]


def source_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the keyword arguments of `numpy_bert.fetch` and of every ``from_pretrained``."""
    return {
        "revision": options.revision,
        "cache_dir": options.cache_dir,
        "local_files_only": options.offline,
        "token": options.token,
    }
