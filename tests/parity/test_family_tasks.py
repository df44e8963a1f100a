"""The tasks of BERT's family against transformers' pipelines, with tokenizers of their kinds."""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentence_transformers
import tokenizers
import torch
import transformers
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

import numpy_bert
from numpy_bert import CrossEncoder
from numpy_bert.training import (
    LabelledTexts,
    MaskedTexts,
    Trainer,
    TrainingArguments,
    new_classifier,
)
from tests.parity.test_tasks_parity import LABELS, TEXTS, pipeline, reference_answers, same
from tests.tolerances import CROSS_ENCODER, PIPELINE_SCORE

CORPUS = [
    *TEXTS,
    "Paris is the capital of France, the big city.",
    "Who lives where? She doesn't, he does; New York's unbelievable.",
]
FRAME = ["<s>", "<pad>", "</s>", "<unk>"]
LIMIT = 64
SIZES: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
}


def byte_level(folder: Path) -> Any:
    """Return RoBERTa's tokenizer of a small vocabulary."""
    trained = tokenizers.ByteLevelBPETokenizer()
    trained.train_from_iterator(
        CORPUS, vocab_size=420, special_tokens=[*FRAME, "<mask>"], show_progress=False
    )
    vocab, merges = trained.save_model(str(folder))
    return transformers.RobertaTokenizerFast(vocab=vocab, merges=merges, model_max_length=LIMIT)


def unigram(folder: Path) -> Any:
    """Return XLM-R's tokenizer of a small vocabulary, in an order that is the same each time."""
    trained = tokenizers.SentencePieceUnigramTokenizer()
    trained.train_from_iterator(
        CORPUS, vocab_size=200, special_tokens=FRAME, unk_token="<unk>", show_progress=False
    )
    pieces = json.loads(trained._tokenizer.to_str())["model"]["vocab"]
    ordered = [*pieces[: len(FRAME)], *sorted(pieces[len(FRAME) :])]
    return transformers.XLMRobertaTokenizerFast(
        vocab=[tuple(piece) for piece in ordered], model_max_length=LIMIT
    )


def wordpiece(folder: Path) -> Any:
    """Return DistilBERT's tokenizer of a small vocabulary: letters, and every other word.

    To train one gives others each time.
    """
    plain = BertNormalizer().normalize_str(" ".join(CORPUS))
    words = sorted({word for word, _ in BertPreTokenizer().pre_tokenize_str(plain)})
    letters = sorted({*"".join(words)})
    pieces = [*letters, *(f"##{letter}" for letter in letters), *words[::2]]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    path = folder / "vocab.txt"
    path.write_text("".join(f"{token}\n" for token in dict.fromkeys([*special, *pieces])), "utf-8")
    return transformers.DistilBertTokenizerFast(vocab=str(path), model_max_length=LIMIT)


