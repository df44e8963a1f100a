"""BertTokenizer as its users call it, its attributes, and ids to text."""

from __future__ import annotations

import copy
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from numpy_bert import BertTokenizer, InputError, NumpyBertError
from numpy_bert.errors import TokenizerError
from numpy_bert.text.ids import IdEncoder
from numpy_bert.text.tokenizer import decoded
from tests.support.family_tokenizers import roberta_json
from tests.support.tokenizer_files import (
    TOKENS,
    added_token,
    small,
    spelt,
    tokenizer_json,
    write_folder,
)

MEMBERS = ("input_ids", "token_type_ids", "attention_mask")


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return BertTokenizer.from_pretrained("demo")


def test_what_is_baked_into_the_real_model_does_not_leak(minilm: Path) -> None:
    tokenizer = BertTokenizer.from_pretrained(minilm)
    assert tokenizer.notes == (
        "tokenizer.json has truncation to 128 tokens baked in; it is not used.",
        "tokenizer.json has padding to 128 tokens baked in; it is not used.",
    )
    assert tokenizer("a")["input_ids"] == [101, 1037, 102]
    assert len(tokenizer("a " * 600)["input_ids"]) == 602
    assert len(tokenizer("a " * 600, truncation=True)["input_ids"]) == 512
    assert tokenizer(["a", "a b"], padding=True)["input_ids"] == [
        [101, 1037, 102, 0],
        [101, 1037, 1038, 102],
    ]


def test_attributes_are_the_files(tmp_path: Path) -> None:
    tokenizer = small(tmp_path, model_max_length=9, padding_side="left", truncation_side="left")
    names = ("pad", "unk", "cls", "sep", "mask")
    assert [getattr(tokenizer, f"{name}_token_id") for name in names] == [0, 1, 2, 3, 4]
    assert [getattr(tokenizer, f"{name}_token") for name in names] == list(TOKENS[:5])
    assert (tokenizer.model_max_length, tokenizer.notes) == (9, ())
    assert (tokenizer.padding_side, tokenizer.truncation_side) == ("left", "left")
    encoding = tokenizer(["a", "a b c d"], padding=True, truncation=True, max_length=4)
    a, c, d = (TOKENS.index(letter) for letter in "acd")
    assert encoding["input_ids"] == [[0, 2, a, 3], [2, c, d, 3]]
    assert encoding["attention_mask"] == [[0, 1, 1, 1], [1, 1, 1, 1]]


def test_one_text_gives_rows_and_a_list_gives_lists_of_rows(tokenizer: BertTokenizer) -> None:
    one = tokenizer("a test")
    assert list(one) == list(MEMBERS)
    assert {name: [row] for name, row in one.items()} == tokenizer(["a test"])
    arrays = tokenizer("a test", return_tensors="np")
    for name in MEMBERS:
        assert (arrays[name].shape, arrays[name].dtype) == ((1, 4), np.dtype("int64"))
        assert arrays[name].tolist() == [one[name]]


