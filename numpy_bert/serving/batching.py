"""The queue of a service: requests put together by tokens, computed in one thread, given back.

Nothing here knows of HTTP. A request is a `Job`: texts that are tokenized, and what is to be done
with them. Jobs that want the same are computed together, up to a number of tokens; one that is
larger than that is computed piece by piece, and others have their turn between two pieces.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol

import numpy as np

from numpy_bert.arguments import as_count, is_number
from numpy_bert.arrays import Array
from numpy_bert.errors import InputError
from numpy_bert.messages import must_be
from numpy_bert.reprs import short_repr
from numpy_bert.text.ids import Tokenized

__all__ = [
    "Batcher",
    "ClosedError",
    "Compute",
    "FullError",
    "Job",
    "LateError",
    "Limits",
    "Observer",
]

# What is done with the texts of a batch: all of them, and what their jobs want.
Compute = Callable[[Sequence[Tokenized], Hashable], Array]

# After how many full batches one counts half in the rate.
_HALF_LIFE = 16
_LONGEST_ADVICE = 60  # seconds


class FullError(Exception):
    """The queue takes no more; `seconds` says when to come again."""

    def __init__(self, why: str, seconds: int) -> None:
        super().__init__(why)
        self.seconds = seconds


class LateError(Exception):
    """A job has waited longer than it may."""


class ClosedError(Exception):
    """The queue takes nothing any more: the service ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a service takes at most.

    Attributes
    ----------
    body : int
        Bytes of a request's body.
    texts, tokens : int
        Texts and tokens of a request.
    batch_tokens : int
        Tokens that are computed together.
    queue_tokens, queue_requests : int
        Tokens, and requests, that wait or are computed.
    timeout : float
        Seconds that a request may wait in the queue, or take to arrive.

    Raises
    ------
    InputError
        If one of them is no number from 1, or a request's tokens are more than the queue's.

    Examples
    --------
    >>> Limits(texts=32).texts
    32
    >>> Limits(timeout=0)
    Traceback (most recent call last):
    numpy_bert.errors.InputError: timeout must be a number of seconds above 0; got 0.
    """

    body: int = 4 << 20
    texts: int = 2048
    tokens: int = 300_000
    batch_tokens: int = 4096
    queue_tokens: int = 1 << 19
    queue_requests: int = 512
    timeout: float = 60.0

    def __post_init__(self) -> None:
        for name in ("body", "texts", "batch_tokens", "queue_tokens", "queue_requests"):
            as_count(name, getattr(self, name))
        as_count("tokens", self.tokens)
        if self.tokens > self.queue_tokens:
            raise InputError(
                f"tokens must be at most queue_tokens, or a request of so many never has room; got "
                f"{self.tokens:,} and {self.queue_tokens:,}."
            )
        if not is_number(self.timeout) or self.timeout <= 0:
            raise InputError(must_be("timeout", "a number of seconds above 0", self.timeout))


class Observer(Protocol):
    """Who is told what happens in the queue; called by several threads."""

    def batch(self, jobs: int, texts: int, tokens: int, seconds: float) -> None:
        """Hear that a batch was computed."""

    def begun(self, waited: float) -> None:
        """Hear that a job's turn has come."""


@dataclass(slots=True, eq=False, kw_only=True)
class Job:
    """A request in the queue.

    Attributes
    ----------
    items : list of Tokenized
        Its texts.
    wish : hashable
        What is to be done with them; only jobs of the same wish are computed together.
    future : Future
        Where the rows come, one for each text, in one array; or an exception. Only the thread of
        the queue sets it.
    deadline : float
        When, by `time.monotonic`, its turn must have come.
    """

    __repr__ = short_repr

    items: Sequence[Tokenized]
    wish: Hashable
    deadline: float = math.inf
    future: Future[Array] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)
    tokens: int = field(init=False)
    rest: int = field(init=False)
    done: int = field(init=False, default=0)
    rows: list[Array] = field(init=False, default_factory=list)
    is_left: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.tokens = self.rest = sum(item.length for item in self.items)

    def leave(self) -> None:
        """Say that nobody waits for it any more: what is not computed yet need not be."""
        self.is_left = True

    def take(self, room: int, whole: int) -> Sequence[Tokenized]:
        """Take the texts that are computed next: all, or of a job larger than `whole` a piece."""
        rest = self.items[self.done :]
        sums = list(accumulate(item.length for item in rest))
        if self.tokens <= whole:
            taken = rest if sums[-1] <= room else []
        else:
            most = sum(tokens <= room for tokens in sums)
            taken = rest[: max(most, 1 if room == whole else 0)]
        self.done += len(taken)
        return taken

    def finish(self) -> None:
        """Give the rows to whoever waits for them."""
        self.future.set_result(self.rows[0] if len(self.rows) == 1 else np.concatenate(self.rows))


