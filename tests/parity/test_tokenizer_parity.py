"""The tokenizer against transformers: real files, hard texts, every option, and contradictions."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from numpy_bert import BertTokenizer, InputError
from tests.support.hard_texts import HARD_TEXTS
from tests.support.tokenizer_files import (
    TOKENS,
    added_token,
    tokenizer_json,
    vocab_txt,
    write_folder,
)

pytestmark = pytest.mark.usefixtures("no_requests")

ROOT = Path(__file__).parent.parent.parent
CONFIG = {"model_type": "bert"}
# From Google's published files: which vocabulary, in which spelling, and what is stated beside it.
PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "uncased vocab.txt": ("bert-base-uncased-vocab.txt", {}),
    "uncased tokenizer.json": ("bert-base-uncased-tokenizer.json", {"do_lower_case": True}),
    "cased vocab.txt": ("bert-base-cased-vocab.txt", {"do_lower_case": False}),
    "chinese vocab.txt": ("bert-base-chinese-vocab.txt", {"do_lower_case": False}),
    "chinese tokenizer.json": ("bert-base-chinese-tokenizer.json", {"do_lower_case": False}),
    "left": (
        "bert-base-uncased-vocab.txt",
        {"padding_side": "left", "truncation_side": "left", "model_max_length": 64},
    ),
}


class Both(NamedTuple):
    ours: BertTokenizer
    theirs: Any


def both(folder: Path) -> Both:
    return Both(BertTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))


@pytest.fixture(scope="module")
def pairs(data: Path, minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Both]:
    """Each tokenizer in numpy_bert and in transformers."""
    found = {"MiniLM": both(minilm), "demo": both(ROOT / "numpy_bert" / "demo")}
    for title, (name, stated) in PUBLISHED.items():
        files = {
            "config.json": CONFIG,
            "tokenizer_config.json": {"model_max_length": 512} | stated,
            "-".join(name.split("-")[3:]): data / "vocab" / name,
        }
        found[title] = both(write_folder(tmp_path_factory.mktemp("tokenizer"), files))
    return found


@pytest.fixture(params=["MiniLM", "demo", *PUBLISHED])
def pair(request: pytest.FixtureRequest, pairs: dict[str, Both]) -> Both:
    return pairs[request.param]


@pytest.fixture(params=["MiniLM", "left", "chinese vocab.txt"])
def cutting(request: pytest.FixtureRequest, pairs: dict[str, Both]) -> Both:
    """Those that differ in how they cut and pad."""
    return pairs[request.param]


@pytest.fixture(scope="module")
def texts(data: Path) -> list[str]:
    """Hard texts, naughty strings, and sentences of ten languages and English."""
    found = [*HARD_TEXTS, *json.loads((data / "text" / "blns.json").read_bytes())]
    for language in ("ara", "cmn", "deu", "fra", "heb", "hin", "jpn", "kor", "rus", "spa"):
        path = data / "text" / "tatoeba" / f"tatoeba.{language}-eng.{language}"
        found += path.read_text("utf-8").split("\n")[:80]
    found += (data / "text" / "tatoeba_english.txt").read_text("utf-8").split("\n")[:80]
    assert len(found) > 1400
    return found


def assert_same(pair: Both, *arguments: Any, **options: Any) -> None:
    """Compare all members; transformers is told every option, since MiniLM's file bakes some."""
    theirs = {"padding": False, "truncation": False, "verbose": False} | options
    expected = pair.theirs(*arguments, **theirs)
    found = pair.ours(*arguments, **options)
    assert list(found) == list(expected)
    for name in found:
        if options.get("return_tensors"):
            np.testing.assert_array_equal(found[name], expected[name], strict=True)
        else:
            assert found[name] == expected[name], name


def outcome(call: Any, *arguments: Any, **options: Any) -> Any:
    """Return a call's members, or None where it refuses."""
    try:
        return dict(call(*arguments, **options))
    except Exception:  # noqa: BLE001
        return None


def test_texts_give_the_same_ids(pair: Both, texts: list[str]) -> None:
    assert_same(pair, texts)
    assert_same(pair, texts[::8], add_special_tokens=False)
    assert_same(pair, texts[::8] + HARD_TEXTS, split_special_tokens=True)


def test_pairs_give_the_same_ids(pair: Both, texts: list[str]) -> None:
    assert_same(pair, texts[:300], texts[300:600])
    assert_same(pair, list(zip(texts[:99], texts[99:198], strict=True)), add_special_tokens=False)