FAMILY: dict[str, tuple[str, Callable[[Path], Any], dict[str, Any]]] = {
    "Roberta": (
        "roberta",
        byte_level,
        {"max_position_embeddings": LIMIT + 2, "type_vocab_size": 1},
    ),
    "XLMRoberta": (
        "xlm-roberta",
        unigram,
        {"max_position_embeddings": LIMIT + 2, "type_vocab_size": 1},
    ),
    "DistilBert": (
        "distilbert",
        wordpiece,
        {
            "dim": 24,
            "n_layers": 2,
            "n_heads": 4,
            "hidden_dim": 37,
            "max_position_embeddings": LIMIT,
        },
    ),
}
every_kind = pytest.mark.parametrize("kind", FAMILY)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Write a random checkpoint of a class, with a tokenizer of its kind."""

    def write(kind: str, end: str, *, sharp: float = 1.0, **config: Any) -> Path:
        model_type, tokenizer_of, settings = FAMILY[kind]
        tokenizer = tokenizer_of(tmp_path)
        for file in tmp_path.iterdir():
            file.unlink()
        tokenizer.save_pretrained(tmp_path)
        torch.manual_seed(11)
        sizes = {} if kind == "DistilBert" else SIZES
        made = transformers.CONFIG_MAPPING[model_type](
            vocab_size=len(tokenizer), initializer_range=0.6 * sharp, **sizes, **settings, **config
        )
        getattr(transformers, kind + end)(made).save_pretrained(tmp_path)
        return tmp_path

    return write


def ours(kind: str, end: str, folder: Path) -> Any:
    return getattr(numpy_bert, kind + end).from_pretrained(folder)


@every_kind
def test_fill_mask(make: Callable[..., Path], kind: str) -> None:
    folder = make(kind, "ForMaskedLM", sharp=0.2)
    model = ours(kind, "ForMaskedLM", folder)
    mask = model.tokenizer.mask_token
    assert (mask == "<mask>") == (kind != "DistilBert")
    filler = pipeline("fill-mask", folder)
    texts = [f"Paris is the {mask} of France.", f"{mask} one", f"and {mask} other, {mask}!"]
    found, theirs = model.fill_mask(texts, top_k=4), filler(texts, top_k=4)
    rows = [*zip(found[:2], theirs[:2], strict=True), *zip(found[2], theirs[2], strict=True)]
    for mine, yours in rows:
        for one, other in zip(mine, yours, strict=True):
            same(one, other)
    if mask == "<mask>":
        with pytest.raises(numpy_bert.InputError, match=r"text has no <mask> \(\[MASK\] is none"):
            model.fill_mask("Paris is the [MASK] of France.")


@every_kind
def test_classify(make: Callable[..., Path], kind: str) -> None:
    folder = make(kind, "ForSequenceClassification", num_labels=3)
    classifier = pipeline("text-classification", folder)
    model = ours(kind, "ForSequenceClassification", folder)
    for mine, text in zip(model.classify(TEXTS), TEXTS, strict=True):
        for one, other in zip(mine, classifier(text, top_k=None), strict=True):
            same(one, other)
    pair = model.classify("Is he?", TEXTS[0][:20], top_k=1)
    same(pair[0], classifier({"text": "Is he?", "text_pair": TEXTS[0][:20]}, top_k=1)[0])


@every_kind
@pytest.mark.parametrize("aggregation", ["none", "simple", "first", "average", "max"])
def test_tag(make: Callable[..., Path], kind: str, aggregation: str) -> None:
    names = dict(enumerate(LABELS))
    folder = make(
        kind,
        "ForTokenClassification",
        sharp=0.1,  # so that a token's own embedding counts
        id2label=names,
        label2id={name: number for number, name in names.items()},
    )
    tagger = pipeline("token-classification", folder, aggregation_strategy=aggregation)
    group = {} if aggregation == "none" else {"entity": "entity_group"}
    total = 0
    for text, mine in zip(
        TEXTS, ours(kind, "ForTokenClassification", folder).tag(TEXTS, aggregation), strict=True
    ):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Tokenizer does not support real words")
            yours = tagger(text)
        assert len(mine) == len(yours), text
        for one, other in zip(mine, yours, strict=True):
            same(one, other, **group)
        total += len(mine)
    assert total > 5


@every_kind
def test_answer_in_one_window(make: Callable[..., Path], kind: str) -> None:
    """This version of transformers has no such pipeline; its logits and tokens are torch's."""
    folder = make(kind, "ForQuestionAnswering")
    model = ours(kind, "ForQuestionAnswering", folder)
    theirs = getattr(transformers, f"{kind}ForQuestionAnswering").from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    question, context = "Who lives?", "New York City"
    encoded = tokenizer(question, context, return_tensors="pt")
    with torch.no_grad():
        output = theirs(**encoded)
    start, end = (x[0].double().numpy() for x in (output.start_logits, output.end_logits))
    inside = [i for i, which in enumerate(encoded.sequence_ids(0)) if which == 1]
    expected: dict[tuple[int, int], float] = {}
    for first, last, score in reference_answers(start, end, inside, longest=9, impossible=False):
        words = (encoded.token_to_word(first), encoded.token_to_word(last))
        place = (
            encoded.word_to_chars(0, words[0], sequence_index=1).start,
            encoded.word_to_chars(0, words[1], sequence_index=1).end,
        )
        expected.setdefault(place, score)
    found = model.answer(question, context, top_k=3, max_answer_len=9)
    for answer, (place, score) in zip(found, list(expected.items())[:3], strict=True):
        assert (answer.start, answer.end) == place
        assert answer.answer == context[slice(*place)]
        assert answer.score == pytest.approx(score, abs=PIPELINE_SCORE)


@every_kind
def test_a_cross_encoder(make: Callable[..., Path], kind: str) -> None:
    """A bge-reranker is a classifier of one label, and has no file of sentence-transformers."""
    folder = make(kind, "ForSequenceClassification", sharp=0.3, num_labels=1)
    peer = sentence_transformers.CrossEncoder(str(folder), device="cpu", local_files_only=True)
    model = CrossEncoder(folder)
    pairs = [(TEXTS[0], TEXTS[1]), ("a", "b"), ("", TEXTS[2]), (TEXTS[3], ""), (CORPUS[4] * 3, "a")]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* pairs have more tokens")
        found = model.predict(pairs)
    reference = peer.predict(pairs)
    assert model.max_seq_length == peer.max_seq_length == LIMIT
    np.testing.assert_allclose(found, reference, rtol=0, atol=CROSS_ENCODER)
    assert np.ptp(found) > 0.01
    model.save_pretrained(folder / "saved")
    again = sentence_transformers.CrossEncoder(str(folder / "saved"), device="cpu")
    np.testing.assert_allclose(again.predict(pairs), reference, rtol=0, atol=CROSS_ENCODER)


