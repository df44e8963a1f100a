"""Losses that a SentenceEncoder is trained by, with the names of sentence-transformers."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np

from numpy_bert.arguments import is_number
from numpy_bert.arrays import Array
from numpy_bert.encoding.sentence_encoder import SentenceEncoder
from numpy_bert.errors import InputError
from numpy_bert.foreign import Accepted, check_accepted
from numpy_bert.messages import must_be, quoted, shown
from numpy_bert.ops.pairs import (
    cosent_loss,
    cosine_similarity_loss,
    multiple_negatives_ranking_loss,
)
from numpy_bert.reprs import short_repr

__all__ = [
    "CoSENTLoss",
    "CosineSimilarityLoss",
    "MultipleNegativesRankingLoss",
    "PairLoss",
    "VectorGradients",
]


# Arguments of sentence-transformers that change nothing, by the loss.
_COSINES = "Cosines are what is computed here."
_RANKING: Mapping[str, Accepted] = MappingProxyType(
    {
        "similarity_fct": Accepted((None, "cos_sim", "similarity"), _COSINES),
        "gather_across_devices": Accepted((False,), "There is one device."),
        "directions": Accepted(
            (("query_to_doc",), ["query_to_doc"]), "Each anchor looks for its positive."
        ),
        # With one direction both are the same.
        "partition_mode": Accepted(
            ("joint", "per_direction"), "With one direction there is one softmax."
        ),
        "hardness_mode": Accepted((None,), "All negatives count alike."),
    }
)
_COSINE: Mapping[str, Accepted] = MappingProxyType(
    {
        "loss_fct": Accepted((None, "MSELoss"), "The squared error is what is computed here."),
        "cos_score_transformation": Accepted((None, "Identity"), "Cosines are taken as they are."),
    }
)
_COSENT: Mapping[str, Accepted] = MappingProxyType(
    {"similarity_fct": Accepted((None, "pairwise_cos_sim", "similarity_pairwise"), _COSINES)}
)


class VectorGradients(NamedTuple):
    """A loss, and the gradients of the vectors of each column."""

    loss: float
    columns: list[Array]

    def __repr__(self) -> str:
        return short_repr(self)


class PairLoss(ABC):
    """A loss of the vectors of two columns of texts, or of more.

    Attributes
    ----------
    model : SentenceEncoder
        The model that it was made with. A trainer trains its own, whatever stands here.
    needs_scores : bool
        Whether each pair has a number that says how alike its texts are.
    """

    needs_scores: ClassVar[bool] = True

    def __init__(self, model: SentenceEncoder) -> None:
        if not isinstance(model, SentenceEncoder):
            raise InputError(
                f"{type(self).__name__}: model must be a SentenceEncoder; got "
                f"{type(model).__name__}."
            )
        self.model = model

    @property
    def identity(self) -> dict[str, Any]:
        """What the loss depends on beside the vectors."""
        return {"loss": type(self).__name__}

    @abstractmethod
    def gradients(
        self, vectors: Sequence[Array], scores: Array | None, num_items_in_batch: int | None = None
    ) -> VectorGradients:
        """Return the loss of a batch and the gradients of its vectors.

        Parameters
        ----------
        vectors : sequence of ndarray of shape (B, E)
            The vectors of each column, in the order of the columns.
        scores : ndarray of shape (B,), or None
            The number of each pair, if the loss needs one.
        num_items_in_batch : int, optional
            The sum of what `items` returns for the batches of a step of the optimizer; by default
            that of this batch.
        """

    def items(self, rows: int) -> int:
        """Return what a batch of so many rows counts for in a step of several batches."""
        return rows

    def least_rows(self, columns: int) -> int:
        """Return how many rows a batch of so many columns must have for anything to be learnt."""
        del columns
        return 1

    def check(self, columns: Sequence[str], scores: Array | None, where: str) -> None:
        """Raise InputError unless data of these columns fit the loss.

        Parameters
        ----------
        columns : sequence of str
            The names of the columns of texts.
        scores : ndarray, or None
            The column of numbers.
        where : str
            What an error calls the data.
        """
        name = type(self).__name__
        if len(columns) != 2:
            raise InputError(
                f"{where}: {name} takes two columns of texts; got {len(columns)} "
                f"({quoted(', '.join(columns)) or 'none'})."
            )
        if scores is None:
            raise InputError(
                f"{where}: {name} needs a column of numbers that say how alike the texts of "
                "a pair are, called label, labels, score or scores; there is none. "
                "MultipleNegativesRankingLoss needs none."
            )


class MultipleNegativesRankingLoss(PairLoss):
    """In-batch negatives: each anchor is to find its own positive among all of the batch.

    Parameters
    ----------
    model : SentenceEncoder
        The model.
    scale : float
        What cosines are multiplied by before the softmax, above 0; the inverse of a temperature.
    similarity_fct, gather_across_devices, directions, partition_mode, hardness_mode
        Arguments of sentence-transformers, of which its defaults are what is computed here.
    hardness_strength : float
        It counts for nothing without a hardness_mode, there and here.

    Notes
    -----
    The columns are anchors and positives, and any number of columns of hard negatives, which are
    candidates of every anchor. The loss is `numpy_bert.ops.pairs.multiple_negatives_ranking_loss`.

    References
    ----------
    .. [1] sentence-transformers, MultipleNegativesRankingLoss.

    Examples
    --------
    >>> from numpy_bert import SentenceEncoder
    >>> loss = MultipleNegativesRankingLoss(SentenceEncoder.from_pretrained("demo"), scale=1.0)
    >>> round(loss.gradients([np.eye(2), np.eye(2)], None).loss, 6)
    0.313262
    """

    needs_scores = False

    def __init__(
        self,
        model: SentenceEncoder,
        scale: float = 20.0,
        similarity_fct: object = None,
        gather_across_devices: bool = False,
        directions: Sequence[str] = ("query_to_doc",),
        partition_mode: str = "joint",
        hardness_mode: str | None = None,
        hardness_strength: float = 0.0,
    ) -> None:
        super().__init__(model)
        del hardness_strength
        name = type(self).__name__
        self.scale = _scale(name, scale)
        asked = {
            "similarity_fct": similarity_fct,
            "gather_across_devices": gather_across_devices,
            "directions": directions,
            "partition_mode": partition_mode,
            "hardness_mode": hardness_mode,
        }
        check_accepted(name, asked, _RANKING)

    @property
    def identity(self) -> dict[str, Any]:
        """What the loss depends on beside the vectors."""
        return {**super().identity, "scale": self.scale}

    def gradients(
        self, vectors: Sequence[Array], scores: Array | None, num_items_in_batch: int | None = None
    ) -> VectorGradients:
        """Return the loss of a batch and the gradients of its vectors; scores are not read."""
        del scores
        anchors, *others = vectors
        found = multiple_negatives_ranking_loss(
            anchors,
            np.concatenate(others),
            scale=self.scale,
            num_items_in_batch=num_items_in_batch,
        )
        return VectorGradients(
            found.output, [found.first_gradient, *np.split(found.second_gradient, len(others))]
        )

    def check(self, columns: Sequence[str], scores: Array | None, where: str) -> None:
        """Raise InputError unless there are anchors and positives."""
        if scores is not None:
            warnings.warn(
                f"{where}: MultipleNegativesRankingLoss does not read the column of numbers: "
                "every row counts as texts that belong together.",
                stacklevel=2,
            )
        if len(columns) < 2:
            raise InputError(
                f"{where}: MultipleNegativesRankingLoss needs a column of anchors and one of "
                f"positives; got {len(columns)} ({quoted(', '.join(columns)) or 'none'})."
            )

    def least_rows(self, columns: int) -> int:
        """Return 2 where there are no hard negatives: an anchor needs another's positive."""
        return 2 if columns == 2 else 1


