"""Every argument of the tokenizer's methods against transformers: windows, words, padding."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from numpy_bert import BertTokenizer, InputError
from tests.support.hard_texts import HARD_TEXTS
from tests.support.tokenizer_files import tokenizer_json, unigram_json, write_folder

pytestmark = pytest.mark.usefixtures("no_requests")

TEXTS = [text for text in HARD_TEXTS if len(text) < 120]


class Both(NamedTuple):
    ours: Any
    theirs: Any


@pytest.fixture(scope="module")
def pairs(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Both]:
    """Each tokenizer here and in transformers, with nothing baked into its file."""
    found = {}
    places: dict[str, Any] = {"demo": "demo", "MiniLM": minilm, "left": "demo"}
    for name, place in places.items():
        ours = BertTokenizer.from_pretrained(place)
        if name == "left":
            ours.padding_side = ours.truncation_side = "left"
        folder = tmp_path_factory.mktemp("tokenizer")
        ours.save_pretrained(folder)
        found[name] = Both(ours, AutoTokenizer.from_pretrained(folder))
    return found


@pytest.fixture(params=["demo", "MiniLM", "left"])
def pair(request: pytest.FixtureRequest, pairs: dict[str, Both]) -> Both:
    return pairs[request.param]


def assert_same(found: Any, expected: Any) -> None:
    """Compare members, their order and types, and what the rows know of tokens and texts."""
    assert list(found) == list(expected)
    for name in found:
        assert type(found[name]) is type(expected[name])
        if isinstance(found[name], np.ndarray):
            np.testing.assert_array_equal(found[name], expected[name], strict=True)
        else:
            assert found[name] == expected[name], name
    for row in range(len(getattr(expected, "encodings", None) or ())):
        for method in ("tokens", "word_ids", "sequence_ids"):
            assert getattr(found, method)(row) == getattr(expected, method)(row), method


def assert_same_characters(found: Any, expected: Any) -> None:
    for row in range(len(expected.encodings)):
        for token in range(len(expected.tokens(row)) + 1):
            assert found.token_to_chars(row, token) == expected.token_to_chars(row, token)
        for text in range(expected.n_sequences):  # beyond, theirs looks into all texts
            for character in range(40):
                mine = found.char_to_token(row, character, text)
                assert mine == expected.char_to_token(row, character, text)


def assert_calls(pair: Both, *arguments: Any, **options: Any) -> None:
    assert_same(pair.ours(*arguments, **options), pair.theirs(*arguments, **options))


@pytest.mark.parametrize("length", [3, 4, 5, 9, 40])
@pytest.mark.parametrize("stride", [0, 1, 6])
def test_windows_over_texts(pair: Both, length: int, stride: int) -> None:
    if stride >= length - 2:
        stride = length - 3
    options = {"truncation": True, "max_length": length, "stride": stride}
    options |= {"return_overflowing_tokens": True, "return_offsets_mapping": True}
    options |= {"return_special_tokens_mask": True, "return_length": True}
    assert_calls(pair, TEXTS, **options)
    assert_calls(pair, TEXTS, **options, padding=True, return_tensors="np")
    assert_calls(pair, TEXTS[3], **options)
    assert_calls(pair, "a", **options, padding="max_length")


def test_characters_and_tokens(pair: Both) -> None:
    options: dict[str, Any] = {"padding": True, "truncation": True, "max_length": 24}
    windows = options | {"stride": 3, "return_overflowing_tokens": True}
    words = [text.split(" ") for text in TEXTS]
    for texts, asked in (
        ((TEXTS,), options),
        ((TEXTS, TEXTS[::-1]), options),
        ((TEXTS[::2],), windows),
        ((TEXTS[:9], TEXTS[-9:]), windows),
        ((words,), options | {"is_split_into_words": True}),
    ):
        found, expected = (side(*texts, **asked) for side in pair)
        assert_same_characters(found, expected)
    assert (found.token_to_chars(1), found.char_to_token(0)) == (
        expected.token_to_chars(1),
        expected.char_to_token(0),
    )


@pytest.mark.parametrize("strategy", ["only_second", "only_first"])
def test_windows_over_one_text_of_a_pair(pair: Both, strategy: str) -> None:
    short = ["Who?", "", "a b c", "What is it"] * 9
    short = short[: len(TEXTS)]
    both = (short, TEXTS) if strategy == "only_second" else (TEXTS, short)
    options = {"truncation": strategy, "max_length": 24, "stride": 5, "padding": "max_length"}
    assert_calls(pair, *both, **options, return_overflowing_tokens=True)
    assert_calls(pair, both[0][15], both[1][15], **options, return_overflowing_tokens=True)


@given(
    first=st.integers(0, 30),
    second=st.integers(1, 30),
    length=st.integers(5, 40),
    stride=st.integers(0, 6),
    name=st.sampled_from(["demo", "left"]),
    special=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_windows_over_both_texts_of_a_pair(
    pairs: dict[str, Both],
    first: int,
    second: int,
    length: int,
    stride: int,
    name: str,
    special: bool,
) -> None:
    """Both may have windows; where the library panics, there is an error here."""
    pair, texts = pairs[name], (["a " * first], ["the " * second])
    options = {"truncation": True, "max_length": length, "stride": stride}
    options |= {"return_overflowing_tokens": True, "add_special_tokens": special}
    assume(stride < length - 2)  # beyond, transformers refuses whatever the texts are
    room = length - special * 3
    lengths = [first, second]
    if sum(lengths) > room:
        shorter = min(*lengths, room // 2)
        rooms = [shorter if n == min(lengths) else room - shorter for n in lengths]
        cut = [most for most, n in zip(rooms, lengths, strict=True) if most < n]
        if min(cut) <= stride:
            with pytest.raises(InputError, match=r"stride=\d+ must be less than the \d+ tokens"):
                pair.ours(*texts, **options)
            return
    assert_same(pair.ours(*texts, **options), pair.theirs(*texts, **options))


def test_texts_without_windows(pair: Both) -> None:
    for options in ({}, {"truncation": True}, {"padding": True}, {"truncation": False}):
        assert_calls(pair, "a text", **options, return_overflowing_tokens=True)
        assert_calls(pair, ["a text", "b"], **options, return_overflowing_tokens=True)


def test_words(pair: Both) -> None:
    words = [text.split(" ") for text in TEXTS]
    for extra in ({}, {"add_special_tokens": False}, {"return_offsets_mapping": True}):
        assert_calls(pair, words, is_split_into_words=True, **extra)
        assert_calls(pair, words[3], is_split_into_words=True, **extra)
        assert_calls(pair, words, words[::-1], is_split_into_words=True, **extra)
        assert_calls(pair, words[3], words[4], is_split_into_words=True, **extra)
    assert_calls(pair, [(words[3], words[4])], is_split_into_words=True)
    assert_calls(pair, [("a", "b c"), ("d", "e")], is_split_into_words=True)
    odds: list[Any] = [[], [""], [[]], ["a", "", "b"], [["a"], []]]
    for odd in odds:
        assert_calls(pair, odd, is_split_into_words=True)
    options: dict[str, Any] = {"truncation": True, "max_length": 9, "stride": 2, "padding": True}
    assert_calls(pair, words, is_split_into_words=True, **options)
    assert_calls(pair, words, is_split_into_words=True, **options, return_overflowing_tokens=True)


@pytest.mark.parametrize(
    "options",
    [
        {"padding": True, "pad_to_multiple_of": 8},
        {"pad_to_multiple_of": 8},
        {"padding": "max_length", "max_length": 35, "pad_to_multiple_of": 8},
        {"padding": True, "truncation": True, "max_length": 16, "pad_to_multiple_of": 8},
        {"padding": True, "padding_side": "left"},
        {"padding": True, "padding_side": "right", "return_tensors": "np"},
        {"padding_side": "left"},
        {"return_token_type_ids": False},
        {"return_attention_mask": False, "return_length": True},
        {"return_token_type_ids": True, "return_attention_mask": None},
        {"return_length": True, "padding": True, "return_tensors": "np"},
        {"max_length": 6},
        {"max_length": 6, "verbose": False},
        {"truncation": "only_first", "max_length": 6, "stride": 1},
    ],
)
def test_arguments(pair: Both, options: dict[str, Any]) -> None:
    assert_calls(pair, TEXTS, **options)
    assert_calls(pair, TEXTS[2], **options)
    if "truncation" not in options:
        assert_calls(pair, TEXTS, TEXTS[::-1], **options)


def test_the_length_of_what_is_cut_and_padded_must_be_a_multiple(pair: Both) -> None:
    options = {"padding": True, "truncation": True, "max_length": 5, "pad_to_multiple_of": 8}
    with pytest.raises(ValueError, match="is not a multiple of pad_to_multiple_of"):
        pair.theirs("a", **options)
    with pytest.raises(InputError, match=r"max_length=5 must be a multiple of pad_to_multiple_of"):
        pair.ours("a", **options)


def test_encode(pair: Both) -> None:
    for text in TEXTS:
        assert pair.ours.encode(text) == pair.theirs.encode(text)
        assert pair.ours.encode(text, "b c", max_length=9) == pair.theirs.encode(
            text, "b c", max_length=9
        )
    plain = {"add_special_tokens": False}
    assert pair.ours.encode("a b", **plain) == pair.theirs.encode("a b", **plain)
    array = pair.ours.encode("a b", return_tensors="np")
    np.testing.assert_array_equal(
        array, pair.theirs.encode("a b", return_tensors="np"), strict=True
    )
    assert pair.ours.encode(["a", "b c"]) == pair.theirs.encode(["a", "b c"])


def examples(*lengths: int, **members: Any) -> list[dict[str, Any]]:
    """Return encoded texts of so many tokens, with further members."""
    names = ("input_ids", "token_type_ids", "special_tokens_mask")
    return [
        {name: [number] * length for number, name in enumerate(names, 1)}
        | {name: values[row] for name, values in members.items()}
        for row, length in enumerate(lengths)
    ]


ROWS = examples(3, 1, 5, labels=[0.5, 1.0, 2.0])
COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}
PADDED: list[tuple[Any, dict[str, Any]]] = [
    (ROWS, {}),
    (tuple(ROWS), {"return_tensors": "np"}),
    (COLUMNS, {"padding": "longest"}),
    (COLUMNS, {"padding": "max_length", "max_length": 4}),
    (COLUMNS, {"padding": "max_length", "max_length": 9, "return_tensors": "np"}),
    (COLUMNS, {"pad_to_multiple_of": 4}),
    (COLUMNS, {"padding": "max_length", "max_length": 6, "pad_to_multiple_of": 4}),
    (COLUMNS, {"padding_side": "left"}),
    (COLUMNS, {"padding": False}),
    (COLUMNS, {"return_attention_mask": False}),
    (COLUMNS, {"return_attention_mask": True, "verbose": False}),
    ([{**row, "attention_mask": [1] * len(row["input_ids"])} for row in ROWS], {}),
    (
        [{**row, "attention_mask": [1] * len(row["input_ids"])} for row in ROWS],
        {"return_attention_mask": False},
    ),
    (examples(2, 3, labels=[[1, 2], [3, 4, 5]]), {}),
    (examples(2, 3, offset_mapping=[[(0, 1)] * 2, [(2, 3)] * 3]), {}),
    (ROWS[0], {}),
    (ROWS[0], {"padding": "max_length", "max_length": 5}),
    (examples(3)[0], {"padding": "max_length", "max_length": 5, "return_tensors": "np"}),
    ({"input_ids": []}, {}),
    ({"input_ids": []}, {"return_attention_mask": True}),
    ({"input_ids": [[], [1, 2]]}, {}),
    ({"input_ids": [[], []]}, {}),
    ({"input_ids": np.array([[1, 2], [3, 4]])}, {"padding": "max_length", "max_length": 3}),
    ({"input_ids": [np.array([1, 2]), np.array([3])], "labels": np.array([0, 1])}, {}),
    ([{"input_ids": np.array([1, 2]), "labels": 1}, {"input_ids": np.array([3]), "labels": 0}], {}),
]


@pytest.mark.parametrize("case", range(len(PADDED)))
def test_pad(pair: Both, case: int) -> None:
    given, options = PADDED[case]
    copied = {**given} if isinstance(given, dict) else [{**row} for row in given]
    found = pair.ours.pad(given, **options)
    assert_same(found, pair.theirs.pad(copied, **options))


def test_pad_takes_what_a_call_returns(pair: Both) -> None:
    for options in ({}, {"return_special_tokens_mask": True}, {"return_token_type_ids": False}):
        ours, theirs = (side(TEXTS[:9], **options) for side in pair)
        assert_same(pair.ours.pad(ours), pair.theirs.pad(theirs))
        ours, theirs = ([side(text, **options) for text in TEXTS[:9]] for side in pair)
        assert_same(
            pair.ours.pad(ours, return_tensors="np"), pair.theirs.pad(theirs, return_tensors="np")
        )


def test_decode(pair: Both) -> None:
    rows = pair.ours(TEXTS)["input_ids"]
    for options in (
        {},
        {"skip_special_tokens": True},
        {"clean_up_tokenization_spaces": True},
        {"clean_up_tokenization_spaces": False, "skip_special_tokens": True},
    ):
        assert pair.ours.decode(rows, **options) == pair.theirs.decode(rows, **options)
        assert pair.ours.batch_decode(rows, **options) == pair.theirs.batch_decode(rows, **options)
        for ids in rows:
            assert pair.ours.decode(ids, **options) == pair.theirs.decode(ids, **options)
    for ids in (5, [], [[]], [[5], []], np.array([5, 6]), np.array([[5, 6], [7, 8]])):
        assert pair.ours.decode(ids, True) == pair.theirs.decode(ids, True)


def test_tokens(pair: Both) -> None:
    ids = pair.ours("a test [MASK]", "b")["input_ids"]
    for skip in (False, True):
        found = pair.ours.convert_ids_to_tokens(ids, skip_special_tokens=skip)
        assert found == pair.theirs.convert_ids_to_tokens(ids, skip_special_tokens=skip)
    for options in ({}, {"add_special_tokens": True}):
        found = pair.ours.tokenize("a test", "b", **options)
        assert found == pair.theirs.tokenize("a test", "b", **options)


def test_special_tokens_mask(pair: Both) -> None:
    ids = pair.ours("a [MASK] [SEP]", padding="max_length", max_length=12)["input_ids"]
    for row in (ids, np.array(ids)):
        found = pair.ours.get_special_tokens_mask(row, already_has_special_tokens=True)
        assert found == pair.theirs.get_special_tokens_mask(row, already_has_special_tokens=True)


@pytest.mark.parametrize("lower", [True, False])
def test_what_is_said_when_it_is_loaded(tmp_path: Path, lower: bool) -> None:
    files = {
        "config.json": {"model_type": "bert"},
        "tokenizer.json": tokenizer_json(),
        "tokenizer_config.json": {"do_lower_case": lower},
    }
    folder = write_folder(tmp_path, files)
    options: dict[str, Any] = {"do_lower_case": lower, "use_fast": True}
    options |= {"padding_side": "left", "truncation_side": "left", "model_max_length": 5}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pair = Both(
            BertTokenizer.from_pretrained(folder, **options),
            AutoTokenizer.from_pretrained(folder, **options),
        )
        assert_calls(pair, ["Hello the world", "a"], padding=True, truncation=True)
        with pytest.raises(InputError, match=rf"^do_lower_case={not lower}: the files say {lower}"):
            BertTokenizer.from_pretrained(folder, do_lower_case=not lower)


def assert_same_facts(ours: BertTokenizer, theirs: Any) -> None:
    for name in ("special_tokens_map", "vocab", "is_fast"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert list(ours.special_tokens_map) == list(theirs.special_tokens_map)
    assert ours.all_special_tokens == theirs.all_special_tokens
    assert ours.all_special_ids == theirs.all_special_ids
    assert ours.get_added_vocab() == theirs.get_added_vocab()
    for two in (False, True):
        assert ours.num_special_tokens_to_add(two) == theirs.num_special_tokens_to_add(two)


def test_facts(pair: Both) -> None:
    assert_same_facts(*pair)


def test_facts_of_a_tokenizer_with_tokens_of_its_own(tmp_path: Path) -> None:
    stated = {"my_token": "the", "bos_token": "un", "extra_special_tokens": ["hello", "[N]"]}
    files = {
        "config.json": {"model_type": "bert"},
        "tokenizer.json": tokenizer_json(),
        "tokenizer_config.json": stated,
    }
    folder = write_folder(tmp_path, files)
    assert_same_facts(BertTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))


def test_windows_of_a_tokenizer_of_another_kind(tmp_path: Path) -> None:
    """Its pairs have two special tokens between the texts, and its offsets leave spaces out."""
    stated = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"}
    stated["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]  # type: ignore[assignment]
    files = {"tokenizer.json": unigram_json(), "tokenizer_config.json": stated}
    folder = write_folder(tmp_path, files)
    pair = Both(BertTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))
    options = {"truncation": True, "max_length": 9, "stride": 1, "padding": True}
    texts = ["the world the hello the", "hello <mask> the", "the"]
    assert_calls(pair, texts, **options, return_overflowing_tokens=True)
    # There the first window has type 0 throughout, and the others have 1 in the second text.
    options["return_token_type_ids"] = False
    assert_calls(pair, texts, texts[::-1], **options, return_overflowing_tokens=True)


@pytest.mark.parametrize(
    "name", ["pad", "decode", "batch_decode", "convert_ids_to_tokens", "encode"]
)
def test_positional_arguments_stand_where_they_stand_there(pair: Both, name: str) -> None:
    """What is given without its name means the same, and has the same default."""
    ours, theirs = (inspect.signature(getattr(side, name)).parameters for side in pair)
    for mine, other in zip(ours.values(), theirs.values(), strict=False):
        variable = inspect.Parameter.VAR_KEYWORD
        if variable not in (mine.kind, other.kind):
            assert (mine.name, mine.default) == (other.name, other.default)


def test_arguments_have_the_defaults_that_they_have_there(pair: Both) -> None:
    ours, theirs = (inspect.signature(side.__call__).parameters for side in pair)
    shared = [name for name in ours if name in theirs]
    assert len(shared) >= 18
    for name in shared:
        expected = None if name == "text" else theirs[name].default
        if name != "text":
            assert ours[name].default == expected, name
