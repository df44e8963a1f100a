"""Which tokenizer a folder's files make: every class, switch and normalizer against transformers.

The table is the rule of `numpy_bert.text.backend.load_backend`: the ids are AutoTokenizer's.
"""

from __future__ import annotations

import warnings
from base64 import b64encode
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers.normalizers import Precompiled
from transformers import AutoTokenizer

from numpy_bert import BertTokenizer
from numpy_bert.errors import InputError, TokenizerError
from numpy_bert.ops.embedding import embedding
from tests.support.family_tokenizers import charsmap
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

pytestmark = pytest.mark.usefixtures("no_requests")

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


CELLS = list(product(NORMALIZERS.values(), SWITCHES))


ROWS = [
    *((name, BERT) for name in CLASSES),
    *((name, None) for name in (None, "BertTokenizerFast", "PreTrainedTokenizerFast")),
    ("DPRQuestionEncoderTokenizerFast", None),
]


@pytest.mark.parametrize("row", range(len(ROWS)), ids=[f"{name}-{bool(c)}" for name, c in ROWS])
@pytest.mark.parametrize("step", [8, pytest.param(1, marks=pytest.mark.slow)], ids=["part", "all"])
def test_every_class_switch_and_normalizer(tmp_path: Path, row: int, step: int) -> None:
    """By default an eighth of the table for a row, so that all rows together have every cell."""
    name, config = ROWS[row]
    files = {} if config is None else {"config.json": config}
    stated = {} if name is None else {"tokenizer_class": name}
    for number in range(row % step, len(CELLS), step):
        normalizer, switches = CELLS[number]
        cell = {
            "tokenizer.json": tokenizer_json(normalizer=normalizer),
            "tokenizer_config.json": stated | switches,
        }
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
    assert "token_type_ids" not in pair


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
    assert "auto_map names KoBertTokenizer, for which transformers runs Python code" in said[0]
    theirs = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    assert [found(text)["input_ids"] for text in TEXTS] == [theirs(t)["input_ids"] for t in TEXTS]


N = {"__type": "AddedToken", "content": "[N]", "lstrip": True, "single_word": False}
WORD_OBJECT = {"__type": "AddedToken", "content": "hello", "normalized": True}
# What tokenizer_config.json states of special tokens, and special_tokens_map.json.
SPECIAL_TOKENS: list[tuple[dict[str, Any], dict[str, Any] | None]] = [
    ({"bos_token": "the", "eos_token": "un"}, None),
    ({"bos_token": "[BOS]", "eos_token": "[EOS]"}, None),
    ({"eos_token": "[EOS]", "bos_token": "[BOS]", "foo_token": "[FOO]", "[a]_token": "[A]"}, None),
    ({"bos_token": N, "mask_token": N | {"content": "[MASK]"}}, None),
    ({"bos_token": "[CLS]", "eos_token": WORD_OBJECT}, None),
    ({"foo_token": "the"}, None),
    ({"foo_token": WORD_OBJECT}, None),
    ({"foo_token": {"content": "the"}, "add_bos_token": True, "foo2_token": None}, None),
    ({"model_specific_special_tokens": {"entity_token": "the", "e2": "[N]"}}, None),
    ({"model_specific_special_tokens": {"entity_token": "the"}, "foo_token": "world"}, None),
    ({"extra_special_tokens": {"image_token": "[I]", "x": "the"}}, None),
    ({"extra_special_tokens": {"image_token": "[I]"}, "foo_token": "[FOO]"}, None),
    ({"extra_special_tokens": [N, "world", "the"], "bos_token": "[BOS]"}, None),
    ({}, {"bos_token": "the", "eos_token": "[EOS]"}),
    ({"bos_token": "[BOS]"}, {"bos_token": "the", "foo_token": "un"}),
    ({"bos_token": "the"}, {"bos_token": None}),
    ({"foo_token": "[FOO]"}, {"extra_special_tokens": {"image_token": "the"}}),
    ({}, {"additional_special_tokens": ["the"]}),
    ({"additional_special_tokens": ["un"]}, {"additional_special_tokens": ["the"]}),
    ({"additional_special_tokens": []}, {"additional_special_tokens": ["the"]}),
    ({"extra_special_tokens": ["un"]}, {"additional_special_tokens": ["the"]}),
    ({"extra_special_tokens": {"a": "un"}}, {"additional_special_tokens": ["the"]}),
    ({"extra_special_tokens": ["un"]}, {"extra_special_tokens": ["the", "un", "[N]"]}),
    ({"additional_special_tokens": ["un"]}, {"extra_special_tokens": ["the"]}),
    ({"extra_special_tokens": ["un"], "additional_special_tokens": ["the"]}, None),
    ({"bos_token": "the", "added_tokens_decoder": LISTED}, {"eos_token": "un"}),
    ({"bos_token": "[BOS]", "added_tokens_decoder": LISTED, "foo_token": "un"}, None),
]


