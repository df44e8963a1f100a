"""What RoBERTa's kin of classes make of files; parity with transformers is in tests/parity."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest

from numpy_bert import BertTokenizer
from numpy_bert.errors import InputError, TokenizerError
from numpy_bert.text.encoding import segments_of
from numpy_bert.text.ids import IdEncoder
from numpy_bert.text.recipes import RECIPES
from tests.support.family_tokenizers import (
    byte_pairs,
    merges_txt,
    mpnet_json,
    roberta_json,
    words,
    xlm_roberta_json,
)
from tests.support.tokenizer_files import vocab_txt, write_folder

PAIRS = {"vocab.json": byte_pairs()[0], "merges.txt": merges_txt()}
KINDS: dict[str, dict[str, Any]] = {
    "RobertaTokenizer": {"tokenizer.json": roberta_json()},
    "XLMRobertaTokenizer": {"tokenizer.json": xlm_roberta_json()},
    "CamembertTokenizer": {"tokenizer.json": xlm_roberta_json()},
    "MPNetTokenizer": {"tokenizer.json": mpnet_json()},
}


_FIVE = {
    "cls_token": "<s>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}


def loaded(folder: Path, **files: Any) -> BertTokenizer:
    return BertTokenizer.from_pretrained(write_folder(folder, files))


def named(folder: Path, name: str, **stated: Any) -> BertTokenizer:
    config = {"tokenizer_class": name} | stated
    return loaded(folder, **KINDS[name], **{"tokenizer_config.json": config})


def test_each_recipe_is_tried_here() -> None:
    assert set(KINDS) == set(RECIPES)


@pytest.mark.parametrize("name", KINDS)
def test_texts_and_pairs_stand_in_robertas_frame(tmp_path: Path, name: str) -> None:
    tokenizer = named(tmp_path, name)
    start, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    first, second = (
        tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("her sister", "tired")
    )
    pair = tokenizer("her sister", "tired", return_special_tokens_mask=True)
    assert pair["input_ids"] == [start, *first, end, end, *second, end]
    assert list(pair) == ["input_ids", "attention_mask", "special_tokens_mask"]
    assert pair["special_tokens_mask"] == [1, *[0] * len(first), 1, 1, *[0] * len(second), 1]
    assert segments_of(tokenizer(["a", "tired a"]))[0] == [0] * len(tokenizer("a")["input_ids"])
    assert (tokenizer.pad_token, tokenizer.mask_token) == ("<pad>", "<mask>")
    assert tokenizer.model_input_names == ("input_ids", "attention_mask")


@pytest.mark.parametrize("name", KINDS)
def test_an_encoder_of_many_texts_gives_the_same_ids_without_types(
    tmp_path: Path, name: str
) -> None:
    tokenizer = named(tmp_path, name)
    texts = ["Alice was <mask> tired.", "", "her sister on the bank, and of having nothing to do"]
    encoder = IdEncoder(tokenizer)
    for one in (encoder, copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        found = one(list(zip(texts, texts[::-1], strict=True)), 12)
        expected = tokenizer(texts, texts[::-1], truncation=True, max_length=12)["input_ids"]
        assert found.ids.tolist() == [index for row in expected for index in row]
        assert found.types is None


@pytest.mark.parametrize("name", KINDS)
def test_half_of_a_surrogate_pair_is_refused_and_nul_is_read(tmp_path: Path, name: str) -> None:
    tokenizer = named(tmp_path, name)
    with pytest.raises(InputError, match="surrogate"):
        tokenizer("a\ud800")
    assert len(tokenizer("a\0b")["input_ids"]) > 2
    dropped = ["\0"] if name == "MPNetTokenizer" else []
    assert tokenizer.dropped_characters("a\0b") == dropped


@pytest.mark.parametrize("stated", [["input_ids"], ["input_ids", "token_type_ids"]])
def test_what_a_call_gives_can_be_stated(tmp_path: Path, stated: list[str]) -> None:
    tokenizer = named(tmp_path, "RobertaTokenizer", model_input_names=stated)
    assert list(tokenizer("a")) == stated
    assert list(tokenizer("a", return_attention_mask=True)) == [*stated, "attention_mask"]
    tokenizer.save_pretrained(tmp_path / "saved")
    assert list(BertTokenizer.from_pretrained(tmp_path / "saved")("a")) == stated


def test_two_files_make_it_whatever_the_model_is_called(tmp_path: Path) -> None:
    text = "Alice was beginning, \U0001f642 \u4e2d"
    expected = loaded(tmp_path / "0", **KINDS["RobertaTokenizer"])(text)["input_ids"]
    for number, config in enumerate(({}, {"model_type": "bert"}, {"model_type": "roberta"}), 1):
        found = loaded(tmp_path / str(number), **PAIRS, **{"config.json": config})
        assert found(text)["input_ids"] == expected
        assert found.decode(found(text)["input_ids"], skip_special_tokens=True) == text


def test_a_class_that_is_none_of_these_does_not_read_the_two_files(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="a byte-pair tokenizer's"):
        loaded(tmp_path, **PAIRS, **{"tokenizer_config.json": {"tokenizer_class": "BertTokenizer"}})


def test_the_words_of_vocab_txt_tell_mpnets_where_no_file_names_a_class(tmp_path: Path) -> None:
    files = {"vocab.txt": vocab_txt(words())}
    for number, config in enumerate(({}, {"model_type": "bert"}, {"model_type": "mpnet"})):
        tokenizer = loaded(tmp_path / str(number), **files, **{"config.json": config})
        assert tokenizer.cls_token == "<s>"
        assert tokenizer.tokenize("Alice  <mask>") == ["alice", "  <mask>"]


def test_a_space_before_a_text_is_tokenizer_configs_to_say(tmp_path: Path) -> None:
    config = {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": True}
    found = loaded(tmp_path / "1", **PAIRS, **{"tokenizer_config.json": config})
    plain = loaded(tmp_path / "2", **PAIRS)
    assert found.tokenize("was") == plain.tokenize(" was") == ["\u0120was"]
    assert plain.tokenize("was") != found.tokenize("was")
    assert found("was", return_offsets_mapping=True)["offset_mapping"][1] == (0, 3)


@pytest.mark.parametrize("name", KINDS)
def test_what_is_saved_is_loaded_without_a_word(tmp_path: Path, name: str) -> None:
    tokenizer = named(tmp_path / "1", name)
    tokenizer.save_pretrained(tmp_path / "2")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = BertTokenizer.from_pretrained(tmp_path / "2")
    assert again.notes == ()
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    stated = json.loads((tmp_path / "2" / "tokenizer_config.json").read_bytes())
    assert stated["tokenizer_class"] == name
    assert stated["model_input_names"] == ["input_ids", "attention_mask"]


@pytest.mark.parametrize("name", ["RobertaTokenizer", "PreTrainedTokenizerFast"])
def test_tokens_are_not_drawn_anew_at_each_call(tmp_path: Path, name: str) -> None:
    document = roberta_json()
    config = {"tokenizer_class": name, **_FIVE}
    plain = loaded(tmp_path / "1", **{"tokenizer.json": document, "tokenizer_config.json": config})
    document = roberta_json(model=document["model"] | {"dropout": 0.5})
    drawn = loaded(tmp_path / "2", **{"tokenizer.json": document, "tokenizer_config.json": config})
    assert drawn.notes == ("tokenizer.json has a dropout of 0.5 baked in; it is not used.",)
    texts = ["Alice was beginning to get very tired"] * 9
    assert drawn(texts)["input_ids"] == plain(texts)["input_ids"]
    copied = pickle.loads(pickle.dumps(drawn))
    assert copied(texts)["input_ids"] == plain(texts)["input_ids"]


def test_half_of_a_surrogate_pair_in_vocab_json_is_refused(tmp_path: Path) -> None:
    vocabulary = byte_pairs()[0] | {"\ud800": 421}
    with pytest.raises(TokenizerError, match=r"vocab.json: the name of a token must be text wi"):
        loaded(tmp_path, **PAIRS | {"vocab.json": vocabulary})


def test_a_file_of_another_kind_than_its_class_is_kept_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(
        UserWarning, match="is used as it is, as in transformers 4; RobertaTokenizer"
    ):
        kept = loaded(
            tmp_path,
            **KINDS["XLMRobertaTokenizer"],
            **{"tokenizer_config.json": {"tokenizer_class": "RobertaTokenizer"}},
        )
    assert kept.tokenize("was")[0].startswith("\u2581")


@pytest.mark.parametrize("name", ["XLMRobertaTokenizer", "CamembertTokenizer"])
@pytest.mark.parametrize("change", [{"unk_id": 5}, {"unk_id": 1}])
def test_a_unigram_with_another_unknown_piece_is_kept(
    tmp_path: Path, name: str, change: dict[str, int]
) -> None:
    document = xlm_roberta_json()
    document["model"] |= change
    files = {"tokenizer.json": document, "tokenizer_config.json": {"tokenizer_class": name}}
    with pytest.warns(UserWarning, match=f"is used as it is, as in transformers 4; {name} of"):
        kept = loaded(tmp_path, **files)
    assert kept("\U00010080")["input_ids"][2] == change["unk_id"]
