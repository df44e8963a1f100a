"""What each task's scores are worth against labels: the losses of transformers' heads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, IntArray, as_array, as_ids
from numpy_bert.errors import InputError
from numpy_bert.ops.losses import (
    IGNORED,
    LossSteps,
    binary_cross_entropy_with_logits,
    cross_entropy,
    mse_loss,
)

__all__ = [
    "Objective",
    "choice_objective",
    "label_objective",
    "next_sentence_objective",
    "places_that_count",
    "sequence_objective",
    "span_objective",
]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Objective:
    """A loss, and the gradient of each array of scores that it was taken of, of its shape."""

    loss: float
    scores: tuple[Array, ...]

    def __add__(self, other: Objective) -> Objective:
        """Add two losses of scores of their own."""
        return Objective(loss=self.loss + other.loss, scores=(*self.scores, *other.scores))


def label_objective(scores: Array, labels: npt.ArrayLike, *, name: str = "labels") -> Objective:
    """Judge the scores of words or of labels, a label each; -100 does not count.

    Parameters
    ----------
    scores : ndarray of shape (..., K)
        Of tokens (B, T, K), or of sequences (B, K).
    labels : array_like of int, shape (...)
        From 0 to K - 1, or -100.
    name : str
        What an error calls them.

    Raises
    ------
    InputError
        If they have another shape or dtype, if one is out of range, or if none counts.

    References
    ----------
    .. [1] transformers, modeling_bert.py, BertForMaskedLM.forward, BertForTokenClassification.

    Examples
    --------
    >>> round(label_objective(np.zeros((1, 2, 4)), [[3, -100]]).loss, 6)
    1.386294
    """
    checked = _integers(labels, scores.shape[:-1], name)
    flat = cross_entropy(scores.reshape(-1, scores.shape[-1]), checked.ravel(), name=name)
    return _of(flat, scores.shape)


def places_that_count(labels: npt.ArrayLike, shape: tuple[int, ...]) -> tuple[IntArray, ...]:
    """Return where labels of tokens (B, T) are not -100, as an index.

    Examples
    --------
    >>> [axis.tolist() for axis in places_that_count([[-100, 7, -100]], (1, 3))]
    [[0], [1]]
    """
    return np.nonzero(_integers(labels, shape, "labels") != IGNORED)


def next_sentence_objective(scores: Array, labels: npt.ArrayLike, *, name: str) -> Objective:
    """Judge the scores (B, 2) of next-sentence prediction: 0 where B follows A, 1 where not.

    Examples
    --------
    >>> round(next_sentence_objective(np.zeros((2, 2)), [0, 1], name="labels").loss, 6)
    0.693147
    """
    given = as_array(labels, name)
    return label_objective(scores, given.reshape(-1) if given.ndim == 2 else given, name=name)


def choice_objective(scores: Array, labels: npt.ArrayLike) -> Objective:
    """Judge the scores (B * C, 1) of choices by the right one's number, labels (B,).

    Examples
    --------
    >>> round(choice_objective(np.zeros((6, 1)), [2, 0]).loss, 6)
    1.098612
    """
    questions = len(np.atleast_1d(as_array(labels, "labels")))
    if not questions or scores.size % questions:
        raise InputError(
            f"labels: {questions} came, for {scores.size} choices; one for each question was "
            "expected."
        )
    found = label_objective(scores.reshape(questions, -1), labels)
    return Objective(loss=found.loss, scores=(found.scores[0].reshape(scores.shape),))


def sequence_objective(
    scores: Array, labels: npt.ArrayLike, *, problem_type: str | None
) -> Objective:
    """Judge the scores (B, K) of a classifier of sequences, as its config's problem_type says.

    Parameters
    ----------
    scores : ndarray of shape (B, K)
        Its logits.
    labels : array_like
        For a regression floats (B,) or (B, K); for one label of several int (B,); where several
        can be right floats (B, K) from 0 to 1.
    problem_type : str, optional
        Of config.json. Without it, as in transformers: a regression where K is 1, one label of
        several where the labels are integers, else several that can be right.

    Raises
    ------
    InputError
        If the labels have another shape or dtype, or one is out of range.

    References
    ----------
    .. [1] transformers, modeling_bert.py, BertForSequenceClassification.forward.

    Examples
    --------
    >>> sequence_objective(np.array([[1.0], [4.0]]), [1.0, 2.0], problem_type=None).loss
    2.0
    """
    given = as_array(labels, "labels")
    if problem_type is None:
        several = "multi_label_classification"
        is_one = given.dtype.kind in "iu"
        problem_type = "single_label_classification" if is_one else several
        problem_type = "regression" if scores.shape[-1] == 1 else problem_type
    if problem_type == "single_label_classification":
        return label_objective(scores, given.reshape(-1) if given.ndim == 2 else given)
    shapes = [scores.shape] + [scores.shape[:1]] * (scores.shape[-1] == 1)
    if given.shape not in shapes or given.dtype.kind not in "fiu" or not given.size:
        raise InputError(
            f"labels: {given.dtype} of shape {given.shape}; numbers of shape {scores.shape} were "
            f"expected ({problem_type})."
        )
    wanted = given.reshape(scores.shape).astype(np.float64, copy=False)
    if problem_type == "regression":
        return _of(mse_loss(scores, wanted), scores.shape)
    if (wanted < 0).any() or (wanted > 1).any():
        raise InputError("labels: each is how far a label is right, from 0 to 1.")
    return _of(binary_cross_entropy_with_logits(scores, wanted), scores.shape)


def span_objective(
    scores: Array, start_positions: npt.ArrayLike, end_positions: npt.ArrayLike
) -> Objective:
    """Judge the scores (B, T, 2) of where an answer starts and ends: the mean of both losses.

    Parameters
    ----------
    scores : ndarray of shape (B, T, 2)
        Of starts and of ends.
    start_positions, end_positions : array_like of int, shape (B,)
        The tokens. One that is beyond T, as where the answer was cut off, does not count.

    Raises
    ------
    InputError
        If they have another shape or dtype, if one is negative, which transformers takes for 0,
        or if none counts.

    References
    ----------
    .. [1] transformers, modeling_bert.py, BertForQuestionAnswering.forward.

    Examples
    --------
    >>> round(span_objective(np.zeros((1, 5, 2)), [1], [2]).loss, 6)
    1.609438
    """
    length = scores.shape[1]
    gradients, total = np.zeros_like(scores), 0.0
    pairs = (("start_positions", start_positions), ("end_positions", end_positions))
    for number, (name, positions) in enumerate(pairs):
        given = as_array(positions, name)
        checked = _integers(given.reshape(-1) if given.ndim == 2 else given, scores.shape[:1], name)
        places = np.minimum(checked, length)
        steps = cross_entropy(scores[..., number], places, ignore_index=length, name=name)
        gradients[..., number] = steps.scores_gradient / 2
        total += steps.output / 2
    return Objective(loss=total, scores=(gradients,))


def _integers(labels: npt.ArrayLike, shape: tuple[int, ...], name: str) -> IntArray:
    """Return checked labels of this shape, signed."""
    found = as_ids(labels, name=name).astype(np.int64, copy=False)
    if found.shape != shape:
        raise InputError(f"{name}: has shape {found.shape}; {shape} was expected.")
    return found


def _of(steps: LossSteps, shape: tuple[int, ...]) -> Objective:
    return Objective(loss=steps.output, scores=(steps.scores_gradient.reshape(shape),))
