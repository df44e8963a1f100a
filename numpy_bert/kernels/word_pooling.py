"""What all tokens of a text together say of each word of the vocabulary, in float32.

The twin of `numpy_bert.blocks.heads.lm_prediction` with the pooling of its scores behind it, which
is `numpy_bert.ops.word_pooling`. The scores of all tokens, (N, V), are never there at once: a
block of columns of them is computed and pooled while it is in a core's cache, so that the product
is nearly all that there is to wait for. Of the largest scores no activation is taken here: the
bias, a ReLU and a logarithm leave the largest the largest, so that whoever needs them takes them of
a text's scores, not of each token's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy import add, matmul, multiply

from numpy_bert.arrays import Array, IntArray
from numpy_bert.kernels.activation import KNOWN, ActivationKernel
from numpy_bert.kernels.choices import block_rows
from numpy_bert.kernels.dense import cut_product
from numpy_bert.kernels.layer_norm import LayerNormKernel, LayerNormWorkspace
from numpy_bert.kernels.layer_norm import fits as norm_fits
from numpy_bert.kernels.threads import blas_threads, free_threads, share
from numpy_bert.kernels.tuning import tuning
from numpy_bert.parameters import BertLMPredictionHeadParameters, arrays_of

__all__ = ["WordPoolingKernel", "fits"]

# Scores that are there at a time, 4 MB, and how many columns they may be at least and at most.
_SCORES = 1 << 20
_LEAST_COLUMNS, _MOST_COLUMNS = 512, 4096
# What OpenBLAS's routine for small products takes of a weight as it stands, where it has one: so
# many results, of so many terms together. With pieces of that size a text of 8 tokens takes half
# the time of a large product; narrower ones than the least are no faster. `numpy_bert.kernels.
# choices` knows where there is one: there some products are cut.
_SMALL_RESULTS, _SMALL_TERMS, _LEAST_PIECE = 1 << 10, 10**6, 32
# Terms of a product from which on threads share it: waking one takes some tenths of a millisecond.
_LEAST_TERMS = 1 << 24
# NumPy's warnings off, also where the caller's own settings would raise.
_SILENT = np.errstate(all="ignore")

# From a block of scores (n, C) to what is added up, in place.
Weigh = Callable[[Array], object]


class _Run(NamedTuple):
    """Neighbouring texts of one length: which they are, and where their tokens are."""

    texts: slice
    tokens: slice


class _Work(NamedTuple):
    """A call: the rows (N, H), which are whose, the texts' scores (B, V), and what is added up."""

    rows: Array
    runs: list[_Run]
    found: Array
    weigh: Weigh | None


def fits(parameters: BertLMPredictionHeadParameters, decoder: Array, activation: str) -> bool:
    """Tell whether the kernel can stand in for the readable code with these parameters."""
    norm = parameters.transform.LayerNorm
    arrays = [array for _, array in arrays_of(parameters)]
    return (
        activation in KNOWN
        and norm_fits(norm.weight, norm.bias)
        and all(array.dtype == np.float32 for array in (*arrays, decoder))
    )