def test_pairs_are_given_in_three_ways(tokenizer: BertTokenizer) -> None:
    one = tokenizer("a test", "the second")
    assert one["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1]
    listed = {name: [row] for name, row in one.items()}
    assert tokenizer(["a test"], ["the second"]) == listed
    assert tokenizer([("a test", "the second")]) == listed
    plain = tokenizer("a test", "the second", add_special_tokens=False)
    assert plain["token_type_ids"] == [0, 0, 1, 1]
    assert plain["input_ids"] == one["input_ids"][1:3] + one["input_ids"][4:6]


def test_e4_without_a_normalizer_nothing_vanishes(tmp_path: Path) -> None:
    write_folder(tmp_path, {"tokenizer.json": tokenizer_json(normalizer=None)})
    assert BertTokenizer.from_pretrained(tmp_path).dropped_characters("a\0") == []


def test_e12_padding_goes_to_the_longest_or_to_a_length(tokenizer: BertTokenizer) -> None:
    texts = ["a", "a test a"]
    assert tokenizer(texts, padding=True, return_tensors="np")["input_ids"].shape == (2, 5)
    padded = tokenizer(texts, padding="max_length", max_length=7, return_tensors="np")
    assert padded["input_ids"].shape == (2, 7)
    assert padded["attention_mask"].sum(axis=1).tolist() == [3, 5]
    assert len(tokenizer("a", padding="max_length")["input_ids"]) == 512
    with pytest.raises(InputError, match="more than 24,000 GB"):
        tokenizer("a", padding="max_length", max_length=10**12)
    with pytest.raises(InputError, match="from 3 to 5 tokens"):
        tokenizer(texts, return_tensors="np")


def test_other_tensors_are_refused(tokenizer: BertTokenizer) -> None:
    with pytest.raises(
        InputError, match="return_tensors must be 'np', or None for lists; got 'pt'"
    ):
        tokenizer("a", return_tensors="pt")


def test_tokens_and_ids_are_each_others_inverse(tokenizer: BertTokenizer) -> None:
    vocabulary = tokenizer.get_vocab()
    assert len(vocabulary) == len(tokenizer) == tokenizer.vocab_size == 8000
    tokens = tokenizer.convert_ids_to_tokens(range(8000))
    assert {token: index for index, token in enumerate(tokens)} == vocabulary
    assert tokenizer.convert_tokens_to_ids(tokens) == list(range(8000))
    assert tokenizer.convert_ids_to_tokens(2) == "[CLS]"
    assert tokenizer.convert_ids_to_tokens(np.array([2, 3], dtype=np.uint8)) == ["[CLS]", "[SEP]"]
    assert tokenizer.convert_ids_to_tokens([]) == []
    assert tokenizer.convert_tokens_to_ids("no such token") == tokenizer.unk_token_id
    assert tokenizer.convert_tokens_to_ids(["[SEP]", "no such token"]) == [3, 1]


def test_added_tokens_count_in_the_length_and_not_in_the_vocabulary(tmp_path: Path) -> None:
    added = [*tokenizer_json()["added_tokens"], added_token(len(TOKENS), "[NEW]")]
    write_folder(tmp_path, {"tokenizer.json": tokenizer_json(added_tokens=added)})
    tokenizer = BertTokenizer.from_pretrained(tmp_path)
    assert (tokenizer.vocab_size, len(tokenizer)) == (len(TOKENS), len(TOKENS) + 1)
    assert tokenizer.convert_tokens_to_ids("[NEW]") == len(TOKENS)
    assert tokenizer.decode([len(TOKENS)]) == "[NEW]"


@pytest.mark.parametrize("ids", [[-1], [8000], [5, 2**40], [[[1]]], [1.0], [True], ["a"], None])
def test_ids_that_are_none_are_refused(tokenizer: BertTokenizer, ids: Any) -> None:
    for call in (tokenizer.decode, tokenizer.convert_ids_to_tokens):
        with pytest.raises(
            InputError,
            match=r"^ids(\[\d\] = -?\d+ is outside| must be (an array of integers|one sequence))",
        ):
            call(ids)


@pytest.mark.parametrize("tokens", [None, 5, ["a", 5], ["a", None], [["a"]], b"ab"])
def test_tokens_that_are_none_are_refused(tokenizer: BertTokenizer, tokens: Any) -> None:
    with pytest.raises(InputError, match=r"^tokens(\[\d\])? must be a str"):
        tokenizer.convert_tokens_to_ids(tokens)


def test_decoding_is_the_inverse_up_to_case_and_space(tokenizer: BertTokenizer) -> None:
    texts = ["A test,  a Sentence.", "unbelievably so"]
    ids = tokenizer(texts)["input_ids"]
    plain = tokenizer.batch_decode(ids, skip_special_tokens=True)
    assert plain == ["a test, a sentence.", "unbelievably so"]
    assert tokenizer.decode(ids[1]) == "[CLS] unbelievably so [SEP]"
    assert tokenizer.decode(np.array(ids[1])) == tokenizer.decode(ids[1])
    assert (tokenizer.decode(2), tokenizer.decode([])) == ("[CLS]", "")


def test_spaces_are_cleaned_up_where_the_files_say_so(tmp_path: Path) -> None:
    for value, text in ((False, "a ' t"), (True, "a't")):
        tokenizer = small(tmp_path, clean_up_tokenization_spaces=value)
        assert tokenizer.decode(tokenizer("a't", add_special_tokens=False)["input_ids"]) == text


def test_spaces_of_byte_pairs_are_those_of_the_text(tmp_path: Path) -> None:
    files = {
        "tokenizer.json": roberta_json(),
        "tokenizer_config.json": {"clean_up_tokenization_spaces": True},
    }
    tokenizer = BertTokenizer.from_pretrained(write_folder(tmp_path, files))
    ids = tokenizer("do n't , he said .", add_special_tokens=False)["input_ids"]
    for asked in (None, True):
        found = tokenizer.decode(ids, clean_up_tokenization_spaces=asked)
        assert found == "do n't , he said ."


def test_tokenize_takes_one_text_or_a_pair(tokenizer: BertTokenizer) -> None:
    assert tokenizer.tokenize("a test") == ["a", "test"]
    assert tokenizer.tokenize("a", "test") == ["a", "test"]
    with pytest.raises(InputError, match=r"^text must be a str; got list"):
        tokenizer.tokenize(["a", "b"])  # type: ignore[arg-type]


def test_a_warning_points_at_the_call(tmp_path: Path) -> None:
    config = {"do_lower_case": False}
    files = {"tokenizer.json": tokenizer_json(), "tokenizer_config.json": config}
    write_folder(tmp_path, files)
    with pytest.warns(UserWarning, match="do_lower_case is False in tokenizer_config") as caught:
        BertTokenizer.from_pretrained(tmp_path)
    assert caught[0].filename == __file__


def test_a_folder_without_a_tokenizer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NumpyBertError, match=r"has neither tokenizer\.json nor vocab\.txt"):
        BertTokenizer.from_pretrained(tmp_path)


