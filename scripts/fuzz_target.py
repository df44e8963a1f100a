"""What a target of fuzz.py is: how one hostile input is made, tried and judged."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from numpy_bert.errors import NumpyBertError

__all__ = ["Difference", "Target", "refused"]

# Longest message of a refusal by default: an error is to be read.
_LONGEST = 2000


class Difference(AssertionError):  # noqa: N818 it is no error of ours
    """An input was taken for what it is not, or refused by an error that does not say why."""


class Target(NamedTuple):
    """A kind of input that is made by chance and tried.

    Attributes
    ----------
    name : str
        What it is called on the command line and in the table.
    against : str
        What the inputs that are taken are held to.
    prepare : callable
        Gets an empty folder; returns what all attempts share. It is called once in a process.
    attempt : callable
        Gets what `prepare` returned and a generator, which alone decides what the input is; makes
        one input and tries it. Returns True if it was taken and is what the reference says, False
        if it was refused by an error of numpy_bert's. Raises `Difference` if it was taken for
        something else; whatever else it raises is an error that is not ours.
    rival : str
        The package that `against` needs beside numpy_bert and what it depends on, "" for none.
    cost : int
        For how many inputs of a quick target there is one of this.
    """

    name: str
    against: str
    prepare: Callable[[Path], Any]
    attempt: Callable[[Any, random.Random], bool]
    rival: str = ""
    cost: int = 1


def refused(call: Callable[[], object], *, naming: str, longest: int = _LONGEST) -> bool:
    """Tell whether a call is refused by an error of ours, which must be one to be read.

    Parameters
    ----------
    call : callable
        What is tried. An error that is not ours passes through.
    naming : str
        What the message must hold: the file's name, or the argument's. "" where nothing can be said
        beforehand.
    longest : int
        How many characters the message may have.

    Raises
    ------
    Difference
        If the message does not name that, is too long, or holds characters that could act on a
        terminal.

    Examples
    --------
    >>> from numpy_bert import InputError
    >>> def call():
    ...     raise InputError("input_ids: must be whole numbers; got 1.5.")
    >>> refused(call, naming="input_ids")
    True
    >>> refused(lambda: None, naming="input_ids")
    False
    """
    try:
        call()
    except NumpyBertError as failure:
        message = str(failure)
    else:
        return False
    if naming not in message:
        raise Difference(f"the error does not name {naming}: {message[:300]!r}")
    if len(message) > longest:
        raise Difference(f"the error has {len(message):,} characters: {message[:300]!r}")
    if not all(line.isprintable() for line in message.split("\n")):
        raise Difference(f"the error cannot be printed as it is: {message[:300]!r}")
    return True
