"""numpy_bert.encoding.stream: blocks of vectors of any number of texts, in bounded memory."""

from __future__ import annotations

import io
import threading
import tracemalloc
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from numpy_bert import InputError, SentenceEncoder, set_num_threads
from numpy_bert.encoding import stream
from numpy_bert.encoding.stream import blocks

TEXTS = ["", "a test", "The moon, over the sea!", "a test", "[MASK] x" * 9, "caf\u00e9 " * 40]


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder("demo")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of four texts or 400 characters."""
    monkeypatch.setattr(stream, "_MOST_TEXTS", 4)
    monkeypatch.setattr(stream, "_MOST_CHARACTERS", 400)


def numbered(count: int) -> Iterator[str]:
    return (f"{TEXTS[number % len(TEXTS)]} {number}" for number in range(count))


@pytest.mark.usefixtures("small")
def test_where_a_block_ends() -> None:
    texts = ["a"] * 5 + ["b" * 200, "c" * 199, "d", "e", "f" * 1000, "g"]
    found = list(blocks(iter(texts)))
    assert [len(block) for block in found] == [4, 3, 2, 1, 1]
    assert [text for block in found for text in block] == texts
    assert list(blocks(iter(texts[4:]))) == found[1:]
    assert list(blocks(iter([]))) == []


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("threads", "way"),
    [
        (2, {}),
        (1, {"prompt": "find: ", "batch_size": 2}),
        (1, {"normalize_embeddings": True, "truncate_dim": 7}),
        (1, {"pooling": "cls", "precision": "binary"}),
        (1, {"precision": "ubinary"}),
    ],
)
def test_a_block_is_what_encode_makes_of_it(
    encoder: SentenceEncoder, threads: int, way: dict[str, Any]
) -> None:
    set_num_threads(threads)
    texts = list(numbered(17))
    found = list(encoder.encode_stream(iter(texts), **way))
    wanted = [encoder.encode(block, **way) for block in blocks(iter(texts))]
    assert len(found) == len(wanted) > 4
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)


@pytest.mark.usefixtures("small")
def test_whoever_goes_on_behind_a_block_has_the_same_bits(encoder: SentenceEncoder) -> None:
    texts = list(numbered(17))
    whole = list(encoder.encode_stream(texts))
    done = sum(map(len, whole[:2]))
    for ours, theirs in zip(encoder.encode_stream(texts[done:]), whole[2:], strict=True):
        assert np.array_equal(ours, theirs)


def test_texts_come_as_they_are_asked_for(
    encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_MOST_TEXTS", 4)
    asked: list[str] = []
    vectors = encoder.encode_stream(asked.append(text) or text for text in numbered(10))  # type: ignore[func-returns-value]
    assert asked == []
    running = threading.active_count()
    for block in (1, 2):
        assert next(vectors).shape == (4, 384)
        assert len(asked) == 4 * block
        assert (vectors.texts, vectors.cut) == (4 * block, 0)
    assert repr(vectors) == "VectorStream(8 texts so far, of which 0 were cut)"
    del vectors  # nothing of it is left
    assert threading.active_count() == running


@pytest.mark.parametrize(
    "texts",
    [
        TEXTS[:2],
        tuple(TEXTS[:2]),
        np.array(TEXTS[:2]),
        np.array(TEXTS[:2], object),
        dict.fromkeys(TEXTS[:2]).keys().__iter__(),
        io.StringIO("\na test\n"),
    ],
    ids=lambda texts: type(texts).__name__,
)
def test_what_is_taken_for_a_stream(encoder: SentenceEncoder, texts: Any) -> None:
    (found,) = encoder.encode_stream(texts)
    assert np.array_equal(found, encoder.encode(TEXTS[:2]))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("a test", "texts must be an iterable of str; got one text. Put it in a list"),
        (b"a test", "texts must be an iterable of str; got bytes. Make a str of it"),
        (memoryview(b"a test"), "texts must be an iterable of str; got memoryview"),
        ({"a": 1}, "texts must be an iterable of str; got dict"),
        ({"a"}, "texts must be an iterable of str; got set"),
        (5, "texts must be an iterable of str; got int"),
        (np.array([["a"]]), r"texts must be an iterable of str; got ndarray of shape \(1, 1\)"),
    ],
)
def test_what_is_no_stream(encoder: SentenceEncoder, texts: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        encoder.encode_stream(texts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int8"}, "encode_stream: int8 needs the ranges of all vectors"),
        ({"precision": "uint8"}, "encode_stream: uint8 needs the ranges of all vectors"),
        ({"precision": "half"}, "precision must be one of"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1"),
        ({"truncate_dim": 1000}, "truncate_dim must be a whole number from 1 to 384"),
        ({"normalize_embeddings": "no"}, "normalize_embeddings must be True or False"),
        ({"prompt_name": "none"}, "none"),
        ({"pooling": "none"}, "pooling must be one of"),
    ],
)
def test_arguments_are_checked_at_the_call(
    encoder: SentenceEncoder, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        encoder.encode_stream([], **options)


@pytest.mark.usefixtures("small")
def test_a_bad_text_is_named_by_its_place_in_the_stream(encoder: SentenceEncoder) -> None:
    bad: Any
    for bad, message in (
        (None, r"^texts\[10\] must be a str; got NoneType\. It is a missing value"),
        ("a\ud800", r"^texts\[10\]: character 1 is U\+D800, half of a surrogate pair"),
        ("a" * 5_000_001, r"^texts\[10\]: has 5,000,001 characters"),
    ):
        vectors = encoder.encode_stream([*["a"] * 10, bad, "b"])
        assert [len(next(vectors)) for _ in range(2)] == [4, 4]
        with pytest.raises(InputError, match=message):
            next(vectors)
        assert list(vectors) == []


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("mine", [KeyError("mine"), KeyboardInterrupt("mine")])
def test_an_error_of_the_iterable_passes_through(
    encoder: SentenceEncoder, mine: BaseException
) -> None:
    def failing() -> Iterator[str]:
        yield from "abcde"
        raise mine

    vectors = encoder.encode_stream(failing())
    assert len(next(vectors)) == 4
    with pytest.raises(type(mine), match="mine"):
        next(vectors)
    assert list(vectors) == []


@pytest.mark.usefixtures("small")
def test_cut_texts_are_told_once_at_the_end(encoder: SentenceEncoder) -> None:
    encoder = SentenceEncoder("demo")
    encoder.max_seq_length = 8
    texts = ["a"] * 5 + ["b", "c", "word " * 9, "word " * 10, "word " * 9]
    vectors = encoder.encode_stream(texts)
    encoder.max_seq_length = 4  # counts from the next call on
    cut = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            next(vectors)
            cut.append(vectors.cut)
    assert cut == [0, 1, 3]
    with pytest.warns(UserWarning, match="were cut") as told:
        assert list(vectors) == []
    assert [str(warning.message) for warning in told] == [
        "encode_stream: 3 of 10 texts have more tokens than max_seq_length = 8 and were cut; the "
        "first is texts[7], of 11."
    ]
    assert told[0].filename == __file__


def test_a_stream_that_waits_holds_nobody_up(encoder: SentenceEncoder) -> None:
    """A thread whose texts have not come lets others use the encoder."""
    waits, goes_on = threading.Event(), threading.Event()
    found: list[Any] = []

    def slow() -> Iterator[str]:
        yield "a test"
        waits.set()
        assert goes_on.wait(60)
        yield "another"

    set_num_threads(2)
    other = threading.Thread(target=lambda: found.extend(encoder.encode_stream(slow())))
    other.start()
    assert waits.wait(60)
    texts = list(numbered(50))
    assert np.array_equal(encoder.encode(texts), next(encoder.encode_stream(texts)))
    goes_on.set()
    other.join()
    assert np.array_equal(found[0], encoder.encode(["a test", "another"]))


def peak_of(encoder: SentenceEncoder, texts: Iterator[str]) -> int:
    tracemalloc.start()
    for _ in encoder.encode_stream(texts):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_stream(
    encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_num_threads(1)
    monkeypatch.setattr(stream, "_MOST_TEXTS", 100)
    # All of one length, and none like another.
    _, few, many = (  # the first time scratch memory is made, too
        peak_of(encoder, (" ".join(f"{number:04}") for number in range(count)))
        for count in (200, 200, 2000)
    )
    assert many < few + 1_000_000 < 2000 * 384 * 4


def test_memory_is_bounded_for_texts_of_a_million_characters() -> None:
    encoder = SentenceEncoder("demo")

    def texts(count: int) -> Iterator[str]:
        return (f"{number} {'word ' * 200_000}"[:1_000_000] for number in range(count))

    set_num_threads(1)
    with pytest.warns(UserWarning, match="1 of 1 texts .* were cut"):
        list(encoder.encode_stream(["word " * 600]))  # what is made once: scratch memory
    with pytest.warns(UserWarning, match="2 of 2 texts .* were cut"):
        assert peak_of(encoder, texts(2)) < 13_000_000
