"""How good a trained model is, on examples that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from numpy_bert.arguments import as_count
from numpy_bert.arrays import Array, IntArray, as_array
from numpy_bert.encoding.pooling import normalize
from numpy_bert.encoding.sentence_encoder import SentenceEncoder
from numpy_bert.errors import InputError
from numpy_bert.model.gradients import split_batch
from numpy_bert.model.task_models import (
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
)
from numpy_bert.ops.losses import IGNORED, cross_entropy
from numpy_bert.tasks.objectives import check_labels
from numpy_bert.text.inputs import as_items
from numpy_bert.training.correlation import pearson, spearman
from numpy_bert.training.data import LabelledTexts, TrainingData

__all__ = [
    "MaskedScores",
    "RegressionScores",
    "accuracy",
    "masked_scores",
    "regression_scores",
    "sentence_correlation",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedScores:
    """How masked tokens were guessed.

    Attributes
    ----------
    loss : float
        The mean loss of the masked tokens.
    accuracy : float
        The share of them whose best score is the right token's.
    most_frequent : float
        The share that is right if the most frequent of them is always guessed: what a model that
        reads nothing can reach.
    tokens : int
        How many tokens were to be guessed.
    next_sentence : float or None
        For a BertForPreTraining, the share of pairs of which it says rightly whether the second
        text follows.
    """

    loss: float
    accuracy: float
    most_frequent: float
    tokens: int
    next_sentence: float | None = None


def masked_scores(
    model: BertForMaskedLM | BertForPreTraining,
    data: TrainingData,
    *,
    batch_size: int = 32,
    seed: int = 0,
) -> MaskedScores:
    """Judge a model by masked tokens, each example once.

    Parameters
    ----------
    model : BertForMaskedLM or BertForPreTraining
        The model, which is run without dropout.
    data : MaskedTexts, or for a BertForPreTraining SentencePairs
        The examples; what is masked is drawn from `seed`, so two models guess the same.
    batch_size : int
        How many examples are read together.
    seed : int
        The seed of the masks.

    Examples
    --------
    >>> from numpy_bert import BertForMaskedLM, BertTokenizer
    >>> from numpy_bert.training.data import MaskedTexts
    >>> data = MaskedTexts(["a cat", "the dog ran"], BertTokenizer.from_pretrained("demo"))
    >>> found = masked_scores(BertForMaskedLM.from_pretrained("demo"), data)
    >>> found.tokens > 0, found.accuracy <= 1.0
    (True, True)
    """
    batch_size = as_count("batch_size", batch_size)
    labels, right, loss, follows = list[Array](), 0, 0.0, list[bool]()
    for start in range(0, len(data), batch_size):
        rng = np.random.default_rng([seed, start])
        batch = data.batch(np.arange(start, min(start + batch_size, len(data))), rng)
        scores = model.at_labels(batch).scores
        wanted = batch["labels"][batch["labels"] != IGNORED]
        loss += cross_entropy(scores[0], wanted).output * len(wanted)
        right += int((scores[0].argmax(axis=-1) == wanted).sum())
        labels.append(wanted)
        if "next_sentence_label" in batch:
            follows += (scores[1].argmax(axis=-1) == batch["next_sentence_label"]).tolist()
    every = np.concatenate(labels)
    return MaskedScores(
        loss=loss / len(every),
        accuracy=right / len(every),
        most_frequent=float(np.bincount(every).max() / len(every)),
        tokens=len(every),
        next_sentence=float(np.mean(follows)) if follows else None,
    )


def accuracy(
    model: BertForSequenceClassification, data: LabelledTexts, *, batch_size: int = 32
) -> float:
    """Return the share of texts whose label has the best score.

    Parameters
    ----------
    model : BertForSequenceClassification
        The model, whose labels are classes, one of which is right.
    data : LabelledTexts
        The texts; those with the label -100 are left out.
    batch_size : int
        How many texts are read together.

    Raises
    ------
    InputError
        If a label is no class of the model, or none counts; or if the model is a regression, or
        several of its labels can be right.

    Examples
    --------
    >>> from pathlib import Path
    >>> from numpy_bert import BertModel, BertTokenizer
    >>> from numpy_bert.training import LabelledTexts, new_classifier
    >>> model = new_classifier(BertModel.from_pretrained("demo"), ["bad", "good"], Path("demo"))
    >>> data = LabelledTexts(["good", "good"], [0, 1], BertTokenizer.from_pretrained("demo"))
    >>> accuracy(model, data)
    0.5
    """
    problem, classes = model.config.problem_type, model.config.num_labels
    if problem not in (None, "single_label_classification") or classes == 1:
        raise InputError(
            "accuracy: the model must choose one right class of several; its problem_type is "
            f"{problem or 'regression'}. regression_scores judges a regression."
        )
    _check_labelled(data, "accuracy")
    labels = check_labels(data.labels, (len(data),), classes)
    counts = np.flatnonzero(labels != IGNORED)
    if not len(counts):
        raise InputError(
            f"labels: none counts (all are {IGNORED}); give some texts the number of their class."
        )
    logits = _logits(model, data, counts, batch_size)
    return float((logits.argmax(axis=1) == labels[counts]).mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionScores:
    """How near a regression's numbers are to those that were wanted.

    Attributes
    ----------
    mse : float
        The mean of the squares of the differences, which the model learns to make small.
    pearson, spearman : float or None
        How well the numbers follow those that were wanted, and their ranks; None where all of
        either are equal, or there is only one.
    """

    mse: float
    pearson: float | None
    spearman: float | None


def regression_scores(
    model: BertForSequenceClassification, data: LabelledTexts, *, batch_size: int = 32
) -> RegressionScores:
    """Judge a regression by its mean squared error and, as for STS-B, by two correlations.

    Parameters
    ----------
    model : BertForSequenceClassification
        The model, which has one label.
    data : LabelledTexts
        The texts, with floats as labels.
    batch_size : int
        How many texts are read together.

    Raises
    ------
    InputError
        If the model or the labels are no regression's.

    References
    ----------
    .. [1] transformers, examples/pytorch/text-classification/run_glue.py.

    Examples
    --------
    >>> from pathlib import Path
    >>> from numpy_bert import BertModel, BertTokenizer
    >>> from numpy_bert.training import LabelledTexts, new_classifier
    >>> model = new_classifier(BertModel.from_pretrained("demo"), ["how good"], Path("demo"))
    >>> data = LabelledTexts(["good", "bad"], [0.5, 0.0], BertTokenizer.from_pretrained("demo"))
    >>> regression_scores(model, data).mse >= 0.0
    True
    """
    _check_labelled(data, "regression_scores")
    data.check(model)
    if data.labels.dtype.kind != "f":
        raise InputError("regression_scores: the model's labels are classes; accuracy judges them.")
    said = _logits(model, data, np.arange(len(data)), batch_size)[:, 0].astype(np.float64)
    wanted = data.labels
    has_order = len(wanted) > 1 and np.ptp(said) > 0 and np.ptp(wanted) > 0
    return RegressionScores(
        mse=float(np.square(said - wanted).mean()),
        pearson=pearson(said, wanted) if has_order else None,
        spearman=spearman(said, wanted) if has_order else None,
    )


def _logits(
    model: BertForSequenceClassification, data: LabelledTexts, numbers: IntArray, batch_size: int
) -> Array:
    """Return the logits (N, K) of the examples of these numbers."""
    batch_size = as_count("batch_size", batch_size)
    found, rng = list[Array](), np.random.default_rng(0)  # nothing is drawn from it
    for start in range(0, len(numbers), batch_size):
        batch = data.batch(numbers[start : start + batch_size], rng)
        inputs, _ = split_batch(batch, ("labels",))
        found.append(model(**inputs).logits)
    return np.concatenate(found)


def _check_labelled(data: object, judge: str) -> None:
    if not isinstance(getattr(data, "labels", None), np.ndarray):
        raise InputError(f"{judge}: data must be LabelledTexts; got {type(data).__name__}.")


def sentence_correlation(
    encoder: SentenceEncoder, pairs: Sequence[tuple[str, str]], scores: npt.ArrayLike
) -> float:
    """Return how well cosines follow people's scores of how alike two texts are.

    Parameters
    ----------
    encoder : SentenceEncoder
        The encoder, which makes the vectors.
    pairs : sequence of (str, str)
        The pairs of texts.
    scores : array_like of shape (len(pairs),)
        The scores of people, higher for what is more alike.

    Returns
    -------
    float
        Spearman's rank correlation, from -1 to 1; 0 where all cosines are equal.

    References
    ----------
    .. [1] sentence-transformers, EmbeddingSimilarityEvaluator, spearman_cosine.

    Examples
    --------
    >>> from numpy_bert import SentenceEncoder
    >>> pairs = [("a cat", "a cat"), ("a cat", "the sun is up")]
    >>> sentence_correlation(SentenceEncoder.from_pretrained("demo"), pairs, [5.0, 0.0])
    1.0
    """
    _, checked = as_items(pairs, None, ("pairs", "pairs"))
    wanted = as_array(scores, "scores")
    if not checked or any(isinstance(pair, str) for pair in checked):
        raise InputError("pairs must be at least two pairs of texts.")
    if wanted.shape != (len(checked),) or wanted.dtype.kind not in "fiu":
        raise InputError(
            f"scores must be a number for each of {len(checked)} pairs; got {wanted.dtype} of "
            f"shape {wanted.shape}."
        )
    if not np.isfinite(wanted).all():
        first_wrong = int(np.flatnonzero(~np.isfinite(wanted))[0])
        raise InputError(
            f"scores[{first_wrong}] must be a finite number; got {wanted[first_wrong]}."
        )
    first, second = (normalize(encoder.encode([pair[side] for pair in checked])) for side in (0, 1))
    cosines = np.einsum("bh,bh->b", first, second)
    return spearman(cosines, scores) if np.ptp(cosines) else 0.0
