"""Ids to text."""

from __future__ import annotations

from tokenizers import Tokenizer

from numpy_bert.text.backend import backend_errors

__all__ = ["decode"]

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