class CosineSimilarityLoss(PairLoss):
    """The mean of (cosine - score)^2 over scored pairs.

    Parameters
    ----------
    model : SentenceEncoder
        The model.
    loss_fct, cos_score_transformation
        Arguments of sentence-transformers: torch's modules MSELoss and Identity, its defaults, or
        None for the same.

    References
    ----------
    .. [1] sentence-transformers, CosineSimilarityLoss.

    Examples
    --------
    >>> from numpy_bert import SentenceEncoder
    >>> loss = CosineSimilarityLoss(SentenceEncoder.from_pretrained("demo"))
    >>> loss.gradients([np.eye(2), np.eye(2)], np.array([1.0, 0.0])).loss
    0.5
    """

    def __init__(
        self,
        model: SentenceEncoder,
        loss_fct: object = None,
        cos_score_transformation: object = None,
    ) -> None:
        super().__init__(model)
        asked = {"loss_fct": loss_fct, "cos_score_transformation": cos_score_transformation}
        check_accepted(type(self).__name__, asked, _COSINE)
        reduction = getattr(loss_fct, "reduction", "mean")  # torch's repr of it does not tell
        if reduction != "mean":
            raise InputError(
                "CosineSimilarityLoss: loss_fct must have the reduction 'mean', the one that is "
                f"computed here; got {shown(reduction)}."
            )

    def gradients(
        self, vectors: Sequence[Array], scores: Array | None, num_items_in_batch: int | None = None
    ) -> VectorGradients:
        """Return the loss of a batch and the gradients of its vectors."""
        assert scores is not None
        first, second = vectors
        found = cosine_similarity_loss(first, second, scores, num_items_in_batch=num_items_in_batch)
        return VectorGradients(found.output, [found.first_gradient, found.second_gradient])

    def check(self, columns: Sequence[str], scores: Array | None, where: str) -> None:
        """Raise InputError unless the scores can be cosines."""
        super().check(columns, scores, where)
        assert scores is not None
        beyond = np.flatnonzero(np.abs(scores) > 1.0)
        if len(beyond):
            raise InputError(
                f"{where}: CosineSimilarityLoss makes a cosine of a score, from -1 to 1; row "
                f"{beyond[0] + 1} has {scores[beyond[0]]:g}. Divide the scores by the largest, or "
                "take CoSENTLoss, for which their order counts."
            )


