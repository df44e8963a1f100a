"""The tasks' methods against transformers' pipelines, on random models with real vocabularies."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import numpy_bert
from tests.tolerances import PIPELINE_SCORE

TEXTS = [
    "Hugging Face is a company based in New York City.",
    "The unbelievably long-winded Mr. O'Neill, 47, lives in Zürich; doesn't he?",
    "a",
    "snowman ☃ and 你好, electroencephalographically speaking",
]
LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC"]


@pytest.fixture
def make(data: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write a random checkpoint of a class with Google's uncased vocabulary."""

    def write(name: str, *, sharp: float = 1.0, **config: Any) -> Path:
        torch.manual_seed(11)
        sizes = transformers.BertConfig(
            vocab_size=30522,
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=37,
            max_position_embeddings=64,
            initializer_range=0.6 * sharp,
            **config,
        )
        getattr(transformers, name)(sizes).save_pretrained(tmp_path)
        tokenizer = transformers.BertTokenizerFast(
            tokenizer_file=str(data / "vocab" / "bert-base-uncased-tokenizer.json"),
            model_max_length=64,
        )
        tokenizer.save_pretrained(tmp_path)
        return tmp_path

    return write


def pipeline(task: str, folder: Path, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return transformers.pipeline(task, model=str(folder), dtype=torch.float32, **options)


def same(ours: Any, theirs: dict[str, Any], **names: str) -> None:
    """Compare a result with a pipeline's dict; `names` says what a field is called there."""
    for field in type(ours).__dataclass_fields__:
        key = names.get(field, field)
        if key not in theirs:
            assert getattr(ours, field) is None, field
        elif field == "score":
            assert ours.score == pytest.approx(float(theirs[key]), abs=PIPELINE_SCORE)
        else:
            assert getattr(ours, field) == theirs[key], field


def test_fill_mask(make: Callable[..., Path]) -> None:
    folder = make("BertForMaskedLM", sharp=0.2)
    model = numpy_bert.BertForMaskedLM.from_pretrained(folder)
    filler = pipeline("fill-mask", folder)
    texts = ["Paris is the [MASK] of France.", "[MASK] one", "and [MASK] other, [MASK]!"]
    theirs = filler(texts, top_k=4)
    ours = model.fill_mask(texts, top_k=4)
    for mine, yours in zip(ours[:2], theirs[:2], strict=True):
        assert len(mine) == len(yours) == 4
        for one, other in zip(mine, yours, strict=True):
            same(one, other)
    for mine, yours in zip(ours[2], theirs[2], strict=True):
        for one, other in zip(mine, yours, strict=True):
            same(one, other)
    targets = ["capital", "city", "river"]
    mine, yours = model.fill_mask(texts[0], 5, targets), filler(texts[0], targets=targets)
    assert {fill.token_str for fill in mine} == set(targets)
    for one, other in zip(mine, yours, strict=True):
        same(one, other)


@pytest.mark.parametrize(
    "config",
    [
        {"num_labels": 5},
        {"num_labels": 1},
        {"num_labels": 3, "problem_type": "multi_label_classification"},
        {"num_labels": 1, "problem_type": "regression"},
        {"id2label": {0: "no", 1: "yes"}, "label2id": {"no": 0, "yes": 1}},
    ],
)
@pytest.mark.parametrize("function", [None, "none", "sigmoid", "softmax"])
def test_classify(make: Callable[..., Path], config: dict[str, Any], function: str | None) -> None:
    folder = make("BertForSequenceClassification", **config)
    model = numpy_bert.BertForSequenceClassification.from_pretrained(folder)
    options: dict[str, Any] = {} if function is None else {"function_to_apply": function}
    classifier = pipeline("text-classification", folder)
    for mine, text in zip(model.classify(TEXTS, **options), TEXTS, strict=True):
        yours = classifier(text, top_k=None, **options)
        assert len(mine) == len(yours) == model.config.num_labels
        for one, other in zip(mine, yours, strict=True):
            same(one, other)
    pair = model.classify(TEXTS[0], TEXTS[1], top_k=1, **options)
    yours = classifier({"text": TEXTS[0], "text_pair": TEXTS[1]}, top_k=1, **options)
    assert len(pair) == 1
    same(pair[0], yours[0])


@pytest.mark.parametrize("aggregation", ["none", "simple", "first", "average", "max"])
def test_tag(make: Callable[..., Path], aggregation: str) -> None:
    names = dict(enumerate(LABELS))
    folder = make(
        "BertForTokenClassification",
        sharp=0.1,  # so that a token's own embedding counts
        id2label=names,
        label2id={n: i for i, n in names.items()},
    )
    model = numpy_bert.BertForTokenClassification.from_pretrained(folder)
    tagger = pipeline("token-classification", folder, aggregation_strategy=aggregation)
    group = {} if aggregation == "none" else {"entity": "entity_group"}
    total = 0
    for text, mine in zip(TEXTS, model.tag(TEXTS, aggregation), strict=True):
        yours = tagger(text)
        assert len(mine) == len(yours), text
        for one, other in zip(mine, yours, strict=True):
            same(one, other, **group)
        total += len(mine)
    assert total > 5


def reference_answers(
    start: Any, end: Any, inside: list[int], *, longest: int, impossible: bool
) -> list[tuple[int, int, float]]:
    """Try every span, as transformers' question-answering pipeline scored them."""
    allowed = np.full(len(start), -np.inf)
    allowed[inside] = 0.0
    if impossible:
        allowed[0] = 0.0
    starts = np.exp(start + allowed - (start + allowed).max())
    ends = np.exp(end + allowed - (end + allowed).max())
    starts, ends = starts / starts.sum(), ends / ends.sum()
    spans = [(i, j, starts[i] * ends[j]) for i in inside for j in inside if 0 <= j - i < longest]
    if impossible:
        spans.append((0, 0, starts[0] * ends[0]))
    return sorted(spans, key=lambda span: -span[2])


@pytest.mark.parametrize("impossible", [False, True])
@pytest.mark.parametrize("longest", [1, 4, 15])
def test_answer_in_one_window(make: Callable[..., Path], longest: int, *, impossible: bool) -> None:
    """This version of transformers has no such pipeline; its logits and tokens are torch's."""
    folder = make("BertForQuestionAnswering")
    model = numpy_bert.BertForQuestionAnswering.from_pretrained(folder)
    theirs = transformers.BertForQuestionAnswering.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    question, context = "Who lives where?", TEXTS[1]
    encoded = tokenizer(question, context, return_tensors="pt", return_offsets_mapping=True)
    offsets = encoded.pop("offset_mapping")[0].tolist()
    with torch.no_grad():
        output = theirs(**encoded)
    start, end = (x[0].double().numpy() for x in (output.start_logits, output.end_logits))
    inside = [i for i, which in enumerate(encoded.sequence_ids(0)) if which == 1]
    expected: dict[tuple[int, int], float] = {}
    for first, last, score in reference_answers(
        start, end, inside, longest=longest, impossible=impossible
    ):
        place = (0, 0)
        if first:  # whole words, as the pipeline aligned them
            words = (encoded.token_to_word(first), encoded.token_to_word(last))
            place = (
                encoded.word_to_chars(0, words[0], sequence_index=1).start,
                encoded.word_to_chars(0, words[1], sequence_index=1).end,
            )
        expected.setdefault(place, score)
    assert offsets[inside[0]] == [0, 3]
    found = model.answer(
        question, context, top_k=3, max_answer_len=longest, handle_impossible_answer=impossible
    )
    for answer, (place, score) in zip(found, list(expected.items())[:3], strict=True):
        assert (answer.start, answer.end) == place
        assert answer.answer == context[slice(*place)]
        assert answer.score == pytest.approx(score, abs=PIPELINE_SCORE)


def test_is_next(make: Callable[..., Path]) -> None:
    folder = make("BertForNextSentencePrediction")
    theirs = transformers.BertForNextSentencePrediction.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        logits = theirs(**tokenizer(TEXTS[0], TEXTS[1], return_tensors="pt")).logits
    found = numpy_bert.BertForNextSentencePrediction.from_pretrained(folder)
    judged = found.is_next(TEXTS[0], TEXTS[1])
    assert judged.score == pytest.approx(logits.softmax(-1)[0, 0].item(), abs=PIPELINE_SCORE)
    assert judged.is_next == (judged.score > 0.5)
