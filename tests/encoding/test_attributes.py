"""A SentenceEncoder's attributes and its prompts: what can be set works, the rest cannot be set."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import InputError, SentenceEncoder
from numpy_bert.encoding.pooling import pool
from tests.encoding.test_recipe import dense_files, write

TEXTS = ["the moon and the sea", "a test"]

# What is set, and how the same is said by an argument or by other means; None: cannot be set.
SET: dict[str, tuple[Any, dict[str, Any]] | None] = {
    "default_prompt_name": ("query", {"prompt": "find: "}),
    "max_seq_length": (4, {}),
    "model": None,
    "notes": None,
    "pooling": ("max", {"pooling": "max"}),
    "prompts": ({"query": "other: "}, {"prompt": "other: "}),
    "similarity_fn_name": ("dot", {}),
    "tokenizer": None,
    "truncate_dim": (5, {"truncate_dim": 5}),
}
WRONG: dict[str, list[Any]] = {
    "default_prompt_name": ["other", 3, ["query"]],
    "max_seq_length": [0, 2, 513, "4", None, True],
    "pooling": ["sum", "", "weightedmeam", [], ["mean", 3], None, 5, ("m", "a", "x")],
    "prompts": [{"query": 3}, {3: "a"}, {"query": "\ud800"}, ["query"], None, "query"],
    "similarity_fn_name": ["maxsim", 3, ["dot"]],
    "truncate_dim": [0, -1, 129, 2.0, "5", True],
}


@pytest.fixture
def encoder(plain_demo: Path) -> SentenceEncoder:
    encoder = SentenceEncoder.from_pretrained(plain_demo)
    encoder.prompts = {"query": "find: "}
    return encoder


def test_every_public_attribute_is_in_the_table(encoder: SentenceEncoder) -> None:
    public = {name for name in dir(encoder) if not name.startswith("_")}
    attributes = {name for name in public if not callable(getattr(type(encoder), name))}
    assert attributes == set(SET)
    assert set(WRONG) == {name for name, given in SET.items() if given is not None}
    assert not hasattr(encoder, "__dict__")


@pytest.mark.parametrize("name", [name for name, given in SET.items() if given is None])
def test_what_cannot_be_set(encoder: SentenceEncoder, name: str) -> None:
    said = rf"^SentenceEncoder\.{name} cannot be set or deleted, because .*\. [A-Z].*\.$"
    with pytest.raises(AttributeError, match=said):
        setattr(encoder, name, getattr(encoder, name))
    with pytest.raises(AttributeError, match=said):
        delattr(encoder, name)


@pytest.mark.parametrize("name", ["poolling", "normalize_embeddings", "encode", "similarity"])
def test_what_nothing_would_read_cannot_be_set(encoder: SentenceEncoder, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(encoder, name, "max")


@pytest.mark.filterwarnings("ignore:encode. .*cut")
@pytest.mark.parametrize("name", [name for name, given in SET.items() if given is not None])
def test_what_is_set_counts_from_the_next_call_on(encoder: SentenceEncoder, name: str) -> None:
    given = SET[name]
    assert given is not None
    value, same = given
    if name == "prompts":
        encoder.default_prompt_name = "query"
    before = encoder.encode(TEXTS)
    expected = encoder.encode(TEXTS, **same)
    setattr(encoder, name, value)
    assert getattr(encoder, name) == (("max",) if name == "pooling" else value)
    after = encoder.encode(TEXTS)
    if name == "max_seq_length":
        expected = encoder.encode(["the moon", "a test"])
    if name == "similarity_fn_name":
        assert np.abs(encoder.similarity(before, before) - before @ before.T).max() < 1e-4
        assert encoder.search(before[0], before).scores[0] > 2
        assert np.array_equal(after, before)
        return
    assert np.array_equal(after, expected)
    assert after.shape != before.shape or not np.array_equal(after, before)
    assert encoder.get_embedding_dimension() == after.shape[1]
    if name != "max_seq_length":
        assert abs(encoder.search(TEXTS[0], expected, k=1).scores[0] - 1) < 1e-6


@pytest.mark.parametrize("name", sorted(WRONG))
def test_nonsense_is_refused_and_changes_nothing(encoder: SentenceEncoder, name: str) -> None:
    kept, vectors = copy.copy(getattr(encoder, name)), encoder.encode(TEXTS)
    for value in WRONG[name]:
        with pytest.raises(InputError, match=rf"^(the name of )?{name}\b"):
            setattr(encoder, name, value)
        assert getattr(encoder, name) == kept
    assert np.array_equal(encoder.encode(TEXTS), vectors)


def test_prompts_are_checked_when_they_are_changed_in_place(encoder: SentenceEncoder) -> None:
    for wrong in ({"q": 3}, {3: "q"}, {"q": None}):
        for change in (encoder.prompts.update, encoder.prompts.__ior__):
            with pytest.raises(InputError, match=r"prompts\["):
                change(wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^prompts\['q'\] must be a str; got int\.$"):
        encoder.prompts["q"] = 3  # type: ignore[assignment]
    with pytest.raises(InputError, match=r"prompts\['q'\] must be a str; got NoneType"):
        encoder.prompts.setdefault("q", None)  # type: ignore[arg-type]
    assert encoder.prompts == {"query": "find: "}
    own = {"query": "a "}
    encoder.prompts = own
    own["query"] = "b "
    assert encoder.prompts["query"] == "a "


def test_a_default_prompt_that_is_gone(encoder: SentenceEncoder) -> None:
    encoder.default_prompt_name = "query"
    with pytest.raises(
        InputError, match=r"^prompts: has no 'query', which default_prompt_name nam"
    ):
        encoder.prompts = {"other": "a"}
    del encoder.prompts["query"]
    with pytest.raises(InputError, match="no prompt 'query'; there are: none"):
        encoder.encode("a")
    encoder.default_prompt_name = None
    encoder.prompts = {"other": "a"}
    assert encoder.encode("a").shape == (128,)


def test_several_poolings_are_joined_and_truncated(encoder: SentenceEncoder) -> None:
    parts = [encoder.encode(TEXTS, pooling=mode) for mode in ("cls", "mean_sqrt_len")]
    encoder.pooling = ["cls", "mean_sqrt_len_tokens"]
    assert encoder.pooling == ("cls", "mean_sqrt_len")
    assert np.array_equal(encoder.encode(TEXTS), np.hstack(parts))
    assert encoder.get_embedding_dimension() == 256
    encoder.truncate_dim = 200
    assert np.array_equal(encoder.encode(TEXTS), np.hstack(parts)[:, :200])
    encoder.pooling = "cls"
    assert np.array_equal(encoder.encode(TEXTS), parts[0])
    assert encoder.get_embedding_dimension() == 128
    assert np.array_equal(
        encoder.encode(TEXTS, pooling=("cls", "mean_sqrt_len")), np.hstack(parts)[:, :200]
    )
    encoder.truncate_dim = None
    assert encoder.similarity_fn_name == "cosine"
    encoder.similarity_fn_name = "dot"
    encoder.similarity_fn_name = None
    assert encoder.similarity_fn_name == "cosine"


def test_a_pooling_that_does_not_fit_the_dense_layer(tmp_path: Path) -> None:
    encoder = SentenceEncoder.from_pretrained(write(tmp_path, dense_files(), model=True))
    expected = encoder.encode(TEXTS, pooling="cls")
    with pytest.raises(InputError, match="makes vectors of 256 features; the model's dense layer"):
        encoder.pooling = ("cls", "mean")
    with pytest.raises(InputError, match=r"truncate_dim: 6; a whole number from 1 to 5"):
        encoder.truncate_dim = 6
    assert encoder.pooling == ("mean",)
    encoder.pooling = "cls"
    assert np.array_equal(encoder.encode(TEXTS), expected)


def test_what_was_set_is_copied_and_pickled(encoder: SentenceEncoder) -> None:
    encoder.pooling, encoder.truncate_dim, encoder.default_prompt_name = "max", 7, "query"
    others = (copy.copy(encoder), copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder)))
    deep = copy.deepcopy(encoder)
    expected = encoder.encode(TEXTS)
    for other in others:
        assert np.array_equal(other.encode(TEXTS), expected)
    deep.prompts["query"] = "other: "
    assert np.array_equal(encoder.encode(TEXTS), expected)
    assert not np.array_equal(deep.encode(TEXTS), expected)


def test_a_copy_shares_the_weights_and_nothing_that_can_be_set(encoder: SentenceEncoder) -> None:
    names = [name for name, given in SET.items() if given is not None]
    kept = {name: copy.copy(getattr(encoder, name)) for name in names}
    other = copy.copy(encoder)
    assert other.model is encoder.model
    assert other.tokenizer.backend_tokenizer is encoder.tokenizer.backend_tokenizer
    for name in sorted(names, reverse=True):  # prompts before the name of one
        given = SET[name]
        assert given is not None
        setattr(other, name, given[0])
        assert getattr(other, name) != kept[name]
    other.prompts["more"] = "more: "
    other.tokenizer.padding_side = "left"
    assert {name: getattr(encoder, name) for name in names} == kept
    assert encoder.tokenizer.padding_side == "right"


@pytest.mark.parametrize("lowers", [False, True])
def test_a_copy_splits_and_lowers_as_its_original(tmp_path: Path, lowers: bool) -> None:
    files = dense_files() | {"sentence_bert_config.json": {"do_lower_case": lowers}}
    folder = write(tmp_path, files, model=True)
    path = folder / "tokenizer_config.json"
    stated = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**stated, "split_special_tokens": True}))
    encoder = SentenceEncoder.from_pretrained(folder)
    others = (copy.copy(encoder), copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder)))
    expected = encoder.encode("a [MASK] Test")
    for other in others:
        assert np.array_equal(other.encode("a [MASK] Test"), expected)


@pytest.mark.parametrize("modes", ["max", ("mean", "sum"), ("",), (None,)])
def test_pool_refuses_an_unknown_mode(modes: Any) -> None:
    with pytest.raises(InputError, match=r"^modes: .*; some of cls, max, mean, mean_sqrt_len"):
        pool(np.ones((2, 3)), np.array([2]), modes)


def test_the_limit_is_the_tokenizers(encoder: SentenceEncoder) -> None:
    long = "one two three four five six"
    encoder.max_seq_length = 5
    assert encoder.tokenizer.model_max_length == 5
    with pytest.warns(UserWarning, match="max_seq_length = 5"):
        five = encoder.encode(long)
    encoder.max_seq_length = 6
    encoder.tokenizer.model_max_length = 5
    assert encoder.max_seq_length == 5
    with pytest.warns(UserWarning, match="max_seq_length = 5"):
        assert np.array_equal(encoder.encode(long), five)
    encoder.tokenizer.model_max_length = None
    assert encoder.max_seq_length == encoder.model.config.max_position_embeddings


def test_an_encoders_limit_is_not_that_of_the_tokenizer_that_it_was_made_of(
    encoder: SentenceEncoder,
) -> None:
    one = copy.deepcopy(encoder)
    one.max_seq_length = 5
    assert encoder.max_seq_length != 5


@pytest.mark.parametrize("value", [np.array(["max"]), np.array("max"), np.array(["mean", "max"])])
def test_an_array_names_no_pooling(encoder: SentenceEncoder, value: Any) -> None:
    with pytest.raises(InputError, match=r"^pooling: "):
        encoder.pooling = value
    with pytest.raises(InputError, match=r"^pooling: "):
        encoder.encode("a", pooling=value)
