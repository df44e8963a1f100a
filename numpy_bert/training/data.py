"""What a model is trained on: texts, encoded once, and batches of them by number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, IntArray, as_array
from numpy_bert.errors import InputError
from numpy_bert.model.task_models import (
    BertForMaskedLM,
    BertForNextSentencePrediction,
    BertForSequenceClassification,
)
from numpy_bert.text.tokenizer import BertTokenizer
from numpy_bert.training.checks import (
    as_labels,
    check_model,
    check_targets,
    check_tokens,
    check_vectors,
)
from numpy_bert.training.encoded import (
    Batch,
    EncodedTexts,
    TrainingData,
    as_examples,
    padded,
    tokens_of,
)
from numpy_bert.training.masking import check_probability, drawn_from, mask_batch
from numpy_bert.training.student import SentenceStudent

__all__ = [
    "Batch",
    "LabelledTexts",
    "MaskedTexts",
    "TaughtTexts",
    "TrainingData",
    "padded",
    "tokens_of",
]

_SUMS = 16  # of a sketch


class MaskedTexts(EncodedTexts):
    """Texts for a BertForMaskedLM: each time that one is read, other tokens are to be guessed.

    Parameters
    ----------
    texts : sequence of str, or of (str, str)
        Texts, or pairs.
    tokenizer : BertTokenizer
        The model's.
    max_length : int
        Tokens of a text at most; what is longer is cut.
    probability, whole_words
        As of `mask_tokens`; whether words are masked whole.

    Warns
    -----
    UserWarning
        Once, if texts are cut.

    Examples
    --------
    >>> from numpy_bert import BertTokenizer
    >>> data = MaskedTexts(["a cat", "the dog ran"], BertTokenizer.from_pretrained("demo"))
    >>> batch = data.batch(np.array([1, 0]), np.random.default_rng(0))
    >>> batch["input_ids"].shape, batch["labels"].shape
    ((2, 5), (2, 5))
    """

    def __init__(
        self,
        texts: Sequence[str] | Sequence[tuple[str, str]],
        tokenizer: BertTokenizer,
        *,
        max_length: int = 128,
        probability: float = 0.15,
        whole_words: bool = False,
    ) -> None:
        check_probability(probability)
        also = f"{probability} {drawn_from(tokenizer, whole_words=whole_words)}"
        super().__init__(as_examples(texts), tokenizer, max_length=max_length, also=also)
        self._probability, self._whole_words = probability, whole_words
        empty = [number for number, row in enumerate(self._special) if all(row)]
        if empty:
            raise InputError(
                f"data: text {empty[0] + 1} of {len(self)} has no token to be guessed."
            )

    def check(self, model: Any) -> None:
        """Hold the texts, and what masking draws, to the model's tables."""
        check_model(self, model, BertForMaskedLM)
        super().check(model)
        drawn = max(self._tokenizer.vocab_size - 1, self._tokenizer.mask_token_id)
        check_tokens(model, ids=drawn, types=0, length=0)

    def batch(self, numbers: IntArray, rng: np.random.Generator) -> Batch:
        """Return these texts, masked; at least one token of them is to be guessed."""
        inputs = self._inputs(numbers)
        special = self._padded(self._special, numbers, 1).astype(np.bool_)
        masked = mask_batch(
            inputs["input_ids"],
            special,
            self._tokenizer,
            rng=rng,
            probability=self._probability,
            whole_words=self._whole_words,
        )
        return {**inputs, "input_ids": masked.input_ids, "labels": masked.labels}


class LabelledTexts(EncodedTexts):
    """Texts, or pairs, with a label each, for a BertForSequenceClassification.

    Parameters
    ----------
    texts, tokenizer, max_length
        As of `MaskedTexts`.
    labels : array_like of int, or of float, shape (len(texts),)
        Of each text: its label's number, or for a regression, as floats, a number. A label of -100
        does not count where a model is judged; it is refused where one is trained.

    Raises
    ------
    InputError
        If there is not one of each text, or one is no number, or not finite.

    Examples
    --------
    >>> from numpy_bert import BertTokenizer
    >>> data = LabelledTexts(["good", "bad"], [1, 0], BertTokenizer.from_pretrained("demo"))
    >>> data.batch(np.array([1]), np.random.default_rng(0))["labels"]
    array([0])
    """

    def __init__(
        self,
        texts: Sequence[str] | Sequence[tuple[str, str]],
        labels: npt.ArrayLike,
        tokenizer: BertTokenizer,
        *,
        max_length: int = 128,
    ) -> None:
        texts = as_examples(texts)
        self._labels = as_labels(labels, len(texts))
        self._labels.setflags(write=False)  # the fingerprint is of these
        also = str(self._labels.tolist())
        super().__init__(texts, tokenizer, max_length=max_length, also=also)

    def check(self, model: Any) -> None:
        """Hold the texts and their labels to the model that is to learn them."""
        check_model(self, model, BertForSequenceClassification, BertForNextSentencePrediction)
        super().check(model)
        check_targets(self._labels, model)

    @property
    def labels(self) -> npt.NDArray[Any]:
        """The label of each text, int64 or float64; it cannot be written to."""
        return self._labels

    def batch(self, numbers: IntArray, rng: np.random.Generator) -> Batch:
        """Return these texts and their labels; nothing is drawn."""
        del rng
        return {**self._inputs(numbers), "labels": self._labels[numbers]}


