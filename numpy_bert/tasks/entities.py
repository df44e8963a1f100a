"""Labels of tokens to entities: words and groups of words, with their places in the text."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from numpy_bert.arguments import as_count, check_switches
from numpy_bert.arrays import Array
from numpy_bert.errors import InputError
from numpy_bert.messages import must_be
from numpy_bert.ops.softmax import softmax
from numpy_bert.reprs import short_repr
from numpy_bert.tasks.batches import TEXTS, Row, TextModel, encoded_rows, piece_prefix
from numpy_bert.tasks.windows import cut_windows, run_windows
from numpy_bert.text.inputs import as_texts, as_words

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
        The token's number, where tokens are not grouped; that of the word, where words were given.
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

    `continues` says whether it is a later piece of a word, and `owner` the number of its word
    where words were given.
    """

    __repr__ = short_repr

    word: str
    start: int
    end: int
    index: int
    scores: Array
    continues: bool = False
    owner: int | None = None


def tag_texts(
    model: TextModel,
    text: str | Sequence[str] | Sequence[Sequence[str]],
    aggregation: str,
    *,
    ignore_labels: Collection[str],
    stride: int,
    is_split_into_words: bool,
) -> list[Any]:
    """Label the words of texts; see `numpy_bert.BertForTokenClassification.tag`."""
    check_aggregation(aggregation)
    _check_ignored(ignore_labels)
    check_switches(is_split_into_words=is_split_into_words)
    overlap = as_count("stride", stride, least=0)
    single, items = as_words(text) if is_split_into_words else as_texts(text)
    found: list[Any] = []
    for start in range(0, len(items), TEXTS):
        part: Sequence[Any] = items[start : start + TEXTS]
        encoded = model.tokenizer(
            part,
            is_split_into_words=is_split_into_words,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
        )
        rows = encoded_rows(encoded)
        for number, scores in enumerate(_probabilities(model, rows, overlap)):
            if is_split_into_words:
                owners = encoded.word_ids(number)
                tokens = _pieces(model, rows[number], scores, part[number], owners)
                if aggregation == "none":
                    tokens = _first_pieces(tokens, part[number])
            else:
                tokens = _tokens(model, rows[number], scores, part[number])
            found.append(
                find_entities(
                    tokens,
                    model.config.labels,
                    aggregation=aggregation,
                    join=model.tokenizer.convert_tokens_to_string,
                    ignore=ignore_labels,
                )
            )
    return found[0] if single else found


def _probabilities(model: TextModel, rows: Sequence[Row], overlap: int) -> list[Array]:
    """Return, for each row, the probabilities of labels for each of its tokens, (T, K).

    A row that is longer than the model reads is read in windows, and each token's labels are from
    the window in which it has most context on its poorer side. Special tokens have zeros.
    """
    cut, owned = [], dict[tuple[int, int], tuple[int, int]]()
    for number, row in enumerate(rows):
        inside = [place for place, special in enumerate(row.special) if not special]
        start, room = (inside or [0])[0], model.max_length - len(row.special) + len(inside)
        windows = cut_windows(row, start, len(inside), room=max(room, 1), overlap=overlap)
        cut.append(windows)
        borders = [(right.first + left.last + 1) // 2 for left, right in pairwise(windows)]
        ends = pairwise([0, *borders, len(inside)])
        owned |= {(number, w.first): span for w, span in zip(windows, ends, strict=True)}
    count = len(model.config.labels)
    found = [np.zeros((len(row.special), count), model.dtype) for row in rows]
    for number, window, output, place in run_windows(model, cut):
        first, last = owned[number, window.first]
        shift = window.place - window.first
        scores = softmax(output.logits[place, first + shift : last + shift])
        found[number][window.place + first : window.place + last] = scores
    return found


def _tokens(model: TextModel, row: Row, scores: Array, text: str) -> list[Token]:
    """Return a text's own tokens; the word of an unknown one is what stands in the text.

    Where no prefix says that a token continues a word, it does so if no space is before it.
    """
    names = model.tokenizer.convert_ids_to_tokens(row.input_ids)
    unknown, prefix = model.tokenizer.unk_token_id, piece_prefix(model.tokenizer)

    def continues(name: str, start: int) -> bool:
        if prefix:
            return name.startswith(prefix)
        return start > 0 and " " not in text[start - 1 : start + 1]

    return [
        Token(
            word=text[start:end] if row.input_ids[index] == unknown else names[index],
            start=start,
            end=end,
            index=index,
            scores=scores[index],
            continues=row.input_ids[index] != unknown and continues(names[index], start),
        )
        for index, (start, end) in enumerate(row.offsets)
        if not row.special[index]
    ]


def _pieces(
    model: TextModel, row: Row, scores: Array, words: Sequence[str], owners: Sequence[int | None]
) -> list[Token]:
    """Return the tokens of words, with their places in a text that has a space between them."""
    starts = [0, *accumulate(len(word) + 1 for word in words)]
    offsets = [
        (start + starts[owner or 0], end + starts[owner or 0])
        for (start, end), owner in zip(row.offsets, owners, strict=True)
    ]
    tokens = _tokens(model, replace(row, offsets=offsets), scores, " ".join(words))
    return [
        replace(token, owner=owners[i], continues=owners[i] == owners[i - 1])
        for token in tokens
        for i in [token.index]
    ]


def _first_pieces(tokens: Sequence[Token], words: Sequence[str]) -> list[Token]:
    """Return the words that have tokens, each as one, with the scores of its first."""
    starts = [0, *accumulate(len(word) + 1 for word in words)]
    return [
        Token(
            word=words[token.owner],
            start=starts[token.owner],
            end=starts[token.owner] + len(words[token.owner]),
            index=token.owner,
            scores=token.scores,
        )
        for token in tokens
        if token.owner is not None and not token.continues
    ]


def check_aggregation(aggregation: str) -> str:
    """Return the name of an aggregation strategy; raise InputError if it is none."""
    if not isinstance(aggregation, str) or aggregation not in AGGREGATIONS:
        wanted = f"one of {', '.join(map(repr, AGGREGATIONS))}"
        raise InputError(must_be("aggregation", wanted, aggregation))
    return aggregation


def _check_ignored(labels: object) -> None:
    """Raise InputError unless it can be told which labels are meant: of a text, it could not."""
    if isinstance(labels, (str, bytes)) or not isinstance(labels, Collection):
        raise InputError(must_be("ignore_labels", "a list of labels", labels))


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
