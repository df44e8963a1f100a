"""Why a result is not finite: the weight that is not, or the step that overflows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np

from numpy_bert.arrays import Array, IntArray, StoredArray, place, widen
from numpy_bert.errors import CheckpointError
from numpy_bert.parameters import arrays_of

__all__ = ["check_finite", "check_weights"]

_NO_ROWS: Mapping[str, IntArray] = MappingProxyType({})


def check_finite(
    results: Iterable[Array | None],
    parameters: Mapping[str, object],
    *,
    steps: Iterable[tuple[str, Array]],
    source: str,
    rows: Mapping[str, IntArray] = _NO_ROWS,
    given: bool = False,
) -> None:
    """Raise CheckpointError where a result is not finite and its weights are to blame.

    Only where a result is not finite are the weights read, and then whole.

    Parameters
    ----------
    results : iterable of ndarray or None
        The results of the forward that used `parameters`; None for one that is missing.
    parameters : mapping of str to dataclass or None
        The parameter trees, in the order in which they were used, each under the prefix of its
        keys, such as ``"encoder."``; None for one that is missing.
    steps : iterable of (str, ndarray)
        The steps of that forward, as `numpy_bert.trace.named_steps` yields them. They are read
        only where all weights are finite.
    source : str
        The checkpoint's files, for the message.
    rows : mapping of str to ndarray of int
        The ids that were looked up, by the key of their table: no other row is read or blamed.
    given : bool
        Whether the caller gave numbers, which need not be finite: then only a weight is blamed, and
        an overflow passes.

    Raises
    ------
    CheckpointError
        If a weight is to blame. It names the first weight that is not finite, in the order of
        the table, or else the first step that is not.

    Examples
    --------
    >>> from numpy_bert.parameters import LayerNormParameters
    >>> norm = LayerNormParameters(weight=np.ones(3), bias=np.array([0.0, 0.0, np.nan]))
    >>> check_finite([norm.bias], {"LayerNorm.": norm}, steps=(), source="model.safetensors")
    Traceback (most recent call last):
    numpy_bert.errors.CheckpointError: model.safetensors: LayerNorm.bias[2] = nan: this weight is
    not finite, so no result means anything. `numpy-bert inspect --check` lists all such tensors.
    """
    result = next((r for r in results if r is not None and not np.isfinite(r).all()), None)
    if result is None:
        return
    for prefix, tree in parameters.items():
        for key, weight in arrays_of(tree, prefix):
            _blame(weight, key, source=source, ids=rows.get(key))
    if given:
        return
    step = next((name for name, array in steps if not np.isfinite(array).all()), "the result")
    advice = "; load with dtype='float64'" if result.dtype == np.float32 else ""
    raise CheckpointError(
        f"{source}: its weights are finite, but so large that {step} overflows "
        f"{result.dtype}{advice}."
    )


def check_weights(parameters: Mapping[str, object], *, source: str) -> None:
    """Raise CheckpointError for a weight that is not finite, whatever the result would be.

    Most results show it. An activation can hide it: tanh makes 1 of an infinity, and GELU 0 of the
    negative one. So what an activation reads is looked at before it is used first; that costs one
    sum of each tensor.

    Parameters
    ----------
    parameters : mapping of str to dataclass or ndarray
        The parameter trees under the prefixes of their keys, as `check_finite` takes them.
    source : str
        The checkpoint's files, for the message.

    Examples
    --------
    >>> from numpy_bert.parameters import LinearParameters
    >>> dense = LinearParameters(weight=np.ones((2, 2)), bias=np.array([0.0, -np.inf]))
    >>> check_weights({"pooler.dense.": dense}, source="model.safetensors")
    Traceback (most recent call last):
    numpy_bert.errors.CheckpointError: model.safetensors: pooler.dense.bias[1] = -inf: this weight
    is not finite, so no result means anything. `numpy-bert inspect --check` lists all such tensors.
    """
    for prefix, tree in parameters.items():
        for key, weight in arrays_of(tree, prefix):
            with np.errstate(all="ignore"):
                total = weight.sum()  # which may overflow, too: then each number is looked at
            if not np.isfinite(total):
                _blame(weight, key, source=source)


def _blame(weight: StoredArray, key: str, *, source: str, ids: IntArray | None = None) -> None:
    """Raise CheckpointError if a weight, or one of these rows of it, is not finite."""
    fault = _first_fault(weight, ids)
    if fault is not None:
        raise CheckpointError(
            f"{source}: {key}{fault}: this weight is not finite, so no result means anything. "
            "`numpy-bert inspect --check` lists all such tensors."
        )


def _first_fault(stored: StoredArray, ids: IntArray | None) -> str | None:
    """Write place and value of the first element of these rows that is not finite."""
    taken = stored if ids is None else stored[ids.reshape(-1)]
    weight = widen(taken, np.float32 if taken.dtype == np.uint16 else taken.dtype)
    finite = np.isfinite(weight)
    if finite.all():
        return None
    first = tuple(int(i) for i in np.argwhere(~finite)[0])
    row = first[0] if ids is None else int(ids.reshape(-1)[first[0]])
    return f"{place((row, *first[1:]))} = {weight[first]}"
