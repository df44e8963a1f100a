"""One call of a tokenizer: texts to rows of ids, cut and padded, as transformers returns them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from numpy_bert.arguments import as_count, check_switches
from numpy_bert.errors import InputError
from numpy_bert.messages import must_be
from numpy_bert.text.encoding import BatchEncoding, Row
from numpy_bert.text.library import backend_errors
from numpy_bert.text.padding import Padding, pad_rows

if TYPE_CHECKING:  # a model that is called with ids needs no tokenizers library
    from tokenizers import Encoding, Tokenizer

__all__ = [
    "MEMBERS",
    "STRATEGIES",
    "Lengths",
    "as_encoding",
    "as_lengths",
    "encode",
    "gives_arrays",
    "kept_lengths",
    "kept_tokens",
    "member_names",
    "members_of",
    "padded",
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
# The members that have a number for each row, and not for each token.
_OF_ROWS = ("length", "overflow_to_sample_mapping")


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
    multiple : int
        What the length of rows that are lengthened is a multiple of.
    """

    strategy: str | None
    cut: int | None
    pad: int | None
    pads: bool
    multiple: int = 1


def as_lengths(
    *,
    padding: bool | str,
    truncation: bool | str | None,
    max_length: int | None,
    model_max_length: int | None,
    pad_to_multiple_of: int | None = None,
) -> Lengths:
    """Check what is asked of lengths, and return what it means together.

    As in transformers, `max_length` alone cuts, unless `truncation` is False.

    Raises
    ------
    InputError
        If one of them has no meaning, or `max_length` no use.
    """
    if truncation is None and padding is False and max_length is not None:
        truncation = True
    strategy = _strategy(truncation)
    pads = _padding(padding)
    used = strategy is not None or pads == "max_length"
    multiple = 1
    if pad_to_multiple_of is not None:
        multiple = min(as_count("pad_to_multiple_of", pad_to_multiple_of), sys.maxsize)
    length = model_max_length
    if max_length is not None:
        length = min(as_count("max_length", max_length, least=0), sys.maxsize)
    if max_length is not None and not used:
        raise InputError(
            "max_length has no effect without truncation=True or padding='max_length'; give one of "
            "them too."
        )
    if used and length is None:
        name = "truncation" if strategy is not None else "padding='max_length'"
        raise InputError(f"{name} needs max_length, since the model states none; give it.")
    if strategy is not None and pads is not None and (length or 0) % multiple:
        raise InputError(
            f"max_length={length} must be a multiple of pad_to_multiple_of={multiple}, as rows are "
            "cut and padded; change one of them."
        )
    return Lengths(
        strategy=strategy,
        cut=None if strategy is None else length,
        pad=length if pads == "max_length" else None,
        pads=pads is not None,
        multiple=multiple,
    )


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


def member_names(**switches: bool | None) -> list[str]:
    """Return the names of the members that a call's ``return_...`` ask for, in the order there.

    ``input_ids`` are always returned, token types and the attention mask also for None.
    """
    usual = ("return_token_type_ids", "return_attention_mask")
    check_switches(**{n: v for n, v in switches.items() if v is not None or n not in usual})
    names = {
        "return_offsets_mapping": "offset_mapping",
        "return_overflowing_tokens": "overflow_to_sample_mapping",
    }
    wanted = [name for name, value in switches.items() if value is None or value]
    return ["input_ids", *(names.get(name, name.removeprefix("return_")) for name in wanted)]


def gives_arrays(return_tensors: object) -> bool:
    """Tell whether arrays are asked for, or lists."""
    if return_tensors is None:
        return False
    if not isinstance(return_tensors, str) or return_tensors != "np":
        raise InputError(must_be("return_tensors", "'np', or None for lists", return_tensors))
    return True


def encode(
    tokenizer: Tokenizer,
    items: Sequence[Any],
    *,
    add_special_tokens: bool,
    is_split_into_words: bool = False,
) -> list[Encoding]:
    """Encode checked texts and pairs, or such of words, in full."""
    with backend_errors("tokenizer"):
        return list(
            tokenizer.encode_batch(
                list(items),
                add_special_tokens=add_special_tokens,
                is_pretokenized=is_split_into_words,
            )
        )


def rows_of(
    encodings: Sequence[Encoding], lengths: Lengths, *, side: str, stride: int | None = None
) -> tuple[list[Row], dict[int, tuple[int, int]]]:
    """Return rows of texts, cut where they are too long; and what was cut.

    The latter maps the number of each row that was cut to its length before and after. With
    `stride`, nothing is lost: what does not fit into one row goes into further ones, which share so
    many tokens of a text with the one before.
    """
    rows, truncated = list[Row](), dict[int, tuple[int, int]]()
    for number, encoding in enumerate(encodings):
        before = len(encoding)
        if lengths.strategy is None or lengths.cut is None or before <= lengths.cut:
            rows.append(Row(number=number, encoding=encoding))
            continue
        try:
            parts = kept_tokens(encoding, lengths.cut, lengths.strategy, side=side, stride=stride)
        except InputError as failure:
            where = f"text[{number}]: " if len(encodings) > 1 else ""
            raise InputError(f"{where}{failure}") from None
        rows += [Row(number=number, encoding=encoding, kept=kept) for kept in parts]
        if stride is None:
            truncated[number] = (before, lengths.cut)
    return rows, truncated


def members_of(rows: Sequence[Row], names: Sequence[str]) -> dict[str, list[list[Any]]]:
    """Return members of rows by their names.

    Offsets are pairs of numbers, the other members numbers, one for each token.
    """
    found = {}
    for name in names:
        found[name] = members = list[list[Any]]()
        for encoding, windows in groupby(rows, lambda row: row.encoding):
            values = getattr(encoding, _SOURCES[name])  # once for all windows: it is made anew
            members += [row.part_of(values) for row in windows]
    return found