def test_arguments_of_the_wrong_kind_are_refused_by_name() -> None:
    tokenizer = BertTokenizer.from_pretrained("demo")
    wrong: list[dict[str, Any]] = [
        {"truncation": np.array([True, False])},
        {"return_tensors": np.array(["np", "np"])},
    ]
    for arguments in wrong:
        with pytest.raises(InputError, match=f"{next(iter(arguments))} must be "):
            tokenizer("a", **arguments)
    for tokens in ("ab", {"a"}, (token for token in "ab"), {"a": 1}):
        with pytest.raises(InputError, match="tokens must be a "):
            tokenizer.convert_tokens_to_string(tokens)  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match="no 'decode' that could be set"):
        tokenizer.decode = None  # type: ignore[method-assign,assignment]
    expected = tokenizer.convert_tokens_to_ids(["a", "test"])
    found = tokenizer.convert_tokens_to_ids(np.array(["a", "test"]))  # type: ignore[arg-type]
    assert found == expected


READ_ONLY = [
    *(f"{name}_token" for name in ("cls", "sep", "pad", "unk", "mask")),
    *(f"{name}_token_id" for name in ("cls", "sep", "pad", "unk", "mask")),
    *("notes", "model_input_names", "vocab_size", "backend_tokenizer", "vocab", "is_fast"),
    *("special_tokens_map", "all_special_tokens", "all_special_ids"),
    *("do_lower_case", "strip_accents", "max_len", "extra"),
]


@pytest.fixture
def fresh(tmp_path: Path) -> BertTokenizer:
    files = {"tokenizer.json": tokenizer_json(), "config.json": {"model_type": "bert"}}
    return BertTokenizer.from_pretrained(write_folder(tmp_path, files))


