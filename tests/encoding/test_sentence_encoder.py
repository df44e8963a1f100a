"""numpy_bert.encoding.sentence_encoder: results, arguments, and attributes that can be set."""

from __future__ import annotations

import copy
import json
import pickle
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import (
    ConfigError,
    InputError,
    SentenceEncoder,
    quantize_embeddings,
    set_num_threads,
)
from numpy_bert.encoding import micro_batches
from numpy_bert.encoding.names import SENTENCE_ENCODER
from numpy_bert.encoding.pooling import normalize
from numpy_bert.model.bert import BertModel
from tests.support.sentence_models import dense_files, write
from tests.tolerances import ACROSS_BATCHES

TEXTS = [
    "",
    "a test",
    "The moon, over the sea!",
    "a test",
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u4f60\u597d \U0001f389",
    "unbelievable " * 30,
    "[MASK] x" * 9,
]


@pytest.fixture(scope="module")
def encoder(plain_demo: Path) -> SentenceEncoder:
    return SentenceEncoder.from_pretrained(plain_demo)


def test_shapes_and_dtypes(plain_demo: Path, dtype: str) -> None:
    encoder = SentenceEncoder.from_pretrained(plain_demo, dtype=dtype)
    for sentences, shape in (
        ("a test", (128,)),
        (["a test"], (1, 128)),
        (tuple(TEXTS), (7, 128)),
        (np.array(TEXTS), (7, 128)),
        (np.array(TEXTS, object), (7, 128)),
        (np.array([]), (0, 128)),
        ([], (0, 128)),
    ):
        vectors = encoder.encode(sentences)  # type: ignore[arg-type]
        assert vectors.shape == shape
        assert vectors.dtype == dtype
    assert np.isfinite(encoder.encode(TEXTS)).all()
    assert encoder.get_embedding_dimension() == 128
    assert encoder.get_sentence_embedding_dimension() == 128


def test_it_is_the_mean_of_the_models_tokens(plain_demo: Path) -> None:
    encoder = SentenceEncoder.from_pretrained(plain_demo, dtype="float64")
    for text in TEXTS:
        inputs = encoder.tokenizer(text, return_tensors="np")
        states = encoder.model(**inputs).last_hidden_state[0]
        assert np.abs(encoder.encode(text) - states.mean(0)).max() < 1e-12


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch_size", [None, 1, 2])
def test_a_text_does_not_depend_on_the_others(
    encoder: SentenceEncoder, threads: int, batch_size: int | None
) -> None:
    set_num_threads(threads)
    together = encoder.encode(TEXTS * 9, batch_size=batch_size)
    for row, text in enumerate(TEXTS):
        assert np.abs(encoder.encode(text) - together[row]).max() < 2e-6
        assert np.array_equal(together[row], together[row + 7 * 8])


def test_the_same_bits_from_run_to_run(encoder: SentenceEncoder) -> None:
    set_num_threads(2)
    texts = [f"{text} {number}" for number in range(25) for text in TEXTS]
    first = encoder.encode(texts)
    for _ in range(3):
        assert np.array_equal(encoder.encode(texts), first)


