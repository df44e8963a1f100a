"""A progress bar for whoever waits: on a terminal, and only where it takes long."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress"]

# Hashing and scanning run at some hundred megabytes a second: below this nobody waits.
_SLOW = 1 << 29


@contextmanager
def progress(
    total: int, label: str, *, least: int = _SLOW, unit: str = "B", delay: float = 0.0
) -> Iterator[Callable[..., object]]:
    """Yield a function that reports how many more of `total` bytes, or other units, are done.

    The function takes that number, and a text that is to stand behind the bar, if any. Several
    threads may call it. The bar is drawn on stderr, with the rate and the time that is left, if
    that is a terminal and `total` is `least` or more. `least` suits a disk; a network is slower.
    With `delay` nothing is drawn in the first seconds.
    """
    if total < least or sys.stderr is None or not sys.stderr.isatty():
        yield lambda _more, _note="": None
        return
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    scaled = unit == "B"
    with tqdm(  # type: ignore[no-untyped-call]
        total=total,
        desc=label,
        unit=unit if scaled else f" {unit}",
        unit_scale=scaled,
        delay=delay,
    ) as bar:
        lock = threading.Lock()

        def report(more: int, note: str = "") -> None:
            with lock:
                if note:
                    bar.set_postfix_str(note, refresh=False)
                bar.update(more)

        yield report
