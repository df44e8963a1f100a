"""Targets of scripts/fuzz.py that do what none must: to test that it is seen."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from fuzz_target import Difference, Target


def of(bad: Callable[[], bool]) -> Callable[[Path, random.Random], bool]:
    """Return an attempt in which one input of about ten is bad."""

    def attempt(_: Path, rng: random.Random) -> bool:
        return bad() if rng.random() < 0.1 else rng.random() < 0.5

    return attempt


def raises() -> bool:
    raise ValueError("not one of ours")


def differs() -> bool:
    raise Difference("1 for 2")


def ends() -> bool:
    os._exit(3)


def hangs() -> bool:
    time.sleep(60)
    return True


TARGETS = [
    Target(bad.__name__, "nothing", lambda folder: folder, of(bad))
    for bad in (raises, differs, ends, hangs)
]
