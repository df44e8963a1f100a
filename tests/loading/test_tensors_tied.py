"""numpy_bert.loading.tensors: a decoder under either name, or one of its own (rows B13, B14)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numpy_bert
from numpy_bert import BertForMaskedLM, BertModel, SentenceEncoder
from numpy_bert.config import BertConfig
from numpy_bert.errors import CheckpointError, ConfigError
from tests.support.checkpoints import Tensors
from tests.support.heads import CONFIG, head_tensors, write_head

WORD, BIAS = "embeddings.word_embeddings.weight", "cls.predictions.bias"
DECODER, DECODER_BIAS = "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"
UNTIED = CONFIG | {"tie_word_embeddings": False}
NAMES = ["BertForMaskedLM", "BertForPreTraining"]
IDS = [[2, 5, 3]]
V, H = CONFIG["vocab_size"], CONFIG["hidden_size"]


def load(folder: Path, name: str) -> Any:
    return getattr(numpy_bert, name).from_pretrained(folder)


def scores(model: Any) -> Any:
    return model(IDS)[0]


def stored(name: str, changes: Mapping[str, str]) -> Tensors:
    """Return a head's tensors, some of them under other names."""
    tensors = head_tensors(name)
    return {changes.get(key, key): array for key, array in tensors.items()}


RENAMED = {
    "the table": {WORD: DECODER},
    "the bias": {BIAS: DECODER_BIAS},
    "both": {WORD: DECODER, BIAS: DECODER_BIAS},
}


@pytest.mark.parametrize("case", RENAMED)
@pytest.mark.parametrize("name", NAMES)
def test_a_second_name_alone_stands_for_the_first(name: str, case: str, tmp_path: Path) -> None:
    expected = load(write_head(tmp_path / "a", name), name)
    model = load(write_head(tmp_path / "b", name, stored(name, RENAMED[case])), name)
    info = model.loading_info
    assert (info.missing_keys, info.unexpected_keys, info.notes) == ((), (), ())
    assert model.config.tie_word_embeddings
    np.testing.assert_array_equal(scores(model), scores(expected))
    model.save_pretrained(tmp_path / "c")
    assert load(tmp_path / "c", name).loading_info.unexpected_keys == ()


def test_a_table_under_the_decoders_name_alone_is_no_bert_model(tmp_path: Path) -> None:
    """Where transformers would start the table at random."""
    write_head(tmp_path, "BertForMaskedLM", stored("BertForMaskedLM", RENAMED["the table"]))
    for kind in (BertModel, SentenceEncoder):
        reader: Any = kind
        with pytest.raises(CheckpointError) as raised:
            reader.from_pretrained(tmp_path)
        assert f"missing  {WORD}" in str(raised.value)
        assert f"{WORD} stands as {DECODER} alone" in str(raised.value)
    inner = BertForMaskedLM.from_pretrained(tmp_path).bert
    inner.save_pretrained(tmp_path / "inner")  # as the message says
    found = BertModel.from_pretrained(tmp_path / "inner")(IDS).last_hidden_state
    np.testing.assert_array_equal(found, inner(IDS).last_hidden_state)


@pytest.mark.parametrize("nan", [False, True])
def test_a_tensor_that_is_stored_twice_is_one(nan: bool, tmp_path: Path) -> None:
    tensors = head_tensors("BertForMaskedLM")
    if nan:
        tensors[WORD][9, 3] = np.nan  # equal all the same
    half = tensors[WORD].astype("f2")
    tensors |= {DECODER: half, DECODER_BIAS: tensors[BIAS].copy()}
    model = BertForMaskedLM.from_pretrained(write_head(tmp_path, "BertForMaskedLM", tensors))
    assert (model.loading_info.unexpected_keys, model.loading_info.notes) == ((), ())
    assert model.config.tie_word_embeddings
    assert model.head.cls.predictions.decoder is None
    plain = BertModel.from_pretrained(tmp_path).loading_info
    assert {DECODER, DECODER_BIAS} <= set(plain.unexpected_keys)


def differing(*copies: str) -> Tensors:
    tensors = head_tensors("BertForMaskedLM")
    originals = {DECODER: WORD, DECODER_BIAS: BIAS}
    return tensors | {copy: tensors[originals[copy]][::-1].copy() for copy in copies}


