"""The input embedding at the speed of memory: blocks of rows, in place, in float32.

The twin of `numpy_bert.blocks.embeddings`, which is the specification. A block of rows is gathered
into the output itself and stays in a core's second-level cache while all other passes go over it.
A row's result is the same to the bit whatever stands beside it, in whatever block: the sums are
element-wise, and `numpy_bert.kernels.layer_norm` says why the rest is.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, TypeVar

import numpy as np
from numpy import add

from numpy_bert.arrays import Array, IntArray, largest
from numpy_bert.inputs import ModelInputs
from numpy_bert.kernels.choices import block_rows
from numpy_bert.kernels.half import widened
from numpy_bert.kernels.layer_norm import LayerNormKernel
from numpy_bert.kernels.layer_norm import fits as norm_fits
from numpy_bert.kernels.scratch import Scratch, Table
from numpy_bert.kernels.threads import get_num_threads, in_threads
from numpy_bert.kernels.tuning import tuning
from numpy_bert.parameters import BertEmbeddingsParameters

__all__ = ["EmbeddingsKernel", "fits"]

Item = TypeVar("Item")
# Rows first to last of the N of a batch, which are positions start to end, or whole sequences.
_Block = tuple[int, int, int, int]

# NumPy's warnings off, also where the caller's own settings would raise.
_SILENT = np.errstate(all="ignore")

# Shares of work from which on threads pay: waking one takes some tenths of a millisecond.
_THREADED = 8
# Workspaces of either size that are kept for the next call.
_KEPT = 8


def fits(parameters: BertEmbeddingsParameters) -> bool:
    """Tell whether the kernel can stand in for the readable code with these parameters."""
    norm = parameters.LayerNorm
    tables = (
        parameters.word_embeddings,
        parameters.token_type_embeddings,
        parameters.position_embeddings,
    )
    return norm_fits(norm.weight, norm.bias) and all(
        table.weight.dtype.itemsize <= 4 and table.weight.flags.c_contiguous
        for table in tables
        if table is not None
    )


class EmbeddingsKernel:
    """The input embedding of one model, prepared. Calls share it, threads too.

    Parameters
    ----------
    parameters : BertEmbeddingsParameters
        Such that `fits` is true; not to be changed afterwards.
    eps : float
        Of LayerNorm.
    rows : int, optional
        Of a block; otherwise as many as pass through a core's second-level cache with their scale
        and their shift, which `numpy_bert.kernels.choices` knows. Threads share the work from 32
        blocks on.
    """

    def __init__(
        self, parameters: BertEmbeddingsParameters, *, eps: float, rows: int | None = None
    ) -> None:
        norm, types = parameters.LayerNorm, parameters.token_type_embeddings
        self._words: Table = parameters.word_embeddings.weight
        # A model without token types has a table without rows, which nothing is added from.
        self._segments: Table = (
            np.empty((0, len(norm.weight)), np.float32) if types is None else types.weight
        )
        self._positions: Table = parameters.position_embeddings.weight
        self._norm = LayerNormKernel(norm.weight, norm.bias, eps=eps)
        features = len(norm.weight)
        self._rows = rows or block_rows(features, tuning().block_bytes, least=8)
        self._share = 4 * self._rows
        # Segment 0, some times over: broadcasting a row at a time takes twice as long.
        self._first_segments = np.repeat(widened(self._segments[:1]), 8, axis=0)
        self._idle: dict[int, deque[Scratch]] = {
            rows: deque(maxlen=_KEPT) for rows in (self._rows, self._share)
        }

    def __call__(self, inputs: ModelInputs, out: Array) -> bool:
        """Write the embedding into `out`.

        Parameters
        ----------
        inputs : ModelInputs
            Ids, or the words' rows in float32.
        out : ndarray of shape (B, T, H), float32, C-contiguous
            Any content.

        Returns
        -------
        bool
            Whether the result is finite. A row that is not finite changes no other.
        """
        words, segment_ids, position_ids = inputs.words, inputs.segment_ids, inputs.position_ids
        batch, length, features = out.shape
        segments = places = None
        if segment_ids is not None and largest(segment_ids):
            segments = segment_ids.ravel()
        if position_ids is None:
            rows = widened(self._positions[:length])
        elif len(position_ids) == 1:
            rows = widened(self._positions[position_ids[0]])
        else:
            rows, places = self._first_segments[:0], position_ids.ravel()
        given = words.ravel() if words.ndim == 2 else words.reshape(-1, features)
        call = _Call(given, segments, rows, places, out.reshape(-1, features))
        whole = (0, batch * length, 0, length)
        if batch * length < _THREADED * self._share or get_num_threads() == 1:
            return self._alone(call, _cut(whole, self._rows))
        shares, summed = deque(_cut(whole, self._share)), deque[_Block]()

        return all(
            in_threads(
                lambda: self._lead(call, shares, summed),
                lambda: self._assist(call, shares, summed),
                min(get_num_threads(), len(shares)) - 1,
            )
        )

    # Between two array operations a thread needs Python's lock. Threads that all work in short
    # steps meet there at nearly every one, and two are as slow as one. So only the leading one
    # works in blocks of the best size. The others take larger shares in fewer, longer steps, and of
    # these first the sums, which wait for memory anyway; the leading one then normalizes them.

    @_SILENT
    def _alone(self, call: _Call, blocks: list[_Block]) -> bool:
        """Embed blocks and tell whether all results are finite."""
        scratch = self._borrow(self._rows)
        finite = self._embed(call, blocks, scratch)
        self._idle[self._rows].append(scratch)
        return finite

    @_SILENT
    def _lead(self, call: _Call, shares: deque[_Block], summed: deque[_Block]) -> bool:
        """Normalize shares that others have summed, and embed some from the start."""
        scratch, finite, step = self._borrow(self._rows), True, self._rows
        try:
            while True:
                if share := _pop(summed):
                    for first in range(share[0], share[1], step):
                        last = min(first + step, share[1])
                        finite &= self._norm(call.out[first:last], scratch.norm)
                elif share := _pop(shares):
                    finite &= self._embed(call, _cut(share, step), scratch)
                else:
                    break
        except BaseException:  # an interrupt: let the others end soon
            shares.clear()
            raise
        self._idle[step].append(scratch)
        return finite

    @_SILENT
    def _assist(self, call: _Call, shares: deque[_Block], summed: deque[_Block]) -> bool:
        """Sum shares, and normalize where the leading thread lags behind or has ended."""
        scratch, finite = self._borrow(self._share), True
        while True:
            if len(summed) < 2 and (share := _pop(shares)):
                self._sum(call, share, scratch)
                summed.append(share)
            elif share := _pop(summed):
                finite &= self._norm(call.out[share[0] : share[1]], scratch.norm)
            elif not shares:
                break
        self._idle[self._share].append(scratch)
        return finite

    def _borrow(self, rows: int) -> Scratch:
        """Return memory for blocks of `rows` rows that no other thread uses."""
        return _pop(self._idle[rows]) or Scratch(rows, self._first_segments.shape[1])

    def _embed(self, call: _Call, blocks: list[_Block], scratch: Scratch) -> bool:
        """Embed blocks and tell whether all results are finite."""
        finite = True
        for block in blocks:
            finite &= self._norm(self._sum(call, block, scratch), scratch.norm)
        return finite

    def _sum(self, call: _Call, block: _Block, scratch: Scratch) -> Array:
        """Write (word + segment) + position into the rows of a block and return these, a view."""
        words, segments, rows, places, out = call
        first, last, start, end = block
        x = out[first:last]  # (n, H)
        if words.ndim == 2:
            np.copyto(x, words[first:last])
        else:
            scratch.gather(self._words, words[first:last], x)
        if segments is None:
            if len(self._segments):
                self._add_first_segment(x)
        else:
            add(x, scratch.rows_of(self._segments, segments[first:last]), x)
        if places is not None:
            add(x, scratch.rows_of(self._positions, places[first:last]), x)
        elif last - first == end - start:
            add(x, rows[start:end], x)
        else:  # several whole sequences
            sequences = x.reshape(-1, rows.size)
            add(sequences, rows.ravel(), sequences)
        return x

    def _add_first_segment(self, x: Array) -> None:
        """Add segment 0 to every row."""
        some = self._first_segments
        if len(x) < len(some):
            add(x, some[: len(x)], x)
            return
        rest = len(x) % len(some)
        lines = x[: len(x) - rest].reshape(-1, some.size)
        add(lines, some.ravel(), lines)
        if rest:
            add(x[-rest:], some[:rest], x[-rest:])


class _Call(NamedTuple):
    """The arguments of one call, a row for each of the N tokens.

    words is (N,) ids or (N, H) rows, segments and places (N,) ids or None, rows where there are no
    places the (T, H) rows of the positions that all sequences have, out (N, H).
    """

    words: Table
    segments: IntArray | None
    rows: Array
    places: IntArray | None
    out: Array


def _pop(items: deque[Item]) -> Item | None:
    """Take the next item, None if another thread took the last."""
    try:
        return items.popleft()
    except IndexError:
        return None


def _cut(block: _Block, limit: int) -> list[_Block]:
    """Cut a block into blocks of at most `limit` rows.

    Short sequences go whole, several to a block; long ones are cut evenly, and the same part of
    all of them is done before the next, so that its positions stay in the cache.
    """
    first, last, start, end = block
    length = end - start
    if last - first <= limit:
        return [block] if last > first else []
    if length <= limit:
        step = limit // length * length
        return [(n, min(n + step, last), start, end) for n in range(first, last, step)]
    step = -(-length // -(-length // limit))
    return [
        (n + place - start, n + min(place + step, end) - start, place, min(place + step, end))
        for place in range(start, end, step)
        for n in range(first, last, length)
    ]
