"""Micro-batches worked off in threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from itertools import chain, islice
from typing import TypeVar

from numpy_bert.kernels.threads import get_num_threads, in_threads, one_blas_thread

__all__ = ["work_off"]

Item = TypeVar("Item")


def work_off(items: Iterable[Item], work: Callable[[Item], object]) -> None:
    """Call `work` on every item, as many at a time as there are threads.

    Items are made one at a time, in whichever thread asks next; what is done to an item must not
    depend on which thread does it. One item alone is worked on here, without any ado. BLAS is held
    to one thread meanwhile; where it cannot be (see `one_blas_thread`), the items are worked on
    one after another, and threads share what is in each.

    The first exception stops all threads after their current item and is raised.
    """
    queue = iter(items)
    few = list(islice(queue, 2))
    waiting = chain(few, queue)
    threads = get_num_threads()
    if len(few) < 2 or threads == 1:
        for item in waiting:
            work(item)
        return
    with one_blas_thread() as held:
        if not held:
            for item in waiting:
                work(item)
            return
        stop, turn = threading.Event(), threading.Lock()

        def take() -> Iterable[Item]:
            while not stop.is_set():
                with turn:
                    item = next(waiting, _END)
                if isinstance(item, _End):
                    return
                yield item

        def share() -> None:
            try:
                for item in take():
                    work(item)
            except BaseException:
                stop.set()  # Ctrl-C among others: the helpers are to end soon
                raise

        in_threads(share, share, threads - 1)


class _End:
    """That there are no more items."""


_END = _End()
