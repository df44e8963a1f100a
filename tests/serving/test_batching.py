"""The queue: who is computed with whom, in which order, who is refused, and who is let go."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from numpy_bert import SentenceEncoder
from numpy_bert.arrays import Array
from numpy_bert.errors import InputError
from numpy_bert.serving.batching import (
    Batcher,
    ClosedError,
    FullError,
    Job,
    LateError,
    Limits,
)
from numpy_bert.text.ids import Tokenized

PATIENCE = 30.0


def job(lengths: Sequence[int], wish: Hashable = None, **options: Any) -> Job:
    """Return a job of texts with so many tokens each."""
    items = [Tokenized(f"{n}", np.full(n, n, np.int64).tobytes(), None, n) for n in lengths]
    return Job(items=items, wish=wish, **options)


class Gate:
    """What computes a batch when it is let: each text's row is its length."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.wishes: list[Hashable] = []
        self.begun, self.open = threading.Semaphore(0), threading.Semaphore(0)
        self.failure: Callable[[list[int]], Exception | None] = lambda _: None

    def __call__(self, items: Sequence[Tokenized], wish: Hashable) -> Array:
        lengths = [item.length for item in items]
        self.batches.append(lengths)
        self.wishes.append(wish)
        self.begun.release()
        assert self.open.acquire(timeout=PATIENCE)
        failure = self.failure(lengths)
        if failure is not None:
            raise failure
        return np.array(lengths, np.float32)[:, None]

    def let(self, count: int = 100) -> None:
        self.open.release(count)


@contextmanager
def queue(**limits: Any) -> Iterator[tuple[Batcher, Gate]]:
    """A queue whose first batch, of a text with one token, is being computed."""
    gate = Gate()
    batcher = Batcher(gate, Limits(**{"batch_tokens": 100, **limits}))
    try:
        batcher.submit(job([1]))
        assert gate.begun.acquire(timeout=PATIENCE)
        yield batcher, gate
    finally:
        gate.let(1000)
        batcher.close()


def rows(waiting: Job) -> list[float]:
    found: list[float] = waiting.future.result(PATIENCE)[:, 0].tolist()
    return found


def test_those_that_wait_are_computed_together() -> None:
    with queue() as (batcher, gate):
        jobs = [job([n, n + 1]) for n in (3, 7, 20)]
        for one in jobs:
            batcher.submit(one)
        assert (batcher.requests, batcher.tokens) == (4, 64)
        gate.let()
        assert [rows(one) for one in jobs] == [[3, 4], [7, 8], [20, 21]]
        assert gate.batches == [[1], [3, 4, 7, 8, 20, 21]]
        assert (batcher.requests, batcher.tokens) == (0, 0)


def test_a_batch_has_no_more_tokens_than_it_may_and_no_request_is_cut() -> None:
    with queue() as (batcher, gate):
        jobs = [job([60]), job([30, 20]), job([50]), job([100])]
        for one in jobs:
            batcher.submit(one)
        gate.let()
        for one in jobs:
            rows(one)
        assert gate.batches[1:] == [[60], [30, 20, 50], [100]]


def test_only_those_of_one_wish_are_computed_together() -> None:
    with queue() as (batcher, gate):
        jobs = [job([n], wish) for n, wish in ((2, "a"), (3, "b"), (4, "a"))]
        for one in jobs:
            batcher.submit(one)
        gate.let()
        assert [rows(one) for one in jobs] == [[2], [3], [4]]
        assert gate.batches[1:] == [[2, 4], [3]]
        assert gate.wishes[1:] == ["a", "b"]


def test_others_have_their_turn_between_the_pieces_of_a_large_one() -> None:
    with queue() as (batcher, gate):
        large, small = job([50] * 6), job([5])
        batcher.submit(large)
        gate.let(1)
        assert gate.begun.acquire(timeout=PATIENCE)  # the first piece
        batcher.submit(small)
        gate.let()
        assert rows(large) == [50] * 6
        assert rows(small) == [5]
        assert gate.batches[1:] == [[50, 50], [5, 50], [50, 50], [50]]


def test_a_text_that_is_larger_than_a_batch_is_computed_alone() -> None:
    with queue() as (batcher, gate):
        large = job([150, 10, 150])
        batcher.submit(large)
        gate.let()
        assert rows(large) == [150, 10, 150]
        assert gate.batches[1:] == [[150], [10], [150]]


def test_a_full_queue_refuses_and_says_when_to_come_again() -> None:
    with queue(queue_tokens=50, tokens=50, queue_requests=3) as (batcher, _):
        batcher.submit(job([40]))
        with pytest.raises(FullError, match="tokens") as caught:
            batcher.submit(job([10]))
        assert caught.value.seconds >= 1
        batcher.submit(job([9]))
        with pytest.raises(FullError, match="requests"):
            batcher.submit(job([1]))


