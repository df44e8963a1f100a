"""RoBERTa's, XLM-R's, CamemBERT's and MPNet's tokenizers against transformers' AutoTokenizer."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from transformers import AutoTokenizer

from numpy_bert import BertTokenizer
from tests.support.family_tokenizers import (
    CAMEMBERTS,
    byte_pairs,
    charsmap_text,
    merges_txt,
    mpnet_json,
    roberta_json,
    words,
    xlm_roberta_json,
)
from tests.support.hard_texts import HARD_TEXTS
from tests.support.tokenizer_files import added_token, tokenizer_json, vocab_txt, write_folder

pytestmark = pytest.mark.usefixtures("no_requests")

ADDED = {str(token.pop("id")): token for token in roberta_json()["added_tokens"]}
# What sentence-transformers leaves in a tokenizer.json.
BAKED = {
    "truncation": {"max_length": 8, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
    "padding": {
        "strategy": "BatchLongest",
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 1,
        "pad_type_id": 0,
        "pad_token": "<pad>",
    },
}
OLD = {"model_max_length": 512}  # all that older repositories state
FRENCH = {"additional_special_tokens": ["<s>NOTUSED", "</s>NOTUSED"]}


def model(kind: str, pad: int = 1) -> dict[str, Any]:
    """Return of a config.json what a tokenizer can be told by."""
    return {"model_type": kind, "pad_token_id": pad, "max_position_embeddings": 514}


FOLDERS: dict[str, dict[str, Any]] = {
    "roberta": {
        "config.json": model("roberta"),
        "tokenizer.json": roberta_json(),
        "tokenizer_config.json": OLD,
        "vocab.json": byte_pairs()[0],
        "merges.txt": merges_txt(),
    },
    "roberta, two files": {
        "config.json": model("roberta"),
        "vocab.json": byte_pairs()[0],
        "merges.txt": merges_txt(),
        "tokenizer_config.json": OLD,
    },
    "roberta, two files and a space": {
        "config.json": model("roberta"),
        "vocab.json": byte_pairs()[0],
        "merges.txt": merges_txt(),
        "tokenizer_config.json": {
            "tokenizer_class": "RobertaTokenizer",
            "add_prefix_space": True,
            "trim_offsets": False,
            "mask_token": {"__type": "AddedToken", "content": "<mask>", "lstrip": True},
        },
    },
    "roberta, added tokens": {
        "config.json": model("data2vec-text"),
        "vocab.json": byte_pairs()[0],
        "merges.txt": merges_txt(),
        "added_tokens.json": {"<new>": len(byte_pairs()[0]), "Zyzzy": len(byte_pairs()[0]) + 1},
        "special_tokens_map.json": {
            "mask_token": {"content": "<mask>", "lstrip": True, "normalized": False},
            "additional_special_tokens": ["<new>"],
        },
    },
    "roberta, as transformers 4 saved it": {
        "config.json": model("roberta"),
        "vocab.json": byte_pairs()[0],
        "merges.txt": merges_txt(),
        "special_tokens_map.json": {"mask_token": {"content": "<mask>", "lstrip": True}},
        "tokenizer_config.json": {
            "tokenizer_class": "RobertaTokenizer",
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": True,
            "mask_token": "<mask>",
            "added_tokens_decoder": {
                index: token | {"normalized": token["content"] != "<mask>"}
                for index, token in ADDED.items()
            },
        },
    },
    "xlm-roberta": {
        "config.json": model("xlm-roberta"),
        "tokenizer.json": xlm_roberta_json(),
        "tokenizer_config.json": OLD,
        "sentencepiece.bpe.model": b"not looked at",
    },
    "xlm-roberta under a bert": {
        "config.json": model("bert", 0),
        "tokenizer.json": xlm_roberta_json(),
        "tokenizer_config.json": {"tokenizer_class": "XLMRobertaTokenizer"},
    },
    "camembert": {
        "config.json": model("camembert"),
        "tokenizer.json": xlm_roberta_json(CAMEMBERTS),
        "tokenizer_config.json": OLD | {"clean_up_tokenization_spaces": True},
        "special_tokens_map.json": FRENCH,
    },
    "mpnet": {
        "config.json": model("mpnet"),
        "tokenizer.json": mpnet_json(),
        "vocab.txt": vocab_txt(words()),
        "tokenizer_config.json": {"tokenizer_class": "MPNetTokenizer", "do_lower_case": True},
    },
    "mpnet, with a limit baked in": {
        "config.json": model("mpnet"),
        "tokenizer.json": mpnet_json(**BAKED),
        "tokenizer_config.json": {"tokenizer_class": "MPNetTokenizer", "model_max_length": 512},
    },
    "mpnet, vocab.txt": {"config.json": model("mpnet"), "vocab.txt": vocab_txt(words())},
    "mpnet, cased vocab.txt": {
        "config.json": model("mpnet"),
        "vocab.txt": vocab_txt(words()),
        "tokenizer_config.json": {
            "do_lower_case": False,
            "strip_accents": True,
            "mask_token": "<mask>",
        },
    },
    "distilbert": {
        "config.json": model("distilbert", 0),
        "vocab.txt": vocab_txt(),
        "tokenizer_config.json": {"tokenizer_class": "DistilBertTokenizer"},
    },
    "distilbert, no class": {
        "config.json": model("distilbert", 0),
        "tokenizer.json": tokenizer_json(),
        "tokenizer_config.json": OLD,
    },
    "distiluse, cased": {
        "config.json": model("distilbert", 0),
        "vocab.txt": vocab_txt(),
        "tokenizer.json": tokenizer_json(
            normalizer=tokenizer_json()["normalizer"] | {"lowercase": False}
        ),
        "tokenizer_config.json": {
            "tokenizer_class": "DistilBertTokenizer",
            "do_lower_case": False,
        },
    },
    "electra": {
        "config.json": model("electra", 0),
        "vocab.txt": vocab_txt(),
        "tokenizer_config.json": {"tokenizer_class": "ElectraTokenizer"},
    },
    "dpr": {"config.json": model("dpr", 0), "vocab.txt": vocab_txt()},
    "dpr, of contexts": {
        "config.json": model("dpr", 0),
        "tokenizer.json": tokenizer_json(),
        "tokenizer_config.json": {"tokenizer_class": "DPRContextEncoderTokenizerFast"},
    },
    "ernie": {"config.json": model("ernie", 0), "vocab.txt": vocab_txt()},
}
SIDES = {"padding_side": "left", "truncation_side": "left"}
TEXTS = [
    *(text for text in HARD_TEXTS if len(text) < 700),
    "Alice was <mask> tired.",
    "a<mask>b <mask><mask>  <mask> .<mask>",
    "</s> <s>x<pad> <unk>",
    "It is n't , ' is it ?",
    " leading,  two  spaces and trailing ",
    "[MASK] a [UNK]",
    "<new>Zyzzy x<new> aZyzzy",
]


class Both(NamedTuple):
    ours: Any
    theirs: Any


def both(folder: Path) -> Both:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return Both(BertTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("folders")
    return {name: write_folder(root / name, files) for name, files in FOLDERS.items()}


def same(found: Any, expected: Any) -> None:
    """Compare members, their order, and what the rows know of tokens, words and texts."""
    assert list(found) == list(expected)
    for name in found:
        if isinstance(found[name], np.ndarray):
            np.testing.assert_array_equal(found[name], expected[name], strict=True)
        else:
            assert found[name] == expected[name], name
    for row in range(len(expected.encodings or ())):
        for method in ("tokens", "word_ids", "sequence_ids"):
            assert getattr(found, method)(row) == getattr(expected, method)(row), method


def compare(pair: Both) -> None:
    """Compare all that a call can be asked for, and what becomes of ids."""
    ours, theirs = pair
    told = {"return_offsets_mapping": True, "return_special_tokens_mask": True}
    cut = {"truncation": True, "max_length": 9}
    second = TEXTS[::-1]
    split = [text.split() for text in TEXTS]
    for arguments, options in (
        ((TEXTS,), told),
        ((TEXTS, second), told),
        ((TEXTS,), {"add_special_tokens": False, **told}),
        ((TEXTS,), {"split_special_tokens": True}),
        ((TEXTS,), {"return_token_type_ids": True, "return_attention_mask": False}),
        ((split,), {"is_split_into_words": True, **told}),
        ((split, split[::-1]), {"is_split_into_words": True, **told}),
        ((TEXTS,), {"padding": True, "return_tensors": "np", **cut}),
        ((TEXTS, second), {"padding": "max_length", "truncation": "longest_first", **cut, **told}),
        (("Alice was <mask>", "tired"), {"padding": "max_length", **cut}),
        ((TEXTS[-6:],), {"return_overflowing_tokens": True, "stride": 2, **cut}),
    ):
        same(ours(*arguments, **options), theirs(*arguments, **options))
    for text in TEXTS:
        assert ours.tokenize(text) == theirs.tokenize(text)
        ids = ours(text)["input_ids"]
        for skip in (False, True):
            for cleans in (None, True):
                expected = theirs.decode(
                    ids, skip_special_tokens=skip, clean_up_tokenization_spaces=cleans
                )
                assert ours.decode(ids, skip, cleans) == expected
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.special_tokens_map == theirs.special_tokens_map
    assert list(ours.model_input_names) == list(theirs.model_input_names)
    assert repr(ours.backend_tokenizer.get_added_tokens_decoder()) == repr(
        theirs.added_tokens_decoder
    )


@pytest.mark.parametrize("name", FOLDERS)
def test_what_is_published_gives_the_same(folders: dict[str, Path], name: str) -> None:
    compare(both(folders[name]))


@pytest.mark.parametrize(
    "name", ["roberta", "xlm-roberta", "camembert", "mpnet", "distiluse, cased"]
)
def test_naughty_strings_and_sentences_of_many_languages(
    folders: dict[str, Path], name: str, data: Path
) -> None:
    texts = [*HARD_TEXTS, *json.loads((data / "text" / "blns.json").read_bytes())]
    for path in sorted((data / "text" / "tatoeba").glob("tatoeba.*")):
        texts += path.read_text("utf-8").split("\n")[:30]
    assert len(texts) > 900
    ours, theirs = both(folders[name])
    told = {"return_offsets_mapping": True, "return_special_tokens_mask": True}
    found, expected = ours(texts, texts[::-1], **told), theirs(texts, texts[::-1], **told)
    assert dict(found) == dict(expected)
    ids = found["input_ids"]
    assert ours.batch_decode(ids, True) == theirs.batch_decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize("name", FOLDERS)
def test_what_transformers_saves_gives_the_same(
    folders: dict[str, Path], name: str, tmp_path: Path
) -> None:
    theirs = AutoTokenizer.from_pretrained(folders[name], **SIDES)
    theirs.save_pretrained(tmp_path)
    write_folder(tmp_path, {"config.json": FOLDERS[name]["config.json"]})
    found = both(tmp_path)
    assert found.ours.padding_side == "left"
    compare(found)


@pytest.mark.parametrize("name", FOLDERS)
def test_what_is_saved_here_transformers_loads(
    folders: dict[str, Path], name: str, tmp_path: Path
) -> None:
    tokenizer = BertTokenizer.from_pretrained(folders[name])
    before = AutoTokenizer.from_pretrained(folders[name])
    tokenizer.save_pretrained(tmp_path)
    again = both(tmp_path)  # of the tokenizer's files alone
    kept = {
        "DistilBertTokenizer": "BertTokenizer",
        "DPRQuestionEncoderTokenizer": "BertTokenizer",
        "DPRContextEncoderTokenizerFast": "TokenizersBackend",
    }
    expected = type(before).__name__
    assert type(again.theirs).__name__ == kept.get(expected, expected)
    compare(again)
    compare(Both(again.ours, before))


SPACE = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
FRAME = roberta_json()["post_processor"]
TEMPLATE = xlm_roberta_json()["post_processor"]
DOUBLE = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
TABLE = {"type": "Precompiled", "precompiled_charsmap": charsmap_text("\ufb01", "the")}
BERTS = mpnet_json()["normalizer"]
MISNUMBERED = [*roberta_json()["added_tokens"], added_token(900, "<a>"), added_token(800, "<b>")]
LISTED = dict(list(ADDED.items())[:4])


def pairs_model(**changes: Any) -> dict[str, Any]:
    return {"model": roberta_json()["model"] | changes}


# What a tokenizer.json has that its class does not make, what is stated beside it, and a word of
# our warning, None where there is to be none.
DEPARTURES: list[tuple[str, dict[str, Any], dict[str, Any], str | None]] = [
    ("Roberta", {"pre_tokenizer": LEVEL}, {}, "the pre_tokenizer there"),
    ("Roberta", {"pre_tokenizer": LEVEL}, {"add_prefix_space": True}, "the offsets beside"),
    ("Roberta", {}, {"add_prefix_space": True}, "the pre_tokenizer there"),
    ("Roberta", {}, {"trim_offsets": False}, "the offsets beside them"),
    ("Roberta", {"post_processor": FRAME | {"trim_offsets": False}}, {}, "the offsets beside"),
    ("Roberta", {"post_processor": TEMPLATE}, {}, "the offsets beside them"),
    ("Roberta", {"normalizer": {"type": "Lowercase"}}, {}, "the normalizer there"),
    ("Roberta", {"decoder": SPACE}, {}, "the decoder there"),
    ("Roberta", pairs_model(unk_token="<unk>", fuse_unk=True), {}, "unk_token there is <unk>"),
    ("Roberta", pairs_model(ignore_merges=True), {}, "ignore_merges there is True"),
    ("Roberta", pairs_model(continuing_subword_prefix=None), {}, None),
    ("Roberta", {"added_tokens": []}, {}, None),
    ("Roberta", {"added_tokens": MISNUMBERED}, {}, "gives '<a>' the id 900, here it has 422"),
    ("Roberta", {}, {"added_tokens_decoder": LISTED}, "does not list the added tokens <mask>"),
    ("Roberta", {}, {"mask_token": "<mask>", "model_input_names": ["input_ids"]}, None),
    ("XLMRoberta", {"normalizer": {"type": "NFKC"}}, {}, "the normalizer there"),
    ("XLMRoberta", {"normalizer": TABLE}, {}, None),
    (
        "XLMRoberta",
        {
            "normalizer": {"type": "Sequence", "normalizers": [TABLE, DOUBLE]},
            "pre_tokenizer": SPACE,
        },
        {},
        "the normalizer there",
    ),
    ("XLMRoberta", {"pre_tokenizer": SPACE}, {}, "the pre_tokenizer there"),
    ("XLMRoberta", {}, {"add_prefix_space": False}, "the pre_tokenizer there"),
    ("XLMRoberta", {"added_tokens": []}, {}, None),
    ("Camembert", {"added_tokens": []}, {}, None),
    ("Camembert", {"pre_tokenizer": SPACE}, {}, "the pre_tokenizer there"),
    ("Camembert", {}, {"extra_special_tokens": ["<e>", "<f>"]}, None),
    ("MPNet", {"normalizer": BERTS | {"lowercase": False}}, {}, "do_lower_case is True by default"),
    ("MPNet", {}, {"do_lower_case": False, "strip_accents": True}, "do_lower_case is False in"),
    ("MPNet", {"normalizer": None}, {}, "the normalizer there is absent"),
    ("MPNet", {"post_processor": FRAME | {"trim_offsets": False}}, {}, "the offsets beside"),
    ("MPNet", {"added_tokens": []}, {}, None),
    ("MPNet", {}, {"unk_token": "<unk>"}, "unknown words become [UNK] there, <unk> here"),
]
MAKERS: dict[str, Any] = {
    "Roberta": roberta_json,
    "XLMRoberta": xlm_roberta_json,
    "Camembert": xlm_roberta_json,
    "MPNet": mpnet_json,
}


@pytest.mark.parametrize("row", range(len(DEPARTURES)))
def test_a_file_that_departs_from_its_class(tmp_path: Path, row: int) -> None:
    name, changes, stated, words = DEPARTURES[row]
    files = {
        "config.json": {"model_type": "bert"},
        "tokenizer.json": MAKERS[name](**changes),
        "tokenizer_config.json": {"tokenizer_class": f"{name}TokenizerFast"} | stated,
    }
    folder = write_folder(tmp_path / "1", files)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ours = BertTokenizer.from_pretrained(folder)
    said = [str(warning.message) for warning in caught]
    assert (len(said) == 1 and words in said[0]) if words is not None else not said, said
    theirs = AutoTokenizer.from_pretrained(folder)
    compare(Both(ours, theirs))
    ours.save_pretrained(tmp_path / "2")
    again = both(tmp_path / "2")
    assert type(again.theirs) is type(theirs)
    compare(again)


NAMES = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
    "pad_token": "<pad>",
}


def test_bytes_in_the_place_of_unknown_pieces(tmp_path: Path) -> None:
    """A Unigram that spells what it does not know by bytes, as newer SentencePiece models do."""
    document = xlm_roberta_json()
    pieces = document["model"]["vocab"]
    spelt = [[f"<0x{byte:02X}>", -20.0] for byte in range(256)]
    document["model"] |= {"vocab": [*pieces[:-1], *spelt, pieces[-1]], "byte_fallback": True}
    document["added_tokens"][-1]["id"] += 256
    document["decoder"] = {
        "type": "Sequence",
        "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}, document["decoder"]],
    }
    files = {
        "config.json": {"model_type": "xlm-roberta"},
        "tokenizer.json": document,
        "tokenizer_config.json": NAMES | {"tokenizer_class": "PreTrainedTokenizerFast"},
    }
    pair = both(write_folder(tmp_path, files))
    assert pair.ours.tokenize("\U0001f9c0") == ["\u2581", *["<0xF0>", "<0x9F>", "<0xA7>", "<0x80>"]]
    compare(pair)
