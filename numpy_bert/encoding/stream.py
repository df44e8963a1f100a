"""Texts without end, encoded a block at a time, in memory that does not grow with them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy.typing as npt

from numpy_bert.encoding.micro_batches import Plan
from numpy_bert.errors import InputError

__all__ = ["VectorStream", "blocks", "check_streamed"]

# How many texts, and characters of them, are encoded together. Threads run out of work at the end
# of a block: so it is much longer than a micro-batch, and some times what is tokenized at a time.
_MOST_TEXTS = 16_384
_MOST_CHARACTERS = 1_000_000


class VectorStream(Iterator[npt.NDArray[Any]]):
    """The vectors of a stream of texts, block by block: what `SentenceEncoder.encode_stream` gives.

    Iterating over it reads as many texts as a block has, and computes them; between two blocks
    nothing runs. An exception of the texts' own iterator passes through, and ends it.

    Attributes
    ----------
    texts : int
        How many texts have been encoded so far.
    cut : int
        How many of them had more tokens than `max_seq_length`.
    advance : callable or None
        What is called with shares of a block's work as they are done, by several threads.
    """

    def __init__(
        self,
        texts: Iterator[str],
        plan: Plan,
        encode: Callable[[list[str], Plan], npt.NDArray[Any]],
    ) -> None:
        self.texts = self.cut = 0
        self.advance: Callable[[float], object] | None = None
        self._vectors = self._run(texts, plan, encode)

    def __next__(self) -> npt.NDArray[Any]:
        return next(self._vectors)

    def __repr__(self) -> str:
        return f"VectorStream({self.texts} texts so far, of which {self.cut} were cut)"

    def _run(
        self,
        texts: Iterator[str],
        plan: Plan,
        encode: Callable[[list[str], Plan], npt.NDArray[Any]],
    ) -> Iterator[npt.NDArray[Any]]:
        """Yield the vectors of each block; warn at the end if texts were cut."""
        said = ""
        for block in blocks(texts):
            here = replace(plan, cut={}, advance=self.advance)
            vectors = encode(block, here)
            if here.cut and not said:
                first = min(here.cut)
                said = f"texts[{self.texts + first}], of {here.cut[first]}"
            self.texts += len(block)
            self.cut += len(here.cut)
            yield vectors
        if said:
            warnings.warn(
                f"encode_stream: {self.cut} of {self.texts} texts have more tokens than "
                f"max_seq_length = {plan.limit} and were cut; the first is {said}.",
                stacklevel=3,
            )


def blocks(texts: Iterator[str]) -> Iterator[list[str]]:
    """Cut texts into blocks: at most 16,384 of them, and 1,000,000 characters unless one has more.

    Where it is cut depends on the texts since the last cut alone, so that whoever goes on behind a
    block gets the same blocks.

    Examples
    --------
    >>> [len(block) for block in blocks(iter(["a"] * 20_000 + ["b" * 999_999, "c"]))]
    [16384, 3616, 2]
    """
    block, characters = list[str](), 0
    for text in texts:
        if block and characters + len(text) > _MOST_CHARACTERS:
            yield block
            block, characters = [], 0
        block.append(text)
        characters += len(text)
        if len(block) == _MOST_TEXTS:
            yield block
            block, characters = [], 0
    if block:
        yield block


def check_streamed(precision: str) -> None:
    """Raise InputError if a precision needs all vectors at once.

    Examples
    --------
    >>> check_streamed("binary")
    """
    if precision in ("int8", "uint8"):
        raise InputError(
            f"encode_stream: {precision} needs the ranges of all vectors, which a block does not "
            "have. Take float32 and give its blocks to quantize_embeddings with ranges, or take "
            "binary or ubinary."
        )
