"""Pairs of texts: half of the time the second follows, and everything fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertTokenizer, InputError
from numpy_bert.training import MaskedTexts, SentencePairs
from numpy_bert.training.next_sentence import _shortened
from tests.support.tokenizer_files import TOKENS, tokenizer_json, write_folder

CLS, SEP, PAD, MASK = (TOKENS.index(f"[{name}]") for name in ("CLS", "SEP", "PAD", "MASK"))
LETTERS = "abcdefghijklmnopqrstuvwxyz"
# Every document has letters of its own, in an order: what follows what can be read off.
DOCUMENTS = [
    [" ".join(LETTERS[i : i + 2]) for i in range(0, 8, 2)],
    [" ".join(LETTERS[i : i + 3]) for i in range(8, 17, 3)],
    [LETTERS[i] for i in range(17, 26)],
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> BertTokenizer:
    place = tmp_path_factory.mktemp("tokenizer")
    return BertTokenizer.from_pretrained(write_folder(place, {"tokenizer.json": tokenizer_json()}))


def pairs_of(tokenizer: BertTokenizer, **options: Any) -> SentencePairs:
    return SentencePairs(DOCUMENTS, tokenizer, **{"max_length": 12, **options})


def unmasked(batch: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Return both texts of each pair as letters, and its label."""
    ids = np.where(batch["labels"] >= 0, batch["labels"], batch["input_ids"])
    found = []
    for row, types, mask, label in zip(
        ids,
        batch["token_type_ids"],
        batch["attention_mask"],
        batch["next_sentence_label"],
        strict=True,
    ):
        kept, kinds = row[mask == 1], types[mask == 1]
        assert kept[0] == CLS
        first, second = kept[kinds == 0], kept[kinds == 1]
        assert first[-1] == second[-1] == SEP
        words = ["".join(TOKENS[i] for i in part) for part in (first[1:-1], second[:-1])]
        assert (row[mask == 0] == PAD).all()
        found.append((words[0], words[1], int(label)))
    return found


def drawn(data: SentencePairs, times: int = 200) -> list[tuple[str, str, int]]:
    """Return pairs of all chunks, drawn many times."""
    return [
        pair
        for seed in range(times)
        for pair in unmasked(data.batch(np.arange(len(data)), np.random.default_rng(seed)))
    ]


def test_the_second_text_follows_or_is_from_elsewhere(tokenizer: BertTokenizer) -> None:
    document = {letter: n for n, d in enumerate(DOCUMENTS) for text in d for letter in text}
    pairs = drawn(pairs_of(tokenizer))
    for first, second, is_random in pairs:
        assert first
        assert second
        assert first in LETTERS
        assert second in LETTERS
        if is_random:
            assert document[first[0]] != document[second[0]]
        else:
            assert document[first[0]] == document[second[0]]
            assert first[-1] < second[0]
    assert 0.4 < np.mean([label for *_, label in pairs]) < 0.75
    assert {label for *_, label in pairs} == {0, 1}
    assert set("".join(a + b for a, b, _ in pairs)) == set(LETTERS)  # every sentence is read


def test_a_pair_fits_and_one_in_ten_is_short(tokenizer: BertTokenizer) -> None:
    sizes = [len(a) + len(b) for a, b, _ in drawn(pairs_of(tokenizer, max_length=9), 400)]
    assert max(sizes) == 6
    assert min(sizes) == 2
    assert 0.03 < np.mean(np.array(sizes) < 5) < 0.2


def test_masked_tokens_are_those_of_the_texts(tokenizer: BertTokenizer) -> None:
    data = pairs_of(tokenizer, probability=0.5)
    batch = data.batch(np.arange(len(data)), np.random.default_rng(0))
    chosen = batch["labels"] >= 0
    assert not np.isin(batch["labels"][chosen], (CLS, SEP, PAD, MASK)).any()
    assert (batch["input_ids"][chosen] == MASK).mean() > 0.5
    again = data.batch(np.arange(len(data)), np.random.default_rng(0))
    assert all(np.array_equal(again[name], batch[name]) for name in batch)
    other = data.batch(np.arange(len(data)), np.random.default_rng(1))
    assert unmasked(other) != unmasked(batch)


