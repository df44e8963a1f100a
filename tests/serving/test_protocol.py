"""The connections of a server: who is read when, and how answers are sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from numpy_bert.serving import protocol as module
from numpy_bert.serving.protocol import protocol

HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
PATIENCE = 60.0


def post(path: str, body: bytes = b"{}", more: str = "") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode()
        + body
    )


class Wire(asyncio.Transport):
    """What a connection sends by, which keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = list[bytes]()
        self.is_paused = self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if data and not self.is_closed:
            self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    abort = close


class Server:
    """An application that answers at once with the path, and connections to it."""

    def __init__(self, *, is_full: bool = False, is_ending: bool = False, most: int = 1000) -> None:
        self.asked = list[str]()
        self._config = uvicorn.Config(self._answer, interface="asgi3", log_config=None)
        self._kind = protocol(PATIENCE, most, lambda: is_full, lambda: is_ending)
        self._state = ServerState()

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        if scope["path"] == "/read":
            await receive()
        body = scope["path"].encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def make(self) -> Any:
        """Return a connection that has no wire yet."""
        return self._kind(self._config, self._state, {})

    def connect(self) -> tuple[Any, Wire]:
        """Return a connection and its wire."""
        made, wire = self.make(), Wire()
        made.connection_made(wire)
        return made, wire


