"""Texts in the columns of pandas: what each that takes texts makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from numpy_bert import (
    BertForMaskedLM,
    BertForNextSentencePrediction,
    BertTokenizer,
    InputError,
    SentenceEncoder,
)

TEXTS = ["a cat", "the sea", "a [MASK] test"]
FRAME = pd.DataFrame({"text": TEXTS, "label": [1, 2, 3], "more": TEXTS})


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder.from_pretrained("demo")


Taken = dict[str, tuple[str, Callable[[Any], Any]]]


@pytest.fixture(scope="module")
def taken(encoder: SentenceEncoder) -> Taken:
    """Return all that takes texts, by the name of the argument that takes them."""
    corpus = encoder.encode(TEXTS)
    tokenizer = BertTokenizer.from_pretrained("demo")
    masked = BertForMaskedLM.from_pretrained("demo")
    follows = BertForNextSentencePrediction.from_pretrained("demo")
    return {
        "encode": ("sentences", encoder.encode),
        "search": ("query", lambda texts: encoder.search(texts, corpus, 1).indices),
        "tokenizer": ("text", lambda texts: tokenizer(texts)["input_ids"]),
        "pairs": ("text_pair", lambda texts: tokenizer(["a", "b", "c"], texts)["input_ids"]),
        "is_next": ("text", lambda texts: follows.is_next(texts, ["a", "b", "c"])),
        "is_next_pair": ("text_pair", lambda texts: follows.is_next(["a", "b", "c"], texts)),
        "fill_mask": ("text", masked.fill_mask),
    }


NAMES = ["encode", "search", "tokenizer", "pairs", "is_next", "is_next_pair", "fill_mask"]


@pytest.mark.parametrize("name", NAMES)
def test_a_table_is_refused_and_its_column_taken(taken: Taken, name: str) -> None:
    argument, call = taken[name]
    texts = [f"{text} [MASK]" for text in TEXTS[:2]] + TEXTS[2:] if name == "fill_mask" else TEXTS
    frame = FRAME.assign(text=texts).set_index("label")
    words = (
        rf"^{argument} must be a str or a list of str; got DataFrame of shape \(3, 2\)\. "
        r"Give one of its columns, such as df\['text'\]\.$"
    )
    with pytest.raises(InputError, match=words):
        call(frame)
    with pytest.raises(InputError, match=rf"^{argument} .*; got DataFrame of shape \(3, 1\)"):
        call(frame[["text"]])
    column = frame["text"]
    expected = call(texts)
    for kind in ("object", "string", "category"):
        found = call(column.astype(kind))
        assert (
            np.array_equal(found, expected) if name == "encode" else repr(found) == repr(expected)
        )
    assert len(call(pd.Index(texts))) == len(call(column.to_numpy())) == 3


@pytest.mark.parametrize("name", ["encode", "search", "tokenizer"])
@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT])
def test_a_missing_value_is_named_by_its_place_not_its_label(
    taken: Taken, name: str, missing: Any
) -> None:
    argument, call = taken[name]
    column = pd.Series(["a", missing, "b"], index=[7, 8, 9], dtype=object)
    words = rf"^{argument}\[1\] must be a str; got \w+\. It is a missing value"
    kinds = (column,) if missing is pd.NaT else (column, column.astype("string"))
    for given in (*kinds, list(column)):
        with pytest.raises(InputError, match=words):
            call(given)
    assert len(call(column.dropna())) == 2


def test_no_rows_are_no_texts(encoder: SentenceEncoder) -> None:
    corpus = encoder.encode(TEXTS)
    for column in (FRAME["text"][:0], pd.Series([]), pd.Series([], dtype="string"), pd.Index([])):
        assert encoder.encode(column).shape == (0, 384)
        assert encoder.search(column, corpus, 2).indices.shape == (0, 2)


def test_columns_of_numbers(encoder: SentenceEncoder) -> None:
    with pytest.raises(InputError, match=r"^sentences\[0\] must be a str; got int\.$"):
        encoder.encode(FRAME["label"])
    corpus = encoder.encode(TEXTS)
    vector = pd.Series(corpus[1])
    assert encoder.search(vector, corpus, 1).indices.tolist() == [1]
    assert encoder.search(pd.DataFrame(corpus), corpus, 1).indices.tolist() == [[0], [1], [2]]


def test_other_kinds_of_tables_parts(encoder: SentenceEncoder) -> None:
    for wrong in (FRAME.groupby("text"), FRAME.itertuples(), FRAME.to_dict(), FRAME.items()):
        with pytest.raises(InputError, match=r"^sentences must be a str or a list of str; got "):
            encoder.encode(wrong)
    row = FRAME[["text", "more"]].iloc[0]
    assert encoder.encode(row).shape == (2, 384)
