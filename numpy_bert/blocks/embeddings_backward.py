"""The input embedding's gradients: `numpy_bert.blocks.embeddings` backwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array
from numpy_bert.blocks.embeddings import EmbeddingsInputs, EmbeddingsSteps
from numpy_bert.blocks.gradients import norm_backward
from numpy_bert.ops.dropout import dropout_backward
from numpy_bert.ops.embedding import embedding_backward
from numpy_bert.parameters import (
    BertEmbeddingsParameters,
    EmbeddingParameters,
)

__all__ = ["embeddings_backward"]


def embeddings_backward(
    grad: Array,
    parameters: BertEmbeddingsParameters,
    steps: EmbeddingsSteps,
    inputs: EmbeddingsInputs,
    *,
    p: float,
    padding_idx: int | None = None,
) -> BertEmbeddingsParameters:
    """Return the gradients of the parameters of `embeddings`.

    Parameters
    ----------
    grad : ndarray of shape (B, T, H), the parameters' dtype
        Of its output.
    parameters, p
        As it was called with.
    steps : EmbeddingsSteps
        What it returned.
    inputs : EmbeddingsInputs
        What it was called with, by `check_inputs`.
    padding_idx : int, optional
        The word whose row has no gradient, as torch.nn.Embedding gives [PAD] none.

    Returns
    -------
    BertEmbeddingsParameters
        Each of its parameter's shape, the tables' rows that were not picked 0.

    Notes
    -----
    Each of the three rows is a term of the sum, so the sum's gradient is each one's; a position's
    row, which all sequences share, has the sum of theirs. Rows given in place of the words' leave
    the word table without a gradient.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> from numpy_bert.blocks.embeddings import check_inputs, embeddings
    >>> weights, ids = BertModel.from_pretrained("demo").parameters.embeddings, [[2, 5, 5]]
    >>> steps = embeddings(weights, ids, eps=1e-12, p=0.1)
    >>> inputs = check_inputs(weights, ids, None, None, None)
    >>> found = embeddings_backward(steps.sum, weights, steps, inputs, p=0.1)
    >>> np.flatnonzero(found.word_embeddings.weight.any(axis=1))
    array([2, 5])
    """
    norm = norm_backward(
        dropout_backward(grad, steps.dropout.keep, p), steps.LayerNorm, parameters.LayerNorm
    )
    total, shape = norm.x, norm.x.shape[:2]  # (B, T, H)
    positions, segments = inputs.position_ids, inputs.segment_ids
    if positions is None:
        positions = np.arange(shape[1], dtype=np.intp)[np.newaxis]  # (1, T)
    if segments is None:
        segments = np.zeros(shape, np.intp)
    by_position = total if len(positions) == len(total) else _summed(total)
    words, read = inputs.words, total
    if words.ndim == 3:
        words, read = np.zeros(0, np.intp), total[:0]
    return BertEmbeddingsParameters(
        word_embeddings=_table(read, words, parameters.word_embeddings, padding_idx=padding_idx),
        position_embeddings=_table(by_position, positions, parameters.position_embeddings),
        token_type_embeddings=_table(total, segments, parameters.token_type_embeddings),
        LayerNorm=norm.parameters,
    )


def _summed(grad: Array) -> Array:
    """Sum over the sequences, in float64, and round once."""
    total: Array = grad.sum(axis=0, keepdims=True, dtype=np.float64)
    return total.astype(grad.dtype, copy=False)


def _table(
    grad: Array, ids: npt.NDArray[Any], table: EmbeddingParameters, padding_idx: int | None = None
) -> EmbeddingParameters:
    """Return the gradient of a table that was read at these ids."""
    rows = len(table.weight)
    return EmbeddingParameters(weight=embedding_backward(grad, ids, rows, padding_idx=padding_idx))
