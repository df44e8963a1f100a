"""What a model is trained on: texts, encoded once, and batches of them by number."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, IntArray
from numpy_bert.errors import InputError
from numpy_bert.text.lost import limit_of
from numpy_bert.text.tokenizer import BertTokenizer
from numpy_bert.training.masking import mask_batch

__all__ = [
    "Batch",
    "LabelledTexts",
    "MaskedTexts",
    "TaughtTexts",
    "TrainingData",
    "padded",
    "tokens_of",
]

Batch = dict[str, Any]
_SUMS = 16  # of a sketch


class TrainingData(Protocol):
    """Examples by number; a batch of them is what a model's `loss_and_gradients` takes.

    Data whose last bits may differ from run to run have a `sketch` too, as `TaughtTexts`.
    """

    @property
    def fingerprint(self) -> str:
        """What tells these examples from others."""

    @property
    def lengths(self) -> IntArray:
        """About how many tokens each example has, so that like ones can be read together."""

    def __len__(self) -> int:
        """Return how many examples there are."""

    def batch(self, numbers: IntArray, rng: np.random.Generator) -> Batch:
        """Return the batch of these examples; `rng` draws what is to be drawn."""


class _Encoded:
    """Texts as token ids, padded when they become a batch."""

    def __init__(
        self,
        texts: Sequence[str] | Sequence[tuple[str, str]],
        tokenizer: BertTokenizer,
        *,
        max_length: int,
        also: str = "",
    ) -> None:
        if not len(texts):
            raise InputError("data: holds no text.")
        self._tokenizer = tokenizer
        limit = limit_of(tokenizer, max_length)
        encoding = tokenizer(
            texts, truncation=True, max_length=limit, return_special_tokens_mask=True
        )
        self._ids: list[list[int]] = encoding["input_ids"]
        self._types: list[list[int]] = encoding["token_type_ids"]
        self._special: list[list[int]] = encoding["special_tokens_mask"]
        self._lengths = np.array([len(ids) for ids in self._ids])
        digest = hashlib.sha256(f"{limit} {also}".encode())
        for ids, types in zip(self._ids, self._types, strict=True):
            digest.update(np.array([*ids, -1, *types, -2], np.int64).tobytes())
        self._fingerprint = digest.hexdigest()

    @property
    def fingerprint(self) -> str:
        """A hash of all token ids, and of what else there is."""
        return self._fingerprint

    @property
    def lengths(self) -> IntArray:
        """How many tokens each text has."""
        return self._lengths

    def __len__(self) -> int:
        return len(self._ids)

    def _inputs(self, numbers: IntArray) -> Batch:
        """Return ids, mask and token types of these texts, padded to the longest."""
        lengths = self._lengths[numbers]
        return {
            "input_ids": self._padded(self._ids, numbers, self._tokenizer.pad_token_id),
            "attention_mask": (np.arange(lengths.max()) < lengths[:, np.newaxis]).astype(np.int64),
            "token_type_ids": self._padded(self._types, numbers, 0),
        }

    def _padded(self, rows: Sequence[Sequence[int]], numbers: IntArray, fill: int) -> IntArray:
        return padded([rows[int(number)] for number in numbers], fill)


def padded(rows: Sequence[Sequence[int]], fill: int) -> npt.NDArray[np.int64]:
    """Return rows as long as the longest, (B, T).

    Examples
    --------
    >>> padded([[2, 5, 3], [2, 3]], 0)
    array([[2, 5, 3],
           [2, 3, 0]])
    """
    length = max(map(len, rows))
    return np.array([[*row, *[fill] * (length - len(row))] for row in rows], np.int64)


def tokens_of(batch: Batch) -> int:
    """Return how many tokens a batch has, or the batches in it together; padding is none.

    Examples
    --------
    >>> tokens_of({"one": {"attention_mask": [[1, 1, 0]]}, "other": {"attention_mask": [[1]]}})
    3
    """
    if "attention_mask" in batch:
        return int(np.sum(batch["attention_mask"]))
    return sum(map(tokens_of, batch.values()))


class MaskedTexts(_Encoded):
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
        also = f"{probability} {whole_words}"
        super().__init__(texts, tokenizer, max_length=max_length, also=also)
        self._probability, self._whole_words = probability, whole_words
        empty = [number for number, row in enumerate(self._special) if all(row)]
        if empty:
            raise InputError(
                f"data: text {empty[0] + 1} of {len(texts)} has no token to be guessed."
            )

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


class LabelledTexts(_Encoded):
    """Texts, or pairs, with a label each, for a BertForSequenceClassification.

    Parameters
    ----------
    texts, tokenizer, max_length
        As of `MaskedTexts`.
    labels : sequence of int, or of float
        Of each text: its label's number, or for a regression a number.

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
        labels: Sequence[int] | Sequence[float],
        tokenizer: BertTokenizer,
        *,
        max_length: int = 128,
    ) -> None:
        self._labels = np.array(labels)
        if self._labels.shape != (len(texts),):
            raise InputError(
                f"data: {len(texts)} texts and labels of shape {self._labels.shape}; one each was "
                "expected."
            )
        super().__init__(texts, tokenizer, max_length=max_length, also=str(list(labels)))

    def batch(self, numbers: IntArray, rng: np.random.Generator) -> Batch:
        """Return these texts and their labels; nothing is drawn."""
        del rng
        return {**self._inputs(numbers), "labels": self._labels[numbers]}


class TaughtTexts(_Encoded):
    """Texts with a teacher's vector each, for a `SentenceStudent`.

    Parameters
    ----------
    texts, tokenizer, max_length
        As of `MaskedTexts`; the tokenizer is the student's.
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
        rows: Array = np.asarray(vectors)
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
        self._vectors = rows

    @cached_property
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

    def batch(self, numbers: IntArray, rng: np.random.Generator) -> Batch:
        """Return these texts and the teacher's vectors; nothing is drawn."""
        del rng
        return {**self._inputs(numbers), "labels": self._vectors[numbers]}
