"""How many threads the kernels use, and the pool of threads that they share."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain, islice
from queue import SimpleQueue
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

from numpy_bert.arguments import as_count
from numpy_bert.errors import InputError
from numpy_bert.kernels.blas import openblas
from numpy_bert.kernels.processors import processors

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

__all__ = [
    "blas_threads",
    "free_threads",
    "get_num_threads",
    "in_threads",
    "one_blas_thread",
    "one_thread",
    "set_num_threads",
    "share",
    "work_off",
]

_VARIABLE = "NUMPY_BERT_NUM_THREADS"
Item = TypeVar("Item")
Result = TypeVar("Result")


class _Pool:
    """The number of threads, and the helpers beside the calling one; made when needed."""

    lock = threading.Lock()
    number: int | None = None
    helpers: ThreadPoolExecutor | None = None


class _Library(Protocol):
    """A BLAS whose threads can be limited for the whole process: OpenBlas, or threadpoolctl's."""

    def get_num_threads(self) -> int: ...
    def set_num_threads(self, n: int, /) -> object: ...


class _Blas:
    """Who limits BLAS to how many threads, and what it had before; it is looked for once."""

    lock = threading.Lock()
    users: ClassVar[dict[object, int]] = {}
    libraries: ClassVar[list[_Library] | None] = None
    before: ClassVar[list[int]] = []


# What each thread is doing.
_WORKING = threading.local()


def set_num_threads(n: int) -> None:
    """Set how many threads a call may use; 1 switches threads off.

    The environment variable NUMPY_BERT_NUM_THREADS sets it before the program starts. Without
    either it is the number of processors that the process may run on, or, in a container with a
    CPU quota, what the quota comes to (rounded up) if that is less. Small inputs use one thread
    whatever the number is. The input embedding does not depend on it, to the bit; what the
    encoder makes of it does by roundings. BLAS has threads of its own, which OPENBLAS_NUM_THREADS
    and the like set before the program starts: in the encoder they are held to this number, too,
    where they can be (see `blas_threads`); elsewhere they stand beside it. BLAS has one limit for
    the whole process, so where threads call the encoder at once, a call may find fewer of them than
    it would alone, and its result then differs by roundings.

    Parameters
    ----------
    n : int
        The number, from 1. As in torch, it holds for the whole process.

    Raises
    ------
    InputError
        If `n` is no whole number from 1.

    Examples
    --------
    >>> import numpy_bert
    >>> before = numpy_bert.get_num_threads()
    >>> numpy_bert.set_num_threads(1)
    >>> numpy_bert.get_num_threads()
    1
    >>> numpy_bert.set_num_threads(before)
    """
    number = as_count("set_num_threads: n", n)
    with _Pool.lock:
        helpers, _Pool.helpers = _Pool.helpers, None
        _Pool.number = number
    if helpers is not None:
        helpers.shutdown(wait=False)  # what runs still ends


def get_num_threads() -> int:
    """Return how many threads a call may use; see `set_num_threads`.

    Raises
    ------
    InputError
        If NUMPY_BERT_NUM_THREADS is no whole number from 1.
    """
    if getattr(_WORKING, "alone", False):
        return 1
    if _Pool.number is None:
        _Pool.number = _default()
    return _Pool.number


@contextmanager
def one_thread() -> Iterator[None]:
    """Have calls of this thread use no other, BLAS's included, whatever the process may use.

    It is for who runs several calls at a time, each in a thread of its own, and so has shared out
    the processors already. Their bits then depend neither on how many run at once nor on how many
    processors there are. BLAS is held to one thread in the whole process meanwhile.

    Examples
    --------
    >>> with one_thread():
    ...     get_num_threads()
    1
    """
    before = getattr(_WORKING, "alone", False)
    _WORKING.alone = True
    try:
        with one_blas_thread():
            yield
    finally:
        _WORKING.alone = before


def free_threads() -> int:
    """Return among how many threads this one may share its work: 1 where it has a share itself."""
    return 1 if getattr(_WORKING, "shared", False) else get_num_threads()


