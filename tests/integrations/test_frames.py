"""Frames of texts in, frames with vectors out, in one process."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from numpy_bert import SentenceEncoder, get_num_threads, set_num_threads
from numpy_bert.errors import InputError, OfflineError
from numpy_bert.integrations import frames
from numpy_bert.integrations.frames import encode_frames, encode_texts, in_every_process, load
from numpy_bert.kernels.blas import openblas
from numpy_bert.kernels.threads import one_thread
from numpy_bert.loading.cache import demo_folder
from tests.support.platforms import posix

TEXTS = ["a test", "the sea is wide and cold", "", "the moon"]


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    """Begin and end without an encoder that another test has loaded."""
    frames._loaded.cache_clear()
    yield
    frames._loaded.cache_clear()


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder("demo")


def test_each_frame_gets_the_vectors_of_its_texts(encoder: SentenceEncoder) -> None:
    given = pd.DataFrame({"id": range(4), "text": TEXTS}, index=[7, 7, 3, 9])
    found = list(encode_frames([given, given[:0], given[1:2]], "text", "demo", output="v"))
    kind = pd.ArrowDtype(pa.list_(pa.float32(), 384))
    for frame, before in zip(found, [given, given[:0], given[1:2]], strict=True):
        assert frame.dtypes["v"] == kind
        pd.testing.assert_frame_equal(frame[["id", "text"]], before)
        with one_thread():
            expected = encoder.encode(before["text"])
        np.testing.assert_array_equal(frames.to_numpy(frame["v"]), expected)
    assert list(given.columns) == ["id", "text"]


def test_nothing_is_read_before_it_is_asked_for() -> None:
    asked: list[int] = []

    def given() -> Iterator[pd.DataFrame]:
        for number in range(3):
            asked.append(number)
            yield pd.DataFrame({"text": [f"text {number}"]})

    found = encode_frames(given(), "text", "demo")
    assert asked == []
    next(found)
    assert asked == [0]


def test_the_settings_are_those_of_the_encoder() -> None:
    settings: dict[str, Any] = {
        "prompt": "find: ",
        "batch_size": 2,
        "normalize_embeddings": True,
        "truncate_dim": 5,
        "pooling": "cls",
    }
    with one_thread():
        expected = SentenceEncoder("demo", dtype="float64").encode(TEXTS, **settings)
    found = encode_texts(TEXTS, "demo", dtype="float64", **settings)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(TypeError, match="'nothing'"):
        encode_texts(TEXTS, "demo", nothing=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("column", "output", "message"),
    [
        ("body", "vector", "frame 0: column: there is no 'body'; there is id, text."),
        ("text", "id", "frame 0: output: there is a column 'id' already; name another."),
        (
            "text",
            "vector",
            "frame 0: text[2] must be a str; got NoneType. It is a missing value: leave it out, or "
            "fill it with a text.",
        ),
    ],
)
def test_errors_name_the_frame_and_the_row(column: str, output: str, message: str) -> None:
    given = pd.DataFrame({"id": range(3), "text": pd.Series(["a", "b", None], dtype=object)})
    with pytest.raises(InputError) as caught:
        list(encode_frames([given], column, "demo", output=output))
    assert str(caught.value) == message
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (InputError, message)


def test_one_frame_is_no_list_of_frames() -> None:
    frame = pd.DataFrame({"text": TEXTS})
    with pytest.raises(InputError, match=r"^frame 0: frames must be pandas DataFrames, such as a"):
        list(encode_frames(frame, "text", "demo"))
    with pytest.raises(InputError, match=r"^frame 0: column must be the name of a column; got \["):
        list(encode_frames([frame], ["text"], "demo"))  # type: ignore[arg-type]


def test_a_text_is_no_column_of_texts() -> None:
    with pytest.raises(InputError, match=r"^texts must be a list or column of texts; got one"):
        encode_texts("a test", "demo")


def test_threads_that_ask_at_once_load_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    all_ask = threading.Barrier(4)
    original = SentenceEncoder.from_pretrained

    def slowly(name: str, **options: Any) -> SentenceEncoder:
        loaded.append(name)
        return original(name, **options)

    def ask() -> None:
        all_ask.wait()
        found.append(load("demo"))

    monkeypatch.setattr(SentenceEncoder, "from_pretrained", slowly)
    found: list[SentenceEncoder] = []
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loaded == ["demo"]
    assert len({id(encoder) for encoder in found}) == 1


@posix
def test_a_child_that_is_forked_while_a_model_is_loaded_loads_its_own() -> None:
    code = """
