"""A text's vector as the mean of its tokens' hidden states, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, as_mask
from numpy_bert.errors import InputError

__all__ = ["MeanPoolingSteps", "mean_pooling", "mean_pooling_backward"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MeanPoolingSteps:
    """Each text's share of a token, (B, T, 1), 0 at padding; and `output`, (B, H)."""

    weights: Array
    output: Array


def mean_pooling(hidden: Array, mask: npt.ArrayLike | None = None) -> MeanPoolingSteps:
    """Take the mean of each text's hidden states, padding left out.

    Parameters
    ----------
    hidden : ndarray of shape (B, T, H), float32 or float64
        The last hidden state; never modified.
    mask : array_like of int, float or bool, shape (B, T), optional
        1 where there is a token, at least one in each row. By default all are tokens.

    Returns
    -------
    MeanPoolingSteps
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
    >>> hidden = np.array([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]])
    >>> mean_pooling(hidden, np.array([[True, True, False]])).output
    array([[2., 3.]])
    """
    if hidden.ndim != 3:
        raise InputError(f"mean_pooling: hidden must have shape (B, T, H); got {hidden.shape}.")
    batch, length, _ = hidden.shape
    given = np.ones((batch, length), np.bool_) if mask is None else mask
    used = as_mask(given, (batch, length), name="mean_pooling: mask")
    counts = used.sum(axis=1, keepdims=True)  # (B, 1)
    if not counts.all():
        raise InputError(
            f"mean_pooling: text {int(np.flatnonzero(counts == 0)[0])} has no token, and so no "
            "mean. Leave it out."
        )
    weights = (used / counts)[..., np.newaxis]  # (B, T, 1)
    wide = np.einsum("btu,bth->bh", weights, hidden, dtype=np.float64)
    return MeanPoolingSteps(
        weights=weights.astype(hidden.dtype, copy=False),
        output=wide.astype(hidden.dtype, copy=False),
    )


def mean_pooling_backward(grad: Array, steps: MeanPoolingSteps) -> Array:
    """Return the gradient of what `mean_pooling` was called with.

    Parameters
    ----------
    grad : ndarray of shape (B, H)
        The gradient of the output.
    steps : MeanPoolingSteps
        What `mean_pooling` returned.

    Returns
    -------
    ndarray of shape (B, T, H)
        The gradient of `hidden`; 0 at padding.

    Notes
    -----
    With y = sum_t w_t h_t, where w_t is 1 / n for the n tokens of a text and 0 for its padding,
    dy / dh_t = w_t; so each token's gradient is w_t g.

    Examples
    --------
    >>> steps = mean_pooling(np.ones((1, 2, 1)), np.array([[True, True]]))
    >>> mean_pooling_backward(np.array([[3.0]]), steps)
    array([[[1.5],
            [1.5]]])
    """
    found: Array = steps.weights * grad[:, np.newaxis]
    return found
