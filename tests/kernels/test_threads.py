"""numpy_bert.kernels.threads: the number, the pool, what becomes of errors and of forks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertModel, InputError, get_num_threads, set_num_threads
from numpy_bert.kernels import threads
from numpy_bert.kernels.blas import OpenBlas, openblas
from numpy_bert.kernels.processors import processors
from numpy_bert.kernels.threads import free_threads, in_threads, one_blas_thread, share, work_off
from tests.support.platforms import PLATFORM, posix

pytestmark = pytest.mark.usefixtures("threads")


@pytest.mark.parametrize("n", [1, 2, 5])
def test_work_runs_in_every_thread_at_the_same_time(n: int) -> None:
    set_num_threads(n)
    assert get_num_threads() == n
    together = threading.Barrier(n, timeout=120)

    def work() -> int:
        together.wait()  # passes only when all are there
        return threading.get_ident()

    found = in_threads(work, work, n - 1)
    assert len(set(found)) == n
    assert threading.get_ident() in found


@pytest.mark.parametrize("n", [0, -1, 1.5, "2", None, True])
def test_a_number_of_threads_is_a_whole_number_from_1(n: Any) -> None:
    with pytest.raises(InputError, match=r"^set_num_threads: .* a whole number from 1"):
        set_num_threads(n)


def test_an_error_of_any_thread_is_raised_when_all_have_ended() -> None:
    set_num_threads(3)
    ended: list[int] = []
    begun = threading.Semaphore(0)

    def right() -> None:
        begun.release()
        ended.append(threading.get_ident())

    def wait_then_fail() -> None:
        for _ in range(2):
            assert begun.acquire(timeout=120)
        raise ZeroDivisionError

    def wrong() -> None:
        begun.release()
        raise ZeroDivisionError

    def wait_then_end() -> None:
        assert begun.acquire(timeout=120)
        ended.append(threading.get_ident())

    with pytest.raises(ZeroDivisionError):
        in_threads(wait_then_fail, right, 2)
    assert len(ended) == 2
    with pytest.raises(ZeroDivisionError):
        in_threads(wait_then_end, wrong, 1)
    assert ended[2:] == [threading.get_ident()]


def test_a_helper_that_has_not_begun_is_called_off() -> None:
    set_num_threads(2)
    busy, free, seen = threading.Event(), threading.Event(), []

    def occupy() -> None:
        busy.set()
        assert free.wait(timeout=120)

    def lead() -> None:
        assert busy.wait(timeout=120)

    other = threading.Thread(target=lambda: in_threads(lead, occupy, 1))
    other.start()
    assert busy.wait(timeout=120)
    assert in_threads(lambda: "alone", lambda: seen.append("late"), 1) == ["alone"]
    free.set()
    other.join(timeout=120)
    set_num_threads(1)  # the pool ends when its queue is empty
    assert not seen


def test_threads_that_cannot_be_started_are_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    set_num_threads(3)

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    assert in_threads(lambda: 1, lambda: 2, 2) == [1]


def child(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    command = [sys.executable, "-c", f"import numpy_bert\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def test_the_environment_sets_the_number() -> None:
    code = "print(numpy_bert.get_num_threads())"
    assert child(code, NUMPY_BERT_NUM_THREADS="3").stdout == "3\n"
    assert child(code, NUMPY_BERT_NUM_THREADS="").stdout == f"{processors()}\n"


def test_the_default_is_what_a_quota_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads._Pool, "number", None)
    monkeypatch.delenv("NUMPY_BERT_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "processors", lambda: 7)
    assert get_num_threads() == 7


@pytest.mark.parametrize("value", ["0", "-1", "two", "1e3", "99999", "²"])
def test_a_wrong_variable_is_named(value: str) -> None:
    result = child("numpy_bert.get_num_threads()", NUMPY_BERT_NUM_THREADS=value)
    assert "InputError: the environment variable NUMPY_BERT_NUM_THREADS" in result.stderr


@posix
def test_a_fork_after_use_does_not_hang() -> None:  # K4
    code = (
        "import os, numpy as np\n"
        "numpy_bert.set_num_threads(2)\n"
        "model = numpy_bert.BertModel.from_pretrained('demo')\n"
        "ids = np.arange(32000).reshape(250, 128) % 4000\n"
        "expected = model.embeddings(ids).tobytes()\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    os._exit(0 if model.embeddings(ids).tobytes() == expected else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    result = child(code)
    assert result.stdout == "0\n", result.stderr


def test_threads_can_share_a_model() -> None:  # K3
    model = BertModel.from_pretrained("demo")
    rng = np.random.default_rng(0)
    batches = [rng.integers(0, 4000, (200 + n, 128)) for n in range(8)]
    set_num_threads(1)
    expected = [model.embeddings(ids).tobytes() for ids in batches]
    set_num_threads(2)
    with ThreadPoolExecutor(8) as callers:
        for _ in range(5):
            found = callers.map(lambda ids: model.embeddings(ids).tobytes(), batches)
            assert list(found) == expected


def test_the_number_can_be_changed_while_calls_run() -> None:
    model = BertModel.from_pretrained("demo")
    ids = np.arange(128 * 200).reshape(200, 128) % 4000
    expected = model.embeddings(ids).tobytes()
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            for n in (1, 3, 2):
                set_num_threads(n)
                stop.wait(1e-4)  # else it holds on to the interpreter, and the calls wait

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(50):
            assert model.embeddings(ids).tobytes() == expected
    finally:
        stop.set()
        changer.join()


class Blas:
    """A BLAS as openblas() or threadpoolctl tells of it; it may not heed what is set."""

    def __init__(self, number: int = 4, heeds: bool = True, threads: str = "pthreads") -> None:
        self.number, self.heeds, self.threads = number, heeds, threads

    def get_num_threads(self) -> int:
        return self.number

    def set_num_threads(self, n: int) -> None:
        self.number = n if self.heeds else self.number


class Found(list[Any]):
    """What a ThreadpoolController has found."""

    def __init__(self, *libraries: Any) -> None:
        super().__init__(libraries)
        self.lib_controllers = self

    def select(self, **words: str) -> Found:
        (name, value), *_ = words.items()
        return Found(*(each for each in self if getattr(each, name, None) == value))


@pytest.fixture
def own() -> Iterator[OpenBlas]:
    """NumPy's OpenBLAS, of two threads, however many the environment gives it."""
    found = openblas()
    if found is None or found.threads == "openmp":
        pytest.skip(f"{PLATFORM}: NumPy on OpenBLAS")
    before = found.get_num_threads()
    found.set_num_threads(2)
    yield found
    assert found.get_num_threads() == 2
    found.set_num_threads(before)


