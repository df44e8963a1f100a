"""Bounds on time and memory, for tests that feed hostile input."""

from __future__ import annotations

import signal
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail, interrupting whatever blocks or runs on, unless the block ends in time."""

    def late(*_: object) -> None:
        pytest.fail(f"still at it after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


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
