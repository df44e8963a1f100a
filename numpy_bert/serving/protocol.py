"""Connections of our own server: slow clients end, what comes is read in turns, answers go whole.

uvicorn reads whatever has come from all clients before it looks for more. Under far more requests
than can be computed these are hundreds, and who asks for /health would wait for all of them several
times: to be connected, to be read, and to be answered. Here what clients send waits in a lane, of
which a little is read in each turn of the loop, and a request for /health goes past it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

__all__ = ["protocol"]

# Most seconds between two looks at a connection. One that has not sent a whole head at two of them,
# or not read its answer for the time that a request may take, is closed.
_LOOK = 10.0
# Seconds for which clients are read in a turn of the loop.
_TURN = 0.001
# Seconds between two such turns while the service is full. Whoever is refused is told to come again
# in a second or more, and may as well hear it a little later: what is computed has the processor.
_REST = 0.01
# What a client sends that is read at once.
_HEALTH = b"GET /health "
# Bytes after which no more is taken from a client before these are read.
_MUCH = 64 << 10


def protocol(
    patience: float,
    most: int,
    is_full: Callable[[], bool],
    is_ending: Callable[[], bool],
) -> type[Any]:
    """Return uvicorn's protocol, whose connections end where their client is too slow.

    uvicorn itself waits for ever for the rest of a request's head, for the end of a body that is
    not wanted any more, and for a client to read its answer.

    Parameters
    ----------
    patience : float
        For how many seconds an answer may lie unread, and at most a head take to come.
    most : int
        How many connections there may be. Of more the oldest that asks for nothing ends, so that
        who only connects keeps nobody out.
    is_full : callable
        Whether the service refuses whatever is to be computed; between two turns it rests then.
    is_ending : callable
        Whether the service ends, and its clients are told so that they send no more.
    """
    from uvicorn.protocols.http import h11_impl

    h11 = h11_impl.h11
    known = {"head": h11.Response, "done": h11.DONE, "is_ending": staticmethod(is_ending)}
    parser = type("Parser", (_Whole, h11.Connection), known)
    settings = {
        "patience": patience,
        "look": min(_LOOK, patience / 2),
        "most": most,
        "lane": _Lane(is_full),
        "parser": parser,
    }
    return type("Protocol", (_Impatient, h11_impl.H11Protocol), settings)


class _Whole:
    """What is laid over h11's connection: the head of an answer goes out with what follows it.

    To send is what costs most of a short answer, and uvicorn does it twice. Who has sent a whole
    request when the service ends is told in the answer that its connection ends, too; else it might
    send the next one just when that is closed, and hear nothing.
    """

    head: type[Any]
    done: Any
    is_ending: Callable[[], bool]
    their_state: Any  # h11's
    _held = b""

    def send(self, event: Any) -> bytes | None:
        if isinstance(event, self.head) and self.their_state is self.done and self.is_ending():
            headers = [*event.headers, (b"connection", b"close")]
            event = self.head(status_code=event.status_code, headers=headers, reason=event.reason)
        data: bytes | None = super().send(event)  # type: ignore[misc]
        if isinstance(event, self.head):
            self._held = data or b""
            return b""
        if data is None or not self._held:
            return data
        whole, self._held = self._held + data, b""
        return whole


class _Lane:
    """The connections whose client has sent something that is not read yet, the first first."""

    def __init__(self, is_full: Callable[[], bool]) -> None:
        self._is_full = is_full
        self._waiting = deque[_Impatient]()

    def join(self, one: _Impatient) -> None:
        """Read what a client has sent when its turn comes."""
        self._waiting.append(one)
        if len(self._waiting) == 1:
            one.loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Read for a short time, at least what one client has sent."""
        loop = self._waiting[0].loop
        end = loop.time() + _TURN
        try:
            while True:
                self._waiting.popleft().read()
                if not self._waiting or loop.time() > end:
                    break
        finally:
            if self._waiting:
                loop.call_later(_REST if self._is_full() else 0, self._turn)


