"""How long a download goes on: tries and waits, the slowest line, another process's lock.

One policy for whole files and for ranges, a frozen value, read from the environment when a revision
is resolved.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from threading import Thread
from typing import TypeVar

from numpy_bert.errors import HubError, InputError
from numpy_bert.messages import must_be, quoted

__all__ = ["Patience", "TooSlowError", "Tries", "begun", "locked", "paced", "wait_asked_for"]

T = TypeVar("T")
_Number = TypeVar("_Number", int, float)
# What passes by itself, by name: httpx and httpx2 have no common base for it.
_PASSING = {"TimeoutException", "NetworkError", "RemoteProtocolError", "TooSlowError"}
# What says that there is no way to the hub at all.
_NO_WAY = {"ConnectError", "ConnectTimeout"}
# The client's own default for both of its timeouts, which 0 stands for as well.
_TIMEOUT = 10
# Eleven days in seconds; the system's own clocks end at 24 days.
_MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a download goes on.

    Attributes
    ----------
    tries : int
        How often a request is made before a passing failure is an error: a connection that is cut
        or silent, a line that is too slow, an answer of status 408, 429 or 5xx.
        NUMPY_BERT_FETCH_TRIES.
    longest_wait : float
        The most seconds between two tries: 1, 2, 4, ..., or what the hub asks for. Where it asks
        for more, that is an error at once. NUMPY_BERT_FETCH_LONGEST_WAIT.
    lowest_speed, speed_window : float
        How many bytes a second must come, over how many seconds of waiting for them; 0 for any.
        NUMPY_BERT_FETCH_LOWEST_SPEED, NUMPY_BERT_FETCH_SPEED_WINDOW.
    message_after : float
        A wait of so many seconds is announced. NUMPY_BERT_FETCH_MESSAGE_AFTER.
    lock_wait : float
        The most seconds that another download's lock is waited for. NUMPY_BERT_FETCH_LOCK_WAIT.
    answer_timeout, read_timeout : float
        The most seconds of silence: before an answer that is no file, and within a file. The
        headers of an answer have `speed_window` more to come.
        HF_HUB_ETAG_TIMEOUT, HF_HUB_DOWNLOAD_TIMEOUT.

    Examples
    --------
    >>> Patience().wait(3), Patience(longest_wait=3.0).wait(3)
    (4.0, 3.0)
    """

    tries: int = 5
    longest_wait: float = 60.0
    lowest_speed: float = 1000.0
    speed_window: float = 30.0
    message_after: float = 10.0
    lock_wait: float = 1800.0
    answer_timeout: float = float(_TIMEOUT)
    read_timeout: float = float(_TIMEOUT)

    @classmethod
    def from_environment(cls) -> Patience:
        """Return what the environment variables say; raise InputError at a bad one."""
        names = ("longest_wait", "lowest_speed", "speed_window", "message_after", "lock_wait")
        numbers = {
            name: value
            for name in names
            if (value := _stated(f"NUMPY_BERT_FETCH_{name.upper()}", float)) is not None
        }
        return cls(
            tries=_stated("NUMPY_BERT_FETCH_TRIES", int, least=1) or cls().tries,
            answer_timeout=_stated("HF_HUB_ETAG_TIMEOUT", int) or _TIMEOUT,
            read_timeout=_stated("HF_HUB_DOWNLOAD_TIMEOUT", int) or _TIMEOUT,
            **numbers,
        )

    def wait(self, failures: int) -> float:
        """Return the seconds before the next try where the hub asks for none."""
        return float(min(2 ** min(failures - 1, 30), self.longest_wait))


class TooSlowError(Exception):
    """What comes is less than the lowest speed."""


class Tries:
    """The tries of one request.

    Parameters
    ----------
    patience : Patience
        How many there are.
    what : str
        What messages call that which is asked for.
    reached : bool
        Whether the hub has answered before. If it has not, and cannot be reached, that is an error
        at once: there is no network, and nobody wants to wait to be told so.
    """

    def __init__(self, patience: Patience, what: str, *, reached: bool = True) -> None:
        self._patience = patience
        self._what = what
        self._reached = reached
        self._failures = 0

    def again(self, failure: Exception, gained: int = 0) -> bool:
        """Wait for the next try and return True; False if a failure will not pass, or was the last.

        `gained` is the number of bytes that the try brought and that need not come again. Where
        they are what a window must bring, the tries begin anew.
        """
        if gained and gained >= self._patience.lowest_speed * self._patience.speed_window:
            self._failures = 0
        self._failures += 1
        if self._failures >= self._patience.tries or not self._is_passing(failure):
            return False
        wait = self._wait(failure)
        if wait >= self._patience.message_after:
            warnings.warn(
                f"{self._what}: {_outcome(failure)}. It is asked for again in {wait:.0f} seconds.",
                stacklevel=2,
            )
        time.sleep(wait)
        return True

    def _is_passing(self, failure: Exception) -> bool:
        """Tell whether the next try may go well."""
        names = {base.__name__ for base in type(failure).__mro__}
        if names & _NO_WAY and not self._reached:
            return False
        return _status(failure) in (408, 429) or _status(failure) >= 500 or bool(names & _PASSING)

    def _wait(self, failure: Exception) -> float:
        """Return the seconds before the next try; raise HubError where the hub asks for more."""
        headers = getattr(getattr(failure, "response", None), "headers", {})
        asked = wait_asked_for(headers)
        if asked is None:
            return self._patience.wait(self._failures)
        seconds, said = asked
        if seconds > self._patience.longest_wait:
            raise HubError(
                f"{self._what}: {_outcome(failure)} and asks to be left alone for longer "
                f"({quoted(said)}) than the {self._patience.longest_wait:g} seconds that are "
                "waited. Try again later, or set NUMPY_BERT_FETCH_LONGEST_WAIT."
            )
        return max(seconds, self._patience.wait(self._failures))


