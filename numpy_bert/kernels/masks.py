"""Dropout's masks of a training step, which each thread draws for its own sequences.

The bits are those that the readable code draws one after another from one generator: PCG64, the
generator of `numpy.random.default_rng`, can be put anywhere in its stream. Another generator is
drawn from in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import BoolArray

__all__ = ["Drawn", "MaskStream"]

# So many numbers are drawn at a time, so that they are compared while they are in the cache.
_BLOCK = 1 << 15
_PER_STEP = 2  # float32 numbers of one step of the generator
_Bits = np.random.PCG64 | np.random.PCG64DXSM


class Drawn(NamedTuple):
    """A mask that is to be drawn: its shape, (B, ...), and the probability to drop an element."""

    shape: tuple[int, ...]
    p: float

    @property
    def row(self) -> int:
        """The numbers that are drawn for a sequence: one an element, none if nothing is dropped."""
        return prod(self.shape[1:]) if self.p else 0


class MaskStream:
    """Masks in the order in which they are drawn; any rows of any of them can be had.

    The generator is left where it would be if all had been drawn.

    Parameters
    ----------
    rng : numpy.random.Generator
        The generator, which draws a float32 in [0, 1) for each element; those from p on are kept.
        For a mask whose p is 0 it draws none.
    masks : sequence of Drawn
        The masks, in the order in which they are drawn.

    Examples
    --------
    >>> one, other = np.random.default_rng(0), np.random.default_rng(0)
    >>> stream = MaskStream(one, [Drawn((2, 4), 0.5), Drawn((2, 6), 0.5)])
    >>> whole = [other.random(shape, np.float32) >= 0.5 for shape in ((2, 4), (2, 6))]
    >>> np.array_equal(stream.rows(1, slice(1, 2)), whole[1][1:])
    True
    >>> one.random() == other.random()
    True
    """

    def __init__(self, rng: np.random.Generator, masks: Sequence[Drawn]) -> None:
        self._masks = list(masks)
        drawn = (mask.shape[0] * mask.row for mask in masks)
        self._starts = list(accumulate(drawn, initial=0))
        self._bits, self._whole = None, list[BoolArray | None]()
        bits = rng.bit_generator
        if isinstance(bits, _Bits) and self._is_even(bits):
            self._bits, self._state = type(bits), bits.state
            bits.advance(self._starts[-1] // _PER_STEP)
        else:
            self._whole = [_drawn(rng, *mask) if mask.p else None for mask in masks]

    def rows(self, number: int, rows: slice) -> BoolArray | None:
        """Return rows of a mask; None if p is 0, so that nothing is dropped."""
        mask = self._masks[number]
        if mask.p == 0.0:
            return None
        if self._bits is None:
            whole = self._whole[number]
            return None if whole is None else whole[rows]
        bits = self._bits(0)
        bits.state = self._state
        bits.advance((self._starts[number] + rows.start * mask.row) // _PER_STEP)
        shape = (rows.stop - rows.start, *mask.shape[1:])
        return _drawn(np.random.Generator(bits), shape, mask.p)

    def _is_even(self, bits: _Bits) -> bool:
        """Tell whether every row begins with a step of the generator, which makes two numbers."""
        is_whole = not bits.state["has_uint32"]
        return is_whole and all(mask.row % _PER_STEP == 0 for mask in self._masks)


def _drawn(rng: np.random.Generator, shape: tuple[int, ...], p: float) -> BoolArray:
    """Draw a mask."""
    keep: npt.NDArray[np.bool_] = np.empty(prod(shape), np.bool_)
    numbers = np.empty(min(_BLOCK, keep.size), np.float32)
    for start in range(0, keep.size, _BLOCK):
        block = keep[start : start + _BLOCK]
        rng.random(out=numbers[: block.size], dtype=np.float32)
        np.greater_equal(numbers[: block.size], p, out=block)
    return keep.reshape(shape)
