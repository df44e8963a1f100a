"""The whole model on tokens alone, by the kernels: padding is left out, and put back as zeros."""

from __future__ import annotations

import os
import threading
from functools import cached_property

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, BoolArray, IntArray, as_array, as_ids, as_mask
from numpy_bert.blocks.embeddings import EmbeddingsInputs
from numpy_bert.config import BertConfig
from numpy_bert.errors import InputError
from numpy_bert.kernels.encoder import EncoderKernel, fits
from numpy_bert.model.embeddings import BertEmbeddings
from numpy_bert.parameters import BertEncoderParameters

__all__ = ["PackedModel", "as_packed", "has_padding", "used_mask"]


class _Making:
    """One kernel is made at a time, and once for a model, however many threads call it first."""

    lock = threading.Lock()


class PackedModel:
    """Embedding and encoder of a float32 model on tokens without padding.

    Calls share it, threads too; nothing is prepared before the first.
    """

    def __init__(
        self, embeddings: BertEmbeddings, parameters: BertEncoderParameters, config: BertConfig
    ) -> None:
        self._embeddings = embeddings
        self._parameters = parameters
        self._config = config
        self._kernel: EncoderKernel | None = None

    @cached_property
    def fits(self) -> bool:
        """Whether the kernels can stand in for the readable code."""
        return fits(self._parameters)

    def rows(self, ids: IntArray, lengths: IntArray, types: IntArray | None) -> tuple[Array, bool]:
        """Return the last hidden states (N, H) of packed sequences, and whether all are finite."""
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
        hidden = self._embeddings(
            ids[np.newaxis],
            None if types is None else types[np.newaxis],
            (np.arange(len(ids)) - starts)[np.newaxis],
        )[0]
        return hidden, self._encoder(hidden, lengths.tolist())

    def states(
        self, inputs: EmbeddingsInputs, mask: BoolArray | None, *, every: bool
    ) -> tuple[list[Array], bool]:
        """Run a batch, padded or not.

        Returns
        -------
        list of ndarray of shape (B, T, H)
            The last hidden state; with `every` the embedding's output and each layer's. Zeros
            stand where the mask is False.
        bool
            Whether all are finite.
        """
        batch, length = inputs.words.shape[:2]
        if mask is None:
            tokens, lengths = None, [length] * batch if length else []
            hidden = self._embeddings(*_as_arguments(inputs)).reshape(-1, self._config.hidden_size)
        else:
            tokens, lengths = _tokens(mask)
            hidden = self._embeddings(*_as_arguments(_chosen(inputs, tokens)))[0]
        first = [hidden.copy()] if every else []
        later = [np.empty_like(hidden) for _ in self._parameters.layer] if every else None
        finite = self._encoder(hidden, lengths, later)
        found = first + later if later is not None else [hidden]
        return [_put_back(rows, tokens, (batch, length)) for rows in found], finite

    def release(self) -> None:
        """Give the memory of prepared weights back, until the next call."""
        self._kernel = None

    def _encoder(
        self, hidden: Array, lengths: list[int], states: list[Array] | None = None
    ) -> bool:
        """Run the kernel, which is made at the first call."""
        kernel = self._kernel
        if kernel is None:
            with _Making.lock:
                kernel = self._kernel or EncoderKernel(self._parameters, self._config)
                self._kernel = kernel
        return kernel(hidden, lengths, states)


def used_mask(attention_mask: npt.ArrayLike | None, shape: tuple[int, ...]) -> BoolArray | None:
    """Return the checked mask, None where nothing is masked."""
    if attention_mask is None:
        return None
    mask = as_mask(attention_mask, shape[:2], name="attention_mask")  # type: ignore[arg-type]
    return None if mask.all() else mask


def has_padding(attention_mask: npt.ArrayLike | None) -> bool:
    """Tell whether a mask that is yet to be checked masks anything.

    What is no mask of 0 and 1 does not count: the model says what is wrong with it.
    """
    if attention_mask is None:
        return False
    mask = as_array(attention_mask, "attention_mask")
    return mask.dtype.kind in "biuf" and not mask.all()


