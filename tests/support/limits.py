"""Bounds on time and memory, for tests that feed hostile input."""

from __future__ import annotations

import signal
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

# Where other programs run, a block waits for its turn: that is not its own time.
WAITING = 30


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail unless the block takes at most so many seconds of the processor.

    What runs on is interrupted, and so is what blocks, after `WAITING` times as long. Where there
    are no such alarms (Windows) the time is looked at in the end.
    """

    def late(*_: object) -> None:
        pytest.fail(f"still at it after {seconds} s")

    if not hasattr(signal, "setitimer"):
        before = time.process_time()
        yield
        if time.process_time() - before > seconds:
            late()
        return
    alarms = {
        signal.SIGPROF: (signal.ITIMER_PROF, seconds),
        signal.SIGALRM: (signal.ITIMER_REAL, WAITING * seconds),
    }
    handlers = {number: signal.signal(number, late) for number in alarms}
    for timer, limit in alarms.values():
        signal.setitimer(timer, limit)
    try:
        yield
    finally:
        for number, (timer, _) in alarms.items():
            signal.setitimer(timer, 0)
            signal.signal(number, handlers[number])


@contextmanager
def allocating_at_most(size: int) -> Iterator[None]:
    """Fail if Python and NumPy together allocate more than `size` bytes at any moment."""
    tracemalloc.start()
    try:
        yield
    finally:  # also where the block raises, as it should
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= size, f"{peak:,} bytes were allocated; {size:,} are allowed"
