"""Which tokenizer a folder's files make: every class, switch and normalizer against transformers.

The table is the rule of `numpy_bert.text.backend.load_backend`: the ids are AutoTokenizer's.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from transformers import AutoTokenizer

from numpy_bert import BertTokenizer
from numpy_bert.errors import TokenizerError
from tests.support.tokenizer_files import (
    ROBERTAS,
    TOKENS,
    added_token,
    bpe_json,
    tokenizer_json,
    unigram_json,
    vocab_txt,
    wordlevel_json,
    write_folder,
)

BERT = {"model_type": "bert"}
NEW = len(TOKENS)
TEXTS = [
    "Hello hello HELLO world, the UN",
    "\u00c9t\u00e9 \u00e9t\u00e9 E\u0301te ete",
    "\u4e2d\u6587x a\u4e2d",
    "a\0b\x0by \u2028x\u200b\ufffd the\u00a0un",
    "\uff48\uff45\ufb01 \u2460 \u0130i \u00df \u03a3\u03c2",
    "[MASK] [mask]a[SEP]'s [CLS] . ,",
    "Foo foo FOO aFoo [N] [n]",
    "",
]
CLASSES = [
    None,
    "BertTokenizer",
    "BertTokenizerFast",
    "PreTrainedTokenizerFast",
    "TokenizersBackend",
    "DistilBertTokenizerFast",
    "ElectraTokenizer",
    "MobileBertTokenizerFast",
    "ConvBertTokenizer",
    "DPRContextEncoderTokenizer",
    "DPRQuestionEncoderTokenizerFast",
    "RetriBertTokenizerFast",
    "FooTokenizer",
]
SWITCHES: list[dict[str, Any]] = [
    {},
    {"do_lower_case": True},
    {"do_lower_case": False},
    {"strip_accents": True, "do_lower_case": False},
    {"strip_accents": False},
    {"strip_accents": None, "tokenize_chinese_chars": False},
    {"tokenize_chinese_chars": True, "do_lower_case": False, "strip_accents": None},
]


def bert(**changes: object) -> dict[str, Any]:
    """Return BertNormalizer as it stands in tokenizer.json, with changes."""
    return tokenizer_json()["normalizer"] | changes  # type: ignore[no-any-return]


def sequence(*steps: Any) -> dict[str, Any]:
    return {
        "type": "Sequence",
        "normalizers": [s if isinstance(s, dict) else {"type": s} for s in steps],
    }


NORMALIZERS: dict[str, Any] = {
    "BertNormalizer": bert(),
    "cased": bert(lowercase=False),
    "accents kept": bert(strip_accents=False),
    "accents stripped": bert(strip_accents=True, lowercase=False),
    "chinese whole": bert(handle_chinese_chars=False),
    "unclean": bert(clean_text=False),
    "none": None,
    "Lowercase": {"type": "Lowercase"},
    "NFKC": {"type": "NFKC"},
    "Sequence of one": sequence(bert(lowercase=False)),
    "Sequence NFC": sequence("NFC", bert(lowercase=False)),
    "Sequence of four": sequence("NFD", "Lowercase", "StripAccents", "NFC"),
    "Sequence NFKC, Lowercase": sequence("NFKC", "Lowercase"),
}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def ours(folder: Path) -> tuple[BertTokenizer, list[str]]:
    """Return our tokenizer and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tokenizer = BertTokenizer.from_pretrained(folder)
    return tokenizer, [str(warning.message) for warning in caught]


def assert_same(folder: Path, texts: list[str] = TEXTS) -> list[str]:
    """Compare ids, token types, and what they decode to; return our warnings."""
    found, said = ours(folder)
    theirs = AutoTokenizer.from_pretrained(folder)
    for one, two in ((texts, None), (texts, texts[::-1])):
        expected = theirs(one, two, padding=False, truncation=False)
        encoding = found(one, two)
        where = (folder, said)
        assert encoding["input_ids"] == expected["input_ids"], where
        if "token_type_ids" in expected:
            assert encoding["token_type_ids"] == expected["token_type_ids"], where
    assert len(found) == len(theirs), where
    for ids in encoding["input_ids"]:
        for skip in (False, True):
            expected = theirs.decode(ids, skip_special_tokens=skip)
            assert found.decode(ids, skip_special_tokens=skip) == expected, where
    assert len([words for words in said if "is not obeyed" not in words]) <= 1
    return said


