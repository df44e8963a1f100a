"""The input embedding at the speed of memory: blocks of rows, in place, in float32.

The twin of `numpy_bert.blocks.embeddings`, which is the specification. A block of rows is gathered
into the output itself and stays in a core's second-level cache while all other passes go over it.
A row's result is the same to the bit whatever stands beside it, in whatever block: the sums are
element-wise, and `numpy_bert.kernels.layer_norm` says why the rest is.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy import add

from numpy_bert.arrays import Array, IntArray, largest
from numpy_bert.inputs import ModelInputs
from numpy_bert.kernels.choices import block_rows
from numpy_bert.kernels.half import widened
from numpy_bert.kernels.layer_norm import LayerNormKernel
from numpy_bert.kernels.layer_norm import fits as norm_fits
from numpy_bert.kernels.scratch import Scratch, Table
from numpy_bert.kernels.threads import get_num_threads, share
from numpy_bert.kernels.tuning import tuning
from numpy_bert.parameters import BertEmbeddingsParameters

__all__ = ["EmbeddingsKernel", "fits"]

# Rows first to last of the N of a batch, which are positions start to end, or whole sequences.
_Block = tuple[int, int, int, int]

# NumPy's warnings off, also where the caller's own settings would raise.
_SILENT = np.errstate(all="ignore")

# Blocks from which on threads share the work: waking one takes some tenths of a millisecond.
_THREADED = 32
# Workspaces that are kept for the next call.
_KEPT = 8


def fits(parameters: BertEmbeddingsParameters) -> bool:
    """Tell whether the kernel can stand in for the readable code with these parameters."""
    norm = parameters.LayerNorm
    tables = (
        parameters.word_embeddings,
        parameters.token_type_embeddings,
        parameters.position_embeddings,
        parameters.task_type_embeddings,
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
        Parameters for which `fits` is true; they are not to be changed afterwards.
    eps : float
        What LayerNorm adds to the variance.
    rows : int, optional
        How many rows a block has; by default as many as pass through a core's second-level cache
        with their scale and their shift, which `numpy_bert.kernels.choices` knows. Threads share
        the work from 32 blocks on.
    """

    def __init__(
        self, parameters: BertEmbeddingsParameters, *, eps: float, rows: int | None = None
    ) -> None:
        norm, types = parameters.LayerNorm, parameters.token_type_embeddings
        tasks = parameters.task_type_embeddings
        self._words: Table = parameters.word_embeddings.weight
        # A model without token types has a table without rows, which nothing is added from.
        self._segments: Table = (
            np.empty((0, len(norm.weight)), np.float32) if types is None else types.weight
        )
        self._positions: Table = parameters.position_embeddings.weight
        self._norm = LayerNormKernel(norm.weight, norm.bias, eps=eps)
        features = len(norm.weight)
        self._rows = rows or block_rows(features, tuning().block_bytes, least=8)
        self._most = _THREADED * self._rows  # of one thread at a time, which an interrupt waits for
        # Segment 0, some times over: broadcasting a row at a time takes twice as long.
        self._first_segments = np.repeat(widened(self._segments[:1]), 8, axis=0)
        # Task 0, which all tokens have, in a model with tasks.
        self._task = None if tasks is None else np.repeat(widened(tasks.weight[:1]), 8, axis=0)
        self._idle: deque[Scratch] = deque(maxlen=_KEPT)

    def __call__(self, inputs: ModelInputs, out: Array) -> bool:
        """Write the embedding into `out`.

        Parameters
        ----------
        inputs : ModelInputs
            Ids, or the words' rows in float32.
        out : ndarray of shape (B, T, E), float32, C-contiguous
            Where the embedding is written; it may hold anything.

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
        if batch * length < self._most or get_num_threads() == 1:
            return self._embed(call, whole)
        each = -(-batch * length // get_num_threads())
        return all(share(partial(self._embed, call), _cut(whole, min(each, self._most))))

    @_SILENT
    def _embed(self, call: _Call, part: _Block) -> bool:
        """Embed rows, a block at a time, and tell whether all results are finite."""
        try:
            scratch = self._idle.pop()
        except IndexError:
            scratch = Scratch(self._rows, self._first_segments.shape[1])
        finite = True
        for block in _cut(part, self._rows):
            finite &= self._norm(self._sum(call, block, scratch), scratch.norm)
        self._idle.append(scratch)
        return finite

    def _sum(self, call: _Call, block: _Block, scratch: Scratch) -> Array:
        """Write the sum of the readable code into the rows of a block and return these, a view."""
        words, segments, rows, places, out = call
        first, last, start, end = block
        x = out[first:last]  # (n, E)
        if words.ndim == 2:
            np.copyto(x, words[first:last])
        else:
            scratch.gather(self._words, words[first:last], x)
        if segments is None:
            if len(self._segments):
                _add_to_each(x, self._first_segments)
        else:
            add(x, scratch.rows_of(self._segments, segments[first:last]), x)
        if places is not None:
            add(x, scratch.rows_of(self._positions, places[first:last]), x)
        elif last - first == end - start:
            add(x, rows[start:end], x)
        else:  # several whole sequences
            sequences = x.reshape(-1, rows.size)
            add(sequences, rows.ravel(), sequences)
        if self._task is not None:
            _add_to_each(x, self._task)
        return x


class _Call(NamedTuple):
    """The arguments of one call, a row for each of the N tokens.

    words is (N,) ids or (N, E) rows, segments and places (N,) ids or None, rows where there are no
    places the (T, E) rows of the positions that all sequences have, out (N, E).
    """

    words: Table
    segments: IntArray | None
    rows: Array
    places: IntArray | None
    out: Array


def _add_to_each(x: Array, some: Array) -> None:
    """Add a row, of which there are some, to every row of x."""
    if len(x) < len(some):
        add(x, some[: len(x)], x)
        return
    rest = len(x) % len(some)
    lines = x[: len(x) - rest].reshape(-1, some.size)
    add(lines, some.ravel(), lines)
    if rest:
        add(x[-rest:], some[:rest], x[-rest:])


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