@pytest.mark.parametrize("file", ["tokenizer.json", "vocab.txt"])
@pytest.mark.parametrize(
    "name", ["BertTokenizer", "ConvBertTokenizer", "PreTrainedTokenizerFast", None]
)
def test_special_tokens_of_any_name_and_file(tmp_path: Path, name: str | None, file: str) -> None:
    if (name, file) == ("PreTrainedTokenizerFast", "vocab.txt"):
        name = "ElectraTokenizerFast"
    content = tokenizer_json() if file == "tokenizer.json" else vocab_txt()
    texts = [*TEXTS, "[BOS] a [EOS] b [FOO] c [A]", "athe the [N] un[I]able hello Hello world"]
    for number, (stated, older) in enumerate(SPECIAL_TOKENS):
        named = {} if name is None else {"tokenizer_class": name}
        files = {"config.json": BERT, file: content, "tokenizer_config.json": named | stated}
        files |= {} if older is None else {"special_tokens_map.json": older}
        assert assert_same(write_folder(tmp_path / str(number), files), texts) == []


def test_a_new_token_beyond_the_models_table_is_warned_of_and_refused_when_used(
    tmp_path: Path,
) -> None:
    files = {
        "config.json": BERT | {"vocab_size": NEW},
        "tokenizer.json": tokenizer_json(),
        "tokenizer_config.json": {"bos_token": "[BOS]"},
    }
    (said,) = assert_same(write_folder(tmp_path, files), [*TEXTS, "a [BOS] b"])
    assert said.endswith(
        f"config.json says vocab_size = {NEW}, and these added tokens have ids from {NEW}: "
        "'[BOS]'. A text that has one of them is refused by the model."
    )
    tokenizer = ours(tmp_path)[0]
    table = np.zeros((NEW, 4), np.float32)
    assert embedding(tokenizer("a", return_tensors="np")["input_ids"], table).shape == (1, 3, 4)
    with pytest.raises(InputError, match=rf"\[0, 2\] = {NEW} is outside"):
        embedding(tokenizer("a [BOS]", return_tensors="np")["input_ids"], table)


ANY = -1  # it goes by the class
FIVE = tokenizer_json()["added_tokens"]
DECODER = {str(token["id"]): token for token in FIVE}


def new(index: int, content: str, **flags: bool) -> dict[str, Any]:
    return added_token(index, content, **flags)


def listing(*added: dict[str, Any]) -> dict[str, Any]:
    """Return an added_tokens_decoder with the five and more."""
    return {"added_tokens_decoder": DECODER | {str(token["id"]): token for token in added}}


