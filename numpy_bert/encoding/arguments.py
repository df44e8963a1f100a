"""What `SentenceEncoder` takes, besides texts, checked before any work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.encoding.pooling import MODES
from numpy_bert.encoding.recipe import mode_named
from numpy_bert.errors import InputError
from numpy_bert.messages import quoted
from numpy_bert.text.inputs import check_text

__all__ = ["as_count", "as_modes", "as_output", "as_prompt", "check_flag", "check_prompt_name"]


def as_prompt(
    prompt: str | None, prompt_name: str | None, prompts: Mapping[str, str], default: str | None
) -> str:
    """Return what is put before each text: a prompt, or one of `prompts` by its name."""
    if prompt is not None:
        if prompt_name is not None:
            raise InputError("prompt, prompt_name: give one of the two.")
        return check_text(prompt, "prompt")
    name = default if prompt_name is None else prompt_name
    if name is None:
        return ""
    check_prompt_name(name, prompts, "prompt_name")
    return prompts[name]


def check_prompt_name(name: object, prompts: Mapping[str, str], argument: str) -> None:
    """Raise InputError unless a name is that of one of the prompts."""
    if not isinstance(name, str) or name not in prompts:
        known = ", ".join(quoted(repr(key)) for key in prompts) or "none"
        raise InputError(
            f"{argument}: the model has no prompt {quoted(repr(name))}; there are: {known}."
        )


def as_modes(pooling: object) -> tuple[str, ...]:
    """Return the modes of a pooling: of one by its name, or of several in a list.

    Examples
    --------
    >>> as_modes("max"), as_modes(["cls", "mean_sqrt_len_tokens"])
    (('max',), ('cls', 'mean_sqrt_len'))
    """
    named = pooling if isinstance(pooling, (list, tuple)) else [pooling]
    modes = tuple(mode for mode in map(mode_named, named) if mode is not None)
    if not modes or len(modes) < len(named):
        raise InputError(
            f"pooling: {quoted(repr(pooling))}; one of {', '.join(MODES)}, or a list of them, was "
            "expected."
        )
    return modes


def as_count(value: object, name: str, *, least: int = 1, most: int | None = None) -> int | None:
    """Return a whole number from `least`, up to `most`, or None."""
    if value is None:
        return None
    good = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    number = int(value) if good else 0  # type: ignore[call-overload]
    if number < least or (most is not None and number > most):
        bound = "" if most is None else f" to {most}"
        raise InputError(
            f"{name}: {quoted(repr(value))}; a whole number from {least}{bound} was expected."
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