def copies(fresh: BertTokenizer) -> list[BertTokenizer]:
    return [
        fresh,
        copy.copy(fresh),
        copy.deepcopy(fresh),
        pickle.loads(pickle.dumps(fresh)),
    ]


def test_every_public_attribute_is_looked_at(fresh: BertTokenizer) -> None:
    methods = {name for name in dir(fresh) if callable(getattr(fresh, name))}
    public = {name for name in dir(fresh) if not name.startswith("_")} - methods
    settable = {"padding_side", "truncation_side", "model_max_length"}
    assert public == settable.union(READ_ONLY[:19])


@pytest.mark.parametrize("name", READ_ONLY)
def test_what_the_files_say_cannot_be_set(fresh: BertTokenizer, name: str) -> None:
    for one in copies(fresh):
        before = getattr(one, name, None)
        with pytest.raises(AttributeError):
            setattr(one, name, "[SEP]")
        assert getattr(one, name, None) == before or name == "backend_tokenizer"


def test_the_message_says_what_to_do(fresh: BertTokenizer) -> None:
    with pytest.raises(AttributeError, match=r"^cls_token cannot be set: .* and load it again\.$"):
        fresh.cls_token = "[MASK]"
    with pytest.raises(AttributeError, match=r"^a tokenizer has no 'do_lower_case' that could"):
        fresh.do_lower_case = False


