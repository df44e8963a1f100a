"""Many texts, in batches whose size is bounded."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from numpy_bert.config import BertConfig
from numpy_bert.reprs import short_repr
from numpy_bert.text.inputs import Pair

if TYPE_CHECKING:
    # Not needed to load a model, which can be called with ids, without the tokenizers library.
    from numpy_bert.text.tokenizer import BertTokenizer

__all__ = [
    "TEXTS",
    "Batch",
    "Cuts",
    "Row",
    "TextModel",
    "batches_of",
    "encoded_rows",
    "in_batches",
    "micro_batches",
    "padded_rows",
    "piece_prefix",
    "text_batches",
]

# So many texts are tokenized at a time: not all of their tokens need be in memory at once.
TEXTS = 512
# A model gets so many padded tokens at a time: some 100 MB of intermediates for a BERT-base.
_TOKENS = 4096


class TextModel(Protocol):
    """What a task needs of a model: to be called, its config, its tokenizer and their limit."""

    config: BertConfig

    @property
    def tokenizer(self) -> BertTokenizer:
        """The tokenizer, which makes ids of texts."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that the model computes in."""

    @property
    def max_length(self) -> int:
        """How many tokens of a text are read."""

    def __call__(self, **inputs: Any) -> Any:
        """Return the output for a batch."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Row:
    """An encoded text: a number for each token, and where each stands in the text.

    `token_type_ids` are None where the tokenizer gives none.
    """

    input_ids: list[int]
    token_type_ids: list[int] | None
    special: list[int]
    offsets: list[tuple[int, int]]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Batch:
    """Rows that a model gets at once, each with its number among all, and the padded arrays."""

    __repr__ = short_repr

    numbers: list[int]
    rows: list[Row]
    inputs: dict[str, Any]


@dataclass(slots=True)
class Cuts:
    """Which texts were longer than the model reads, to be told of once."""

    limit: int
    lengths: dict[int, int] = field(default_factory=dict)

    def warn(self, count: int) -> None:
        """Warn if any of `count` texts was cut."""
        if self.lengths:
            first, length = next(iter(self.lengths.items()))
            which = f"text[{first}] has {length} tokens" if count > 1 else f"it has {length} tokens"
            warnings.warn(
                f"{len(self.lengths)} of {count} texts cut to the {self.limit} tokens that the "
                f"model reads ({which}); the rest of it was not looked at.",
                stacklevel=5,  # the method of the model whose task it is was called there
            )


def in_batches(
    model: TextModel, items: Sequence[str | Pair], work: Callable[[Batch], Iterable[Any]]
) -> list[Any]:
    """Return what `work` makes of each text of each batch, in the order of the texts.

    The texts that are cut are warned of, once.
    """
    cuts = Cuts(model.max_length)
    found: list[Any] = [None] * len(items)
    for batch in text_batches(model.tokenizer, items, cuts):
        for number, result in zip(batch.numbers, work(batch), strict=True):
            found[number] = result
    cuts.warn(len(items))
    return found


def text_batches(
    tokenizer: BertTokenizer, items: Sequence[str | Pair], cuts: Cuts
) -> Iterator[Batch]:
    """Tokenize texts and yield them in batches, those of one length together.

    Parameters
    ----------
    tokenizer : BertTokenizer
        The model's tokenizer.
    items : sequence of str or of (str, str)
        The texts, or pairs of them, checked.
    cuts : Cuts
        How long a text may be; it is told the lengths of those that were longer and are cut.

    Yields
    ------
    Batch
        A batch; each text is in one, in an order of the batches' own.
    """
    for start in range(0, len(items), TEXTS):
        encoded = tokenizer(
            items[start : start + TEXTS],
            truncation=True,
            max_length=cuts.limit,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
        )
        for number, (before, _) in sorted(encoded.truncated.items()):
            cuts.lengths[start + number] = before
        yield from batches_of(encoded_rows(encoded), tokenizer.pad_token_id, start)


def encoded_rows(encoded: Mapping[str, Any]) -> list[Row]:
    """Return what a tokenizer returned as lists, with offsets and special tokens, row by row."""
    names = ("input_ids", "special_tokens_mask", "offset_mapping")
    types = encoded.get("token_type_ids") or [None] * len(encoded["input_ids"])
    return [
        Row(input_ids=ids, token_type_ids=kinds, special=special, offsets=offsets)
        for kinds, ids, special, offsets in zip(types, *(encoded[n] for n in names), strict=True)
    ]


def piece_prefix(tokenizer: BertTokenizer) -> str:
    """Return what tokens that continue a word begin with, "" where nothing marks them.

    Examples
    --------
    >>> from numpy_bert import BertTokenizer
    >>> piece_prefix(BertTokenizer.from_pretrained("demo"))
    '##'
    """
    return getattr(tokenizer.backend_tokenizer.model, "continuing_subword_prefix", None) or ""


def batches_of(rows: Sequence[Row], pad_id: int, start: int = 0) -> Iterator[Batch]:
    """Yield rows in padded batches; the first of them has the number `start`."""
    for numbers in micro_batches([len(row.input_ids) for row in rows], _TOKENS):
        chosen = [rows[number] for number in numbers]
        types = [row.token_type_ids for row in chosen if row.token_type_ids is not None]
        yield Batch(
            numbers=[start + number for number in numbers],
            rows=chosen,
            inputs={
                "input_ids": padded_rows([row.input_ids for row in chosen], pad_id),
                **({"token_type_ids": padded_rows(types, 0)} if types else {}),
                "attention_mask": padded_rows([[1] * len(row.input_ids) for row in chosen], 0),
            },
        )


def micro_batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Split rows into batches of at most `budget` padded tokens, or of a single row.

    Parameters
    ----------
    lengths : sequence of int
        The number of tokens of each row.
    budget : int
        How many tokens a batch has at most, the padding counted.

    Yields
    ------
    list of int
        The numbers of some rows, the longest first, so that memory is asked for at the start.

    Examples
    --------
    >>> list(micro_batches([3, 9, 2, 4], 10))
    [[1], [3, 0], [2]]
    """
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def padded_rows(rows: Sequence[Sequence[int]], fill: int) -> npt.NDArray[np.int64]:
    """Return rows as an array (B, T), filled up on the right to the longest.

    Examples
    --------
    >>> padded_rows([[2, 5, 3], [2, 3]], 0)
    array([[2, 5, 3],
           [2, 3, 0]])
    """
    width = max(map(len, rows))
    return np.array([[*row, *[fill] * (width - len(row))] for row in rows], dtype=np.int64)
