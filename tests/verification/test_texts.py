"""The ids and token types of a trace, held against the texts that it is said to be made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertModel, BertTokenizer
from numpy_bert.comparison.report import StepReport
from numpy_bert.traces.trace_inputs import TraceInputs, inputs_of
from numpy_bert.verification.origins import compare_texts
from tests.support.family_tokenizers import roberta_json

TEXTS = ["Alice saw a rabbit, and it ran away.", "it ran"]
Rows = list[list[int]]


@pytest.fixture(scope="module")
def model() -> BertModel:
    return BertModel.from_pretrained("demo")


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return BertTokenizer.from_pretrained("demo")


def inputs(model: BertModel, ids: Rows, types: Rows | None = None) -> TraceInputs:
    """Pad rows to the length of the longest."""
    width = max(map(len, ids))

    def padded(rows: Rows) -> Any:
        return np.array([[*row, *[0] * (width - len(row))] for row in rows])

    given = {"input_ids": padded(ids), "attention_mask": padded([[1] * len(row) for row in ids])}
    if types is not None:
        given["token_type_ids"] = padded(types)
    return inputs_of(given, model)


def rows_for(given: TraceInputs, tokenizer: BertTokenizer, *, pair: bool) -> list[StepReport]:
    return list(compare_texts(given, TEXTS, tokenizer, pair=pair))


@pytest.mark.parametrize(
    ("change", "cause", "text"),
    [
        (lambda row, _: row[1:], "special_tokens_missing", "there is no [CLS];"),
        (lambda row, _: row[:-1], "special_tokens_missing", "there is no [SEP] at the end;"),
        (lambda row, _: row[1:-1], "special_tokens_missing", "there are no [CLS] and [SEP];"),
        (lambda row, _: row[:1] + row, "special_tokens_doubled", "[CLS] stands there twice;"),
        (lambda row, _: row + row[-1:], "special_tokens_doubled", "[SEP] stands at the end twice;"),
        (
            lambda row, _: row[:1] + row + row[-1:],
            "special_tokens_doubled",
            "[CLS] and [SEP] are added twice;",
        ),
        (
            lambda row, end: [*row[:5], end] if len(row) > 6 else row,
            "tokenizer_cut",
            "the texts are cut at 6 tokens, not at all;",
        ),
        (
            lambda row, _: row[:6],
            "tokenizer_cut",
            "the texts are cut at 6 tokens, not at all, and their [SEP] with them;",
        ),
        (lambda row, _: row[::-1], None, "no known mistake gives these ids;"),
    ],
)
def test_special_tokens_and_cuts(
    model: BertModel,
    tokenizer: BertTokenizer,
    change: Callable[[list[int], int], list[int]],
    cause: str | None,
    text: str,
) -> None:
    right: Any = tokenizer(TEXTS)["input_ids"]
    (row,) = rows_for(
        inputs(model, [change(ids, tokenizer.sep_token_id) for ids in right]),
        tokenizer,
        pair=False,
    )
    assert (row.name, row.verdict, row.cause) == ("input_ids", "differs", cause)
    assert row.text.startswith(text)


def test_a_pair_without_or_with_two_separators(model: BertModel, tokenizer: BertTokenizer) -> None:
    right: Any = tokenizer(*TEXTS)["input_ids"]
    middle = right.index(tokenizer.sep_token_id)
    for ids, cause, text in (
        (right[:middle] + right[middle + 1 :], "special_tokens_missing", "there is no [SEP] betw"),
        (
            right[:middle] + right[middle:][:1] + right[middle:],
            "special_tokens_doubled",
            "[SEP] st",
        ),
    ):
        row = rows_for(inputs(model, [ids]), tokenizer, pair=True)[0]
        assert (row.verdict, row.cause) == ("differs", cause)
        assert row.text.startswith(text)


def test_a_text_that_is_longer_than_the_model_reads(model: BertModel) -> None:
    tokenizer = BertTokenizer.from_pretrained("demo")
    tokenizer.model_max_length = 8
    cut: Any = tokenizer(TEXTS, truncation=True)["input_ids"]
    assert len(cut[0]) == 8
    assert [row.verdict for row in rows_for(inputs(model, cut), tokenizer, pair=False)] == [
        "pass",
        "pass",
    ]
    short: Any = tokenizer(TEXTS, truncation=True, max_length=7)["input_ids"]
    (row,) = rows_for(inputs(model, short), tokenizer, pair=False)
    assert row.cause == "tokenizer_cut"
    assert row.text.startswith("the texts are cut at 7 tokens, not at 8;")
    whole: Any = tokenizer(TEXTS)["input_ids"]
    (row,) = rows_for(inputs(model, whole), tokenizer, pair=False)
    assert row.text.startswith("the texts are not cut; the model reads 8 tokens;")


@pytest.mark.parametrize(
    ("change", "cause", "text"),
    [
        (lambda types: types, None, ""),
        (lambda types: 0 * types, "segments_ignored", "every token is taken for segment 0;"),
        (lambda types: 0 * types + 1, "segments_ignored", "every token is taken for segment 1;"),
        (lambda types: 1 - types, "segments_swapped", "segments 0 and 1 are swapped;"),
        (
            lambda types: types + np.append(np.diff(types), 0),
            "segments_separator",
            "the [SEP] between two texts is taken for the second;",
        ),
        (lambda types: np.roll(types, -3), None, "no known mistake gives these token types;"),
    ],
)
def test_token_types_of_a_pair(
    model: BertModel,
    tokenizer: BertTokenizer,
    change: Callable[[Any], Any],
    cause: str | None,
    text: str,
) -> None:
    right: Any = tokenizer(*TEXTS)
    types = change(np.array(right["token_type_ids"]))
    given = inputs(model, [right["input_ids"]], [types.tolist()])
    ids, row = rows_for(given, tokenizer, pair=True)
    assert (ids.name, ids.verdict, row.name) == ("input_ids", "pass", "token_type_ids")
    assert (row.verdict, row.cause) == ("differs" if text else "pass", cause)
    assert row.text.startswith(text)


def test_a_wrong_token_type_is_said_with_its_place(
    model: BertModel, tokenizer: BertTokenizer
) -> None:
    right: Any = tokenizer(*TEXTS)
    middle = right["token_type_ids"].index(1)
    row = rows_for(inputs(model, [right["input_ids"]]), tokenizer, pair=True)[1]
    assert row.text.endswith(f"; token_type_ids[0, {middle}] is 0, not 1")


def test_the_special_tokens_are_called_what_they_are(tmp_path: Path) -> None:
    """A RoBERTa has two of them between the texts of a pair."""
    (tmp_path / "tokenizer.json").write_text(json.dumps(roberta_json()), "utf-8")
    tokenizer = BertTokenizer.from_pretrained(tmp_path)
    ids = list(tokenizer(*TEXTS)["input_ids"])
    end = tokenizer.sep_token_id
    first = ids.index(end)
    assert ids[first + 1] == end
    for row, text in (
        (ids[1:], "there is no <s>;"),
        (ids[:first] + ids[first + 1 :], "there is one </s>, not two, between the two texts;"),
        ([*ids[:first], end, *ids[first:]], "</s> stands three times between the two texts;"),
    ):
        given = np.array([row])
        mask = np.ones_like(given, np.bool_)
        inputs = TraceInputs(given, mask, given * 0, np.arange(len(row))[np.newaxis])
        (report, *_) = compare_texts(inputs, TEXTS, tokenizer, pair=True)
        assert text in report.text
