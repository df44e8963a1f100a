"""The command line, ``numpy-bert``: one module a command, and the only place that prints.

A command's module is named after it and has two functions: `add_arguments`, which says what the
command is for and what it takes, and `run`, which does it and returns the exit status. What is slow
to import is imported where it is used, so that help and wrong arguments need no NumPy.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType

from numpy_bert import __version__
from numpy_bert.cli.console import complain, hold_standard_streams, note, tell
from numpy_bert.cli.parser import Parser
from numpy_bert.errors import InputError, NumpyBertError, TraceError
from numpy_bert.messages import quoted

__all__ = ["COMMANDS", "main"]

# Every command by what it is for, in the order of the help, and its line there.
_GROUPS = {
    "vectors": {
        "encode": "turn texts, or the lines of a file, into sentence vectors",
        "search": "find the texts of an index that are most like a query",
        "similarity": "say how alike two texts are",
        "serve": "answer requests for vectors, or for ranks, over HTTP",
    },
    "what a model says about a text": {
        "fill-mask": "find the words that fit at [MASK]",
        "classify": "label a text, such as positive or negative, or a pair of texts",
        "tag": "find the names of people and places in a text, or other labels",
        "answer": "find the answer to a question in a text",
        "rerank": "say which of several texts answer a query best",
    },
    "how BERT reads a text": {
        "explain": "show it in the terminal, as a page or as a picture",
        "embed": "print the input embedding, step by step",
        "trace": "save every intermediate of a run to a file",
    },
    "a model of your own": {
        "train": "train a model on pairs of texts, labelled texts or plain texts",
    },
    "your own BERT, checked": {
        "verify": "say what is wrong with a port's trace, and why",
        "bisect": "find the guilty step of a port with few of its arrays",
        "compare": "find the first difference of two traces",
        "golden": "write traces for a port's own tests",
    },
    "models, and this machine": {
        "fetch": "download a model into the cache, or bring it up to date",
        "inspect": "list what a checkpoint holds: config, tensors, sizes",
        "tune": "measure what is fast on this machine, and keep it",
        "completion": "let a shell complete commands and options",
    },
}
COMMANDS = {name: line for group in _GROUPS.values() for name, line in group.items()}
_EXAMPLE = """\
example:
  numpy-bert similarity "The sun is shining." "It is a sunny day."

The small built-in 'demo' is used unless --model names another; classify, tag, answer and \
rerank need one that was trained for them.
numpy-bert COMMAND --help shows the options of a command, and examples."""
# More characters of an argument are not repeated.
_LONG = 200
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
        0 for success, 1 for failure, 2 for wrong usage, 130 after Ctrl-C, 141 where the reader of a
        pipe went away. Commands that compare return 0 for the same, 1 for a difference, and 2 where
        they could not compare.

    Raises
    ------
    SystemExit
        After any wrong argument (2), the help (0), or SIGTERM (143).
    """
    hold_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):  # it is closed
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    command = ""
    with warnings.catch_warnings(), _leaving_in_order():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _shower()
        words = sys.argv[1:] if arguments is None else list(arguments)
        try:
            options = _parsed(words)
            command = options.command
            return int(_module(command).run(options))
        except NumpyBertError as failure:
            complain(command, _repeating(str(failure), words))
            is_usage = isinstance(failure, (InputError, TraceError))
            return 2 if is_usage or command in _COMPARING else 1
        except MemoryError as failure:
            said = f": {failure}" if str(failure) else ""  # NumPy's own words
            complain(command, f"out of memory{said}. Give it less at a time.")
            return 2 if command in _COMPARING else 1
        except KeyboardInterrupt:
            return 130
        except BrokenPipeError:
            return 141
        except Exception:  # whatever it was, nothing has been compared
            if command not in _COMPARING:
                raise
            import traceback

            tell(traceback.format_exc())
            return 2


@contextlib.contextmanager
def _leaving_in_order() -> Iterator[None]:
    """Have a signal that ends the program end it as Ctrl-C does, so that files are removed."""
    import signal

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    names = ("SIGTERM", "SIGHUP")
    ours = [getattr(signal, name) for name in names if hasattr(signal, name)]
    ours = [number for number in ours if signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in ours:
            signal.signal(number, leave)
    except ValueError:  # in a thread of another program, whose signals are not ours
        ours = []
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _parsed(words: list[str]) -> argparse.Namespace:
    """Read the arguments; of the commands' modules only the one that is asked for is imported."""
    parser = Parser(
        prog="numpy-bert",
        usage="numpy-bert [-h] [--version] COMMAND ...",
        description=_overview(),
        epilog=_EXAMPLE,
    )
    parser.add_argument("--version", action="version", version=f"numpy-bert {__version__}")
    commands = parser.add_subparsers(
        dest="command",
        required=True,
        metavar="COMMAND",
        prog="numpy-bert",
        help=argparse.SUPPRESS,  # the overview has them, by groups
    )
    # Of all names; a parser, which takes time to make, gets only the one that is asked for.
    commands.choices = COMMANDS  # type: ignore[assignment]
    if not words:
        tell(parser.format_help())
        parser.exit(2)
    if words[0] == "help":
        words = [*words[1:], "--help"]
    place = next((i for i, word in enumerate(words) if not word.startswith("-")), len(words))
    parser.check_options(words[:place])
    asked = None
    if place < len(words) and words[place] in COMMANDS:
        asked = commands.add_parser(words[place])
        _module(words[place]).add_arguments(asked)
        asked.check_options(words[place + 1 :])
    options, extra = parser.parse_known_args(words)
    if extra and asked is not None:
        asked.too_many(extra[0], words)
    return options


def _overview() -> str:
    """Return the commands, group by group."""
    lines = ["BERT in NumPy, from scratch: sentence vectors, answers, and every step of the model."]
    for heading, group in _GROUPS.items():
        lines += ["", f"{heading}:", *(f"  {name:10}  {line}" for name, line in group.items())]
    return "\n".join(lines)


def _repeating(message: str, words: Sequence[str]) -> str:
    """Quote the arguments that a message repeats, such as a path, where they are long or break it.

    A message has lines of its own, so that it cannot be told afterwards which ones are foreign.
    """
    for word in words:
        for spelled in (word, word.partition("=")[2], os.path.normpath(word)):
            if "\n" in spelled or len(spelled) > _LONG:
                message = message.replace(spelled, quoted(spelled))
    return message


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