# What other tools write: the tokens that tokenizer.json adds, what lies beside it, and the tokens
# that are warned of with the ids that are stated and given.
MISNUMBERED: dict[str, tuple[list[dict[str, Any]], dict[str, Any], list[tuple[Any, ...]]]] = {
    "in the vocabulary's range": ([*FIVE, new(5, "[N]")], {}, [("[N]", 5, NEW)]),
    "after a gap": ([*FIVE, new(NEW + 1, "[N]")], {}, [("[N]", NEW + 1, NEW)]),
    "in another order": (
        [*FIVE, new(NEW + 5, "[N]"), new(NEW + 2, "[M]")],
        {},
        [("[N]", NEW + 5, ANY), ("[M]", NEW + 2, ANY)],
    ),
    "twice the same": ([*FIVE, new(NEW, "[N]"), new(NEW, "[M]")], {}, []),
    "that of [MASK]": ([*FIVE, new(4, "[N]")], {}, [("[N]", 4, NEW)]),
    "a token with two": (
        [*FIVE, new(NEW, "[N]"), new(NEW + 4, "[N]", special=False)],
        {},
        [("[N]", NEW + 4, NEW)],
    ),
    "the five's": ([t | {"id": 100 + t["id"]} for t in FIVE], {}, [("[CLS]", 102, 2)]),
    "the older list's": (
        FIVE,
        {"added_tokens.json": {"[N]": NEW + 7, "[M]": NEW + 3}},
        [("[N]", NEW + 7, NEW + 1), ("[M]", NEW + 3, NEW)],
    ),
    "the older list's, of [MASK]": (FIVE, {"added_tokens.json": {"[N]": 4}}, [("[N]", 4, None)]),
    "the older list's, of a word": (FIVE, {"added_tokens.json": {"[N]": 9}}, [("[N]", 9, NEW)]),
    "the older list's, twice": (
        FIVE,
        {"added_tokens.json": {"[N]": NEW, "[M]": NEW}},
        [("[N]", NEW, None)],
    ),
    "the older list's, of a known one": (
        [*FIVE, new(NEW, "[N]", lstrip=True)],
        {"added_tokens.json": {"[N]": NEW + 4}},
        [("[N]", NEW + 4, NEW)],
    ),
    "the older list's, before it": (
        [*FIVE, new(NEW + 1, "[N]")],
        {"added_tokens.json": {"[M]": NEW, "[CLS]": 3}},
        [("[CLS]", 3, 2)],
    ),
    "the older list's, below the file's": (
        [*FIVE, new(NEW, "[N]")],
        {"added_tokens.json": {"[M]": 5}},
        [("[M]", 5, ANY)],
    ),
    "the list's, below the file's": (
        [*FIVE, new(NEW, "[N]")],
        {"tokenizer_config.json": listing(new(9, "[M]"), new(NEW, "[N]"))},
        [("[M]", 9, ANY)],
    ),
    "the file's alone": (
        [*FIVE, new(NEW, "[N]"), new(NEW + 1, "[M]")],
        {"tokenizer_config.json": listing(new(NEW, "[N]"))},
        [],
    ),
    "the list's, of other flags": (
        [*FIVE, new(NEW, "[N]", special=False, normalized=True)],
        {"tokenizer_config.json": listing(new(NEW, "[N]"))},
        [],
    ),
    "the list's": (
        FIVE,
        {"tokenizer_config.json": listing(new(NEW + 9, "[N]"), new(NEW + 2, "[M]"))},
        [("[N]", NEW + 9, NEW + 1), ("[M]", NEW + 2, NEW)],
    ),
    "the list's, of another order": (
        [*FIVE, new(NEW, "[N]"), new(NEW + 1, "[M]")],
        {"tokenizer_config.json": listing(new(NEW + 1, "[N]"), new(NEW, "[M]"))},
        [],  # which of the two files is wrong goes by the class
    ),
    "the list's, swapped": (
        FIVE,
        {"tokenizer_config.json": listing(new(2, "[SEP]"), new(3, "[CLS]"))},
        [("[SEP]", 2, 3), ("[CLS]", 3, 2)],
    ),
    "the list's, below 0": (
        FIVE,
        {"tokenizer_config.json": listing(new(-1, "[N]"))},
        [("[N]", -1, NEW)],
    ),
    "tokenizer.json's, not the list's": (
        [*FIVE, new(NEW + 3, "[N]")],
        {"tokenizer_config.json": listing(new(NEW, "[N]"))},
        [("[N]", NEW + 3, NEW)],
    ),
}


@pytest.mark.parametrize(
    "name",
    [None, "BertTokenizer", "PreTrainedTokenizerFast", "ConvBertTokenizer", "FooTokenizer"],
)
@pytest.mark.parametrize("kind", MISNUMBERED)
def test_ids_that_another_tool_misnumbered(tmp_path: Path, kind: str, name: str | None) -> None:
    added, beside, expected = MISNUMBERED[kind]
    stated = beside.get("tokenizer_config.json", {}) | ({"tokenizer_class": name} if name else {})
    texts = ["a [N] [M] the[N]", "[CLS] [MASK] [n][M] b", " [N] [SEP]"]
    one: dict[str, Any] = {"tokenizer.json": tokenizer_json(added_tokens=added)}
    for number, base in enumerate((one, {"vocab.txt": vocab_txt()})):
        if number and (name in ("PreTrainedTokenizerFast", "FooTokenizer") or not beside):
            continue
        folder = write_folder(
            tmp_path / str(number),
            {"config.json": BERT, **base, **beside, "tokenizer_config.json": stated},
        )
        said = assert_same(folder, texts)
        for token, wanted, given in () if number else expected:
            (message,) = said
            has = f", here it has {given}" if given is not None else ", it has none here"
            assert f"gives '{token}' the id {wanted}{'' if given == ANY else has}" in message


