"""The encoder on packed tokens: no padding, no mask, in place, in float32.

The twin of `numpy_bert.blocks.encoder`, which is the specification. All tokens of a micro-batch
stand one after another in one array, so dense layers, LayerNorm and activation work on tokens
only; attention goes by groups of sequences of one length. Three biases are moved where they cost
nothing: the key's adds the same number to all of a query's scores and so changes no probability;
the value's goes through the probabilities, which sum to 1, and joins the next layer's; the
activation's factor of 2 is taken out of the weight behind it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy import add

from numpy_bert.arrays import Array
from numpy_bert.config import BertConfig
from numpy_bert.kernels.activation import ActivationKernel
from numpy_bert.kernels.attention import attend, scores_size
from numpy_bert.kernels.choices import block_rows
from numpy_bert.kernels.dense import Dense
from numpy_bert.kernels.layer_norm import LayerNormKernel, LayerNormWorkspace
from numpy_bert.kernels.layer_norm import fits as norm_fits
from numpy_bert.kernels.threads import blas_threads, free_threads, share
from numpy_bert.kernels.tuning import tuning
from numpy_bert.parameters import BertEncoderParameters, BertLayerParameters, arrays_of

__all__ = ["MICRO_BATCH", "EncoderKernel", "fits"]

# Tokens that go through all layers together: enough for BLAS's best speed, few enough for the
# third-level cache.
MICRO_BATCH = 2048
# Tokens for each thread from which ours are worth waking to share one micro-batch, and to take one
# each; with large products (which BLAS would share out among threads of its own otherwise), all
# other operations must be long, too: between any two a thread waits for Python's lock.
_LEAST_ROWS, _LEAST_BATCH = 16, 64
_LEAST_LARGE_ROWS, _LEAST_LARGE_BATCH = 128, 512
# Times of the even share that one thread may have.
_UNEVEN = 1.3
# Memories for a micro-batch that are kept for the next call.
_KEPT = 8
# NumPy's warnings off, also where the caller's own settings would raise.
_SILENT = np.errstate(all="ignore")


class _MicroBatch(NamedTuple):
    """Sequences that go through all layers together: tokens start to stop."""

    start: int
    stop: int
    lengths: list[int]


class _Group(NamedTuple):
    """Sequences of one length that stand together: tokens start to stop."""

    length: int
    start: int
    stop: int


class _Layer(NamedTuple):
    """A layer's weights, prepared; the biases of whole rows repeated, a block's worth."""

    projections: Dense  # query, key and value side by side
    query_bias: Array  # (H,)
    attention_output: Dense
    attention_bias: Array  # (m, H)
    attention_norm: LayerNormKernel
    intermediate: Dense
    intermediate_bias: Array  # (m, I)
    output: Dense
    output_bias: Array  # (m, H)
    output_norm: LayerNormKernel


class _Workspace:
    """Memory for one thread at a time, whatever the number of tokens."""

    def __init__(self, config: BertConfig, rows: int, wide_rows: int) -> None:
        self.activation = np.empty((2, wide_rows * config.intermediate_size), np.float32)
        self.norm = LayerNormWorkspace(rows, config.hidden_size)
        self.scores = np.empty(0, np.float32)

    def prepare(self, longest: int) -> None:
        """See that there is room for the scores of sequences up to a length."""
        size = scores_size(longest)
        if len(self.scores) < size:
            self.scores = np.empty(size, np.float32)


class _Scratch:
    """Memory for a micro-batch of up to n tokens, used by one call at a time."""

    def __init__(self, tokens: int, config: BertConfig) -> None:
        features = config.hidden_size
        self.tokens = tokens
        self.projections = np.empty((tokens, 3 * features), np.float32)
        self.context = np.empty((tokens, features), np.float32)
        self.product = np.empty((tokens, features), np.float32)
        self.wide = np.empty((tokens, config.intermediate_size), np.float32)
        self.workspaces: list[_Workspace] = []


class _Share(NamedTuple):
    """What one thread does of a micro-batch: some tokens, and some heads of all tokens."""

    rows: slice
    heads: slice
    own: _Workspace


def fits(parameters: BertEncoderParameters) -> bool:
    """Tell whether the kernel can stand in for the readable code with these parameters."""
    return all(array.dtype == np.float32 for _, array in arrays_of(parameters)) and all(
        norm_fits(norm.weight, norm.bias)
        and np.isfinite(layer.attention.self.key.bias).all()  # which the kernel leaves out
        for layer in parameters.layer
        for norm in (layer.attention.output.LayerNorm, layer.output.LayerNorm)
    )


class EncoderKernel:
    """The encoder of one model, prepared. Calls share it, threads too.

    Parameters
    ----------
    parameters : BertEncoderParameters
        Such that `fits` is true; not to be changed afterwards.
    config : BertConfig
        Heads, activation and epsilon.
    """

    def __init__(self, parameters: BertEncoderParameters, config: BertConfig) -> None:
        self._config = config
        chosen = tuning()
        self._rows = block_rows(config.hidden_size, chosen.block_bytes, least=8)
        self._wide_rows = block_rows(config.intermediate_size, chosen.block_bytes // 2)
        self._activation = ActivationKernel(config.activation, chosen.activation)
        self._layers = [self._prepared(layer) for layer in parameters.layer]
        self._idle: deque[_Scratch] = deque(maxlen=_KEPT)

    @_SILENT
    def __call__(
        self, hidden: Array, lengths: list[int], states: list[Array] | None = None
    ) -> bool:
        """Replace the input embedding by the last layer's output.

        Parameters
        ----------
        hidden : ndarray of shape (N, H), float32, C-contiguous
            All tokens, sequence after sequence; changed in place.
        lengths : list of int
            Tokens of each sequence, from 1. Best sorted: neighbours of one length are computed
            together.
        states : list of ndarray of shape (N, H), float32, optional
            One for each layer, where its output is written too.

        Returns
        -------
        bool
            Whether the result is finite.
        """
        run = partial(self._run, hidden, states)
        threads = free_threads()
        each = len(hidden) // threads
        small = self._is_cut(min(each, MICRO_BATCH))
        if threads > 1 and each < (_LEAST_ROWS if small else _LEAST_LARGE_ROWS):
            # Threads of BLAS's own share its products, if they are large.
            with blas_threads(threads):
                batches = list(_micro_batches(lengths, MICRO_BATCH))
                return _every(run(batch, 1, cuts=True) for batch in batches)
        with blas_threads(1) as alone:
            if not alone and not small:
                threads = 1
            if threads > 1 and each >= (_LEAST_BATCH if small else _LEAST_LARGE_BATCH):
                most = each // -(-each // MICRO_BATCH) + 1  # of about one size
                batches = list(_micro_batches(lengths, most))
                if _are_even(batches, threads):
                    return _every(share(lambda batch: run(batch, 1, cuts=not alone), batches))
            batches = list(_micro_batches(lengths, MICRO_BATCH))
            return _every(run(batch, threads, cuts=not alone) for batch in batches)

    def _is_cut(self, rows: int) -> bool:
        """Tell whether all products of so many tokens are small ones."""
        if not self._layers:
            return False
        layer = self._layers[0]
        weights = layer.projections, layer.attention_output, layer.intermediate, layer.output
        return all(weight.is_cut(rows) for weight in weights)

    def _prepared(self, layer: BertLayerParameters) -> _Layer:
        """Prepare a layer's weights; the large ones wait for their first use."""
        own, attended = layer.attention.self, layer.attention.output
        config = self._config
        scale = 1.0 / math.sqrt(config.hidden_size // config.num_attention_heads)
        eps = config.layer_norm_eps
        wide = layer.intermediate.dense
        bias = attended.dense.weight @ own.value.bias + attended.dense.bias
        return _Layer(
            projections=Dense(own.query.weight, own.key.weight, own.value.weight, scale=scale),
            query_bias=own.query.bias * np.float32(scale),
            attention_output=Dense(attended.dense.weight),
            attention_bias=np.tile(bias, (self._rows, 1)),
            attention_norm=LayerNormKernel(
                attended.LayerNorm.weight, attended.LayerNorm.bias, eps=eps
            ),
            intermediate=Dense(wide.weight),
            intermediate_bias=np.tile(wide.bias, (self._wide_rows, 1)),
            output=Dense(layer.output.dense.weight, scale=self._activation.factor),
            output_bias=np.tile(layer.output.dense.bias, (self._rows, 1)),
            output_norm=LayerNormKernel(
                layer.output.LayerNorm.weight, layer.output.LayerNorm.bias, eps=eps
            ),
        )

    @_SILENT
    def _run(
        self,
        hidden: Array,
        states: list[Array] | None,
        batch: _MicroBatch,
        threads: int,
        *,
        cuts: bool,
    ) -> bool:
        """Run one micro-batch; with cuts, such products as BLAS starts no threads for."""
        rows = slice(batch.start, batch.stop)
        x = hidden[rows]
        scratch, shares = self._prepare(len(x), max(batch.lengths), threads)
        groups = _groups(batch.lengths)
        finite = True
        for number, layer in enumerate(self._layers):
            share(partial(self._project, x, layer, scratch), shares)
            share(partial(self._attend, groups, scratch, cuts), shares)
            finite &= all(share(partial(self._finish, x, layer, scratch), shares))
            if states is not None:
                np.copyto(states[number][rows], x)
        self._idle.append(scratch)
        return finite

    # Threads share the tokens but for the attention, which needs all of them, and where they share
    # the heads.

    @_SILENT
    def _project(self, x: Array, layer: _Layer, scratch: _Scratch, part: _Share) -> None:
        """Write the queries, keys and values of some tokens."""
        projections = scratch.projections[: len(x)][part.rows]
        layer.projections(x[part.rows], projections)
        query = projections[:, : x.shape[1]]
        add(query, layer.query_bias, query)

    @_SILENT
    def _attend(self, groups: list[_Group], scratch: _Scratch, cuts: bool, part: _Share) -> None:
        """Write the attention's output of some heads, before its projection."""
        heads = self._config.num_attention_heads
        size = scratch.context.shape[1] // heads
        by_head = scratch.projections.reshape(-1, 3, heads, size)
        into = scratch.context.reshape(-1, heads, size)
        for length, start, stop in groups:
            # (n, T, 3, A, D) to (3, n, A, T, D)
            parts = by_head[start:stop].reshape(-1, length, 3, heads, size).transpose(2, 0, 3, 1, 4)
            query, key, value = parts[:, :, part.heads]
            out = into[start:stop].reshape(-1, length, heads, size).swapaxes(1, 2)
            attend(query, key, value, out[:, part.heads], part.own.scores, cuts=cuts)

    @_SILENT
    def _finish(self, x: Array, layer: _Layer, scratch: _Scratch, part: _Share) -> bool:
        """Replace some tokens by the layer's output; tell whether it is finite."""
        rows, own = x[part.rows], part.own
        product = scratch.product[: len(x)][part.rows]
        wide = scratch.wide[: len(x)][part.rows]
        layer.attention_output(scratch.context[: len(x)][part.rows], product)
        finite = self._normalize(rows, product, layer.attention_bias, layer.attention_norm, own)
        layer.intermediate(rows, wide)
        self._activation(wide, layer.intermediate_bias, own.activation)
        layer.output(wide, product)
        return finite & self._normalize(rows, product, layer.output_bias, layer.output_norm, own)

    def _normalize(
        self, x: Array, product: Array, bias: Array, norm: LayerNormKernel, own: _Workspace
    ) -> bool:
        """Add a product and its bias to the rows of x, and normalize them."""
        finite = True
        for first in range(0, len(x), self._rows):
            rows = x[first : first + self._rows]
            add(rows, product[first : first + self._rows], rows)
            add(rows, bias[: len(rows)], rows)
            finite &= norm(rows, own.norm)
        return finite

    def _prepare(self, tokens: int, longest: int, threads: int) -> tuple[_Scratch, list[_Share]]:
        """Return memory for a micro-batch, used before or new, and what each thread does."""
        try:
            scratch = self._idle.pop()
        except IndexError:
            scratch = None
        if scratch is None or scratch.tokens < tokens:
            scratch = _Scratch(tokens, self._config)
        heads = self._config.num_attention_heads
        count = max(1, min(threads, heads, tokens // _LEAST_ROWS))
        while len(scratch.workspaces) < count:
            scratch.workspaces.append(_Workspace(self._config, self._rows, self._wide_rows))
        shares = []
        for number, own in enumerate(scratch.workspaces[:count]):
            own.prepare(longest)
            first, last = (tokens * n // count // 8 * 8 for n in (number, number + 1))
            rows = slice(first, last if number + 1 < count else tokens)
            few = slice(heads * number // count, heads * (number + 1) // count)
            shares.append(_Share(rows, few, own))
        return scratch, shares


def _every(results: Iterable[bool]) -> bool:
    """Tell whether all are true, and go on where one is not."""
    return all(list(results))


def _micro_batches(lengths: list[int], most: int) -> Iterator[_MicroBatch]:
    """Cut sequences into runs of at most so many tokens."""
    start, total, batch = 0, 0, list[int]()
    for length in lengths:
        if batch and total + length > most:
            yield _MicroBatch(start, start + total, batch)
            start, total, batch = start + total, 0, []
        batch.append(length)
        total += length
    if batch:
        yield _MicroBatch(start, start + total, batch)


def _are_even(batches: list[_MicroBatch], threads: int) -> bool:
    """Tell whether threads that take one micro-batch after another end at about the same time."""
    longest = max(batch.stop - batch.start for batch in batches)
    rounds = -(-len(batches) // threads)
    return longest * rounds * threads <= _UNEVEN * batches[-1].stop


def _groups(lengths: list[int]) -> list[_Group]:
    """Return the runs of neighbouring sequences of one length."""
    found: list[_Group] = []
    start = 0
    for length in lengths:
        stop = start + length
        if found and found[-1].length == length:
            found[-1] = found[-1]._replace(stop=stop)
        else:
            found.append(_Group(length, start, stop))
        start = stop
    return found
