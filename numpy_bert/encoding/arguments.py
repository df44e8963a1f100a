"""What `SentenceEncoder.encode` takes, checked before any work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.encoding.pooling import MODES
from numpy_bert.encoding.recipe import mode_named
from numpy_bert.errors import InputError
from numpy_bert.files import quoted
from numpy_bert.text.inputs import check_text

__all__ = ["as_count", "as_mode", "as_output", "as_prompt", "as_texts", "check_flag"]


def as_texts(sentences: object) -> tuple[bool, list[str]]:
    """Return whether one text was given, and the checked texts."""
    if isinstance(sentences, str):
        return True, [check_text(sentences, "sentences")]
    unordered = isinstance(sentences, (bytes, Mapping, set, frozenset))
    if unordered or not isinstance(sentences, Iterable):
        raise InputError(
            f"sentences: is {type(sentences).__name__}; a str or a list of str was expected."
        )
    # Elements of an array of texts are str too, but their own kind of it.
    items = sentences.tolist() if isinstance(sentences, np.ndarray) else list(sentences)
    if not isinstance(items, list):
        raise InputError("sentences: is an array of rank 0; give its text, or a list.")
    return False, [check_text(text, f"sentences[{row}]") for row, text in enumerate(items)]


def as_prompt(
    prompt: str | None, prompt_name: str | None, prompts: Mapping[str, str], default: str | None
) -> str:
    """Return what is put before each text."""
    if prompt is not None:
        if prompt_name is not None:
            raise InputError("prompt, prompt_name: give one of the two.")
        return check_text(prompt, "prompt")
    name = default if prompt_name is None else prompt_name
    if name is None:
        return ""
    if not isinstance(name, str) or name not in prompts:
        known = ", ".join(quoted(repr(key)) for key in prompts) or "none"
        raise InputError(
            f"prompt_name: the model has no prompt {quoted(repr(name))}; there are: {known}."
        )
    return check_text(prompts[name], f"prompts[{name!r}]")


def as_mode(pooling: object, default: tuple[str, ...]) -> tuple[str, ...]:
    """Return the pooling's modes, the model's own by default."""
    if pooling is None:
        return default
    mode = mode_named(pooling)
    if mode is None:
        raise InputError(
            f"pooling: {quoted(repr(pooling))}; one of {', '.join(MODES)} was expected."
        )
    return (mode,)


def as_count(value: object, name: str, *, most: int | None = None) -> int | None:
    """Return a whole number from 1, up to `most`, or None."""
    if value is None:
        return None
    good = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    number = int(value) if good else 0  # type: ignore[call-overload]
    if number < 1 or (most is not None and number > most):
        bound = "" if most is None else f" to {most}"
        raise InputError(
            f"{name}: {quoted(repr(value))}; a whole number from 1{bound} was expected."
        )
    return number


def check_flag(value: object, name: str) -> None:
    """Raise InputError unless a value is True, False or None."""
    if value is not None and not isinstance(value, (bool, np.bool_)):
        raise InputError(f"{name}: {quoted(repr(value))}; True, False or None was expected.")


def as_output(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return the array that vectors are written to, a new one unless one is given."""
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray):
        raise InputError(f"out: is {type(out).__name__}; an ndarray was expected.")
    if out.shape != shape or out.dtype != dtype:
        raise InputError(
            f"out: has shape {out.shape} and dtype {out.dtype}; {shape} and {dtype} are needed."
        )
    if not out.flags.writeable:
        raise InputError("out: may not be written to (a mapped file must be opened with 'r+').")
    return out
