"""numpy_bert.encoding.micro_batches: what is computed together, and by whom."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertTokenizer, set_num_threads
from numpy_bert.encoding import micro_batches as module
from numpy_bert.encoding.micro_batches import Batch, Plan, distinct, fill
from numpy_bert.text.ids import IdEncoder
from tests.support.platforms import posix

pytestmark = pytest.mark.usefixtures("threads")


@pytest.fixture(scope="module")
def ids() -> IdEncoder:
    return IdEncoder(BertTokenizer.from_pretrained("demo"))


def texts_of(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    words = np.array(["the", "sea", "moon", "a", "test", "sentence", "Unbelievable"])
    return [" ".join(rng.choice(words, rng.integers(0, 40))) for _ in range(n)]


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("most", [None, 1, 7])
@pytest.mark.parametrize("chunk", [4096, 50])
def test_every_text_once_with_its_own_ids(
    ids: IdEncoder, workers: int, most: int | None, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK_TEXTS", chunk)
    monkeypatch.setattr(module, "MICRO_BATCH", 300)
    texts = texts_of(130)
    rows = np.arange(len(texts))
    plan = Plan(encode_ids=ids, limit=20, prompt="a ", most_texts=most, workers=workers)
    found: dict[int, list[int]] = {}
    for batch in plan.batches(texts, rows):
        assert len(batch.ids) == batch.lengths.sum() <= 300 or len(batch.rows) == 1
        assert most is None or len(batch.rows) <= most
        assert (np.diff(batch.lengths) <= 0).all()
        ends = np.cumsum(batch.lengths)
        for row, start, stop in zip(batch.rows, ends - batch.lengths, ends, strict=True):
            assert int(row) not in found
            found[int(row)] = batch.ids[start:stop].tolist()
    tokenizer = BertTokenizer.from_pretrained("demo")
    encoded = tokenizer(["a " + t for t in texts], truncation=True, max_length=20)
    assert [found[row] for row in range(len(texts))] == encoded["input_ids"]
    assert plan.cut == {row: before for row, (before, _) in encoded.truncated.items()}


@pytest.mark.parametrize("chunk", [4096, 50])
def test_every_pair_once_with_its_own_ids_and_segments(
    ids: IdEncoder, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK_TEXTS", chunk)
    monkeypatch.setattr(module, "MICRO_BATCH", 300)
    pairs = list(zip(texts_of(130), texts_of(130, seed=1), strict=True))
    plan = Plan(encode_ids=ids, limit=20, prompt="a ")
    found: dict[int, tuple[list[int], list[int]]] = {}
    for batch in plan.batches(pairs, np.arange(len(pairs))):
        assert batch.types is not None
        ends = np.cumsum(batch.lengths)
        for row, start, stop in zip(batch.rows, ends - batch.lengths, ends, strict=True):
            part = slice(start, stop)
            found[int(row)] = batch.ids[part].tolist(), batch.types[part].tolist()
    tokenizer = BertTokenizer.from_pretrained("demo")
    prompted = [("a " + first, second) for first, second in pairs]
    encoded = tokenizer(prompted, truncation=True, max_length=20)
    rows = zip(encoded["input_ids"], encoded["token_type_ids"], strict=True)
    assert [found[row] for row in range(len(pairs))] == list(rows)
    assert plan.cut == {row: before for row, (before, _) in encoded.truncated.items()}


@pytest.mark.parametrize(
    ("count", "batches"), [(5, 1), (31, 1), (32, 2), (500, 2), (1000, 2), (1100, 4)]
)
def test_little_work_is_shared_out(ids: IdEncoder, count: int, batches: int) -> None:
    texts = ["the moon"] * count  # of 4 tokens each
    plan = Plan(encode_ids=ids, limit=20, workers=2)
    sizes = [len(batch.ids) for batch in plan.batches(texts, np.arange(count))]
    assert len(sizes) == batches
    assert max(sizes) - min(sizes) <= 4


def test_a_long_text_fills_a_chunk_alone(ids: IdEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK_CHARACTERS", 100)
    texts = ["a" * 300, "b", "c" * 99, "d"]
    chunks = [c.tolist() for c in module._chunks(texts, np.arange(4))]
    assert chunks == [[0], [1, 2], [3]]
    pairs = [("a", "a" * 299), ("", "b"), ("c" * 98, "c"), ("d", "")]
    assert [c.tolist() for c in module._chunks(pairs, np.arange(4))] == chunks


def test_the_bar_goes_by_the_work_and_not_by_the_number_of_texts(
    ids: IdEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_num_threads(1)
    texts = ["the sea " * 60] * 6 + [f"a moon {n}" for n in range(150)] + ["a test of it " * 9] * 2
    texts = [f"{text}{place}" for place, text in enumerate(texts)] + ["the sea"] * 3
    seen: list[tuple[int, int]] = []
    totals: dict[str, int] = {}

    @contextmanager
    def recorded(total: int, *_: object, items: int, **__: object) -> Iterator[Any]:
        totals.update(work=total, texts=items)
        yield lambda more, done: seen.append((more, done))

    monkeypatch.setattr(module, "progress", recorded)
    monkeypatch.setattr(module, "MICRO_BATCH", 150)
    plan = Plan(encode_ids=ids, limit=100)
    tokens: list[int] = []

    def embed(batch: Batch) -> Any:
        tokens.append(len(batch.ids))
        return np.zeros((len(batch.rows), 3), np.float32)

    fill(np.empty((len(texts), 3), np.float32), texts, plan, embed, shown=True)
    bar, done = np.cumsum(seen, axis=0).T
    assert bar[-1] == totals["work"]
    assert done[-1] == totals["texts"] == len(set(texts))
    share = np.cumsum(tokens) / sum(tokens)
    assert np.abs(bar / bar[-1] - share).max() < 0.15
    assert np.abs(done / done[-1] - share).max() > 0.25


def test_equal_texts_are_found() -> None:
    repeats = distinct(["a", "b", "a", "", "b", "a", ""])
    assert repeats.rows.tolist() == [0, 1, 3]
    assert repeats.copies.tolist() == [2, 4, 5, 6]
    assert repeats.originals.tolist() == [0, 1, 0, 3]


INTERRUPTED = """
import signal
from numpy_bert import SentenceEncoder, set_num_threads
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
set_num_threads(2)
encoder = SentenceEncoder.from_pretrained("demo")
try:
    print("ready", flush=True)
    encoder.encode([f"a sentence of the number {i}" for i in range(10**6)], batch_size=8)
except KeyboardInterrupt:
    print("stopped")
"""


@posix
def test_ctrl_c_stops_promptly() -> None:  # H7
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(3.0)  # until both threads are at work
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)  # all of it would take minutes
    finally:
        child.kill()
    assert out == b"stopped\n"
    assert err == b""
    assert child.returncode == 0