class Batcher:
    """The queue, and the thread that works it off.

    Parameters
    ----------
    compute : callable
        It returns a row for each text of a batch.
    limits : Limits
        What is taken at most.
    observer : Observer, optional
        Who is told of batches.

    Examples
    --------
    >>> from numpy_bert import SentenceEncoder
    >>> encoder = SentenceEncoder("demo")
    >>> batcher = Batcher(lambda items, wish: encoder.encode_tokenized(items), Limits())
    >>> job = Job(items=encoder.tokenized(["a test", "another"]), wish=None)
    >>> batcher.submit(job)
    >>> job.future.result().shape
    (2, 384)
    >>> batcher.close()
    """

    def __init__(self, compute: Compute, limits: Limits, observer: Observer | None = None) -> None:
        self._compute, self._limits, self._observer = compute, limits, observer
        self._jobs = deque[Job]()  # those that wait for their turn, or for the next
        self._live = set[Job]()  # and those that are being computed
        self._change = threading.Condition(threading.RLock())
        self._tokens = 0
        self._computed = 0
        self._counted = self._seconds = 0.0
        self._is_closed = False
        # It ends with the process, too: the last batch of a service that is killed is nobody's.
        self._thread = threading.Thread(target=self._work, name="numpy_bert batches", daemon=True)
        self._thread.start()

    @property
    def tokens(self) -> int:
        """How many tokens wait or are computed, those of pieces that are done left out."""
        return self._tokens

    @property
    def requests(self) -> int:
        """How many jobs wait or are computed."""
        return len(self._live)

    def submit(self, job: Job) -> None:
        """Put a job into the queue.

        Raises
        ------
        FullError
            If it has no room.
        ClosedError
            After `close`.
        """
        with self._change:
            if self._is_closed:
                raise ClosedError("the service ends")
            why = self._refusal(job)
            if why:
                raise FullError(why, self.advice())
            self._tokens += job.tokens
            self._live.add(job)
            self._jobs.append(job)
            self._change.notify()

    def advice(self) -> int:
        """Return after how many seconds about half of the queue should be done."""
        with self._change:
            seconds = self._seconds_left() / 2
        return min(max(math.ceil(seconds), 1), _LONGEST_ADVICE)

    @property
    def is_alive(self) -> bool:
        """Whether jobs are computed: until `close`, or until something broke the thread."""
        return self._thread.is_alive() and not self._is_closed

    def close(self) -> None:
        """Take no more jobs, finish the batch that is computed, and let go of the rest."""
        with self._change:
            self._is_closed = True
            self._change.notify()
        self._thread.join()

    def _refusal(self, job: Job) -> str:
        """Say why there is no room for a job; "" where there is."""
        limits = self._limits
        if len(self._live) >= limits.queue_requests:
            return "requests"
        if self._tokens + job.tokens > limits.queue_tokens:
            return "tokens"
        # It would be refused then anyway, and have waited for nothing.
        return "time" if self._seconds_left() > job.deadline - time.monotonic() else ""

    def _seconds_left(self) -> float:
        """Return in how many seconds a new job has its turn; 0 before that can be told."""
        # The first small batch, for which the weights were read, says nothing.
        whole = self._limits.batch_tokens
        if self._counted < whole:
            return 0.0
        # Of a large job a new one waits for a piece, not for all.
        before = self._computed + sum(min(job.rest, whole) for job in self._jobs)
        return before * self._seconds / self._counted

    def _time(self, tokens: int, seconds: float) -> None:
        """Count a batch in how long a token takes."""
        kept = 0.5 ** (tokens / (_HALF_LIFE * self._limits.batch_tokens))
        self._counted = self._counted * kept + tokens
        self._seconds = self._seconds * kept + seconds

    def _work(self) -> None:
        """Compute batches until the queue is closed; whatever happens, no job waits for ever."""
        try:
            while True:
                with self._change:
                    self._change.wait_for(lambda: self._jobs or self._is_closed)
                    if self._is_closed:
                        return
                    parts = self._next()
                if parts:
                    self._run(parts)
                with self._change:
                    self._computed = 0
                    # What is left of a larger one waits behind those that came meanwhile.
                    self._jobs.extend(job for job, _ in parts if job in self._live)
        finally:
            with self._change:
                self._is_closed = True
                self._jobs.clear()
                for job in list(self._live):
                    self._let_go(job)
                    job.future.set_exception(ClosedError("the service ends"))

    def _next(self) -> list[tuple[Job, Sequence[Tokenized]]]:
        """Take the jobs, or pieces of them, that are computed together, in the queue's order."""
        whole = room = self._limits.batch_tokens
        parts: list[tuple[Job, Sequence[Tokenized]]] = []
        others, now = deque[Job](), time.monotonic()
        # Wherever they stand: what nobody waits for keeps nobody out.
        self._jobs = deque(job for job in self._jobs if not self._is_gone(job, now))
        while self._jobs:
            job = self._jobs.popleft()
            if parts and job.wish != parts[0][0].wish:
                others.append(job)
                continue
            is_new = job.done == 0
            taken = job.take(room, whole)
            if not taken and not parts:  # one that is no larger than a batch, and has its room
                taken = job.take(whole, whole)
            if not taken:
                others.append(job)
                break
            if is_new and self._observer is not None:
                self._observer.begun(now - job.arrived)
            parts.append((job, taken))
            room -= sum(item.length for item in taken)
            self._computed = whole - room
        self._jobs.extendleft(reversed(others))
        return parts

    def _is_gone(self, job: Job, now: float) -> bool:
        """Tell whether a job is not to be computed, and let go of it."""
        is_late = job.done == 0 and now > job.deadline
        if not (job.is_left or is_late):
            return False
        self._let_go(job)
        job.future.set_exception(LateError("waited too long, or nobody waits for it"))
        return True

    def _run(self, parts: list[tuple[Job, Sequence[Tokenized]]]) -> None:
        """Compute a batch, and give each job its rows."""
        items = [item for _, taken in parts for item in taken]
        tokens = sum(item.length for item in items)
        start = time.perf_counter()
        try:
            rows = self._compute(items, parts[0][0].wish)
        except Exception as failure:  # noqa: BLE001 - whatever it is, somebody waits for an answer
            self._share(parts, failure)
            return
        seconds = time.perf_counter() - start
        self._time(tokens, seconds)
        if self._observer is not None:
            self._observer.batch(len(parts), len(items), tokens, seconds)
        place = 0
        for job, taken in parts:
            stop = place + len(taken)
            with self._change:
                done = sum(item.length for item in taken)
                job.rest -= done
                self._tokens -= done
            job.rows.append(np.array(rows[place:stop]))
            if job.done == len(job.items):
                self._let_go(job)
                job.finish()
            place = stop

    def _share(self, parts: list[tuple[Job, Sequence[Tokenized]]], failure: Exception) -> None:
        """Compute each job of a failed batch by itself, so that one does not fail the others."""
        if len(parts) > 1:
            for part in parts:
                self._run([part])
            return
        job = parts[0][0]
        self._let_go(job)
        job.future.set_exception(failure)

    def _let_go(self, job: Job) -> None:
        """Count out what is left of a job."""
        with self._change:
            self._tokens -= job.rest
            self._live.discard(job)