import os, signal
from numpy_bert.integrations import frames
with frames._Turn.lock:
    child = os.fork()
    if not child:
        signal.alarm(60)
        frames.load("demo")
        os._exit(0)
    print(os.waitpid(child, 0)[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "0\n", done.stderr


def test_other_settings_are_another_encoder() -> None:
    assert load("demo") is load("demo", dtype=np.float32)
    assert load("demo", dtype="float64").dtype == np.float64


@pytest.fixture
def two_blas_threads() -> Iterator[Callable[[], int]]:
    """Let BLAS have two threads, and return a function that says how many it has."""
    library = openblas()
    if library is None or library.threads == "openmp":
        yield lambda: 1
        return
    before = library.get_num_threads()
    library.set_num_threads(2)
    yield library.get_num_threads
    library.set_num_threads(before)


def test_a_task_computes_in_its_own_thread(
    monkeypatch: pytest.MonkeyPatch, threads: None, two_blas_threads: Callable[[], int]
) -> None:
    seen: list[tuple[int, int]] = []

    def encode(self: SentenceEncoder, texts: list[str], **options: Any) -> Any:
        seen.append((get_num_threads(), two_blas_threads()))
        return np.zeros((len(texts), 3), np.float32)

    set_num_threads(2)
    monkeypatch.setattr(SentenceEncoder, "encode", encode)
    encode_texts(TEXTS, "demo")
    assert seen == [(1, 1)]
    assert get_num_threads() == 2


def test_a_folder_becomes_an_absolute_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "model").symlink_to(demo_folder(), target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    assert in_every_process("model", {}) == (str(tmp_path / "model"), {})
    assert in_every_process("demo", {"dtype": "float64"}) == ("demo", {"dtype": "float64"})


def test_a_name_becomes_its_repository_and_commit(cached_minilm: str) -> None:
    short = cached_minilm.partition("/")[2]
    expected = cached_minilm, {"revision": "c" * 40, "truncate_dim": 3}
    assert in_every_process(short, {"truncate_dim": 3}) == expected
    with pytest.raises(OfflineError):
        in_every_process("owner/nothing", {"local_files_only": True})


def test_a_column_of_vectors_becomes_an_array() -> None:
    (frame,) = encode_frames([pd.DataFrame({"text": TEXTS})], "text", "demo", truncate_dim=3)
    column = frame["vector"]
    whole = frames.to_numpy(column)
    assert whole.shape == (4, 3)
    np.testing.assert_array_equal(frames.to_numpy(column[1:3]), whole[1:3])
    np.testing.assert_array_equal(frames.to_numpy(pd.concat([column, column]))[4:], whole)
    assert frames.to_numpy(column[:0]).shape == (0, 3)
    with pytest.raises(InputError, match="2 rows have no vector"):
        frames.to_numpy(column.reindex([0, 8, 9]))
    with pytest.raises(InputError, match="column must be a column of vectors"):
        frames.to_numpy(frame["text"])
    arrays = pd.Series(list(whole))  # as pandas reads Spark's
    with pytest.raises(InputError, match=r"np\.stack\(column\) makes one array"):
        frames.to_numpy(arrays)
    np.testing.assert_array_equal(np.stack(arrays), whole)
