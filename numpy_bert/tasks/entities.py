"""Labels of tokens to entities: words and groups of words, with their places in the text."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.errors import InputError
from numpy_bert.ops.softmax import softmax
from numpy_bert.reprs import short_repr
from numpy_bert.tasks.batches import Batch, Row, TextModel, in_batches
from numpy_bert.text.inputs import as_texts

__all__ = [
    "AGGREGATIONS",
    "Entity",
    "Token",
    "check_aggregation",
    "find_entities",
    "tag_texts",
]

AGGREGATIONS = ("none", "simple", "first", "average", "max")

Join = Callable[[Sequence[str]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A part of a text and its label.

    Attributes
    ----------
    entity : str
        The label; for a group, without the ``B-`` or ``I-`` before it.
    score : float
        The label's probability; for a group, the mean of its tokens' or words'.
    word : str
        The tokens' text, as the tokenizer writes it.
    start, end : int
        Where the part is: ``text[start:end]``.
    index : int or None
        The token's number, where tokens are not grouped.
    """

    entity: str
    score: float
    word: str
    start: int
    end: int
    index: int | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Token:
    """A token of a text: what it says, where it is, and the probability of each label, (K,).

    `continues` says whether it is a later piece of a word.
    """

    __repr__ = short_repr

    word: str
    start: int
    end: int
    index: int
    scores: Array
    continues: bool = False


def tag_texts(
    model: TextModel, text: str | Sequence[str], aggregation: str, ignore_labels: Collection[str]
) -> list[Any]:
    """Label the words of texts; see `numpy_bert.BertForTokenClassification.tag`."""
    single, items = as_texts(text)
    check_aggregation(aggregation)

    def tag(batch: Batch) -> list[list[Entity]]:
        scores = softmax(model(**batch.inputs).logits)
        return [
            find_entities(
                _tokens(model, row, own, items[number]),
                model.config.labels,
                aggregation=aggregation,
                join=model.tokenizer.convert_tokens_to_string,
                ignore=ignore_labels,
            )
            for number, row, own in zip(batch.numbers, batch.rows, scores, strict=True)
        ]

    found = in_batches(model, items, tag)
    return found[0] if single else found


def _tokens(model: TextModel, row: Row, scores: Array, text: str) -> list[Token]:
    """Return a text's own tokens; the word of an unknown one is what stands in the text."""
    names = model.tokenizer.convert_ids_to_tokens(row.input_ids)
    unknown = model.tokenizer.unk_token_id
    return [
        Token(
            word=text[start:end] if row.input_ids[index] == unknown else names[index],
            start=start,
            end=end,
            index=index,
            scores=scores[index],
            continues=row.input_ids[index] != unknown and names[index].startswith("##"),
        )
        for index, (start, end) in enumerate(row.offsets)
        if not row.special[index]
    ]


def check_aggregation(aggregation: str) -> str:
    """Return the name of an aggregation strategy; raise InputError if it is none."""
    if aggregation not in AGGREGATIONS:
        raise InputError(
            f"aggregation must be one of {', '.join(map(repr, AGGREGATIONS))}; got {aggregation!r}."
        )
    return aggregation


def find_entities(
    tokens: Sequence[Token],
    labels: Sequence[str],
    *,
    aggregation: str,
    join: Join,
    ignore: Collection[str] = ("O",),
) -> list[Entity]:
    """Return the entities of a text, first to last.

    Parameters
    ----------
    tokens : sequence of Token
        The text's own tokens, without the special ones.
    labels : sequence of str
        The names of the K labels.
    aggregation : {"none", "simple", "first", "average", "max"}
        "none" returns every token. The others return groups of neighbours of one label, of tokens
        ("simple") or of whole words, whose label is that of their first piece ("first"), of the
        mean of their pieces' probabilities ("average"), or of their surest piece ("max").
    join : callable
        The function that turns tokens into text.
    ignore : collection of str
        The labels that are no entity.

    References
    ----------
    .. [1] huggingface/transformers, pipelines/token_classification.py, whose strategies these are.

    Examples
    --------
    >>> tokens = [Token(word="new", start=0, end=3, index=1, scores=np.array([0.1, 0.9, 0.0])),
    ...           Token(word="york", start=4, end=8, index=2, scores=np.array([0.2, 0.1, 0.7]))]
    >>> find_entities(tokens, ["O", "B-LOC", "I-LOC"], aggregation="simple", join=" ".join)
    [Entity(entity='LOC', score=0.8, word='new york', start=0, end=8, index=None)]
    """
    if aggregation in ("none", "simple"):
        found = [_labelled([token], token.scores, labels, token.word) for token in tokens]
    else:
        found = [_word(word, labels, aggregation, join) for word in _words(tokens)]
    if aggregation != "none":
        found = [_group(group, join) for group in _neighbours(found)]
    return [entity for entity in found if entity.entity not in ignore]


def _labelled(tokens: Sequence[Token], scores: Array, labels: Sequence[str], word: str) -> Entity:
    """Give the best label to a token, or to a word of several."""
    best = int(scores.argmax())
    return Entity(
        entity=labels[best],
        score=float(scores[best]),
        word=word,
        start=tokens[0].start,
        end=tokens[-1].end,
        index=tokens[0].index,
    )


def _words(tokens: Sequence[Token]) -> list[list[Token]]:
    """Put the pieces of each word together."""
    words: list[list[Token]] = []
    for token in tokens:
        if words and token.continues:
            words[-1].append(token)
        else:
            words.append([token])
    return words


def _word(word: list[Token], labels: Sequence[str], aggregation: str, join: Join) -> Entity:
    """Let the pieces of a word agree on a label."""
    if aggregation == "first":
        scores = word[0].scores
    elif aggregation == "max":
        scores = max(word, key=lambda piece: float(piece.scores.max())).scores
    else:
        scores = np.mean([piece.scores for piece in word], axis=0)
    return _labelled(word, scores, labels, join([piece.word for piece in word]))


def _neighbours(entities: Sequence[Entity]) -> list[list[Entity]]:
    """Put neighbours of one label together; ``B-`` begins anew."""
    groups: list[list[Entity]] = []
    for entity in entities:
        starts, tag = _split(entity.entity)
        if groups and not starts and tag == _split(groups[-1][-1].entity)[1]:
            groups[-1].append(entity)
        else:
            groups.append([entity])
    return groups


def _split(label: str) -> tuple[bool, str]:
    """Return whether a label begins an entity, and the label without ``B-`` or ``I-``."""
    if label.startswith(("B-", "I-")):
        return label.startswith("B-"), label[2:]
    return False, label


def _group(entities: Sequence[Entity], join: Join) -> Entity:
    """Make one entity of neighbours."""
    return Entity(
        entity=entities[0].entity.split("-", 1)[-1],
        score=float(np.mean([entity.score for entity in entities])),
        word=join([entity.word for entity in entities]),
        start=entities[0].start,
        end=entities[-1].end,
    )
