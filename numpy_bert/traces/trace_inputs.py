"""What a trace was made of: ids, mask, token types and positions, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import BoolArray, IntArray, as_mask
from numpy_bert.errors import InputError, TraceError
from numpy_bert.files import file_size, read_json
from numpy_bert.messages import quoted
from numpy_bert.reprs import short_repr
from numpy_bert.traces.layout import INPUTS
from numpy_bert.traces.reading import Trace, as_trace, open_trace

if TYPE_CHECKING:
    from numpy_bert.model.bert import BertModel

__all__ = [
    "TraceInputs",
    "inputs_of",
    "padding_left_in",
    "read_ids",
    "read_inputs",
    "read_mask",
    "taken_by",
    "usual_input",
]

_LARGEST_IDS = 1 << 26


class TraceInputs(NamedTuple):
    """The checked inputs of a run: ids, mask and types (B, T), positions (1, T) or (B, T)."""

    input_ids: IntArray
    attention_mask: BoolArray
    token_type_ids: IntArray
    position_ids: IntArray

    def __repr__(self) -> str:
        return short_repr(self)


def read_inputs(trace: Trace, model: BertModel, *, positions_given: bool = False) -> TraceInputs:
    """Return the inputs that a trace was made of.

    Parameters
    ----------
    trace : Trace
        A trace that holds ``input_ids``. The mask is 1 and the token types are 0 where the trace
        does not say otherwise.
    model : BertModel
        The model that is to run the ids.
    positions_given : bool
        Whether ``position_ids`` are taken as the trace has them; otherwise they are the model's own
        for these ids, in a BERT 0, 1, 2, ...

    Raises
    ------
    TraceError
        If the trace holds no ``input_ids``, or no token at all.
    InputError
        If an id is not in its table. The message names the argument, the place, the value and the
        limit.
    """
    ids = trace.get("input_ids")
    if ids is None:
        raise TraceError(
            f"{trace.label} must hold input_ids, which the model is run on; it holds none. Save "
            "them beside the steps, as integers of shape (B, T)."
        )
    if ids.ndim != 2 or not ids.size:
        raise TraceError(
            f"{trace.label}: input_ids must have shape (B, T), with a token; got shape {ids.shape}."
        )
    types = trace.get("token_type_ids")
    given = trace.get("position_ids") if positions_given else None
    found = model.inputs(ids, None, types, given)
    segments, positions = found.segment_ids, found.position_ids
    return TraceInputs(
        np.asarray(found.words),
        read_mask(trace, (ids.shape[0], ids.shape[1]), found.mask),
        usual_input("token_type_ids", ids.shape) if segments is None else segments,
        usual_input("position_ids", ids.shape) if positions is None else positions,
    )


def read_mask(trace: Trace, shape: tuple[int, int], usual: BoolArray | None = None) -> BoolArray:
    """Return the checked mask of a trace; the usual one if the trace holds none, or all True.

    Raises
    ------
    InputError
        If the trace holds a mask of another shape, or one that masks everything.
    """
    given = trace.get("attention_mask")
    if given is None:
        return np.ones(shape, np.bool_) if usual is None else usual
    mask = as_mask(given, shape, name=f"{trace.label}: attention_mask")
    if not mask.any():
        raise InputError(f"{trace.label}: attention_mask must be 1 at a token; it is 0 everywhere.")
    return mask


def usual_input(name: str, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Return the input that stands in a BERT for one that is left out, for ids of that shape.

    Examples
    --------
    >>> usual_input("position_ids", (2, 3)), usual_input("attention_mask", (1, 2))
    (array([[0, 1, 2]]), array([[1, 1]]))
    """
    if name == "position_ids":
        return np.arange(shape[1], dtype=np.int64)[np.newaxis]
    return np.full(shape, int(name == "attention_mask"), np.int64)


def padding_left_in(inputs: TraceInputs, pad_token_id: int | None) -> BoolArray | None:
    """Return where the padding id stands at what the mask calls a token, None if nowhere.

    No text holds that id. As transformers does, a mask is taken for forgotten only if the padding
    id begins or ends a row; otherwise None is returned, too.

    Examples
    --------
    >>> ids = np.array([[2, 5, 3], [2, 3, 0]])
    >>> inputs = TraceInputs(ids, np.ones((2, 3), np.bool_), ids * 0, np.arange(3)[np.newaxis])
    >>> padding_left_in(inputs, 0)
    array([[False, False, False],
           [False, False,  True]])
    """
    if pad_token_id is None:
        return None
    found: BoolArray = (inputs.input_ids == pad_token_id) & inputs.attention_mask
    return found if found[:, [0, -1]].any() else None


def taken_by(model: BertModel, inputs: TraceInputs) -> dict[str, Any]:
    """Return the inputs that a model takes, by name; not every one has token types.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> model = BertModel.from_pretrained("demo")
    >>> list(taken_by(model, inputs_of({"input_ids": [[2, 5, 3]]}, model)))
    ['input_ids', 'attention_mask', 'token_type_ids', 'position_ids']
    """
    return {
        name: np.ascontiguousarray(array, dtype=np.int64)
        for name, array in zip(INPUTS, inputs, strict=True)
        if name != "token_type_ids" or _has_types(model)
    }


def _has_types(model: BertModel) -> bool:
    """Tell whether a model has a table of token types."""
    return model.parameters.embeddings.token_type_embeddings is not None


def inputs_of(encoding: Mapping[str, Any], model: BertModel) -> TraceInputs:
    """Return what a tokenizer made of texts as checked inputs of a model."""
    return read_inputs(as_trace(encoding), model, positions_given=True)


def read_ids(path: Path, model: BertModel) -> TraceInputs:
    """Read the inputs of a model from a JSON object or a trace.

    Raises
    ------
    TraceError, InputError
        If the file holds no such inputs. The message names it and what is wrong with it.
    """
    file_size(path, error=TraceError)
    try:
        with path.open("rb") as file:
            is_json = file.read(64).lstrip()[:1] in (b"{", b"[", b"")
    except OSError as failure:
        raise TraceError(f"{path} cannot be read ({failure.strerror}).") from None
    if not is_json:
        return read_inputs(open_trace(path), model, positions_given=True)
    members = read_json(path, error=TraceError, limit=_LARGEST_IDS)
    other = sorted(members.keys() - set(INPUTS))
    if other or "input_ids" not in members:
        what = quoted(other[0]) if other else "no input_ids"
        raise TraceError(
            f"{path} must hold {INPUTS[0]} and may hold {', '.join(INPUTS[1:])}; got {what}."
        )
    return read_inputs(as_trace(members, label=str(path)), model, positions_given=True)