def kept_tokens(
    encoding: Encoding, length: int, strategy: str, *, side: str, stride: int | None = None
) -> list[tuple[slice, ...]]:
    """Return which tokens are kept for `length` to remain; with `stride`, for each window.

    The library could truncate by itself, but only by changing a tokenizer that threads share;
    asked for 0 or 1 tokens it silently does not.

    Parameters
    ----------
    encoding : tokenizers.Encoding
        A text or pair that is too long.
    length : int
        The number of tokens that remain, special ones included.
    strategy : {"longest_first", "only_first", "only_second"}
        Which text is shortened, as in transformers.
    side : {"right", "left"}
        The side on which tokens go, and which the last window is nearest to.
    stride : int, optional
        How many tokens of a text its windows share; without it, there is one window.

    Returns
    -------
    list of tuple of slice
        The tokens of each window, in the library's order: where both texts have several parts, the
        first with the first, then each other one of the first text with all of the second, then the
        first with the others.

    Raises
    ------
    InputError
        If the special tokens alone are too many, `strategy` cannot be followed, or windows would
        not advance.

    References
    ----------
    .. [1] huggingface/tokenizers, tokenizers/src/tokenizer/encoding.rs, truncate and merge_with.
    """
    owners = encoding.sequence_ids  # 0 and 1 for the texts, None for the frame around them
    counts = [owners.count(text) for text in (0, 1)]
    frame = len(owners) - sum(counts)
    if length < frame:
        raise InputError(f"max_length={length}: the {frame} special tokens alone need more.")
    room = kept_lengths(counts[0], counts[1] or None, length - frame, strategy)
    firsts, seconds = (
        _windows(count, most, side=side, stride=stride)
        for count, most in zip(counts, room, strict=True)
    )
    starts = [owners.index(text) if count else 0 for text, count in enumerate(counts)]

    def kept(*parts: tuple[int, int]) -> tuple[slice, ...]:
        places, end = [], 0
        for start, count, (first, last) in zip(starts, counts, parts, strict=True):
            if count:
                places += [slice(end, start), slice(start + first, start + last)]
                end = start + count
        return (*places, slice(end, len(owners)))

    return [
        kept(firsts[0], seconds[0]),
        *(kept(first, second) for first in firsts[1:] for second in seconds),
        *(kept(firsts[0], second) for second in seconds[1:]),
    ]


def _windows(count: int, most: int, *, side: str, stride: int | None) -> list[tuple[int, int]]:
    """Return the windows of at most so many tokens over a text of `count` tokens.

    Examples
    --------
    >>> _windows(7, 4, side="right", stride=2), _windows(7, 4, side="left", stride=2)
    ([(0, 4), (2, 6), (4, 7)], [(3, 7), (1, 5), (0, 3)])
    """
    if count <= most:
        return [(0, count)]
    if stride is None:
        starts: Sequence[int] = (0,)
    elif most <= stride:
        raise InputError(
            f"stride={stride} must be less than the {most} tokens of a text that are left to a "
            "row; lower it, or raise max_length."
        )
    else:
        starts = range(0, count - stride, most - stride)
    found = [(start, min(start + most, count)) for start in starts]
    return found if side == "right" else [(count - last, count - first) for first, last in found]


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


def padded(
    rows: Sequence[Row], names: Sequence[str], padding: Padding | None
) -> tuple[Sequence[Row], dict[str, list[Any]]]:
    """Return rows with padding, if there is to be any, and their members by name."""
    members: dict[str, list[Any]] = {}
    members |= members_of(rows, [name for name in names if name not in _OF_ROWS])
    if padding is not None:
        own = [len(ids) for ids in members["input_ids"]]
        members |= pad_rows(members, padding)
        gaps = [len(ids) - length for ids, length in zip(members["input_ids"], own, strict=True)]
        rows = [row.widened(gap, padding) for row, gap in zip(rows, gaps, strict=True)]
    of_rows = {
        "length": [len(ids) for ids in members["input_ids"]],
        "overflow_to_sample_mapping": [row.number for row in rows],
    }
    return rows, members | {name: of_rows[name] for name in names if name in of_rows}


def as_encoding(
    members: Mapping[str, list[Any]],
    rows: Sequence[Row],
    truncated: Mapping[int, tuple[int, int]],
    *,
    single: bool,
    arrays: bool,
) -> BatchEncoding:
    """Return rows as a call does: as arrays, or as lists, those of a single text not nested."""
    found: Mapping[str, Any] = members
    if arrays:
        found = to_arrays(members)
    elif single:
        found = {n: list_ if n in _OF_ROWS else list_[0] for n, list_ in members.items()}
    return BatchEncoding(found, truncated, rows)


def to_arrays(members: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return int64 arrays of shape (B, T), offsets (B, T, 2); an empty batch is (0, 0).

    What has a number for each row is an array of shape (B,).

    Raises
    ------
    InputError
        If the rows are of different lengths.
    """
    rows = members["input_ids"]
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise InputError(
            f"the texts have from {min(lengths)} to {max(lengths)} tokens, which is no array; pad "
            "or cut them: padding=True, truncation=True."
        )
    shape = (len(rows), *(lengths or {0}))
    shapes = {"offset_mapping": (*shape, 2), **dict.fromkeys(_OF_ROWS, shape[:1])}
    return {
        name: np.array(member, dtype=np.int64).reshape(shapes.get(name, shape))
        for name, member in members.items()
    }