@pytest.fixture(params=["openblas", "threadpoolctl"])
def blas_threads(request: Any, own: OpenBlas, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what tells the threads of what is held: OpenBLAS by itself, or by threadpoolctl."""
    monkeypatch.setattr(threads._Blas, "libraries", None)
    if request.param == "openblas":
        monkeypatch.setitem(sys.modules, "threadpoolctl", None)
        return lambda: [own.get_num_threads()]
    monkeypatch.setattr(threads, "openblas", lambda: None)
    from threadpoolctl import ThreadpoolController

    found = ThreadpoolController().select(user_api="blas")
    return lambda: [library["num_threads"] for library in found.info()]


def number_of(libraries: list[Any]) -> list[int]:
    return [each.get_num_threads() for each in libraries]


def test_blas_has_one_thread_until_the_last_user_goes(blas_threads: Any) -> None:
    before = blas_threads()
    assert before
    first, second = one_blas_thread(), one_blas_thread()
    assert first.__enter__()
    assert second.__enter__()
    assert set(blas_threads()) == {1}
    first.__exit__(None, None, None)
    assert set(blas_threads()) == {1}
    second.__exit__(None, None, None)
    assert blas_threads() == before
    with pytest.raises(ZeroDivisionError), one_blas_thread():
        raise ZeroDivisionError
    assert blas_threads() == before


def test_any_thread_may_hold_blas_and_any_other_let_go(blas_threads: Any) -> None:
    before, first = blas_threads(), one_blas_thread()
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        for taker, giver in ((one, other), (other, one)):  # both live on all the while
            second = one_blas_thread()
            assert taker.submit(first.__enter__).result()
            assert set(blas_threads()) == {1}
            assert giver.submit(second.__enter__).result()
            taker.submit(first.__exit__, None, None, None).result()
            assert set(blas_threads()) == {1}
            giver.submit(second.__exit__, None, None, None).result()
            assert blas_threads() == before
            first = one_blas_thread()
    with one_blas_thread() as held:
        assert held


def test_what_another_has_set_is_restored(own: OpenBlas) -> None:
    """A limit of threadpoolctl's, which from version 3.8 on it lets nobody else set, is none."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=3, user_api="blas"):
        with one_blas_thread() as held:
            assert held
            assert own.get_num_threads() == 1
        assert own.get_num_threads() == 3


def test_by_threadpoolctl_blas_is_held_only_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "openblas", lambda: None)
    monkeypatch.setattr(threads._Blas, "libraries", None)
    from threadpoolctl import ThreadpoolController, threadpool_limits

    found = ThreadpoolController().select(user_api="blas").lib_controllers
    with threadpool_limits(limits=2, user_api="blas"):  # from version 3.8 on nobody else may set it
        before = number_of(found)
        with ThreadPoolExecutor(1) as other, one_blas_thread() as held:
            assert other.submit(number_of, found).result() == number_of(found)
            assert held is (set(number_of(found)) == {1})
        assert number_of(found) == before
        assert not threads._Blas.users


