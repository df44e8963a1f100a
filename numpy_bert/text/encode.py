"""One call of the Rust library: texts to encodings; and which tokens go where they are too many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenizers import Encoding, Tokenizer

from numpy_bert.errors import InputError
from numpy_bert.text.arguments import Lengths
from numpy_bert.text.inputs import Pair
from numpy_bert.text.library import backend_errors
from numpy_bert.text.truncation import kept_lengths

__all__ = ["MEMBERS", "encode", "excess", "rows_of"]

MEMBERS = ("input_ids", "token_type_ids", "attention_mask")
# Where the library keeps each member that a caller can ask for.
_SOURCES = {
    "input_ids": "ids",
    "token_type_ids": "type_ids",
    "attention_mask": "attention_mask",
    "special_tokens_mask": "special_tokens_mask",
    "offset_mapping": "offsets",
}


def encode(
    tokenizer: Tokenizer, items: Sequence[str | Pair], *, add_special_tokens: bool
) -> list[Encoding]:
    """Encode checked texts and pairs in full."""
    with backend_errors("tokenizer"):
        return list(tokenizer.encode_batch(list(items), add_special_tokens=add_special_tokens))


def excess(encoding: Encoding, length: int, strategy: str, *, side: str) -> list[slice]:
    """Return the tokens that must go for `length` to stay, the last ones first.

    The library could truncate by itself, but only by changing a tokenizer that threads share;
    asked for 0 or 1 tokens it silently does not.

    Raises
    ------
    InputError
        If the special tokens alone are too many, or `strategy` cannot be followed.
    """
    owners = encoding.sequence_ids  # 0 and 1 for the texts, None for the frame around them
    counts = [owners.count(text) for text in (0, 1)]
    frame = len(owners) - sum(counts)
    if length < frame:
        raise InputError(f"max_length={length}: the {frame} special tokens alone need more.")
    kept = kept_lengths(counts[0], counts[1] or None, length - frame, strategy)
    gone = []
    for text in (1, 0):
        if kept[text] < counts[text]:
            start = owners.index(text) + (kept[text] if side == "right" else 0)
            gone.append(slice(start, start + counts[text] - kept[text]))
    return gone


def rows_of(
    encodings: Sequence[Encoding],
    lengths: Lengths,
    *,
    side: str,
    names: Sequence[str] = MEMBERS,
) -> tuple[dict[str, list[list[Any]]], dict[int, tuple[int, int]]]:
    """Return the members of these names row by row, cut; and the cut rows' lengths before, after.

    Offsets are pairs of numbers, the other members numbers, one for each token.
    """
    rows: dict[str, list[list[Any]]] = {name: [] for name in names}
    truncated = {}
    for number, encoding in enumerate(encodings):
        members = [getattr(encoding, _SOURCES[name]) for name in names]
        before = len(encoding)
        if lengths.strategy is not None and lengths.cut is not None and before > lengths.cut:
            try:
                gone = excess(encoding, lengths.cut, lengths.strategy, side=side)
            except InputError as failure:
                where = f"text[{number}]: " if len(encodings) > 1 else ""
                raise InputError(f"{where}{failure}") from None
            for member in members:
                for tokens in gone:
                    del member[tokens]
            assert len(members[0]) <= lengths.cut
            truncated[number] = (before, len(members[0]))
        for name, member in zip(names, members, strict=True):
            rows[name].append(member)
    return rows, truncated
