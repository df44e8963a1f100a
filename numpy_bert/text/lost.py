"""The parts of a text that a model does not read: those beyond its limit, and dropped ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from numpy_bert.arguments import check_switches
from numpy_bert.errors import InputError
from numpy_bert.messages import listed
from numpy_bert.text.encoding import BatchEncoding

if TYPE_CHECKING:
    from numpy_bert.text.tokenizer import BertTokenizer

__all__ = ["encode_whole", "limit_of", "lost"]


def limit_of(tokenizer: BertTokenizer, positions: int) -> int:
    """Return how many tokens both a tokenizer and a model of so many positions take."""
    return min(tokenizer.model_max_length or positions, positions)


def encode_whole(
    tokenizer: BertTokenizer, texts: Sequence[str], positions: int, *, truncation: bool
) -> BatchEncoding:
    """Encode a text, or the two of a pair, as the one row that a model of so many positions reads.

    Returns
    -------
    BatchEncoding
        Arrays of shape (1, T), ``special_tokens_mask`` among them.

    Raises
    ------
    InputError
        If a text is no str, or is too long and may not be cut.

    Examples
    --------
    >>> from numpy_bert import BertTokenizer
    >>> tokenizer = BertTokenizer.from_pretrained("demo")
    >>> encode_whole(tokenizer, ["a test"], 512, truncation=False)["special_tokens_mask"]
    array([[1, 0, 0, 1]])
    """
    check_switches(truncation=truncation)
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f"text must be a str; got {type(text).__name__}.")
    inputs = tokenizer(
        *texts,
        truncation=truncation,
        max_length=limit_of(tokenizer, positions) if truncation else None,
        return_special_tokens_mask=True,
        return_tensors="np",
    )
    length = inputs["input_ids"].shape[1]
    if length > positions:
        raise InputError(
            f"the text has {length} tokens, the model takes {positions}; --truncate "
            "(truncation=True) cuts it."
        )
    return inputs


def lost(tokenizer: BertTokenizer, texts: Sequence[str], inputs: BatchEncoding) -> list[str]:
    """Return, as sentences, what a text (or the two of a pair) lost on its way to token ids.

    Parameters
    ----------
    tokenizer : BertTokenizer
        The tokenizer that made `inputs` of `texts`.
    texts : sequence of str
        A text, or the two of a pair.
    inputs : BatchEncoding
        The one row that they became, from `encode_whole`.

    Examples
    --------
    >>> from numpy_bert import BertTokenizer
    >>> tokenizer = BertTokenizer.from_pretrained("demo")
    >>> lost(tokenizer, [""], encode_whole(tokenizer, [""], 512, truncation=False))
    ['the text has no content tokens, only the special ones.']
    """
    found = [
        f"the text has {before} tokens; it was cut to {after}."
        for before, after in inputs.truncated.values()
    ]
    dropped = tokenizer.dropped_characters("".join(texts))
    if dropped:
        codes = sorted({f"U+{ord(character):04X}" for character in dropped})
        plural = "s" * (len(dropped) > 1)
        found.append(
            f"{len(dropped)} character{plural} dropped by the tokenizer: {listed(codes, 8)}."
        )
    if inputs["special_tokens_mask"].all():
        found.append("the text has no content tokens, only the special ones.")
    return found