class _Impatient:
    """What is laid over uvicorn's protocol, whose attributes it reads."""

    patience: float
    look: float
    most: int
    lane: _Lane
    parser: type[Any]
    # Of uvicorn's.
    conn: Any
    connections: set[Any]
    cycle: Any
    flow: Any
    loop: Any
    timeout_keep_alive: float
    timeout_keep_alive_handler: Callable[[], None]
    timeout_keep_alive_task: Any
    transport: Any
    _unset_keepalive_if_required: Callable[[], None]

    _timer: Any = None
    _idle_at: Any = None
    _unread = 0.0
    _number = 0  # of a connection, in the order in which they were made
    _numbers = count()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.conn = self.parser(self.conn.our_role)
        self._sent = bytearray()  # what waits in the lane

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)  # type: ignore[misc]
        with suppress(AttributeError):  # uvloop's has none
            transport.max_size = _MUCH  # asyncio's would read four times as much at a time
        self._number = next(self._numbers)
        self._make_room()
        self._timer = self.loop.call_later(self.look, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)  # type: ignore[misc]

    def data_received(self, data: bytes) -> None:
        if data.startswith(_HEALTH) and not self._sent:
            super().data_received(data)  # type: ignore[misc]
            return
        self._unset_keepalive_if_required()
        if not self._sent:
            self.lane.join(self)
        self._sent += data
        if len(self._sent) > _MUCH:
            self.flow.pause_reading()

    def eof_received(self) -> bool:
        self.read()
        if self._is_busy():  # it gets what can be answered at once
            self.loop.call_soon(self.transport.close)
        return self._is_busy()

    def read(self) -> None:
        """Read what the client has sent, if it is still there."""
        data, self._sent = self._sent, bytearray()
        if not data or self.transport.is_closing():
            return
        self.flow.resume_reading()  # what is read pauses it again where it has to
        is_rest = self._takes_the_rest()
        try:
            super().data_received(data)  # type: ignore[misc]
        except BaseException:
            self.transport.abort()  # as the loop does
            raise
        is_over = is_rest and not (self._is_busy() or self._takes_the_rest())
        if is_over and not self.conn.trailing_data[0]:  # nothing of a next request has come
            # It is kept as after an answer, of which uvicorn does not think here.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        self.cycle.body = bytearray()  # what of a body nobody wanted to read
        super().on_response_complete()  # type: ignore[misc]

    def shutdown(self) -> None:
        self.read()  # so that it is answered, too
        super().shutdown()  # type: ignore[misc]

    def _takes_the_rest(self) -> bool:
        """Tell whether a body is still coming of which the request has been answered."""
        is_answered = self.cycle is not None and self.cycle.response_complete
        return is_answered and self.conn.our_state is not self.conn.their_state

    def _is_busy(self) -> bool:
        """Tell whether a request has come whose answer has not been sent."""
        return bool(self._sent) or (self.cycle is not None and not self.cycle.response_complete)

    def _make_room(self) -> None:
        """Close the oldest connection that asks for nothing, where there are too many."""
        if len(self.connections) <= self.most:
            return
        alive = [one for one in self.connections if not one.transport.is_closing()]
        idle = [one for one in alive if not (one is self or one._is_busy())]
        if len(alive) > self.most and idle:
            min(idle, key=lambda one: one._number).transport.abort()

    def _look(self) -> None:
        """Close the connection if its client is too slow; else look again later."""
        is_kept = self.timeout_keep_alive_task is not None
        # Neither answered nor kept: it waits for the rest of what the client sends.
        waits_for = None if self._is_busy() or is_kept else (self.cycle or self)
        self._unread = self._unread + self.look if self.transport.get_write_buffer_size() else 0.0
        is_stuck = waits_for is not None and waits_for is self._idle_at
        self._idle_at = waits_for
        if is_stuck or self._unread > self.patience:
            self.transport.abort()
            return
        self._timer = self.loop.call_later(self.look, self._look)
