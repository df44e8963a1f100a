"""Texts that are put before a text, by their names, and which of them a call wants."""

from __future__ import annotations

from collections import UserDict
from typing import Any, Self

from numpy_bert.errors import InputError
from numpy_bert.messages import must_be, shown
from numpy_bert.text.inputs import check_text

__all__ = ["Prompts", "check_prompt_name", "document_prompt", "prompt_of"]

_OF_DOCUMENTS = ("document", "passage", "corpus")


class Prompts(UserDict[str, str]):
    """Texts that may be put before a text, by their names.

    Raises
    ------
    InputError
        If a name or a text that is set is not a str.

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
        where = f"prompts[{shown(name)}]"
        super().__setitem__(check_text(name, f"the name of {where}"), check_text(text, where))

    def __ior__(self, other: Any) -> Self:  # type: ignore[override, misc]
        self.update(other)  # UserDict's own does not check
        return self


def prompt_of(
    prompts: Prompts, default: str | None, prompt: str | None, prompt_name: str | None
) -> str:
    """Return what a call puts before its texts: a prompt, or one of `prompts` by its name.

    Parameters
    ----------
    prompts : Prompts
        The prompts of the model.
    default : str, optional
        The name of the one that is used where a call says nothing.
    prompt, prompt_name : str, optional
        What the call says.

    Raises
    ------
    InputError
        If both are given, or there is no prompt of the name.

    Examples
    --------
    >>> prompts = Prompts({"query": "find: "})
    >>> prompt_of(prompts, None, None, "query"), prompt_of(prompts, "query", "", None)
    ('find: ', '')
    """
    if prompt is not None:
        if prompt_name is not None:
            raise InputError("prompt and prompt_name are both given; give one of the two.")
        return check_text(prompt, "prompt")
    name = default if prompt_name is None else prompt_name
    if name is None:
        return ""
    check_prompt_name(
        prompts, name, "default_prompt_name" if prompt_name is None else "prompt_name"
    )
    return prompts[name]


def document_prompt(prompts: Prompts) -> str | None:
    """Return the name of the prompt that stands before documents, None where there is none.

    Examples
    --------
    >>> document_prompt(Prompts({"query": "find: ", "passage": "read: "}))
    'passage'
    """
    return next((name for name in _OF_DOCUMENTS if name in prompts), None)


def check_prompt_name(prompts: Prompts, name: object, argument: str) -> None:
    """Raise InputError unless a name is that of one of the prompts."""
    if not isinstance(name, str) or name not in prompts:
        known = ", ".join(shown(key) for key in prompts) or "none"
        raise InputError(
            f"{must_be(argument, 'the name of a prompt', name)} The model has: {known}."
        )