def test_equal_texts_are_computed_once(
    encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    packed = BertModel.packed

    def counted(self: BertModel, ids: Any, lengths: Any, types: Any = None) -> Any:
        seen.append(len(lengths))
        return packed(self, ids, lengths, types)

    monkeypatch.setattr(BertModel, "packed", counted)
    vectors = encoder.encode(["a", "b", "a"] * 4000)
    assert sum(seen) == 2
    assert np.array_equal(vectors, np.tile(vectors[:3], (4000, 1)))
    assert np.array_equal(vectors[0], vectors[2])


def test_an_order_is_kept(encoder: SentenceEncoder) -> None:
    texts = [f"{'sea ' * (i * 7 % 11)}{i}" for i in range(50)]
    vectors = encoder.encode(texts)
    for row in (0, 13, 49):
        assert np.abs(encoder.encode(texts[row]) - vectors[row]).max() < 2e-6
    assert len(np.unique(vectors, axis=0)) == 50


def test_normalize_pooling_and_truncate(encoder: SentenceEncoder) -> None:
    plain = encoder.encode(TEXTS)
    assert np.linalg.norm(plain[1]) > 1.5
    unit = encoder.encode(TEXTS, normalize_embeddings=True)
    assert np.abs(np.linalg.norm(unit, axis=1) - 1).max() < 1e-6
    cut = encoder.encode(TEXTS, truncate_dim=5)
    assert np.array_equal(cut, plain[:, :5])
    both = encoder.encode(TEXTS, truncate_dim=5, normalize_embeddings=True)
    assert np.allclose(both, cut / np.linalg.norm(cut, axis=1)[:, None], atol=1e-6)
    largest = encoder.encode("a test", pooling="max")
    assert (largest >= encoder.encode("a test", pooling="cls") - ACROSS_BATCHES).all()
    assert not np.array_equal(largest, plain[1])


def test_a_normalize_of_the_model_is_not_left_out(minilm: Path) -> None:
    """As in sentence-transformers, where False is the default."""
    encoder = SentenceEncoder(minilm)
    unit = encoder.encode("a test")
    assert np.array_equal(encoder.encode("a test", normalize_embeddings=False), unit)
    raw = encoder.encode("a test", output_value="token_embeddings").mean(axis=0)
    assert np.linalg.norm(raw) > 1.5
    assert np.allclose(unit, raw / np.linalg.norm(raw), atol=1e-7)
    assert encoder.notes == ()
    assert encoder.max_seq_length == 256  # sentence_bert_config.json, not tokenizer.json's 128
    assert encoder.pooling == ("mean",)


def test_texts_that_are_cut_are_counted(encoder: SentenceEncoder) -> None:
    texts = ["a", "word " * 600, "b", "word " * 600, "moon " * 511]
    with pytest.warns(UserWarning, match="were cut") as caught:
        vectors = encoder.encode(texts)
    assert [str(w.message) for w in caught] == [
        "encode: 3 of 5 texts have more tokens than max_seq_length = 512 and were cut; "
        "the first is sentences[1], of 602."
    ]
    assert caught[0].filename == __file__
    assert np.abs(vectors[1] - encoder.encode("word " * 510)).max() < 2e-6
    with pytest.warns(UserWarning, match=r"the first is inputs\[1\], of 602"):
        encoder.encode(inputs=texts)
    with pytest.warns(UserWarning, match="the text has 602 tokens and was cut to max_seq_length"):
        encoder.encode("word " * 600)


def test_max_seq_length_can_be_set(plain_demo: Path) -> None:
    encoder = SentenceEncoder.from_pretrained(plain_demo)
    assert encoder.max_seq_length == 512
    encoder.max_seq_length = 4
    with pytest.warns(UserWarning, match="max_seq_length = 4"):
        cut = encoder.encode(["the moon and the sea"])
    assert np.abs(cut[0] - encoder.encode("the moon")).max() < 2e-6
    for wrong in (0, 2, 513, -1, 1.5, "4", True, None):
        with pytest.raises(
            InputError, match=r"^max_seq_length must be a whole number from 3 to 512; got "
        ):
            encoder.max_seq_length = wrong  # type: ignore[assignment]
    assert encoder.max_seq_length == 4


def test_a_stated_max_seq_length_that_leaves_no_room_for_a_token(tmp_path: Path) -> None:
    limits = {"sentence_bert_config.json": {"max_seq_length": 2}}
    with pytest.raises(ConfigError) as raised:
        SentenceEncoder.from_pretrained(write(tmp_path, dense_files() | limits, model=True))
    assert str(raised.value) == (
        f"{tmp_path}: max_seq_length must be a whole number from 3 to 512; got 2."
    )


def test_prompts(plain_demo: Path, encoder: SentenceEncoder) -> None:
    encoder = SentenceEncoder.from_pretrained(plain_demo)
    encoder.prompts["query"] = "find: "
    expected = encoder.encode("find: the sea")
    assert np.array_equal(encoder.encode("the sea", prompt="find: "), expected)
    assert np.array_equal(encoder.encode("the sea", prompt_name="query"), expected)
    plain = encoder.encode("the sea")
    encoder.default_prompt_name = "query"
    assert np.array_equal(encoder.encode("the sea"), expected)
    assert np.array_equal(encoder.encode("the sea", prompt=""), plain)


@pytest.mark.parametrize("kind", ["array", "strided", "file"])
def test_out(encoder: SentenceEncoder, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "vectors.npy"
    mapped = np.lib.format.open_memmap(path, "w+", np.float32, (7, 128))
    arrays = {
        "array": np.zeros((7, 128), np.float32),
        "strided": np.zeros((14, 256), np.float32)[::2, ::2],
        "file": mapped,
    }
    out = arrays[kind]
    assert encoder.encode(TEXTS, out=out) is out
    expected = encoder.encode(TEXTS)
    assert np.array_equal(out, expected)
    if kind == "file":
        mapped.flush()
        assert np.array_equal(np.load(path), expected)
    one = np.zeros(128, np.float32)
    assert encoder.encode("a test", out=one) is one
    assert np.array_equal(one, encoder.encode("a test"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sentences": 5}, "sentences must be a str or a list of str; got int"),
        ({"sentences": None}, "sentences must be .*; got NoneType"),
        ({"sentences": b"a"}, "sentences must be .*; got bytes"),
        ({"sentences": {"a": 1}}, "sentences must be .*; got dict"),
        (
            {"sentences": (text for text in "ab")},
            "sentences must be .*; got generator. Put the texts into",
        ),
        ({"sentences": {"a"}}, "sentences must be .*; got set"),
        ({"sentences": np.array([["a"]])}, r"sentences must be .*; got ndarray of shape \(1, 1\)"),
        ({"sentences": np.array("a")}, r"sentences must be .*; got ndarray of shape \(\)"),
        (
            {"sentences": ["a", float("nan")]},
            r"sentences\[1\] must be a str; got float\. It is a missing",
        ),
        ({"sentences": ["a", 5]}, r"sentences\[1\] must be a str; got int"),
        ({"sentences": ["a", ["b"]]}, r"sentences\[1\] must be a str; got list"),
        ({"sentences": ["a", "caf\udce9"]}, r"sentences\[1\]: character 3 is U\+DCE9"),
        ({"prompt": "a", "prompt_name": "b"}, "give one of the two"),
        ({"prompt": 5}, "prompt must be a str; got int"),
        (
            {"prompt_name": "other"},
            "must be the name of a prompt; got 'other'. The model has: 'query', 'document'",
        ),
        ({"batch_size": 0}, "batch_size must be a whole number from 1; got 0"),
        ({"batch_size": 2.0}, r"batch_size must be a whole number from 1; got 2\.0"),
        ({"truncate_dim": 129}, "truncate_dim must be a whole number from 1 to 128; got 129"),
        ({"pooling": "sum"}, "pooling must be one of cls, max, mean.*; got 'sum'"),
        (
            {"pooling": ["mean", "sum"]},
            r"pooling must be one of cls, max, mean.*; got \['mean', 'sum'\]",
        ),
        ({"pooling": []}, r"pooling must be one of cls, max, mean.*; got \[\]"),
        (
            {"normalize_embeddings": "yes"},
            "normalize_embeddings must be True or False; got 'yes'",
        ),
        ({"show_progress_bar": 1}, "show_progress_bar must be True or False; got 1"),
        ({"out": [0.0]}, "out must be an ndarray; got list"),
        (
            {"out": np.zeros((1, 128))},
            r"shape \(1, 128\) and dtype float32; got \(1, 128\) and float64",
        ),
        ({"out": np.zeros(128, np.float32)}, r"out must be of shape .*; got \(128,\)"),
        ({"out": np.broadcast_to(np.float32(0), (1, 128))}, "out must be writable"),
    ],
)
def test_what_is_refused_before_any_work(
    encoder: SentenceEncoder, options: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BertModel, "packed", None)
    with pytest.raises(InputError, match=words):
        encoder.encode(**{"sentences": ["a"], **options})


def test_search_takes_texts_and_vectors(encoder: SentenceEncoder) -> None:
    texts = ["the sea", "the moon", "a test"]
    corpus = encoder.encode(texts)
    assert encoder.search("the moon", corpus, 1).indices.tolist() == [1]
    assert encoder.search(texts[::-1], corpus, 1).indices.tolist() == [[2], [1], [0]]
    assert encoder.search(corpus[2], corpus, 2).indices[0] == 2
    for query in (np.array(["the moon"]), np.array(["the moon"], object), ("the moon",)):
        assert encoder.search(query, corpus, 1).indices.tolist() == [[1]]
    assert encoder.search(np.str_("the moon"), corpus, 1).indices.tolist() == [1]
    nothings: tuple[Any, ...] = ([], np.array([]))
    for nothing in nothings:
        assert encoder.search(nothing, corpus, 2).indices.shape == (0, 2)
    none: list[Any] = [(text for text in texts), {"the moon"}, np.array([["the moon"]]), None, b"a"]
    for wrong in none:
        with pytest.raises(InputError, match=r"^query must be a str or a list of str; got .*"):
            encoder.search(wrong, corpus)
    with pytest.raises(InputError, match=r"^query\[1\] must be a str; got float"):
        encoder.search(["the moon", float("nan")], corpus)  # type: ignore[arg-type]
    assert encoder.similarity(corpus, corpus).shape == (3, 3)


@pytest.mark.parametrize(
    ("shown", "terminal", "drawn"),
    [(True, True, True), (True, False, False), (False, True, False), (None, True, False)],
)
def test_a_progress_bar(
    encoder: SentenceEncoder,
    shown: bool | None,
    terminal: bool,
    drawn: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    encoder.encode(TEXTS, show_progress_bar=shown)
    assert ("encoding" in capsys.readouterr().err) is drawn


def test_a_long_work_shows_a_bar_by_itself(
    encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(micro_batches, "_WORTH_A_BAR", 10)
    encoder.encode(TEXTS)
    assert capsys.readouterr().err == ""  # it took less than two seconds
    monkeypatch.setattr(micro_batches, "PATIENCE", 0.0)
    encoder.encode(TEXTS)
    assert "6/6" in capsys.readouterr().err


def test_callers_in_threads_share_an_encoder(encoder: SentenceEncoder) -> None:  # K3
    from concurrent.futures import ThreadPoolExecutor

    set_num_threads(2)
    texts = [f"{text} {number}" for number in range(10) for text in TEXTS]
    expected = encoder.encode(texts)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: encoder.encode(texts), range(8)):
            assert np.array_equal(found, expected)


def test_memory_is_bounded(encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def instead(self: BertModel, ids: Any, lengths: Any, types: Any = None) -> Any:
        return np.zeros((len(ids), 128), np.float32)

    monkeypatch.setattr(BertModel, "packed", instead)
    texts = [f"this is the short text number {i}" for i in range(30_000)]
    out = np.zeros((len(texts), 128), np.float32)
    encoder.encode(texts[:10])
    tracemalloc.start()
    encoder.encode(texts, out=out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6  # all ids as lists would be more


def test_a_warning_as_error_leaves_nothing_behind(encoder: SentenceEncoder) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning):
            encoder.encode("word " * 600)
    assert encoder.encode("a").shape == (128,)


TWO = ["the moon and the sea", "a test"]
# What is set, and how the same is said by an argument or by other means; None: cannot be set.
SET: dict[str, tuple[Any, dict[str, Any]] | None] = {
    "default_prompt_name": ("query", {"prompt": "find: "}),
    "device": None,
    "dtype": None,
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
def prompted(plain_demo: Path) -> SentenceEncoder:
    """An encoder with a prompt, which a test may change."""
    encoder = SentenceEncoder.from_pretrained(plain_demo)
    encoder.prompts = {"query": "find: "}
    return encoder


def test_every_public_attribute_is_in_the_table(prompted: SentenceEncoder) -> None:
    public = {name for name in dir(prompted) if not name.startswith("_")}
    attributes = {name for name in public if not callable(getattr(type(prompted), name))}
    assert attributes == set(SET)
    assert set(WRONG) == {name for name, given in SET.items() if given is not None}
    assert not hasattr(prompted, "__dict__")


@pytest.mark.parametrize("name", [name for name, given in SET.items() if given is None])
def test_what_cannot_be_set(prompted: SentenceEncoder, name: str) -> None:
    said = rf"^SentenceEncoder\.{name} cannot be set or deleted, because .*\. [A-Z].*\.$"
    with pytest.raises(AttributeError, match=said):
        setattr(prompted, name, getattr(prompted, name))
    with pytest.raises(AttributeError, match=said):
        delattr(prompted, name)


@pytest.mark.parametrize("name", ["poolling", "normalize_embeddings", "encode", "similarity"])
def test_what_nothing_would_read_cannot_be_set(prompted: SentenceEncoder, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(prompted, name, "max")


@pytest.mark.filterwarnings("ignore:encode. .*cut")
@pytest.mark.parametrize("name", [name for name, given in SET.items() if given is not None])
def test_what_is_set_counts_from_the_next_call_on(prompted: SentenceEncoder, name: str) -> None:
    given = SET[name]
    assert given is not None
    value, same = given
    if name == "prompts":
        prompted.default_prompt_name = "query"
    before = prompted.encode(TWO)
    expected = prompted.encode(TWO, **same)
    setattr(prompted, name, value)
    assert getattr(prompted, name) == (("max",) if name == "pooling" else value)
    after = prompted.encode(TWO)
    if name == "max_seq_length":
        expected = prompted.encode(["the moon", "a test"])
    if name == "similarity_fn_name":
        assert np.abs(prompted.similarity(before, before) - before @ before.T).max() < 1e-4
        assert prompted.search(before[0], before).scores[0] > 2
        assert np.array_equal(after, before)
        return
    assert np.array_equal(after, expected)
    assert after.shape != before.shape or not np.array_equal(after, before)
    assert prompted.get_embedding_dimension() == after.shape[1]
    if name != "max_seq_length":
        assert abs(prompted.search(TWO[0], expected, k=1).scores[0] - 1) < 1e-6


@pytest.mark.parametrize("name", sorted(WRONG))
def test_nonsense_is_refused_and_changes_nothing(prompted: SentenceEncoder, name: str) -> None:
    kept, vectors = copy.copy(getattr(prompted, name)), prompted.encode(TWO)
    for value in WRONG[name]:
        with pytest.raises(InputError, match=rf"^(the name of )?{name}\b"):
            setattr(prompted, name, value)
        assert getattr(prompted, name) == kept
    assert np.array_equal(prompted.encode(TWO), vectors)


def test_prompts_are_checked_when_they_are_changed_in_place(prompted: SentenceEncoder) -> None:
    for wrong in ({"q": 3}, {3: "q"}, {"q": None}):
        for change in (prompted.prompts.update, prompted.prompts.__ior__):
            with pytest.raises(InputError, match=r"prompts\["):
                change(wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^prompts\['q'\] must be a str; got int\.$"):
        prompted.prompts["q"] = 3  # type: ignore[assignment]
    with pytest.raises(InputError, match=r"prompts\['q'\] must be a str; got NoneType"):
        prompted.prompts.setdefault("q", None)  # type: ignore[arg-type]
    assert prompted.prompts == {"query": "find: "}
    own = {"query": "a "}
    prompted.prompts = own
    own["query"] = "b "
    assert prompted.prompts["query"] == "a "


def test_a_default_prompt_that_is_gone(prompted: SentenceEncoder) -> None:
    prompted.default_prompt_name = "query"
    with pytest.raises(
        InputError, match=r"^prompts must have 'query', which default_prompt_name nam"
    ):
        prompted.prompts = {"other": "a"}
    del prompted.prompts["query"]
    with pytest.raises(
        InputError,
        match=r"^default_prompt_name must be the name of a prompt; got 'query'\. The model has: no",
    ):
        prompted.encode("a")
    prompted.default_prompt_name = None
    prompted.prompts = {"other": "a"}
    assert prompted.encode("a").shape == (128,)


def test_several_poolings_are_joined_and_truncated(prompted: SentenceEncoder) -> None:
    parts = [prompted.encode(TWO, pooling=mode) for mode in ("cls", "mean_sqrt_len")]
    prompted.pooling = ["cls", "mean_sqrt_len_tokens"]
    assert prompted.pooling == ("cls", "mean_sqrt_len")
    # Where cls alone is read, the last layer computes that token alone, which changes roundings.
    assert np.abs(prompted.encode(TWO) - np.hstack(parts)).max() <= ACROSS_BATCHES
    assert prompted.get_embedding_dimension() == 256
    prompted.truncate_dim = 200
    assert np.abs(prompted.encode(TWO) - np.hstack(parts)[:, :200]).max() <= ACROSS_BATCHES
    prompted.pooling = "cls"
    assert np.array_equal(prompted.encode(TWO), parts[0])
    assert prompted.get_embedding_dimension() == 128
    both = prompted.encode(TWO, pooling=("cls", "mean_sqrt_len"))
    assert np.abs(both - np.hstack(parts)[:, :200]).max() <= ACROSS_BATCHES
    prompted.truncate_dim = None
    assert prompted.similarity_fn_name == "cosine"
    prompted.similarity_fn_name = "dot"
    prompted.similarity_fn_name = None
    assert prompted.similarity_fn_name == "cosine"


def test_a_pooling_that_does_not_fit_the_dense_layer(tmp_path: Path) -> None:
    encoder = SentenceEncoder.from_pretrained(write(tmp_path, dense_files(), model=True))
    expected = encoder.encode(TWO, pooling="cls")
    with pytest.raises(
        InputError, match="pooling must make 128 features, which the model's Dense takes; got 256"
    ):
        encoder.pooling = ("cls", "mean")
    with pytest.raises(InputError, match="truncate_dim must be a whole number from 1 to 5; got 6"):
        encoder.truncate_dim = 6
    assert encoder.pooling == ("mean",)
    encoder.pooling = "cls"
    assert np.array_equal(encoder.encode(TWO), expected)


def test_what_was_set_is_copied_and_pickled(prompted: SentenceEncoder) -> None:
    prompted.pooling, prompted.truncate_dim, prompted.default_prompt_name = "max", 7, "query"
    others = (copy.copy(prompted), copy.deepcopy(prompted), pickle.loads(pickle.dumps(prompted)))
    deep = copy.deepcopy(prompted)
    expected = prompted.encode(TWO)
    for other in others:
        assert np.array_equal(other.encode(TWO), expected)
    deep.prompts["query"] = "other: "
    assert np.array_equal(prompted.encode(TWO), expected)
    assert not np.array_equal(deep.encode(TWO), expected)


def test_a_copy_shares_the_weights_and_nothing_that_can_be_set(prompted: SentenceEncoder) -> None:
    names = [name for name, given in SET.items() if given is not None]
    kept = {name: copy.copy(getattr(prompted, name)) for name in names}
    other = copy.copy(prompted)
    assert other.model is prompted.model
    assert other.tokenizer.backend_tokenizer is prompted.tokenizer.backend_tokenizer
    for name in sorted(names, reverse=True):  # prompts before the name of one
        given = SET[name]
        assert given is not None
        setattr(other, name, given[0])
        assert getattr(other, name) != kept[name]
    other.prompts["more"] = "more: "
    other.tokenizer.padding_side = "left"
    assert {name: getattr(prompted, name) for name in names} == kept
    assert prompted.tokenizer.padding_side == "right"


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


def test_the_limit_is_the_tokenizers(prompted: SentenceEncoder) -> None:
    long = "one two three four five six"
    prompted.max_seq_length = 5
    assert prompted.tokenizer.model_max_length == 5
    with pytest.warns(UserWarning, match="max_seq_length = 5"):
        five = prompted.encode(long)
    prompted.max_seq_length = 6
    prompted.tokenizer.model_max_length = 5
    assert prompted.max_seq_length == 5
    with pytest.warns(UserWarning, match="max_seq_length = 5"):
        assert np.array_equal(prompted.encode(long), five)
    prompted.tokenizer.model_max_length = None
    assert prompted.max_seq_length == prompted.model.config.max_position_embeddings


def test_an_encoders_limit_is_not_that_of_the_tokenizer_that_it_was_made_of(
    prompted: SentenceEncoder,
) -> None:
    one = copy.deepcopy(prompted)
    one.max_seq_length = 5
    assert prompted.max_seq_length != 5


@pytest.mark.parametrize("value", [np.array(["max"]), np.array("max"), np.array(["mean", "max"])])
def test_an_array_names_no_pooling(prompted: SentenceEncoder, value: Any) -> None:
    with pytest.raises(InputError, match=r"^pooling must be "):
        prompted.pooling = value
    with pytest.raises(InputError, match=r"^pooling must be "):
        prompted.encode("a", pooling=value)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_token_is_read_where_the_pooling_reads_no_other(
    dtype: str, minilm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = SentenceEncoder.from_pretrained(minilm, dtype=dtype)
    texts = ["a", "a test", "the sea and the moon"]
    seen: list[Any] = []
    packed = BertModel.packed

    def spy(self: Any, ids: Any, lengths: Any, *, places: Any = None) -> Any:
        seen.append(None if places is None else (np.asarray(places) - np.cumsum(lengths)).tolist())
        return packed(self, ids, lengths, places=places)

    expected = {}
    for mode in ("cls", "lasttoken"):
        states = encoder.encode(texts, output_value="token_embeddings")
        expected[mode] = normalize(np.stack([r[0 if mode == "cls" else -1] for r in states]))
    monkeypatch.setattr(BertModel, "packed", spy)
    for mode, right in expected.items():
        seen.clear()
        found = encoder.encode(texts, pooling=mode)
        assert None not in seen
        assert all(place == -1 for part in seen for place in part) == (mode == "lasttoken")
        np.testing.assert_allclose(found, right, rtol=0, atol=ACROSS_BATCHES)
    seen.clear()
    encoder.encode(texts, pooling="mean")
    assert seen == [None] * len(seen)


def test_the_constructor_and_from_pretrained_are_one(minilm: Path) -> None:
    made, loaded = SentenceEncoder(minilm), SentenceEncoder.from_pretrained(minilm)
    assert np.array_equal(made.encode(TWO), loaded.encode(TWO))
    assert made.dtype == np.float32
    assert SentenceEncoder(minilm, dtype="float64").dtype == np.float64
    assert repr(made) == "SentenceEncoder(384 features, pooling mean, max_seq_length 256, float32)"
    assert made.device == "cpu"
    assert made.eval() is made
    assert made.to("cpu") is made
    with pytest.raises(
        InputError, match=r"^SentenceEncoder\.to: device must be None or 'cpu'; got"
    ):
        made.to("cuda")


def test_what_the_constructor_sets(tmp_path: Path) -> None:
    stated = {"prompts": {"query": "q: ", "other": "o: "}, "default_prompt_name": "other"}
    files = dense_files() | {"config_sentence_transformers.json": stated}
    folder = write(tmp_path, files, model=True)
    plain = SentenceEncoder(folder)
    assert plain.prompts == {"query": "q: ", "document": "", "other": "o: "}
    encoder = SentenceEncoder(
        folder,
        prompts={"query": "find: ", "more": "m: "},
        default_prompt_name="more",
        similarity_fn_name="dot",
        truncate_dim=3,
        device="cpu",
        trust_remote_code=False,
        model_kwargs={"torch_dtype": "float32", "attn_implementation": "sdpa"},
        backend="torch",
        config_kwargs={},
    )
    assert encoder.prompts == {"query": "find: ", "document": "", "other": "o: ", "more": "m: "}
    assert (encoder.default_prompt_name, encoder.similarity_fn_name) == ("more", "dot")
    assert np.array_equal(encoder.encode("a"), plain.encode("m: a", prompt="")[:3])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "cuda"}, "device must be None or 'cpu'; got 'cuda'. numpy_bert computes on"),
        ({"trust_remote_code": True}, "trust_remote_code must be False or None; got True. Code"),
        ({"trust_remote_code": 0}, "trust_remote_code must be False or None; got 0"),
        ({"backend": "onnx"}, "backend must be None or 'torch'; got 'onnx'. numpy_bert comp"),
        (
            {"model_kwargs": {"torch_dtype": "float16"}},
            "model_kwargs must be None; got .* Give dtype=",
        ),
        ({"tokenizer_kwargs": {"a": 1}}, "Set encoder.max_seq_length, or an attribute of encoder"),
        ({"use_auth_token": "x"}, "It is called token"),
        ({"modules": [1]}, "Name the folder or the repository"),
        ({"default_prompt_name": "other"}, "default_prompt_name must be the name of a prompt"),
        ({"prompts": {"query": None}}, r"prompts\['query'\] must be a str; got NoneType"),
        ({"similarity_fn_name": "maxsim"}, "similarity_fn_name must be one of cosine"),
        ({"truncate_dim": 129}, "truncate_dim must be a whole number from 1 to 128"),
    ],
)
def test_what_the_constructor_refuses(
    plain_demo: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        SentenceEncoder(plain_demo, **options)


def test_an_argument_that_there_is_nowhere(plain_demo: Path) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'cache'"):
        SentenceEncoder(plain_demo, cache="here")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"convert_to_tensor": True}, "convert_to_tensor must be False; got True. Vectors are Num"),
        ({"convert_to_numpy": False}, "convert_to_numpy must be True; got False. Vectors are Num"),
        ({"device": ["cpu", "cpu"]}, r"device must be None or 'cpu'; got \['cpu', 'cpu'\]"),
        ({"pool": {}}, "pool must be None; .* set_num_threads"),
        ({"output_value": "tokens"}, "output_value must be 'sentence_embedding', 'token_embeddin"),
        ({"precision": "int4"}, "precision must be one of float32, int8, uint8, binary, ubinary"),
        ({"precision": "int8"}, "int8 needs the ranges of the features, and one vector has none"),
        ({"output_value": None, "precision": "int8"}, "precision is not for output_value=None"),
        ({"output_value": None, "out": np.zeros((1, 128))}, "out is not for output_value=None"),
        ({"precision": "binary", "out": np.zeros((1, 128))}, r"\(1, 16\) and dtype int8; got"),
        ({"inputs": ["a"]}, "sentences and inputs are both given"),
        (
            {"sentences": [("a", "b")]},
            r"sentences\[0\] is a pair, .* CrossEncoder\(name\)\.predict",
        ),
        ({"sentences": ["a", ["b", "c"]]}, r"sentences\[1\] is a pair"),
    ],
)
def test_what_encode_refuses_before_any_work(
    encoder: SentenceEncoder, options: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BertModel, "packed", None)
    with pytest.raises(InputError, match=words):
        encoder.encode(**{"sentences": ["a"], **options})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("start_multi_process_pool", "set_num_threads"),
        ("half", "float32 or float64"),
        ("save", r"save_pretrained\(path\)"),
        ("tokenize", "encoder.tokenizer"),
        ("config", "encoder.model.config"),
    ],
)
def test_what_is_elsewhere_is_named(encoder: SentenceEncoder, name: str, words: str) -> None:
    with pytest.raises(AttributeError, match=rf"^SentenceEncoder has no '{name}'\. .*{words}"):
        getattr(encoder, name)
    assert not hasattr(encoder, name)
    with pytest.raises(AttributeError, match=r"^SentenceEncoder has no 'poolling'\.$"):
        encoder.poolling  # noqa: B018


