"""Pairs for next-sentence prediction, with masked words: what BERT itself was trained on."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from numpy_bert.arrays import IntArray
from numpy_bert.errors import InputError
from numpy_bert.model.task_models import BertForPreTraining
from numpy_bert.tasks.batches import padded_rows
from numpy_bert.text.inputs import as_documents
from numpy_bert.text.lost import limit_of
from numpy_bert.text.tokenizer import BertTokenizer
from numpy_bert.training.data import Batch, Examples, check_model, check_tokens
from numpy_bert.training.masking import check_probability, drawn_from, mask_batch

__all__ = ["SentencePairs"]

# As create_pretraining_data.py: how often B does not follow A, and how often a pair is short.
_RANDOM, _SHORT = 0.5, 0.1
_FRAME = 3  # [CLS] A [SEP] B [SEP]
_LEAST = 2  # tokens of both texts

_Sentences = list[list[int]]


class _Chunk(NamedTuple):
    """Sentences of a document that fill an example: from `start` on, before `stop`."""

    document: int
    start: int
    stop: int


class _Pair(NamedTuple):
    """Two texts, and whether the second does not follow the first."""

    first: list[int]
    second: list[int]
    is_random: bool


class SentencePairs(Examples):
    """Documents for a BertForPreTraining, which guesses words and whether text B follows text A.

    A document is cut into chunks of sentences that fill an example. Each time that one is read, it
    is cut into A and B at a sentence drawn anew; half of the time B is replaced by sentences from
    another document. A chunk of one sentence always has such a B. One pair in ten is cut to a
    length that is drawn, so that short texts are seen too.

    Parameters
    ----------
    documents : sequence of sequences of str
        At least two documents, each of which is a list (or an array, a Series, ...) of its
        sentences in their order. One that has no sentence is passed over.
    tokenizer : BertTokenizer
        The model's tokenizer.
    max_length : int
        How many tokens a pair may have, [CLS] and both [SEP] included. A longer pair loses tokens
        at a random end of whichever text is longer, one by one.
    probability, whole_words
        The same as for `MaskedTexts`.

    Warns
    -----
    UserWarning
        Once, if there are sentences that alone are longer than a pair lets them be.

    References
    ----------
    .. [1] Devlin et al., "BERT", arXiv:1810.04805, section 3.1, task 2 and appendix A.2.
    .. [2] google-research/bert, create_pretraining_data.py, create_instances_from_document. There
       the sentences that a random B leaves unused begin the next example; here they are read in
       another pass.

    Examples
    --------
    >>> from numpy_bert import BertTokenizer
    >>> documents = [["The sun is up.", "It is warm."], ["He reads.", "She sings.", "They eat."]]
    >>> data = SentencePairs(documents, BertTokenizer.from_pretrained("demo"))
    >>> batch = data.batch(np.array([0, 1]), np.random.default_rng(0))
    >>> sorted(batch)
    ['attention_mask', 'input_ids', 'labels', 'next_sentence_label', 'token_type_ids']
    """

    def __init__(
        self,
        documents: Sequence[Sequence[str]],
        tokenizer: BertTokenizer,
        *,
        max_length: int = 128,
        probability: float = 0.15,
        whole_words: bool = False,
    ) -> None:
        check_probability(probability)
        self._tokenizer = tokenizer
        self._probability, self._whole_words = probability, whole_words
        self._room = limit_of(tokenizer, max_length) - _FRAME
        if self._room < _LEAST:
            raise InputError(f"max_length must be at least {_FRAME + _LEAST}; got {max_length}.")
        checked = as_documents(documents)
        self._documents = list(_encoded(checked, tokenizer, self._room - 1))
        if len(self._documents) < 2:
            raise InputError(
                "data must hold at least two documents with a sentence, so that there are texts "
                f"that do not follow; got {len(self._documents)}. An empty line ends a document."
            )
        self._chunks = list(_chunks(self._documents, self._room))
        self._fingerprint, self._lengths = self._hashed(), self._counted()

    def _hashed(self) -> str:
        """Return a hash of all token ids, the settings, and what masking draws from."""
        tokenizer, settings = self._tokenizer, f"pairs {self._room} {self._probability}"
        settings += f" {drawn_from(tokenizer, whole_words=self._whole_words)}"
        digest = hashlib.sha256(settings.encode())
        for document in self._documents:
            for ids in document:
                digest.update(np.array([*ids, -1], np.int64).tobytes())
            digest.update(b"end of a document")
        return digest.hexdigest()

    def _counted(self) -> IntArray:
        """Return how many tokens each chunk has, at most those of a pair."""
        counts = [
            sum(map(len, self._documents[chunk.document][chunk.start : chunk.stop]))
            for chunk in self._chunks
        ]
        return np.minimum(counts, self._room) + _FRAME

    def check(self, model: Any) -> None:
        """Raise InputError if the pairs, or what masking draws, do not fit the model."""
        check_model(self, model, BertForPreTraining)
        tokenizer = self._tokenizer
        special = (tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id)
        read = max(max(ids) for document in self._documents for ids in document)
        ids = max(read, tokenizer.vocab_size - 1, tokenizer.mask_token_id, *special)
        check_tokens(model, ids=ids, types=1, length=int(self.lengths.max()))

    def batch(self, numbers: IntArray, rng: np.random.Generator) -> Batch:
        """Return pairs of these chunks, masked, and 1 where the second text does not follow."""
        pairs = [self._pair(self._chunks[int(number)], rng) for number in numbers]
        cls, sep = self._tokenizer.cls_token_id, self._tokenizer.sep_token_id
        rows = [[cls, *pair.first, sep, *pair.second, sep] for pair in pairs]
        ends = [len(pair.first) + 2 for pair in pairs]
        types = [[0] * end + [1] * (len(row) - end) for row, end in zip(rows, ends, strict=True)]
        frames = [_frame(len(row), end) for row, end in zip(rows, ends, strict=True)]
        masked = mask_batch(
            padded_rows(rows, self._tokenizer.pad_token_id),
            padded_rows(frames, 1) != 0,
            self._tokenizer,
            rng=rng,
            probability=self._probability,
            whole_words=self._whole_words,
        )
        return {
            "input_ids": masked.input_ids,
            "attention_mask": padded_rows([[1] * len(row) for row in rows], 0),
            "token_type_ids": padded_rows(types, 0),
            "labels": masked.labels,
            "next_sentence_label": np.array([pair.is_random for pair in pairs], np.int64),
        }

    def _pair(self, chunk: _Chunk, rng: np.random.Generator) -> _Pair:
        """Cut a chunk in two, or give its first part another document's second."""
        room = self._room
        if rng.random() < _SHORT:
            room = int(rng.integers(_LEAST, room + 1))
        sentences = self._documents[chunk.document][chunk.start : chunk.stop]
        end = int(rng.integers(1, max(2, len(sentences))))
        first = [token for ids in sentences[:end] for token in ids]
        is_random = len(sentences) == 1 or rng.random() < _RANDOM
        if is_random:
            second = self._elsewhere(chunk.document, room - len(first), rng)
        else:
            second = [token for ids in sentences[end:] for token in ids]
        first, second = _shortened(first, second, room, rng)
        return _Pair(first, second, is_random)

    def _elsewhere(self, document: int, room: int, rng: np.random.Generator) -> list[int]:
        """Return sentences of another document that follow each other, to fill the room."""
        other = int(rng.integers(len(self._documents) - 1))
        sentences = self._documents[other + (other >= document)]
        found: list[int] = []
        for ids in sentences[int(rng.integers(len(sentences))) :]:
            found += ids
            if len(found) >= room:
                break
        return found


