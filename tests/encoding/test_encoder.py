"""SentenceEncoder: shapes, dtypes, arguments, what is cut, what is the same to the bit."""

from __future__ import annotations

import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import InputError, SentenceEncoder, set_num_threads
from numpy_bert.encoding import fill
from numpy_bert.model.bert import BertModel

pytestmark = pytest.mark.usefixtures("threads")

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
    texts = [f"{text} {number}" for number in range(60) for text in TEXTS]
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
    assert (largest >= encoder.encode("a test", pooling="cls")).all()
    assert not np.array_equal(largest, plain[1])


def test_false_leaves_out_a_last_normalize(minilm: Path) -> None:
    encoder = SentenceEncoder.from_pretrained(minilm)
    raw = encoder.encode("a test", normalize_embeddings=False)
    assert np.linalg.norm(raw) > 1.5
    assert np.allclose(encoder.encode("a test"), raw / np.linalg.norm(raw), atol=1e-7)
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
        with pytest.raises(InputError, match=r"^max_seq_length: "):
            encoder.max_seq_length = wrong  # type: ignore[assignment]
    assert encoder.max_seq_length == 4


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
        ({"prompt_name": "query"}, "no prompt 'query'; there are: none"),
        ({"batch_size": 0}, "batch_size: 0; a whole number from 1 was"),
        ({"batch_size": 2.0}, r"batch_size: 2.0; a whole"),
        ({"truncate_dim": 129}, "truncate_dim: 129; a whole number from 1 to 128"),
        ({"pooling": "sum"}, "pooling: 'sum'; one of cls, max, mean"),
        ({"pooling": ["mean", "sum"]}, r"pooling: \['mean', 'sum'\]; one of cls, max, mean"),
        ({"pooling": []}, r"pooling: \[\]; one of cls, max, mean"),
        ({"normalize_embeddings": "yes"}, "normalize_embeddings: 'yes'; True, False or None"),
        ({"show_progress_bar": 1}, "show_progress_bar: 1; True, False or None"),
        ({"out": [0.0]}, "out: is list; an ndarray"),
        ({"out": np.zeros((1, 128))}, r"dtype float64; \(1, 128\) and float32 are needed"),
        ({"out": np.zeros(128, np.float32)}, r"out: has shape \(128,\)"),
        ({"out": np.broadcast_to(np.float32(0), (1, 128))}, "out: may not be written to"),
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
    monkeypatch.setattr(fill, "_WORTH_A_BAR", 10)
    encoder.encode(TEXTS)
    assert capsys.readouterr().err == ""  # it took less than two seconds
    monkeypatch.setattr(fill, "_PATIENCE", 0.0)
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