def test_one_text_gives_the_same_ids_as_it_does_there(pair: Both) -> None:
    for text in HARD_TEXTS:
        assert_same(pair, text, "second")
        assert_same(pair, text, return_tensors="np")


@pytest.fixture(scope="module")
def some(texts: list[str]) -> list[str]:
    return texts[: len(HARD_TEXTS)] + texts[len(HARD_TEXTS) :: 100]


@pytest.mark.parametrize(
    "length", [2, 3, 5, 17, 512, *(pytest.param(n, marks=pytest.mark.slow) for n in (4, 128, 600))]
)
def test_texts_are_cut_alike(cutting: Both, some: list[str], length: int) -> None:
    for strategy in (True, "only_first"):
        assert_same(cutting, some, truncation=strategy, max_length=length)


@pytest.mark.parametrize("length", [3, 4, 5, 17, 128, 512, 600])
def test_pairs_are_cut_alike(cutting: Both, some: list[str], length: int) -> None:
    # The library keeps all that it cuts off, pair by pair: long texts and short lengths cost hours.
    some = [text for text in some if len(text) < 50 * length]
    assert_same(cutting, some, some[::-1], truncation=True, max_length=length)
    for first, second in zip(some[::5], some[::-5], strict=True):
        for strategy in ("only_first", "only_second"):
            options = {"truncation": strategy, "max_length": length}
            found = outcome(cutting.ours, [first], [second], **options)
            expected = outcome(cutting.theirs, [first], [second], padding=False, **options)
            # With no room at all the library empties both texts, also the one that was to stay.
            assert found == expected or (found is None and length == 3)


@given(
    first=st.integers(0, 600),
    second=st.integers(0, 600),
    length=st.integers(3, 700),
    side=st.sampled_from(["left", "right"]),
)
@settings(max_examples=80, deadline=None)
def test_longest_first_shares_the_room_alike(
    pairs: dict[str, Both], first: int, second: int, length: int, side: str
) -> None:
    pair = pairs["left" if side == "left" else "MiniLM"]
    assert pair.ours.truncation_side == side
    batch = [("a " * first, "the " * second)]
    assert_same(pair, batch, truncation=True, max_length=length)


@pytest.mark.parametrize(
    "options",
    [
        {"padding": True},
        {"padding": "longest", "return_tensors": "np"},
        {"padding": True, "truncation": True, "return_tensors": "np"},
        {"padding": "max_length", "truncation": True, "max_length": 32, "return_tensors": "np"},
        {"padding": "max_length", "truncation": True, "return_tensors": "np"},
        {"padding": "max_length", "max_length": 32},
    ],
)
def test_rows_are_padded_alike(cutting: Both, some: list[str], options: dict[str, Any]) -> None:
    assert_same(cutting, some[::2], **options)
    assert_same(cutting, some[::5], some[::-5], **options)
    assert_same(cutting, "one text", **options)


def test_tokens_ids_and_text_are_the_same(pair: Both, texts: list[str]) -> None:
    ours, theirs = pair
    for text in texts[: len(HARD_TEXTS)] + texts[len(HARD_TEXTS) :: 10]:
        tokens = theirs.tokenize(text, padding=False, truncation=False)
        assert ours.tokenize(text) == tokens
        ids = theirs.convert_tokens_to_ids(tokens)
        assert ours.convert_tokens_to_ids(tokens) == ids
        assert ours.convert_ids_to_tokens(ids) == theirs.convert_ids_to_tokens(ids)
        framed = ours(text)["input_ids"]
        for skip in (False, True):
            expected = theirs.decode(framed, skip_special_tokens=skip)
            assert ours.decode(framed, skip_special_tokens=skip) == expected
    assert ours.tokenize("a", "b c") == theirs.tokenize("a", "b c", padding=False, truncation=False)
    assert ours.convert_tokens_to_ids("no such") == theirs.convert_tokens_to_ids("no such")


def test_vocabularies_are_the_same(pair: Both) -> None:
    ours, theirs = pair
    # Reading vocab.txt, transformers strips white space, which is all of one Chinese token.
    assert {token.strip(): i for token, i in ours.get_vocab().items()} == {
        token.strip(): i for token, i in theirs.get_vocab().items()
    }
    assert (ours.vocab_size, len(ours)) == (theirs.vocab_size, len(theirs))
    for name in ("cls", "sep", "pad", "unk", "mask"):
        for member in (f"{name}_token", f"{name}_token_id"):
            assert getattr(ours, member) == getattr(theirs, member)
    assert ours.padding_side == theirs.padding_side
    assert ours.truncation_side == theirs.truncation_side
    assert theirs.model_max_length in (ours.model_max_length, int(1e30))


