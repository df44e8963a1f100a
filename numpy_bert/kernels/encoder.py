"""The encoder on packed tokens: no padding, no mask, in place, in float32.

The twin of `numpy_bert.blocks.encoder`, which is the specification. All tokens of a micro-batch
stand one after another in one array, so dense layers, LayerNorm and activation work on tokens
only; attention goes by groups of sequences of one length. Three biases are moved where they cost
nothing: the key's adds the same number to all of a query's scores and so changes no probability;
the value's goes through the probabilities, which sum to 1, and joins the next layer's; the
activation's factor of 2 is taken out of the weight behind it.

Rows that nobody looks at need no keys and no values: padding, where it is asked for, and in the
last layer the rows that are read, where not all are. Both follow the tokens of their sequences,
whose numbers do not depend on whether anything follows them.

Where scores have something added by distance, which is that of the columns in a sequence's row,
each group of sequences has it written out once for all layers.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy import add

from numpy_bert.arrays import Array, IntArray, places_within
from numpy_bert.config import BertConfig
from numpy_bert.kernels.activation import KNOWN, ActivationKernel
from numpy_bert.kernels.attention import attend, scores_size
from numpy_bert.kernels.choices import block_rows
from numpy_bert.kernels.dense import Dense
from numpy_bert.kernels.distances import DistanceBias
from numpy_bert.kernels.layer_norm import LayerNormKernel, LayerNormWorkspace
from numpy_bert.kernels.layer_norm import fits as norm_fits
from numpy_bert.kernels.threads import blas_threads, free_threads, share
from numpy_bert.kernels.tuning import tuning
from numpy_bert.parameters import BertEncoderParameters, BertLayerParameters, arrays_of

__all__ = ["MICRO_BATCH", "EncoderKernel", "Read", "Rows", "fits"]

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


class Rows(NamedTuple):
    """Some rows of each sequence, one sequence after another.

    Attributes
    ----------
    hidden : ndarray of shape (M, H), float32, C-contiguous
        What goes into a layer, and is replaced by what comes out.
    counts : list of int
        How many of the rows are each sequence's.
    states : list of ndarray of shape (M, H)
        One for each layer, where its output is written too; or none.
    weights : list of ndarray, float32
        One for each layer, where its attention's weights are written, those of each sequence as
        (A, rows, tokens); or none.
    columns : ndarray of shape (M,), int, or None
        Where each stands in its sequence's row, in a model that asks for distances; of tokens, None
        where they stand side by side.
    """

    hidden: Array
    counts: list[int]
    states: Sequence[Array] = ()
    weights: Sequence[Array] = ()
    columns: IntArray | None = None


class Read(NamedTuple):
    """The rows of the last layer that are read, where not all are.

    Attributes
    ----------
    places : ndarray of shape (R,), int
        Which of all tokens they are, in their order.
    counts : list of int
        How many are of each sequence.
    out : ndarray of shape (R, H), float32, C-contiguous
        Where they are written; what becomes of all other rows is undefined.
    """

    places: IntArray
    counts: list[int]
    out: Array


class _Work(NamedTuple):
    """What a call is to do: the tokens; their sequences' padding; the rows that are read.

    Where others than the tokens ask for distances, the tokens' columns are there.
    """

    tokens: Rows
    padding: Rows | None
    read: Read | None
    columns: IntArray | None


class _Group(NamedTuple):
    """Sequences that stand together, of one length, of which as many rows look at the tokens."""

    length: int
    tokens: slice
    many: int
    rows: slice
    weights: slice


class _MicroBatch(NamedTuple):
    """Sequences that go through all layers together: where their tokens are, and which they are."""

    start: int
    stop: int
    sequences: slice


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


class _Scratch:
    """Memory for a micro-batch of up to n tokens or other rows, used by one call at a time."""

    def __init__(self, tokens: int, config: BertConfig) -> None:
        features = config.hidden_size
        self.tokens = tokens
        self.projections = np.empty((tokens, 3 * features), np.float32)
        self.query = np.empty((0, features), np.float32)
        self.context = np.empty((tokens, features), np.float32)
        self.product = np.empty((tokens, features), np.float32)
        self.wide = np.empty((tokens, config.intermediate_size), np.float32)
        self.workspaces: list[_Workspace] = []
        self.scores = 0  # of a head, at most


class _Place(NamedTuple):
    """What a micro-batch is worked on with."""

    scratch: _Scratch
    threads: int
    cuts: bool


class _Share(NamedTuple):
    """What one thread does of a micro-batch: some rows, and some heads of all rows."""

    rows: slice
    heads: slice
    own: _Workspace


class _Part(NamedTuple):
    """Rows that go through a layer together, who does what of them, and what is kept of each."""

    x: Array
    groups: list[_Group]
    biases: list[Array | None]  # what is added to the scores of each group
    shares: list[_Share]
    states: list[Array]
    weights: Sequence[Array]


def fits(parameters: BertEncoderParameters, config: BertConfig) -> bool:
    """Tell whether the kernel can stand in for the readable code in this model."""
    return (
        config.activation in KNOWN
        and all(array.dtype == np.float32 for _, array in arrays_of(parameters))
        and all(
            norm_fits(norm.weight, norm.bias)
            and np.isfinite(layer.attention.self.key.bias).all()  # which the kernel leaves out
            for layer in parameters.layer
            for norm in (layer.attention.output.LayerNorm, layer.output.LayerNorm)
        )
    )


class EncoderKernel:
    """The encoder of one model, prepared. Calls share it, threads too.

    Parameters
    ----------
    parameters : BertEncoderParameters
        The weights, which are not to be changed afterwards.
    config : BertConfig
        Says the heads, the activation and epsilon; `fits` is true of both.
    """

    def __init__(self, parameters: BertEncoderParameters, config: BertConfig) -> None:
        self._config = config
        chosen = tuning()
        self._rows = block_rows(config.hidden_size, chosen.block_bytes, least=8)
        self._wide_rows = block_rows(config.intermediate_size, chosen.block_bytes // 2)
        self._activation = ActivationKernel(config.activation, chosen.activation)
        bias = parameters.relative_attention_bias
        self._distances = None if bias is None else DistanceBias(bias.weight)
        self._layers = [self._prepared(layer) for layer in parameters.layer]
        self._idle: deque[_Scratch] = deque(maxlen=_KEPT)

    @_SILENT
    def __call__(self, tokens: Rows, padding: Rows | None = None, read: Read | None = None) -> bool:
        """Replace the input embedding by the last layer's output.

        Parameters
        ----------
        tokens : Rows
            All tokens, from 1 of each sequence. Best sorted by their number: neighbours of one
            length are computed together.
        padding : Rows, optional
            The padding of the same sequences, which sees the tokens and is seen by nobody.
        read : Read, optional
            The rows of the last layer that are read, if not all are; without `padding`.

        Returns
        -------
        bool
            Whether the result is finite.
        """
        hidden, lengths = tokens.hidden, tokens.counts
        columns = tokens.columns
        if self._distances is not None and not (padding is None and read is None):
            columns = places_within(np.array(lengths, np.intp)) if columns is None else columns
            assert padding is None or padding.columns is not None
        run = partial(self._run, _Work(tokens, padding, read, columns))
        threads = free_threads()
        each = len(hidden) // threads
        small = self._is_cut(min(each, MICRO_BATCH))
        if threads > 1 and each < (_LEAST_ROWS if small else _LEAST_LARGE_ROWS):
            # Threads of BLAS's own share its products, if they are large.
            with blas_threads(threads):
                batches = list(_micro_batches(lengths, MICRO_BATCH))
                done = [run(batch, 1, cuts=True) for batch in batches]
                return all(done)
        with blas_threads(1) as alone:
            if not alone and not small:
                threads = 1
            if threads > 1 and each >= (_LEAST_BATCH if small else _LEAST_LARGE_BATCH):
                most = each // -(-each // MICRO_BATCH) + 1  # of about one size
                batches = list(_micro_batches(lengths, most))
                if _are_even(batches, threads):
                    return all(share(lambda batch: run(batch, 1, cuts=not alone), batches))
            batches = list(_micro_batches(lengths, MICRO_BATCH))
            done = [run(batch, threads, cuts=not alone) for batch in batches]
            return all(done)  # of all: one that is not finite stops no other

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
    def _run(self, work: _Work, batch: _MicroBatch, threads: int, *, cuts: bool) -> bool:
        """Run one micro-batch; with cuts, such products as BLAS starts no threads for."""
        tokens, padding, read, columns = work
        lengths, heads = tokens.counts, self._config.num_attention_heads
        groups = _groups(lengths, lengths, batch.sequences, heads)
        behind, few = list[list[_Group]](), list[_Group]()
        if padding is not None:
            behind = _cut(_groups(lengths, padding.counts, batch.sequences, heads))
        if read is not None:
            few = _groups(lengths, read.counts, batch.sequences, heads)
        place = _Place(self._borrow([groups, *behind, few]), threads, cuts)
        seen = None if columns is None else columns[batch.start : batch.stop]
        own = self._part(tokens, groups, place, seen)
        others = [self._part(padding, part, place, seen) for part in behind if padding is not None]
        layers = self._layers if read is None else self._layers[:-1]
        finite = True
        for number, layer in enumerate(layers):
            finite &= self._layer(layer, number, own, place)
            for part in others:
                finite &= self._follow(layer, number, part, place)
        if read is not None and few:
            asking = Rows(read.out, read.counts)
            if columns is not None:
                asking = asking._replace(columns=columns[read.places])
            asked = self._part(asking, few, place, seen)
            rows = slice(few[0].rows.start, few[-1].rows.stop)
            np.take(own.x, read.places[rows] - batch.start, 0, asked.x, "clip")
            finite &= self._last(own, asked, place)
        self._idle.append(place.scratch)
        return finite

    def _layer(self, layer: _Layer, number: int, part: _Part, place: _Place) -> bool:
        """Take tokens through a layer in which they look at each other."""
        into = place.scratch.projections
        share(partial(self._project, layer, part.x, into, slice(None)), part.shares)
        return self._attended(layer, number, part, into, place)

    def _follow(self, layer: _Layer, number: int, part: _Part, place: _Place) -> bool:
        """Take rows that nobody looks at through a layer, for which the tokens are projected."""
        scratch, (rows, features) = place.scratch, part.x.shape
        if len(scratch.query) < rows:
            scratch.query = np.empty((scratch.tokens, features), np.float32)
        into = scratch.query
        share(partial(self._project, layer, part.x, into, slice(0, features)), part.shares)
        return self._attended(layer, number, part, into, place)

    def _last(self, tokens: _Part, part: _Part, place: _Place) -> bool:
        """Take the rows that are read through the last layer; of the tokens keys and values."""
        layer, features = self._layers[-1], tokens.x.shape[1]
        seen = slice(features, 3 * features)
        into = place.scratch.projections[:, seen]
        share(partial(self._project, layer, tokens.x, into, seen), tokens.shares)
        return self._follow(layer, -1, part, place)

    def _attended(
        self, layer: _Layer, number: int, part: _Part, queries: Array, place: _Place
    ) -> bool:
        """Do the rest of a layer, for which all is projected; tell whether the result is finite."""
        weights = part.weights[number] if part.weights else None
        share(partial(self._attend, part, queries, place, weights), part.shares)
        finite = all(share(partial(self._finish, layer, part.x, place.scratch), part.shares))
        if part.states:
            np.copyto(part.states[number], part.x)
        return finite

    # Threads share the rows but for the attention, which needs all of them, and where they share
    # the heads.

    @_SILENT
    def _project(self, layer: _Layer, x: Array, into: Array, columns: slice, part: _Share) -> None:
        """Write the queries, keys and values of some rows, or those `columns` of them."""
        projections = into[: len(x)][part.rows]
        layer.projections(x[part.rows], projections, columns)
        if not columns.start:
            query = projections[:, : x.shape[1]]
            add(query, layer.query_bias, query)

    @_SILENT
    def _attend(
        self,
        part: _Part,
        queries: Array,
        place: _Place,
        weights: Array | None,
        mine: _Share,
    ) -> None:
        """Write the attention's output of some heads, before its projection."""
        scratch, heads = place.scratch, self._config.num_attention_heads
        features = scratch.context.shape[1]
        size, start = features // heads, part.groups[0].rows.start
        asking = queries[:, :features].reshape(-1, heads, size)
        seen = scratch.projections[:, features:].reshape(-1, 2, heads, size)
        into = scratch.context.reshape(-1, heads, size)
        for group, bias in zip(part.groups, part.biases, strict=True):
            # (n, T, 2, A, D) to (2, n, A, T, D)
            pair = seen[group.tokens].reshape(-1, group.length, 2, heads, size)
            key, value = pair.transpose(2, 0, 3, 1, 4)[:, :, mine.heads]
            rows = slice(group.rows.start - start, group.rows.stop - start)
            query, out = (
                array[rows].reshape(-1, group.many, heads, size).swapaxes(1, 2)[:, mine.heads]
                for array in (asking, into)
            )
            probs = None
            if weights is not None:
                own = weights[group.weights].reshape(-1, heads, group.many, group.length)
                probs = own[:, mine.heads]
            added = None if bias is None else bias[:, mine.heads]
            memory, cuts = mine.own.scores, place.cuts
            attend(query, key, value, out, memory, cuts=cuts, bias=added, probs=probs)

    @_SILENT
    def _finish(self, layer: _Layer, x: Array, scratch: _Scratch, part: _Share) -> bool:
        """Replace some rows by the layer's output; tell whether it is finite."""
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

    def _borrow(self, several: list[list[_Group]]) -> _Scratch:
        """Return memory for the groups of a micro-batch, used before or new."""
        several = [groups for groups in several if groups]
        rows = max(groups[-1].rows.stop - groups[0].rows.start for groups in several)
        try:
            scratch = self._idle.pop()
        except IndexError:
            scratch = None
        if scratch is None or scratch.tokens < rows:
            scratch = _Scratch(rows, self._config)
        scratch.scores = max(group.many * group.length for part in several for group in part)
        return scratch

    def _part(
        self, rows: Rows, groups: list[_Group], place: _Place, seen: IntArray | None
    ) -> _Part:
        """Return some groups of rows as a part; `seen` are the micro-batch's tokens' columns."""
        some = slice(groups[0].rows.start, groups[-1].rows.stop)
        x, states = rows.hidden[some], [state[some] for state in rows.states]
        biases = [self._bias(group, rows.columns, seen) for group in groups]
        return _Part(x, groups, biases, self._shares(place, len(x)), states, rows.weights)

    def _bias(self, group: _Group, asking: IntArray | None, seen: IntArray | None) -> Array | None:
        """Return what is added to the scores of a group, from the columns of rows and tokens."""
        if self._distances is None:
            return None
        if asking is None or seen is None:
            return self._distances.side_by_side(group.length)[np.newaxis]
        own = asking[group.rows].reshape(-1, group.many)
        return self._distances(own, seen[group.tokens].reshape(-1, group.length))

    def _shares(self, place: _Place, rows: int) -> list[_Share]:
        """Return what each thread does of so many rows."""
        heads, workspaces = self._config.num_attention_heads, place.scratch.workspaces
        count = max(1, min(place.threads, heads, rows // _LEAST_ROWS))
        while len(workspaces) < count:
            workspaces.append(_Workspace(self._config, self._rows, self._wide_rows))
        shares, size = [], scores_size(place.scratch.scores)
        for number, own in enumerate(workspaces[:count]):
            if len(own.scores) < size:
                own.scores = np.empty(size, np.float32)
            first, last = (rows * n // count // 8 * 8 for n in (number, number + 1))
            some = slice(first, last if number + 1 < count else rows)
            few = slice(heads * number // count, heads * (number + 1) // count)
            shares.append(_Share(some, few, own))
        return shares


def _micro_batches(lengths: list[int], most: int) -> Iterator[_MicroBatch]:
    """Cut sequences into runs of at most so many tokens."""
    start = total = first = 0
    for number, length in enumerate(lengths):
        if number > first and total + length > most:
            yield _MicroBatch(start, start + total, slice(first, number))
            start, total, first = start + total, 0, number
        total += length
    if first < len(lengths):
        yield _MicroBatch(start, start + total, slice(first, len(lengths)))


def _are_even(batches: list[_MicroBatch], threads: int) -> bool:
    """Tell whether threads that take one micro-batch after another end at about the same time."""
    longest = max(batch.stop - batch.start for batch in batches)
    rounds = -(-len(batches) // threads)
    return longest * rounds * threads <= _UNEVEN * batches[-1].stop


def _groups(lengths: list[int], counts: list[int], sequences: slice, heads: int) -> list[_Group]:
    """Return the runs of neighbouring sequences of one length and one number of rows, from 1.

    The tokens are numbered from the first of these sequences, rows and weights from the first of
    all.
    """
    before = zip(lengths[: sequences.start], counts[: sequences.start], strict=True)
    row, weight = sum(counts[: sequences.start]), sum(a * b for a, b in before) * heads
    found: list[_Group] = []
    token = 0
    for length, count in zip(lengths[sequences], counts[sequences], strict=True):
        tokens, rows = slice(token, token + length), slice(row, row + count)
        weights = slice(weight, weight + heads * length * count)
        token, row, weight = tokens.stop, rows.stop, weights.stop
        last = found[-1] if found else None
        if (
            last is not None
            and last.tokens.stop == tokens.start
            and (last.length, last.many) == (length, count)
        ):
            found[-1] = _Group(
                length,
                slice(last.tokens.start, token),
                count,
                slice(last.rows.start, row),
                slice(last.weights.start, weight),
            )
        elif count:
            found.append(_Group(length, tokens, count, rows, weights))
    return found


def _cut(groups: list[_Group]) -> list[list[_Group]]:
    """Cut groups into lists of at most a micro-batch's rows, or of one sequence's."""
    found: list[list[_Group]] = []
    room = 0
    for length, tokens, count, rows, weights in groups:
        done, every = 0, (rows.stop - rows.start) // count
        while done < every:
            if room < count:
                found.append([])
                room = max(MICRO_BATCH, count)
            some = min(room // count, every - done)
            part = (
                slice(whole.start + done * each, whole.start + (done + some) * each)
                for whole, each in (
                    (tokens, length),
                    (rows, count),
                    (weights, (weights.stop - weights.start) // every),
                )
            )
            own, asking, taken = part
            found[-1].append(_Group(length, own, count, asking, taken))
            done, room = done + some, room - some * count
    return found
