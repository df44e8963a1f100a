"""What a trace was made of: ids, mask, token types and positions, read and checked."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_bert.arrays import BoolArray, IntArray, as_mask
from numpy_bert.blocks.embeddings import check_inputs
from numpy_bert.errors import InputError, TraceError
from numpy_bert.parameters import BertParameters
from numpy_bert.traces.reading import Trace

__all__ = ["Inputs", "read_inputs"]


class Inputs(NamedTuple):
    """What a model is run on, checked: ids and mask (B, T), positions (1, T) or (B, T)."""

    input_ids: IntArray
    attention_mask: BoolArray
    token_type_ids: IntArray
    position_ids: IntArray


def read_inputs(
    trace: Trace, parameters: BertParameters, *, positions_given: bool = False
) -> Inputs:
    """Return what a trace was made of: ids, mask, token types; positions are 0, 1, 2, ...

    Parameters
    ----------
    trace : Trace
        Must hold ``input_ids``; the mask is 1 and the token types are 0 where it does not say.
    parameters : BertParameters
        Of the model that is to run them.
    positions_given : bool
        Whether ``position_ids`` are taken as the trace has them.

    Raises
    ------
    TraceError
        If it holds no ``input_ids``, or no token at all.
    InputError
        Naming the argument, the place, the value and the limit.
    """
    ids = trace.get("input_ids")
    if ids is None:
        raise TraceError(
            f"{trace.label}: holds no input_ids, which a model could be run on; save them beside "
            "the steps, as integers of shape (B, T)."
        )
    if ids.ndim != 2 or not ids.size:
        raise TraceError(
            f"{trace.label}: input_ids has shape {ids.shape}; (B, T) was expected, with a token."
        )
    mask = _mask(trace, ids.shape)
    types = trace.get("token_type_ids")
    given = trace.get("position_ids") if positions_given else None
    found = check_inputs(parameters.embeddings, ids, types, given, None)
    positions = found.position_ids
    return Inputs(
        np.asarray(found.words),
        mask,
        np.zeros(ids.shape, np.intp) if found.segment_ids is None else found.segment_ids,
        np.arange(ids.shape[1])[np.newaxis] if positions is None else positions,
    )


def _mask(trace: Trace, shape: tuple[int, ...]) -> BoolArray:
    """Return the checked mask, in which a token is left."""
    given = trace.get("attention_mask")
    if given is None:
        return np.ones(shape, np.bool_)
    mask = as_mask(given, (shape[0], shape[1]), name=f"{trace.label}: attention_mask")
    if not mask.any():
        raise InputError(f"{trace.label}: attention_mask is 0 everywhere; there is no token.")
    return mask