def test_the_side_of_truncation_is_obeyed_at_once(fresh: BertTokenizer) -> None:
    text, first, last = (
        "a b c d",
        spelt("[CLS]", "a", "b", "[SEP]"),
        spelt("[CLS]", "c", "d", "[SEP]"),
    )
    encoder = IdEncoder(fresh)
    for side, expected in (("right", first), ("left", last), ("right", first)):
        fresh.truncation_side = side
        for one in copies(fresh):
            assert one.truncation_side == side
            assert one(text, truncation=True, max_length=4)["input_ids"] == expected
        for same in (encoder, copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
            assert same([text], 4).ids.tolist() == expected


def test_the_side_of_padding_is_obeyed(fresh: BertTokenizer) -> None:
    a = TOKENS.index("a")
    for side, expected in (("left", [0, 2, a, 3]), ("right", [2, a, 3, 0])):
        fresh.padding_side = side
        for one in copies(fresh):
            assert one(["a", "a b"], padding=True)["input_ids"][0] == expected


@pytest.mark.parametrize(
    ("value", "kept"), [(4, 4), (np.int64(5), 5), (None, None), (1e30, None), (10**30, None)]
)
def test_the_longest_text_is_obeyed(fresh: BertTokenizer, value: Any, kept: int | None) -> None:
    fresh.model_max_length = value
    for one in copies(fresh):
        assert one.model_max_length == kept
        if kept is not None:
            assert len(one("a " * 9, truncation=True)["input_ids"]) == kept
        else:
            with pytest.raises(InputError, match="truncation needs max_length"):
                one("a " * 9, truncation=True)


@pytest.mark.parametrize("name", ["padding_side", "truncation_side"])
@pytest.mark.parametrize("value", ["up", "Left", "", None, 1, ["left"], True])
def test_a_side_that_is_none_is_refused(fresh: BertTokenizer, name: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"^{name} must be 'left' or 'right'; got "):
        setattr(fresh, name, value)
    assert getattr(fresh, name) == "right"


@pytest.mark.parametrize("value", [0, -1, 5.0, "5", True, [5], float("nan")])
def test_a_length_that_is_none_is_refused(fresh: BertTokenizer, value: Any) -> None:
    with pytest.raises(
        InputError, match=r"^model_max_length must be a number of tokens, or None; got "
    ):
        fresh.model_max_length = value
    assert fresh.model_max_length is None


def test_a_copied_encoder_of_ids_splits_special_tokens_as_before(tmp_path: Path) -> None:
    config = {"split_special_tokens": True}
    files = {"tokenizer.json": tokenizer_json(), "tokenizer_config.json": config}
    encoder = IdEncoder(BertTokenizer.from_pretrained(write_folder(tmp_path, files)))
    expected = encoder(["[SEP]"]).ids.tolist()
    assert len(expected) > 4
    for copied in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        assert copied(["[SEP]"]).ids.tolist() == expected


@pytest.fixture(scope="module")
def backend() -> Tokenizer:
    return Tokenizer.from_str(json.dumps(tokenizer_json()))


@pytest.mark.parametrize(
    ("tokens", "skips", "cleans_up", "text"),
    [
        (["[CLS]", "un", "##aff", "##able", "[SEP]"], True, False, "unaffable"),
        (["[CLS]", "un", "##aff", "[SEP]"], False, False, "[CLS] unaff [SEP]"),
        (["hello", ",", "world", "."], False, False, "hello, world."),
        (["a", "'", "t"], False, False, "a ' t"),
        (["a", "'", "t"], False, True, "a't"),
        (["[SEP]", "##able"], True, False, "##able"),
        ([], False, True, ""),
    ],
)
def test_tokens_are_joined(
    backend: Tokenizer, tokens: list[str], skips: bool, cleans_up: bool, text: str
) -> None:
    ids = [TOKENS.index(token) for token in tokens]
    assert decoded(backend, ids, skip_special_tokens=skips, cleans_up=cleans_up) == text


def test_what_the_library_cannot_decode_is_one_error(backend: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match=r"^decode: "):
        decoded(backend, [-1], skip_special_tokens=False, cleans_up=False)


@pytest.mark.parametrize("value", [None, 5, "ab", {1: [2]}, {2}, np.int64(3), np.array(3)])
def test_sequences_that_are_none_are_refused(value: Any) -> None:
    with pytest.raises(
        InputError, match=r"^sequences must be a list of sequences of ids; got \w+\.$"
    ):
        BertTokenizer.from_pretrained("demo").batch_decode(value)


@pytest.mark.parametrize("value", ["no", 0, 1, None, []])
def test_switches_that_are_none_are_refused_by_name(value: Any) -> None:
    tokenizer = BertTokenizer.from_pretrained("demo")
    names = ["add_special_tokens", "return_offsets_mapping", "return_special_tokens_mask"]
    names += [] if value is None else ["split_special_tokens"]
    for name in names:
        with pytest.raises(InputError, match=f"^{name} must be True or False; got "):
            tokenizer("a", **{name: value})
    for call in (
        tokenizer.decode,
        lambda ids, **how: tokenizer.batch_decode([ids], **how),
    ):
        with pytest.raises(InputError, match=r"^skip_special_tokens must be True or False; got "):
            call([2, 3], skip_special_tokens=value)
    assert tokenizer("a", return_offsets_mapping=np.True_)["offset_mapping"]  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["demo", Path("vocab.txt"), None])
def test_a_tokenizer_is_made_by_from_pretrained(value: Any) -> None:
    words = (
        r"^BertTokenizer must be made by from_pretrained; got .*\. Write BertTokenizer\.from_pre"
    )
    with pytest.raises(InputError, match=words):
        BertTokenizer(value)


