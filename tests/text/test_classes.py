"""Which class of tokenizer files name, and that one which is not BERT's never runs as BERT's."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

from numpy_bert import BertTokenizer
from numpy_bert.errors import TokenizerError
from numpy_bert.text.classes import named_class
from tests.support.tokenizer_files import (
    bpe_json,
    ids,
    load,
    spelt,
    tokenizer_json,
    unigram_json,
    vocab_txt,
    wordlevel_json,
    write_folder,
)

BERT = {"model_type": "bert"}
CUSTOM = {"AutoTokenizer": ["tokenization_kobert.KoBertTokenizer", None]}
MECAB = {"word_tokenizer_type": "mecab", "subword_tokenizer_type": "wordpiece"}

BERTS = [
    *("BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "DistilBertTokenizerFast"),
    *("ElectraTokenizer", "ElectraTokenizerFast", "MobileBertTokenizer", "SqueezeBertTokenizer"),
    *("ConvBertTokenizerFast", "LayoutLMTokenizer", "LxmertTokenizerFast", "RealmTokenizer"),
    *("RetriBertTokenizerFast", "DPRContextEncoderTokenizer", "DPRReaderTokenizerFast"),
]
FOREIGN = [
    *("BertJapaneseTokenizer", "KoBertTokenizer", "NagisaBertTokenizer", "HerbertTokenizer"),
    *("HerbertTokenizerFast", "BertweetTokenizer", "PhobertTokenizer", "CharacterBertTokenizer"),
    *("CanineTokenizer", "XLMRobertaTokenizer", "CamembertTokenizerFast", "T5Tokenizer"),
    *("AlbertTokenizer", "FunnelTokenizer", "GPT2Tokenizer", "TapasTokenizer"),
    *("RoCBertTokenizer", "RoFormerTokenizer", "SplinterTokenizer", "BertGenerationTokenizer"),
    *("PreTrainedTokenizerFast", "TokenizersBackend", "PreTrainedTokenizer", "berttokenizer"),
]


@pytest.mark.parametrize("file", ["tokenizer_config", "config"])
@pytest.mark.parametrize("name", FOREIGN)
def test_vocab_txt_of_another_class_is_refused_by_name(
    tmp_path: Path, name: str, file: str
) -> None:
    words = (
        rf"{re.escape(str(tmp_path / file))}\.json: tokenizer_class is {name}, which is not BERT's "
        r"WordPiece tokenizer, and there is no tokenizer\.json\. Save it"
    )
    with pytest.raises(TokenizerError, match=f"^{words}"):
        load(tmp_path, vocab=vocab_txt(), **{file: BERT | {"tokenizer_class": name}})


@pytest.mark.parametrize("file", ["tokenizer_config", "config"])
@pytest.mark.parametrize("name", BERTS)
def test_vocab_txt_of_berts_classes_is_read(tmp_path: Path, name: str, file: str) -> None:
    found = load(tmp_path, vocab=vocab_txt(), **{file: BERT | {"tokenizer_class": name}})
    assert ids(found, "Unaffable") == spelt("[CLS]", "un", "##aff", "##able", "[SEP]")


@pytest.mark.parametrize(
    ("stated", "model", "words"),
    [
        ({"auto_map": CUSTOM}, {}, "tokenizer_config.json: auto_map names KoBertTokenizer, which"),
        ({"auto_map": [*CUSTOM["AutoTokenizer"]]}, {}, "auto_map names KoBertTokenizer, which"),
        ({"auto_map": CUSTOM, "tokenizer_class": "BertTokenizer"}, {}, "auto_map names KoBert"),
        ({}, {"auto_map": CUSTOM}, "/config.json: auto_map names KoBertTokenizer, which"),
        ({"auto_map": {"AutoTokenizer": [None, "a--b.FastOne"]}}, {}, "auto_map names FastOne"),
        ({"auto_map": {"AutoTokenizer": "b.Plain"}}, {}, "auto_map names Plain"),
        (MECAB, {}, "word_tokenizer_type is a setting of BertJapaneseTokenizer, which is not"),
        ({"mecab_kwargs": {}}, {}, "mecab_kwargs is a setting of BertJapaneseTokenizer"),
        (MECAB, {"tokenizer_class": "BertJapaneseTokenizer"}, "tokenizer_class is BertJapanese"),
    ],
)
def test_what_else_tells_of_another_tokenizer(
    tmp_path: Path, stated: dict[str, Any], model: dict[str, Any], words: str
) -> None:
    files = {"tokenizer_config": stated, "config": BERT | model}
    with pytest.raises(TokenizerError, match=re.escape(words)):
        load(tmp_path / "1", vocab=vocab_txt(), **files)
    with pytest.warns(UserWarning, match="for which transformers runs Python code. Here tokenizer"):
        found = load(tmp_path / "2", tokenizer=tokenizer_json(), **files)
    assert ids(found, "Hello") == spelt("[CLS]", "hello", "[SEP]")


@pytest.mark.parametrize(
    ("stated", "model"),
    [
        ({"auto_map": {"AutoModel": "m.M"}}, {"auto_map": {"AutoModel": "m.M"}}),
        ({"auto_map": {"AutoTokenizer": [None, None]}, "tokenizer_class": ""}, {}),
        ({"tokenizer_class": "BertTokenizer"}, {"tokenizer_class": "BertJapaneseTokenizer"}),
        ({"tokenizer_class": "BertTokenizer"}, {"auto_map": CUSTOM}),
        ({"tokenizer_class": "BertTokenizer"} | MECAB, {}),
        ({"tokenizer_class": None}, {}),
    ],
)
def test_tokenizer_config_is_asked_first(
    tmp_path: Path, stated: dict[str, Any], model: dict[str, Any]
) -> None:
    found = load(tmp_path, vocab=vocab_txt(), tokenizer_config=stated, config=BERT | model)
    assert ids(found, "Hello") == spelt("[CLS]", "hello", "[SEP]")


@pytest.mark.parametrize("name", [5, ["BertTokenizer"], True, {}])
def test_a_name_that_is_no_text_is_refused(tmp_path: Path, name: object) -> None:
    with pytest.raises(
        TokenizerError, match=r"config.json: tokenizer_class must be a name such as 'Ber"
    ):
        load(tmp_path, vocab=vocab_txt(), tokenizer_config={"tokenizer_class": name})


def test_a_folder_with_neither_file_names_the_class(tmp_path: Path) -> None:
    write_folder(tmp_path, {"tokenizer_config.json": {"tokenizer_class": "XLMRobertaTokenizer"}})
    with pytest.raises(TokenizerError, match="tokenizer_class is XLMRobertaTokenizer, which"):
        BertTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("model", [BERT, {"model_type": "distilbert"}])
def test_a_berts_model_type_stands_for_berts_tokenizer(model: dict[str, Any]) -> None:
    found = named_class(Path("folder"), {}, model)
    assert (found.name, found.makes, found.reads_vocabulary) == ("BertTokenizer", "all", True)


@pytest.mark.parametrize("model", [{}, {"model_type": "somebodys"}, {"model_type": ["bert"]}])
def test_unknown_model_types_stand_for_no_class(model: dict[str, Any]) -> None:
    found = named_class(Path("folder"), {}, model)
    assert (found.name, found.makes, found.reads_vocabulary) == (None, "nothing", True)


@pytest.mark.parametrize(
    "kind", ["mpnet", "xlm-roberta", "roberta", "canine", "albert", "funnel", "deberta-v2"]
)
def test_vocab_txt_of_another_model_is_refused_by_its_type(tmp_path: Path, kind: str) -> None:
    words = {
        "mpnet": "the vocabulary has no cls_token <s>, sep_token </s>, pad_token <pad>, mask_token",
        "roberta": "model_type is roberta, whose tokenizer is RobertaTokenizer, which reads vocab",
        "xlm-roberta": "whose tokenizer is XLMRobertaTokenizer, which is not BERT's WordPiece",
    }.get(kind, f"config.json: model_type is {kind}, whose tokenizer is its own, which is not BERT")
    with pytest.raises(TokenizerError, match=words):
        load(tmp_path / "1", vocab=vocab_txt(), config={"model_type": kind})
    named = {"tokenizer_class": "BertTokenizer"}
    load(tmp_path / "2", vocab=vocab_txt(), config={"model_type": kind}, tokenizer_config=named)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = load(tmp_path / "3", tokenizer=tokenizer_json(), config={"model_type": kind})
    # transformers makes another tokenizer of it where the type stands for a class.
    assert len(caught) == (kind in ("mpnet", "xlm-roberta", "roberta"))
    assert ids(found, "Hello") == spelt("[CLS]", "hello", "[SEP]")


@pytest.mark.parametrize("name", ["XLMRobertaTokenizer", "PreTrainedTokenizerFast", "Foo", None])
def test_special_tokens_are_read_from_tokenizer_json(tmp_path: Path, name: str | None) -> None:
    stated = {} if name is None else {"tokenizer_class": name}
    model = {} if name is None else BERT
    found = load(tmp_path, tokenizer=unigram_json(), tokenizer_config=stated, config=model)
    assert dict(found.settings.special_tokens) == {
        "cls_token": "<s>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    assert ids(found, "the", "a q") == [0, 4, 2, 2, 5, 14, 5, 3, 2]


@pytest.mark.parametrize("make", [unigram_json, bpe_json, wordlevel_json])
@pytest.mark.parametrize("name", [None, "BertTokenizer"])
def test_what_is_no_wordpiece_is_never_made_one(
    tmp_path: Path, make: Any, name: str | None
) -> None:
    stated = {} if name is None else {"tokenizer_class": name}
    plain = load(tmp_path / "1", tokenizer=make())
    with pytest.warns(UserWarning, match="and is used as it is, as in transformers 4; BertToken"):
        found = load(tmp_path / "2", tokenizer=make(), tokenizer_config=stated, config=BERT)
    for text in ("the world", "Hello", "q"):
        assert ids(found, text, "the") == ids(plain, text, "the")


def test_the_class_may_say_that_a_pair_is_framed_otherwise(tmp_path: Path) -> None:
    write_folder(tmp_path, {"tokenizer.json": unigram_json()})
    tokenizer = BertTokenizer.from_pretrained(tmp_path)
    pair = tokenizer("the the the", "world the", truncation=True, max_length=7)
    assert pair["input_ids"] == [0, 4, 4, 2, 2, 11, 2]
    assert "token_type_ids" not in pair
    again = tokenizer("the the the", "world the", return_token_type_ids=True)
    assert again["token_type_ids"] == [0] * 9
    padded = tokenizer(["the", "the the"], padding=True)["input_ids"]
    assert padded == [[0, 4, 2, 1], [0, 4, 4, 2]]


def test_dprs_classes_lower_case_whatever_is_stated(tmp_path: Path) -> None:
    stated = {"tokenizer_class": "DPRReaderTokenizer", "do_lower_case": False}
    with pytest.warns(UserWarning, match="do_lower_case is False, and is not obeyed: DPRReader"):
        found = load(tmp_path, vocab=vocab_txt(), tokenizer_config=stated)
    assert ids(found, "Hello") == spelt("[CLS]", "hello", "[SEP]")