async def passes(count: int) -> None:
    """Let the loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("is_full", [False, True])
def test_health_is_answered_before_those_who_came_first(
    is_full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TURN", -1.0)  # one client in each turn

    async def run() -> None:
        server = Server(is_full=is_full)
        others = [server.connect() for _ in range(30)]
        for number, (one, _) in enumerate(others):
            one.data_received(post(f"/{number}"))
        probe, wire = server.connect()
        probe.data_received(HEALTH)
        await passes(3)
        assert len(wire.written) == 1
        assert "/health" in server.asked[:2]
        await until(lambda: others[-1][1].written)
        server.asked.remove("/health")
        assert server.asked == [f"/{number}" for number in range(30)]

    asyncio.run(run())


def test_health_comes_behind_what_its_own_client_sent_before() -> None:
    async def run() -> None:
        server = Server()
        one, wire = server.connect()
        one.data_received(post("/first"))
        one.data_received(HEALTH)
        await until(lambda: len(wire.written) == 2)
        assert server.asked == ["/first", "/health"]

    asyncio.run(run())


class Clock:
    """A loop in which to look at the time takes a second, and that keeps who is called when."""

    def __init__(self) -> None:
        self._now, self.calls = 0, list[tuple[float, Callable[[], None]]]()

    def time(self) -> float:
        self._now += 1
        return self._now

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.calls.append((0, callback))

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.calls.append((delay, callback))


def test_turns_rest_while_the_service_is_full() -> None:
    clock, read, is_full = Clock(), list[int](), [False, True, True, False]

    class Client:
        loop = clock

        def __init__(self, number: int) -> None:
            self.read = lambda: read.append(number)

    lane = module._Lane(lambda: is_full[len(read)])
    for number in range(4):
        lane.join(Client(number))  # type: ignore[arg-type]
    delays = []
    for expected in range(4):
        delay, turn = clock.calls.pop()
        assert not clock.calls
        delays.append(delay)
        turn()
        assert read == list(range(expected + 1))
    assert delays == [0, module._REST, module._REST, 0]
    assert not clock.calls  # nobody waits
    lane.join(Client(0))  # type: ignore[arg-type]
    assert [delay for delay, _ in clock.calls] == [0]


def test_an_answer_is_sent_in_one_piece() -> None:
    async def run() -> None:
        one, wire = Server().connect()
        for path in ("/a", "/read"):  # on the same connection
            one.data_received(post(path))
            await until(lambda: wire.written)
            (whole,) = wire.written
            assert whole.startswith(b"HTTP/1.1 200 OK\r\n")
            assert whole.endswith(b"\r\n\r\n" + path.encode())
            wire.written.clear()

    asyncio.run(run())


@pytest.mark.parametrize("request_", [HEALTH, post("/read")])
def test_who_is_answered_at_the_end_is_told_of_it(request_: bytes) -> None:
    async def run() -> None:
        one, wire = Server(is_ending=True).connect()
        one.data_received(request_)
        await until(lambda: wire.is_closed)
        (answer,) = wire.written
        assert b"\r\nconnection: close\r\n" in answer

    asyncio.run(run())


def test_who_is_answered_at_the_end_before_it_has_sent_all_may_send_the_rest() -> None:
    """To close would lose the answer where something comes that nobody reads."""

    async def run() -> None:
        one, wire = Server(is_ending=True).connect()
        one.data_received(post("/a")[:-1])
        await until(lambda: wire.written)
        await passes(5)
        assert not wire.is_closed

    asyncio.run(run())


def test_who_asks_before_it_sends_is_told_at_once_to_go_on() -> None:
    async def run() -> None:
        one, wire = Server().connect()
        one.data_received(post("/read", b"{}", "Expect: 100-continue\r\n")[:-2])
        await until(lambda: wire.written)
        assert wire.written[0].startswith(b"HTTP/1.1 100 ")
        one.data_received(b"{}")
        await until(lambda: len(wire.written) == 2)
        assert wire.written[1].endswith(b"/read")

    asyncio.run(run())


def test_a_connection_that_cannot_be_read_ends_alone() -> None:
    async def run() -> None:
        failures = list[Any]()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
        server = Server()
        (bad, bad_wire), (good, wire) = server.connect(), server.connect()
        bad.conn.receive_data = None
        bad.data_received(post("/bad"))
        good.data_received(post("/good"))
        await until(lambda: wire.written)
        assert (server.asked, bad_wire.is_closed, wire.is_closed) == (["/good"], True, False)
        assert [type(failure) for failure in failures] == [TypeError]

    asyncio.run(run())


@pytest.mark.parametrize("later", [0, 1])
def test_who_has_ended_its_side_gets_what_can_be_answered_at_once(later: int) -> None:
    async def run() -> None:
        one, wire = Server().connect()
        one.data_received(post("/a"))
        await passes(later)
        assert one.eof_received()  # the connection stays for a moment
        await until(lambda: wire.is_closed)
        assert len(wire.written) == 1
        other, _ = Server().connect()
        assert not other.eof_received()

    asyncio.run(run())


def test_no_more_is_taken_from_a_client_before_it_is_read() -> None:
    async def run() -> None:
        one, wire = Server().connect()
        one.data_received(post("/read", b" " * 70_000)[:-10])
        assert wire.is_paused
        await until(lambda: wire.written)
        assert not wire.is_paused

    asyncio.run(run())


def test_no_more_is_read_at_a_time_than_is_held_of_a_client() -> None:
    async def run() -> None:
        server, sizes = Server(), list[int]()

        def made() -> Any:
            one = server.make()
            one.data_received = lambda data: sizes.append(len(data))
            return one

        loop = asyncio.get_running_loop()
        async with await loop.create_server(made, "127.0.0.1", 0) as listening:
            _, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
            writer.write(post("/a", b" " * 1_000_000))
            await until(lambda: sum(sizes) > 1_000_000)
            writer.close()
        assert max(sizes) <= 64 << 10

    asyncio.run(run())


def test_what_waits_at_the_end_is_answered_and_who_left_is_not() -> None:
    async def run() -> None:
        server = Server()
        (stays, wire), (leaves, _) = server.connect(), server.connect()
        for one in (leaves, stays):
            one.data_received(post("/a"))
        leaves.transport.close()
        leaves.connection_lost(None)
        stays.shutdown()
        assert not wire.is_closed
        await until(lambda: wire.is_closed)
        await passes(5)
        assert len(wire.written) == 1
        assert server.asked == ["/a"]

    asyncio.run(run())


def test_the_rest_of_a_body_that_is_not_wanted_is_taken_all_the_same() -> None:
    async def run() -> None:
        server = Server()
        one, wire = server.connect()
        one.data_received(post("/a", b" " * 200_000)[:-190_000])
        await until(lambda: wire.written)
        for size in (70_000, 70_000, 50_000):
            one.data_received(b" " * size)
            await passes(5)
            assert not wire.is_paused
            assert not one.cycle.body  # which would be held as long as the connection
        assert one.timeout_keep_alive_task is not None  # it may stay as long as after any answer
        one.data_received(post("/b"))
        await until(lambda: len(wire.written) == 2)
        assert server.asked == ["/a", "/b"]

    asyncio.run(run())


def test_who_begins_a_request_behind_an_unwanted_body_is_not_idle() -> None:
    async def run() -> None:
        one, wire = Server().connect()
        one.data_received(post("/a", b" " * 100)[:-100])
        await until(lambda: wire.written)
        one.data_received(b" " * 100 + b"POST /b")
        await passes(5)
        assert not one._sent
        assert one.timeout_keep_alive_task is None

    asyncio.run(run())


def test_a_connection_that_waits_to_be_read_is_not_idle() -> None:
    async def run() -> None:
        server = Server(most=2)
        (one, wire), (_, silent) = server.connect(), server.connect()
        one.data_received(post("/a"))
        server.connect()  # one too many
        assert (wire.is_closed, silent.is_closed) == (False, True)
        await until(lambda: wire.written)
        assert one.timeout_keep_alive_task is not None
        one.data_received(post("/b"))
        assert one.timeout_keep_alive_task is None
        await until(lambda: len(wire.written) == 2)

    asyncio.run(run())