def test_who_would_wait_too_long_is_refused_at_once() -> None:
    with queue() as (batcher, gate):
        gate.let(1)
        for _ in range(3):  # enough to know how long a token takes: here some 10 ms
            measured = job([100])
            batcher.submit(measured)
            assert gate.begun.acquire(timeout=PATIENCE)
            end = time.monotonic() + 0.01
            while time.monotonic() < end:
                pass
            gate.let(1)
            rows(measured)
        batcher.submit(job([100]))
        with pytest.raises(FullError, match="time"):
            batcher.submit(job([1], deadline=time.monotonic() + 1e-3))
        batcher.submit(job([1], deadline=time.monotonic() + PATIENCE))


def test_who_has_waited_too_long_is_not_computed() -> None:
    with queue() as (batcher, gate):
        late, other = job([2], deadline=time.monotonic() + 0.01), job([3])
        batcher.submit(late)
        batcher.submit(other)
        while time.monotonic() <= late.deadline:
            pass
        gate.let()
        assert rows(other) == [3]
        with pytest.raises(LateError):
            late.future.result(PATIENCE)
        assert gate.batches == [[1], [3]]


def test_who_left_is_not_computed_not_even_the_rest_of_a_large_one() -> None:
    with queue() as (batcher, gate):
        gone, large, last = job([2]), job([60] * 5), job([3])
        for one in (gone, large):
            batcher.submit(one)
        gone.leave()
        gate.let(1)
        assert gate.begun.acquire(timeout=PATIENCE)
        large.leave()
        batcher.submit(last)
        gate.let()
        assert rows(last) == [3]
        assert gate.batches == [[1], [60], [3]]
        assert (batcher.requests, batcher.tokens) == (0, 0)


def test_who_left_keeps_nobody_out_wherever_it_stood() -> None:
    with queue(tokens=900, queue_tokens=1000) as (batcher, gate):
        large, other, gone = job([90] * 5), job([50]), job([400])
        for one in (large, other, gone):  # a batch ends before the second, which has no room
            batcher.submit(one)
        gone.leave()
        gate.let(1)
        assert gate.begun.acquire(timeout=PATIENCE)
        batcher.submit(job([500]))  # while the first piece of the large one is computed
        gate.let()
        assert rows(large) == [90] * 5


def test_one_that_fails_does_not_fail_the_others() -> None:
    with queue() as (batcher, gate):
        gate.failure = lambda lengths: ValueError("13") if 13 in lengths else None
        jobs = [job([n]) for n in (12, 13, 14)]
        for one in jobs:
            batcher.submit(one)
        gate.let()
        assert rows(jobs[0]) == [12]
        assert rows(jobs[2]) == [14]
        with pytest.raises(ValueError, match="13"):
            jobs[1].future.result(PATIENCE)
        assert (batcher.requests, batcher.tokens) == (0, 0)


def test_the_end_lets_go_of_who_waits() -> None:
    with queue() as (batcher, gate):
        waiting = job([2])
        batcher.submit(waiting)
        closing = threading.Thread(target=batcher.close)
        closing.start()
        while batcher.is_alive:
            pass
        gate.let()
        closing.join(PATIENCE)
        with pytest.raises(ClosedError):
            waiting.future.result(PATIENCE)
        with pytest.raises(ClosedError):
            batcher.submit(job([1]))
        assert gate.batches == [[1]]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_a_thread_that_broke() -> None:
    class Broken:
        def begun(self, _: float) -> None:
            raise RuntimeError("broken")

        def batch(self, *_: float) -> None: ...

    batcher = Batcher(Gate(), Limits(), Broken())
    waiting = job([1])
    batcher.submit(waiting)
    with pytest.raises(ClosedError):
        waiting.future.result(PATIENCE)
    batcher.close()
    assert not batcher.is_alive


def test_many_threads_get_their_own_rows(encoder: SentenceEncoder) -> None:
    """Whatever is put together, each gets what `encode` returns, but for rounding."""
    texts = [[f"text {i} of {thread}" for i in range(thread % 5 + 1)] for thread in range(24)]
    expected = [encoder.encode(several) for several in texts]
    batcher = Batcher(lambda items, _: encoder.encode_tokenized(items), Limits(batch_tokens=64))
    jobs = [Job(items=encoder.tokenized(several), wish=None) for several in texts]
    threads = [threading.Thread(target=batcher.submit, args=(one,)) for one in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, vectors in zip(jobs, expected, strict=True):
        np.testing.assert_allclose(one.future.result(PATIENCE), vectors, atol=1e-6, rtol=0)
    batcher.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"body": 0}, "body must be a whole number from 1; got 0."),
        ({"texts": 1.5}, "texts must be a whole number from 1; got 1.5."),
        (
            {"tokens": 9, "queue_tokens": 8},
            "tokens must be at most queue_tokens, or a request of so many never has room; "
            "got 9 and 8.",
        ),
        ({"timeout": 0}, "timeout must be a number of seconds above 0; got 0."),
        ({"timeout": float("nan")}, "timeout must be a number of seconds above 0; got nan."),
    ],
    ids=str,
)
def test_a_wrong_limit_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Limits(**options)
    assert str(caught.value) == message
