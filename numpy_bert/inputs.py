"""What a BERT reads, checked once at the boundary; how padding is left out and put back.

A `ModelInputs` is made of what a caller gives, by `model_inputs` of a batch or by `packed_inputs`
of sequences that stand one after another. Everything below takes it and checks nothing again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_bert.arguments import check_switches
from numpy_bert.arrays import (
    Array,
    BoolArray,
    IntArray,
    as_floats,
    as_ids,
    as_mask,
    check_ids,
    places_within,
)
from numpy_bert.errors import InputError
from numpy_bert.parameters import BertEmbeddingsParameters
from numpy_bert.reprs import short_repr

__all__ = [
    "ModelInputs",
    "Packing",
    "check_outputs",
    "counted_positions",
    "model_inputs",
    "packed_inputs",
    "packed_places",
    "padded",
]

# The most axes that an array of NumPy has.
_MOST_AXES = 64


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ModelInputs:
    """A batch that has been checked: every id is in its table, and all shapes fit each other.

    Attributes
    ----------
    words : ndarray of shape (B, T), intp, or (B, T, H), floats
        The token ids, or the rows that stand in the place of their look-up.
    mask : ndarray of shape (B, T), bool, or None
        True where there is a token; None where nothing is padding.
    segment_ids : ndarray of shape (B, T), intp, or None
        The segment of each token; None where all are 0.
    position_ids : ndarray of shape (1, T) or (B, T), intp, or None
        The position of each token; None where they are 0 to T - 1.
    """

    __repr__ = short_repr

    words: IntArray | Array
    mask: BoolArray | None = None
    segment_ids: IntArray | None = None
    position_ids: IntArray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """The number of sequences, and of tokens in each, padding included."""
        batch, length = self.words.shape[:2]
        return batch, length

    @property
    def has_empty_rows(self) -> bool:
        """Whether a sequence has no token, so that its padding has none to look at."""
        return self.mask is not None and not self.mask.any(axis=1).all()

    def at(self, places: IntArray) -> ModelInputs:
        """Return what stands at some places of the flat batch, as one sequence without padding."""
        length = self.words.shape[1]
        positions, segments = self.position_ids, self.segment_ids
        if positions is None:
            positions = places % length
        else:
            positions = positions[places // length % len(positions), places % length]
        return ModelInputs(
            words=self.words.reshape(-1, *self.words.shape[2:])[places][np.newaxis],
            segment_ids=None if segments is None else segments.ravel()[places][np.newaxis],
            position_ids=positions[np.newaxis],
        )


class Packing(NamedTuple):
    """Where the tokens of a batch are, and where its padding is, one sequence after another.

    Attributes
    ----------
    shape : tuple of int
        The shape of the batch, (B, T).
    tokens : ndarray of shape (N,), int, or None
        The places of the tokens in the flat batch; None where it has no padding.
    lengths : list of int
        How many tokens each sequence has, the shortest first; a sequence without one is left out.
    padding : ndarray of shape (M,), int
        The places of the padding of the same sequences.
    counts : list of int
        How many places of padding each of these sequences has.
    """

    shape: tuple[int, int]
    tokens: IntArray | None
    lengths: list[int]
    padding: IntArray
    counts: list[int]

    def __repr__(self) -> str:
        return short_repr(self)

    @classmethod
    def of(cls, inputs: ModelInputs) -> Packing:
        """Find the tokens and the padding of a batch."""
        batch, length = inputs.shape
        none = np.zeros(0, np.intp)
        if inputs.mask is None:
            lengths = [length] * batch if length else []
            return cls(inputs.shape, None, lengths, none, [0] * len(lengths))
        lengths_of = inputs.mask.sum(axis=1)
        order = np.argsort(lengths_of, kind="stable")
        order = order[lengths_of[order] > 0]
        mask = inputs.mask[order]
        rows, columns = np.nonzero(mask)
        others, gaps = np.nonzero(~mask)
        used = lengths_of[order]
        return cls(
            inputs.shape,
            order[rows] * length + columns,
            used.tolist(),
            order[others] * length + gaps,
            (length - used).tolist(),
        )

    def put_back(self, tokens: Array, padding: Array | None = None) -> Array:
        """Return the rows of the tokens (N, H), and of the padding (M, H), as a batch (B, T, H).

        Zeros stand where there are no rows.
        """
        if self.tokens is None:
            return tokens.reshape(*self.shape, tokens.shape[1])
        batch = np.zeros((self.shape[0] * self.shape[1], tokens.shape[1]), tokens.dtype)
        batch[self.tokens] = tokens
        if padding is not None:
            batch[self.padding] = padding
        return batch.reshape(*self.shape, tokens.shape[1])

    def put_back_weights(self, heads: int, tokens: Array, padding: Array | None = None) -> Array:
        """Return the weights with which tokens, and padding, look at tokens, as (B, A, T, T).

        Each sequence's are (A, queries, keys) of the flat arrays, one sequence after another. Zeros
        stand where there are none.
        """
        batch, length = self.shape
        if self.tokens is None:
            return tokens.reshape(batch, heads, length, length)
        out = np.zeros((batch, heads, length, length), tokens.dtype)
        ends = np.cumsum(self.lengths).tolist()
        gaps = np.cumsum(self.counts).tolist()
        start = first = 0
        for own, many, end, last in zip(self.lengths, self.counts, ends, gaps, strict=True):
            places = self.tokens[end - own : end]
            row, keys = out[places[0] // length], places % length
            size = heads * own * own
            row[:, keys[:, np.newaxis], keys] = tokens[start : start + size].reshape(-1, own, own)
            start += size
            if padding is not None and many:
                queries, size = self.padding[last - many : last] % length, heads * many * own
                part = padding[first : first + size].reshape(-1, many, own)
                row[:, queries[:, np.newaxis], keys] = part
                first += size
        return out


def model_inputs(
    parameters: BertEmbeddingsParameters,
    input_ids: npt.ArrayLike | None = None,
    attention_mask: npt.ArrayLike | None = None,
    token_type_ids: npt.ArrayLike | None = None,
    position_ids: npt.ArrayLike | None = None,
    inputs_embeds: npt.ArrayLike | None = None,
    *,
    position_padding: int | None = None,
    masked_id: int | None = None,
) -> ModelInputs:
    """Check what a model is called with.

    Parameters
    ----------
    parameters : BertEmbeddingsParameters
        The tables that the ids are looked up in.
    input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds
        The arguments that `numpy_bert.BertModel` takes.
    position_padding : int, optional
        The row of padding in the table of positions, where there is one: the id of padding, too.
        Positions then count the ids that are not padding's, from the row after it, and padding's
        ids stand at it, whatever the mask says; of `inputs_embeds` all count.
    masked_id : int, optional
        The id that is padding where there is no mask.

    Raises
    ------
    InputError
        If one does not fit; the message names the argument, place, value and limit.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> tables = BertModel.from_pretrained("demo").parameters.embeddings
    >>> model_inputs(tables, [[2, 5, 3], [2, 3, 0]], [[1, 1, 1], [1, 1, 0]]).shape
    (2, 3)
    >>> model_inputs(tables, [[2, 9999, 3]])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    numpy_bert.errors.InputError: embeddings: input_ids[0, 1] = 9999 is outside the vocabulary ...
    """
    words = _words(parameters, input_ids, inputs_embeds)
    batch, length = words.shape[:2]
    segments = None
    if token_type_ids is not None:
        segments = _segments(parameters, token_type_ids, (batch, length))
    rows = len(parameters.position_embeddings.weight)
    if position_ids is not None:
        positions: IntArray | None = check_ids(
            _positions(position_ids, batch, length),
            rows,
            name="embeddings: position_ids",
            table="position_embeddings",
        )
    else:
        positions = _usual_positions(words, rows, position_padding)
    mask = None
    if attention_mask is not None:
        mask = as_mask(attention_mask, (batch, length), name="attention_mask")
    elif masked_id is not None and words.ndim == 2:
        mask = words != masked_id
    mask = None if mask is None or mask.all() else mask
    return ModelInputs(words=words, mask=mask, segment_ids=segments, position_ids=positions)


def check_outputs(
    output_hidden_states: object, output_attentions: object, *, unpad_inputs: object
) -> None:
    """Raise InputError unless what a call is asked for is True or False, or None, which is False.

    Of an array, such as a mask in a wrong place, or of a text the truth would say nothing.
    """
    check_switches(
        output_hidden_states=output_hidden_states is not None and output_hidden_states,
        output_attentions=output_attentions is not None and output_attentions,
        unpad_inputs=unpad_inputs,
    )


def packed_inputs(
    parameters: BertEmbeddingsParameters,
    input_ids: npt.ArrayLike,
    lengths: npt.ArrayLike,
    token_type_ids: npt.ArrayLike | None = None,
    *,
    position_padding: int | None = None,
) -> tuple[ModelInputs, list[int]]:
    """Check sequences that stand one after another; return them as one, and their lengths.

    `position_padding` is that of `model_inputs`.

    Raises
    ------
    InputError
        If an argument is no array of integers in one dimension, an id is outside its table, a
        sequence has no token or too many, or the lengths do not add up to the tokens.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> tables = BertModel.from_pretrained("demo").parameters.embeddings
    >>> inputs, lengths = packed_inputs(tables, [2, 3, 2, 5, 3], [2, 3])
    >>> inputs.position_ids, lengths
    (array([[0, 1, 0, 1, 2]]), [2, 3])
    """
    tokens = _in_one_row(input_ids, "input_ids", "N")
    sizes = _in_one_row(lengths, "lengths", "B")
    types = None if token_type_ids is None else _in_one_row(token_type_ids, "token_type_ids", "N")
    rows = len(parameters.position_embeddings.weight)
    most = rows - _first_position(position_padding)
    wrong = np.flatnonzero((sizes < 1) | (sizes > most))
    if len(wrong):
        first = int(wrong[0])
        raise InputError(
            f"packed: lengths[{first}] must be from 1 to {_counted(rows, most)}; got "
            f"{sizes[first]}. Leave empty sequences out, and cut long ones."
        )
    total = int(sizes.sum(dtype=np.int64))
    if total != len(tokens):
        raise InputError(
            f"packed: lengths must add up to {len(tokens)}, the tokens of input_ids; got {total}. "
            "Give a length for each sequence, and no padding."
        )
    if types is not None and types.shape != tokens.shape:
        raise InputError(
            f"packed: token_type_ids must have {len(tokens)} tokens, as input_ids; got "
            f"{len(types)}."
        )
    whole = sizes.astype(np.intp, copy=False)
    words = _word_ids(parameters, tokens[np.newaxis])
    positions = places_within(whole)
    if position_padding is not None:
        starts = np.arange(len(tokens)) - positions
        read = tokens != position_padding
        count = np.cumsum(read)
        positions = np.where(read, count - (count - read)[starts], 0) + position_padding
    inputs = ModelInputs(
        words=words,
        segment_ids=None if types is None else _segment_ids(parameters, types[np.newaxis]),
        position_ids=positions[np.newaxis],
    )
    return inputs, whole.tolist()


def packed_places(places: npt.ArrayLike, tokens: int) -> IntArray:
    """Return which of the packed tokens are asked for; raise InputError if one is not there."""
    found = _in_one_row(places, "places", "R")
    return check_ids(found, tokens, name="packed: places", table="tokens")


def padded(inputs: ModelInputs, lengths: Sequence[int]) -> ModelInputs:
    """Return packed ids as a batch: each sequence in a row of its own, padding behind it."""
    sizes = np.array(lengths, np.intp)
    mask = np.arange(sizes.max(initial=0)) < sizes[:, np.newaxis]  # (B, T)

    def rows(ids: IntArray) -> IntArray:
        batch = np.zeros(mask.shape, np.intp)
        batch[mask] = ids[0]
        return batch

    segments, positions = inputs.segment_ids, inputs.position_ids
    return ModelInputs(
        words=rows(inputs.words),  # type: ignore[arg-type]
        mask=None if mask.all() else mask,
        segment_ids=None if segments is None else rows(segments),
        position_ids=None if positions is None else rows(positions),
    )


def _first_position(padding: int | None) -> int:
    """Return the position of a text's first token, after the row of padding if there is one."""
    return 0 if padding is None else padding + 1