@pytest.mark.parametrize("copies", [(DECODER,), (DECODER_BIAS,), (DECODER, DECODER_BIAS)])
def test_tied_tensors_that_differ_are_not_tied(copies: tuple[str, ...], tmp_path: Path) -> None:
    tensors = differing(*copies)
    write_head(tmp_path, "BertForMaskedLM", tensors)
    with pytest.warns(UserWarning, match="though config.json ties them") as warned:
        model = BertForMaskedLM.from_pretrained(tmp_path)
    assert [str(w.message).split(" differ")[0].split()[-3] for w in warned] == list(copies)
    assert [note.split(" and ")[0] for note in model.loading_info.notes] == list(copies)
    assert (model.loading_info.missing_keys, model.loading_info.unexpected_keys) == ((), ())
    assert model.config.tie_word_embeddings == (DECODER not in copies)
    np.testing.assert_array_equal(model.decoder, tensors.get(DECODER, tensors[WORD]))
    np.testing.assert_array_equal(model.bert.embeddings.word_embeddings.weight, tensors[WORD])
    model.save_pretrained(tmp_path / "again")
    np.testing.assert_array_equal(
        scores(load(tmp_path / "again", "BertForMaskedLM")), scores(model)
    )
    # Nobody who does not use the decoder is told of it.
    BertModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_decoder_of_its_own_is_used_trained_and_saved(name: str, tmp_path: Path) -> None:
    tensors = head_tensors(name, UNTIED)
    assert {WORD, BIAS, DECODER, DECODER_BIAS} <= tensors.keys()
    model = load(write_head(tmp_path, name, tensors, UNTIED), name)
    assert (model.loading_info.missing_keys, model.loading_info.unexpected_keys) == ((), ())
    np.testing.assert_array_equal(model.decoder, tensors[DECODER])
    arrays = dict(model.named_parameters())
    np.testing.assert_array_equal(arrays[DECODER], tensors[DECODER])
    steps = model.steps(IDS).cls.predictions
    wanted = steps.transform.output @ tensors[DECODER].T + tensors[DECODER_BIAS]
    np.testing.assert_allclose(steps.output, wanted, rtol=0, atol=1e-5)
    batch: dict[str, Any] = {"input_ids": IDS, "labels": [[-100, 7, -100]]}
    if name == "BertForPreTraining":
        batch["next_sentence_label"] = [1]
    gradients = dict(model.loss_and_gradients(batch).named())
    assert set(arrays) <= set(gradients)
    assert gradients[DECODER].any()
    assert gradients[DECODER_BIAS].any()
    assert not gradients[BIAS].any()
    moved = {key: arrays[key] - np.float32(1e-3) * gradients[key] for key in arrays}
    trained = model.with_parameters(moved)
    assert trained.loss_and_gradients(batch).loss < model.loss_and_gradients(batch).loss
    trained.save_pretrained(tmp_path / "saved")
    again = load(tmp_path / "saved", name)
    assert again.config == model.config
    np.testing.assert_array_equal(scores(again), scores(trained))


def test_a_mask_is_filled_by_the_decoders_own_rows(tmp_path: Path) -> None:
    tensors = head_tensors("BertForMaskedLM", UNTIED)
    tensors[DECODER][:], tensors[DECODER_BIAS][:] = 0.0, 0.0
    tensors[DECODER_BIAS][7] = 9.0
    model = BertForMaskedLM.from_pretrained(
        write_head(tmp_path, "BertForMaskedLM", tensors, UNTIED)
    )
    best = model.fill_mask("hello [MASK]", top_k=1)[0]
    assert best.token == 7
    assert best.score == pytest.approx(np.exp(9) / (np.exp(9) + V - 1), abs=1e-6)


def test_the_bias_beside_a_decoders_own_may_be_missing(tmp_path: Path) -> None:
    tensors = head_tensors("BertForMaskedLM", UNTIED)
    whole = load(write_head(tmp_path / "a", "BertForMaskedLM", tensors, UNTIED), "BertForMaskedLM")
    del tensors[BIAS]
    model = load(write_head(tmp_path / "b", "BertForMaskedLM", tensors, UNTIED), "BertForMaskedLM")
    assert model.loading_info.missing_keys == (BIAS,)
    np.testing.assert_array_equal(scores(model), scores(whole))
    assert not model.head.cls.predictions.bias.any()  # as transformers starts it


@pytest.mark.parametrize("gone", [DECODER, DECODER_BIAS, WORD])
def test_an_untied_tensor_that_is_missing_is_refused(gone: str, tmp_path: Path) -> None:
    """Where transformers would start it anew."""
    tensors = head_tensors("BertForMaskedLM", UNTIED)
    del tensors[gone]
    with pytest.raises(CheckpointError, match=rf"1 key missing\.\n  missing  {gone}") as raised:
        load(write_head(tmp_path, "BertForMaskedLM", tensors, UNTIED), "BertForMaskedLM")
    if gone != WORD:
        assert f"config.json unties {gone} from " in str(raised.value)


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("copy", [DECODER, DECODER_BIAS])
def test_a_decoder_of_another_size_is_refused(copy: str, both: bool, tmp_path: Path) -> None:
    tensors = differing(copy)
    tensors[copy] = tensors[copy][1:]
    if not both:
        del tensors[{DECODER: WORD, DECODER_BIAS: BIAS}[copy]]
    with pytest.raises(CheckpointError, match=rf"{copy} is \({V - 1},.* config.json says \({V},"):
        load(write_head(tmp_path, "BertForMaskedLM", tensors), "BertForMaskedLM")


@pytest.mark.parametrize("value", [None, 0, "false", []])
def test_whether_tensors_are_tied_is_true_or_false(value: object) -> None:
    with pytest.raises(ConfigError, match=r"tie_word_embeddings must be true or false; got "):
        BertConfig.from_dict(CONFIG | {"tie_word_embeddings": value})
