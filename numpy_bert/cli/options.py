"""Arguments that several commands take, and what comes of them; reading them imports no numpy."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy_bert.cli.console import note
from numpy_bert.errors import InputError
from numpy_bert.files import check_output
from numpy_bert.messages import quoted

__all__ = [
    "NAME_OR_PATH",
    "add_json",
    "add_model",
    "add_names",
    "add_output",
    "add_source",
    "add_task",
    "add_text",
    "add_truncate",
    "count",
    "is_same_file",
    "model_name",
    "model_options",
    "natural",
    "output_path",
    "source_options",
    "text",
]

NAME_OR_PATH = "a folder, or a repository on the hub"


def add_text(parser: argparse.ArgumentParser) -> None:
    """Add a text, or a pair of texts, and the model that reads it."""
    parser.add_argument("text", metavar="TEXT", type=text, help="the text")
    parser.add_argument(
        "text_pair", metavar="TEXT2", nargs="?", type=text, help="a second text, as segment 1"
    )
    add_model(parser)


def add_model(
    parser: argparse.ArgumentParser,
    *,
    trained: str = "",
    default: str = "the built-in 'demo'",
    dtype: str = "float32",
) -> None:
    """Add the model that is used, which must be named without a default, and its dtype."""
    parser.add_argument(
        "--model",
        metavar="NAME_OR_PATH",
        required=not default,
        help=f"{NAME_OR_PATH}{trained}{default and f'; {default} by default'}",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64"),
        default=dtype,
        help=f"what the model computes in; {dtype} by default",
    )


def add_task(parser: argparse.ArgumentParser, *, default: str = "") -> None:
    """Add what a task's command takes; a model must be named unless there is a default."""
    add_model(parser, trained=", trained for this task", default=default)
    add_json(parser)
    add_source(parser)


def add_source(parser: argparse.ArgumentParser, *, flag: str = "--token") -> None:
    """Add where a model comes from; `flag` is the option that sends the hub's token."""
    group = parser.add_argument_group("where the model comes from")
    group.add_argument(
        "--revision", metavar="REV", help="use this branch, tag or commit; main by default"
    )
    group.add_argument(
        "--cache-dir", metavar="DIR", help="use this cache, in huggingface_hub's layout"
    )
    group.add_argument("--offline", action="store_true", help="make no request")
    group.add_argument(
        flag, dest="token", action="store_true", help="send the saved token (HF_TOKEN)"
    )


def add_output(parser: argparse.ArgumentParser, what: str, *, required: bool = False) -> None:
    """Add the file that a command writes, described by `what`, and whether it may replace one."""
    parser.add_argument("-o", "--output", metavar="FILE", required=required, help=what)
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")


def add_truncate(parser: argparse.ArgumentParser) -> None:
    """Add whether a text may be cut."""
    parser.add_argument(
        "--truncate", action="store_true", help="cut a text that is longer than the model reads"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add whether the result is printed for a machine."""
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")


def add_names(parser: argparse.ArgumentParser) -> None:
    """Add which steps of a trace are saved."""
    parser.add_argument(
        "--names",
        metavar="GLOB",
        nargs="+",
        help="save only these steps, such as embeddings 'encoder.layer.*.attention'",
    )


def text(argument: str) -> str:
    """Read a text as UTF-8 whatever the locale is; other bytes are left for the tokenizer."""
    try:
        return os.fsencode(argument).decode("utf-8")
    except UnicodeError:
        return argument


def count(argument: str) -> int:
    """Read a whole number from 1."""
    return _whole(argument, least=1, digits=9)


def natural(argument: str) -> int:
    """Read a whole number from 0: a seed, a position."""
    return _whole(argument, least=0, digits=100)


def _whole(argument: str, *, least: int, digits: int) -> int:
    """Read a whole number from `least`, of at most so many digits."""
    is_number = argument.isascii() and argument.isdigit() and len(argument) <= digits
    if not is_number or int(argument) < least:
        raise argparse.ArgumentTypeError(f"{argument[:100]!r} is not a whole number from {least}")
    return int(argument)


def model_name(options: argparse.Namespace) -> str:
    """Return the model that is named, or the built-in one with a word about what it is."""
    if options.model is not None:
        return str(options.model)
    note("model 'demo' (built in, small); name another with --model NAME_OR_PATH.")
    return "demo"


def source_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_source` was told, as `numpy_bert.fetch` and ``from_pretrained`` take it."""
    return {
        "revision": options.revision,
        "cache_dir": options.cache_dir,
        "local_files_only": options.offline,
        "token": options.token,
    }


def model_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return what a model's ``from_pretrained`` takes: what it computes in, and where it is."""
    return {"dtype": options.dtype, **source_options(options)}


def output_path(
    options: argparse.Namespace, ends: Sequence[str], *, reads: str = ""
) -> Path | None:
    """Return the file that is to be written, checked before anything is computed.

    Parameters
    ----------
    options : argparse.Namespace
        The options of a command that has called `add_output`.
    ends : sequence of str
        What the file's name may end in.
    reads : str
        The option that names a file which the command reads, and so must not replace.

    Returns
    -------
    Path or None
        None if no file is named.
    """
    if options.output is None:
        return None
    path = Path(options.output)
    if path.suffix not in ends:
        allowed = ends[0] if len(ends) == 1 else f"one of {', '.join(ends)}"
        raise InputError(f"-o {quoted(path)}: the name must end in {allowed}.")
    check_output(path, force=options.force)
    if reads and is_same_file(path, getattr(options, reads)):
        raise InputError(f"-o {path}: is the file that --{reads} reads; name another.")
    return path


def is_same_file(path: Path, other: str | None) -> bool:
    """Tell whether both names are of one file that is there."""
    with contextlib.suppress(OSError):  # one is not there, which whoever reads it says
        return other is not None and path.samefile(other)
    return False