def test_every_name_that_is_said_to_be_elsewhere_is(encoder: SentenceEncoder) -> None:
    assert not {name for name in SENTENCE_ENCODER if name in dir(encoder)}


def test_token_embeddings_are_the_models(encoder: SentenceEncoder) -> None:
    found = encoder.encode(TEXTS, output_value="token_embeddings")
    assert isinstance(found, list)
    for text, states in zip(TEXTS, found, strict=True):
        inputs = encoder.tokenizer(text, return_tensors="np")
        expected = encoder.model(**inputs).last_hidden_state[0]
        assert states.shape == expected.shape
        assert np.abs(states - expected).max() < ACROSS_BATCHES
    assert np.array_equal(found[1], found[3])
    kept = found[3].copy()
    found[1][:] = 0  # equal texts are computed once, and are two results
    assert np.array_equal(found[3], kept)
    one = encoder.encode("a test", output_value="token_embeddings", prompt="say: ")
    assert one.shape == (6, 128)
    assert encoder.encode([], output_value="token_embeddings") == []


def test_all_that_is_known_of_a_text(encoder: SentenceEncoder) -> None:
    found = encoder.encode(TEXTS[:4], output_value=None, truncate_dim=9)
    vectors = encoder.encode(TEXTS[:4], truncate_dim=9)
    for text, features, vector in zip(TEXTS, found, vectors, strict=False):
        inputs = encoder.tokenizer(text, return_tensors="np")
        for name in ("input_ids", "token_type_ids", "attention_mask"):
            assert np.array_equal(features[name], inputs[name][0])
        assert features["token_embeddings"].shape == (len(inputs["input_ids"][0]), 128)
        assert np.abs(features["sentence_embedding"] - vector).max() < ACROSS_BATCHES
    one = encoder.encode("a test", output_value=None)
    assert np.abs(one["sentence_embedding"] - encoder.encode("a test")).max() < ACROSS_BATCHES