def _counted(rows: int, most: int) -> str:
    """Return how many tokens a model reads, with the reason where it has more positions."""
    if rows == most:
        return f"{rows} (max_position_embeddings)"
    return f"{most} (max_position_embeddings is {rows}, of which texts use {most})"


def _usual_positions(words: IntArray | Array, rows: int, padding: int | None) -> IntArray | None:
    """Return the positions that tokens have where none are given; None for 0 to T - 1.

    References
    ----------
    .. [1] transformers, modeling_roberta.py, RobertaEmbeddings.create_position_ids_from_input_ids.
    """
    length, first = words.shape[1], _first_position(padding)
    most, positions = length, None
    if padding is not None and words.ndim == 3:
        positions = np.arange(first, first + length)[np.newaxis]
    elif padding is not None:
        positions = counted_positions(words, padding)
        most = int(positions.max(initial=padding)) - padding
    if most > rows - first:
        given = "input_ids" if words.ndim == 2 else "inputs_embeds"
        used = "" if padding is None else f", of which texts use {rows - first}"
        raise InputError(
            f"embeddings: {given} has {most} tokens a row; the model has {rows} positions{used} "
            "(max_position_embeddings). Cut them: "
            f"tokenizer(..., truncation=True, max_length={rows - first})."
        )
    return positions


