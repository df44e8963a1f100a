"""What a model is trained on: texts, encoded once, and batches of them by number."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from numpy_bert.arrays import IntArray
from numpy_bert.errors import InputError
from numpy_bert.text.lost import limit_of
from numpy_bert.text.tokenizer import BertTokenizer
from numpy_bert.training.masking import mask_tokens, words_of

__all__ = ["LabelledTexts", "MaskedTexts", "TrainingData"]

Batch = dict[str, Any]


class TrainingData(Protocol):
    """Examples by number; a batch of them is what a model's `loss_and_gradients` takes."""

    @property
    def fingerprint(self) -> str:
        """What tells these examples from others."""

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
        digest = hashlib.sha256(f"{limit} {also}".encode())
        for ids, types in zip(self._ids, self._types, strict=True):
            digest.update(np.array([*ids, -1, *types, -2], np.int64).tobytes())
        self._fingerprint = digest.hexdigest()

    @property
    def fingerprint(self) -> str:
        """A hash of all token ids, and of what else there is."""
        return self._fingerprint

    def __len__(self) -> int:
        return len(self._ids)

    def _inputs(self, numbers: IntArray) -> Batch:
        """Return ids, mask and token types of these texts, padded to the longest."""
        lengths = np.array([len(self._ids[int(number)]) for number in numbers])
        return {
            "input_ids": self._padded(self._ids, numbers, self._tokenizer.pad_token_id),
            "attention_mask": (np.arange(lengths.max()) < lengths[:, np.newaxis]).astype(np.int64),
            "token_type_ids": self._padded(self._types, numbers, 0),
        }

    def _padded(self, rows: Sequence[Sequence[int]], numbers: IntArray, fill: int) -> IntArray:
        chosen = [rows[int(number)] for number in numbers]
        length = max(map(len, chosen))
        return np.array([[*row, *[fill] * (length - len(row))] for row in chosen], np.int64)


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

    def batch(self, numbers: IntArray, rng: np.random.Generator) -> Batch:
        """Return these texts, masked; at least one token of them is to be guessed."""
        inputs = self._inputs(numbers)
        special = self._padded(self._special, numbers, 1).astype(np.bool_)
        if special.all():
            raise InputError(f"data: the texts {numbers.tolist()} have no token to be guessed.")
        words = None
        if self._whole_words:
            names = self._tokenizer.convert_ids_to_tokens
            words = words_of([list(names(row.tolist())) for row in inputs["input_ids"]])
        while True:  # a short batch may have drawn nothing
            masked = mask_tokens(
                inputs["input_ids"],
                special,
                mask_token_id=self._tokenizer.mask_token_id,
                vocab_size=self._tokenizer.vocab_size,
                rng=rng,
                probability=self._probability,
                words=words,
            )
            if (masked.labels >= 0).any():
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
