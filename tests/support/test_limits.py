"""The bounds on time tell what runs on, and what blocks, from what waits for its turn."""

from __future__ import annotations

import itertools
import signal
import threading
import time

import pytest

from tests.support.limits import WAITING, within
from tests.support.platforms import posix


@posix
def test_what_runs_on_is_interrupted() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"still at it after 0\.1 s"), within(0.1):
        all(True for _ in itertools.repeat(0))


@posix
def test_what_blocks_is_interrupted() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"still at it"), within(0.2 / WAITING):
        threading.Event().wait(600)


def test_waiting_is_no_time_of_ones_own() -> None:
    with within(0.1):
        time.sleep(0.3)


@posix
def test_nothing_is_left_of_it() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGPROF, signal.SIGALRM)]
    with within(60):
        pass
    after = [signal.getsignal(number) for number in (signal.SIGPROF, signal.SIGALRM)]
    assert after == before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == signal.getitimer(signal.ITIMER_PROF)[0] == 0
