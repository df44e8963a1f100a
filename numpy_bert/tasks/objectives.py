"""What each task's scores are worth against labels: the losses of transformers' heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, BoolArray, IntArray, as_array, as_ids, place
from numpy_bert.errors import InputError
from numpy_bert.ops.losses import (
    IGNORED,
    LossSteps,
    binary_cross_entropy_with_logits,
    cross_entropy,
    mse_loss,
)
from numpy_bert.reprs import short_repr
from numpy_bert.tasks.items import Items, items_of, problem_of, span_items

__all__ = [
    "Objective",
    "check_labels",
    "choice_objective",
    "label_objective",
    "next_sentence_objective",
    "places_that_count",
    "replaced_objective",
    "sequence_objective",
    "span_objective",
]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Objective:
    """A loss, and the gradient of each array of scores that it judges, in that array's shape."""

    __repr__ = short_repr

    loss: float
    score_gradients: tuple[Array, ...]

    def __add__(self, other: Objective) -> Objective:
        """Add two losses that judge different scores."""
        return Objective(
            loss=self.loss + other.loss,
            score_gradients=(*self.score_gradients, *other.score_gradients),
        )


def label_objective(
    scores: Array,
    labels: npt.ArrayLike,
    *,
    name: str = "labels",
    num_items_in_batch: int | None = None,
) -> Objective:
    """Judge the scores of words or of labels by one right label each; -100 does not count.

    Parameters
    ----------
    scores : ndarray of shape (..., K)
        The scores of tokens (B, T, K), or of sequences (B, K).
    labels : array_like of int, shape (...)
        The right labels, from 0 to K - 1, or -100.
    name : str
        What an error calls the labels.
    num_items_in_batch : int, optional
        What the sum is divided by; by default how many labels count here.

    Raises
    ------
    InputError
        If the labels have another shape or dtype, if one is out of range, or if none counts.

    References
    ----------
    .. [1] transformers, modeling_bert.py, BertForMaskedLM.forward, BertForTokenClassification.

    Examples
    --------
    >>> round(label_objective(np.zeros((1, 2, 4)), [[3, -100]]).loss, 6)
    1.386294
    """
    checked = check_labels(labels, scores.shape[:-1], scores.shape[-1], name=name)
    rows, items = scores.reshape(-1, scores.shape[-1]), num_items_in_batch
    flat = cross_entropy(rows, checked.ravel(), name=name, num_items_in_batch=items)
    return _of(flat, scores.shape)


def check_labels(
    labels: npt.ArrayLike, shape: tuple[int, ...], classes: int, *, name: str = "labels"
) -> IntArray:
    """Return labels of this shape, each from 0 to `classes` - 1, or -100, as int64.

    Raises
    ------
    InputError
        If one is neither; the first such and its place are named.

    Examples
    --------
    >>> check_labels([[1, 9]], (1, 2), 5)
    Traceback (most recent call last):
    numpy_bert.errors.InputError: labels[0, 1] must be from 0 to 4, or -100 for none; got 9.
    """
    found = as_ids(labels, name=name)
    if found.shape != shape:
        raise InputError(f"{name} must have shape {shape}; got {found.shape}.")
    wrong = np.argwhere((found != IGNORED) & ((found < 0) | (found >= classes)))
    if len(wrong):
        first = tuple(int(i) for i in wrong[0])
        raise InputError(
            f"{name}{place(first)} must be from 0 to {classes - 1}, or {IGNORED} for none; got "
            f"{found[first]}."
        )
    return found.astype(np.int64, copy=False)


def places_that_count(
    labels: npt.ArrayLike, shape: tuple[int, ...], classes: int
) -> tuple[IntArray, ...]:
    """Return where checked labels of tokens (B, T) are not -100, as an index.

    Examples
    --------
    >>> [axis.tolist() for axis in places_that_count([[-100, 7, -100]], (1, 3), 9)]
    [[0], [1]]
    """
    return np.nonzero(check_labels(labels, shape, classes) != IGNORED)


