"""numpy_bert.text.saving: a copied tokenizer is the one that it was, beside another config.json."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from numpy_bert import BertTokenizer
from numpy_bert.text.saving import tokenizer_files
from tests.support.tokenizer_files import TOKENS, tokenizer_json, write_folder

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
    copied: dict[str, Any] = tokenizer_files(source)
    copied["config.json"] = {"model_type": "bert", "architectures": ["BertModel"]}
    assert ids(write_folder(tmp_path / "copy", copied)) == ids(source)


def test_what_is_said_already_is_copied_as_it_is(tmp_path: Path) -> None:
    stated = b'{ "tokenizer_class":"BertTokenizer" }'
    files = {"vocab.txt": "\n".join(TOKENS), "tokenizer_config.json": stated}
    found = tokenizer_files(write_folder(tmp_path, files))
    assert found == {"vocab.txt": "\n".join(TOKENS).encode(), "tokenizer_config.json": stated}
