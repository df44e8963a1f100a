"""The command line, ``numpy-bert``: one module a command, and the only place that prints.

A command's module is named after it and has two functions: `add_arguments`, which says what the
command is for and what it takes, and `run`, which does it and returns the exit status. What is slow
to import is imported where it is used, so that help and wrong arguments need no NumPy.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType

from numpy_bert import __version__
from numpy_bert.cli.console import complain, note
from numpy_bert.cli.parser import Parser
from numpy_bert.errors import InputError, NumpyBertError, TraceError

__all__ = ["COMMANDS", "main"]

# Every command, in the order of the help, and its line there.
COMMANDS = {
    "embed": "print a text's input embedding",
    "explain": "draw a text's way through BERT",
    "encode": "turn texts into vectors",
    "similarity": "say how alike two texts are",
    "inspect": "list what a checkpoint holds",
    "fetch": "download a checkpoint",
    "tune": "measure what is fast on this machine",
    "fill-mask": "find the words that fit at [MASK]",
    "classify": "label a text or a pair of texts",
    "tag": "find the names in a text, or other labels of words",
    "answer": "find the answer to a question in a text",
    "train": "train a model further",
    "trace": "save every intermediate of a run",
    "verify": "say what is wrong with a port's trace, and why",
    "bisect": "say which arrays of a port to save next, or run it, to find its guilty step",
    "compare": "find the first difference of two traces",
    "golden": "write traces for a port's own tests",
}
_COMPARING = ("bisect", "compare", "verify")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the program's name; ``sys.argv`` by default.

    Returns
    -------
    int
        0 for success, 1 for failure, 2 for wrong usage, as after any wrong argument (argparse
        exits with it), 130 after Ctrl-C, 141 where the reader of a pipe went away. Commands that
        compare return 0 for the same, 1 for a difference, and 2 where they could not compare.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    options = _parsed(sys.argv[1:] if arguments is None else list(arguments))
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _shower()
        try:
            return int(_module(options.command).run(options))
        except NumpyBertError as failure:
            complain(options.command, str(failure))
            is_usage = isinstance(failure, (InputError, TraceError))
            return 2 if is_usage or options.command in _COMPARING else 1
        except MemoryError:
            complain(options.command, "out of memory.")
            return 2 if options.command in _COMPARING else 1
        except KeyboardInterrupt:
            return 130
        except BrokenPipeError:
            return 141
        except Exception:  # whatever it was, nothing has been compared
            if options.command not in _COMPARING:
                raise
            import traceback

            traceback.print_exc()
            return 2


def _parsed(words: list[str]) -> argparse.Namespace:
    """Read the arguments; of the commands' modules only the one that is asked for is imported."""
    parser = Parser(prog="numpy-bert", description="BERT in NumPy, from scratch.")
    parser.add_argument("--version", action="version", version=f"numpy-bert {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, line in COMMANDS.items():
        commands.add_parser(name, help=line)
    if not words:
        parser.print_help(sys.stderr)
        parser.exit(2)
    if words[0] == "help":
        words = [*words[1:], "--help"]
    place = next((i for i, word in enumerate(words) if not word.startswith("-")), len(words))
    parser.check_options(words[:place])
    asked = commands.choices.get(words[place]) if place < len(words) else None
    if asked is not None:
        _module(words[place]).add_arguments(asked)
        asked.check_options(words[place + 1 :])
    options, extra = parser.parse_known_args(words)
    if extra and asked is not None:
        asked.too_many(extra[0], words)
    return options


def _module(command: str) -> ModuleType:
    return importlib.import_module(f"numpy_bert.cli.{command.replace('-', '_')}")


def _shower() -> Callable[..., None]:
    """Return what prints a warning as a note to a person, each once and without its line of code.

    A model that is judged again and again would say each time which texts it cuts.
    """
    said = set()

    def show_warning(message: Warning | str, *_: object, **__: object) -> None:
        if str(message) not in said:
            said.add(str(message))
            note(str(message))

    return show_warning
