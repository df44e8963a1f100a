"""The input embedding: three look-ups, their sum, LayerNorm, dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, IntArray, as_floats, as_ids, check_ids
from numpy_bert.errors import InputError
from numpy_bert.ops.dropout import DropoutSteps, dropout
from numpy_bert.ops.embedding import embedding
from numpy_bert.ops.layer_norm import LayerNormSteps, layer_norm
from numpy_bert.parameters import BertEmbeddingsParameters

__all__ = ["EmbeddingsInputs", "EmbeddingsSteps", "check_inputs", "embeddings"]


class EmbeddingsInputs(NamedTuple):
    """What an embedding is made of, checked once: every id is in its table.

    words is ids (B, T) or given rows (B, T, H); segment_ids (B, T), None for all 0; position_ids
    (1, T) or (B, T), None for 0 to T - 1.
    """

    words: IntArray | Array
    segment_ids: IntArray | None
    position_ids: IntArray | None


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
        Probability to drop, from 0 to 1.
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
    so it equals torch's to the last bit. An attention mask plays no part here: padding is embedded
    like any token.

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
    inputs = check_inputs(parameters, input_ids, token_type_ids, position_ids, inputs_embeds)
    batch, length = inputs.words.shape[:2]
    norm = parameters.LayerNorm
    dtype = norm.weight.dtype

    if input_ids is not None:
        words = embedding(inputs.words, parameters.word_embeddings.weight, dtype=dtype)
    else:
        words = as_floats(inputs.words, name="embeddings: inputs_embeds")  # (B, T, H)
    segment_ids = inputs.segment_ids
    if segment_ids is None:
        segment_ids = np.zeros((batch, length), dtype=np.intp)
    segments = embedding(segment_ids, parameters.token_type_embeddings.weight, dtype=dtype)
    position_ids = inputs.position_ids
    if position_ids is None:
        position_ids = np.arange(length, dtype=np.intp)[np.newaxis, :]  # (1, T)
    positions = embedding(position_ids, parameters.position_embeddings.weight, dtype=dtype)
    total = (words + segments) + positions  # (B, T, H)
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


def check_inputs(
    parameters: BertEmbeddingsParameters,
    input_ids: npt.ArrayLike | None,
    token_type_ids: npt.ArrayLike | None,
    position_ids: npt.ArrayLike | None,
    inputs_embeds: npt.ArrayLike | None,
) -> EmbeddingsInputs:
    """Check the arguments of `embeddings`; raise InputError at the first that does not fit."""
    words = _words(parameters, input_ids, inputs_embeds)
    batch, length = words.shape[:2]
    segments = _segments(token_type_ids, (batch, length))
    if segments is not None:
        segments = check_ids(
            segments,
            len(parameters.token_type_embeddings.weight),
            name="embeddings: token_type_ids",
            table="token_type_embeddings",
        )
    limit = len(parameters.position_embeddings.weight)
    positions = None
    if position_ids is not None:
        positions = check_ids(
            _positions(position_ids, batch, length),
            limit,
            name="embeddings: position_ids",
            table="position_embeddings",
        )
    elif length > limit:
        given = "inputs_embeds" if input_ids is None else "input_ids"
        raise InputError(
            f"embeddings: {given} has {length} tokens a row; the model has {limit} positions "
            "(max_position_embeddings). Cut them: tokenizer(..., truncation=True)."
        )
    return EmbeddingsInputs(words, segments, positions)


def _words(
    parameters: BertEmbeddingsParameters,
    input_ids: npt.ArrayLike | None,
    inputs_embeds: npt.ArrayLike | None,
) -> IntArray | Array:
    """Return the word ids (B, T), or the rows (B, T, H) that are given in their place."""
    if (input_ids is None) == (inputs_embeds is None):
        raise InputError("embeddings: give input_ids or inputs_embeds, one of the two.")
    rows, features = parameters.word_embeddings.weight.shape
    if input_ids is not None:
        name = "embeddings: input_ids"
        ids = as_ids(input_ids, name=name)
        if ids.ndim != 2:
            raise InputError(
                f"{name} has shape {ids.shape}; (B, T) was expected. For one sequence write [ids]."
            )
        return check_ids(ids, rows, name=name, table="word_embeddings")
    given = as_floats(inputs_embeds, name="embeddings: inputs_embeds")  # type: ignore[arg-type]
    dtype = parameters.LayerNorm.weight.dtype
    if given.ndim != 3 or given.shape[-1] != features or given.dtype != dtype:
        raise InputError(
            f"embeddings: inputs_embeds is {given.dtype} of shape {given.shape}; {dtype} of "
            f"shape (B, T, {features}) was expected."
        )
    return given


def _segments(token_type_ids: npt.ArrayLike | None, shape: tuple[int, int]) -> IntArray | None:
    """Return the segment ids (B, T), None where none are given."""
    if token_type_ids is None:
        return None
    ids = as_ids(token_type_ids, name="embeddings: token_type_ids")
    if ids.shape != shape:
        raise InputError(
            f"embeddings: token_type_ids has shape {ids.shape}; {shape} was expected, as input_ids."
        )
    return ids


def _positions(position_ids: npt.ArrayLike, batch: int, length: int) -> IntArray:
    """Return the position ids (1, T) or (B, T)."""
    ids = as_ids(position_ids, name="embeddings: position_ids")
    if ids.shape not in ((length,), (1, length), (batch, length)):
        raise InputError(
            f"embeddings: position_ids has shape {ids.shape}; ({length},), (1, {length}) or "
            f"({batch}, {length}) was expected, as input_ids."
        )
    return ids.reshape(-1, length) if length else ids.reshape(1, 0)
