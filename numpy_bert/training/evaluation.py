"""How good a trained model is, on examples that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array
from numpy_bert.encoding.encoder import SentenceEncoder
from numpy_bert.encoding.pooling import normalize
from numpy_bert.errors import InputError
from numpy_bert.model.gradients import split_batch
from numpy_bert.model.masked_lm import BertForMaskedLM
from numpy_bert.model.pretraining import BertForPreTraining
from numpy_bert.model.sequences import BertForSequenceClassification
from numpy_bert.ops.losses import IGNORED, cross_entropy
from numpy_bert.training.data import LabelledTexts, TrainingData

__all__ = ["MaskedScores", "accuracy", "masked_scores", "sentence_correlation", "spearman"]

_LEAST_PAIRS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedScores:
    """How masked tokens were guessed.

    Attributes
    ----------
    loss : float
        The mean over all of them.
    accuracy : float
        The share whose best score is the right token's.
    most_frequent : float
        The share that is right if it is always the most frequent of them: what a model that reads
        nothing can reach.
    tokens : int
        How many were to be guessed.
    next_sentence : float or None
        Of a BertForPreTraining: the share of pairs of which it says rightly whether the second
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
        Without dropout.
    data : MaskedTexts, or for a BertForPreTraining SentencePairs
        The examples; what is masked is drawn from `seed`, so two models guess the same.
    batch_size : int
        Examples that are read together.
    seed : int
        Of the masks.

    Examples
    --------
    >>> from numpy_bert import BertForMaskedLM, BertTokenizer
    >>> from numpy_bert.training.data import MaskedTexts
    >>> data = MaskedTexts(["a cat", "the dog ran"], BertTokenizer.from_pretrained("demo"))
    >>> found = masked_scores(BertForMaskedLM.from_pretrained("demo"), data)
    >>> found.tokens > 0, found.accuracy <= 1.0
    (True, True)
    """
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
    right, rng = 0, np.random.default_rng(0)  # nothing is drawn from it
    for start in range(0, len(data), batch_size):
        batch = data.batch(np.arange(start, min(start + batch_size, len(data))), rng)
        inputs, wanted = split_batch(batch, ("labels",))
        right += int((model(**inputs).logits.argmax(axis=1) == wanted["labels"]).sum())
    return right / len(data)


def sentence_correlation(
    encoder: SentenceEncoder, pairs: Sequence[tuple[str, str]], scores: npt.ArrayLike
) -> float:
    """Return how well cosines follow people's scores of how alike two texts are.

    Parameters
    ----------
    encoder : SentenceEncoder
        Makes the vectors.
    pairs : sequence of (str, str)
        Texts.
    scores : array_like of shape (len(pairs),)
        Higher for what is more alike.

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
    first, second = (normalize(encoder.encode([pair[side] for pair in pairs])) for side in (0, 1))
    cosines = np.einsum("bh,bh->b", first, second)
    return spearman(cosines, scores) if np.ptp(cosines) else 0.0


def spearman(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Return Spearman's rank correlation; equal values share their mean rank.

    Raises
    ------
    InputError
        If they are not as many, at least two, and finite; or if all of one are equal.

    References
    ----------
    .. [1] scipy.stats.spearmanr.

    Examples
    --------
    >>> spearman([1.0, 2.0, 9.0], [10, 20, 30]), spearman([1, 2, 2], [3, 2, 2])
    (1.0, -1.0)
    """
    rows = [np.asarray(values, np.float64) for values in (a, b)]
    if rows[0].ndim != 1 or rows[0].shape != rows[1].shape or len(rows[0]) < _LEAST_PAIRS:
        raise InputError(
            f"spearman: shapes {rows[0].shape} and {rows[1].shape}; two rows of as many numbers, "
            "at least two, were expected."
        )
    if not all(np.isfinite(row).all() for row in rows):
        raise InputError("spearman: a number is not finite.")
    apart = [ranks - ranks.mean() for ranks in map(_ranks, rows)]
    lengths = [float(np.sqrt(np.square(row).sum())) for row in apart]
    if not all(lengths):
        raise InputError("spearman: all numbers of one row are equal, so they have no order.")
    return round(float((apart[0] * apart[1]).sum() / (lengths[0] * lengths[1])), 12)


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return each value's rank, from 1; equal ones share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    means: npt.NDArray[np.float64] = last - (counts - 1) / 2
    return means[inverse]
