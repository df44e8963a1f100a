"""Arguments that several commands take, and how they are read."""

from __future__ import annotations

import argparse
import os

__all__ = ["add_model", "add_source", "count", "natural", "text"]


def add_model(parser: argparse.ArgumentParser, *, dtype: str = "float32") -> None:
    """Add which model is used, and what it computes in."""
    parser.add_argument(
        "--model",
        metavar="NAME_OR_PATH",
        help="a folder, or a repository on the hub; the built-in 'demo' by default",
    )
    parser.add_argument(
        "--dtype", choices=("float32", "float64"), default=dtype, help=f"{dtype} by default"
    )


def add_source(parser: argparse.ArgumentParser, *, flag: str = "--token") -> None:
    """Add what says where a model comes from; `flag` sends the hub's token."""
    group = parser.add_argument_group("where the model comes from")
    group.add_argument("--revision", metavar="REV", help="branch, tag or commit; main by default")
    group.add_argument("--cache-dir", metavar="DIR", help="the cache, in huggingface_hub's layout")
    group.add_argument("--offline", action="store_true", help="make no request")
    group.add_argument(
        flag, dest="token", action="store_true", help="send the saved token (HF_TOKEN)"
    )


def text(argument: str) -> str:
    """Read a text as UTF-8 whatever the locale is; other bytes are left for the tokenizer."""
    try:
        return os.fsencode(argument).decode("utf-8")
    except UnicodeError:
        return argument


def count(argument: str) -> int:
    """Read a whole number from 1."""
    if not argument.isascii() or not argument.isdigit() or len(argument) > 9 or int(argument) < 1:
        raise argparse.ArgumentTypeError(f"{argument[:100]!r} is not a whole number from 1")
    return int(argument)


def natural(argument: str) -> int:
    """Read a whole number from 0: a seed, a position."""
    if not argument.isascii() or not argument.isdigit() or len(argument) > 100:
        raise argparse.ArgumentTypeError(f"{argument[:100]!r} is not a whole number from 0")
    return int(argument)
