"""Which texts are computed together: chunks for the tokenizer, micro-batches for the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import IntArray
from numpy_bert.kernels.encoder import MICRO_BATCH
from numpy_bert.text.ids import IdEncoder

__all__ = ["Batch", "Plan", "Repeats", "distinct"]

# What the tokenizer gets at a time. Each token of it takes some hundred bytes until its id is in
# an array, and nothing can interrupt it.
_CHUNK_TEXTS = 4096
_CHUNK_CHARACTERS = 1_000_000
# Fewer are not shared out: waking a thread costs as much as they do.
_LEAST_TOKENS = 64


class Repeats(NamedTuple):
    """Which texts are computed, and which are copies of one that is.

    Attributes
    ----------
    rows : ndarray, int
        The first of each text, in order.
    copies, originals : ndarray, int
        The others, and for each the first that is equal.
    """

    rows: IntArray
    copies: IntArray
    originals: IntArray


class Batch(NamedTuple):
    """A micro-batch: texts of similar length, without padding, the longest first.

    Attributes
    ----------
    ids : ndarray of shape (N,), int64
        Of all its texts.
    lengths : ndarray of shape (B,), int
        Tokens of each.
    rows : ndarray of shape (B,), int
        Where each text's vector goes.
    """

    ids: npt.NDArray[np.int64]
    lengths: IntArray
    rows: IntArray


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Plan:
    """How texts are cut into micro-batches.

    It depends on the texts and on these settings alone, so that the same call gives the same bits.

    Attributes
    ----------
    encode_ids : IdEncoder
        The tokenizer.
    limit : int
        Tokens of a text that are read.
    prompt : str
        What is put before each text.
    most_texts : int or None
        Texts of a micro-batch; the number of tokens bounds them anyway.
    workers : int
        Threads among which little work is shared out.
    cut : dict of int to int
        Filled as the plan goes: the texts that were too long, and how many tokens they had.
    """

    encode_ids: IdEncoder
    limit: int
    prompt: str = ""
    most_texts: int | None = None
    workers: int = 1
    cut: dict[int, int] = field(default_factory=dict)

    def batches(self, texts: Sequence[str], rows: IntArray) -> Iterator[Batch]:
        """Yield the micro-batches of the texts at `rows`, a chunk tokenized at a time."""
        for chunk in _chunks(texts, rows):
            encoded = self.encode_ids([self.prompt + texts[row] for row in chunk], self.limit)
            self.cut.update({int(chunk[place]): n for place, n in encoded.cut.items()})
            order = np.argsort(-encoded.lengths, kind="stable")
            starts = np.cumsum(encoded.lengths) - encoded.lengths
            for part in self._slices(encoded.lengths[order]):
                places = order[part]
                lengths = encoded.lengths[places]
                # Each token's place in the chunk: its text's, and its own behind that.
                shifts = starts[places] - (np.cumsum(lengths) - lengths)
                at = np.repeat(shifts, lengths) + np.arange(int(lengths.sum()))
                yield Batch(encoded.ids[at], lengths, chunk[places])

    def _slices(self, lengths: IntArray) -> Iterator[slice]:
        """Cut texts, sorted by length, into parts of about equal work."""
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        count = max(1, -(-total // MICRO_BATCH))
        if self.workers > 1 and total >= 2 * _LEAST_TOKENS:
            # As many as the threads, or a multiple: none idles while another does the last one.
            count = -(-count // self.workers) * self.workers
        room = max(-(-total // count), _LEAST_TOKENS)
        start = 0
        while start < len(lengths):
            before = int(ends[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + room, "right")))
            if self.most_texts is not None:
                stop = min(stop, start + self.most_texts)
            yield slice(start, stop)
            start = stop


def distinct(texts: Sequence[str]) -> Repeats:
    """Find the texts that stand more than once.

    Examples
    --------
    >>> distinct(["a", "b", "a"])
    Repeats(rows=array([0, 1]), copies=array([2]), originals=array([0]))
    """
    seen: dict[str, int] = {}
    first = np.fromiter(map(seen.setdefault, texts, range(len(texts))), np.intp, len(texts))
    own = first == np.arange(len(texts))
    return Repeats(np.flatnonzero(own), np.flatnonzero(~own), first[~own])


def _chunks(texts: Sequence[str], rows: IntArray) -> Iterator[IntArray]:
    """Cut rows where the texts become too many, or too long together."""
    start = characters = 0
    for place, row in enumerate(rows.tolist()):
        size = len(texts[row])
        full = place - start == _CHUNK_TEXTS or characters + size > _CHUNK_CHARACTERS
        if full and place > start:
            yield rows[start:place]
            start, characters = place, 0
        characters += size
    if start < len(rows):
        yield rows[start:]
