"""A saved tokenizer, loaded here and in transformers: the ids, settings and texts of the first."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from numpy_bert import BertTokenizer
from numpy_bert.errors import TokenizerError
from tests.parity.test_tokenizer_classes_parity import (
    BERT,
    MEMBERS,
    NAMED_N,
    NORMALIZERS,
    SWITCHES,
    TEXTS,
    XLM_R,
)
from tests.support.hard_texts import HARD_TEXTS
from tests.support.tokenizer_files import (
    TOKENS,
    bpe_json,
    tokenizer_json,
    unigram_json,
    vocab_txt,
    wordlevel_json,
    write_folder,
)

pytestmark = pytest.mark.usefixtures("no_requests")


def loaded(folder: Path) -> BertTokenizer:
    """Load what is oddly made, whose warnings are another test's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return BertTokenizer.from_pretrained(folder)


def assert_saved(tokenizer: BertTokenizer, folder: Path, texts: list[str] = TEXTS) -> Any:
    """Save a tokenizer, and compare it with what is loaded; return what transformers loads."""
    tokenizer.save_pretrained(folder)
    again, theirs = BertTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert again.notes == ()
    assert tokenizer.get_vocab() == again.get_vocab() == theirs.get_vocab()
    for pair in (None, texts[::-1]):
        expected = dict(tokenizer(texts, pair))
        assert again(texts, pair) == expected
        assert dict(theirs(texts, pair)) == expected  # nothing is padded or cut unless asked
    for ids in expected["input_ids"]:
        for skip in (False, True):
            text = tokenizer.decode(ids, skip_special_tokens=skip)
            assert again.decode(ids, skip_special_tokens=skip) == text
            assert theirs.decode(ids, skip_special_tokens=skip) == text
    added = tokenizer.backend_tokenizer.get_added_tokens_decoder().values()
    special = {token.content for token in added if token.special}
    for name in ("cls", "sep", "pad", "unk", "mask"):
        token = getattr(tokenizer, f"{name}_token")
        assert getattr(again, f"{name}_token") == token
        # Where no class says so, transformers knows only those that are added as special.
        named = type(theirs).__name__ == "BertTokenizer" or token in special
        assert getattr(theirs, f"{name}_token") == (token if named else None)
    for name in ("padding_side", "truncation_side"):
        assert getattr(again, name) == getattr(theirs, name) == getattr(tokenizer, name)
    limit = tokenizer.model_max_length
    assert again.model_max_length == limit
    assert theirs.model_max_length == (int(1e30) if limit is None else limit)
    return theirs


def cells() -> list[tuple[str, dict[str, Any]]]:
    """Name folders of all kinds, with their files."""
    json_file = {"tokenizer.json": tokenizer_json()}
    found: list[tuple[str, dict[str, Any]]] = [("nothing else", json_file)]
    for number, (changes, stated, _) in enumerate(MEMBERS):
        for name in ("BertTokenizer", "ConvBertTokenizer", "PreTrainedTokenizerFast"):
            config = stated | {"tokenizer_class": name}
            files = {
                "tokenizer.json": tokenizer_json(**changes),
                "tokenizer_config.json": config,
            }
            found.append((f"{name} {number}", files))
    for number, switches in enumerate(SWITCHES):
        for kind in (None, "BertTokenizer", "DPRContextEncoderTokenizer", "ElectraTokenizer"):
            config = switches if kind is None else switches | {"tokenizer_class": kind}
            found.append(
                (
                    f"{name} {number} vocab",
                    {"vocab.txt": vocab_txt(), "tokenizer_config.json": config},
                )
            )
    for title, normalizer in NORMALIZERS.items():
        for name in ("BertTokenizer", "ConvBertTokenizer", "OnesTokenizer"):
            files = {
                "tokenizer.json": tokenizer_json(normalizer=normalizer),
                "tokenizer_config.json": {"tokenizer_class": name, "do_lower_case": False},
            }
            found.append((f"{name} {title}", files))
    for make in (bpe_json, wordlevel_json):
        stated = {"tokenizer_class": "PreTrainedTokenizerFast"}
        found.append((make.__name__, {"tokenizer.json": make(), "tokenizer_config.json": stated}))
    flags = {"content": "[MASK]", "lstrip": True, "normalized": False}
    older = {"special_tokens_map.json": {"mask_token": flags, "cls_token": "[CLS]"}}
    added = {"added_tokens.json": {"Foo": len(TOKENS), "[N]": len(TOKENS) + 1}}
    found.append(("older", {"vocab.txt": vocab_txt(), **older, **added}))
    own = {"bos_token": "the", "my_token": "[N]", "additional_special_tokens": ["un", "hello"]}
    found.append(("named", json_file | {"tokenizer_config.json": own}))
    return found


