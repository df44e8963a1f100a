"""The parser of the command line: argparse's, whose errors name what was probably meant."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from numpy_bert.cli.console import show, tell
from numpy_bert.messages import shown

__all__ = ["Parser"]

# More characters of an error are somebody's argument, which argparse repeats.
_LONGEST = 1000


class Parser(argparse.ArgumentParser):
    r"""argparse's parser, which says of a wrong word which right one is the nearest.

    Lines of a description or epilog that begin with two blanks, such as examples, stay as they are.

    Examples
    --------
    >>> parser = Parser(prog="draw", epilog="Example:\n  draw --colour red")
    >>> _ = parser.add_argument("--colour", choices=("red", "blue"))
    >>> print(parser.format_help().splitlines()[-1])
      draw --colour red
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Formatter, **options)
        self.color = False  # which Python 3.14 has by default

    def error(self, message: str) -> NoReturn:
        """Exit with an error; of what is missing show the first example of the help, too."""
        line = message[:_LONGEST].replace("\n", r"\n")
        examples = str(self.epilog or "").splitlines()[1:2]
        if "required" in message and examples:
            line += f"\nsuch as in: {examples[0].strip()}"
        tell(f"{self.format_usage()}{self.prog}: error: {line}")
        self.exit(2)

    def _print_message(self, message: str, file: object = None) -> None:  # noqa: ARG002
        """Print help, or the version, which fails as every result does where it cannot."""
        show(message.removesuffix("\n"))

    def check_options(self, words: Sequence[str]) -> None:
        """Exit with an error if one of the words before a ``--`` is an option that there is not.

        argparse itself would first say which arguments are missing, such as the one that was
        misspelled, and then show the usage of the program in place of the command's.
        """
        known = self._option_string_actions
        for word in words:
            if word == "--":
                return
            name = word.split("=")[0]
            is_long = name.startswith("--")
            if not is_long and not (name.startswith("-") and name[1:2].isalpha()):
                continue
            is_known = any(option.startswith(name if is_long else name[:2]) for option in known)
            if not is_known and " " not in word:
                self._no_option(name, list(known))

    def too_many(self, word: str, words: Sequence[str]) -> NoReturn:
        """Exit with an error for a word that is left over."""
        has_options = any(word.startswith("-") for word in words)
        hint = "; give all arguments before the options, or all behind them" if has_options else ""
        self.error(f"{shown(word)} is one argument too many{hint}.")

    def _no_option(self, name: str, known: list[str]) -> NoReturn:
        near = _nearest(name, known)
        if near is not None:
            self.error(f"{shown(name)} is no option; did you mean {near}?")
        self.error(
            f"{shown(name)} is no option; {self.prog} --help lists them. Put -- before a text that "
            "begins with -."
        )

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Exit with an error unless a value is one of the choices, if there are any."""
        choices = action.choices
        if choices is None or value in choices:
            return
        near = _nearest(str(value), choices)
        if isinstance(action, argparse._SubParsersAction):
            hint = f"did you mean {near}?" if near else f"{self.prog} --help lists them."
            self.error(f"{shown(value)} is no command; {hint}")
        hint = f"; did you mean {near}?" if near else ""
        raise argparse.ArgumentError(
            action, f"{shown(value)} is not one of {', '.join(map(str, choices))}{hint}"
        )


def _nearest(word: str, known: Iterable[Any]) -> str | None:
    """Return the known word that is the most like another, if one is; other numbers are not."""
    import difflib

    def digits(name: str) -> list[str]:
        return [letter for letter in name if letter.isdigit()]

    plain = {str(name).lstrip("-"): str(name) for name in known}
    alike = [name for name in plain if digits(name) == digits(word)]
    near = difflib.get_close_matches(word[:100].lstrip("-").lower(), alike, n=1, cutoff=0.7)
    return plain[near[0]] if near else None


class _Formatter(argparse.HelpFormatter):
    """argparse's help, in which lines that begin with two blanks are kept."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(
            line
            if line.startswith("  ")
            else super(_Formatter, self)._fill_text(line, width, indent)
            for line in text.splitlines()
        )
