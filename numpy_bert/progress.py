"""A progress bar for whoever waits: on a terminal, and only where it takes long."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress"]

# Hashing and scanning run at some hundred megabytes a second: below this nobody waits.
_SLOW = 1 << 29


@contextmanager
def progress(total: int, label: str, *, least: int = _SLOW) -> Iterator[Callable[[int], object]]:
    """Yield a function that reports how many more of `total` bytes are done.

    Draws on stderr if that is a terminal and `total` is `least` or more; reports to nobody
    otherwise. `least` suits a disk; a network is slower.
    """
    if total < least or not sys.stderr.isatty():
        yield lambda _: None
        return
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    with tqdm(total=total, desc=label, unit="B", unit_scale=True) as bar:  # type: ignore[no-untyped-call]
        yield bar.update