def test_texts_that_are_cut_are_counted_whatever_is_asked_for(encoder: SentenceEncoder) -> None:
    texts = ["a", "word " * 600, "word " * 600]
    with pytest.warns(UserWarning, match="2 of 3 texts have more tokens") as caught:
        found = encoder.encode(texts, output_value="token_embeddings")
    assert caught[0].filename == __file__
    assert found[1].shape == (512, 128)


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary", "float32", None])
def test_a_precision(encoder: SentenceEncoder, precision: str | None) -> None:
    texts = [f"text {number}" for number in range(100)]
    vectors = encoder.encode(texts)
    expected = quantize_embeddings(vectors, precision or "float32")
    found = encoder.encode(texts, precision=precision)
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)
    out = np.zeros_like(expected)
    assert encoder.encode(texts, precision=precision, out=out) is out
    assert np.array_equal(out, expected)
    assert encoder.encode([], precision=precision).shape == (0, expected.shape[1])


def test_a_precision_of_few_texts_and_of_tokens(encoder: SentenceEncoder) -> None:
    with pytest.warns(UserWarning, match="^int8: the ranges of the features come from 3") as caught:
        encoder.encode(["a", "b", "c"], precision="int8")
    assert caught[0].filename == __file__
    one = encoder.encode("a test", precision="binary")
    assert np.array_equal(one, quantize_embeddings(encoder.encode("a test"), "binary"))
    texts = ["a test", "word " * 100]
    states = encoder.encode(texts, output_value="token_embeddings")
    found = encoder.encode(texts, output_value="token_embeddings", precision="uint8")
    expected = quantize_embeddings(states, "uint8")
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_prompts_of_queries_and_documents(plain_demo: Path) -> None:
    encoder = SentenceEncoder(plain_demo)
    assert encoder.prompts == {"query": "", "document": ""}
    encoder.prompts = {"query": "q: ", "corpus": "c: ", "passage": "p: ", "other": "o: "}
    encoder.default_prompt_name = "other"
    for found, prompt in (
        (encoder.encode_query("the sea"), "q: "),
        (encoder.encode_document("the sea"), "p: "),
        (encoder.encode_query("the sea", "corpus"), "c: "),
        (encoder.encode_document(inputs="the sea", prompt="x: "), "x: "),
    ):
        assert np.array_equal(found, encoder.encode("the sea", prompt=prompt))
    encoder.prompts = {"other": "o: "}
    expected = encoder.encode("the sea", prompt="o: ")
    assert np.array_equal(encoder.encode_query("the sea"), expected)
    assert np.array_equal(encoder.encode_document("the sea"), expected)
    assert encoder.encode_query(["a", "b"], None, "", 1, False, "token_embeddings")[0].shape == (
        3,
        128,
    )


