"""Masked words: which tokens fit, from the scores at the masks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arguments import as_count
from numpy_bert.arrays import Array, IntArray
from numpy_bert.errors import InputError
from numpy_bert.messages import quoted
from numpy_bert.ops.softmax import softmax
from numpy_bert.tasks.batches import Batch, TextModel, in_batches
from numpy_bert.tasks.labels import top
from numpy_bert.text.inputs import as_texts

if TYPE_CHECKING:
    # Not needed to load a model, which can be called with ids, without the tokenizers library.
    from numpy_bert.text.tokenizer import BertTokenizer

__all__ = ["Fill", "fill_masks", "fills", "mask_places", "target_ids"]

# What is written for a mask in other letters, by other models, or in a gap text.
_MEANT = re.compile(r"[\[<({]\s*mask\s*[\])}>]|__+", re.I)
# It is called with a batch's inputs and the rows and columns of masks in it, and yields the scores
# of all words, (n, V), for the next n of these masks.
ScoresAt = Callable[[dict[str, Any], IntArray, IntArray], Iterator[Array]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """A token for a mask: its probability, id, text, and the text that it completes."""

    score: float
    token: int
    token_str: str
    sequence: str


def fill_masks(
    model: TextModel,
    scores_at: ScoresAt,
    text: str | Sequence[str],
    top_k: int,
    targets: str | Sequence[str] | None,
) -> list[Any]:
    """Say which words fit where texts have masks; see `numpy_bert.BertForMaskedLM.fill_mask`."""
    single, items = as_texts(text)
    top_k = as_count("top_k", top_k)
    tokenizer, limit = model.tokenizer, model.max_length
    only = None if targets is None else target_ids(tokenizer, targets)

    def fill(batch: Batch) -> Iterator[Any]:
        places = [
            _kept_places(
                row.input_ids,
                tokenizer,
                limit,
                "text" if single else f"text[{number}]",
                items[number],
            )
            for row, number in zip(batch.rows, batch.numbers, strict=True)
        ]
        for filled in _filled(scores_at, tokenizer, batch, places, top_k, only):
            yield filled[0] if len(filled) == 1 else filled

    found = in_batches(model, items, fill)
    return found[0] if single else found


def _kept_places(
    ids: list[int], tokenizer: BertTokenizer, limit: int, where: str, item: str
) -> list[int]:
    """Return where a text's masks are, none of which may have been cut off."""
    mask_id, mask_token = tokenizer.mask_token_id, tokenizer.mask_token
    whole = tokenizer(item)["input_ids"] if len(ids) == limit else ids
    total = len(mask_places(whole, mask_id, where, mask_token, item))
    if ids.count(mask_id) < total:
        raise InputError(
            f"{where} has {len(whole)} tokens, but the model reads {limit}; to cut it would lose a "
            f"{mask_token}. Shorten it."
        )
    return mask_places(ids, mask_id, where, mask_token, item)


def _filled(
    scores_at: ScoresAt,
    tokenizer: BertTokenizer,
    batch: Batch,
    places: list[list[int]],
    top_k: int,
    only: npt.NDArray[np.intp] | None,
) -> list[list[list[Fill]]]:
    """Score words at the masks of a batch, nowhere else: a row of scores is as long as V."""
    flat = [(row, place) for row, masks in enumerate(places) for place in masks]
    found: list[list[list[Fill]]] = [[] for _ in places]
    rows, columns = np.array(flat).T
    marks = iter(flat)
    for scores in scores_at(batch.inputs, rows, columns):
        for probabilities, (row, place) in zip(softmax(scores), marks, strict=False):
            filled = fills(
                tokenizer,
                batch.rows[row].input_ids,
                place,
                probabilities,
                top_k=top_k,
                only=only,
                keep_special=len(places[row]) > 1,
            )
            found[row].append(filled)
    return found


def mask_places(
    ids: Sequence[int], mask_id: int, where: str, mask_token: str, text: str
) -> list[int]:
    """Return where the masks of a text are.

    Raises
    ------
    InputError
        If there is none; `where` is the text's name in the message, which quotes from `text` what
        was probably meant for one.

    Examples
    --------
    >>> mask_places([101, 103, 7, 103, 102], 103, "text", "[MASK]", "a [MASK] b [MASK]")
    [1, 3]
    """
    places = [place for place, token in enumerate(ids) if token == mask_id]
    if not places:
        meant = _MEANT.search(text)
        instead = f" ({quoted(meant[0])} is none)" if meant else ""
        raise InputError(
            f"{where} has no {mask_token}{instead}; write it where a word is to be filled in."
        )
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
                f"{where} must be a single token of the vocabulary, as a mask stands for one; got "
                f"{quoted(target)} (its pieces: {quoted(' '.join(pieces))})."
            )
        found.append(tokenizer.convert_tokens_to_ids(pieces[0]))
    if not found:
        raise InputError("targets must not be empty. Name at least one word, or leave targets out.")
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
        The tokenizer, which turns ids into text.
    ids : sequence of int
        The text's tokens.
    place : int
        Where the mask is in `ids`.
    probabilities : ndarray of shape (V,)
        The probability of every word at that place.
    top_k : int
        How many tokens are returned at most.
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