def next_sentence_objective(
    scores: Array, labels: npt.ArrayLike, *, name: str, num_items_in_batch: int | None = None
) -> Objective:
    """Judge the scores (B, 2) of next-sentence prediction: 0 where B follows A, 1 where not.

    Examples
    --------
    >>> round(next_sentence_objective(np.zeros((2, 2)), [0, 1], name="labels").loss, 6)
    0.693147
    """
    row, items = _row(as_array(labels, name)), num_items_in_batch
    return label_objective(scores, row, name=name, num_items_in_batch=items)


def choice_objective(
    scores: Array, labels: npt.ArrayLike, *, choices: int, num_items_in_batch: int | None = None
) -> Objective:
    """Judge the scores (B * C, 1) of C choices for each question by the right one's number (B,).

    Examples
    --------
    >>> round(choice_objective(np.zeros((6, 1)), [2, 0], choices=3).loss, 6)
    1.098612
    """
    rows = scores.reshape(-1, choices)
    found = label_objective(rows, labels, num_items_in_batch=num_items_in_batch)
    score_gradient = found.score_gradients[0].reshape(scores.shape)
    return Objective(loss=found.loss, score_gradients=(score_gradient,))


def sequence_objective(
    scores: Array,
    labels: npt.ArrayLike,
    *,
    problem_type: str | None,
    num_items_in_batch: int | None = None,
) -> Objective:
    """Judge the scores (B, K) of a classifier of sequences, as its config's problem_type says.

    Parameters
    ----------
    scores : ndarray of shape (B, K)
        The classifier's logits.
    labels : array_like
        Floats (B,) or (B, K) for a regression; int (B,) for one label of several; floats (B, K)
        from 0 to 1 where several can be right.
    problem_type : str, optional
        The problem_type of config.json. Without it, as in transformers: a regression where K is 1,
        one label of several where the labels are integers, else several that can be right.

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
    kind, items = problem_of(given, scores.shape[-1], problem_type), num_items_in_batch
    if kind == "single_label_classification":
        return label_objective(scores, _row(given), num_items_in_batch=items)
    wanted = _numbers(given, scores.shape, items)
    if kind == "regression":
        return _of(mse_loss(scores, wanted, num_items_in_batch=items), scores.shape)
    shares = _shares(wanted, "how far a label is right")
    found = binary_cross_entropy_with_logits(scores, shares, num_items_in_batch=items)
    return _of(found, scores.shape)


def replaced_objective(
    scores: Array,
    labels: npt.ArrayLike,
    mask: BoolArray | None,
    *,
    num_items_in_batch: int | None = None,
) -> Objective:
    """Judge the scores (B, T, 1) of whether another token had stood there; padding does not count.

    Parameters
    ----------
    scores : ndarray of shape (B, T, 1)
        The score of each token.
    labels : array_like, shape (B, T)
        1 where a token was put in place of another, 0 where it was not. At padding anything.
    mask : ndarray of shape (B, T), bool, or None
        True where there is a token; None where there is no padding.
    num_items_in_batch : int, optional
        What the sum is divided by; by default how many tokens there are.

    Raises
    ------
    InputError
        If the labels have another shape or dtype, if one is out of range, or if there is no token.

    References
    ----------
    .. [1] Clark, Luong, Le and Manning, "ELECTRA", arXiv:2003.10555, eq. 2.
    .. [2] transformers, modeling_electra.py, ElectraForPreTraining.forward.

    Examples
    --------
    >>> mask = np.array([[True, True, False]])
    >>> round(replaced_objective(np.zeros((1, 3, 1)), [[0, 1, 0]], mask).loss, 6)
    0.693147
    """
    given, flat = as_array(labels, "labels"), scores[..., 0]
    if given.shape != flat.shape:
        raise InputError(f"labels must have shape {flat.shape}; got {given.shape}.")
    read = given if mask is None else np.where(mask, given, np.zeros((), given.dtype))
    wanted = _shares(_numbers(read, flat.shape, num_items_in_batch), "whether a token was replaced")
    chosen = np.ones(flat.shape, bool) if mask is None else mask
    items = int(chosen.sum()) if num_items_in_batch is None else num_items_in_batch
    if not items:
        raise InputError(
            "labels: none counts (all tokens are padding), so there is no loss. Leave this batch "
            "out."
        )
    found = binary_cross_entropy_with_logits(flat[chosen], wanted[chosen], num_items_in_batch=items)
    gradient = np.zeros_like(scores)
    gradient[chosen, 0] = found.scores_gradient
    return Objective(loss=found.output, score_gradients=(gradient,))


def span_objective(
    scores: Array,
    start_positions: npt.ArrayLike,
    end_positions: npt.ArrayLike,
    *,
    num_items_in_batch: Items | None = None,
) -> Objective:
    """Judge the scores (B, T, 2) of where an answer starts and ends: the mean of both losses.

    Parameters
    ----------
    scores : ndarray of shape (B, T, 2)
        The scores of starts and of ends.
    start_positions, end_positions : array_like of int, shape (B,)
        The first and the last token. One beyond T, where an answer was cut off, does not count.
    num_items_in_batch : int or mapping, optional
        What each sum is divided by, as for `label_objective`; a mapping has the labels' names.

    Raises
    ------
    InputError
        If positions have another shape or dtype, if one is negative (transformers takes it for 0),
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
        given = as_ids(_row(as_array(positions, name)), name=name)
        if given.shape != scores.shape[:1]:
            raise InputError(f"{name} must have shape {scores.shape[:1]}; got {given.shape}.")
        if (given < 0).any():
            first = int(np.flatnonzero(given < 0)[0])
            raise InputError(
                f"{name}[{first}] must be a token's place, from 0; got {given[first]}."
            )
        within = span_items(given, length, name=name)
        items = within if num_items_in_batch is None else items_of(num_items_in_batch, name)
        if not items:
            raise InputError(
                f"{name}: no answer is within the {length} tokens, so there is no loss. Leave this "
                "batch out."
            )
        places = np.minimum(given, length).astype(np.int64)
        steps = cross_entropy(
            scores[..., number], places, ignore_index=length, name=name, num_items_in_batch=items
        )
        gradients[..., number] = steps.scores_gradient / 2
        total += steps.output / 2
    return Objective(loss=total, score_gradients=(gradients,))