class TaughtTexts(EncodedTexts):
    """Texts with a teacher's vector each, for a `SentenceStudent`.

    Parameters
    ----------
    texts, tokenizer, max_length
        As of `MaskedTexts`; the tokenizer is the student's, and so is the limit: a student that
        has a max_seq_length learns no longer texts. If it has a prompt or lower-cases texts, give
        ``[student.setup.prepared(text) for text in texts]``, which is what it reads.
    vectors : array_like of shape (len(texts), E)
        The teacher's, such as `SentenceEncoder.encode` returns.
    teacher : str
        What tells this teacher from others: a run does not go on with another's vectors.

    Examples
    --------
    >>> from numpy_bert import BertTokenizer
    >>> data = TaughtTexts(["good", "bad"], np.eye(2), BertTokenizer.from_pretrained("demo"))
    >>> data.batch(np.array([1]), np.random.default_rng(0))["labels"]
    array([[0., 1.]])
    """

    def __init__(
        self,
        texts: Sequence[str],
        vectors: npt.ArrayLike,
        tokenizer: BertTokenizer,
        *,
        max_length: int = 128,
        teacher: str = "",
    ) -> None:
        texts = as_examples(texts)
        rows: Array = as_array(vectors, "vectors")
        if rows.dtype.kind not in "fiu":
            raise InputError(f"vectors: dtype {rows.dtype}; a teacher's vectors were expected.")
        if rows.ndim != 2 or len(rows) != len(texts):
            raise InputError(
                f"data: {len(texts)} texts and vectors of shape {rows.shape}; one each, "
                f"({len(texts)}, E), was expected."
            )
        wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(wrong):
            raise InputError(f"data: the vector of text {wrong[0] + 1} is not finite.")
        # Not the vectors themselves, of which there is a sketch.
        also = f"{rows.shape[1]} features of {teacher}"
        super().__init__(texts, tokenizer, max_length=max_length, also=also)
        self._vectors = rows.copy()  # the caller's may change

    @property
    def sketch(self) -> dict[str, list[float]]:
        """Sums of the vectors' numbers, under signs of chance: near for vectors that are near.

        The last bits of a teacher's vectors may differ with the number of threads, so a hash would
        take them for others.

        References
        ----------
        .. [1] Alon, Matias and Szegedy, "The space complexity of approximating the frequency
           moments", STOC 1996: the mean of the squares of such sums of a difference is about the
           square of its length.
        """
        rng = np.random.default_rng(0)
        rows, columns = (
            2.0 * rng.integers(0, 2, (_SUMS, count)) - 1.0 for count in self._vectors.shape
        )
        sums = np.einsum("ke,ke->k", rows @ self._vectors, columns)
        return {"vectors": [float(np.linalg.norm(self._vectors)), *sums.tolist()]}

    def check(self, model: Any) -> None:
        """Hold the texts and the teacher's vectors to the student that is to follow them."""
        check_model(self, model, SentenceStudent)
        super().check(model)
        most = model.setup.max_seq_length
        if most is not None and self._lengths.max() > most:
            raise InputError(
                f"data: has a text of {self._lengths.max()} tokens; the student's max_seq_length "
                f"is {most}. Give it as max_length, so that no more is learned than is read later."
            )
        check_vectors(self._vectors, model)

    def batch(self, numbers: IntArray, rng: np.random.Generator) -> Batch:
        """Return these texts and the teacher's vectors; nothing is drawn."""
        del rng
        return {**self._inputs(numbers), "labels": self._vectors[numbers]}