def wait_asked_for(headers: Mapping[str, str]) -> tuple[float, str] | None:
    """Return the seconds that an answer asks to wait, and its words; None if it does not ask.

    Examples
    --------
    >>> wait_asked_for({"Retry-After": "120"})
    (120.0, 'Retry-After: 120')
    >>> date = "Wed, 21 Oct 2015 07:28:00 GMT"
    >>> wait_asked_for({"Retry-After": date, "Date": "Wed, 21 Oct 2015 07:27:50 GMT"})
    (10.0, 'Retry-After: Wed, 21 Oct 2015 07:28:00 GMT')
    >>> wait_asked_for({"RateLimit": '"api";r=0;t=55'})
    (55.0, 'RateLimit: "api";r=0;t=55')

    References
    ----------
    .. [1] RFC 9110, section 10.2.3, "Retry-After".
    .. [2] draft-ietf-httpapi-ratelimit-headers, which the hub sends.
    """
    found = {key.lower(): value.strip() for key, value in headers.items()}
    after = found.get("retry-after", "")
    if re.fullmatch("[0-9]+", after):
        return float(after), f"Retry-After: {after}"
    if (then := _seconds(after)) is not None:
        now = _seconds(found.get("date", ""))
        return max(then - (time.time() if now is None else now), 0.0), f"Retry-After: {after}"
    limit = found.get("ratelimit", "")
    left = re.search(r"\br=0\s*;\s*t=([0-9]+)", limit)
    return (float(left[1]), f"RateLimit: {limit}") if left else None


def begun(ask: Callable[[], T], patience: Patience, timeout: float) -> T:
    """Return what a request returns once its headers have come; TooSlowError where they drip.

    Each byte of them ends a silence of `timeout`, so that is no bound of theirs. The request has a
    thread of its own, which is left behind where it is given up, and ends with the process.
    """
    if not patience.lowest_speed:
        return ask()
    found: Future[T] = Future()

    def run() -> None:
        try:
            found.set_result(ask())
        except BaseException as failure:  # noqa: BLE001 it is raised where it is waited for
            found.set_exception(failure)

    Thread(target=run, daemon=True).start()
    limit = timeout + patience.speed_window
    try:
        return found.result(limit)
    except TimeoutError:
        if found.done():  # it is the request's own
            raise
        raise TooSlowError(f"no answer had begun after {limit:.3g} seconds") from None


def paced(blocks: Iterable[bytes], patience: Patience) -> Iterator[bytes]:
    """Yield the blocks of an answer; raise TooSlowError where too few bytes come in too long.

    Only the time that blocks are waited for counts, not what is done with them.
    """
    waited, came = 0.0, 0
    blocks = iter(blocks)
    while True:
        started = time.monotonic()
        block = next(blocks, None)
        if block is None:
            return
        waited += time.monotonic() - started
        came += len(block)
        if waited >= patience.speed_window:
            if came < patience.lowest_speed * waited:
                raise TooSlowError(
                    f"{came:,} bytes came in {waited:.3g} seconds; at least "
                    f"{patience.lowest_speed:g} a second must. NUMPY_BERT_FETCH_LOWEST_SPEED sets "
                    "another limit, 0 none"
                )
            waited, came = 0.0, 0
        yield block


@contextlib.contextmanager
def locked(path: Path, patience: Patience, what: str) -> Iterator[None]:
    """Hold the lock by which the hub's client, too, keeps two downloads of a file apart.

    Raises
    ------
    HubError
        If another download has it for too long.
    """
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    path.parent.mkdir(parents=True, exist_ok=True)
    silent = min(patience.message_after, patience.lock_wait)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(WeakFileLock(path, timeout=max(silent, 0.01)))
        except TimeoutError:
            warnings.warn(
                f"{what}: another download of it has the lock {quoted(path)}. It is waited for, "
                f"{patience.lock_wait:g} seconds at most (NUMPY_BERT_FETCH_LOCK_WAIT).",
                stacklevel=4,
            )
            try:
                rest = max(patience.lock_wait - silent, 0.01)
                held.enter_context(WeakFileLock(path, timeout=rest))
            except TimeoutError:
                raise HubError(
                    f"{what}: another process has had the lock {quoted(path)} for "
                    f"{patience.lock_wait:g} seconds. If it still downloads, wait for it, or set "
                    "NUMPY_BERT_FETCH_LOCK_WAIT; if there is none, remove the lock."
                ) from None
        yield


def _outcome(failure: Exception) -> str:
    """Return what became of a try, for a message."""
    if status := _status(failure):
        return f"the hub answered with status {status}"
    return f"the connection broke ({quoted(str(failure) or type(failure).__name__)})"


def _status(failure: Exception) -> int:
    """Return the status of the answer that a failure is about, 0 if there was none."""
    return int(getattr(getattr(failure, "response", None), "status_code", 0))


def _seconds(date: str) -> float | None:
    """Return an HTTP date as seconds since 1970, None if it is none."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def _stated(variable: str, kind: type[_Number], least: int = 0) -> _Number | None:
    """Return the number that an environment variable says, None if it is unset."""
    text = os.environ.get(variable)
    # An empty one of ours is as good as none; the hub's client refuses one of its own.
    if text is None or (not text and variable.startswith("NUMPY_BERT_")):
        return None
    with contextlib.suppress(ValueError):
        value = kind(text)
        if least <= value <= _MOST:
            return value
    wanted = f"{'a whole number' if kind is int else 'a number'} from {least} to {_MOST:,}"
    raise InputError(must_be(f"the environment variable {variable}", wanted, text))
