"""numpy_bert.tasks.entities: tokens to words to groups."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from numpy_bert.tasks.entities import Entity, Token, find_entities

LABELS = ["O", "B-X", "I-X", "I-Y"]


def join(words: Iterable[str]) -> str:
    return " ".join(words).replace(" ##", "")


def tokens(*rows: tuple[str, int, float]) -> list[Token]:
    """Make tokens of a word, the number of its best label and that label's probability."""
    found, start = [], 0
    for index, (word, label, score) in enumerate(rows):
        scores = np.full(4, (1.0 - score) / 3)
        scores[label] = score
        end = start + len(word.removeprefix("##"))
        found.append(
            Token(
                word=word,
                start=start,
                end=end,
                index=index + 1,
                scores=scores,
                continues=word.startswith("##"),
            )
        )
        start = end
    return found


def found(aggregation: str, *rows: tuple[str, int, float]) -> list[tuple[str, str, float]]:
    entities = find_entities(tokens(*rows), LABELS, aggregation=aggregation, join=join)
    return [(e.word, e.entity, round(e.score, 4)) for e in entities]


WORD = [("mi", 1, 0.5), ("##cro", 0, 0.6), ("##soft", 3, 0.7)]


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("none", [("mi", "B-X", 0.5), ("##soft", "I-Y", 0.7)]),
        ("simple", [("mi", "X", 0.5), ("##soft", "Y", 0.7)]),
        ("first", [("microsoft", "X", 0.5)]),
        ("max", [("microsoft", "Y", 0.7)]),
        ("average", [("microsoft", "Y", round((0.5 / 3 + 0.4 / 3 + 0.7) / 3, 4))]),
    ],
)
def test_pieces_of_a_word_agree(aggregation: str, expected: list[tuple[str, str, float]]) -> None:
    assert found(aggregation, *WORD) == expected


def test_neighbours_of_one_label_are_one_entity_until_one_begins_anew() -> None:
    rows = [
        ("a", 1, 0.6),
        ("b", 2, 0.8),
        ("c", 1, 0.7),
        ("d", 3, 0.5),
        ("e", 0, 0.9),
        ("f", 3, 0.5),
    ]
    assert found("simple", *rows) == [
        ("a b", "X", 0.7),
        ("c", "X", 0.7),
        ("d", "Y", 0.5),
        ("f", "Y", 0.5),
    ]


def test_places_span_the_group() -> None:
    entities = find_entities(
        tokens(("ab", 1, 0.9), ("##cd", 2, 0.9)), LABELS, aggregation="simple", join=join
    )
    assert entities == [Entity(entity="X", score=0.9, word="abcd", start=0, end=4, index=None)]


def test_a_text_that_begins_in_the_middle_of_a_word() -> None:
    assert found("first", ("##a", 1, 0.9)) == [("##a", "X", 0.9)]
    assert found("simple") == []
