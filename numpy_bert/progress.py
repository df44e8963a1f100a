"""A progress bar for whoever waits: at a terminal or in a notebook, only where it takes long."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["PATIENCE", "progress"]

# Seconds after which somebody waits: the `delay` of what may be done sooner.
PATIENCE = 2.0
# Hashing and scanning run at some hundred megabytes a second: below this nobody waits.
_SLOW = 1 << 29
# A bar of work: how many items are done stands behind the time.
_OF_WORK = "{l_bar}{bar}| [{elapsed}<{remaining}{postfix}]"


@contextmanager
def progress(
    total: int | None,
    label: str,
    *,
    least: int = _SLOW,
    unit: str = "B",
    delay: float = 0.0,
    items: int | None = None,
    initial: int = 0,
) -> Iterator[Callable[..., object]]:
    """Yield a function that reports how many more of `total` bytes, or other units, are done.

    The function takes that number, and a text that is to stand behind the bar, if any. Several
    threads may call it. The bar is drawn on stderr, with the rate and the time that is left, if
    that is a terminal or a notebook's and `total` is `least` or more. `least` suits a disk; a
    network is slower. With `delay` nothing is drawn in the first seconds.

    Where units take unlike time, name the work as `total` and how many units there are as `items`:
    the time that is left goes by the work, and the function takes how many units were done as
    ``done``. Where nobody knows the total, name None: a count and a rate are drawn. What was done
    before is named as `initial`, and makes no rate.
    """
    if (total is not None and total < least) or not _is_watched():
        yield lambda *_, **__: None
        return
    with _bar(total, label, unit, delay, items, initial) as bar:
        lock, count = threading.Lock(), 0

        def report(more: int, note: str = "", done: int = 0) -> None:
            nonlocal count
            with lock:
                count += done
                shown = note if items is None else f"{count}/{items} {unit}"
                if shown:
                    bar.set_postfix_str(shown, refresh=False)
                bar.update(more)

        yield report


def _is_watched() -> bool:
    """Tell whether stderr is a terminal, or the output of a notebook's cell."""
    stream = sys.stderr
    if stream is None or getattr(stream, "closed", False):
        return False
    return stream.isatty() or type(stream).__module__.startswith("ipykernel.")


def _bar(
    total: int | None, label: str, unit: str, delay: float, items: int | None, initial: int
) -> Any:
    """Return tqdm's bar: a widget in a notebook that has ipywidgets, else a line of text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no widget; the text is as good
        from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]
    scaled = unit == "B"
    return tqdm(  # type: ignore[no-untyped-call]
        total=total,
        desc=label,
        unit=unit if scaled else f" {unit}",
        unit_scale=scaled,
        delay=delay,
        initial=initial,
        bar_format=None if items is None else _OF_WORK,
    )
