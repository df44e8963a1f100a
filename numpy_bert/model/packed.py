"""The encoder by the kernels, on tokens alone: padding is left out, or follows the tokens."""

from __future__ import annotations

import os
import threading
from typing import NamedTuple

import numpy as np

from numpy_bert.arrays import Array, IntArray
from numpy_bert.config import BertConfig
from numpy_bert.inputs import ModelInputs, Packing
from numpy_bert.kernels.encoder import EncoderKernel, Read, Rows, fits
from numpy_bert.kernels.projection import Projection
from numpy_bert.model.embeddings import BertEmbeddings
from numpy_bert.parameters import BertEncoderParameters, LinearParameters
from numpy_bert.reprs import short_repr

__all__ = ["PackedModel", "States"]


class _Making:
    """A lock: a model's kernel is made once, however many threads call it first."""

    lock = threading.Lock()


class States(NamedTuple):
    """The hidden states (B, T, H) and weights (B, A, T, T) of a batch, and whether all is finite.

    `states` has the last hidden state alone, or the embedding's output and each layer's.
    """

    states: list[Array]
    weights: list[Array]
    finite: bool

    def __repr__(self) -> str:
        return short_repr(self)


class PackedModel:
    """Embedding and encoder of a float32 model, without padding.

    Calls share it, threads too; nothing is prepared before the first. Where the encoder is wider
    than the embedding, `project` stands between them.
    """

    def __init__(
        self,
        embeddings: BertEmbeddings,
        parameters: BertEncoderParameters,
        config: BertConfig,
        project: LinearParameters | None = None,
    ) -> None:
        self._embeddings = embeddings
        self._parameters = parameters
        self._config = config
        self._project = None if project is None else Projection(project)
        self._kernel: EncoderKernel | None = None
        self._fits: bool | None = None

    @property
    def fits(self) -> bool:
        """Whether the kernels can take the place of the readable code."""
        # Not cached_property, which in Python 3.11 holds a lock that a forked child would wait for.
        if self._fits is None:
            self._fits = fits(self._parameters, self._config)
        return self._fits

    def states(
        self, inputs: ModelInputs, *, every: bool, weights: bool, padding: bool
    ) -> States | None:
        """Run a batch; return None where padding has no token to look at, which kernels cannot do.

        Parameters
        ----------
        inputs : ModelInputs
            The batch.
        every, weights : bool
            Whether all layers' outputs, and their attention's weights, are returned.
        padding : bool
            Whether padding is computed; otherwise zeros stand there.
        """
        if padding and inputs.has_empty_rows:
            return None
        packing = Packing.of(inputs)
        lengths, heads = packing.lengths, self._config.num_attention_heads
        parts = [self._rows(inputs, packing.tokens, lengths, lengths, every, weights)]
        if padding and len(packing.padding):
            parts.append(
                self._rows(inputs, packing.padding, packing.counts, lengths, every, weights)
            )
        first = [[rows.hidden.copy()] if every else [rows.hidden] for rows in parts]
        finite = self._encoder()(*parts)  # type: ignore[arg-type]  # one or two
        states = [[*before, *rows.states] for before, rows in zip(first, parts, strict=True)]
        looked = [rows.weights for rows in parts]
        return States(
            [packing.put_back(*arrays) for arrays in zip(*states, strict=True)],
            [packing.put_back_weights(heads, *arrays) for arrays in zip(*looked, strict=True)],
            finite,
        )

    def rows(
        self, inputs: ModelInputs, lengths: list[int], places: IntArray | None = None
    ) -> tuple[Array, bool]:
        """Run packed sequences; return the last hidden states, and whether all are finite.

        The states are those of all tokens (N, H), or of some in the order of `places` (R, H).
        """
        hidden = self._embedded(inputs, None)
        if places is None:
            return hidden, self._encoder()(Rows(hidden, lengths))
        return self._read(Rows(hidden, lengths), places)

    def at(self, inputs: ModelInputs, places: IntArray) -> tuple[Array, bool]:
        """Return the last hidden states (R, H) at places of the flat batch, zeros at padding."""
        packing = Packing.of(inputs)
        hidden = self._embedded(inputs, packing.tokens)
        if packing.tokens is None:
            return self._read(Rows(hidden, packing.lengths), places)
        number = np.full(inputs.shape[0] * inputs.shape[1], -1)
        number[packing.tokens] = np.arange(len(packing.tokens))
        asked = number[places]
        rows = np.zeros((len(places), hidden.shape[1]), np.float32)
        columns = self._columns(inputs, packing.tokens)
        tokens = Rows(hidden, packing.lengths, columns=columns)
        rows[asked >= 0], finite = self._read(tokens, asked[asked >= 0])
        return rows, finite

    def _read(self, tokens: Rows, places: IntArray) -> tuple[Array, bool]:
        """Run the encoder over all tokens; return the last hidden states of some, (R, H)."""
        order = np.argsort(places, kind="stable")
        asked = places[order]
        sequences = np.searchsorted(np.cumsum(tokens.counts), asked, "right")
        counts = np.bincount(sequences, minlength=len(tokens.counts)).tolist()
        out = np.empty((len(places), tokens.hidden.shape[1]), np.float32)
        finite = self._encoder()(tokens, read=Read(asked, counts, out))
        rows = np.empty_like(out)
        rows[order] = out
        return rows, finite

    def release(self) -> None:
        """Give the memory of prepared weights back, until the next call."""
        self._kernel = None

    def _rows(
        self,
        inputs: ModelInputs,
        places: IntArray | None,
        counts: list[int],
        lengths: list[int],
        every: bool,
        weights: bool,
    ) -> Rows:
        """Embed the rows at some places, and make room for what is kept of them."""
        hidden = self._embedded(inputs, places)
        layers = range(len(self._parameters.layer))
        size = self._config.num_attention_heads * sum(
            count * length for count, length in zip(counts, lengths, strict=True)
        )
        return Rows(
            hidden,
            counts,
            [np.empty_like(hidden) for _ in layers] if every else (),
            [np.empty(size, np.float32) for _ in layers] if weights else (),
            self._columns(inputs, places),
        )

    def _columns(self, inputs: ModelInputs, places: IntArray | None) -> IntArray | None:
        """Return in which columns places of the flat batch are, if the encoder asks for them."""
        if places is None or self._parameters.relative_attention_bias is None:
            return None
        return places % inputs.shape[1]

    def _embedded(self, inputs: ModelInputs, places: IntArray | None) -> Array:
        """Return what the encoder takes for some places of the flat batch, or for all."""
        chosen = inputs if places is None else inputs.at(places)
        rows = self._embeddings.embed(chosen).reshape(-1, self._config.embedding_features)
        return rows if self._project is None else self._project(rows)

    def _encoder(self) -> EncoderKernel:
        """Return the kernel, which is made at the first call."""
        kernel = self._kernel
        if kernel is None:
            with _Making.lock:
                kernel = self._kernel or EncoderKernel(self._parameters, self._config)
                self._kernel = kernel
        return kernel


def _forget() -> None:
    """Start anew in a forked child: whoever held the lock in the parent is not there."""
    _Making.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
