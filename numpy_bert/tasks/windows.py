"""Windows over a text that is longer than a model reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from numpy_bert.reprs import short_repr
from numpy_bert.tasks.batches import Row, TextModel, batches_of

__all__ = ["Window", "cut_windows", "run_windows"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Window:
    """What a model reads of a long text at once.

    Attributes
    ----------
    row : Row
        The part with all that stands around the text: the frame of special tokens, and a question
        before it where there is one.
    place : int
        Where in `row` the part begins.
    first, last : int
        The part, by the numbers of the text's tokens; `last` is not in it.
    """

    __repr__ = short_repr

    row: Row
    place: int
    first: int
    last: int


def cut_windows(row: Row, start: int, count: int, *, room: int, overlap: int) -> list[Window]:
    """Cut the text in a row into windows, first to last; together they hold all of it.

    Parameters
    ----------
    row : Row
        A text, framed, in full.
    start, count : int
        Where its tokens begin, and how many they are; what stands around them is in each window.
    room : int
        How many tokens of the text a window holds, at least 1.
    overlap : int
        How many of them it shares with the next; at most half of what a window holds.

    Examples
    --------
    >>> row = Row(input_ids=[2, 5, 6, 7, 8, 3], token_type_ids=[0] * 6, special=[0] * 6,
    ...           offsets=[(0, 0)] * 6)
    >>> [window.row.input_ids for window in cut_windows(row, 1, 4, room=3, overlap=1)]
    [[2, 5, 6, 7, 3], [2, 7, 8, 3]]
    """
    step = room - min(overlap, room // 2)
    firsts = range(0, max(count - room, 0) + step, step)
    spans = [(first, min(first + room, count)) for first in firsts]
    return [
        Window(row=_part(row, start, count, span), place=start, first=span[0], last=span[1])
        for span in spans
    ]


def _part(row: Row, start: int, count: int, span: tuple[int, int]) -> Row:
    """Return a row with no more of its text than the tokens from one number to another."""
    first, last = span

    def cut(members: list[Any]) -> list[Any]:
        part = members[start + first : start + last]
        return [*members[:start], *part, *members[start + count :]]

    return Row(
        input_ids=cut(row.input_ids),
        token_type_ids=None if row.token_type_ids is None else cut(row.token_type_ids),
        special=cut(row.special),
        offsets=cut(row.offsets),
    )


def run_windows(
    model: TextModel, cut: Sequence[Sequence[Window]]
) -> Iterator[tuple[int, Window, Any, int]]:
    """Run a model over the windows of several texts, some at a time.

    Yields
    ------
    tuple of (int, Window, output, int)
        The number of the text, its window, and what the model returns with the window's row in it;
        in an order of the batches' own.
    """
    flat = [(number, window) for number, windows in enumerate(cut) for window in windows]
    for batch in batches_of([window.row for _, window in flat], model.tokenizer.pad_token_id):
        output = model(**batch.inputs)
        for row, place in enumerate(batch.numbers):
            number, window = flat[place]
            yield number, window, output, row
