"""Which tokens go when a text is longer than it may be."""

from __future__ import annotations

from numpy_bert.errors import InputError

__all__ = ["STRATEGIES", "kept_lengths"]

STRATEGIES = ("longest_first", "only_first", "only_second")


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
