"""The prompts of a sentence model: a dict whose names and texts are checked when they are set."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping
from typing import Any, Self

from numpy_bert.errors import InputError
from numpy_bert.messages import quoted
from numpy_bert.text.inputs import check_text

__all__ = ["Prompts", "as_prompts"]


class Prompts(UserDict[str, str]):
    """Texts that may be put before a text, by their names.

    Raises
    ------
    InputError
        If a name or a text that is set is no str.

    Examples
    --------
    >>> prompts = Prompts({"query": "find: "})
    >>> prompts["document"] = "read: "
    >>> prompts
    {'query': 'find: ', 'document': 'read: '}
    >>> prompts["query"] = 3
    Traceback (most recent call last):
    numpy_bert.errors.InputError: prompts['query'] must be a str; got int.
    """

    def __setitem__(self, name: str, text: str) -> None:
        where = f"prompts[{quoted(repr(name))}]"
        super().__setitem__(check_text(name, f"the name of {where}"), check_text(text, where))

    def __ior__(self, other: Any) -> Self:  # type: ignore[override, misc]
        self.update(other)  # UserDict's own does not check
        return self


def as_prompts(prompts: object) -> Prompts:
    """Return a checked copy of a mapping of names to texts."""
    if not isinstance(prompts, Mapping):
        raise InputError(
            f"prompts: is {type(prompts).__name__}; a dict of texts by their names was expected."
        )
    return Prompts(prompts)