@pytest.mark.parametrize(
    ("own", "others", "held"),
    [
        (Blas(), None, True),
        (Blas(1, threads="none"), None, True),
        (Blas(heeds=False), None, False),
        (Blas(threads="openmp"), None, False),
        (None, None, False),
        (None, [], False),
        (None, [Blas(4), Blas(2)], True),
        (None, [Blas(4), Blas(2, heeds=False)], False),
    ],
)
def test_every_blas_is_held_by_what_can(
    own: Blas | None, others: list[Blas] | None, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads._Blas, "libraries", None)
    monkeypatch.setattr(threads, "openblas", lambda: own)
    for each in others or []:
        monkeypatch.setattr(each, "user_api", "blas", raising=False)
    other = SimpleNamespace(ThreadpoolController=lambda: Found(*others or []))
    monkeypatch.setitem(sys.modules, "threadpoolctl", None if others is None else other)
    libraries = [own] if own else others or []
    before = number_of(libraries)
    for _ in range(2):
        with one_blas_thread() as found:
            assert found is held
            assert number_of(libraries) == ([1] * len(libraries) if held else before)
        assert number_of(libraries) == before
    assert not threads._Blas.users


@pytest.mark.parametrize("layer", ["openmp", "pthreads"])
def test_an_openblas_that_only_threadpoolctl_finds(
    layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On OpenMP a limit is the calling thread's alone, though threadpoolctl sets it."""
    monkeypatch.setattr(threads._Blas, "libraries", None)
    monkeypatch.setattr(threads, "openblas", lambda: None)
    blas = Blas()
    for name, value in (("user_api", "blas"), ("internal_api", "openblas")):
        monkeypatch.setattr(blas, name, value, raising=False)
    monkeypatch.setattr(blas, "threading_layer", layer, raising=False)
    made = SimpleNamespace(ThreadpoolController=lambda: Found(blas))
    monkeypatch.setitem(sys.modules, "threadpoolctl", made)
    with one_blas_thread() as held:
        assert held is (layer == "pthreads")


def test_the_least_that_a_user_wants_is_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    blas = Blas(8)
    monkeypatch.setattr(threads._Blas, "libraries", [blas])
    with threads.blas_threads(16) as held:
        assert (held, blas.number) == (True, 8)  # never more than there were
    with threads.blas_threads(4):
        assert blas.number == 4
        with one_blas_thread():
            assert blas.number == 1
            with threads.blas_threads(2) as held:
                assert (held, blas.number) == (True, 1)
        assert blas.number == 4
    assert blas.number == 8


@pytest.mark.parametrize("at", range(4))
def test_an_interrupt_leaves_blas_as_it_was(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come before or after BLAS is set, on the way in and on the way out."""
    calls: list[int] = []

    class Interrupted(Blas):
        def set_num_threads(self, n: int) -> None:
            calls.append(n)
            if len(calls) == at // 2 + 1:
                if at % 2:
                    self.number = n
                raise KeyboardInterrupt
            self.number = n

    blas = Interrupted()
    monkeypatch.setattr(threads._Blas, "libraries", [blas])
    with pytest.raises(KeyboardInterrupt), one_blas_thread():
        pass
    if at == 2:  # interrupted as it gave back: the next user does
        assert blas.number == 1
        with one_blas_thread():
            assert blas.number == 1
    assert blas.number == 4
    with one_blas_thread() as held:
        assert held
    assert (blas.number, threads._Blas.before, len(threads._Blas.users)) == (4, [], 0)


@posix
def test_a_child_that_is_forked_while_blas_is_held_has_all_of_it() -> None:
    code = """
import os, warnings
import numpy
from numpy_bert.kernels import threads  # before what it imports later, whose locks a fork holds
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads
with ThreadPoolExecutor(1) as pool:
    pool.submit(int).result()
def blas():
    return [library.get_num_threads() for library in threads._libraries()]
for library in threads._libraries():
    library.set_num_threads(2)
before = blas()
with threads.one_blas_thread() as held, threads._sharing():
    assert threads.free_threads() == 1
    child = os.fork()
    if not child:
        left = blas() != before or bool(threads._Blas.users) or threads.free_threads() != 2
        os._exit(int(left))
print(held, os.waitpid(child, 0)[1])
"""
    assert child(code, NUMPY_BERT_NUM_THREADS="2").stdout == "True 0\n"


def test_shares_are_worked_on_at_the_same_time_and_not_shared_again() -> None:
    set_num_threads(2)
    together = threading.Barrier(2, timeout=120)
    free: list[int] = []

    def work(item: int) -> int:
        together.wait()
        free.append(free_threads())
        return item * item

    assert free_threads() == 2
    assert sorted(share(work, [2, 3])) == [4, 9]
    assert free == [1, 1]
    assert free_threads() == 2
    assert share(lambda _: free_threads(), [0]) == [2]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_after_an_error_no_share_is_begun(error: type[BaseException]) -> None:
    """A batch of thousands of texts is some hundred shares, and Ctrl-C is not to wait for them."""
    set_num_threads(2)
    together, failed = threading.Barrier(2, timeout=120), threading.Event()
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        together.wait()
        if item == 0:
            failed.set()
            raise error
        assert failed.wait(timeout=120)
        time.sleep(0.02)

    with pytest.raises(error):
        share(work, range(100))
    assert sorted(begun) == [0, 1]


def test_an_error_in_a_share_is_raised_whatever_it_is() -> None:
    set_num_threads(2)

    def fail(item: int) -> None:
        raise IndexError(item)

    with pytest.raises(IndexError):
        share(fail, [1, 2])
    assert free_threads() == 2


def test_items_are_worked_on_at_the_same_time() -> None:
    set_num_threads(2)
    together = threading.Barrier(2, timeout=120)
    work_off(range(4), lambda _: together.wait())  # passes only when two are there


def test_beside_numpys_openblas_it_takes_no_threadpoolctl(monkeypatch: pytest.MonkeyPatch) -> None:
    own = openblas()
    if own is None or own.threads == "openmp":
        pytest.skip(f"{PLATFORM}: NumPy on OpenBLAS")
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    monkeypatch.setattr(threads._Blas, "libraries", None)
    set_num_threads(2)
    together = threading.Barrier(2, timeout=120)
    held: list[int] = []

    def meet(_: int) -> None:
        together.wait()
        held.append(own.get_num_threads())

    before = own.get_num_threads()
    own.set_num_threads(2)
    work_off(range(4), meet)
    assert held == [1] * 4
    assert own.get_num_threads() == 2
    own.set_num_threads(before)


def test_one_item_or_one_thread_touches_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "one_blas_thread", None)
    monkeypatch.setattr(threads, "in_threads", None)
    done: list[int] = []
    set_num_threads(2)
    work_off([5], done.append)
    work_off([], done.append)
    set_num_threads(1)
    work_off([6, 7], done.append)
    assert done == [5, 6, 7]


def test_where_blas_cannot_be_held_one_thread_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def not_held() -> Iterator[bool]:
        yield False

    monkeypatch.setattr(threads, "one_blas_thread", not_held)
    set_num_threads(3)
    seen: list[tuple[int, int]] = []
    work_off(range(20), lambda _: seen.append((threading.get_ident(), threads.free_threads())))
    assert seen == [(threading.get_ident(), 3)] * 20  # and threads share what is in each


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_error_stops_all_threads(error: Any) -> None:
    set_num_threads(2)
    done: list[int] = []
    lock = threading.Lock()

    def fail(item: int) -> None:
        with lock:
            done.append(item)
        if item == 5:
            raise error
        if item > 5:
            time.sleep(0.001)  # all of it would take 100 seconds

    with pytest.raises(error):
        work_off(range(100_000), fail)
    assert len(done) < 50_000


def test_an_error_of_the_plan_is_raised() -> None:
    set_num_threads(2)

    def items() -> Iterator[int]:
        yield from range(3)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work_off(items(), lambda _: None)