NEW = added_token(len(TOKENS), "[N]")
WORD = added_token(len(TOKENS), "Foo", special=False, normalized=True)
MASK = {"content": "[MASK]", "single_word": True, "special": True}
LISTED = tokenizer_json()["added_tokens"]
# What other files state, with what is the matter, and the words of our warning if there is one.
STATED: list[tuple[dict[str, Any], dict[str, Any], str | None]] = [
    ({}, {"do_lower_case": False}, "do_lower_case is False"),
    ({}, {"strip_accents": False}, "strip_accents is False"),
    ({}, {"strip_accents": True, "do_lower_case": False}, "do_lower_case is False"),
    ({}, {"tokenize_chinese_chars": False}, "tokenize_chinese_chars is False"),
    ({}, {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True}, None),
    ({}, {"do_lower_case": False, "tokenizer_class": "BertTokenizerFast"}, "do_lower_case"),
    ({}, {"do_lower_case": False, "tokenizer_class": "PreTrainedTokenizerFast"}, "do_lower_case"),
    ({}, {"added_tokens_decoder": {str(NEW["id"]): {"content": "[N]", "special": True}}}, None),
    ({}, {"additional_special_tokens": ["[N]", "the"]}, None),
    ({}, {"extra_special_tokens": ["the"], "split_special_tokens": True}, None),
    ({}, {"clean_up_tokenization_spaces": True}, None),
    ({}, {"added_tokens_decoder": {"4": MASK}}, None),
    ({"added_tokens": []}, {}, None),
    ({"added_tokens": [*LISTED, NEW]}, {}, None),
    ({"added_tokens": [*LISTED, WORD]}, {"do_lower_case": True}, None),
    ({"added_tokens": [*LISTED, WORD]}, {"do_lower_case": False}, "do_lower_case is False"),
]
SAMPLES = [
    "Hello hello HELLO \u00c9T\u00c9",
    "[N]the[MASK]un[N]",
    "\u4e2d\u6587x a ' b . c",
    "[n] aFoo foo FOO",
]


@pytest.mark.parametrize(("changes", "stated", "warning"), STATED)
def test_files_that_add_or_contradict_are_read_alike(
    tmp_path: Path, changes: dict[str, Any], stated: dict[str, Any], warning: str | None
) -> None:
    files: dict[str, Any] = {"config.json": CONFIG, "tokenizer_config.json": stated}
    listed = dict.fromkeys(("tokenizer.json",), tokenizer_json(**changes))
    folders = [write_folder(tmp_path / "1", files | listed)]
    if not changes and stated.get("tokenizer_class") != "PreTrainedTokenizerFast":
        folders.append(write_folder(tmp_path / "2", files | {"vocab.txt": vocab_txt()}))
    for number, folder in enumerate(folders):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ours, theirs = both(folder)
        said = [str(w.message) for w in caught]
        assert len(said) == (warning is not None and number == 0)
        assert all(str(warning) in message for message in said)
        for text in SAMPLES:
            found = ours(text)
            expected = theirs(text)
            assert found["input_ids"] == expected["input_ids"], text
            assert ours.decode(found["input_ids"]) == theirs.decode(expected["input_ids"])
        assert len(ours) == len(theirs)


@pytest.mark.parametrize(
    "older",
    [
        {"added_tokens.json": {"[N]": len(TOKENS), "Word": len(TOKENS) + 1}},
        {"special_tokens_map.json": {"additional_special_tokens": ["[N]"], "cls_token": "[SEP]"}},
    ],
)
def test_older_files_are_read_alike(tmp_path: Path, older: dict[str, Any]) -> None:
    files = {"config.json": CONFIG, "vocab.txt": vocab_txt()}
    ours, theirs = both(write_folder(tmp_path, files | older))
    for text in [*SAMPLES, "Word word", "aWord"]:
        assert ours(text)["input_ids"] == theirs(text)["input_ids"], text


def test_where_we_differ_on_purpose(pairs: dict[str, Both]) -> None:
    demo = pairs["demo"]
    # A pair with an empty second text is a pair, in a list or not.
    assert demo.theirs("a", "") != {k: v[0] for k, v in demo.theirs(["a"], [""]).items()}
    assert demo.ours("a", "") == {k: v[0] for k, v in demo.theirs(["a"], [""]).items()}
    # A length that the special tokens alone exceed is refused, not exceeded.
    assert len(demo.theirs("a b c", truncation=True, max_length=1)["input_ids"]) == 5
    with pytest.raises(InputError):
        demo.ours("a b c", truncation=True, max_length=1)
