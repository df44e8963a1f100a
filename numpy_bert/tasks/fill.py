"""Masked words: which tokens fit, from the scores at the masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array
from numpy_bert.errors import InputError
from numpy_bert.messages import quoted
from numpy_bert.tasks.labels import top
from numpy_bert.text.inputs import as_texts

if TYPE_CHECKING:
    # Not when a model is loaded: it can be called with ids, without the tokenizers library.
    from numpy_bert.text.tokenizer import BertTokenizer

__all__ = ["Fill", "fills", "mask_places", "target_ids"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """A token for a mask: its probability, id, text, and the text that it completes."""

    score: float
    token: int
    token_str: str
    sequence: str


def mask_places(ids: Sequence[int], mask_id: int, where: str, mask_token: str) -> list[int]:
    """Return where the masks of a text are.

    Raises
    ------
    InputError
        If there is none; the text is named by `where`.

    Examples
    --------
    >>> mask_places([101, 103, 7, 103, 102], 103, "text", "[MASK]")
    [1, 3]
    """
    places = [place for place, token in enumerate(ids) if token == mask_id]
    if not places:
        raise InputError(f"{where}: has no {mask_token}; write it where a word is to be filled in.")
    return places


def target_ids(tokenizer: BertTokenizer, targets: str | Sequence[str]) -> npt.NDArray[np.intp]:
    """Return the ids of the words that alone may fill a mask, each once.

    Raises
    ------
    InputError
        If one of them is not a single token of the vocabulary; nothing is guessed.
    """
    single, listed = as_texts(targets, "targets")
    found = []
    for number, target in enumerate(listed):
        where = "targets" if single else f"targets[{number}]"
        known = tokenizer.convert_tokens_to_ids(target) != tokenizer.unk_token_id
        pieces = [target] if known else tokenizer.tokenize(target)
        if len(pieces) != 1 or pieces == [tokenizer.unk_token]:
            raise InputError(
                f"{where} = {quoted(target)} is no single token of the vocabulary "
                f"(its pieces: {quoted(' '.join(pieces))}); a mask stands for one token."
            )
        found.append(tokenizer.convert_tokens_to_ids(pieces[0]))
    if not found:
        raise InputError("targets: none given; name at least one, or leave targets out.")
    return np.array(list(dict.fromkeys(found)), dtype=np.intp)


def fills(
    tokenizer: BertTokenizer,
    ids: Sequence[int],
    place: int,
    probabilities: Array,
    *,
    top_k: int,
    only: npt.NDArray[np.intp] | None,
    keep_special: bool,
) -> list[Fill]:
    """Return the best tokens for one mask, best first.

    Parameters
    ----------
    tokenizer : BertTokenizer
        Turns ids into text.
    ids : sequence of int
        The text's tokens.
    place : int
        Where the mask is in `ids`.
    probabilities : ndarray of shape (V,)
        Of every word at that place.
    top_k : int
        Most tokens that are returned.
    only : ndarray of int, optional
        The words that may be returned.
    keep_special : bool
        Whether `sequence` shows special tokens, as it must where other masks are among them.
    """
    candidates = probabilities if only is None else probabilities[only]
    found = []
    for index in top(candidates, top_k).tolist():
        token = index if only is None else int(only[index])
        whole = [*ids[:place], token, *ids[place + 1 :]]
        found.append(
            Fill(
                score=float(candidates[index]),
                token=token,
                token_str=tokenizer.decode([token]),
                sequence=tokenizer.decode(whole, skip_special_tokens=not keep_special),
            )
        )
    return found