def counted_positions(ids: npt.NDArray[Any], padding: int) -> IntArray:
    """Return positions that count the ids that are not padding's, from the row after padding's.

    Examples
    --------
    >>> counted_positions(np.array([[1, 0, 9, 1, 2]]), 1)
    array([[1, 2, 3, 1, 4]])
    """
    read = ids != padding
    found: IntArray = np.cumsum(read, axis=1) * read + padding
    return found


def _words(
    parameters: BertEmbeddingsParameters,
    input_ids: npt.ArrayLike | None,
    inputs_embeds: npt.ArrayLike | None,
) -> IntArray | Array:
    """Return the word ids (B, T), or the rows (B, T, H) that are given in their place."""
    if (input_ids is None) == (inputs_embeds is None):
        raise InputError("embeddings: give input_ids or inputs_embeds, one of the two.")
    if input_ids is not None:
        _check_no_text(input_ids)
        ids = as_ids(input_ids, name="embeddings: input_ids")
        if ids.ndim != 2:
            raise InputError(
                f"embeddings: input_ids must have shape (B, T); got {ids.shape}. For one sequence "
                "write [ids]."
            )
        return _word_ids(parameters, ids)
    given = as_floats(inputs_embeds, name="embeddings: inputs_embeds")  # type: ignore[arg-type]
    features, dtype = len(parameters.LayerNorm.weight), parameters.LayerNorm.weight.dtype
    if given.ndim != 3 or given.shape[-1] != features or given.dtype != dtype:
        raise InputError(
            f"embeddings: inputs_embeds must be {dtype} of shape (B, T, {features}); got "
            f"{given.dtype} of shape {given.shape}."
        )
    return given