class WordPoolingKernel:
    """A head that scores words, and the pooling of its scores. Calls share it, threads too.

    Parameters
    ----------
    parameters : BertLMPredictionHeadParameters
        The head, which is not to be changed afterwards.
    decoder : ndarray of shape (V, E), float32
        The decoder's weight.
    activation : str
        The activation before the decoder; `fits` is true of the three.
    eps : float
        What the LayerNorm before the decoder adds to the variance.
    """

    def __init__(
        self,
        parameters: BertLMPredictionHeadParameters,
        decoder: Array,
        *,
        activation: str,
        eps: float,
    ) -> None:
        transform, chosen = parameters.transform, tuning()
        self._cuts = any(cut.columns for cut in chosen.cuts)
        self._dense = transform.dense
        self._rows = block_rows(len(transform.dense.weight), chosen.block_bytes // 2, least=8)
        self._activation = ActivationKernel(activation, chosen.activation)
        self._norm = LayerNormKernel(transform.LayerNorm.weight, transform.LayerNorm.bias, eps=eps)
        self._decoder = decoder
        own = parameters.decoder
        self._bias = parameters.bias if own is None else own.bias

    @_SILENT
    def largest(self, hidden: Array, lengths: IntArray) -> tuple[Array, bool]:
        """Return each word's largest score in each text, and whether all are finite.

        Parameters
        ----------
        hidden : ndarray of shape (N, H), float32
            The last hidden states of all texts, one text after another; never modified.
        lengths : ndarray of shape (B,), int
            How many tokens each text has, from 1. Neighbours of one length are faster.

        Returns
        -------
        ndarray of shape (B, V), float32
            The scores.
        bool
            Whether they are finite.
        """
        found, finite = self._pooled(hidden, lengths, None)
        return found, finite

    @_SILENT
    def total(self, hidden: Array, lengths: IntArray, weigh: Weigh) -> tuple[Array, bool]:
        """Return the sum over each text's tokens of what is made of each word's scores.

        Parameters
        ----------
        hidden, lengths
            They are those of `largest`.
        weigh : callable
            Called with scores, (n, C), float32, which it changes into what is added up.

        Returns
        -------
        ndarray of shape (B, V), float32
            The sums, added up in float64.
        bool
            Whether they are finite.
        """
        return self._pooled(hidden, lengths, weigh)

    def _pooled(self, hidden: Array, lengths: IntArray, weigh: Weigh | None) -> tuple[Array, bool]:
        """Pool all blocks of columns, each in one thread."""
        words = len(self._decoder)
        found = np.empty((len(lengths), words), np.float32)
        if not len(lengths):
            return found, True
        work = _Work(self._transformed(hidden), _runs(lengths), found, weigh)
        width = min(max(_SCORES // len(hidden), _LEAST_COLUMNS), _MOST_COLUMNS)
        width = 1 << width.bit_length() - 1  # a multiple of a piece's
        spans = [slice(n, min(n + width, words)) for n in range(0, words, width)]
        with blas_threads(1) as alone:
            large = work.rows.size * words >= _LEAST_TERMS
            threads = min(free_threads(), len(spans)) if alone and large else 1
            parts = [spans[number::threads] for number in range(threads)]
            return found, all(share(partial(self._pool, work), parts))

    def _pool(self, work: _Work, spans: list[slice]) -> bool:
        """Pool some spans of columns; tell whether all is finite."""
        memory = np.empty(len(work.rows) * (spans[0].stop - spans[0].start), np.float32)
        finite = True
        for columns in spans:
            width = columns.stop - columns.start
            scores = memory[: len(work.rows) * width].reshape(-1, width)  # (N, C)
            self._multiply(work.rows, columns, scores)
            found, bias = work.found[:, columns], self._bias[columns]
            if work.weigh is not None:
                add(scores, bias, scores)
                work.weigh(scores)
            for texts, tokens in work.runs:
                each = scores[tokens].reshape(texts.stop - texts.start, -1, width)
                if work.weigh is None:
                    each.max(axis=1, out=found[texts])
                else:
                    found[texts] = each.sum(axis=1, dtype=np.float64)
            if work.weigh is None:
                add(found, bias, found)
            finite &= bool(np.isfinite(found).all())
        return finite

    def _multiply(self, rows: Array, columns: slice, scores: Array) -> None:
        """Fill the scores (n, C) of some columns, but for the bias: bits depend on shapes alone."""
        decoder = self._decoder[columns]
        piece = _piece(*rows.shape) if self._cuts else 0
        cut = len(decoder) // piece * piece if piece else 0
        if cut:
            blocks = decoder[:cut].reshape(-1, piece, rows.shape[1]).swapaxes(1, 2)
            cut_product(rows, blocks, len(rows), scores[:, :cut])
        if cut < len(decoder):
            matmul(rows, decoder[cut:].T, scores[:, cut:])

    def _transformed(self, hidden: Array) -> Array:
        """Return what is multiplied by the decoder: dense, activation and LayerNorm, (N, H)."""
        rows: Array = hidden @ self._dense.weight.T
        features, factor = rows.shape[1], np.float32(self._activation.factor)
        bias = np.tile(self._dense.bias, (self._rows, 1))
        scratch = np.empty((2, bias.size), np.float32)
        workspace = LayerNormWorkspace(self._rows, features)
        for first in range(0, len(rows), self._rows):
            block = rows[first : first + self._rows]
            self._activation(block, bias, scratch)
            if factor != 1.0:
                multiply(block, factor, block)
            self._norm(block, workspace)
        return rows


def _piece(rows: int, features: int) -> int:
    """Return how many columns make a small product with so many rows, or 0 for none."""
    most = min(_SMALL_RESULTS, _SMALL_TERMS // features) // rows
    return 1 << most.bit_length() - 1 if most >= _LEAST_PIECE else 0


def _runs(lengths: IntArray) -> list[_Run]:
    """Return the runs of neighbouring texts of one length."""
    ends = np.cumsum(lengths)
    last = np.append(np.flatnonzero(np.diff(lengths)), len(lengths) - 1)
    stops = [0, *(last + 1).tolist()]
    tokens = [0, *ends[last].tolist()]
    return [_Run(slice(*stops[n : n + 2]), slice(*tokens[n : n + 2])) for n in range(len(last))]
