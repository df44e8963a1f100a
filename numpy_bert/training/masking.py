"""What a masked language model is trained on: tokens hidden, replaced or left, to be guessed."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arguments import is_number
from numpy_bert.arrays import BoolArray, IntArray
from numpy_bert.errors import InputError
from numpy_bert.messages import must_be
from numpy_bert.ops.losses import IGNORED
from numpy_bert.reprs import short_repr
from numpy_bert.tasks.batches import piece_prefix
from numpy_bert.text.tokenizer import BertTokenizer

__all__ = [
    "Masked",
    "check_probability",
    "drawn_from",
    "mask_batch",
    "mask_tokens",
    "words_of",
]

# The shares of the tokens to be guessed that become [MASK], and that become any token.
_HIDDEN, _REPLACED = 0.8, 0.1
# How often a batch with nothing to be guessed is drawn again, before one with something is drawn.
_TRIES = 100


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Masked:
    """What a model reads, (B, T), and what it is to guess there, (B, T), -100 for nothing."""

    __repr__ = short_repr

    input_ids: IntArray
    labels: IntArray


def mask_tokens(
    input_ids: IntArray,
    special: BoolArray,
    *,
    mask_token_id: int,
    vocab_size: int,
    rng: np.random.Generator,
    probability: float = 0.15,
    words: IntArray | None = None,
) -> Masked:
    """Choose tokens to be guessed: 80 % become [MASK], 10 % any token, 10 % stay.

    Parameters
    ----------
    input_ids : ndarray of shape (B, T), int
        The tokens, which are never modified.
    special : ndarray of shape (B, T), bool
        True where no token is to be guessed: [CLS], [SEP], padding.
    mask_token_id, vocab_size : int
        The tokenizer's id of [MASK], and the size of its vocabulary.
    rng : numpy.random.Generator
        Draws, for each token, whether it is chosen and what becomes of it; and a token.
    probability : float
        The probability with which a token, or a word, is chosen, in (0, 1).
    words : ndarray of shape (B, T), int, optional
        The number of the word that each token belongs to (see `words_of`): then whole words are
        chosen, all of whose tokens are to be guessed. What becomes of each token is drawn alone.

    Returns
    -------
    Masked
        input_ids and labels, int64.

    Raises
    ------
    InputError
        If the shapes do not fit, or `probability` is outside (0, 1).

    References
    ----------
    .. [1] Devlin et al., "BERT", arXiv:1810.04805, section 3.1, task 1 and appendix A.1.
    .. [2] transformers, DataCollatorForLanguageModeling.

    Examples
    --------
    >>> ids, special = np.arange(5, 25)[np.newaxis], np.zeros((1, 20), np.bool_)
    >>> masked = mask_tokens(ids, special, mask_token_id=4, vocab_size=99,
    ...                      rng=np.random.default_rng(1), probability=0.3)
    >>> np.flatnonzero(masked.labels != -100), np.flatnonzero(masked.input_ids == 4)
    (array([ 2,  9, 16, 18, 19]), array([ 2, 16, 18, 19]))
    """
    check_probability(probability)
    shapes = {special.shape, input_ids.shape if words is None else words.shape}
    if input_ids.ndim != 2 or shapes != {input_ids.shape}:
        raise InputError(
            "mask_tokens: input_ids, special and words must have one shape, (B, T); input_ids has "
            f"{input_ids.shape}."
        )
    drawn = rng.random(input_ids.shape)
    return _masked(input_ids, special, drawn, mask_token_id, vocab_size, rng, probability, words)


def _masked(
    input_ids: IntArray,
    special: BoolArray,
    drawn: npt.NDArray[np.float64],
    mask_token_id: int,
    vocab_size: int,
    rng: np.random.Generator,
    probability: float,
    words: IntArray | None,
) -> Masked:
    """Choose the tokens for which less than the probability was drawn, and hide or replace them."""
    kind, any_token = rng.random(input_ids.shape), rng.integers(0, vocab_size, input_ids.shape)
    if words is not None:
        drawn = _by_word(drawn, words)
    is_chosen = (drawn < probability) & ~special
    hidden = is_chosen & (kind < _HIDDEN)
    replaced = is_chosen & (kind >= _HIDDEN) & (kind < _HIDDEN + _REPLACED)
    read = np.where(hidden, mask_token_id, np.where(replaced, any_token, input_ids))
    return Masked(
        input_ids=read.astype(np.int64, copy=False),
        labels=np.where(is_chosen, input_ids, IGNORED).astype(np.int64, copy=False),
    )


def check_probability(probability: float) -> None:
    """Raise InputError unless a token can be chosen with this probability, and can be left."""
    if not (is_number(probability) and 0.0 < probability < 1.0):
        raise InputError(must_be("mask_tokens: probability", "in (0, 1)", probability))


def mask_batch(
    input_ids: IntArray,
    special: BoolArray,
    tokenizer: BertTokenizer,
    *,
    rng: np.random.Generator,
    probability: float = 0.15,
    whole_words: bool = False,
) -> Masked:
    """Mask a batch as `mask_tokens` does, at least one token of it, however small `probability` is.

    Parameters
    ----------
    input_ids, special, rng, probability
        The same as for `mask_tokens`.
    tokenizer : BertTokenizer
        The model's tokenizer.
    whole_words : bool
        Whether words are masked whole.

    Raises
    ------
    InputError
        If all tokens are special.

    Examples
    --------
    >>> from numpy_bert import BertTokenizer
    >>> ids, special = np.array([[2, 99, 3]]), np.array([[True, False, True]])
    >>> tokenizer = BertTokenizer.from_pretrained("demo")
    >>> mask_batch(ids, special, tokenizer, rng=np.random.default_rng(0)).labels
    array([[-100,   99, -100]])
    """
    if special.all():
        raise InputError("mask_batch: a token must be there to be guessed; got special ones alone.")
    words = None
    if whole_words:
        names = tokenizer.convert_ids_to_tokens
        words = words_of([list(names(row.tolist())) for row in input_ids])
    given: dict[str, Any] = {
        "mask_token_id": tokenizer.mask_token_id,
        "vocab_size": tokenizer.vocab_size,
        "rng": rng,
        "probability": probability,
        "words": words,
    }
    for _ in range(_TRIES):  # a short batch may have drawn nothing
        masked = mask_tokens(input_ids, special, **given)
        if (masked.labels != IGNORED).any():
            return masked
    return _masked(input_ids, special, _one_at_least(special, probability, words, rng), **given)


def _one_at_least(
    special: BoolArray, probability: float, words: IntArray | None, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Draw a number for each token once, as if drawn again until one was below the probability.

    The first token that is chosen is drawn from the geometric distribution, cut off at the number
    of tokens; none before it is chosen, and each behind it with the probability.
    """
    drawn = rng.random(special.shape)
    firsts = np.arange(special.size).reshape(special.shape)
    if words is not None:
        firsts = np.take_along_axis(firsts, _first_of_word(words), axis=1)
    places = np.unique(firsts[~special])  # of each token, or of each word
    none = math.log1p(-probability)  # the logarithm of the probability that one is not chosen
    below = rng.random() * math.expm1(len(places) * none)
    number = min(int(math.log1p(below) / none), len(places) - 1)
    drawn.flat[places[:number]] = 1.0
    drawn.flat[places[number]] = 0.0
    return drawn


