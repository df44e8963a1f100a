"""Pairs of texts: what is read of them, what does not fit, and batches without duplicates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import InputError, SentenceEncoder, similarity
from numpy_bert.identity import fingerprint, identity_of
from numpy_bert.training import (
    CoSENTLoss,
    CosineSimilarityLoss,
    MultipleNegativesRankingLoss,
    Trainer,
    TrainingArguments,
)
from numpy_bert.training import pairs as pair_module
from numpy_bert.training.data import batches_without_duplicates, tokens_of
from numpy_bert.training.pairs import PairedTexts, PairModel

FIRST = ["a cat sat", "it is warm", "alice saw a rabbit"]
SECOND = ["a kitten", "the sun is up", "there was a rabbit, and a hat"]
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder.from_pretrained("demo")


class Table:
    """What a datasets.Dataset shows of itself."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self._columns, self.column_names = columns, list(columns)

    def __getitem__(self, name: str) -> Any:
        return iter(self._columns[name])


COLUMNS = {"one": FIRST, "score": [1.0, 0.5, 0.0], "other": SECOND}


@pytest.mark.parametrize(
    "dataset",
    [
        COLUMNS,
        {name: np.array(column) for name, column in COLUMNS.items()},
        [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)],
        Table(COLUMNS),
    ],
)
def test_rows_are_read_from_whatever_holds_them(dataset: Any, encoder: SentenceEncoder) -> None:
    data = PairedTexts(dataset, encoder)
    assert data.columns == ("one", "other")
    assert len(data) == 3
    assert data.fingerprint == PairedTexts(COLUMNS, encoder).fingerprint
    batch = data.batch(np.array([2, 0]), RNG)
    assert batch["labels"].tolist() == [0.0, 1.0]
    ids = encoder.tokenizer(SECOND[2])["input_ids"]
    assert batch["columns"]["other"]["input_ids"][0].tolist() == ids
    short = encoder.tokenizer(SECOND[0])["input_ids"]
    assert batch["columns"]["other"]["attention_mask"][1].sum() == len(short)
    first = [encoder.tokenizer(FIRST[n])["input_ids"] for n in (2, 0)]
    assert tokens_of(batch) == len(ids) + len(short) + sum(map(len, first))
    assert data.lengths[2] == len(ids) + len(first[0])


def test_a_pandas_table_is_such_a_table(encoder: SentenceEncoder) -> None:
    pandas = pytest.importorskip("pandas")
    data = PairedTexts(pandas.DataFrame(COLUMNS), encoder)
    assert data.fingerprint == PairedTexts(COLUMNS, encoder).fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"one": SECOND, "other": FIRST},
        {"one": [*FIRST[:2], "alice saw a hat"]},
        {"score": [1.0, 0.5, 0.25]},
    ],
)
def test_other_pairs_have_another_fingerprint(change: Any, encoder: SentenceEncoder) -> None:
    other = PairedTexts({**COLUMNS, **change}, encoder)
    assert other.fingerprint != PairedTexts(COLUMNS, encoder).fingerprint
    swapped = PairedTexts({name: COLUMNS[name] for name in ("other", "score", "one")}, encoder)
    assert swapped.fingerprint != PairedTexts(COLUMNS, encoder).fingerprint  # the order counts


@pytest.mark.parametrize("name", ["label", "labels", "score", "scores"])
def test_the_column_of_numbers_is_found_by_its_name(name: str, encoder: SentenceEncoder) -> None:
    data = PairedTexts({"a": FIRST, "b": SECOND, name: [1, 0, 1]}, encoder)
    assert data.scores is not None
    assert data.scores.tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (FIRST, r"train_dataset must be a dict of columns, .*; got list"),
        (None, r"must be a dict of columns, .*; got NoneType"),
        ({}, r"columns of texts that all have as many rows, at least one; got none"),
        ({"score": [1.0]}, r"as many rows, .*; got score of 1"),
        ({"a": FIRST, "b": SECOND[:2]}, r"as many rows, .*; got a of 3, b of 2"),
        ({"a": [], "b": []}, "at least one; got a of 0, b of 0"),
        ({"a": FIRST, "b": ["x", 3, "y"]}, r"train_dataset: b\[1\]"),
        ({"a": FIRST, "b": "text"}, "train_dataset: b must be a column of texts; got one text"),
        ({"train": {"a": FIRST}}, "train_dataset: train must be a column of texts; it is a table"),
        ([{"a": "x", "b": "y"}, {"a": "x"}], r"train_dataset\[1\]: must have a, b, .*; it has a"),
        ({"a": FIRST, "label": [1.0, np.nan, 0.0]}, r"train_dataset: label\[1\] must be finite"),
        ({"a": FIRST, "label": ["x", "y", "z"]}, "label must be a number for each row; got <U1"),
        ({"a": FIRST, "label": [[1.0], [2.0], [3.0]]}, r"label must be a number .* shape \(3, 1\)"),
    ],
)
def test_what_is_no_rows_is_named(dataset: Any, message: str, encoder: SentenceEncoder) -> None:
    with pytest.raises(InputError, match=message):
        PairedTexts(dataset, encoder)


