"""Encoded rows as transformers returns them: a dict of lists or int64 arrays, padded or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from numpy_bert.errors import InputError

__all__ = ["BatchEncoding", "as_encoding", "pad_rows", "to_arrays"]

# At 24 bytes each, as lists and again as arrays.
_MOST_TOKENS = 1_000_000_000
# What padding is in members where it is not 0.
_FILLS: Mapping[str, Any] = {"special_tokens_mask": 1, "offset_mapping": (0, 0)}


class BatchEncoding(dict[str, Any]):
    """What a tokenizer returns: ``input_ids``, ``token_type_ids``, ``attention_mask``.

    A dict whose members are attributes too. `truncated` maps the number of each row that was cut
    to its length in tokens before and after.

    Examples
    --------
    >>> encoding = BatchEncoding({"input_ids": [101, 102]})
    >>> encoding.input_ids == encoding["input_ids"]
    True
    """

    truncated: Mapping[int, tuple[int, int]]

    def __init__(
        self, data: Mapping[str, Any], truncated: Mapping[int, tuple[int, int]] | None = None
    ) -> None:
        super().__init__(data)
        self.__dict__["truncated"] = dict(truncated or {})

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"an encoding has no {name!r}; it has {', '.join(self)}") from None


def pad_rows(
    rows: Mapping[str, list[list[Any]]], length: int | None, *, pad_id: int, left: bool
) -> dict[str, list[list[Any]]]:
    """Lengthen every row to `length`, or to the longest; rows that are longer stay as they are.

    Raises
    ------
    InputError
        If that is more than any memory should be asked for.
    """
    lengths = [len(row) for row in rows["input_ids"]]
    length = max(lengths, default=0) if length is None else length
    total = length * len(lengths)
    if total > _MOST_TOKENS:
        raise InputError(
            f"padding: {len(lengths):,} rows of {length:,} tokens would take more than "
            f"{total * len(rows) * 8 // 10**9:,} GB; encode fewer texts at a time, or cut them "
            "(truncation=True)."
        )
    padded = {}
    for name, members in rows.items():
        fill = pad_id if name == "input_ids" else _FILLS.get(name, 0)
        gaps = [[fill] * (length - len(row)) for row in members]
        padded[name] = [
            gap + row if left else row + gap for row, gap in zip(members, gaps, strict=True)
        ]
    return padded


def to_arrays(rows: Mapping[str, Sequence[Sequence[Any]]]) -> dict[str, Any]:
    """Return int64 arrays of shape (B, T), offsets (B, T, 2); an empty batch is (0, 0).

    Raises
    ------
    InputError
        If the rows are of different lengths.
    """
    lengths = {len(row) for row in next(iter(rows.values()))}
    if len(lengths) > 1:
        raise InputError(
            f"the texts have from {min(lengths)} to {max(lengths)} tokens, which is no array; pad "
            "or cut them: padding=True, truncation=True."
        )
    shape = (len(next(iter(rows.values()))), *(lengths or {0}))
    pairs = {"offset_mapping": (*shape, 2)}
    return {
        name: np.array(row, dtype=np.int64).reshape(pairs.get(name, shape))
        for name, row in rows.items()
    }


def as_encoding(
    rows: Mapping[str, list[list[Any]]],
    truncated: Mapping[int, tuple[int, int]],
    *,
    single: bool,
    arrays: bool,
) -> BatchEncoding:
    """Return rows as a call does: as arrays, or as lists, those of a single text not nested."""
    if arrays:
        return BatchEncoding(to_arrays(rows), truncated)
    if single:
        return BatchEncoding({name: row[0] for name, row in rows.items()}, truncated)
    return BatchEncoding(rows, truncated)
