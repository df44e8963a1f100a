"""A reading holds the trace's numbers, of the tokens that are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertForPreTraining, BertModel, BertTokenizer, InputError, explain
from numpy_bert.explain.lessons import EMBEDDING_STEPS, WALK_STEPS
from tests.support.pages import SENTENCE, load, masked, random_model, read, trace_of


@pytest.fixture(scope="module")
def models(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path | str]:
    return {
        "demo": "demo",
        "MiniLM": minilm,
        "random, 12 layers": random_model(tmp_path_factory.mktemp("random")),
    }


@pytest.mark.parametrize("texts", [(SENTENCE,), ("A first one.", "And a second!"), ("",)])
@pytest.mark.parametrize("which", ["demo", "MiniLM", "random, 12 layers"])
def test_the_numbers_are_the_traces(
    models: dict[str, Path], which: str, texts: tuple[str, ...], dtype: str
) -> None:
    reading = read(models[which], *texts, dtype=dtype, token=1)
    trace = trace_of(models[which], *texts, dtype=dtype)
    assert reading.drawn == tuple(range(len(reading.tokens)))
    assert list(reading.embeddings) == [n for n in EMBEDDING_STEPS if "task" not in n]
    for name, found in reading.embeddings.items():
        assert np.array_equal(found, trace[name][0]), name
        assert found.dtype == trace[name].dtype
    assert len(reading.layers) == reading.config.num_hidden_layers
    for number, layer in enumerate(reading.layers):
        prefix = f"encoder.layer.{number}."
        assert list(layer.walk) == list(WALK_STEPS)
        for step, found in layer.walk.items():
            whole = trace[prefix + step][0]
            assert np.array_equal(found, whole[:, 1] if whole.ndim == 3 else whole[1]), step
        probs = trace[f"{prefix}attention.self.probs"][0]
        assert np.array_equal(layer.probs, probs)
        assert np.array_equal(layer.walked_probs, probs[:, 1])
        assert not layer.rest.any()
    states = [trace["embeddings"], *(trace[f"encoder.layer.{n}"] for n in range(number + 1))]
    for found, state in zip(reading.similarity, states, strict=True):
        rows = state[0].astype(np.float64)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        assert np.abs(found - rows @ rows.T).max() < 1e-12


def test_tokens_know_their_rows(minilm: Path) -> None:
    reading = read(minilm, "a test", "two")
    assert [(t.text, t.id, t.segment, t.position) for t in reading.tokens] == [
        ("[CLS]", 101, 0, 0),
        ("a", 1037, 0, 1),
        ("test", 3231, 0, 2),
        ("[SEP]", 102, 0, 3),
        ("two", 2048, 1, 4),
        ("[SEP]", 102, 1, 5),
    ]
    assert reading.walked_token.text == "[SEP]"  # the middle one
    assert reading.texts == ("a test", "two")


def test_a_long_text_is_drawn_around_the_walked_token_and_its_landmarks(minilm: Path) -> None:
    text = "word " * 300
    reading = read(minilm, text, text, truncation=True, token=200)
    total = len(reading.tokens)
    assert total == 512
    assert len(reading.drawn) == 48
    assert list(reading.drawn) == sorted(set(reading.drawn))
    special = [t.position for t in reading.tokens if t.text in ("[CLS]", "[SEP]")]
    assert len(special) == 3
    assert set(special) <= set(reading.drawn)
    window = sorted(set(reading.drawn) - set(special))
    assert window == list(range(window[0], window[0] + 45))
    assert abs(np.mean(window) - 200) < 1
    assert any("it was cut to 512" in note for note in reading.notes)
    assert reading.left_out[0].startswith("48 of 512 tokens are drawn: those around position 200")
    # What is not drawn is not forgotten: a row's shares still make one.
    model, tokenizer = load(minilm)
    inputs = tokenizer(text, text, truncation=True, max_length=512, return_tensors="np")
    whole = dict(model.trace(**inputs))
    drawn = list(reading.drawn)
    for number, layer in enumerate(reading.layers):
        probs = whole[f"encoder.layer.{number}.attention.self.probs"][0]
        assert np.array_equal(layer.probs, probs[:, drawn][:, :, drawn])
        assert np.abs(layer.probs.sum(axis=2) + layer.rest - 1).max() < 1e-5
        assert layer.rest.min() >= 0.0
        assert np.array_equal(layer.walked_probs, probs[:, 200])
    sums = reading.embeddings["embeddings.sum"]
    assert np.array_equal(sums, whole["embeddings.sum"][0, drawn])


def test_many_masks_do_not_crowd_out_the_window() -> None:
    reading = masked("[MASK] " * 100 + "word " * 100, token=150)
    assert len(reading.drawn) == 48
    assert {0, 1, 10, 150, 134, 166, 201} <= set(reading.drawn)
    assert reading.tokens[201].text == "[SEP]"
    assert reading.predictions is not None
    assert [found.position for found in reading.predictions] == list(range(1, 11))


@pytest.mark.parametrize(("token", "walked"), [(None, 3), (0, 0), (6, 6)])
def test_the_walked_token_is_chosen(token: int | None, walked: int) -> None:
    assert read("demo", SENTENCE, token=token).walked == walked


@pytest.mark.parametrize("token", [7, -1, 10**9])
def test_a_token_that_is_not_there_is_refused(token: int) -> None:
    with pytest.raises(InputError, match=rf"from 0 to 6, as the text has 7 tokens; got {token}"):
        read("demo", SENTENCE, token=token)


def test_a_text_that_is_too_long_is_refused_unless_it_may_be_cut(tmp_path: Path) -> None:
    folder = random_model(tmp_path, max_position_embeddings=19)
    with pytest.raises(InputError, match=r"has 32 tokens, the model takes 19; --truncate"):
        read(folder, "word " * 30)
    assert len(read(folder, "word " * 30, truncation=True).tokens) == 19


def test_predictions_are_fill_masks() -> None:
    reading = masked("The [MASK] is [MASK] up.")
    from numpy_bert import BertForMaskedLM

    expected = BertForMaskedLM.from_pretrained("demo").fill_mask(
        "The [MASK] is [MASK] up.", top_k=10
    )
    assert reading.predictions is not None
    assert [found.position for found in reading.predictions] == [2, 4]
    for found, words in zip(reading.predictions, expected, strict=True):
        assert [word.token for word in found.words] == [word.token for word in words]
        for word, right in zip(found.words, words, strict=True):
            assert word.score == pytest.approx(right.score, rel=1e-4)


def test_a_model_without_that_head_predicts_nothing() -> None:
    assert read("demo", "The [MASK] is up.").predictions is None
    assert masked("The sun is up.").predictions == ()


def test_a_mask_that_was_cut_off_is_said() -> None:
    reading = masked("word " * 600 + "[MASK]", truncation=True)
    assert reading.predictions == ()
    assert "the part of the text with [MASK] was cut off." in reading.notes


@pytest.mark.parametrize("wrong", [["a", "b"], 5, None, b"a"])
def test_what_is_no_text_is_refused(wrong: Any) -> None:
    with pytest.raises(InputError, match="text must be a str"):
        read("demo", wrong)


@pytest.mark.parametrize("wrong", [1.5, "1", True])
def test_what_is_no_position_is_refused(wrong: Any) -> None:
    with pytest.raises(
        InputError, match="token must be a whole number, the position of a token; got"
    ):
        read("demo", "a", token=wrong)


def test_what_is_no_such_model_is_refused() -> None:
    tokenizer = BertTokenizer.from_pretrained("demo")
    model: Any = BertForPreTraining.from_pretrained("demo")
    with pytest.raises(
        InputError, match="a BertModel or a BertForMaskedLM; got BertForPreTraining"
    ):
        explain.read("a", model=model, tokenizer=tokenizer)


def test_what_the_text_lost_is_said() -> None:
    assert any("U+200B" in note for note in read("demo", "te\u200bst").notes)
    assert read("demo", "").notes == ("the text has no content tokens, only the special ones.",)


def test_the_models_own_call_is_not_disturbed() -> None:
    model, tokenizer = BertModel.from_pretrained("demo"), BertTokenizer.from_pretrained("demo")
    inputs = tokenizer(SENTENCE, return_tensors="np")
    before = model(**inputs).last_hidden_state
    explain.read(SENTENCE, model=model, tokenizer=tokenizer)
    assert np.array_equal(model(**inputs).last_hidden_state, before)