CELLS = cells()


def every_folder() -> Iterator[Any]:
    """All kinds of folders; by default a third, and of the others a part with a model's config."""
    for number, (name, files) in enumerate(CELLS):
        for beside, title, runs in (
            ({}, "alone", number % 3 == 0),
            ({"config.json": BERT}, "with a model", number % 3 == 1 and number % 5 < 3),
        ):
            marks = [] if runs else [pytest.mark.slow]
            yield pytest.param(files, beside, id=f"{name} {title}", marks=marks)


@pytest.mark.parametrize(("files", "beside"), list(every_folder()))
def test_every_kind_of_folder(
    tmp_path: Path, files: Mapping[str, Any], beside: Mapping[str, Any]
) -> None:
    try:
        source = loaded(write_folder(tmp_path / "source", {"config.json": BERT, **files}))
    except TokenizerError:
        stated = files["tokenizer_config.json"]["tokenizer_class"]
        assert stated != "BertTokenizer"  # whose class decides where files contradict each other
        return
    write_folder(tmp_path / "saved", beside)
    assert_saved(source, tmp_path / "saved")


def test_a_tokenizer_of_another_kind(tmp_path: Path) -> None:
    stated = {"tokenizer_class": "XLMRobertaTokenizer"} | XLM_R
    files = {"tokenizer.json": unigram_json(), "tokenizer_config.json": stated}
    source = loaded(write_folder(tmp_path / "source", files))
    theirs = assert_saved(source, tmp_path / "saved", ["the world", "Hello <mask>", "  the ", ""])
    assert (theirs.bos_token, theirs.eos_token) == ("<s>", "</s>")


def test_special_tokens_keep_their_names_and_flags(tmp_path: Path) -> None:
    stated = {"my_token": "[N]", "additional_special_tokens": ["un", "hello"]}
    files = {
        "tokenizer.json": tokenizer_json(added_tokens=[*tokenizer_json()["added_tokens"], NAMED_N]),
        "tokenizer_config.json": stated,
        "config.json": BERT,
    }
    folder = write_folder(tmp_path / "source", files)
    before = AutoTokenizer.from_pretrained(folder)
    theirs = assert_saved(loaded(folder), tmp_path / "saved", ["a [N]un", "hello [N] a"])
    assert theirs.special_tokens_map == before.special_tokens_map
    assert sorted(theirs.all_special_tokens) == sorted(before.all_special_tokens)
    assert repr(theirs.added_tokens_decoder) == repr(before.added_tokens_decoder)


@pytest.mark.parametrize("name", ["demo", "minilm", "cased"])
def test_real_tokenizers_as_they_were_set(
    tmp_path: Path, name: str, minilm: Path, data: Path
) -> None:
    places: dict[str, Any] = {"demo": "demo", "minilm": minilm}
    if name == "cased":
        vocabulary = data / "vocab" / "bert-base-cased-vocab.txt"
        stated = {"do_lower_case": False}
        places[name] = write_folder(
            tmp_path / "source", {"vocab.txt": vocabulary, "tokenizer_config.json": stated}
        )
    tokenizer = BertTokenizer.from_pretrained(places[name])
    tokenizer.padding_side, tokenizer.truncation_side = "left", "left"
    tokenizer.model_max_length = 7
    theirs = assert_saved(tokenizer, tmp_path / "saved", HARD_TEXTS[:20])
    assert type(theirs).__name__ == "BertTokenizer"
    cut = ["one text", "a longer one, that is cut, as it is too long"]
    found = tokenizer(cut, truncation=True, padding=True)
    assert dict(theirs(cut, truncation=True, padding=True)) == found
    assert [len(row) for row in found["input_ids"]] == [7, 7]


def test_what_transformers_saves_of_ours_is_loaded_here(tmp_path: Path) -> None:
    tokenizer = BertTokenizer.from_pretrained("demo")
    theirs = assert_saved(tokenizer, tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    assert BertTokenizer.from_pretrained(tmp_path / "theirs")(TEXTS) == tokenizer(TEXTS)
    assert json.loads((tmp_path / "theirs" / "tokenizer.json").read_bytes()) == json.loads(
        (tmp_path / "ours" / "tokenizer.json").read_bytes()
    )