def drawn_from(tokenizer: BertTokenizer, *, whole_words: bool) -> str:
    """Return a text of what masking depends on beside the texts' token ids, for a fingerprint.

    It has the size of the vocabulary, the ids of the special tokens, and for whole words a hash of
    which ids continue a word.

    Raises
    ------
    InputError
        If whole words are asked for, and the tokenizer marks no token as a later piece of one.

    Examples
    --------
    >>> from numpy_bert import BertTokenizer
    >>> drawn_from(BertTokenizer.from_pretrained("demo"), whole_words=False)
    '8000 tokens, special: 0 1 2 3 4'
    """
    special = [
        getattr(tokenizer, f"{name}_token_id") for name in ("pad", "unk", "cls", "sep", "mask")
    ]
    found = f"{tokenizer.vocab_size} tokens, special: {' '.join(map(str, special))}"
    if not whole_words:
        return found
    if not piece_prefix(tokenizer):
        raise InputError(
            "whole_words must be False with this tokenizer, whose tokens do not say which of them "
            "continue a word, as ## does in a WordPiece."
        )
    tokens = tokenizer.convert_ids_to_tokens(range(tokenizer.vocab_size))
    continues = bytes(token.startswith("##") for token in tokens)
    return f"{found}, pieces: {hashlib.sha256(continues).hexdigest()}"


def words_of(tokens: list[list[str]]) -> npt.NDArray[np.int64]:
    """Return the number of the word that each token belongs to; ``##`` continues a word.

    Parameters
    ----------
    tokens : list of list of str
        B rows of T tokens.

    Returns
    -------
    ndarray of shape (B, T), int64
        The numbers, which start at 0 in each row.

    References
    ----------
    .. [1] google-research/bert, create_pretraining_data.py, do_whole_word_mask.

    Examples
    --------
    >>> words_of([["[CLS]", "em", "##bed", "##ding", "[SEP]"]])
    array([[0, 1, 1, 1, 2]])
    """
    starts = np.array([[not token.startswith("##") for token in row] for row in tokens], np.int64)
    return np.cumsum(starts, axis=1) - starts[:, :1]


def _by_word(drawn: npt.NDArray[np.float64], words: IntArray) -> npt.NDArray[np.float64]:
    """Give every token what was drawn for the first of its word."""
    return np.take_along_axis(drawn, _first_of_word(words), axis=1)


def _first_of_word(words: IntArray) -> IntArray:
    """Return the column of the first token of each token's word, (B, T)."""
    first = np.ones(words.shape, np.bool_)
    first[:, 1:] = words[:, 1:] != words[:, :-1]
    return np.maximum.accumulate(np.where(first, np.arange(words.shape[1]), 0), axis=1)