def test_arguments_by_their_places(prompted: SentenceEncoder) -> None:
    found = prompted.encode(
        TWO, "query", None, 1, False, "sentence_embedding", "float32", True, False, "cpu", True, 7
    )
    expected = prompted.encode(
        inputs=TWO, prompt_name="query", normalize_embeddings=True, truncate_dim=7
    )
    assert np.abs(found - expected).max() < ACROSS_BATCHES
    assert np.allclose(np.linalg.norm(found, axis=1), 1)


def test_similarity_pairwise(prompted: SentenceEncoder) -> None:
    a, b = prompted.encode(TWO), prompted.encode(TWO[::-1])
    for name in ("cosine", "dot"):
        prompted.similarity_fn_name = name
        expected = np.diag(prompted.similarity(a, b))
        assert np.abs(prompted.similarity_pairwise(a, b) - expected).max() < 1e-5


def test_texts_that_are_tokenized_before_have_the_same_bits(
    prompted: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where texts differ and their ids do not, and where there are several chunks."""
    monkeypatch.setattr(micro_batches, "_CHUNK_TEXTS", 5)
    texts = ["One text", "one text", "another, of some words", "", "a", "a"] * 2 + ["b " * 700]
    options: dict[str, Any] = {"normalize_embeddings": True, "truncate_dim": 7}
    prompt = prompted.prompts["query"]
    with pytest.warns(UserWarning, match="cut"):
        expected = prompted.encode(texts, prompt=prompt, **options)
    items = prompted.tokenized(texts, prompt)
    assert [item.whole > item.length for item in items] == [False] * 12 + [True]
    assert items[-1].length == prompted.max_seq_length
    found = prompted.encode_tokenized(items, prompt, **options)
    np.testing.assert_array_equal(found, expected)
    assert prompted.encode_tokenized([]).shape == prompted.encode([]).shape