class CoSENTLoss(PairLoss):
    """The order of scored pairs: a pair with a higher score is to have a higher cosine.

    Parameters
    ----------
    model : SentenceEncoder
        The model.
    scale : float
        What cosines are multiplied by, above 0.
    similarity_fct
        An argument of sentence-transformers, whose default, pairwise_cos_sim, is computed here.

    Notes
    -----
    The loss is one number for a batch, `numpy_bert.ops.pairs.cosent_loss`; a step of several
    batches has the mean of theirs.

    References
    ----------
    .. [1] sentence-transformers, CoSENTLoss.

    Examples
    --------
    >>> from numpy_bert import SentenceEncoder
    >>> loss = CoSENTLoss(SentenceEncoder.from_pretrained("demo"))
    >>> loss.gradients([np.eye(2), np.eye(2)], np.array([1.0, 1.0])).loss
    0.0
    """

    def __init__(
        self, model: SentenceEncoder, scale: float = 20.0, similarity_fct: object = None
    ) -> None:
        super().__init__(model)
        self.scale = _scale(type(self).__name__, scale)
        check_accepted(type(self).__name__, {"similarity_fct": similarity_fct}, _COSENT)

    @property
    def identity(self) -> dict[str, Any]:
        """What the loss depends on beside the vectors."""
        return {**super().identity, "scale": self.scale}

    def gradients(
        self, vectors: Sequence[Array], scores: Array | None, num_items_in_batch: int | None = None
    ) -> VectorGradients:
        """Return the loss of a batch and the gradients of its vectors."""
        assert scores is not None
        first, second = vectors
        found = cosent_loss(
            first, second, scores, scale=self.scale, num_items_in_batch=num_items_in_batch
        )
        return VectorGradients(found.output, [found.first_gradient, found.second_gradient])

    def least_rows(self, columns: int) -> int:
        """Return 2, since the order of one pair is no order."""
        del columns
        return 2

    def items(self, rows: int) -> int:
        """Return 1: the loss of a batch is no mean over its rows."""
        del rows
        return 1


def _scale(name: str, value: float) -> float:
    """Return a scale; raise InputError unless it is a number above 0."""
    if not (is_number(value) and value > 0):
        raise InputError(must_be(f"{name}: scale", "a number above 0", value))
    return float(value)
