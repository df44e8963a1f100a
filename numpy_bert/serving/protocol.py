"""Clients that are slow on purpose: their connections end, whatever uvicorn waits for."""

from __future__ import annotations

from itertools import count
from typing import Any

__all__ = ["protocol"]

# Most seconds between two looks at a connection. One that has not sent a whole head at two of them,
# or not read its answer for the time that a request may take, is closed.
_LOOK = 10.0


def protocol(patience: float, most: int) -> type[Any]:
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
    """
    from uvicorn.protocols.http.h11_impl import H11Protocol

    settings = {"patience": patience, "look": min(_LOOK, patience / 2), "most": most}
    return type("Protocol", (_Impatient, H11Protocol), settings)


class _Impatient:
    """What is laid over uvicorn's protocol, whose attributes it reads."""

    patience: float
    look: float
    most: int
    # Of uvicorn's.
    connections: set[Any]
    cycle: Any
    loop: Any
    timeout_keep_alive_task: Any
    transport: Any

    _timer: Any = None
    _idle_at: Any = None
    _unread = 0.0
    _number = 0  # of a connection, in the order in which they were made
    _numbers = count()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)  # type: ignore[misc]
        self._number = next(self._numbers)
        self._make_room()
        self._timer = self.loop.call_later(self.look, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)  # type: ignore[misc]

    def _is_busy(self) -> bool:
        """Tell whether a request has come whose answer has not been sent."""
        return self.cycle is not None and not self.cycle.response_complete

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