def _check_no_text(input_ids: object) -> None:
    """Raise InputError for what a tokenizer takes, or returns, in place of ids."""
    first = input_ids
    for _ in range(_MOST_AXES):  # a list may hold itself
        if not (isinstance(first, (list, tuple)) and first):
            break
        first = first[0]
    if isinstance(first, str):
        raise InputError(
            "embeddings: input_ids must be an array of integers; got text. Write "
            "model(**tokenizer(texts, padding=True, return_tensors='np'))."
        )
    if isinstance(input_ids, Mapping):
        raise InputError(
            f"embeddings: input_ids must be an array of integers; got {type(input_ids).__name__}. "
            "Write model(**inputs)."
        )


def _word_ids(parameters: BertEmbeddingsParameters, ids: IntArray) -> IntArray:
    """Return ids that are rows of the word table."""
    rows = len(parameters.word_embeddings.weight)
    return check_ids(ids, rows, name="embeddings: input_ids", table="word_embeddings")


def _segments(
    parameters: BertEmbeddingsParameters, token_type_ids: npt.ArrayLike, shape: tuple[int, int]
) -> IntArray | None:
    """Return the segment ids (B, T); None where the model has none."""
    ids = as_ids(token_type_ids, name="embeddings: token_type_ids")
    if ids.shape != shape:
        raise InputError(
            f"embeddings: token_type_ids must have shape {shape}, as input_ids; got {ids.shape}."
        )
    return _segment_ids(parameters, ids)


def _segment_ids(parameters: BertEmbeddingsParameters, ids: IntArray) -> IntArray | None:
    """Return ids that are rows of the segments' table; None where there is none, and all are 0."""
    name, table = "embeddings: token_type_ids", parameters.token_type_embeddings
    if table is None:
        if not ids.any():
            return None
        raise InputError(
            f"{name} must be 0 or left out, as the model has no token types "
            f"(token_type_embeddings); got an array with {ids[ids != 0][0]}. Drop them from what "
            "the tokenizer returns."
        )
    return check_ids(ids, len(table.weight), name=name, table="token_type_embeddings")


def _positions(position_ids: npt.ArrayLike, batch: int, length: int) -> IntArray:
    """Return the position ids (1, T) or (B, T)."""
    ids = as_ids(position_ids, name="embeddings: position_ids")
    if ids.shape not in ((length,), (1, length), (batch, length)):
        raise InputError(
            f"embeddings: position_ids must have shape ({length},), (1, {length}) or "
            f"({batch}, {length}), as input_ids; got {ids.shape}."
        )
    return ids.reshape(-1, length) if length else ids.reshape(1, 0)


def _in_one_row(value: npt.ArrayLike, name: str, letter: str) -> IntArray:
    """Return an argument of `packed_inputs` as integers in one dimension."""
    array = as_ids(value, name=f"packed: {name}")
    if array.ndim != 1:
        raise InputError(
            f"packed: {name} must have shape ({letter},), the sequences one after another; got "
            f"{array.shape}."
        )
    return array
