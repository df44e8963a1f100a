"""Texts or pairs cut into micro-batches of similar length, which threads work off, unpadded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import IntArray
from numpy_bert.kernels.encoder import MICRO_BATCH
from numpy_bert.kernels.threads import work_off
from numpy_bert.progress import PATIENCE, progress
from numpy_bert.reprs import short_repr
from numpy_bert.text.ids import Ids, Tokenized, prompted
from numpy_bert.text.inputs import Pair

__all__ = ["Batch", "Plan", "Repeats", "Texts", "distinct", "fill"]

Item = TypeVar("Item")
Text: TypeAlias = str | Pair | Tokenized
Texts: TypeAlias = Sequence[str] | Sequence[Pair] | Sequence[Tokenized]

# What the tokenizer gets at a time. Each token of it takes some hundred bytes until its id is in
# an array, and nothing can interrupt it.
_CHUNK_TEXTS = 4096
_CHUNK_CHARACTERS = 1_000_000
# Fewer tokens are not shared out: waking a thread costs as much as they do.
_LEAST_TOKENS = 64
# Below as many characters nobody waits, and the bar's own import would be felt.
_WORTH_A_BAR = 20_000
# How many characters a token of English has with the blank behind it, and as how many more the two
# special tokens of a text count.
_CHARACTERS, _FRAME = 6, 12
# How many copies are written at a time; the file that they are written to may be large.
_COPIES = 4096


class Repeats(NamedTuple):
    """Which texts are computed, and which are copies of one that is.

    Attributes
    ----------
    rows : ndarray, int
        Where each text stands first, in order.
    copies, originals : ndarray, int
        Where a text stands again, and for each such place the first one.
    """

    rows: IntArray
    copies: IntArray
    originals: IntArray

    def __repr__(self) -> str:
        return short_repr(self)


class Batch(NamedTuple):
    """A micro-batch: texts of similar length, without padding, the longest first.

    Attributes
    ----------
    ids : ndarray of shape (N,), int64
        The ids of all its texts, one after another.
    lengths : ndarray of shape (B,), int
        How many tokens each text has.
    rows : ndarray of shape (B,), int
        Where each text's vector goes.
    types : ndarray of shape (N,), int64, or None
        The segment of each id, for pairs of texts.
    """

    ids: npt.NDArray[np.int64]
    lengths: IntArray
    rows: IntArray
    types: npt.NDArray[np.int64] | None = None

    def __repr__(self) -> str:
        return short_repr(self)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Plan:
    """How texts are cut into micro-batches.

    It depends on the texts and on these settings alone, so that the same call gives the same bits.

    Attributes
    ----------
    encode_ids : callable
        The tokenizer, an `IdEncoder`; or `joined`, for texts that are tokenized already.
    limit : int
        How many tokens of a text are read.
    prompt : str
        What is put before each text, or the first one of each pair.
    most_texts : int or None
        How many texts a micro-batch may have; the number of its tokens bounds them anyway.
    workers : int
        How many threads little work is shared out among.
    cut : dict of int to int
        The rows of texts that were too long, and how many tokens they had; filled as the plan goes.
    advance : callable, optional
        It is called with the share of the work that each micro-batch was, by several threads.
    """

    __repr__ = short_repr

    encode_ids: Callable[[Any, int | None], Ids]
    limit: int
    prompt: str = ""
    most_texts: int | None = None
    workers: int = 1
    cut: dict[int, int] = field(default_factory=dict)
    advance: Callable[[float], object] | None = None

    def batches(self, texts: Texts, rows: IntArray) -> Iterator[Batch]:
        """Yield the micro-batches of the texts at `rows`, a chunk tokenized at a time."""
        for chunk in _chunks(texts, rows):
            encoded = self.encode_ids([self._prompted(texts[row]) for row in chunk], self.limit)
            self.cut.update({int(chunk[place]): n for place, n in encoded.cut.items()})
            order = np.argsort(-encoded.lengths, kind="stable")
            starts = np.cumsum(encoded.lengths) - encoded.lengths
            for part in self._slices(encoded.lengths[order]):
                places = order[part]
                lengths = encoded.lengths[places]
                # Each token's place in the chunk: its text's, and its own behind that.
                shifts = starts[places] - (np.cumsum(lengths) - lengths)
                at = np.repeat(shifts, lengths) + np.arange(int(lengths.sum()))
                types = None if encoded.types is None else encoded.types[at]
                yield Batch(encoded.ids[at], lengths, chunk[places], types)

    def cut_message(self, where: str, name: str | None, total: int, *, unit: str = "text") -> str:
        """Say how many texts were cut, and which was the first.

        Parameters
        ----------
        where : str
            What was called.
        name : str, optional
            The argument that the texts came in; None for a single text.
        total : int
            How many there are.
        unit : str
            What a text is.
        """
        first = min(self.cut)
        limit = f"max_seq_length = {self.limit}"
        if name is None:
            return f"{where}: the {unit} has {self.cut[first]} tokens and was cut to {limit}."
        return (
            f"{where}: {len(self.cut)} of {total} {unit}s have more tokens than {limit} and were "
            f"cut; the first is {name}[{first}], of {self.cut[first]}."
        )

    def _prompted(self, text: Any) -> Any:
        """Return a text, or a pair, behind the prompt, which one that is tokenized has."""
        return text if isinstance(text, Tokenized) else prompted(text, self.prompt)

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


def distinct(texts: Texts) -> Repeats:
    """Find the texts that stand more than once.

    Examples
    --------
    >>> distinct(["a", "b", "a"])
    Repeats(rows=array([0, 1]), copies=array([2]), originals=array([0]))
    """
    seen: dict[Text, int] = {}
    first = np.fromiter(map(seen.setdefault, texts, range(len(texts))), np.intp, len(texts))
    own = first == np.arange(len(texts))
    return Repeats(np.flatnonzero(own), np.flatnonzero(~own), first[~own])


def fill(
    vectors: npt.NDArray[Any],
    texts: Texts,
    plan: Plan,
    embed: Callable[[Batch], npt.NDArray[Any]],
    shown: bool | None,
    *,
    label: str = "encoding",
    unit: str = "texts",
) -> None:
    """Write the vector of each text to its row of `vectors`; equal texts are computed once.

    `embed` makes the vectors of a micro-batch, and is called by several threads. Progress is shown
    if `shown` is true, or where it is None and the work takes long; `label` says what is done, and
    `unit` what the texts are. Afterwards ``plan.cut`` has all texts that were too long, those that
    stand more than once included.
    """
    repeats = distinct(texts)
    work_of = np.array([_work_of(text, plan.limit) for text in texts], np.int64)
    is_shown = int(work_of.sum()) >= _WORTH_A_BAR if shown is None else shown
    all_work = int(work_of[repeats.rows].sum())
    total = all_work if is_shown else 0
    delay, count = 0.0 if shown else PATIENCE, len(repeats.rows)
    with progress(total, label, least=1, unit=unit, delay=delay, items=count) as report:

        def work(batch: Batch) -> None:
            vectors[batch.rows] = embed(batch)
            done = int(work_of[batch.rows].sum())
            report(done, done=len(batch.rows))
            if plan.advance is not None:
                plan.advance(done / all_work)

        work_off(plan.batches(texts, repeats.rows), work)
    for start in range(0, len(repeats.copies), _COPIES):
        part = slice(start, start + _COPIES)
        vectors[repeats.copies[part]] = vectors[repeats.originals[part]]
    for copy, original in zip(repeats.copies.tolist(), repeats.originals.tolist(), strict=True):
        if original in plan.cut:
            plan.cut[copy] = plan.cut[original]


def _work_of(text: Text, limit: int) -> int:
    """Return about how much work a text is, in characters: long ones come first, and are cut."""
    return min(_characters(text), _CHARACTERS * limit) + _FRAME


def _characters(text: Text) -> int:
    """Return how many characters a text has, or both of a pair."""
    if isinstance(text, Tokenized):
        text = text.text
    return len(text) if isinstance(text, str) else len(text[0]) + len(text[1])


def _chunks(texts: Texts, rows: IntArray) -> Iterator[IntArray]:
    """Cut rows where the texts become too many, or too long together."""
    start = characters = 0
    for place, row in enumerate(rows.tolist()):
        size = _characters(texts[row])
        full = place - start == _CHUNK_TEXTS or characters + size > _CHUNK_CHARACTERS
        if full and place > start:
            yield rows[start:place]
            start, characters = place, 0
        characters += size
    if start < len(rows):
        yield rows[start:]