@every_kind
def test_training(
    make: Callable[..., Path], kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: Any
) -> None:
    """Dropout, clipping, decay and rates: the losses of twelve steps are torch's."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent.parent / "scripts"))
    monkeypatch.setattr(torch.nn.functional, "dropout", torch.nn.functional.dropout)  # it sets it
    from report_training import curves

    folder = make(kind, "ForSequenceClassification", sharp=0.1, num_labels=1)
    model = ours(kind, "ForSequenceClassification", folder)
    texts = ["a company", ("Who lives", "in New York City?"), "a", "you, speaking"]
    pairs = [text if isinstance(text, tuple) else (text, "he") for text in texts]
    data = LabelledTexts(pairs, [1.0, 0.2, 0.4, -0.3], model.tokenizer)
    options = argparse.Namespace(steps=12, batch_size=2, dtype="float64")
    losses = np.array(list(curves(str(folder), data, options)))
    assert len(set(losses[:, 0])) == 12  # it moves
    assert np.abs(losses[:, 0] - losses[:, 1]).max() <= 1e-8
    settings = TrainingArguments(max_steps=2, per_device_train_batch_size=2)
    new = new_classifier(model.bert, ["score"], folder, problem_type="regression")
    assert type(new).__name__ == f"{kind}ForSequenceClassification"
    trained = Trainer(new, data, settings, tmp_path_factory.mktemp("run")).train()
    assert type(trained) is type(new)
    before, after = (dict(m.named_parameters()) for m in (new, trained))
    assert all((after[name] != array).any() for name, array in before.items() if array.any())


@every_kind
def test_training_of_words(make: Callable[..., Path], kind: str, tmp_path_factory: Any) -> None:
    folder = make(kind, "ForMaskedLM", sharp=0.1)
    model = ours(kind, "ForMaskedLM", folder)
    data = MaskedTexts([text[:40] for text in CORPUS], model.tokenizer)
    batch = data.batch(np.arange(3), np.random.default_rng(0))
    mask = model.tokenizer.mask_token_id
    chosen = batch["labels"] != -100
    assert chosen.any()
    assert set(np.unique(batch["labels"][chosen])).isdisjoint({mask, 1})
    assert (batch["input_ids"][~chosen] != mask).all()
    settings = TrainingArguments(max_steps=3, per_device_train_batch_size=2, learning_rate=1e-2)
    trained = Trainer(model, data, settings, tmp_path_factory.mktemp("run")).train()
    with torch.no_grad():
        trained.save_pretrained(folder / "trained")
        peer = getattr(transformers, f"{kind}ForMaskedLM").from_pretrained(folder / "trained")
        given = {key: torch.from_numpy(value) for key, value in batch.items()}
        theirs = peer.eval()(**given).loss
    found = ours(kind, "ForMaskedLM", folder / "trained")
    assert found(**batch).loss == pytest.approx(float(theirs), rel=1e-5)
    assert found(**batch).loss != pytest.approx(model(**batch).loss, rel=1e-3)


@every_kind
def test_a_sentence_encoder(make: Callable[..., Path], kind: str) -> None:
    """A model without a head, whose vector is the mean of its tokens."""
    folder = make(kind, "Model", sharp=0.3)
    peer = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    model = numpy_bert.SentenceEncoder(folder)
    assert type(model.model).__name__ == f"{kind}Model"
    assert model.max_seq_length == peer.max_seq_length == LIMIT
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* more tokens")
        found = model.encode(CORPUS)
    np.testing.assert_allclose(found, peer.encode(CORPUS), rtol=0, atol=1e-6)
    model.save_pretrained(folder / "saved")
    again = sentence_transformers.SentenceTransformer(str(folder / "saved"), device="cpu")
    np.testing.assert_allclose(found, again.encode(CORPUS), rtol=0, atol=1e-6)
    arrays = dict(model.named_parameters())
    copied = model.with_parameters({name: array.copy() for name, array in arrays.items()})
    assert type(copied.model) is type(model.model)
    np.testing.assert_array_equal(copied.encode("a"), model.encode("a"))
