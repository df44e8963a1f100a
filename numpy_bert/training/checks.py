"""Whether examples fit the model that is to learn them: asked before its first step."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, as_array
from numpy_bert.errors import InputError
from numpy_bert.model.task_models import BertForNextSentencePrediction
from numpy_bert.ops.losses import IGNORED
from numpy_bert.tasks.objectives import check_labels
from numpy_bert.training.student import SentenceStudent

__all__ = [
    "as_labels",
    "check_fits",
    "check_model",
    "check_targets",
    "check_tokens",
    "check_vectors",
]


def check_fits(data: object, model: Any) -> None:
    """Hold examples to the model that is to learn them, before its first step.

    Data of one's own may have such a `check`, which is called with the model; it raises InputError
    where a batch would not fit.

    Examples
    --------
    >>> from numpy_bert import BertForMaskedLM, BertTokenizer
    >>> from numpy_bert.training import LabelledTexts
    >>> data = LabelledTexts(["good"], [0], BertTokenizer.from_pretrained("demo"))
    >>> check_fits(data, BertForMaskedLM.from_pretrained("demo"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    numpy_bert.errors.InputError: data: LabelledTexts are for a BertForSequenceClassification or ...
    """
    check = getattr(data, "check", None)
    if check is not None:
        check(model)


def check_model(data: object, model: Any, *kinds: type[Any]) -> None:
    """Raise InputError unless a model is of one of the kinds that the data are for."""
    if not isinstance(model, kinds):
        names = " or ".join(f"a {kind.__name__}" for kind in kinds)
        raise InputError(
            f"data: {type(data).__name__} are for {names}; the model is a {type(model).__name__}."
        )


def check_tokens(model: Any, *, ids: int, types: int, length: int) -> None:
    """Hold the largest token id, the largest token type and the longest text to a model's tables.

    Raises
    ------
    InputError
        Naming the table.
    """
    config = model.config
    for what, value, table in (
        (f"has the token id {ids}", ids, "vocab_size"),
        (f"has the token type {types}", types, "type_vocab_size"),
        (f"has a text of {length} tokens", length - 1, "max_position_embeddings"),
    ):
        if value >= getattr(config, table):
            raise InputError(
                f"data: {what}; the model's {table} is {getattr(config, table)}. "
                + (
                    "Give a max_length that it can read."
                    if table == "max_position_embeddings"
                    else "Is the tokenizer from another checkpoint?"
                )
            )


def as_labels(labels: npt.ArrayLike, texts: int) -> npt.NDArray[Any]:
    """Return a label for each of some texts, as int64 or as finite float64.

    Examples
    --------
    >>> as_labels([0.5, 1], 2)
    array([0.5, 1. ])
    """
    given = as_array(labels, "labels")
    if given.shape != (texts,):
        several = "; several labels a text are not trained here" if given.ndim > 1 else ""
        raise InputError(
            f"data: {texts} texts and labels of shape {given.shape}; one each was expected"
            f"{several}."
        )
    if given.dtype.kind in "iu":
        return given.astype(np.int64)
    if given.dtype.kind != "f":
        raise InputError(
            f"labels: dtype {given.dtype}; integers, the numbers of classes, or floats were "
            "expected."
        )
    wrong = np.flatnonzero(~np.isfinite(given))
    if len(wrong):
        raise InputError(f"labels[{wrong[0]}] = {given[wrong[0]]}; a finite number was expected.")
    return given.astype(np.float64)


def check_targets(labels: npt.NDArray[Any], model: Any) -> None:
    """Hold a label each to the classifier, or the judge of next sentences, that is to learn them.

    Raises
    ------
    InputError
        If they are floats for classes or integers for a regression, or one is no class.
    """
    config = model.config
    is_next = isinstance(model, BertForNextSentencePrediction)
    classes = 2 if is_next else config.num_labels
    problem = None if is_next else config.problem_type
    if problem == "multi_label_classification":
        raise InputError(
            "data: a label each; the model's problem_type is multi_label_classification, for "
            "which LabelledTexts are not."
        )
    if problem == "regression" or (problem is None and classes == 1):
        _check_numbers(labels, classes, model.dtype)
    elif labels.dtype.kind == "f":
        raise InputError(
            f"labels: dtype {labels.dtype}; the model has {classes} classes, whose numbers, "
            "integers, were expected. Floats are for a regression (num_labels = 1)."
        )
    elif (labels == IGNORED).any():
        first = int(np.flatnonzero(labels == IGNORED)[0])
        raise InputError(
            f"labels[{first}] = {IGNORED}, which is no label; leave the text out, since nothing is "
            "learned from it."
        )
    else:
        check_labels(labels, labels.shape, classes)


def check_vectors(vectors: Array, model: SentenceStudent) -> None:
    """Hold a teacher's vectors to the student that is to follow them.

    Raises
    ------
    InputError
        If they have another number of features, or one does not fit into the student's dtype.
    """
    features = len(model.head.projection.weight)
    if vectors.shape[1] != features:
        raise InputError(
            f"data: the teacher's vectors have {vectors.shape[1]} features, the student's map "
            f"makes {features}; make a student for as many."
        )
    over = np.flatnonzero((np.abs(vectors) > np.finfo(model.dtype).max).any(axis=1))
    if len(over):
        raise InputError(f"data: the vector of text {over[0] + 1} does not fit into {model.dtype}.")


def _check_numbers(labels: npt.NDArray[Any], outputs: int, dtype: np.dtype[Any]) -> None:
    """Hold the labels of a regression to floats that the model's dtype has room for."""
    if outputs != 1:
        raise InputError(f"data: a number each; the model is a regression of {outputs} of them.")
    if labels.dtype.kind != "f":
        raise InputError(
            "labels: are integers, which are classes; the model is a regression (num_labels = 1). "
            "Give floats, or a model with a label for each class."
        )
    wrong = np.flatnonzero(np.abs(labels) > np.finfo(dtype).max)
    if len(wrong):
        raise InputError(f"labels[{wrong[0]}] = {labels[wrong[0]]:g} does not fit into {dtype}.")