@pytest.mark.parametrize(
    ("loss", "dataset", "message"),
    [
        (CoSENTLoss, {"a": FIRST, "b": SECOND}, "CoSENTLoss needs a column of numbers"),
        (CoSENTLoss, {"a": FIRST, "label": [1, 2, 3]}, r"takes two columns .*; got 1 \(a\)"),
        (
            CosineSimilarityLoss,
            {"a": FIRST, "b": SECOND, "c": FIRST, "label": [1, 2, 3]},
            r"takes two columns of texts; got 3 \(a, b, c\)",
        ),
        (
            CosineSimilarityLoss,
            {"a": FIRST, "b": SECOND, "label": [1, -2, 3]},
            "a score, from -1 to 1; row 2 has -2",
        ),
        (MultipleNegativesRankingLoss, {"a": FIRST}, r"anchors and one of positives; got 1 \(a\)"),
    ],
)
def test_data_that_do_not_fit_a_loss_are_named(
    loss: type[Any], dataset: Any, message: str, encoder: SentenceEncoder, tmp_path: Path
) -> None:
    model, data = PairModel(encoder, loss(encoder)), PairedTexts(dataset, encoder)
    with pytest.raises(InputError, match=message):
        Trainer[Any](model, data, TrainingArguments(), tmp_path)


def test_numbers_that_are_not_read_are_told_of(encoder: SentenceEncoder) -> None:
    model = PairModel(encoder, MultipleNegativesRankingLoss(encoder))
    with pytest.warns(UserWarning, match="does not read the column of numbers"):
        PairedTexts(COLUMNS, encoder).check(model)


@pytest.mark.parametrize(
    ("loss", "arguments", "message"),
    [
        (MultipleNegativesRankingLoss, {"scale": 0.0}, "scale must be a number above 0; got 0.0"),
        (MultipleNegativesRankingLoss, {"scale": "x"}, "scale must be a number above 0"),
        (
            MultipleNegativesRankingLoss,
            {"directions": ("query_to_doc", "doc_to_query")},
            r"directions must be \('query_to_doc',\) or \['query_to_doc'\]; got \('query",
        ),
        (MultipleNegativesRankingLoss, {"gather_across_devices": True}, "must be False"),
        (MultipleNegativesRankingLoss, {"hardness_mode": "hard_negatives"}, "must be None"),
        (
            MultipleNegativesRankingLoss,
            {"similarity_fct": np.dot},
            "must be None, 'cos_sim' or 'sim",
        ),
        (CoSENTLoss, {"scale": float("inf")}, "scale must be a number above 0; got inf"),
        (CoSENTLoss, {"similarity_fct": np.dot}, "must be None, 'pairwise_cos_sim' or"),
        (CosineSimilarityLoss, {"loss_fct": np}, "loss_fct must be None or 'MSELoss'; got <mod"),
    ],
)
def test_what_a_loss_does_not_compute_is_refused(
    loss: type[Any], arguments: dict[str, Any], message: str, encoder: SentenceEncoder
) -> None:
    with pytest.raises(InputError, match=message):
        loss(encoder, **arguments)


def test_a_loss_is_of_a_sentence_encoder(encoder: SentenceEncoder) -> None:
    with pytest.raises(InputError, match="model must be a SentenceEncoder; got BertModel"):
        CoSENTLoss(encoder.model)  # type: ignore[arg-type]
    both = MultipleNegativesRankingLoss(
        encoder, similarity_fct=similarity, directions=["query_to_doc"]
    )
    assert both.identity == MultipleNegativesRankingLoss(encoder).identity


def test_another_loss_is_another_model(encoder: SentenceEncoder) -> None:
    every = [
        PairModel(encoder, CoSENTLoss(encoder)),
        PairModel(encoder, CoSENTLoss(encoder, scale=3.0)),
        PairModel(encoder, CosineSimilarityLoss(encoder)),
        PairModel(encoder, MultipleNegativesRankingLoss(encoder)),
    ]
    assert len({fingerprint(model) for model in every}) == 4
    assert identity_of(every[1])["scale"] == 3.0


def test_texts_are_cut_where_the_encoder_cuts_them(encoder: SentenceEncoder) -> None:
    with pytest.warns(UserWarning, match=r"2 of 6 texts have more than 5 tokens .* other\[1\]"):
        data = PairedTexts({"one": FIRST[:1] * 3, "other": SECOND}, encoder, max_length=5)
    batch = data.batch(np.arange(3), RNG)
    assert batch["columns"]["other"]["input_ids"].shape == (3, 5)