@pytest.mark.parametrize("file", ["tokenizer.json", "vocab.txt"])
@pytest.mark.parametrize(
    "beside",
    [
        {"tokenizer_config.json": {"mask_token": N | {"content": "[MASK]"}}},
        {"special_tokens_map.json": {"mask_token": {"content": "[MASK]", "lstrip": True}}},
        {"special_tokens_map.json": {"additional_special_tokens": ["the", "[N]"]}},
        {"tokenizer_config.json": {"additional_special_tokens": ["the", "[N]"]}},
        {"tokenizer_config.json": {"extra_special_tokens": [N]}},
        {"tokenizer_config.json": {"foo_token": "[N]"}},
        {"tokenizer_config.json": {"mask_token": "[MASK]"}},
    ],
)
def test_which_of_the_older_list_of_ids_are_special(
    tmp_path: Path, file: str, beside: dict[str, Any]
) -> None:
    content = tokenizer_json() if file == "tokenizer.json" else vocab_txt()
    listed = {"[N]": NEW, "[MASK]": 4, "the": TOKENS.index("the"), "[CLS]": 2}
    files = {"config.json": BERT, file: content, "added_tokens.json": listed}
    assert_same(write_folder(tmp_path, files | beside), [*TEXTS, "the The [n] [N]"])


def test_white_space_at_the_end_of_a_line_of_vocab_txt(tmp_path: Path) -> None:
    ends = (" ", "\t", "\u3000", "\u00a0 ", "\r", "\x1c", "\x85", "\u2028", "")
    words = [f"{word}{ends[i % len(ends)]}" for i, word in enumerate(TOKENS[5:])]
    files = {"config.json": BERT, "vocab.txt": vocab_txt((*TOKENS[:5], *words))}
    folder = write_folder(tmp_path, files)
    assert assert_same(folder) == []
    assert ours(folder)[0].get_vocab() == AutoTokenizer.from_pretrained(folder).get_vocab()


@pytest.mark.parametrize("name", ["cls_token", "sep_token", "unk_token", "mask_token"])
@pytest.mark.parametrize("file", ["tokenizer_config.json", "special_tokens_map.json"])
def test_one_of_the_five_that_is_null_is_refused_by_name(
    tmp_path: Path, name: str, file: str
) -> None:
    files = {"config.json": BERT, "vocab.txt": vocab_txt(), file: {name: None}}
    with pytest.raises(TokenizerError, match=f"{name} is null in .* and BERT needs it. Let it say"):
        BertTokenizer.from_pretrained(write_folder(tmp_path / "1", files))
    kept = {"tokenizer.json": tokenizer_json(), file: {name: None}}
    kept["tokenizer_config.json"] = {"tokenizer_class": "PreTrainedTokenizerFast"} | kept.get(
        "tokenizer_config.json", {}
    )
    assert assert_same(write_folder(tmp_path / "2", kept)) == []
    if name == "mask_token":  # which tokenizer.json has
        files = {"config.json": BERT, "tokenizer.json": tokenizer_json(), file: {name: None}}
        assert assert_same(write_folder(tmp_path / "3", files)) == []


@pytest.mark.parametrize(
    "stated", [{"max_len": 5}, {"max_len": 5, "model_max_length": 6}, {"model_max_length": 7}]
)
def test_the_old_name_of_model_max_length(tmp_path: Path, stated: dict[str, int]) -> None:
    files = {"config.json": BERT, "vocab.txt": vocab_txt(), "tokenizer_config.json": stated}
    folder = write_folder(tmp_path, files)
    expected = AutoTokenizer.from_pretrained(folder).model_max_length
    assert ours(folder)[0].model_max_length == expected


def test_an_added_token_that_is_normalized_and_a_listing_agree(tmp_path: Path) -> None:
    flagged = [*FILED[:4], added_token(4, "[MASK]", normalized=True)]
    files = {
        "config.json": BERT,
        "tokenizer.json": tokenizer_json(added_tokens=flagged),
        "vocab.txt": vocab_txt(),
    }
    assert assert_same(write_folder(tmp_path, files)) == []


@pytest.mark.parametrize("model", [{}, {"tokenizer_class": "BertTokenizer"}])
@pytest.mark.parametrize("stated", [{}, {"do_lower_case": True}])
def test_an_empty_name_of_a_class_keeps_tokenizer_json(
    tmp_path: Path, stated: dict[str, Any], model: dict[str, Any]
) -> None:
    files = {
        "config.json": BERT | model,
        "tokenizer.json": tokenizer_json(normalizer=bert(lowercase=False)),
        "tokenizer_config.json": {"tokenizer_class": ""} | stated,
    }
    folder = write_folder(tmp_path, files)
    said = assert_same(folder)
    assert ours(folder)[0].tokenize("Hello") == ["Hello"]
    assert not said if not stated else "tokenizer.json is used, as in transformers." in said[0]