def share(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Call `work` on every item, each in a thread of its own if there are as many.

    Which thread gets which item must not matter, nor the order of the results. After an exception,
    which is raised, no item is begun.
    """
    if len(items) == 1:
        return [work(items[0])]
    waiting = deque(items)

    def take() -> list[Result]:
        done: list[Result] = []
        while True:
            try:
                item = waiting.popleft()
            except IndexError:
                return done
            try:
                done.append(work(item))
            except BaseException:  # Ctrl-C among others
                waiting.clear()
                raise

    return [result for done in in_threads(take, take, len(items) - 1) for result in done]


def in_threads(
    lead: Callable[[], Result], assist: Callable[[], Result], helpers: int
) -> list[Result]:
    """Run `lead` here and `assist` in up to `helpers` threads beside it; return the results.

    They share out among themselves what there is to do, so that it is done whole however many
    of them there are. A helper that has not begun when `lead` ends (the threads may be busy with
    another caller's work) is called off. The first exception is raised when all have ended.
    """
    tickets, ended = (
        deque(range(helpers)),
        SimpleQueue[tuple[Result | None, BaseException | None]](),
    )

    def help_out() -> None:
        try:
            tickets.pop()
        except IndexError:  # called off
            return
        try:
            with _sharing():
                ended.put((assist(), None))
        except BaseException as failure:  # noqa: BLE001
            ended.put((None, failure))

    _submit(help_out, helpers)
    try:
        with _sharing():
            results = [lead()]
    finally:
        begun = helpers
        with contextlib.suppress(IndexError):
            while True:
                tickets.pop()
                begun -= 1
        outcomes = [ended.get() for _ in range(begun)]
    for result, failure in outcomes:
        if failure is not None:
            raise failure
        results.append(result)  # type: ignore[arg-type]
    return results


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
    is_shared = len(few) > 1 and threads > 1
    with one_blas_thread() if is_shared else nullcontext(enter_result=False) as is_held:
        if not is_held:
            for item in waiting:
                work(item)
            return
        stop, turn = threading.Event(), threading.Lock()

        def take() -> Iterator[Item]:
            while not stop.is_set():
                with turn:
                    try:
                        item = next(waiting)
                    except StopIteration:
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


def one_blas_thread() -> AbstractContextManager[bool]:
    """Hold BLAS to one thread in each of ours; see `blas_threads`.

    Code that runs products in several threads needs it: BLAS's own would only be in the way.
    """
    return blas_threads(1)


@contextmanager
def blas_threads(most: int) -> Iterator[bool]:
    """Hold BLAS to at most so many threads, where that can be done; yield whether it is.

    NumPy's own OpenBLAS is asked itself; where NumPy runs on another BLAS (MKL, BLIS), it takes
    the optional package threadpoolctl (``pip install numpy_bert[threads]``). The limit is the
    whole process's: of several users the one who asks for the least gets it, and the last to go
    restores what there was. It is not held where BLAS has a limit for each thread (OpenBLAS on
    OpenMP), or does not heed ours.
    """
    user = object()
    try:
        yield _hold(user, most)
    finally:
        _let_go(user)


def _hold(user: object, most: int) -> bool:
    """Limit BLAS for one more user; tell whether it is limited.

    An interrupt may come after any step: what there was is noted before it is changed, and is
    restored by this user or, if that is interrupted too, by the next.
    """
    with _Blas.lock:
        if _Blas.libraries is None:
            _Blas.libraries = _libraries()
        if not _Blas.libraries:
            return False
        if not _Blas.users:
            _Blas.before = _Blas.before or [each.get_num_threads() for each in _Blas.libraries]
        _Blas.users[user] = most
        _limit()
        if all(each.get_num_threads() <= most for each in _Blas.libraries):
            return True
        del _Blas.users[user]
        _limit()
        return False


def _let_go(user: object) -> None:
    """Take a user's limit away; after the last BLAS has what it had."""
    with _Blas.lock:
        _Blas.users.pop(user, None)
        _limit()


def _limit() -> None:
    """Give each BLAS library the threads that it had, or the least that a user wants.

    Any thread may set them again: otherwise, from version 3.8 of threadpoolctl on, only the one
    that was first could.
    """
    if not _Blas.before:
        return
    for library, had in zip(_Blas.libraries or [], _Blas.before, strict=True):
        library.set_num_threads(min(had, *_Blas.users.values()) if _Blas.users else had)
        getattr(library, "clear_controlling_thread", int)()
    if not _Blas.users:
        _Blas.before = []


def _libraries() -> list[_Library]:
    """Return the BLAS to be held: NumPy's OpenBLAS, else all that threadpoolctl finds, or none."""
    own = openblas()
    if own is not None:
        return [] if own.threads == "openmp" else [own]
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return []
    found = ThreadpoolController().select(user_api="blas")
    if len(found.select(internal_api="openblas").select(threading_layer="openmp")):
        return []
    return list(found.lib_controllers)


@contextmanager
def _sharing() -> Iterator[None]:
    """Mark this thread as one that shares work already, for `free_threads`."""
    before = getattr(_WORKING, "shared", False)
    _WORKING.shared = True
    try:
        yield
    finally:
        _WORKING.shared = before


def _submit(work: Callable[[], None], count: int) -> None:
    """Start `work` in `count` threads, or in fewer where the system gives no more."""
    if not count:
        return
    with _Pool.lock:
        if _Pool.helpers is None:
            from concurrent.futures import ThreadPoolExecutor  # not at start-up: 4 ms

            _Pool.helpers = ThreadPoolExecutor(max(1, get_num_threads() - 1), "numpy_bert")
        # It fails where there are no more threads, and while the interpreter is ending.
        with contextlib.suppress(RuntimeError):
            for _ in range(count):
                _Pool.helpers.submit(work)


def _default() -> int:
    """Return what the environment says, or the number of processors at hand."""
    text = os.environ.get(_VARIABLE)
    if not text:
        return processors()
    if not text.isascii() or not text.isdigit() or len(text) > 4 or int(text) < 1:
        raise InputError(
            f"the environment variable {_VARIABLE} must be a whole number from 1; got "
            f"{text[:40]!r}."
        )
    return int(text)


def _forget() -> None:
    """Start anew in a forked child: threads do not survive a fork."""
    _Pool.lock = threading.Lock()
    _Pool.helpers = None
    _WORKING.shared = False
    _Blas.lock = threading.Lock()
    _Blas.users.clear()
    _limit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
