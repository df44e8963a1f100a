"""What of a text a model does not read: what is beyond its limit, and what its tokenizer drops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from numpy_bert.text.batch import BatchEncoding

if TYPE_CHECKING:
    from numpy_bert.text.tokenizer import BertTokenizer

__all__ = ["limit_of", "lost"]


def limit_of(tokenizer: BertTokenizer, positions: int) -> int:
    """Return how many tokens both a tokenizer and a model of so many positions take."""
    return min(tokenizer.model_max_length or positions, positions)


def lost(tokenizer: BertTokenizer, texts: Sequence[str], inputs: BatchEncoding) -> list[str]:
    """Return, as sentences, what a text (or the two of a pair) lost on its way to token ids.

    Parameters
    ----------
    tokenizer : BertTokenizer
        What made `inputs` of `texts`.
    texts : sequence of str
        A text, or the two of a pair.
    inputs : BatchEncoding
        Of the one row that they became.

    Examples
    --------
    >>> from numpy_bert import BertTokenizer
    >>> tokenizer = BertTokenizer.from_pretrained("demo")
    >>> lost(tokenizer, [""], tokenizer("", return_tensors="np"))
    ['the text has no content tokens, only the special ones.']
    """
    found = [
        f"the text has {before} tokens; it was cut to {after}."
        for before, after in inputs.truncated.values()
    ]
    dropped = tokenizer.dropped_characters("".join(texts))
    if dropped:
        codes = ", ".join(sorted({f"U+{ord(character):04X}" for character in dropped}))
        found.append(f"{len(dropped)} characters dropped by the tokenizer: {codes}.")
    if inputs["input_ids"].shape[1] <= 1 + len(texts):
        found.append("the text has no content tokens, only the special ones.")
    return found