def test_its_repr_is_a_line(tokenizer: BertTokenizer) -> None:
    assert repr(tokenizer) == (
        "BertTokenizer(vocab_size=8000, model_max_length=512, padding_side='right', "
        "truncation_side='right')"
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("encode_plus", r"has no 'encode_plus'\. Call the tokenizer itself, which takes the same"),
        ("batch_encode_plus", r"Call the tokenizer itself, which takes the same: tokenizer\(text"),
        ("add_tokens", r"has no 'add_tokens'\. It is what its files say: add the tokens to"),
        ("no_such", r"^BertTokenizer has no 'no_such'\.$"),
    ],
)
def test_what_is_done_otherwise_is_said(tokenizer: BertTokenizer, name: str, words: str) -> None:
    with pytest.raises(AttributeError, match=words):
        getattr(tokenizer, name)
    assert not hasattr(tokenizer, name)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("a b",), r"^text must be a list of words, .*; got one text\. Split it: text\.split"),
        ((["a", ["b"]],), r"^text\[1\] must be a str; got list\.$"),
        (([["a"], "b"],), r"^text\[1\] must be a list of words; got one text\.$"),
        (([["a", 3]],), r"^text\[0\]\[1\] must be a str; got int\.$"),
        (([(["a"], ["b", None])],), r"^text\[0\]\[1\]\[1\] must be a str; got NoneType"),
        ((["a"], [["b"]]), r"^text_pair must be a list of words, .*; got 1 texts\.$"),
        (([["a"]], ["b"]), r"^text_pair must be a list of 1 lists of words, .*; got one text\.$"),
        (([["a"], ["b"]], [["b"]]), r"^text_pair must be a list of 2 lists of words, as text is; "),
        (({"a"},), r"^text must be a list of words, .*; got set\."),
    ],
)
def test_words_are_checked(tokenizer: BertTokenizer, given: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        tokenizer(*given, is_split_into_words=True)


def test_words_may_stand_in_any_column(tokenizer: BertTokenizer) -> None:
    expected = tokenizer([["a", "test"]], is_split_into_words=True)
    columns: list[Any] = [np.array(["a", "test"]), ("a", "test")]
    for words in columns:
        assert tokenizer([words], is_split_into_words=True) == expected
        one = tokenizer(words, is_split_into_words=True)
        assert {name: [row] for name, row in one.items()} == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stride": -1}, "stride must be a whole number from 0; got -1."),
        ({"stride": 2.0}, "stride must be a whole number from 0; got 2.0."),
        ({"pad_to_multiple_of": True}, "pad_to_multiple_of must be a whole number from 1; got"),
        ({"padding_side": "both"}, "padding_side must be 'left' or 'right'; got 'both'."),
        ({"is_split_into_words": "yes"}, "is_split_into_words must be True or False; got 'yes'."),
        ({"return_length": "yes"}, "return_length must be True or False; got 'yes'."),
        ({"return_token_type_ids": 1}, "return_token_type_ids must be True or False; got 1."),
        ({"return_overflowing_tokens": None}, "return_overflowing_tokens must be True or False"),
        ({"verbose": "no"}, "verbose must be True or False; got 'no'."),
        (
            {"max_length": 4, "stride": 2, "return_overflowing_tokens": True},
            "stride=2 must be less than the 2 tokens of a text that are left to a row; lower",
        ),
    ],
)
def test_arguments_of_a_call_are_checked(
    tokenizer: BertTokenizer, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(words)}"):
        tokenizer("a b c d", **options)


def test_windows_lose_nothing(tokenizer: BertTokenizer) -> None:
    options: dict[str, Any] = {"truncation": True, "max_length": 4, "stride": 1}
    found = tokenizer("a b c", return_overflowing_tokens=True, **options)
    assert found["input_ids"] == [[2, 43, 44, 3], [2, 44, 45, 3]]
    assert found.truncated == {}
    assert tokenizer("a b c", **options).truncated == {0: (5, 4)}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"use_fast": False},
            "BertTokenizer.from_pretrained: use_fast must be True; got False. ",
        ),
        ({"do_lower_case": "no"}, "do_lower_case must be True or False; got 'no'."),
        ({"do_lower_case": False}, "do_lower_case=False: the files say True, and the model was tr"),
        ({"padding_side": "up"}, "padding_side must be 'left' or 'right'; got 'up'."),
        ({"model_max_length": 0}, "model_max_length must be a number of tokens, or None; got 0."),
    ],
)
def test_what_is_said_when_it_is_loaded_is_checked(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(words)}"):
        BertTokenizer.from_pretrained("demo", **options)
    with pytest.raises(InputError, match=r"^get_special_tokens_mask needs already_has_special_tok"):
        BertTokenizer.from_pretrained("demo").get_special_tokens_mask([1])
