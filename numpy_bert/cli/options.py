"""Arguments that several commands take, and what comes of them; reading them imports no numpy."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from numpy_bert.cli.console import note
from numpy_bert.errors import InputError
from numpy_bert.files import check_output, check_pointer, decode_lines, decode_text, file_size, look
from numpy_bert.messages import quoted, shown

__all__ = [
    "FROM_STDIN",
    "LINES_FROM_STDIN",
    "NAME_OR_PATH",
    "add_examples",
    "add_json",
    "add_model",
    "add_names",
    "add_output",
    "add_source",
    "add_task",
    "add_text",
    "add_truncate",
    "count",
    "given_text",
    "given_texts",
    "is_same_file",
    "model_name",
    "model_options",
    "natural",
    "output_path",
    "read_lines",
    "read_text",
    "source_options",
    "tell_of_terminal",
    "text",
]

NAME_OR_PATH = "a folder, or a repository on the hub"
# What the help of a text says that `given_texts` or `given_text` finds.
LINES_FROM_STDIN = "without any, or with -, the lines of standard input are read, a text each"
FROM_STDIN = "without it, or with -, standard input is read"
# More bytes than one text may have characters are somebody's mistake.
_LARGEST_TEXT = 20_000_000


def add_examples(parser: argparse.ArgumentParser, *commands: str) -> None:
    """Show commands at the end of the help, which the tests run where they need `demo` alone."""
    heading = "example:" if len(commands) == 1 else "examples:"
    parser.epilog = "\n".join([heading, *(f"  {command}" for command in commands)])


def add_text(parser: argparse.ArgumentParser) -> None:
    """Add a text, or a pair of texts, and the model that reads it."""
    parser.add_argument(
        "text", metavar="TEXT", nargs="?", type=text, help=f"the text; {FROM_STDIN}"
    )
    parser.add_argument(
        "text_pair", metavar="TEXT2", nargs="?", type=text, help="a second text, of a pair"
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
        "--cache-dir",
        metavar="DIR",
        help="use this cache, in huggingface_hub's layout; by default that of HF_HUB_CACHE or "
        "HF_HOME, or ~/.cache/huggingface/hub",
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
        raise argparse.ArgumentTypeError(f"{shown(argument)} is not a whole number from {least}")
    return int(argument)


def given_texts(words: Sequence[str]) -> list[str]:
    """Return the texts of the command line, or where there is none, or ``-``, those of stdin."""
    if list(words) in ([], ["-"]):
        return read_lines("-")
    _tell_of_files(words)
    return list(words)


def given_text(word: str | None) -> str:
    """Return the text of the command line, or where there is none, or ``-``, that of stdin."""
    if word in (None, "-"):
        return read_text("-")
    _tell_of_files([word])
    return word


def _tell_of_files(words: Sequence[str]) -> None:
    """Tell which texts are names of files, whose contents were probably meant."""
    for word in words:
        if look(Path(word)) == "file":
            note(
                f"{quoted(word)} is taken as a text, not as the file of that name; < "
                f"{quoted(word)} reads the file."
            )


def read_lines(name: str) -> list[str]:
    """Return the lines of a file, or with ``-`` of standard input, as `decode_lines` has them.

    An empty line is an empty text, so that line and result have one number.

    Raises
    ------
    InputError
        If it cannot be read, or a line, which is named, is not UTF-8.
    """
    with _opened(name, "texts, one a line,") as (file, where):
        texts = decode_lines(file, where=where, error=InputError)
    if not texts:
        note(f"{quoted(where)}: has no lines.")
    return texts


def read_text(name: str) -> str:
    """Return the whole of a file, or with ``-`` of standard input, as one text.

    Raises
    ------
    InputError
        If it cannot be read, is too large for a text, or is not UTF-8; its line is named.
    """
    with _opened(name, "a text") as (file, where):
        data = file.read(_LARGEST_TEXT + 1)
    if len(data) > _LARGEST_TEXT:
        raise InputError(f"{quoted(where)}: has more than {_LARGEST_TEXT:,} bytes; give a part.")
    check_pointer(data, where=where, error=InputError)
    return decode_text(data, where=where, error=InputError).removesuffix("\n")


@contextlib.contextmanager
def _opened(name: str, what: str) -> Iterator[tuple[BinaryIO, str]]:
    """Open a regular file, or standard input, which stays open; yield what it is called, too."""
    where = "standard input" if name == "-" else name
    try:
        if name == "-":
            yield _standard_input(what), where
        else:
            file_size(Path(name), error=InputError)
            with Path(name).open("rb") as file:
                yield file, where
    except OSError as failure:
        reason = failure.strerror or failure
        raise InputError(f"{quoted(where)}: cannot be read ({reason}).") from None


def _standard_input(what: str) -> BinaryIO:
    """Return standard input, and tell whoever sits at it what is waited for."""
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("standard input: is closed; give the text as an argument.")
    stream: BinaryIO | None = getattr(sys.stdin, "buffer", None)
    if stream is None:  # another program's, which holds text
        return io.BytesIO(sys.stdin.read().encode())
    tell_of_terminal(what)
    return stream


def tell_of_terminal(what: str) -> None:
    """Tell whoever sits at standard input what is waited for."""
    stream = getattr(sys.stdin, "buffer", None)
    if stream is not None and not stream.closed and stream.isatty():
        end = "Ctrl-Z and Enter" if os.name == "nt" else "Ctrl-D"
        note(f"type {what} and end with {end}; --help says what else can be given.")


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