def test_a_batch_must_be_of_columns(encoder: SentenceEncoder) -> None:
    model = PairModel(encoder, CosineSimilarityLoss(encoder))
    every: list[dict[str, Any]] = [{}, {"columns": {}}, {"input_ids": [[2, 3]]}]
    for wrong in (*every, {"columns": {"a": 1}, "x": 1}):
        with pytest.raises(InputError, match="batch must have columns"):
            model.loss_and_gradients(wrong)


def test_batches_in_which_no_text_is_twice() -> None:
    texts = [frozenset((f"{n % 7}", f"{n + 100}")) for n in range(40)]
    for seed in range(5):
        made = batches_without_duplicates(
            40, 6, np.random.default_rng(seed), lambda number: texts[number]
        )
        assert len(made) == 7
        for batch in made:
            seen = [text for number in batch for text in texts[number]]
            assert len(seen) == len(set(seen))
        every = np.concatenate(made).tolist()
        assert len(every) == len(set(every)) >= 38
    alone = batches_without_duplicates(5, 2, np.random.default_rng(0), lambda _: frozenset("a"))
    assert [len(batch) for batch in alone] == [1, 1, 1]  # the others wait for another pass
    other = batches_without_duplicates(40, 6, np.random.default_rng(9), lambda n: texts[n])
    assert [b.tolist() for b in other] != [b.tolist() for b in made]


class InOrder:
    """A generator that leaves the order as it is."""

    def permutation(self, count: int) -> Any:
        return np.arange(count)


def test_what_has_waited_comes_first() -> None:
    texts = ["a", "a", "b", "c", "d", "e"]
    rng: Any = InOrder()
    made = batches_without_duplicates(6, 2, rng, lambda number: frozenset(texts[number]))
    assert [batch.tolist() for batch in made] == [[0, 2], [1, 3], [4, 5]]


@pytest.mark.parametrize(("words", "runs"), [(1, 1), (30, 2)])
def test_columns_of_unlike_lengths_are_read_apart(
    words: int, runs: int, encoder: SentenceEncoder
) -> None:
    data = PairedTexts({"a": ["cat", "dog"], "b": ["cat " * words, "sun"]}, encoder)
    groups = pair_module._groups(list(data.batch(np.arange(2), RNG)["columns"].values()))
    assert len(groups) == runs


def test_all_rows_come_once_where_no_text_is_twice() -> None:
    made = batches_without_duplicates(
        1000, 16, np.random.default_rng(0), lambda number: frozenset((str(number),))
    )
    assert sorted(np.concatenate(made).tolist()) == list(range(1000))
    assert [len(batch) for batch in made] == [16] * 62 + [8]


def test_a_run_reads_batches_without_duplicates(encoder: SentenceEncoder, tmp_path: Path) -> None:
    columns = {"a": ["same", "same", *FIRST], "b": [*SECOND, "one", "two"]}
    model = PairModel(encoder, MultipleNegativesRankingLoss(encoder))
    settings = TrainingArguments(per_device_train_batch_size=3, batch_sampler="no_duplicates")
    run = Trainer[Any](model, PairedTexts(columns, encoder), settings, tmp_path)
    for number in range(20):
        assert not {0, 1} <= {*run._examples(number).tolist()}
    plain = Trainer[Any](
        model,
        PairedTexts(columns, encoder),
        replace(settings, batch_sampler="batch_sampler"),
        tmp_path,
    )
    assert any({0, 1} <= {*plain._examples(number).tolist()} for number in range(20))


def test_accumulated_batches_are_the_mean_of_theirs(tmp_path: Path) -> None:
    encoder = SentenceEncoder.from_pretrained("demo", dtype="float64")
    for loss in (CoSENTLoss, CosineSimilarityLoss, MultipleNegativesRankingLoss):
        model = PairModel(encoder, loss(encoder))
        columns = COLUMNS if loss is not MultipleNegativesRankingLoss else {"a": FIRST, "b": SECOND}
        data = PairedTexts(columns, encoder)
        parts = [data.batch(np.array(numbers), RNG) for numbers in ([0, 1], [2, 0])]
        alone = [model.loss_and_gradients(part) for part in parts]
        items = {"rows": sum(model.num_items_in_batch(part)["rows"] for part in parts)}
        both = [model.loss_and_gradients(part, num_items_in_batch=items) for part in parts]
        assert sum(part.loss for part in both) == pytest.approx(
            np.mean([part.loss for part in alone]), rel=1e-12
        )
        for name, array in alone[0].named():
            mean = (array + alone[1].gradients[name]) / 2
            total = both[0].gradients[name] + both[1].gradients[name]
            np.testing.assert_allclose(total, mean, rtol=0, atol=1e-12)