@pytest.mark.parametrize("kind", ["bert", "nomic_bert", "roberta", "somebodys"])
@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_whether_the_fast_of_a_name_is_kept(tmp_path: Path, kind: str, file: str) -> None:
    named = {"tokenizer_class": "DPRContextEncoderTokenizerFast"}
    files: dict[str, Any] = {
        "config.json": {"model_type": kind},
        "tokenizer.json": tokenizer_json(normalizer=bert(lowercase=False)),
        "tokenizer_config.json": {},
    }
    files[file] |= named
    said = assert_same(write_folder(tmp_path, files))
    keeps = "DPRContextEncoderTokenizerFast keeps tokenizer.json's normalizer"
    makes = "tokenizer.json is not what DPRContextEncoderTokenizer makes by itself"
    assert (makes if kind == "somebodys" else keeps) in said[0]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("RobertaTokenizerFast", tokenizer_json()),
        ("MPNetTokenizer", tokenizer_json(normalizer=bert(lowercase=False))),
    ],
)
def test_a_class_that_is_built_anew_is_warned_of(
    tmp_path: Path, name: str, content: dict[str, Any]
) -> None:
    files = {"tokenizer.json": content, "config.json": BERT}
    named = write_folder(
        tmp_path / "1", files | {"tokenizer_config.json": {"tokenizer_class": name}}
    )
    kept = {"tokenizer_class": "PreTrainedTokenizerFast"}
    plain = write_folder(tmp_path / "2", files | {"tokenizer_config.json": kept})
    found, said = ours(named)
    assert len(said) == 1
    assert f"{name} of transformers 5 makes a tokenizer of its own" in said[0]
    texts = ["the  world", "Hello the", "\uff48e"]
    expected = AutoTokenizer.from_pretrained(plain)(texts)["input_ids"]
    assert found(texts)["input_ids"] == expected
    assert AutoTokenizer.from_pretrained(named)(texts)["input_ids"] != expected
    assert assert_same(plain, texts) == []


@pytest.mark.parametrize("name", ["ConvBertTokenizer", "DPRReaderTokenizerFast"])
def test_what_is_no_wordpiece_is_warned_of_for_all_of_berts_kin(tmp_path: Path, name: str) -> None:
    stated = {"tokenizer_class": name}
    files = {"tokenizer.json": bpe_json(), "tokenizer_config.json": stated, "config.json": BERT}
    _, said = ours(write_folder(tmp_path, files))
    assert len(said) == 1
    assert "tokenizer.json: is BPE, and is used as it is, as in transformers 4" in said[0]


@pytest.mark.parametrize("stated", [-1, 0, None, 1e30, np.inf, 512.0, "512", 9])
def test_limits_that_others_state_load_there_and_here(tmp_path: Path, stated: Any) -> None:
    files = {
        "config.json": BERT | {"max_position_embeddings": 20, "pad_token_id": -1},
        "tokenizer.json": tokenizer_json(),
        "tokenizer_config.json": {"model_max_length": stated, "pad_token_id": -1},
    }
    folder = write_folder(tmp_path, files)
    found, theirs = ours(folder)[0], AutoTokenizer.from_pretrained(folder)
    assert found.pad_token_id == theirs.pad_token_id == 0
    if type(stated) is int and stated > 0:
        assert found.model_max_length == theirs.model_max_length == stated
    else:  # theirs is what is stated, whatever it is
        assert found.model_max_length == (512 if stated in ("512", 512.0) else 20)
    text = "a b c d e f g h i j k l"
    if isinstance(stated, str):
        return  # of which they make a TypeError at the first text
    assert found(text)["input_ids"] == theirs(text)["input_ids"]
    if stated not in (-1, 512.0):  # at which they fail
        cut = found(text, truncation=True)["input_ids"]
        assert cut == theirs(text, truncation=True)["input_ids"]


@pytest.mark.parametrize("name", ["XLMRobertaTokenizer", "XLMRobertaTokenizerFast"])
def test_xlm_rs_class_keeps_a_real_table_of_sentencepiece(tmp_path: Path, name: str) -> None:
    table = charsmap("\ufb01", "the")
    assert Precompiled(table).normalize_str("a\ufb01b") == "atheb"
    normalizer = {"type": "Precompiled", "precompiled_charsmap": b64encode(table).decode()}
    files = {
        "config.json": BERT,
        "tokenizer.json": unigram_json(normalizer=normalizer),
        "tokenizer_config.json": {"tokenizer_class": name},
    }
    folder = write_folder(tmp_path, files)
    assert assert_same(folder, ["\ufb01 world", "the \ufb01", "q\ufb01 <mask>", ""]) == []
    tokenizer = BertTokenizer.from_pretrained(folder)
    assert tokenizer.tokenize("\ufb01 world") == ["\u2581the", "\u2581world"]
