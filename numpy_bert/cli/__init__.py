"""The command line, ``numpy-bert``: one module a command, and the only place that prints."""

from __future__ import annotations

import contextlib
import importlib
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence

from numpy_bert.cli.console import complain, note
from numpy_bert.cli.parser import make_parser
from numpy_bert.errors import InputError, NumpyBertError, TraceError

__all__ = ["main"]

_COMPARING = ("compare", "verify")


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
        compare: 0 for the same, 1 for a difference, 2 where they could not compare.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    options = make_parser().parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _shower()
        try:
            command = importlib.import_module(f"numpy_bert.cli.{options.command.replace('-', '_')}")
            return int(command.run(options))
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
            traceback.print_exc()
            return 2


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