def cells(name: str | None) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield the name of each normalizer with the files of each cell of the table."""
    stated = {} if name is None else {"tokenizer_class": name}
    for title, normalizer in NORMALIZERS.items():
        for switches in SWITCHES:
            yield (
                title,
                switches,
                {
                    "tokenizer.json": tokenizer_json(normalizer=normalizer),
                    "tokenizer_config.json": stated | switches,
                },
            )


@pytest.mark.parametrize(
    ("name", "config"),
    [
        *((name, BERT) for name in CLASSES),
        *((name, None) for name in (None, "BertTokenizerFast", "PreTrainedTokenizerFast")),
        ("DPRQuestionEncoderTokenizerFast", None),
    ],
)
def test_every_class_switch_and_normalizer(
    tmp_path: Path, name: str | None, config: dict[str, Any] | None
) -> None:
    files = {} if config is None else {"config.json": config}
    for number, (_, _, cell) in enumerate(cells(name)):
        assert_same(write_folder(tmp_path / str(number), files | cell))


FILED = tokenizer_json()["added_tokens"]
FLAGGED = [*FILED[:4], added_token(4, "[MASK]", lstrip=True, special=False)]
NAMED_N = added_token(NEW, "[N]", lstrip=True)
WORD = added_token(NEW, "Foo", special=False, normalized=True)
LISTED = {str(token["id"]): {k: v for k, v in token.items() if k != "id"} for token in FILED}
PROCESSOR = {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}
OTHER_FRAME = tokenizer_json()["post_processor"] | {
    "special_tokens": {
        token: {"id": token, "ids": [4], "tokens": ["[MASK]"]} for token in ("[CLS]", "[SEP]")
    }
}


def wordpiece(**changes: object) -> dict[str, Any]:
    """Return a WordPiece model as it stands in tokenizer.json, with changes."""
    return tokenizer_json()["model"] | changes  # type: ignore[no-any-return]


# What tokenizer.json holds, what is stated beside it, and the words of our warning if there is one
# where the class is BertTokenizer.
MEMBERS: list[tuple[dict[str, Any], dict[str, Any], str | None]] = [
    ({"pre_tokenizer": {"type": "Whitespace"}}, {}, "the pre_tokenizer there is Whitespace"),
    ({"pre_tokenizer": None}, {}, "the pre_tokenizer there is absent"),
    ({"decoder": None}, {}, "the decoder there is {}"),
    ({"decoder": {"type": "WordPiece", "prefix": "##", "cleanup": False}}, {}, "the decoder there"),
    ({"model": wordpiece(max_input_chars_per_word=5)}, {}, "max_input_chars_per_word there is 5"),
    ({"model": wordpiece(continuing_subword_prefix="@@")}, {}, "_prefix there is '@@'"),
    ({"model": wordpiece(unk_token="[PAD]")}, {}, "unknown words become [PAD] there, [UNK] here"),
    ({"post_processor": None}, {}, "the special tokens around texts are others there"),
    ({"post_processor": OTHER_FRAME}, {}, "the special tokens around texts are others there"),
    ({"post_processor": PROCESSOR}, {}, None),
    ({}, {"cls_token": "[MASK]", "sep_token": "the"}, "the special tokens around texts"),
    ({}, {"unk_token": "the"}, "unknown words become [UNK] there, the here"),
    ({"added_tokens": []}, {}, None),
    ({"added_tokens": FLAGGED}, {}, None),
    ({"added_tokens": FLAGGED}, {"added_tokens_decoder": LISTED}, None),
    ({"added_tokens": FLAGGED}, {"added_tokens_decoder": {"2": LISTED["2"]}}, "does not list the"),
    ({}, {"added_tokens_decoder": {"2": LISTED["2"]}}, None),
    ({"added_tokens": FLAGGED}, {"mask_token": "[MASK]"}, None),
    ({"added_tokens": [*FILED, NAMED_N]}, {}, None),
    ({"added_tokens": [*FILED, NAMED_N]}, {"added_tokens_decoder": LISTED}, "does not list the"),
    ({"added_tokens": [*FILED, WORD]}, {}, None),
    ({"added_tokens": [*FILED, WORD]}, {"do_lower_case": False}, "do_lower_case is False in"),
    ({"added_tokens": [*FILED, WORD], "normalizer": None}, {}, "the normalizer there is absent"),
    (
        {"added_tokens": [*FILED, WORD]},
        {"added_tokens_decoder": LISTED},
        "added tokens Foo, which stand",
    ),
    ({}, {"extra_special_tokens": ["[N]", "the"]}, None),
    ({}, {"split_special_tokens": True}, None),
]


@pytest.mark.parametrize("name", ["BertTokenizer", "ConvBertTokenizer", "PreTrainedTokenizerFast"])
@pytest.mark.parametrize("row", range(len(MEMBERS)))
def test_what_else_tokenizer_json_holds(tmp_path: Path, name: str, row: int) -> None:
    changes, stated, words = MEMBERS[row]
    files = {
        "config.json": BERT,
        "tokenizer.json": tokenizer_json(**changes),
        "tokenizer_config.json": stated | {"tokenizer_class": name},
    }
    folder = write_folder(tmp_path, files)
    if name == "BertTokenizer":
        said = assert_same(folder)
        assert (words in said[0]) if words is not None else not said, said
        return
    try:
        assert_same(folder)
    except TokenizerError as failure:  # what contradicts itself is refused, if no class decides
        words = str(failure)
        assert "texts are not framed by" in words or "unknown words become" in words
        assert {*changes, *stated} <= {
            "post_processor",
            "model",
            "cls_token",
            "sep_token",
            "unk_token",
        }


@pytest.mark.parametrize("switches", SWITCHES)
@pytest.mark.parametrize("name", [None, *CLASSES[1:3], *CLASSES[5:11]])
def test_vocab_txt_is_read_alike(
    tmp_path: Path, name: str | None, switches: dict[str, Any]
) -> None:
    stated = switches if name is None else switches | {"tokenizer_class": name}
    files = {"config.json": BERT, "vocab.txt": vocab_txt(), "tokenizer_config.json": stated}
    assert_same(write_folder(tmp_path, files))


@pytest.mark.parametrize("flags", [{"normalized": True}, {"lstrip": True, "normalized": False}])
@pytest.mark.parametrize("file", ["tokenizer.json", "vocab.txt"])
def test_flags_of_the_older_file_count_where_no_other_gives_them(
    tmp_path: Path, file: str, flags: dict[str, bool]
) -> None:
    token = {"content": "[MASK]", "lstrip": False, "rstrip": False, "single_word": False} | flags
    files = {
        "config.json": BERT,
        file: tokenizer_json() if file == "tokenizer.json" else vocab_txt(),
        "special_tokens_map.json": {"mask_token": token, "cls_token": "[CLS]"},
    }
    assert assert_same(write_folder(tmp_path, files)) == []


def test_the_older_list_of_ids_does_not_change_flags(tmp_path: Path) -> None:
    files = {
        "config.json": BERT,
        "tokenizer.json": tokenizer_json(added_tokens=[*FILED, NAMED_N]),
        "added_tokens.json": {"[N]": NEW},
    }
    assert assert_same(write_folder(tmp_path, files), [*TEXTS, "a [N] a"]) == []


XLM_R = dict(
    zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), ROBERTAS, strict=True),
    cls_token="<s>",
    sep_token="</s>",
)


@pytest.mark.parametrize(
    ("stated", "model"),
    [
        ({"tokenizer_class": "XLMRobertaTokenizer"} | XLM_R, {}),
        ({"tokenizer_class": "XLMRobertaTokenizerFast"}, {}),
        ({}, {"tokenizer_class": "XLMRobertaTokenizer"}),
        ({"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": True} | XLM_R, {}),
        ({"tokenizer_class": "PreTrainedTokenizerFast"}, {}),
        ({"tokenizer_class": "SomebodysTokenizer"} | XLM_R, {}),
    ],
)
def test_a_bert_with_the_tokenizer_of_xlm_r(
    tmp_path: Path, stated: dict[str, Any], model: dict[str, Any]
) -> None:
    files = {"tokenizer.json": unigram_json(), "tokenizer_config.json": stated}
    folder = write_folder(tmp_path, files | {"config.json": BERT | model})
    texts = ["the world", "Hello <mask>", "q the</s> \u4e2da", "  the   the ", ""]
    assert assert_same(folder, texts) == []
    tokenizer = BertTokenizer.from_pretrained(folder)
    assert tokenizer.tokenize("the world") == ["\u2581the", "\u2581world"]
    names = [getattr(tokenizer, f"{name}_token") for name in ("cls", "sep", "pad", "unk", "mask")]
    assert names == ["<s>", "</s>", "<pad>", "<unk>", "<mask>"]
    pair = tokenizer("the", "the")
    assert pair["input_ids"] == [0, 4, 2, 2, 4, 2]
    assert pair["token_type_ids"] == [0] * 6


@pytest.mark.parametrize("make", [bpe_json, wordlevel_json])
@pytest.mark.parametrize("name", ["PreTrainedTokenizerFast", "TokenizersBackend", "OnesTokenizer"])
def test_other_kinds_of_tokenizer_json_are_taken_as_they_are(
    tmp_path: Path, make: Any, name: str
) -> None:
    files = {
        "config.json": BERT,
        "tokenizer.json": make(),
        "tokenizer_config.json": {"tokenizer_class": name},
    }
    assert assert_same(write_folder(tmp_path, files)) == []


@pytest.mark.parametrize("name", ["KoBertTokenizer", None, "BertTokenizerFast"])
def test_code_of_a_repository_is_not_run(tmp_path: Path, name: str | None) -> None:
    custom = {"auto_map": {"AutoTokenizer": ["tokenization_kobert.KoBertTokenizer", None]}}
    stated = custom if name is None else custom | {"tokenizer_class": name}
    cased = tokenizer_json(normalizer=bert(lowercase=name is not None))
    files = {"config.json": BERT, "tokenizer.json": cased, "tokenizer_config.json": stated}
    folder = write_folder(tmp_path, files)
    found, said = ours(folder)
    assert "auto_map names KoBertTokenizer, of which transformers runs Python code" in said[0]
    theirs = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    assert [found(text)["input_ids"] for text in TEXTS] == [theirs(t)["input_ids"] for t in TEXTS]
