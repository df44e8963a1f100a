"""A tokenizer's files made into a backend, or one error that says what is wrong (rows D1-D10)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from numpy_bert.errors import TokenizerError
from numpy_bert.text.backend import load_backend
from tests.support.tokenizer_files import (
    TOKENS,
    added_token,
    ids,
    load,
    spelt,
    tokenizer_json,
    vocab_txt,
)

NEW = len(TOKENS)


def test_d1_either_file_gives_the_same_ids_and_the_fallback_is_said(tmp_path: Path) -> None:
    both = load(tmp_path / "1", tokenizer=tokenizer_json())
    listed = load(tmp_path / "2", vocab=vocab_txt())
    texts = ("Unaffable Hello \u4e2d\u6587.", "\u00c9T\u00c9 x\u2028y z [MASK]", "", "a\0b")
    for text in (*texts, "a" * 100, "a" * 101):
        assert ids(both, text) == ids(listed, text)
        pairs = [backend.tokenizer.encode(text, "the") for backend in (both, listed)]
        assert pairs[0].ids == pairs[1].ids
        assert pairs[0].type_ids == pairs[1].type_ids
    expected = spelt("[CLS]", "un", "##aff", "##able", "ete", "[SEP]")
    assert ids(listed, "Unaffable \u00e9t\u00e9") == expected
    assert both.notes == ()
    assert listed.notes == ("there is no tokenizer.json; the tokenizer was built from vocab.txt.",)


def test_d1_neither_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"has neither tokenizer.json nor vocab.txt\."):
        load(tmp_path, tokenizer_config={})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b'{"a":' * 100_000,
        json.dumps(tokenizer_json(version="2.0")).encode(),
        json.dumps(tokenizer_json(pre_tokenizer={"type": "Unheard"})).encode(),
        json.dumps(tokenizer_json(model={"type": "Unheard"})).encode(),
        json.dumps(tokenizer_json())[:-9].encode(),
    ],
    ids=lambda data: repr(data[:20]),
)
def test_d2_what_the_library_cannot_read_is_one_error(tmp_path: Path, data: bytes) -> None:
    where = re.escape(f"{tmp_path / 'tokenizer.json'}: ")
    with pytest.raises(TokenizerError, match=f"^{where}is no tokenizer that the .* library reads"):
        load(tmp_path, tokenizer=data)


def test_d2_a_folder_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").mkdir()
    with pytest.raises(TokenizerError, match=r"tokenizer.json: is a folder"):
        load_backend(tmp_path)


@pytest.mark.parametrize("index", [-1, 2**32, 1.5, "7"])
def test_d3_an_id_that_is_no_number_of_a_row_is_refused(tmp_path: Path, index: object) -> None:
    document = tokenizer_json()
    document["model"]["vocab"]["the"] = index
    with pytest.raises(TokenizerError, match="is no tokenizer that"):
        load(tmp_path, tokenizer=document)


def test_d3_duplicates_gaps_and_ids_beyond_the_model_are_refused(tmp_path: Path) -> None:
    document = tokenizer_json()
    document["model"]["vocab"]["the"] += 1
    with pytest.raises(TokenizerError, match="'the' and 'un' share the id"):
        load(tmp_path, tokenizer=document)
    document["model"]["vocab"]["the"] = NEW
    with pytest.raises(TokenizerError, match=r"no token has the id \d+"):
        load(tmp_path, tokenizer=document)
    for files in ({"tokenizer": tokenizer_json()}, {"vocab": vocab_txt()}):
        with pytest.raises(TokenizerError, match=f"config.json says vocab_size = {NEW - 1}"):
            load(tmp_path / "small", config={"vocab_size": NEW - 1}, **files)
        padded = load(tmp_path / "padded", config={"vocab_size": NEW + 3}, **files)
        assert padded.settings.vocab_size == NEW + 3


@pytest.mark.parametrize("index", [5, NEW + 1])
def test_d3_an_added_token_gets_the_id_that_the_file_gives_it(tmp_path: Path, index: int) -> None:
    added = tokenizer_json()["added_tokens"]
    kept = load(tmp_path / "1", tokenizer=tokenizer_json(added_tokens=[added_token(NEW, "[N]")]))
    assert ids(kept, "[N]") == [*spelt("[CLS]"), NEW, *spelt("[SEP]")]
    wrong = tokenizer_json(added_tokens=[*added, added_token(index, "[N]")])
    words = rf"the added token '\[N\]' is to have the id {index}, .* gives it {NEW}"
    with pytest.raises(TokenizerError, match=words):
        load(tmp_path / "2", tokenizer=wrong)


@pytest.mark.parametrize("absent", ["[CLS]", "[SEP]", "[PAD]", "[MASK]"])
def test_d4_an_absent_special_token_is_named(tmp_path: Path, absent: str) -> None:
    tokens = [token if token != absent else "[other]" for token in TOKENS]
    document = tokenizer_json(tokens, post_processor=None)
    for files in ({"tokenizer": document}, {"vocab": vocab_txt(tokens)}):
        name = f"{absent[1:-1].lower()}_token"
        with pytest.raises(TokenizerError, match=rf"has no {name} {re.escape(absent)}\. If"):
            load(tmp_path / next(iter(files)), **files)


def test_d4_an_absent_unk_is_found_before_the_first_unknown_word(tmp_path: Path) -> None:
    document = tokenizer_json()
    document["model"]["unk_token"] = "[NONE]"
    with pytest.raises(TokenizerError, match=r"unknown words become \[NONE\], but unk_token is"):
        load(tmp_path / "1", tokenizer=document)
    tokens = [token if token != "[UNK]" else "[other]" for token in TOKENS]
    with pytest.raises(TokenizerError, match=r"has no unk_token \[UNK\]"):
        load(tmp_path / "2", vocab=vocab_txt(tokens))


@pytest.mark.parametrize("name", ["tokenizer", "vocab"])
def test_d4_an_id_declared_elsewhere_must_agree(tmp_path: Path, name: str) -> None:
    files = {name: {"tokenizer": tokenizer_json(), "vocab": vocab_txt()}[name]}
    declared = {"3": {"content": "[CLS]"}}
    with pytest.raises(TokenizerError, match=r"config.json: .* '\[CLS\]' with the id 3; .* 2\."):
        load(tmp_path / "1", tokenizer_config={"added_tokens_decoder": declared}, **files)
    with pytest.raises(TokenizerError, match=rf"added_tokens.json: .* id {NEW + 7}; .* gets {NEW}"):
        load(tmp_path / "2", added_tokens={"[N]": NEW + 7}, **files)


def test_d4_vocab_txt_beside_tokenizer_json_must_agree(tmp_path: Path) -> None:
    tokens = (TOKENS[1], TOKENS[0], *TOKENS[2:])
    with pytest.raises(TokenizerError, match=r"\[PAD\] has the id 0, in vocab.txt it has 1"):
        load(tmp_path / "1", tokenizer=tokenizer_json(), vocab=vocab_txt(tokens))
    assert load(tmp_path / "2", tokenizer=tokenizer_json(), vocab=vocab_txt()).notes == ()


@pytest.mark.parametrize(
    ("length", "goal"), [({"Fixed": 9}, "9 tokens"), ("BatchLongest", "the longest text")]
)
def test_d5_baked_padding_and_truncation_are_undone_and_reported(
    tmp_path: Path, length: object, goal: str
) -> None:
    truncation = {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    pad = {"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]", "pad_to_multiple_of": None}
    padding = {"strategy": length, "direction": "Right"} | pad
    backend = load(tmp_path, tokenizer=tokenizer_json(truncation=truncation, padding=padding))
    assert ids(backend, "a b c d") == spelt("[CLS]", "a", "b", "c", "d", "[SEP]")
    assert ids(backend, "a") == spelt("[CLS]", "a", "[SEP]")
    assert backend.notes == (
        "tokenizer.json has truncation to 4 tokens baked in; it is not used.",
        f"tokenizer.json has padding to {goal} baked in; it is not used.",
    )


@pytest.mark.parametrize("kind", ["none", "ids of other tokens", "cls only", "only singles"])
def test_d6_texts_must_be_framed(tmp_path: Path, kind: str) -> None:
    document = tokenizer_json()
    frame = document["post_processor"]
    if kind == "none":
        document["post_processor"] = None
    elif kind == "ids of other tokens":
        frame["special_tokens"]["[CLS]"]["ids"] = [0]
    elif kind == "cls only":
        frame["single"] = frame["single"][:2]
    else:
        frame["pair"] = frame["pair"][1:]
    with pytest.raises(TokenizerError, match=r"not framed by \[CLS\] and \[SEP\] .*post_processor"):
        load(tmp_path, tokenizer=document)


def test_a_unigram_tokenizer_is_read(tmp_path: Path) -> None:
    words = ("\u2581the", "\u2581", "t", "h", "e", "world")
    pieces = [(token, 0.0) for token in TOKENS[:5]] + [(word, -1.0) for word in words]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=1, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    config = {"do_lower_case": True, "model_max_length": 9, "mask_token": "[MASK]"}
    backend = load(tmp_path, tokenizer=tokenizer.to_str(), tokenizer_config=config)
    assert ids(backend, "the world", "[MASK]q") == [2, 5, 6, 10, 3, 4, 6, 1, 3]
    assert backend.notes[-1].startswith("tokenizer_config.json contradicts tokenizer.json (do_lo")
    assert backend.settings.model_max_length == 9
    with pytest.raises(TokenizerError, match="vocab_size = 10"):
        load(tmp_path, config={"vocab_size": 10})


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("<s>", None),
        ("[C L S]", None),
        ("x$A", None),
        ("$A", "texts are not framed by"),
        ("a:b", "Cannot build Piece"),
    ],
)
def test_a_special_token_of_any_spelling_frames_texts_or_is_refused(
    tmp_path: Path, name: str, refused: str | None
) -> None:
    tokens = [token if token != "[CLS]" else name for token in TOKENS]
    files = {"vocab": vocab_txt(tokens), "tokenizer_config": {"cls_token": name}}
    if refused is None:
        assert ids(load(tmp_path, **files), "a") == spelt("[CLS]", "a", "[SEP]")
    else:
        with pytest.raises(TokenizerError, match=f"vocab.txt: {refused}"):
            load(tmp_path, **files)
