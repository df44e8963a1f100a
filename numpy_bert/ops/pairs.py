"""Losses of pairs of vectors: what belongs together is to be alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array
from numpy_bert.errors import InputError
from numpy_bert.ops.losses import LossSteps, cross_entropy, mse_loss
from numpy_bert.ops.normalize import NormalizeSteps, normalize, normalize_backward
from numpy_bert.reprs import short_repr

__all__ = [
    "PairLossSteps",
    "cosent_loss",
    "cosine_similarity_loss",
    "multiple_negatives_ranking_loss",
]

# A shorter vector counts as this long: in torch.nn.functional.normalize, and in cosine_similarity.
_NORMALIZE_EPS, _COSINE_EPS = 1e-12, 1e-8


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PairLossSteps:
    """A loss: `output`, a number; and the gradients of both sides, of their shapes and dtypes."""

    __repr__ = short_repr

    first_gradient: Array
    second_gradient: Array
    output: float


class _Sides(NamedTuple):
    """Both sides of some pairs, scaled to length 1."""

    first: NormalizeSteps
    second: NormalizeSteps


def multiple_negatives_ranking_loss(
    anchors: Array,
    candidates: Array,
    *,
    scale: float = 20.0,
    num_items_in_batch: int | None = None,
) -> PairLossSteps:
    """Take the mean of the cross-entropy by which each anchor finds its own candidate among all.

    Parameters
    ----------
    anchors : ndarray of shape (B, E), float32 or float64
        The vectors that look for another; never modified.
    candidates : ndarray of shape (C, E)
        The vectors that are looked for: the first B are the anchors' own, in their order, the
        others hard negatives; never modified.
    scale : float
        What cosines are multiplied by before the softmax.
    num_items_in_batch : int, optional
        How many anchors the sum is divided by, where one step of the optimizer takes several
        batches; by default those that are here.

    Returns
    -------
    PairLossSteps
        The loss and the gradients of `anchors` and `candidates`, computed in float64.

    Raises
    ------
    InputError
        If there is no candidate for each anchor, or the two have other numbers of features.

    Notes
    -----
    With u and v the vectors of length 1, s_ij = scale u_i v_j and l = cross_entropy(s, label i for
    row i). With G its gradient of s, dl / du = scale G v and dl / dv = scale G^T u.

    References
    ----------
    .. [1] Henderson et al., "Efficient Natural Language Response Suggestion for Smart Reply",
       arXiv:1705.00652, section 4.4; sentence-transformers, MultipleNegativesRankingLoss.

    Examples
    --------
    >>> steps = multiple_negatives_ranking_loss(np.eye(2), np.eye(2), scale=1.0)
    >>> round(steps.output, 6), steps.first_gradient.round(6)
    (0.313262, array([[0.      , 0.134471],
           [0.134471, 0.      ]]))
    """
    fits = anchors.ndim == candidates.ndim == 2 and anchors.shape[1:] == candidates.shape[1:]
    if not fits or not 0 < len(anchors) <= len(candidates):
        raise InputError(
            "multiple_negatives_ranking_loss: there must be a candidate for each anchor, at least "
            f"one, of as many features; got shapes {candidates.shape} and {anchors.shape}."
        )
    ours, theirs = (normalize(each, eps=_NORMALIZE_EPS) for each in (anchors, candidates))
    found = cross_entropy(
        scale * (ours.output @ theirs.output.T),  # (B, C)
        np.arange(len(anchors)),
        num_items_in_batch=num_items_in_batch,
    )
    grad = scale * found.scores_gradient
    first = normalize_backward(grad @ theirs.output, ours)
    second = normalize_backward(grad.T @ ours.output, theirs)
    return PairLossSteps(
        first_gradient=first.astype(anchors.dtype, copy=False),
        second_gradient=second.astype(candidates.dtype, copy=False),
        output=found.output,
    )


def cosine_similarity_loss(
    first: Array, second: Array, scores: Array, *, num_items_in_batch: int | None = None
) -> PairLossSteps:
    """Take the mean of (cos(first, second) - score)^2.

    Parameters
    ----------
    first, second : ndarray of shape (B, E), float32 or float64
        The vectors of both sides; never modified.
    scores : ndarray of shape (B,)
        The cosine that each pair is to have, from -1 to 1.
    num_items_in_batch : int, optional
        How many pairs the sum is divided by, as in `multiple_negatives_ranking_loss`.

    Returns
    -------
    PairLossSteps
        The loss and the gradients of `first` and `second`, computed in float64.

    Raises
    ------
    InputError
        If the three do not fit each other.

    References
    ----------
    .. [1] Reimers and Gurevych, "Sentence-BERT", arXiv:1908.10084, section 3, the regression
       objective; sentence-transformers, CosineSimilarityLoss.

    Examples
    --------
    >>> steps = cosine_similarity_loss(np.eye(2)[:1], np.eye(2)[1:], np.array([1.0]))
    >>> steps.output, steps.first_gradient + 0.0
    (1.0, array([[ 0., -2.]]))
    """
    _check("cosine_similarity_loss", first, second, scores)
    cosines, sides = _cosines(first, second, _COSINE_EPS)
    found = mse_loss(cosines, scores, num_items_in_batch=num_items_in_batch)
    return _through_cosines(found, first, second, sides)


def cosent_loss(
    first: Array,
    second: Array,
    scores: Array,
    *,
    scale: float = 20.0,
    num_items_in_batch: int | None = None,
) -> PairLossSteps:
    """Take log(1 + sum(exp(scale (c_j - c_i)))) over the pairs i that have a higher score than j.

    Only the order of the scores counts: the cosine c of a pair with a higher one is to be higher.

    Parameters
    ----------
    first, second : ndarray of shape (B, E), float32 or float64
        The vectors of both sides; never modified.
    scores : ndarray of shape (B,)
        How alike each pair is.
    scale : float
        What cosines are multiplied by.
    num_items_in_batch : int, optional
        How many batches one step of the optimizer takes, by which the loss is divided; 1 by
        default, since the loss is one number for the batch and no mean.

    Returns
    -------
    PairLossSteps
        The loss and the gradients of `first` and `second`, computed in float64; both are 0 where
        all scores are equal.

    Raises
    ------
    InputError
        If the three do not fit each other.

    Notes
    -----
    With p_ij = exp(scale (c_j - c_i) - l), dl / dc_j is scale times the sum of p_ij over i, and
    dl / dc_i scale times minus that over j.

    References
    ----------
    .. [1] Huang et al., "CoSENT: Consistent Sentence Embedding via Similarity Ranking",
       doi:10.1109/TASLP.2024.3402087; sentence-transformers, CoSENTLoss.

    Examples
    --------
    >>> vectors = np.array([[1.0, 0.0], [1.0, 0.0]])
    >>> steps = cosent_loss(vectors, np.eye(2), np.array([0.0, 1.0]), scale=1.0)
    >>> round(steps.output, 6) == round(float(np.log(1 + np.e)), 6)
    True
    """
    _check("cosent_loss", first, second, scores)
    cosines, sides = _cosines(first, second, _NORMALIZE_EPS)
    batches = 1 if num_items_in_batch is None else num_items_in_batch
    scaled = scale * cosines
    apart = np.where(scores[:, np.newaxis] > scores, scaled - scaled[:, np.newaxis], -np.inf)
    most = max(0.0, float(apart.max()))
    loss = most + float(np.log(np.exp(-most) + np.exp(apart - most).sum()))
    share = np.exp(apart - loss)  # (B, B)
    gradient = (scale / batches) * (share.sum(axis=0) - share.sum(axis=1))
    found = LossSteps(scores_gradient=gradient, output=loss / batches)
    return _through_cosines(found, first, second, sides)


def _cosines(first: Array, second: Array, eps: float) -> tuple[npt.NDArray[np.float64], _Sides]:
    """Return the cosine of each pair, and both sides scaled to length 1."""
    sides = _Sides(normalize(first, eps=eps), normalize(second, eps=eps))
    return np.einsum("be,be->b", sides.first.output, sides.second.output), sides


def _through_cosines(found: LossSteps, first: Array, second: Array, sides: _Sides) -> PairLossSteps:
    """Go back from the gradient of the cosines to those of the vectors."""
    grad = found.scores_gradient[:, np.newaxis]
    back = normalize_backward(grad * sides.second.output, sides.first)
    forth = normalize_backward(grad * sides.first.output, sides.second)
    return PairLossSteps(
        first_gradient=back.astype(first.dtype, copy=False),
        second_gradient=forth.astype(second.dtype, copy=False),
        output=found.output,
    )


def _check(name: str, first: Array, second: Array, scores: Array) -> None:
    """Raise InputError unless there is a score for each of some pairs of vectors."""
    fits = first.ndim == 2 and first.shape == second.shape and scores.shape == first.shape[:1]
    if not fits or not len(first):
        raise InputError(
            f"{name}: there must be two vectors of as many features and a score for each pair, at "
            f"least one; got shapes {first.shape}, {second.shape} and {scores.shape}."
        )