def test_chunks_hold_every_sentence_once(tokenizer: BertTokenizer) -> None:
    data = pairs_of(tokenizer)
    spans = [(c.document, place) for c in data._chunks for place in range(c.start, c.stop)]
    assert spans == [(n, place) for n, d in enumerate(DOCUMENTS) for place in range(len(d))]
    assert data.lengths.tolist() == [11, 12, 12]
    assert data.fingerprint != pairs_of(tokenizer, max_length=10).fingerprint
    assert data.fingerprint == pairs_of(tokenizer).fingerprint


def test_a_chunk_of_one_sentence_has_a_second_text_from_elsewhere(
    tokenizer: BertTokenizer,
) -> None:
    data = SentencePairs([["a b c"], ["x y z"]], tokenizer)
    assert {(a, b) for a, b, label in drawn(data, 20) if label} >= {("abc", "xyz"), ("xyz", "abc")}
    assert all(label == 1 for *_, label in drawn(data, 20))


def test_what_makes_no_pair_is_refused(tokenizer: BertTokenizer) -> None:
    with pytest.raises(InputError, match=r"at least two documents with a sentence, .*; got 1"):
        SentencePairs([["a", "b"], [], [" "]], tokenizer)
    with pytest.raises(InputError, match="max_length must be at least 5; got 4"):
        SentencePairs(DOCUMENTS, tokenizer, max_length=4)


class Column:
    """What a Series is, as far as texts are concerned."""

    def __init__(self, items: list[Any]) -> None:
        self.shape, self._items = (len(items),), items

    def tolist(self) -> list[Any]:
        return list(self._items)


def objects(rows: list[Any]) -> Any:
    found = np.empty(len(rows), np.object_)
    found[:] = rows
    return found


@pytest.mark.parametrize("kind", [tuple, Column, objects])
def test_documents_may_stand_in_whatever_texts_do(tokenizer: BertTokenizer, kind: Any) -> None:
    wanted = SentencePairs(DOCUMENTS, tokenizer).fingerprint
    assert SentencePairs([kind(row) for row in DOCUMENTS], tokenizer).fingerprint == wanted
    assert SentencePairs(kind(DOCUMENTS), tokenizer).fingerprint == wanted