def _row(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return labels (B, 1) as (B,), all others as they are."""
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _shares(labels: npt.NDArray[np.float64], what: str) -> npt.NDArray[np.float64]:
    """Return labels of which each is from 0 to 1."""
    wrong = np.argwhere((labels < 0) | (labels > 1))
    if len(wrong):
        first = tuple(int(i) for i in wrong[0])
        raise InputError(
            f"labels{place(first)} must be from 0 to 1, {what}; got {labels[first]:g}."
        )
    return labels


def _numbers(
    labels: npt.NDArray[Any], shape: tuple[int, ...], items: int | None
) -> npt.NDArray[np.float64]:
    """Return checked labels that are numbers, in the shape of the scores."""
    if labels.dtype.kind not in "fiu":
        raise InputError(f"labels must be numbers; got dtype {labels.dtype}.")
    if labels.shape != shape and (shape[-1] != 1 or labels.shape != shape[:1]):
        raise InputError(f"labels must have shape {shape}; got {labels.shape}.")
    found = labels.reshape(shape).astype(np.float64, copy=False)
    wrong = np.argwhere(~np.isfinite(found))
    if len(wrong):
        first = tuple(int(i) for i in wrong[0])
        raise InputError(f"labels{place(first)} must be a finite number; got {found[first]}.")
    if found.size and items == 0:
        raise InputError(
            "num_items_in_batch must be how many labels count in all batches of the step; got 0, "
            f"and {found.size} count here."
        )
    if not found.size and not items:
        raise InputError("labels must not be empty, which leaves no loss. Leave this batch out.")
    return found


def _of(steps: LossSteps, shape: tuple[int, ...]) -> Objective:
    return Objective(loss=steps.output, score_gradients=(steps.scores_gradient.reshape(shape),))
