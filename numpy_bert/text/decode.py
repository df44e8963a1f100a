"""Ids to text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from numpy_bert.arrays import IntArray, as_ids, check_ids
from numpy_bert.errors import InputError
from numpy_bert.text.library import backend_errors

__all__ = ["as_sequences", "checked_ids", "decode", "joined"]

# What transformers joins, in its order.
_JOINED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


def decode(
    tokenizer: Tokenizer, ids: list[int], *, skip_special_tokens: bool, cleans_up: bool
) -> str:
    """Return the text of checked ids, without the spaces around punctuation if `cleans_up`."""
    with backend_errors("decode"):
        text = str(tokenizer.decode(ids, skip_special_tokens=skip_special_tokens))
    for spaced in _JOINED if cleans_up else ():
        text = text.replace(spaced, spaced.strip())
    return text


def joined(tokenizer: Tokenizer, tokens: Sequence[str]) -> str:
    """Return the text of tokens as the tokenizer's decoder joins them, by spaces without one."""
    if tokenizer.decoder is None:
        return " ".join(tokens)
    with backend_errors("convert_tokens_to_string"):
        return str(tokenizer.decoder.decode(list(tokens)))


def as_sequences(sequences: object) -> list[Any]:
    """Return what several sequences of ids stand in as a list; they are checked later."""
    loose = isinstance(sequences, (str, bytes, Mapping, Set))  # nothing in the order of a list
    if isinstance(sequences, Iterable) and not loose and getattr(sequences, "ndim", None) != 0:
        return list(sequences)
    raise InputError(
        f"sequences: is {type(sequences).__name__}; a list of sequences of ids was expected."
    )


def checked_ids(ids: int | npt.ArrayLike, size: int) -> IntArray:
    """Return one id or a sequence of ids, all within a vocabulary of `size`."""
    if isinstance(ids, (list, tuple)) and not ids:
        return np.empty(0, dtype=np.intp)
    checked = as_ids(ids, name="ids")
    if checked.ndim > 1:
        raise InputError(f"ids: shape {checked.shape}; one sequence was expected.")
    return check_ids(checked, size, name="ids", table="the vocabulary")
