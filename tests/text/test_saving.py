"""save_pretrained of a tokenizer: what it writes, what it leaves alone, what it refuses."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest

from numpy_bert import BertTokenizer, OutputError, TokenizerError
from tests.support.tokenizer_files import TOKENS, tokenizer_json, vocab_txt, write_folder

FILES = {"tokenizer.json", "tokenizer_config.json"}


@pytest.fixture
def tokenizer() -> BertTokenizer:
    return BertTokenizer.from_pretrained("demo")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_was_set_is_what_is_loaded(tokenizer: BertTokenizer, tmp_path: Path) -> None:
    tokenizer.padding_side, tokenizer.truncation_side = "left", "left"
    tokenizer.model_max_length = 5
    tokenizer.save_pretrained(tmp_path / "a" / "b")
    assert set(content(tmp_path / "a" / "b")) == FILES
    again = BertTokenizer.from_pretrained(tmp_path / "a" / "b")
    assert (again.padding_side, again.truncation_side, again.notes) == ("left", "left", ())
    assert again.model_max_length == 5
    again.model_max_length = None
    again.save_pretrained(tmp_path / "none")
    assert BertTokenizer.from_pretrained(tmp_path / "none").model_max_length is None


@pytest.mark.parametrize("name", ["clean_up_tokenization_spaces", "split_special_tokens"])
def test_switches_are_kept(tmp_path: Path, name: str) -> None:
    files = {"tokenizer.json": tokenizer_json(), "tokenizer_config.json": {name: True}}
    source = BertTokenizer.from_pretrained(write_folder(tmp_path / "source", files))
    source.save_pretrained(tmp_path / "saved")
    again = BertTokenizer.from_pretrained(tmp_path / "saved")
    text = "the [MASK] , hello"
    assert again(text) == source(text)
    assert again.decode(again(text)["input_ids"]) == source.decode(source(text)["input_ids"])
    assert json.loads((tmp_path / "saved" / "tokenizer_config.json").read_bytes())[name] is True


def test_what_is_baked_in_does_not_come_back(minilm: Path, tmp_path: Path) -> None:
    BertTokenizer.from_pretrained(minilm).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "tokenizer.json").read_bytes())
    assert (saved["padding"], saved["truncation"]) == (None, None)
    assert BertTokenizer.from_pretrained(tmp_path).notes == ()


def test_the_same_bytes_are_no_error(tokenizer: BertTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    for same in (tokenizer, copy.copy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        same.save_pretrained(tmp_path)
    BertTokenizer.from_pretrained(tmp_path).save_pretrained(str(tmp_path))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times


def test_other_files_are_left_unless_forced(tokenizer: BertTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    before = content(tmp_path)
    tokenizer.model_max_length = 7
    with pytest.raises(OutputError, match=r"tokenizer_config\.json: already exists and was left"):
        tokenizer.save_pretrained(tmp_path)
    assert content(tmp_path) == before
    tokenizer.save_pretrained(tmp_path, force=True)
    assert BertTokenizer.from_pretrained(tmp_path).model_max_length == 7


def test_a_folder_that_cannot_be_made_is_named(tokenizer: BertTokenizer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file: cannot be made \(File exists\)"):
        tokenizer.save_pretrained(tmp_path / "file")


def test_older_files_in_the_folder_have_no_say(tmp_path: Path) -> None:
    files: dict[str, Any] = {
        "special_tokens_map.json": {"mask_token": "the", "cls_token": "world"},
        "added_tokens.json": {"new": len(TOKENS)},
    }
    (tmp_path / "source").mkdir()
    write_folder(tmp_path / "source", {"vocab.txt": vocab_txt()})
    source = BertTokenizer.from_pretrained(tmp_path / "source")
    source.save_pretrained(write_folder(tmp_path / "saved", files))
    again = BertTokenizer.from_pretrained(tmp_path / "saved")
    assert again.get_vocab() == source.get_vocab()
    assert (again.mask_token, again.cls_token) == ("[MASK]", "[CLS]")
    assert again("the new [MASK]") == source("the new [MASK]")


def test_beside_its_vocab_txt_and_beside_anothers(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"vocab.txt": vocab_txt()})
    source = BertTokenizer.from_pretrained(folder)
    source.save_pretrained(folder)
    assert BertTokenizer.from_pretrained(folder)("the new") == source("the new")
    for name in FILES:
        (folder / name).unlink()
    write_folder(folder, {"vocab.txt": vocab_txt(TOKENS[::-1])})
    with pytest.raises(TokenizerError, match=r"'?\[CLS\]'? has the id 2, in vocab\.txt it has"):
        source.save_pretrained(folder)
    assert set(content(folder)) == {"vocab.txt"}


# A normalizer that BERT's class would replace by its own.
CASED: dict[str, Any] = {"normalizer": {"type": "NFC"}}
TEXTS = ["Hello world", "\u00e9t\u00e9, the un[MASK]", "new word"]


def ids(folder: Path) -> list[list[int]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the class overrides
        found: list[list[int]] = BertTokenizer.from_pretrained(folder)(TEXTS)["input_ids"]
    return found


@pytest.mark.parametrize(
    "files",
    [
        {"tokenizer.json": tokenizer_json(**CASED)},
        {"tokenizer.json": tokenizer_json(**CASED), "config.json": {}},
        {"tokenizer.json": tokenizer_json(**CASED), "config.json": {"model_type": "bert"}},
        {
            "tokenizer.json": tokenizer_json(**CASED),
            "config.json": {"model_type": "bert", "tokenizer_class": "PreTrainedTokenizerFast"},
        },
        {
            "tokenizer.json": tokenizer_json(**CASED),
            "config.json": {"tokenizer_class": "PreTrainedTokenizerFast"},
            "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "do_lower_case": False},
        },
        {
            "tokenizer.json": tokenizer_json(**CASED),
            "config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "a": float("nan")},
            "tokenizer_config.json": {"model_max_length": float("inf")},
        },
        {
            "vocab.txt": "\n".join(TOKENS),
            "tokenizer_config.json": {"do_lower_case": False},
            "added_tokens.json": {"new word": len(TOKENS)},
            "config.json": {"tokenizer_class": "ElectraTokenizer"},
        },
    ],
)
def test_a_copied_tokenizer_gives_the_same_ids(files: dict[str, Any], tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", files)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        BertTokenizer.from_pretrained(source).save_pretrained(tmp_path / "copy")
    config = {"config.json": {"model_type": "bert", "architectures": ["BertModel"]}}
    assert ids(write_folder(tmp_path / "copy", config)) == ids(source)
