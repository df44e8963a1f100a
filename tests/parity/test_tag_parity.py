"""`tag` over long texts and over words against transformers' pipeline and its windows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from numpy_bert import BertForTokenClassification
from tests.tolerances import PIPELINE_SCORE

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC"]
TEXT = (
    "Hugging Face is a company based in New York City. The unbelievably long-winded Mr. O'Neill, "
    "47, lives in Zürich; doesn't he? snowman ☃ and 你好, electroencephalographically speaking. "
)
LONG = [TEXT * 4, TEXT, "a", "", "word " * 300, TEXT[::-1]]
WORDS = [text.split() for text in (TEXT, TEXT * 3, "a", "New-York isn't far", "☃ ☃x 你好")]
LIMIT = 48


@pytest.fixture
def make(data: Path, tmp_path: Path) -> Callable[..., tuple[BertForTokenClassification, Any]]:
    """Make a random tagger, here and in transformers, which may see each token by itself."""

    def both(*, context: bool) -> tuple[BertForTokenClassification, Any]:
        torch.manual_seed(5)
        config = transformers.BertConfig(
            vocab_size=30522,
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=37,
            max_position_embeddings=LIMIT,
            initializer_range=0.6,
            id2label=dict(enumerate(LABELS)),
            label2id={label: index for index, label in enumerate(LABELS)},
        )
        model = transformers.BertForTokenClassification(config)
        if not context:
            with torch.no_grad():
                model.bert.embeddings.position_embeddings.weight.zero_()
                for layer in model.bert.encoder.layer:
                    layer.attention.output.dense.weight.zero_()
        model.save_pretrained(tmp_path)
        file = str(data / "vocab" / "bert-base-uncased-tokenizer.json")
        transformers.BertTokenizerFast(tokenizer_file=file, model_max_length=LIMIT).save_pretrained(
            tmp_path
        )
        return BertForTokenClassification.from_pretrained(tmp_path), model.eval()

    return both


def tagger(model: BertForTokenClassification, aggregation: str, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return transformers.pipeline(
            "token-classification",
            model=str(model.folder),
            aggregation_strategy=aggregation,
            dtype=torch.float32,
            **options,
        )


def assert_same(ours: Sequence[Any], theirs: Sequence[dict[str, Any]]) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine.start, mine.end) == (other["start"], other["end"])
        assert mine.entity == other.get("entity_group", other.get("entity"))
        assert mine.word == other["word"]
        assert mine.score == pytest.approx(float(other["score"]), abs=PIPELINE_SCORE)


@pytest.mark.parametrize("aggregation", ["simple", "first", "average", "max"])
@pytest.mark.parametrize("stride", [8, 20])
def test_long_texts_where_windows_agree(
    make: Callable[..., Any], aggregation: str, stride: int
) -> None:
    """Where a token's labels do not hang on its window, all that fits into two is the same."""
    model, _ = make(context=False)
    pipe = tagger(model, aggregation, stride=stride)
    compared = 0
    for text, mine in zip(LONG, model.tag(LONG, aggregation, stride=stride), strict=True):
        if aggregation != "simple" and text == LONG[-1]:
            continue  # its words of many pieces are cut at the borders there
        theirs = pipe(text)
        longest = max((len(model.tokenizer.tokenize(e.word)) for e in mine), default=0)
        if longest >= stride:
            continue
        assert_same(mine, theirs)
        compared += len(mine)
    assert compared > 50


def test_entities_that_are_longer_than_the_overlap_are_whole(make: Callable[..., Any]) -> None:
    """There they are cut; here they are those of a model that reads all at once."""
    model, _ = make(context=False)
    options: dict[str, Any] = {"ignore_labels": ()}
    inside = next(
        word
        for word in ("word", "city", "house", "red", "run", "is")
        if not model.tag(word, "none", **options)[0].entity.startswith("B-")
    )
    text = " ".join([inside] * 300)
    (entity,) = model.tag(text, stride=8, **options)
    assert (entity.start, entity.end) == (0, len(text))
    assert len(tagger(model, "simple", stride=8, ignore_labels=[])(text)) > 1


@pytest.mark.parametrize("stride", [0, 7, 23, 100])
def test_each_token_has_the_window_with_most_around_it(
    make: Callable[..., Any], stride: int
) -> None:
    model, theirs = make(context=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model.folder)
    room = LIMIT - 2
    shared = min(stride, room // 2)
    windows = tokenizer(
        LONG[0],
        truncation=True,
        stride=shared,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    best: dict[tuple[int, int], tuple[float, str, float]] = {}
    count = len(windows["input_ids"])
    for number, ids in enumerate(windows["input_ids"]):
        with torch.no_grad():
            scores = theirs(torch.tensor([ids])).logits[0].softmax(-1).numpy()
        for place in range(1, len(ids) - 1):
            before = np.inf if number == 0 else place - 1
            after = np.inf if number == count - 1 else len(ids) - 2 - place
            label = int(scores[place].argmax())
            found = (float(min(before, after)), LABELS[label], float(scores[place, label]))
            key = windows["offset_mapping"][number][place]
            if key not in best or found[0] > best[key][0]:
                best[key] = found
    mine = model.tag(LONG[0], "none", ignore_labels=(), stride=stride)
    assert [(e.start, e.end) for e in mine] == sorted(best)
    for index, entity in enumerate(mine, 1):
        _, expected, score = best[entity.start, entity.end]
        assert (entity.entity, entity.index) == (expected, index)
        assert entity.score == pytest.approx(score, abs=PIPELINE_SCORE)


def test_words_as_tokens_are_grouped_alike(make: Callable[..., Any]) -> None:
    model, _ = make(context=True)
    pipe = tagger(model, "simple")
    for words, mine in zip(WORDS, model.tag(WORDS, is_split_into_words=True), strict=True):
        if len(model.tokenizer(words, is_split_into_words=True)["input_ids"]) <= LIMIT:
            (theirs,) = pipe([words], is_split_into_words=True)
            assert_same(mine, theirs)
            assert_same(model.tag(words, is_split_into_words=True), theirs)


@pytest.mark.parametrize("aggregation", ["first", "average", "max"])
def test_words_of_letters_are_words_there_too(make: Callable[..., Any], aggregation: str) -> None:
    model, _ = make(context=True)
    words = ["The", "unbelievably", "longwinded", "electroencephalographic", "Zürich"]
    (theirs,) = tagger(model, aggregation)([words], is_split_into_words=True)
    assert_same(model.tag(words, aggregation, is_split_into_words=True), theirs)


@pytest.mark.parametrize("row", range(len(WORDS)))
def test_each_word_has_the_label_of_its_first_token(make: Callable[..., Any], row: int) -> None:
    """As scripts align the labels of words: by word_ids, and the logits at the first of each."""
    model, theirs = make(context=False)
    words = WORDS[row]
    tokenizer = transformers.AutoTokenizer.from_pretrained(model.folder)
    encoded = tokenizer(words, is_split_into_words=True, return_tensors="pt", truncation=False)
    owners = encoded.word_ids(0)
    embedded = dict(encoded)["input_ids"]
    expected = []
    for place, owner in enumerate(owners):
        if owner is not None and owner != owners[place - 1]:
            with torch.no_grad():
                scores = theirs(embedded[:, place : place + 1]).logits[0, 0].softmax(-1)
            expected.append((words[owner], LABELS[int(scores.argmax())], owner))
    mine = model.tag(words, "none", is_split_into_words=True, ignore_labels=())
    assert [(e.word, e.entity, e.index) for e in mine] == expected
    joined = " ".join(words)
    assert all(joined[e.start : e.end] == e.word for e in mine)
