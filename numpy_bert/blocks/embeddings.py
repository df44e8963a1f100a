"""The input embedding: look-ups of each token, their sum, LayerNorm, dropout.

Words and positions have a table in every model; not all have one of token types, few one of tasks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, IntArray
from numpy_bert.blocks.gradients import norm_backward
from numpy_bert.inputs import ModelInputs
from numpy_bert.ops.dropout import DropoutSteps, dropout, dropout_backward
from numpy_bert.ops.embedding import embedding_backward, look_up
from numpy_bert.ops.layer_norm import LayerNormSteps, layer_norm
from numpy_bert.parameters import BertEmbeddingsParameters, EmbeddingParameters
from numpy_bert.reprs import short_repr

__all__ = ["EmbeddingsSteps", "embeddings", "embeddings_backward"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EmbeddingsSteps:
    """Every intermediate of the input embedding, in execution order.

    Shapes: position_embeddings (1, T, E), or (B, T, E) where position_ids are given per row; all
    else (B, T, E), the statistics of LayerNorm (B, T, 1). token_type_embeddings is None where the
    model has no token types, task_type_embeddings where it has no tasks.
    """

    __repr__ = short_repr

    word_embeddings: Array
    token_type_embeddings: Array | None
    position_embeddings: Array
    task_type_embeddings: Array | None = None
    sum: Array
    LayerNorm: LayerNormSteps
    dropout: DropoutSteps
    output: Array


def embeddings(
    parameters: BertEmbeddingsParameters,
    inputs: ModelInputs,
    *,
    eps: float,
    p: float,
    rng: np.random.Generator | None = None,
    keep: npt.ArrayLike | None = None,
) -> EmbeddingsSteps:
    """Embed token ids as BERT does, keeping every step.

    Parameters
    ----------
    parameters : BertEmbeddingsParameters
        Tables of words (V, E) and positions (P, E), of token types (S, E) and of tasks, or None;
        LayerNorm's weights (E,). All are of one dtype.
    inputs : ModelInputs
        The ids of words, segments and positions, checked; or the words' rows. The mask plays no
        part here: padding is embedded like any token.
    eps : float
        What LayerNorm adds to the variance.
    p : float
        The probability with which dropout drops an element, from 0 to 1.
    rng, keep
        The source of dropout's mask, or the mask; without them dropout is off.

    Returns
    -------
    EmbeddingsSteps
        The steps, in the parameters' dtype.

    Notes
    -----
    The sum is ((word + token_type) + position) + task, the order of transformers' forward, so it
    equals torch's to the last bit; what a model does not have is left out. Every token is of task
    0: no model is called with another, so the ids of tasks are no argument.

    References
    ----------
    .. [1] Devlin et al., "BERT", arXiv:1810.04805, section 3, figure 2.
    .. [2] google-research/bert, modeling.py, embedding_postprocessor.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> from numpy_bert.inputs import model_inputs
    >>> tables = BertModel.from_pretrained("demo").parameters.embeddings
    >>> steps = embeddings(tables, model_inputs(tables, [[2, 3]]), eps=1e-12, p=0.1)
    >>> steps.sum.shape, steps.LayerNorm.mean.shape
    ((1, 2, 128), (1, 2, 1))
    """
    norm = parameters.LayerNorm
    dtype = norm.weight.dtype
    words = inputs.words
    if words.ndim == 2:
        words = look_up(parameters.word_embeddings.weight, words, dtype)  # type: ignore[arg-type]
    segment_ids, position_ids, task_ids = _ids(inputs)
    segments = _read(parameters.token_type_embeddings, segment_ids, dtype)
    positions = look_up(parameters.position_embeddings.weight, position_ids, dtype)
    tasks = _read(parameters.task_type_embeddings, task_ids, dtype)
    total: Array = words  # type: ignore[assignment]
    if segments is not None:
        total = total + segments
    total = total + positions  # (B, T, E)
    if tasks is not None:
        total = total + tasks
    normalized = layer_norm(total, norm.weight, norm.bias, eps=eps)
    dropped = dropout(normalized.output, p, rng=rng, keep=keep)
    return EmbeddingsSteps(
        word_embeddings=words,  # type: ignore[arg-type]
        token_type_embeddings=segments,
        position_embeddings=positions,
        task_type_embeddings=tasks,
        sum=total,
        LayerNorm=normalized,
        dropout=dropped,
        output=dropped.output,
    )


def embeddings_backward(
    grad: Array,
    parameters: BertEmbeddingsParameters,
    steps: EmbeddingsSteps,
    inputs: ModelInputs,
    *,
    p: float,
    padding_idx: int | None = None,
    position_padding_idx: int | None = None,
) -> BertEmbeddingsParameters:
    """Return the gradients of the parameters of `embeddings`.

    Parameters
    ----------
    grad : ndarray of shape (B, T, E), the parameters' dtype
        The gradient of the output.
    parameters, inputs, p
        What `embeddings` was called with.
    steps : EmbeddingsSteps
        What `embeddings` returned.
    padding_idx : int, optional
        The word whose row has no gradient, as torch.nn.Embedding gives [PAD] none.
    position_padding_idx : int, optional
        The position whose row has none, where padding has a position of its own.

    Returns
    -------
    BertEmbeddingsParameters
        The gradients; a table's rows that were not looked up have 0.

    Notes
    -----
    Each row that is read is a term of the sum, so the sum's gradient is each one's; a position's
    row, which all sequences share, has the sum of theirs, and row 0 of the tasks that of all
    tokens. Rows given in place of the words' leave the word table without a gradient.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> from numpy_bert.inputs import model_inputs
    >>> weights = BertModel.from_pretrained("demo").parameters.embeddings
    >>> inputs = model_inputs(weights, [[2, 5, 5]])
    >>> steps = embeddings(weights, inputs, eps=1e-12, p=0.1)
    >>> found = embeddings_backward(steps.sum, weights, steps, inputs, p=0.1)
    >>> np.flatnonzero(found.word_embeddings.weight.any(axis=1))
    array([2, 5])
    """
    norm = norm_backward(
        dropout_backward(grad, steps.dropout.keep, p), steps.LayerNorm, parameters.LayerNorm
    )
    total = norm.x  # (B, T, E)
    segments, positions, tasks = _ids(inputs)
    by_position = total if len(positions) == len(total) else _summed(total)
    words, read = inputs.words, total
    if words.ndim == 3:
        words, read = np.zeros(0, np.intp), total[:0]
    types, kinds = parameters.token_type_embeddings, parameters.task_type_embeddings
    return BertEmbeddingsParameters(
        word_embeddings=_table(read, words, parameters.word_embeddings, padding_idx),
        position_embeddings=_table(
            by_position, positions, parameters.position_embeddings, position_padding_idx
        ),
        token_type_embeddings=None if types is None else _table(total, segments, types),
        task_type_embeddings=None if kinds is None else _table(total, tasks, kinds),
        LayerNorm=norm.parameters,
    )


def _ids(inputs: ModelInputs) -> tuple[IntArray, IntArray, IntArray]:
    """Return the segment ids (B, T), the position ids, (1, T) or (B, T), the tasks' ids (B, T)."""
    segments, positions = inputs.segment_ids, inputs.position_ids
    tasks = np.zeros(inputs.shape, np.intp)
    if segments is None:
        segments = tasks
    if positions is None:
        positions = np.arange(inputs.shape[1], dtype=np.intp)[np.newaxis]
    return segments, positions, tasks


def _read(table: EmbeddingParameters | None, ids: IntArray, dtype: npt.DTypeLike) -> Array | None:
    """Return the rows of a table that a model may have, or None."""
    return None if table is None else look_up(table.weight, ids, dtype)


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