class Table:
    """What a DataFrame is: its items are the names of its columns."""

    columns, shape = ["first", "second"], (2, 2)

    def __iter__(self) -> Any:
        return iter(self.columns)


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        (
            ["a cat sat", "the dog ran"],
            r"documents\[0\] must be a list of its sentences; got one text",
        ),
        ([["a"], "b"], r"documents\[1\] must be a list of its sentences; got one text"),
        ("a cat", "documents must be a list of documents, .*; got one text"),
        (Table(), r"documents must be a list of documents, .*; got Table of shape \(2, 2\)"),
        ([["a"], Table()], r"documents\[1\] must be .*; got Table of shape"),
        ({"a": ["b"], "c": ["d"]}, "documents must be a list of documents, .*; got dict"),
        (iter([["a"], ["b"]]), "documents must be a list of documents, .*; got list_iterator"),
        ({("a",), ("b",)}, "documents must be a list of documents, .*; got set"),
        ([{"a": 1}, ["b"]], r"documents\[0\] must be a str or a list of str; got dict"),
        ([["a"], {"b"}], r"documents\[1\] must be .*; got set"),
        (
            np.array([["a", "b"], ["c", "d"]]),
            r"documents must be .*; got ndarray of shape \(2, 2\)",
        ),
        ([["a"], [None]], r"documents\[1\]\[0\] must be .*; got NoneType.* missing value"),
        ([["a"], None], r"documents\[1\] must be .*; got NoneType"),
        ([["a"], float("nan")], r"documents\[1\] must be .*; got float"),
        ([["a"], [1]], r"documents\[1\]\[0\] must be a str; got int"),
        ([["a"], [["b"]]], r"documents\[1\]\[0\] must be a str; got list"),
        ([["a"], b"b"], r"documents\[1\] must be .*; got bytes"),
        (None, "documents must be .*; got NoneType"),
        ([["a"], ["\ud800"]], r"documents\[1\]\[0\]: character 0 is U\+D800"),
    ],
)
def test_what_is_no_list_of_documents_is_refused_by_name(
    tokenizer: BertTokenizer, documents: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        SentencePairs(documents, tokenizer)


def test_a_fingerprint_tells_what_masking_draws_from(tmp_path: Path) -> None:
    def tokenizer_of(name: str, tokens: Any = TOKENS, **config: Any) -> BertTokenizer:
        files = {"tokenizer.json": tokenizer_json(tokens), "tokenizer_config.json": config}
        return BertTokenizer.from_pretrained(write_folder(tmp_path / name, files))

    plain, longer = tokenizer_of("a"), tokenizer_of("b", [*TOKENS, "more"])
    other = tokenizer_of("c", mask_token="world")
    piece = tokenizer_of("d", [*TOKENS[:-1], "##piece"])
    texts = [text for document in DOCUMENTS for text in document]
    for whole_words, tokenizers in ((False, (plain, longer, other)), (True, (plain, piece))):
        prints = [
            {
                SentencePairs(DOCUMENTS, t, whole_words=whole_words).fingerprint,
                MaskedTexts(texts, t, whole_words=whole_words).fingerprint,
            }
            for t in tokenizers
        ]
        assert len(set.union(*prints)) == 2 * len(tokenizers)


def test_whole_words_are_masked_in_pairs_too(tokenizer: BertTokenizer) -> None:
    documents = [["unaffable hello"], ["world unaffable"]]
    data = SentencePairs(documents, tokenizer, probability=0.5, whole_words=True)
    pieces = [TOKENS.index(name) for name in ("un", "##aff", "##able")]
    seen = set()
    for seed in range(30):
        batch = data.batch(np.arange(2), np.random.default_rng(seed))
        chosen = batch["labels"] >= 0
        ids: Any = np.where(chosen, batch["labels"], batch["input_ids"])
        for row, place in np.argwhere(ids == pieces[0]).tolist():
            if ids[row, place : place + 3].tolist() == pieces:
                seen.add(tuple(chosen[row, place : place + 3].tolist()))
    assert seen == {(True, True, True), (False, False, False)}


def test_a_separator_in_a_text_is_a_token_of_it(tokenizer: BertTokenizer) -> None:
    data = SentencePairs([["[SEP]"], ["[SEP]"]], tokenizer)
    batch = data.batch(np.arange(2), np.random.default_rng(0))
    assert batch["input_ids"].shape == (2, 5)
    assert set(np.argwhere(batch["labels"] >= 0)[:, 1].tolist()) <= {1, 3}


def test_tokens_are_cut_at_both_ends_of_the_longer_text() -> None:
    rng, kept = np.random.default_rng(0), set()
    for _ in range(200):
        first, second = _shortened(list(range(6)), list(range(10, 13)), 6, rng)
        assert second == [10, 11, 12]
        assert first == list(range(first[0], first[0] + 3))
        kept.add(first[0])
    assert kept == {0, 1, 2, 3}


def test_a_text_from_elsewhere_is_no_longer_than_it_must_be(tokenizer: BertTokenizer) -> None:
    data = pairs_of(tokenizer)
    for seed in range(50):
        found = data._elsewhere(0, 3, np.random.default_rng(seed))
        assert 1 <= len(found) <= 5  # sentences of at most three letters
