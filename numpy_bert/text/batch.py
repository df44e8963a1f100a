"""One call of a tokenizer: texts to rows of ids, cut and padded, as transformers returns them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from numpy_bert.errors import InputError
from numpy_bert.messages import must_be
from numpy_bert.text.inputs import Pair
from numpy_bert.text.library import backend_errors

if TYPE_CHECKING:  # a model that is called with ids needs no tokenizers library
    from tokenizers import Encoding, Tokenizer

__all__ = [
    "MEMBERS",
    "STRATEGIES",
    "BatchEncoding",
    "Lengths",
    "as_encoding",
    "as_lengths",
    "check_switches",
    "encode",
    "excess",
    "kept_lengths",
    "pad_rows",
    "rows_of",
    "to_arrays",
]

STRATEGIES = ("longest_first", "only_first", "only_second")
MEMBERS = ("input_ids", "token_type_ids", "attention_mask")
# Where the library keeps each member that a caller can ask for.
_SOURCES = {
    "input_ids": "ids",
    "token_type_ids": "type_ids",
    "attention_mask": "attention_mask",
    "special_tokens_mask": "special_tokens_mask",
    "offset_mapping": "offsets",
}
_PADDINGS = {
    False: None,
    "do_not_pad": None,
    True: "longest",
    "longest": "longest",
    "max_length": "max_length",
}
# The most tokens of a padded batch: they take 24 bytes each, as lists and again as arrays.
_MOST_TOKENS = 1_000_000_000
# What padding is in those members in which it is not 0.
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


@dataclass(frozen=True, slots=True)
class Lengths:
    """What a call asks of lengths.

    Attributes
    ----------
    strategy : str or None
        Which text is cut; None for no cut.
    cut : int or None
        Tokens that a row may have, special ones included; None for any number.
    pad : int or None
        Tokens that a row is lengthened to; None for the length of the longest.
    pads : bool
        Whether rows are lengthened at all.
    """

    strategy: str | None
    cut: int | None
    pad: int | None
    pads: bool


def as_lengths(
    *,
    padding: bool | str,
    truncation: bool | str | None,
    max_length: int | None,
    model_max_length: int | None,
) -> Lengths:
    """Check `padding`, `truncation` and `max_length` and return what they mean together.

    Raises
    ------
    InputError
        If one of them has no meaning, or `max_length` no use.
    """
    strategy = _strategy(truncation)
    pads = _padding(padding)
    used = strategy is not None or pads == "max_length"
    length = model_max_length if max_length is None else _length(max_length)
    if max_length is not None and not used:
        raise InputError("max_length has no effect without truncation=True; give both.")
    if used and length is None:
        name = "truncation" if strategy is not None else "padding='max_length'"
        raise InputError(f"{name} needs max_length, since the model states none; give it.")
    return Lengths(
        strategy=strategy,
        cut=None if strategy is None else length,
        pad=length if pads == "max_length" else None,
        pads=pads is not None,
    )


def _length(max_length: int) -> int:
    """Return a number of tokens."""
    is_number = isinstance(max_length, (int, np.integer)) and not isinstance(max_length, bool)
    if not is_number or max_length < 0:
        raise InputError(must_be("max_length", "a number of tokens", max_length))
    return int(max_length)


def _strategy(truncation: bool | str | None) -> str | None:
    """Return the truncation strategy that an argument means, None for none."""
    if truncation is True:
        return "longest_first"
    if truncation is None or truncation is False:
        return None
    if isinstance(truncation, str) and truncation == "do_not_truncate":
        return None
    if not isinstance(truncation, str) or truncation not in STRATEGIES:
        wanted = f"True, False or one of {', '.join(map(repr, STRATEGIES))}"
        raise InputError(must_be("truncation", wanted, truncation))
    return truncation


def _padding(padding: bool | str) -> str | None:
    """Return "longest" or "max_length", None for no padding."""
    if not isinstance(padding, (bool, str)) or padding not in _PADDINGS:
        wanted = "True, False, 'longest' or 'max_length'"
        raise InputError(must_be("padding", wanted, padding))
    return _PADDINGS[padding]


def check_switches(**switches: object) -> None:
    """Raise InputError unless each argument is True or False: any text, "no" too, would be true.

    Examples
    --------
    >>> check_switches(skip_special_tokens="no")
    Traceback (most recent call last):
    numpy_bert.errors.InputError: skip_special_tokens must be True or False; got 'no'.
    """
    for name, value in switches.items():
        if not isinstance(value, (bool, np.bool_)):
            raise InputError(must_be(name, "True or False", value))


def encode(
    tokenizer: Tokenizer, items: Sequence[str | Pair], *, add_special_tokens: bool
) -> list[Encoding]:
    """Encode checked texts and pairs in full."""
    with backend_errors("tokenizer"):
        return list(tokenizer.encode_batch(list(items), add_special_tokens=add_special_tokens))


def rows_of(
    encodings: Sequence[Encoding],
    lengths: Lengths,
    *,
    side: str,
    names: Sequence[str] = MEMBERS,
) -> tuple[dict[str, list[list[Any]]], dict[int, tuple[int, int]]]:
    """Return the named members of each row, cut where they are too long; and what was cut.

    The latter maps the number of each row that was cut to its length before and after. Offsets are
    pairs of numbers, the other members numbers, one for each token.
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


def kept_lengths(first: int, second: int | None, room: int, strategy: str) -> tuple[int, int]:
    """Return how many tokens of each text are kept so that both fit into `room`.

    Parameters
    ----------
    first, second : int
        Lengths in tokens; `second` is None for a single text.
    room : int
        Tokens that may remain in all, special tokens not counted.
    strategy : {"longest_first", "only_first", "only_second"}
        Which text is shortened, as in transformers.

    Raises
    ------
    InputError
        If only one of two texts may be shortened and it would have to vanish, or does not exist.

    References
    ----------
    .. [1] huggingface/tokenizers, tokenizers/src/utils/truncation.rs, truncate_encodings:
       longest_first shares the room as it does there, the shorter text first.

    Examples
    --------
    >>> kept_lengths(10, 3, 8, "longest_first")
    (5, 3)
    >>> kept_lengths(10, 9, 7, "longest_first")
    (4, 3)
    """
    excess = first + (second or 0) - room
    if excess <= 0:
        return first, second or 0
    if second is None:
        if strategy == "only_second":
            raise InputError("truncation='only_second': there is no second text.")
        return room, 0
    if strategy == "longest_first":
        return _longest_first(first, second, room)
    chosen = first if strategy == "only_first" else second
    if chosen <= excess:
        raise InputError(
            f"truncation={strategy!r}: {excess} tokens must go, that text has {chosen}; "
            "raise max_length or use 'longest_first'."
        )
    if strategy == "only_first":
        return first - excess, second
    return first, chosen - excess


def _longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """Shorten the longer text until it is as long as the other, then both."""
    short, long = min(first, second), max(first, second)
    long = max(short, room - short)
    if short + long > room:
        short = room // 2
        long = short + room % 2
    return (short, long) if first <= second else (long, short)


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
