"""What the small files state is obeyed by the backend: switches and added tokens (row D8)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

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
BERT = {"model_type": "bert"}


@pytest.mark.parametrize("lowercase", [True, False])
def test_d8_stated_switches_win_with_both_values_named(tmp_path: Path, lowercase: bool) -> None:
    document = tokenizer_json()
    document["normalizer"]["lowercase"] = not lowercase
    message = (
        rf"\(do_lower_case is {lowercase} in tokenizer_config.json, {not lowercase} in "
        r"tokenizer.json\); the latter is used, as in transformers 5 and 4\."
    )
    stated = {"do_lower_case": lowercase}
    with pytest.warns(UserWarning, match=message):
        backend = load(tmp_path, tokenizer=document, tokenizer_config=stated, config=BERT)
    listed = load(
        tmp_path / "listed", vocab=vocab_txt(), tokenizer_config={"do_lower_case": lowercase}
    )
    hello = "hello" if lowercase else "Hello"
    for found in (backend, listed):
        assert ids(found, "Hello") == spelt("[CLS]", hello, "[SEP]")


def test_d8_other_switches_win_too(tmp_path: Path) -> None:
    config = {"strip_accents": False, "tokenize_chinese_chars": False}
    with pytest.warns(UserWarning, match=r"strip_accents is False in .*, None in"):
        backend = load(
            tmp_path / "1", tokenizer=tokenizer_json(), tokenizer_config=config, config=BERT
        )
    listed = load(tmp_path / "2", vocab=vocab_txt(), tokenizer_config=config)
    for found in (backend, listed):
        expected = spelt("[CLS]", "\u00e9t\u00e9", "[UNK]", "[SEP]")
        assert ids(found, "\u00c9t\u00e9 \u4e2d\u6587") == expected


@pytest.mark.parametrize("value", [True, False])
def test_d8_chinese_characters_are_parted_where_that_is_stated(tmp_path: Path, value: bool) -> None:
    config = {"tokenize_chinese_chars": value}
    found = load(tmp_path, vocab=vocab_txt(), tokenizer_config=config)
    parted = spelt("[CLS]", "\u4e2d", "\u6587", "[SEP]")
    assert ids(found, "\u4e2d\u6587") == (parted if value else spelt("[CLS]", "[UNK]", "[SEP]"))


def test_d8_a_class_that_reads_no_switches_leaves_tokenizer_json_as_it_is(tmp_path: Path) -> None:
    config = {"do_lower_case": False, "tokenizer_class": "PreTrainedTokenizerFast"}
    with pytest.warns(UserWarning, match="tokenizer.json is used"):
        backend = load(tmp_path, tokenizer=tokenizer_json(), tokenizer_config=config)
    assert ids(backend, "Hello") == spelt("[CLS]", "hello", "[SEP]")


def test_d8_added_words_are_normalized_as_texts_are(tmp_path: Path) -> None:
    word = added_token(NEW, "Foo", special=False, normalized=True)
    document = tokenizer_json(added_tokens=[*tokenizer_json()["added_tokens"], word])
    lowered = load(tmp_path / "1", tokenizer=document)
    assert ids(lowered, "Foo foo") == [*spelt("[CLS]"), NEW, NEW, *spelt("[SEP]")]
    stated = {"do_lower_case": False}
    with pytest.warns(UserWarning, match=r"do_lower_case is False in tokenizer_config\.json"):
        kept = load(tmp_path / "2", tokenizer=document, tokenizer_config=stated, config=BERT)
    assert ids(kept, "Foo foo") == [
        *spelt("[CLS]"),
        NEW,
        *spelt("f", "##o", "##o", "[SEP]"),
    ]


@pytest.mark.parametrize("name", ["tokenizer", "vocab"])
@pytest.mark.parametrize(
    ("file", "stated"),
    [
        ("tokenizer_config", {"added_tokens_decoder": {str(NEW): {"content": "[N]"}}}),
        ("added_tokens", {"[N]": NEW}),
        ("tokenizer_config", {"additional_special_tokens": ["[N]"]}),
        ("special_tokens_map", {"additional_special_tokens": ["[N]"]}),
    ],
)
def test_tokens_that_other_files_declare_are_taken_whole(
    tmp_path: Path, name: str, file: str, stated: dict[str, Any]
) -> None:
    files = {name: {"tokenizer": tokenizer_json(), "vocab": vocab_txt()}[name], file: stated}
    backend = load(tmp_path, **files)
    assert ids(backend, "a[N]") == [*spelt("[CLS]", "a"), NEW, *spelt("[SEP]")]
    assert backend.notes[-1].startswith("taken whole, as the files beside ")
    assert backend.notes[-1].endswith(": [N].")


def test_special_tokens_that_tokenizer_json_does_not_list_are_taken_whole(tmp_path: Path) -> None:
    backend = load(tmp_path, tokenizer=tokenizer_json(added_tokens=[]), config=BERT)
    assert ids(backend, "a[MASK]") == spelt("[CLS]", "a", "[MASK]", "[SEP]")
    assert backend.notes == ()


def test_flags_of_tokenizer_json_stay(tmp_path: Path) -> None:
    document = tokenizer_json()
    document["added_tokens"][4]["single_word"] = True
    backend = load(tmp_path, tokenizer=document)
    assert ids(backend, "a [MASK]") == spelt("[CLS]", "a", "[MASK]", "[SEP]")
    assert spelt("[MASK]")[0] not in ids(backend, "a[MASK]")


def test_flags_that_are_declared_win(tmp_path: Path) -> None:
    listed = {"4": {"content": "[MASK]", "single_word": True, "special": True}}
    config = {"added_tokens_decoder": listed}
    backend = load(tmp_path, tokenizer=tokenizer_json(), tokenizer_config=config)
    assert ids(backend, "a [MASK]") == spelt("[CLS]", "a", "[MASK]", "[SEP]")
    assert spelt("[MASK]")[0] not in ids(backend, "a[MASK]")
    assert backend.notes == ()


def test_berts_own_tokens_are_no_news(tmp_path: Path) -> None:
    listed = {str(index): {"content": token} for index, token in enumerate(TOKENS[:5])}
    config = {"added_tokens_decoder": listed}
    backend = load(tmp_path, vocab=vocab_txt(), tokenizer_config=config)
    assert backend.notes == ("there is no tokenizer.json; the tokenizer was built from vocab.txt.",)
