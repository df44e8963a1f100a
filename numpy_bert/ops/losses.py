"""Losses: what a model's scores are worth against labels, one number to be made small."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from numpy_bert.arrays import Array, IntArray
from numpy_bert.errors import InputError
from numpy_bert.reprs import short_repr

__all__ = [
    "IGNORED",
    "LossSteps",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "mse_loss",
]

# The label that counts for nothing, as in torch and transformers.
IGNORED = -100
# How many scores are worked on at a time.
_BLOCK = 1 << 21


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LossSteps:
    """A loss: `output`, a number; and the gradient of the scores, of their shape and dtype."""

    __repr__ = short_repr

    scores_gradient: Array
    output: float


def cross_entropy(
    scores: Array,
    labels: IntArray,
    *,
    ignore_index: int = IGNORED,
    name: str = "labels",
    num_items_in_batch: int | None = None,
) -> LossSteps:
    """Take the mean of -log(softmax(scores)[label]) over the rows that have a label.

    Parameters
    ----------
    scores : ndarray of shape (N, K), float32 or float64
        The scores, not normalized; never modified.
    labels : ndarray of shape (N,), int
        The right class of each row, from 0 to K - 1, or `ignore_index`.
    ignore_index : int
        The label of a row that does not count.
    name : str
        What an error calls the labels.
    num_items_in_batch : int, optional
        How many labels the sum over the rows is divided by, where one step of the optimizer takes
        several batches; by default those that are here.

    Returns
    -------
    LossSteps
        The loss and the gradient of the scores, computed in float64.

    Raises
    ------
    InputError
        If a label is out of range, or none counts (for which torch returns NaN).

    Notes
    -----
    With p = softmax(s) and a row's loss l = -log p_label = log(sum_j exp(s_j)) - s_label,
    dl / ds_i = p_i - [i = label]; a mean over n rows divides by n. The largest score is taken away
    before exp, so none overflows.

    References
    ----------
    .. [1] Goodfellow, Bengio and Courville, "Deep Learning", section 6.2.2.3;
       torch.nn.functional.cross_entropy; transformers, loss_utils.py, fixed_cross_entropy.

    Examples
    --------
    >>> steps = cross_entropy(np.array([[0.0, 0.0], [9.0, 0.0]]), np.array([1, -100]))
    >>> round(steps.output, 6), steps.scores_gradient
    (0.693147, array([[ 0.5, -0.5],
           [ 0. ,  0. ]]))
    """
    if not labels.size and num_items_in_batch is None:
        raise InputError(f"{name} must not be empty, which leaves no loss. Leave this batch out.")
    counts = labels != ignore_index
    wrong = counts & ((labels < 0) | (labels >= scores.shape[-1]))
    if wrong.any():
        where = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"{name}: label {int(labels[where])}, number {where} of {labels.size}, must be from 0 "
            f"to {scores.shape[-1] - 1} (or {ignore_index}, which does not count)."
        )
    rows, targets = np.flatnonzero(counts), labels[counts]
    items = len(rows) if num_items_in_batch is None else num_items_in_batch
    if items < 1:
        raise InputError(
            f"{name}: none counts (all are {ignore_index}), so there is no loss. Leave this batch "
            "out."
        )
    gradient, total = np.zeros(scores.shape, scores.dtype), 0.0
    step = max(1, _BLOCK // scores.shape[-1])
    for start in range(0, len(rows), step):  # in float64 all of them would be large
        block, picked = rows[start : start + step], targets[start : start + step]
        wide = scores[block].astype(np.float64, copy=False)  # (n, K)
        wide -= wide.max(axis=-1, keepdims=True)
        order = np.arange(len(block))
        total -= float(wide[order, picked].sum())
        np.exp(wide, out=wide)
        sums = wide.sum(axis=-1, keepdims=True)  # (n, 1)
        total += float(np.log(sums).sum())
        wide /= sums
        wide[order, picked] -= 1.0
        wide /= items
        gradient[block] = wide
    return LossSteps(scores_gradient=gradient, output=total / items)


def mse_loss(scores: Array, labels: Array, *, num_items_in_batch: int | None = None) -> LossSteps:
    """Take the mean of (score - label)^2, the loss of a regression.

    Parameters
    ----------
    scores, labels : ndarray of one shape, float32 or float64
        The numbers to compare; never modified.
    num_items_in_batch : int, optional
        How many labels the sum is divided by, as in `cross_entropy`.

    Returns
    -------
    LossSteps
        The loss, computed in float64; the gradient has the dtype of `scores`.

    Notes
    -----
    l = sum_i (s_i - y_i)^2 / n, so dl / ds_i = 2 (s_i - y_i) / n.

    References
    ----------
    .. [1] torch.nn.functional.mse_loss.

    Examples
    --------
    >>> steps = mse_loss(np.array([1.0, 4.0]), np.array([1.0, 2.0]))
    >>> steps.output, steps.scores_gradient
    (2.0, array([0., 2.]))
    """
    apart = scores.astype(np.float64, copy=False) - labels
    items = apart.size if num_items_in_batch is None else num_items_in_batch
    gradient = (2.0 / items) * apart
    return LossSteps(
        scores_gradient=gradient.astype(scores.dtype, copy=False),
        output=float(np.square(apart).sum()) / items,
    )


def binary_cross_entropy_with_logits(
    scores: Array, labels: Array, *, num_items_in_batch: int | None = None
) -> LossSteps:
    """Take the mean of -y log(sigmoid(s)) - (1 - y) log(1 - sigmoid(s)), for labels by themselves.

    Parameters
    ----------
    scores, labels : ndarray of one shape, float32 or float64
        The scores, not normalized, and how far each label is right, from 0 to 1; never modified.
    num_items_in_batch : int, optional
        How many labels the sum is divided by, as in `cross_entropy`.

    Returns
    -------
    LossSteps
        The loss, computed in float64; the gradient has the dtype of `scores`.

    Notes
    -----
    -y log(sigmoid(s)) - (1 - y) log(sigmoid(-s)) = max(s, 0) - s y + log(1 + exp(-|s|)), in which
    nothing overflows; its derivative is sigmoid(s) - y.

    References
    ----------
    .. [1] torch.nn.functional.binary_cross_entropy_with_logits.

    Examples
    --------
    >>> steps = binary_cross_entropy_with_logits(np.array([0.0]), np.array([1.0]))
    >>> round(steps.output, 6), steps.scores_gradient
    (0.693147, array([-0.5]))
    """
    wide = scores.astype(np.float64, copy=False)
    rest = np.exp(-np.abs(wide))
    losses = np.maximum(wide, 0.0) - wide * labels + np.log1p(rest)
    sigmoid = np.where(wide >= 0.0, 1.0, rest) / (1.0 + rest)
    items = wide.size if num_items_in_batch is None else num_items_in_batch
    gradient = (sigmoid - labels) / items
    return LossSteps(
        scores_gradient=gradient.astype(scores.dtype, copy=False),
        output=float(losses.sum()) / items,
    )
