"""``numpy-bert completion``: a script by which a shell completes commands, options and choices."""

from __future__ import annotations

import argparse
import importlib
import shlex
from typing import NamedTuple

from numpy_bert.cli.console import show
from numpy_bert.cli.options import add_examples
from numpy_bert.cli.parser import Parser

__all__ = ["add_arguments", "run"]

_BASH = """\
_numpy_bert() {
  local cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=
  if [ "$COMP_CWORD" -eq 1 ]; then
    words=@COMMANDS@
  else case "${COMP_WORDS[1]} $before" in
@VALUES@
  *) case "${COMP_WORDS[1]} $cur" in
@OPTIONS@
@ARGUMENTS@
    esac ;;
  esac; fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _numpy_bert numpy-bert"""
_ZSH = """\
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
autoload -Uz bashcompinit && bashcompinit
"""
_FISH = """\
complete -c numpy-bert -e
complete -c numpy-bert -n __fish_use_subcommand -f"""


class _Option(NamedTuple):
    """An option, or an argument, which has no flags."""

    flags: tuple[str, ...]
    values: tuple[str, ...]
    value: str  # for fish: -x for one of `values`, -r for any, a file's name too
    help: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command is for, and what it takes."""
    parser.description = (
        "Print a script by which a shell completes commands, options and their choices when Tab is "
        "pressed. It is read where a shell begins:\n"
        '  eval "$(numpy-bert completion bash)"        # in ~/.bashrc\n'
        '  eval "$(numpy-bert completion zsh)"         # in ~/.zshrc\n'
        "  numpy-bert completion fish | source         # in ~/.config/fish/config.fish\n"
        "Where it knows no word, the shell completes names of files."
    )
    add_examples(parser, "numpy-bert completion bash")
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell")


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    from numpy_bert.cli import COMMANDS

    found = {command: _options(command) for command in COMMANDS}
    if options.shell == "fish":
        show(_fish(COMMANDS, found))
    else:
        show((_ZSH if options.shell == "zsh" else "") + _bash(found))
    return 0


def _options(command: str) -> list[_Option]:
    """Return what a command takes."""
    parser = Parser()
    importlib.import_module(f"numpy_bert.cli.{command.replace('-', '_')}").add_arguments(parser)
    return [
        _Option(
            tuple(action.option_strings),
            ("demo",) if action.metavar == "NAME_OR_PATH" else tuple(action.choices or ()),
            "" if action.nargs == 0 else "-x" if action.choices else "-r",
            str(action.help),
        )
        for action in parser._actions
    ]


def _bash(found: dict[str, list[_Option]]) -> str:
    """Return the script for bash; where it has no word, file names are completed."""
    values, flags, arguments = list[str](), list[str](), list[str]()
    for command, options in found.items():
        for option in options:
            if option.flags and option.values:
                pattern = "|".join(f'"{command} {flag}"' for flag in option.flags)
                values.append(f"  {pattern}) words={_word(option.values)} ;;")
        names = [flag for option in options for flag in option.flags]
        flags.append(f'    "{command} -"*) words={_word(names)} ;;')
        places = [value for option in options if not option.flags for value in option.values]
        if places:
            arguments.append(f'    "{command} "*) words={_word(places)} ;;')
    script = _BASH.replace("@COMMANDS@", _word([*found, "--help", "--version"]))
    for mark, lines in (("@VALUES@", values), ("@OPTIONS@", flags), ("@ARGUMENTS@", arguments)):
        script = script.replace(mark, "\n".join(lines))
    return script


def _fish(commands: dict[str, str], found: dict[str, list[_Option]]) -> str:
    """Return the script for fish, which shows the help of what it completes."""
    lines = [_FISH]
    for command, line in commands.items():
        start = "complete -c numpy-bert -n"
        lines.append(f"{start} __fish_use_subcommand -a {command} -d {_word([line])}")
        here = f"{start} '__fish_seen_subcommand_from {command}'"
        for option in found[command]:
            words = [
                f"-{'l' if flag.startswith('--') else 's'} {flag.lstrip('-')}"
                for flag in option.flags
            ]
            if option.flags and option.value:
                words.append(option.value)
            if option.values:
                words.append(f"-a {_word(option.values)}")
            if option.flags or option.values:
                lines.append(" ".join([here, *words, "-d", _word([option.help])]))
    return "\n".join(lines)


def _word(words: list[str] | tuple[str, ...]) -> str:
    """Return words as one word of a shell."""
    return shlex.quote(" ".join(words))
