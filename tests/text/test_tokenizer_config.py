"""numpy_bert.text.tokenizer_config: what the small files state, and what is saved of them."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from numpy_bert.errors import TokenizerError
from numpy_bert.text.tokenizer_config import Settings, read_settings
from tests.support.tokenizer_files import write_folder


def read(folder: Path, **files: Any) -> Settings:
    named = {f"{name}.json": content for name, content in files.items()}
    return read_settings(write_folder(folder, named))


def test_an_empty_folder_states_berts_defaults(tmp_path: Path) -> None:
    settings = read(tmp_path)
    assert settings.special_tokens == {
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "mask_token": "[MASK]",
    }
    assert settings.switches == {}
    assert (settings.model_max_length, settings.vocab_size) == (None, None)
    assert (settings.padding_side, settings.truncation_side) == ("right", "right")
    assert not any((settings.lists_tokens, settings.split_special_tokens, settings.cleans_up))
    assert (settings.tokenizer_class.name, dict(settings.stated_tokens)) == (None, {})
    assert (dict(settings.declared_tokens), settings.extra_tokens) == ({}, ())


@pytest.mark.parametrize("written", ["<s>", {"content": "<s>", "lstrip": True}])
def test_a_special_token_is_text_or_an_object(tmp_path: Path, written: object) -> None:
    assert read(tmp_path, tokenizer_config={"cls_token": written}).special_tokens["cls_token"] == (
        "<s>"
    )


def test_the_older_file_counts_only_without_a_list_of_added_tokens(tmp_path: Path) -> None:
    older = {"cls_token": "<old>", "sep_token": None, "additional_special_tokens": ["<x>"]}
    newer: dict[str, Any] = {"cls_token": "<new>", "sep_token": "<end>"}
    found = read(tmp_path, tokenizer_config=newer, special_tokens_map=older)
    assert found.special_tokens["cls_token"] == "<old>"
    assert found.null_tokens == {"sep_token"}
    assert [token.content for token in found.extra_tokens] == ["<x>"]
    found = read(tmp_path, tokenizer_config=newer | {"added_tokens_decoder": {}})
    assert found.special_tokens["cls_token"] == "<new>"
    assert found.extra_tokens == ()


def test_declared_tokens_come_in_the_order_of_their_ids_with_their_flags(tmp_path: Path) -> None:
    listed = {
        "100": {"content": "[B]", "special": True},
        "99": {"content": "Word", "lstrip": True, "normalized": True, "special": False},
    }
    found = read(tmp_path, tokenizer_config={"added_tokens_decoder": listed}).declared_tokens
    assert [(index, token.content) for index, token in found.items()] == [
        (99, "Word"),
        (100, "[B]"),
    ]
    assert (found[99].lstrip, found[99].special, found[99].normalized) == (True, False, True)
    assert (found[100].lstrip, found[100].special, found[100].normalized) == (False, True, False)


def test_added_tokens_json_is_special_where_another_file_says_so(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        added_tokens={"[B]": 7, "word": 6, "[MASK]": 8, "[PAD]": 9, "[CLS]": 10},
        special_tokens_map={"extra_special_tokens": [{"content": "[B]"}]},
        tokenizer_config={"mask_token": "[MASK]", "pad_token": {"content": "[PAD]"}},
    ).declared_tokens
    assert {index: (t.content, t.special, t.normalized) for index, t in found.items()} == {
        6: ("word", False, True),
        7: ("[B]", True, False),
        8: ("[MASK]", True, False),
        9: ("[PAD]", False, True),  # an object in tokenizer_config.json does not count
        10: ("[CLS]", False, True),  # nor does a default
    }
    assert list(found) == [6, 7, 8, 9, 10]


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"additional_special_tokens": ["[A]", "[B]"]}, ["[A]", "[B]"]),
        ({"extra_special_tokens": ["[A]"], "additional_special_tokens": ["[B]"]}, ["[A]"]),
        ({"extra_special_tokens": [], "additional_special_tokens": ["[B]"]}, ["[B]"]),
        ({"additional_special_tokens": None}, []),
    ],
)
def test_extra_tokens_have_two_names(
    tmp_path: Path, stated: dict[str, Any], expected: list[str]
) -> None:
    found = read(tmp_path, tokenizer_config=stated).extra_tokens
    assert [token.content for token in found] == expected
    assert all(token.special and not token.normalized for token in found)


@pytest.mark.parametrize(
    ("stated", "positions", "expected"),
    [
        (512, None, 512),
        (128, 512, 128),
        (None, 512, 512),
        (1e30, 512, 512),
        (1000000000000000019884624838656, 512, 512),
        (1e30, None, None),
        (None, None, None),
        (None, "512", None),
        (None, -1, None),
        (None, True, None),
    ],
)
def test_the_longest_text_is_stated_by_either_file(
    tmp_path: Path, stated: object, positions: object, expected: int | None
) -> None:
    found = read(
        tmp_path,
        tokenizer_config={"model_max_length": stated},
        config={"max_position_embeddings": positions, "vocab_size": 61},
    )
    assert (found.model_max_length, found.vocab_size) == (expected, 61)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"model_type": "roberta", "pad_token_id": 1}, 512),
        ({"model_type": "xlm-roberta"}, 512),
        ({"model_type": "camembert", "pad_token_id": 0}, 513),
        ({"model_type": "mpnet", "pad_token_id": 5}, 512),
        ({"model_type": "roberta", "pad_token_id": -1}, 514),
        ({"model_type": "roberta", "pad_token_id": 513}, 514),
        ({"model_type": "roberta", "pad_token_id": "1"}, 514),
        ({"model_type": "distilbert", "pad_token_id": 1}, 514),
        ({"model_type": "somebodys"}, 514),
    ],
)
def test_rows_that_no_token_has_are_not_counted(
    tmp_path: Path, model: dict[str, Any], expected: int
) -> None:
    assert read(tmp_path, config=model | {"max_position_embeddings": 514}).model_max_length == (
        expected
    )


@pytest.mark.parametrize("name", ["do_lower_case", "tokenize_chinese_chars", "strip_accents"])
@pytest.mark.parametrize("value", [True, False])
def test_switches_are_kept_as_they_are_stated(tmp_path: Path, name: str, value: bool) -> None:
    assert read(tmp_path, tokenizer_config={name: value}).switches == {name: value}


def test_other_settings_are_read(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        tokenizer_config={
            "strip_accents": None,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "split_special_tokens": True,
            "clean_up_tokenization_spaces": True,
            "padding_side": "left",
            "truncation_side": "left",
        },
    )
    assert found.switches == {"strip_accents": None}
    assert found.tokenizer_class.makes == "nothing"
    assert found.split_special_tokens
    assert found.cleans_up
    assert (found.padding_side, found.truncation_side) == ("left", "left")


def refused(name: str, wanted: str, *values: object) -> list[tuple[dict[str, object], str]]:
    """Return each value of a setting with its refusal."""
    return [({name: value}, f"{name} must be {wanted}; got {value!r}.") for value in values]


FLAGS = "must be a token with flags that are true or false; got "


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        *refused("do_lower_case", "true or false", 0, 1, "false", [], 1.0),
        *refused("tokenize_chinese_chars", "true or false", 0, "true", None),
        *refused("strip_accents", "true or false", 0, 1, ""),
        ({"do_lower_case": None}, "do_lower_case must be true or false; got None"),
        ({"split_special_tokens": 1}, "split_special_tokens must be true or false; got 1"),
        ({"cls_token": 5}, "cls_token must be a token; got 5"),
        ({"cls_token": {"content": 3}}, "cls_token must be a token; got {'content': 3}"),
        ({"cls_token": {"lstrip": True}}, "must be a token; got "),
        ({"added_tokens_decoder": []}, "added_tokens_decoder must be an object of tokens by"),
        ({"added_tokens_decoder": {"x": "[A]"}}, "an object of tokens by their ids"),
        ({"added_tokens_decoder": {"1.5": "[A]"}}, "an object of tokens by their ids"),
        ({"added_tokens_decoder": {"\u0663": "[A]"}}, "an object of tokens by their ids"),
        (
            {"added_tokens_decoder": {"7": None}},
            "added_tokens_decoder[7] must be a token; got None",
        ),
        ({"added_tokens_decoder": {"7": {"content": ""}}}, "must be a token; got "),
        ({"added_tokens_decoder": {"7": {"content": "a", "lstrip": 1}}}, FLAGS),
        (
            {"additional_special_tokens": "[A]"},
            "additional_special_tokens must be a list of tokens; got '[A]'",
        ),
        ({"extra_special_tokens": [3]}, "extra_special_tokens must be a token; got 3"),
        *refused(
            "model_max_length", "a number of tokens", "512.5", "a", "", True, 512.5, [512], "nan"
        ),
        ({"padding_side": "up"}, "padding_side must be 'left' or 'right'; got 'up'"),
        ({"truncation_side": ["left"]}, "truncation_side must be 'left' or 'right'; got ['left']"),
        ("[]", "must be a JSON object; got []"),
        ('{"a": 1, "a": 2}', "the key a stands twice"),
        ('{"model_max_length": NaN}', "model_max_length must be a number of tokens; got nan"),
        ("", "must be a JSON object; got an empty file"),
        (b"\xef\xbb\xbf{}", "is not JSON"),
        (b'{"a": "\xe9"}', "is not UTF-8 (byte 7)"),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, stated: object, words: str) -> None:
    where = re.escape(f"{tmp_path / 'tokenizer_config.json'}: ")
    with pytest.raises(TokenizerError, match=f"^{where}.*{re.escape(words)}"):
        read(tmp_path, tokenizer_config=stated)


@pytest.mark.parametrize("index", ["7", 7.0, True, None])
def test_an_id_in_added_tokens_json_is_a_number(tmp_path: Path, index: object) -> None:
    with pytest.raises(TokenizerError, match=r"added_tokens.json: \[A\] must be an id; got "):
        read(tmp_path, added_tokens={"[A]": index})


def test_a_foreign_value_cannot_flood_or_recolour_the_message(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError) as caught:
        read(tmp_path, tokenizer_config={"padding_side": "\x1b[31m" + "x" * 10_000})
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("stated", "expected", "taken"),
    [
        (9, 9, None),
        (None, 40, None),
        (1e30, 40, None),
        (10**30, 40, None),
        (-1, 40, "-1 in tokenizer_config.json is taken for no limit."),
        (0, 40, "0 in tokenizer_config.json is taken for no limit."),
        (-1.0, 40, "-1.0 in tokenizer_config.json is taken for no limit."),
        ("-1", 40, "'-1' in tokenizer_config.json is taken for no limit."),
        ("1e30", 40, "'1e30' in tokenizer_config.json is taken for no limit."),
        (9.0, 9, "9.0 in tokenizer_config.json is taken for 9 tokens."),
        ("9", 9, "'9' in tokenizer_config.json is taken for 9 tokens."),
    ],
)
@pytest.mark.parametrize("name", ["model_max_length", "max_len"])
def test_a_limit_is_taken_for_what_it_can_only_mean(
    tmp_path: Path, name: str, stated: object, expected: int, taken: str | None
) -> None:
    sizes = {"max_position_embeddings": 40, "pad_token_id": -1}
    found = read(tmp_path, tokenizer_config={name: stated}, config=sizes)
    assert found.model_max_length == expected
    assert found.notes == (() if taken is None else (f"{name} = {taken}",))


def test_a_number_that_is_not_finite_stops_nobody(tmp_path: Path) -> None:
    stated = '{"a": NaN, "b": [1e999, -Infinity], "model_max_length": Infinity}'
    sizes = '{"c": NaN, "max_position_embeddings": 40}'
    found = read(tmp_path, tokenizer_config=stated, config=sizes)
    assert (found.model_max_length, found.notes) == (40, ())


@pytest.mark.parametrize("stated", [5, "[A]", True])
def test_what_is_no_list_is_refused_though_another_file_has_one(
    tmp_path: Path, stated: object
) -> None:
    where = re.escape(f"{tmp_path / 'tokenizer_config.json'}: extra_special_tokens must be a list")
    with pytest.raises(TokenizerError, match=f"^{where}"):
        read(
            tmp_path,
            tokenizer_config={"extra_special_tokens": stated},
            special_tokens_map={"extra_special_tokens": ["[B]"]},
        )


def test_tokens_in_two_files_take_time_by_their_number(tmp_path: Path) -> None:
    first, second = ([f"[{name}{number}]" for number in range(15_000)] for name in "ab")
    start = time.process_time()
    found = read(
        tmp_path,
        tokenizer_config={"extra_special_tokens": first},
        special_tokens_map={"extra_special_tokens": [*second, "[a0]"]},
    )
    assert time.process_time() - start < 2  # it was 4 s when each was looked for in a list
    assert [token.content for token in found.extra_tokens] == [*first, *second]
