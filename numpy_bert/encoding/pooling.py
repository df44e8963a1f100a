"""From the hidden states of a text's tokens to one vector: sentence-transformers' six modes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from numpy_bert.arrays import Array, IntArray
from numpy_bert.encoding import MODES
from numpy_bert.errors import InputError
from numpy_bert.messages import shown

__all__ = ["MODES", "modes_named", "normalize", "norms", "places_read", "pool"]

# As torch.nn.functional.normalize: a vector of zeros stays one.
_LEAST_NORM = 1e-12


def modes_named(pooling: object) -> tuple[str, ...]:
    """Return the modes that a name, or a list of names, stands for; none where a name is unknown.

    Examples
    --------
    >>> modes_named("max"), modes_named(["cls", "mean_sqrt_len_tokens"]), modes_named("sum")
    (('max',), ('cls', 'mean_sqrt_len'), ())
    """
    names = pooling if isinstance(pooling, (list, tuple)) else [pooling]
    longer = {"mean_sqrt_len_tokens": "mean_sqrt_len"}
    modes = tuple(longer.get(name, name) for name in names if isinstance(name, str))
    return modes if len(modes) == len(names) and set(modes) <= set(MODES) else ()


def pool(hidden: Array, lengths: IntArray, modes: Sequence[str], *, skip: int = 0) -> Array:
    """Pool the hidden states of texts that stand one after another, without padding.

    Parameters
    ----------
    hidden : ndarray of shape (N, H)
        The tokens of all texts.
    lengths : ndarray of shape (B,), int
        How many tokens each text has; their sum is N. Texts of one length that stand together are
        pooled together.
    modes : sequence of str
        Some of `MODES`; the vectors of several are joined.
    skip : int
        How many tokens at the start of each text do not count: the prompt's. A text that has no
        others gets zeros, and its first token's state for "cls", as in sentence-transformers.

    Returns
    -------
    ndarray of shape (B, len(modes) * H)
        A text's vector does not depend on the others.

    Raises
    ------
    InputError
        If `modes` has a name that is not in `MODES`.

    References
    ----------
    .. [1] sentence-transformers, modules/pooling.py, Pooling.forward.

    Examples
    --------
    >>> hidden = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 0.0]])
    >>> pool(hidden, np.array([2, 1]), ("mean", "max"))
    array([[2., 3., 3., 4.],
           [5., 0., 5., 0.]])
    """
    for mode in modes:
        if mode not in MODES:
            raise InputError(f"modes must be some of {', '.join(MODES)}; got {shown(mode)}.")
    width = hidden.shape[1]
    pooled = np.zeros((len(lengths), len(modes) * width), hidden.dtype)
    start = first = 0
    runs = np.flatnonzero(np.diff(lengths)) + 1
    for last in (*runs.tolist(), len(lengths)):
        if last == first:
            continue
        length = int(lengths[first])
        stop = start + (last - first) * length
        states = hidden[start:stop].reshape(last - first, length, width)
        for number, mode in enumerate(modes):
            columns = slice(number * width, (number + 1) * width)
            _pool(states, mode, skip, pooled[first:last, columns])
        start, first = stop, last
    return pooled


def places_read(lengths: IntArray, modes: Sequence[str], skip: int) -> IntArray | None:
    """Return the one token of each text that a pooling reads; None where it reads others too.

    The arguments are those of `pool`.

    Examples
    --------
    >>> places_read(np.array([4, 3]), ("cls",), 0), places_read(np.array([4, 3]), ("lasttoken",), 0)
    (array([0, 4]), array([3, 6]))
    """
    ends = np.cumsum(lengths)
    if tuple(modes) == ("cls",):
        return ends - lengths + np.where(skip < lengths, skip, 0)
    if tuple(modes) == ("lasttoken",) and (lengths > skip).all():
        return ends - 1
    return None


def normalize(vectors: Array) -> Array:
    """Return vectors of length 1; one of zeros stays as it is.

    Examples
    --------
    >>> normalize(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    unit: Array = vectors / norms(vectors)[:, None]
    return unit


def norms(vectors: Array) -> Array:
    """Return the length of each vector, summed in float64 and never 0."""
    squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    lengths: Array = np.maximum(np.sqrt(squares), _LEAST_NORM).astype(vectors.dtype)
    return lengths


def _pool(states: Array, mode: str, skip: int, out: Array) -> None:
    """Pool texts of one length, (n, T, H), into `out`, (n, H), which holds zeros."""
    length = states.shape[1]
    counted = length - min(skip, length)
    if mode == "cls":
        out[:] = states[:, length - counted if counted else 0]
    elif not counted:
        return
    elif mode == "lasttoken":
        out[:] = states[:, -1]
    elif mode == "max":
        states[:, length - counted :].max(axis=1, out=out)
    else:
        weights = _weights(mode, length, counted).astype(states.dtype)
        # A product per text, so that none depends on another; a tenth of reduceat's time.
        out[:] = weights @ states[:, length - counted :]  # (n, H)


def _weights(mode: str, length: int, counted: int) -> Array:
    """Return the weight of each token that counts; they are the last `counted` of `length`."""
    if mode == "mean":
        return np.full(counted, 1.0 / counted)
    if mode == "mean_sqrt_len":
        return np.full(counted, 1.0 / math.sqrt(counted))
    places = np.arange(length - counted + 1, length + 1, dtype=np.float64)
    weights: Array = places / places.sum()
    return weights