def as_packed(
    ids: npt.ArrayLike, lengths: npt.ArrayLike, types: npt.ArrayLike | None, *, positions: int
) -> tuple[IntArray, IntArray, IntArray | None]:
    """Return the checked arguments of `BertModel.packed`; what the ids are is checked later.

    Raises
    ------
    InputError
        If one is no array of integers in one dimension, a sequence has no token or more than there
        are positions, or the lengths are not of so many tokens.
    """
    tokens, sizes = (
        _in_one_row(value, name, letter)
        for value, name, letter in ((ids, "input_ids", "N"), (lengths, "lengths", "B"))
    )
    segments = None if types is None else _in_one_row(types, "token_type_ids", "N")
    wrong = np.flatnonzero((sizes < 1) | (sizes > positions))
    if len(wrong):
        first = int(wrong[0])
        raise InputError(
            f"packed: lengths[{first}] = {sizes[first]}; a sequence has from 1 to {positions} "
            "tokens (max_position_embeddings). Leave empty ones out, and cut long ones."
        )
    total = int(sizes.sum(dtype=np.int64))
    if total != len(tokens):
        raise InputError(
            f"packed: lengths add up to {total}, input_ids has {len(tokens)} tokens; there must be "
            "a length for each sequence, and no padding."
        )
    if segments is not None and segments.shape != tokens.shape:
        raise InputError(
            f"packed: token_type_ids has {len(segments)} tokens, input_ids has {len(tokens)}; they "
            "must have as many."
        )
    return tokens, sizes.astype(np.intp, copy=False), segments


def _in_one_row(value: npt.ArrayLike, name: str, letter: str) -> IntArray:
    """Return an argument of `BertModel.packed` as integers in one dimension."""
    array = as_ids(value, name=f"packed: {name}")
    if array.ndim != 1:
        raise InputError(
            f"packed: {name} has shape {array.shape}; ({letter},) was expected, the sequences one "
            "after another."
        )
    return array


def _tokens(mask: BoolArray) -> tuple[IntArray, list[int]]:
    """Return the places of all tokens in a flat batch, the shortest sequences first, and lengths.

    A sequence without a token is left out.
    """
    lengths = mask.sum(axis=1)
    order = np.argsort(lengths, kind="stable")
    rows, columns = np.nonzero(mask[order])
    used = lengths[order]
    return order[rows] * mask.shape[1] + columns, used[used > 0].tolist()


def _chosen(inputs: EmbeddingsInputs, tokens: IntArray) -> EmbeddingsInputs:
    """Return the inputs of some tokens as one sequence, each at the position that it has."""
    length = inputs.words.shape[1]
    positions = inputs.position_ids
    if positions is None:
        positions = tokens % length
    else:
        positions = positions[tokens // length % len(positions), tokens % length]
    segments = inputs.segment_ids
    words = inputs.words
    return EmbeddingsInputs(
        words.reshape(-1, *words.shape[2:])[tokens][np.newaxis],
        None if segments is None else segments.ravel()[tokens][np.newaxis],
        positions[np.newaxis],
    )


def _as_arguments(
    inputs: EmbeddingsInputs,
) -> tuple[IntArray | None, IntArray | None, IntArray | None, Array | None]:
    """Return inputs in the order in which an embedding takes them."""
    given = inputs.words.ndim == 3
    ids, rows = (None, inputs.words) if given else (inputs.words, None)
    return ids, inputs.segment_ids, inputs.position_ids, rows  # type: ignore[return-value]


def _put_back(rows: Array, tokens: IntArray | None, shape: tuple[int, int]) -> Array:
    """Return the rows of all tokens (N, H) as a batch (B, T, H), zeros at the others."""
    if tokens is None:
        return rows.reshape(*shape, rows.shape[1])
    batch = np.zeros((shape[0] * shape[1], rows.shape[1]), rows.dtype)
    batch[tokens] = rows
    return batch.reshape(*shape, rows.shape[1])


def _forget() -> None:
    """Start anew in a forked child: whoever held the lock in the parent is not there."""
    _Making.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
