"""Losses by which vectors follow a teacher's: where they point, and how they lie to each other."""

from __future__ import annotations

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.errors import InputError
from numpy_bert.ops.losses import LossSteps
from numpy_bert.ops.normalize import normalize, normalize_backward

__all__ = ["cosine_embedding_loss", "similarity_preserving_loss"]

# As in torch.nn.functional.cosine_similarity.
_EPS = 1e-8


def cosine_embedding_loss(
    vectors: Array, wanted: Array, *, num_items_in_batch: int | None = None
) -> LossSteps:
    """Take the mean of 1 - cos(vector, wanted).

    Parameters
    ----------
    vectors, wanted : ndarray of shape (B, E), float32 or float64
        The vectors, and the teacher's; never modified.
    num_items_in_batch : int, optional
        How many vectors the sum is divided by, where one step of the optimizer takes several
        batches; by default those that are here.

    Returns
    -------
    LossSteps
        The loss, computed in float64; `scores_gradient` is the gradient of `vectors`.

    Raises
    ------
    InputError
        If the two are not of one shape (B, E), or there are no vectors.

    Notes
    -----
    With u = v / |v| and t the wanted direction, cos = u t and d cos / dv = (t - (u t) u) / |v|: the
    part of t that is across v, since along v nothing turns.

    References
    ----------
    .. [1] torch.nn.functional.cosine_embedding_loss, with target 1.

    Examples
    --------
    >>> steps = cosine_embedding_loss(np.array([[2.0, 0.0]]), np.array([[0.0, 1.0]]))
    >>> steps.output, steps.scores_gradient
    (1.0, array([[-0. , -0.5]]))
    """
    _check("cosine_embedding_loss", vectors, wanted)
    ours, theirs = (normalize(each, eps=_EPS) for each in (vectors, wanted))
    likeness = np.einsum("be,be->b", ours.output, theirs.output)
    items = len(vectors) if num_items_in_batch is None else num_items_in_batch
    gradient = normalize_backward(theirs.output / -items, ours)
    return LossSteps(
        scores_gradient=gradient.astype(vectors.dtype, copy=False),
        output=len(vectors) / items - float(likeness.sum()) / items,
    )


def similarity_preserving_loss(
    vectors: Array, wanted: Array, *, num_items_in_batch: int | None = None
) -> LossSteps:
    """Take the mean of (cos(v_i, v_j) - cos(t_i, t_j))^2 over all pairs of a batch.

    The vectors need not have the teacher's number of features: only how like each other they are
    is compared.

    Parameters
    ----------
    vectors : ndarray of shape (B, H), float32 or float64
        The vectors; never modified.
    wanted : ndarray of shape (B, E)
        The teacher's vectors.
    num_items_in_batch : int, optional
        How many pairs the sum is divided by, where one step of the optimizer takes several batches:
        the B^2 of each, added up. By default those that are here.

    Returns
    -------
    LossSteps
        The loss, computed in float64; `scores_gradient` is the gradient of `vectors`.

    Raises
    ------
    InputError
        If there are not as many of the teacher's, or there are none.

    Notes
    -----
    With u_i = v_i / |v_i| and D = U U^T - T T^T, which is symmetric, l = sum_ij D_ij^2 / B^2; D_ij
    holds u_i once in its row and once in its column, so dl / dU = 4 D U / B^2.

    References
    ----------
    .. [1] Tung and Mori, "Similarity-Preserving Knowledge Distillation", arXiv:1907.09682, eq. 4,
       of vectors of length 1.

    Examples
    --------
    >>> steps = similarity_preserving_loss(np.eye(2), np.array([[1.0], [1.0]]))
    >>> steps.output, steps.scores_gradient
    (0.5, array([[ 0., -1.],
           [-1.,  0.]]))
    """
    _check("similarity_preserving_loss", vectors, wanted, of_one_shape=False)
    ours, theirs = (normalize(each, eps=_EPS) for each in (vectors, wanted))
    apart = ours.output @ ours.output.T - theirs.output @ theirs.output.T  # (B, B)
    items = apart.size if num_items_in_batch is None else num_items_in_batch
    gradient = normalize_backward((4.0 / items) * (apart @ ours.output), ours)
    return LossSteps(
        scores_gradient=gradient.astype(vectors.dtype, copy=False),
        output=float(np.square(apart).sum()) / items,
    )


def _check(name: str, vectors: Array, wanted: Array, *, of_one_shape: bool = True) -> None:
    """Raise InputError unless both are (B, E)."""
    fits = vectors.ndim == wanted.ndim == 2 and len(vectors) == len(wanted)
    if not fits or not len(vectors) or (of_one_shape and vectors.shape != wanted.shape):
        raise InputError(
            f"{name}: there must be a teacher's vector for each vector, at least one"
            f"{', of as many features' if of_one_shape else ''}; got shapes {wanted.shape} and "
            f"{vectors.shape}."
        )
