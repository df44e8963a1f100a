"""Masking: how many, which, and that whole words go together."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertTokenizer, InputError
from numpy_bert.training import masking
from numpy_bert.training.data import MaskedTexts
from numpy_bert.training.masking import mask_batch, mask_tokens, words_of
from tests.support.tokenizer_files import unigram_json, write_folder

IDS = np.random.default_rng(0).integers(5, 8000, (200, 100))
SPECIAL = np.zeros(IDS.shape, np.bool_)
SPECIAL[:, [0, -1]] = True
SPECIAL[:50, 80:] = True


def masked(seed: int = 0, **options: Any) -> Any:
    settings = {"mask_token_id": 4, "vocab_size": 8000, **options}
    return mask_tokens(IDS, SPECIAL, rng=np.random.default_rng(seed), **settings)


def test_shares_are_bert_s() -> None:
    found = masked()
    chosen = found.labels != -100
    assert not (chosen & SPECIAL).any()
    assert chosen.sum() / (~SPECIAL).sum() == pytest.approx(0.15, abs=0.01)
    assert np.array_equal(found.labels[chosen], IDS[chosen])
    hidden = (found.input_ids == 4)[chosen].mean()
    same = (found.input_ids == IDS)[chosen].mean()
    assert hidden == pytest.approx(0.8, abs=0.02)
    assert same == pytest.approx(0.1, abs=0.02)
    assert np.array_equal(found.input_ids[~chosen], IDS[~chosen])
    replaced = found.input_ids[chosen & (found.input_ids != 4) & (found.input_ids != IDS)]
    assert len(np.unique(replaced)) > 0.9 * len(replaced)  # any token of the vocabulary


def test_a_seed_gives_the_same_and_another_gives_another() -> None:
    one, same, other = masked(1), masked(1), masked(2)
    assert np.array_equal(one.labels, same.labels)
    assert np.array_equal(one.input_ids, same.input_ids)
    assert not np.array_equal(one.labels, other.labels)


def test_whole_words_go_together() -> None:
    words = np.repeat(np.arange(50), 2)[np.newaxis].repeat(200, axis=0)
    special = np.zeros(IDS.shape, np.bool_)
    found = mask_tokens(
        IDS,
        special,
        mask_token_id=4,
        vocab_size=8000,
        rng=np.random.default_rng(0),
        words=words,
        probability=0.3,
    )
    chosen = found.labels != -100
    assert np.array_equal(chosen[:, ::2], chosen[:, 1::2])
    assert chosen.mean() == pytest.approx(0.3, abs=0.01)
    pairs = found.input_ids[:, ::2] == 4, found.input_ids[:, 1::2] == 4
    assert (pairs[0] != pairs[1]).any()  # what becomes of each token is drawn for itself


def test_words_are_read_off_the_tokens() -> None:
    tokenizer = BertTokenizer.from_pretrained("demo")
    ids = tokenizer("unbelievable embeddings", return_tensors="np")["input_ids"]
    tokens = tokenizer.convert_ids_to_tokens(ids[0])
    assert isinstance(tokens, list)
    numbers = words_of([tokens])[0]
    assert numbers[0] == 0
    assert (
        numbers[-1]
        == numbers.max()
        == 1 + sum(not token.startswith("##") for token in tokens[1:-1])
    )
    for token, number, before in zip(tokens[1:], numbers[1:], numbers[:-1], strict=True):
        assert (number == before) == token.startswith("##")
    assert words_of([["##a", "##b", "c"]]).tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("probability", [0.0, 1.0, -0.1, float("nan"), "0.1", None])
def test_a_senseless_probability_is_refused(probability: Any) -> None:
    with pytest.raises(InputError, match="probability"):
        masked(probability=probability)


def test_whole_words_need_tokens_that_say_what_they_continue(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"tokenizer.json": unigram_json()})
    tokenizer = BertTokenizer.from_pretrained(folder)
    assert len(MaskedTexts(["the world"], tokenizer)) == 1
    with pytest.raises(InputError, match=r"^whole_words must be False with this tokenizer"):
        MaskedTexts(["the world"], tokenizer, whole_words=True)


def test_shapes_that_do_not_fit_are_refused() -> None:
    options: Any = {"mask_token_id": 4, "vocab_size": 9, "rng": np.random.default_rng(0)}
    for ids, special, words in (
        (IDS, SPECIAL[:1], None),
        (IDS[0], SPECIAL[0], None),
        (IDS, SPECIAL, np.zeros((1, 100), np.int64)),
    ):
        with pytest.raises(InputError, match="special and words must have one shape"):
            mask_tokens(ids, special, words=words, **options)


def test_a_batch_without_a_token_to_guess_is_refused() -> None:
    tokenizer, ids = BertTokenizer.from_pretrained("demo"), np.array([[2, 3]])
    with pytest.raises(InputError, match="a token must be there to be guessed"):
        mask_batch(ids, ids > 0, tokenizer, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("whole_words", "tokens", "probability", "digits", "after"),
    [
        (False, 64, 0.15, "68b53b22c399bd54", 0.5526172151803147),
        (True, 64, 0.15, "16b7a036203a0292", 0.6577179693391072),
        (False, 4, 0.05, "b6490d49d7f0a50e", 0.6311603121052107),  # most have to be drawn again
    ],
)
def test_what_is_drawn_stays_so_that_runs_go_on(
    whole_words: bool, tokens: int, probability: float, digits: str, after: float
) -> None:
    tokenizer = BertTokenizer.from_pretrained("demo")
    texts = ["the cat sat on the unbelievable mat", "a small house by the river of embeddings"]
    ids = tokenizer(texts, padding=True, return_tensors="np")["input_ids"][:, :tokens]
    rng, state = np.random.default_rng(7), hashlib.sha256()
    for _ in range(50):
        found = mask_batch(
            ids, ids < 5, tokenizer, rng=rng, whole_words=whole_words, probability=probability
        )
        state.update(found.input_ids.astype("<i8").tobytes() + found.labels.astype("<i8").tobytes())
    assert (state.hexdigest()[:16], rng.random()) == (digits, after)


@pytest.mark.parametrize("whole_words", [False, True])
@pytest.mark.parametrize("probability", [1e-9, 1e-300, 5e-324])
def test_a_tiny_probability_ends_too(whole_words: bool, probability: float) -> None:
    tokenizer, rng = BertTokenizer.from_pretrained("demo"), np.random.default_rng(0)
    ids = tokenizer(["embeddings", "an unbelievable cat"], padding=True, return_tensors="np")
    special = ids["input_ids"] < 5
    seen = set()
    for _ in range(20):
        found = mask_batch(
            ids["input_ids"],
            special,
            tokenizer,
            rng=rng,
            probability=probability,
            whole_words=whole_words,
        )
        chosen = found.labels != -100
        assert chosen.any()
        assert not (chosen & special).any()
        seen.add(chosen.tobytes())
    assert len(seen) > 2  # not always the first


def test_what_is_drawn_at_once_has_the_same_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, rng = BertTokenizer.from_pretrained("demo"), np.random.default_rng(0)
    ids = np.array([[2, 99, 100, 3, 0], [2, 101, 3, 0, 0]])
    monkeypatch.setattr(masking, "_TRIES", 0)
    p, counts, total = 0.3, np.zeros(8), 4000
    for _ in range(total):
        found = mask_batch(ids, ids < 5, tokenizer, rng=rng, probability=p)
        chosen = (found.labels != -100)[ids >= 5]
        counts[int(chosen @ [4, 2, 1])] += 1
    for pattern in range(8):
        k = pattern.bit_count()
        exact = p**k * (1 - p) ** (3 - k) / (1 - (1 - p) ** 3) if k else 0.0
        spread = math.sqrt(exact * (1 - exact) / total)
        assert abs(counts[pattern] / total - exact) <= 5 * spread, pattern
