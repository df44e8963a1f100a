"""From the texts of a micro-batch to the words that they are about, and how much."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from numpy_bert.arrays import Array, IntArray
from numpy_bert.encoding.sparse_vectors import SparseVectors
from numpy_bert.kernels.word_pooling import WordPoolingKernel, fits
from numpy_bert.model.task_models import BertForMaskedLM
from numpy_bert.ops.word_pooling import saturated, word_pooling
from numpy_bert.reprs import short_repr

__all__ = ["WordWeights", "largest_of"]

# Weights of all words that are there at a time, zeros included: 64 MB in float32.
_MOST_WEIGHTS = 1 << 24


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class WordWeights:
    """How a masked language model weighs the words of its vocabulary for a text.

    Attributes
    ----------
    model : BertForMaskedLM
        The model.
    strategy, activation : str
        How tokens are pooled and scores become weights, as `numpy_bert.ops.word_pooling` has it.
    most : int or None
        How many words of a text are kept, the heaviest.
    """

    __repr__ = short_repr

    model: BertForMaskedLM
    strategy: str
    activation: str
    most: int | None = None
    _kernel: WordPoolingKernel | None = field(init=False)

    def __post_init__(self) -> None:
        model, kernel = self.model, None
        head, config = model.head.cls.predictions, model.config
        if fits(head, model.decoder, config.words_activation):
            kernel = WordPoolingKernel(
                head, model.decoder, activation=config.words_activation, eps=config.layer_norm_eps
            )
        object.__setattr__(self, "_kernel", kernel)

    def __call__(self, ids: IntArray, lengths: IntArray) -> list[SparseVectors]:
        """Return the weights of each of some texts, which stand one after another.

        Parameters
        ----------
        ids : ndarray of shape (N,), int
            The token ids of all texts.
        lengths : ndarray of shape (B,), int
            How many tokens each text has, from 1.

        Raises
        ------
        CheckpointError
            If a weight that is used, or a score, is not finite; the weight or the step is named.
        """
        ends = np.cumsum(lengths)
        if self._kernel is None:
            return [self._readable(text) for text in np.split(ids, ends[:-1])]
        hidden, found = self.model.bert.packed(ids, lengths), list[SparseVectors]()
        texts = max(1, _MOST_WEIGHTS // len(self.model.decoder))
        for first in range(0, len(lengths), texts):
            some = slice(first, first + texts)
            last = int(ends[some][-1])
            tokens = slice(int(ends[first] - lengths[first]), last)
            weights = self._weighed(self._kernel, hidden[tokens], lengths[some])
            if weights is None:  # the readable code names what is to blame
                parts = np.split(ids[tokens], np.cumsum(lengths[some])[:-1])
                found += [self._readable(text) for text in parts]
            else:
                found += weights
        return found

    def _weighed(
        self, kernel: WordPoolingKernel, hidden: Array, lengths: IntArray
    ) -> list[SparseVectors] | None:
        """Return the weights of texts by the kernel; None where a score is not finite."""
        if self.strategy == "max":
            scores, finite = kernel.largest(hidden, lengths)
        else:
            scores, finite = kernel.total(hidden, lengths, self._weigh)
        if not finite:
            return None
        flat = np.flatnonzero(scores > 0)
        data = scores.ravel()[flat]
        if self.strategy == "max":
            data = saturated(data, self.activation)
        width = scores.shape[1]
        places = np.searchsorted(flat, np.arange(len(scores) + 1) * width).tolist()
        return [
            self._kept(data[start:stop], flat[start:stop] - row * width, width)
            for row, (start, stop) in enumerate(pairwise(places))
        ]

    def _weigh(self, scores: Array) -> None:
        """Replace scores by the weights that they stand for."""
        saturated(scores, self.activation, out=scores)

    def _readable(self, ids: IntArray) -> SparseVectors:
        """Return the weights of one text, by the readable code."""
        scores = self.model(ids[np.newaxis]).logits[0]
        weights = word_pooling(scores, strategy=self.strategy, activation=self.activation)
        places = np.flatnonzero(weights)
        return self._kept(weights[places], places, len(weights))

    def _kept(self, data: Array, places: IntArray, width: int) -> SparseVectors:
        """Return one text's weights, or the heaviest of them."""
        if self.most is not None and self.most < len(data):
            kept = largest_of(data, self.most)
            data, places = data[kept], places[kept]
        return SparseVectors(
            data=data,
            indices=places.astype(np.int32),
            indptr=np.array([0, len(data)]),
            shape=(width,),
        )


def largest_of(values: Array, most: int) -> IntArray:
    """Return where the largest of some numbers are, ascending; of equal ones the first are taken.

    Parameters
    ----------
    values : ndarray of shape (n,)
        The numbers, more than `most`.
    most : int
        How many are taken, from 1.

    Examples
    --------
    >>> largest_of(np.array([1.0, 3.0, 2.0, 2.0, 2.0]), 3)
    array([1, 2, 3])
    """
    least = np.partition(values, -most)[-most]
    above = np.flatnonzero(values > least)
    equal = np.flatnonzero(values == least)[: most - len(above)]
    return np.sort(np.concatenate([above, equal]))
