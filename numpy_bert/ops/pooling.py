"""A text's vector as a weighted sum of its tokens' hidden states, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, BoolArray, as_mask
from numpy_bert.errors import InputError
from numpy_bert.messages import must_be
from numpy_bert.reprs import short_repr

__all__ = ["PoolingSteps", "pooling", "pooling_backward"]

_Wide = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PoolingSteps:
    """A token's share of its text's vector, and `output`, (B, H).

    `weights` are 0 at padding, and of shape (B, T, 1), or (B, T, H) where each feature has another
    share, as in "max".
    """

    __repr__ = short_repr

    weights: Array
    output: Array


def pooling(
    hidden: Array, mask: npt.ArrayLike | None = None, *, mode: str = "mean"
) -> PoolingSteps:
    """Make one vector of each text's hidden states, padding left out.

    Parameters
    ----------
    hidden : ndarray of shape (B, T, H), float32 or float64
        The last hidden state; never modified.
    mask : array_like of int, float or bool, shape (B, T), optional
        1 where there is a token, at least one in each row. By default all are tokens.
    mode : {"mean", "cls", "max", "mean_sqrt_len", "weightedmean", "lasttoken"}
        The mean of the tokens, the first, the largest of each feature, the sum divided by the root
        of the number of tokens, the mean weighted by the place from 1, or the last.

    Returns
    -------
    PoolingSteps
        The steps, summed in float64, in the dtype of `hidden`.

    Raises
    ------
    InputError
        If the shapes do not fit, the mask holds anything but 0 and 1, or a row has no token.

    References
    ----------
    .. [1] Reimers and Gurevych, "Sentence-BERT", arXiv:1908.10084, section 3;
       sentence-transformers, modules/pooling.py, Pooling.forward.

    Examples
    --------
    >>> hidden = np.array([[[1.0, 4.0], [3.0, 2.0], [9.0, 9.0]]])
    >>> mask = np.array([[True, True, False]])
    >>> pooling(hidden, mask).output, pooling(hidden, mask, mode="max").output
    (array([[2., 3.]]), array([[3., 4.]]))
    """
    if hidden.ndim != 3:
        raise InputError(f"pooling: hidden must have shape (B, T, H); got {hidden.shape}.")
    batch, length, _ = hidden.shape
    given = np.ones((batch, length), np.bool_) if mask is None else mask
    used = as_mask(given, (batch, length), name="pooling: mask")
    empty = np.flatnonzero(~used.any(axis=1))
    if len(empty):
        raise InputError(
            f"pooling: text {int(empty[0])} has no token, and so no vector. Leave it out."
        )
    if mode == "max":
        most = np.where(used[..., np.newaxis], hidden, -np.inf).argmax(axis=1)  # (B, H)
        weights = (np.arange(length)[:, np.newaxis] == most[:, np.newaxis]).astype(np.float64)
    else:
        weights = _shares(used, mode)[..., np.newaxis]  # (B, T, 1)
    each = np.broadcast_to(weights, hidden.shape)
    wide = np.einsum("bth,bth->bh", each, hidden, dtype=np.float64)
    return PoolingSteps(
        weights=weights.astype(hidden.dtype, copy=False),
        output=wide.astype(hidden.dtype, copy=False),
    )


def pooling_backward(grad: Array, steps: PoolingSteps) -> Array:
    """Return the gradient of what `pooling` was called with.

    Parameters
    ----------
    grad : ndarray of shape (B, H)
        The gradient of the output.
    steps : PoolingSteps
        What `pooling` returned.

    Returns
    -------
    ndarray of shape (B, T, H)
        The gradient of `hidden`; 0 at padding.

    Notes
    -----
    With y = sum_t w_t h_t, dy / dh_t = w_t, such as 1 / n for the n tokens of a text in a mean; so
    each token's gradient is w_t g.

    Examples
    --------
    >>> steps = pooling(np.ones((1, 2, 1)), np.array([[True, True]]))
    >>> pooling_backward(np.array([[3.0]]), steps)
    array([[[1.5],
            [1.5]]])
    """
    found: Array = steps.weights * grad[:, np.newaxis]
    return found


def _shares(used: BoolArray, mode: str) -> _Wide:
    """Return the share of each token, (B, T), in a mode that takes all features alike."""
    length, counts = used.shape[1], used.sum(axis=1, keepdims=True)  # (B, 1)
    places = np.arange(length)
    shares: _Wide
    if mode == "mean":
        shares = used / counts
    elif mode == "mean_sqrt_len":
        shares = used / np.sqrt(counts)
    elif mode == "weightedmean":
        weights = used * (places + 1.0)
        shares = weights / weights.sum(axis=1, keepdims=True)
    elif mode == "cls":
        shares = (places == used.argmax(axis=1)[:, np.newaxis]) * 1.0
    elif mode == "lasttoken":
        last = length - 1 - used[:, ::-1].argmax(axis=1)
        shares = (places == last[:, np.newaxis]) * 1.0
    else:
        raise InputError(must_be("pooling: mode", "one of sentence-transformers' six", mode))
    return shares
