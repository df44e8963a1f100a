"""What every kind of examples is: batches by number; and texts, encoded once."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import IntArray, largest
from numpy_bert.errors import InputError
from numpy_bert.text.inputs import as_items
from numpy_bert.text.lost import limit_of
from numpy_bert.text.tokenizer import BertTokenizer
from numpy_bert.training.checks import check_tokens

__all__ = [
    "Batch",
    "EncodedTexts",
    "Examples",
    "TrainingData",
    "as_examples",
    "padded",
    "tokens_of",
]

Batch = dict[str, Any]


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


class Examples:
    """Base of data whose hash and lengths are found when they are made."""

    _fingerprint: str
    _lengths: IntArray

    @property
    def fingerprint(self) -> str:
        """A hash of all token ids, and of what else a batch depends on."""
        return self._fingerprint

    @property
    def lengths(self) -> IntArray:
        """About how many tokens each example has."""
        return self._lengths

    def __len__(self) -> int:
        return len(self._lengths)


class EncodedTexts(Examples):
    """Texts, as `as_examples` returns them, as token ids; padded when they become a batch."""

    def __init__(
        self,
        items: Sequence[Any],
        tokenizer: BertTokenizer,
        *,
        max_length: int,
        also: str = "",
    ) -> None:
        self._tokenizer = tokenizer
        limit = limit_of(tokenizer, max_length)
        encoding = tokenizer(
            items, truncation=True, max_length=limit, return_special_tokens_mask=True
        )
        self._ids: list[list[int]] = encoding["input_ids"]
        self._types: list[list[int]] = encoding["token_type_ids"]
        self._special: list[list[int]] = encoding["special_tokens_mask"]
        self._lengths = np.array([len(ids) for ids in self._ids])
        _warn_of_cuts(encoding.truncated, len(items), limit)
        digest = hashlib.sha256(f"{limit} {also}".encode())
        for ids, types in zip(self._ids, self._types, strict=True):
            digest.update(np.array([*ids, -1, *types, -2], np.int64).tobytes())
        self._fingerprint = digest.hexdigest()

    def check(self, model: Any) -> None:
        """Hold the texts to the model that is to read them; raise InputError if they do not fit."""
        check_tokens(
            model,
            ids=max(self._tokenizer.pad_token_id, *map(max, self._ids)),
            types=max(map(max, self._types)),
            length=largest(self._lengths),
        )

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


def as_examples(texts: object) -> list[Any]:
    """Return checked texts, or pairs, of which there is one at least.

    Examples
    --------
    >>> as_examples("a cat")
    Traceback (most recent call last):
    numpy_bert.errors.InputError: texts: is one text; a list of texts, or of pairs, was expected.
    """
    single, items = as_items(texts, None, ("texts", "texts"))
    if single:
        raise InputError("texts: is one text; a list of texts, or of pairs, was expected.")
    if not items:
        raise InputError("data: holds no text; one at least was expected. Give some.")
    return items


def _warn_of_cuts(cut: Mapping[int, tuple[int, int]], total: int, limit: int) -> None:
    """Tell once which texts have more tokens than are read."""
    if cut:
        first = min(cut)
        warnings.warn(
            f"data: {len(cut)} of {total} texts have more than {limit} tokens and were cut; the "
            f"first is texts[{first}], of {cut[first][0]}.",
            stacklevel=4,
        )


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
