"""The input embedding: three look-ups, their sum, LayerNorm, dropout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, IntArray, as_floats, as_ids
from numpy_bert.errors import InputError
from numpy_bert.ops.dropout import DropoutSteps, dropout
from numpy_bert.ops.embedding import embedding
from numpy_bert.ops.layer_norm import LayerNormSteps, layer_norm
from numpy_bert.parameters import BertEmbeddingsParameters

__all__ = ["EmbeddingsSteps", "embeddings"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EmbeddingsSteps:
    """Every intermediate of the input embedding, in execution order.

    Shapes: position_embeddings (1, T, H), or (B, T, H) where position_ids are given per row; all
    else (B, T, H), the statistics of LayerNorm (B, T, 1).
    """

    word_embeddings: Array
    token_type_embeddings: Array
    position_embeddings: Array
    sum: Array
    LayerNorm: LayerNormSteps
    dropout: DropoutSteps
    output: Array


def embeddings(
    parameters: BertEmbeddingsParameters,
    input_ids: npt.ArrayLike | None = None,
    token_type_ids: npt.ArrayLike | None = None,
    position_ids: npt.ArrayLike | None = None,
    inputs_embeds: npt.ArrayLike | None = None,
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
        Tables of shape (V, H), (S, H) and (P, H), LayerNorm's (H,), all of one dtype.
    input_ids : array_like of int, shape (B, T)
        Token ids. Either these or `inputs_embeds`.
    token_type_ids : array_like of int, shape (B, T), optional
        Segment of each token; all 0 by default.
    position_ids : array_like of int, shape (T,), (1, T) or (B, T), optional
        Position of each token; 0 to T - 1 by default, padding or not.
    inputs_embeds : array_like of float, shape (B, T, H), optional
        Rows to use in place of the word look-up, in the parameters' dtype.
    eps : float
        Of LayerNorm.
    p : float
        Probability to drop, in [0, 1).
    rng, keep
        As in `numpy_bert.ops.dropout.dropout`: dropout is off without them.

    Returns
    -------
    EmbeddingsSteps
        The steps, in the parameters' dtype.

    Raises
    ------
    InputError
        Naming the argument, the place, the value and the limit.

    Notes
    -----
    The sum is (word + token_type) + position, the order of transformers' BertEmbeddings.forward,
    so it equals torch's to the last bit. `token_type_ids` of transformers' wrapper and its
    `attention_mask` play no part here: padding is embedded like any token.

    References
    ----------
    .. [1] Devlin et al., "BERT", arXiv:1810.04805, section 3, figure 2.
    .. [2] google-research/bert, modeling.py, embedding_postprocessor.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> model = BertModel.from_pretrained("demo")
    >>> steps = embeddings(model.embeddings.parameters, [[2, 3]], eps=1e-12, p=0.1)
    >>> steps.sum.shape, steps.LayerNorm.mean.shape
    ((1, 2, 128), (1, 2, 1))
    """
    words = _word_rows(parameters, input_ids, inputs_embeds)  # (B, T, H)
    batch, length = words.shape[:2]
    segment_ids = _segments(token_type_ids, (batch, length))
    segments = embedding(
        segment_ids,
        parameters.token_type_embeddings.weight,
        ids_name="embeddings: token_type_ids",
        table_name="token_type_embeddings",
    )  # (B, T, H)
    table = parameters.position_embeddings.weight
    positions = embedding(
        _positions(
            position_ids,
            batch,
            length,
            limit=len(table),
            given="inputs_embeds" if input_ids is None else "input_ids",
        ),
        table,
        ids_name="embeddings: position_ids",
        table_name="position_embeddings",
    )  # (1, T, H) or (B, T, H)
    total = (words + segments) + positions  # (B, T, H)
    norm = parameters.LayerNorm
    normalized = layer_norm(total, norm.weight, norm.bias, eps=eps)
    dropped = dropout(normalized.output, p, rng=rng, keep=keep)
    return EmbeddingsSteps(
        word_embeddings=words,
        token_type_embeddings=segments,
        position_embeddings=positions,
        sum=total,
        LayerNorm=normalized,
        dropout=dropped,
        output=dropped.output,
    )


def _word_rows(
    parameters: BertEmbeddingsParameters,
    input_ids: npt.ArrayLike | None,
    inputs_embeds: npt.ArrayLike | None,
) -> Array:
    """Return the rows (B, T, H) that stand for the words, looked up or given."""
    if (input_ids is None) == (inputs_embeds is None):
        raise InputError("embeddings: give input_ids or inputs_embeds, one of the two.")
    table = parameters.word_embeddings.weight
    if input_ids is not None:
        ids = as_ids(input_ids, name="embeddings: input_ids")
        if ids.ndim != 2:
            raise InputError(
                f"embeddings: input_ids has shape {ids.shape}; (B, T) was expected. "
                "For one sequence write [ids]."
            )
        return embedding(ids, table, ids_name="embeddings: input_ids", table_name="word_embeddings")
    rows = as_floats(inputs_embeds, name="embeddings: inputs_embeds")  # type: ignore[arg-type]
    if rows.ndim != 3 or rows.shape[-1] != table.shape[1] or rows.dtype != table.dtype:
        raise InputError(
            f"embeddings: inputs_embeds is {rows.dtype} of shape {rows.shape}; {table.dtype} of "
            f"shape (B, T, {table.shape[1]}) was expected."
        )
    return rows


def _segments(token_type_ids: npt.ArrayLike | None, shape: tuple[int, int]) -> IntArray:
    """Return the segment ids (B, T), all zero by default."""
    if token_type_ids is None:
        return np.zeros(shape, dtype=np.intp)
    ids = as_ids(token_type_ids, name="embeddings: token_type_ids")
    if ids.shape != shape:
        raise InputError(
            f"embeddings: token_type_ids has shape {ids.shape}; {shape} was expected, as input_ids."
        )
    return ids


def _positions(
    position_ids: npt.ArrayLike | None, batch: int, length: int, *, limit: int, given: str
) -> IntArray:
    """Return the position ids (1, T) or (B, T), 0 to T - 1 by default."""
    if position_ids is not None:
        ids = as_ids(position_ids, name="embeddings: position_ids")
        if ids.shape not in ((length,), (1, length), (batch, length)):
            raise InputError(
                f"embeddings: position_ids has shape {ids.shape}; ({length},), (1, {length}) or "
                f"({batch}, {length}) was expected, as input_ids."
            )
        return ids.reshape(-1, length) if length else ids.reshape(1, 0)
    if length > limit:
        raise InputError(
            f"embeddings: {given} has {length} tokens a row; the model has {limit} positions "
            "(max_position_embeddings). Cut them: tokenizer(..., truncation=True)."
        )
    return np.arange(length, dtype=np.intp)[np.newaxis, :]  # (1, T)