def _frame(length: int, end: int) -> list[int]:
    """Return 1 at [CLS] and at both [SEP], the first of which is the one before `end`."""
    return [int(place in (0, end - 1, length - 1)) for place in range(length)]


def _encoded(
    documents: Sequence[list[str]], tokenizer: BertTokenizer, most: int
) -> Iterator[_Sentences]:
    """Yield each document's sentences as token ids, without those that have no token.

    At the end a warning names those that are longer than `most`: whoever reads them cuts them.
    """
    long, total = list[tuple[int, int, int]](), 0
    for number, document in enumerate(documents):
        ids = tokenizer(document, add_special_tokens=False)["input_ids"] if document else []
        total += len(ids)
        long += [(number, place, len(row)) for place, row in enumerate(ids) if len(row) > most]
        sentences = [row for row in ids if row]
        if sentences:
            yield sentences
    if long:
        number, place, length = long[0]
        warnings.warn(
            f"data: {len(long)} of {total} sentences have more than the {most} tokens that a pair "
            f"has room for and are cut; the first is documents[{number}][{place}], of {length}.",
            stacklevel=3,
        )


def _chunks(documents: Sequence[_Sentences], room: int) -> Iterator[_Chunk]:
    """Yield runs of sentences that fill the room, each but a document's last."""
    for number, document in enumerate(documents):
        start = length = 0
        for place, ids in enumerate(document, 1):
            length += len(ids)
            if length >= room or place == len(document):
                yield _Chunk(number, start, place)
                start, length = place, 0


def _shortened(
    first: list[int], second: list[int], room: int, rng: np.random.Generator
) -> tuple[list[int], list[int]]:
    """Take tokens from the longer text, at its front or its back, until both fit."""
    cuts = [[0, len(first)], [0, len(second)]]
    while (lengths := [stop - start for start, stop in cuts]) and sum(lengths) > room:
        longer = cuts[int(lengths[1] >= lengths[0])]
        if rng.random() < 0.5:
            longer[0] += 1
        else:
            longer[1] -= 1
    return first[slice(*cuts[0])], second[slice(*cuts[1])]
