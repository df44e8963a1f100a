"""What a hostile, broken or slow client sends to a service, and what it may get for it.

`bench_serve.py` prints what each got, and the tests hold a real process to it. Everything goes
through plain sockets, since no client's library would send it.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from typing import NamedTuple

from bench_clients import HOST, get, post

__all__ = ["ATTACKS", "MODEL", "Attack", "connected", "outcome"]

# What the service must call its model, so that nothing is refused for that.
MODEL = "demo"

# Bytes that a client may be ahead of a refusal: what the two sides' sockets hold.
MOST_SENT = 64 * 2**20
# Connections that are held open at once; a process may have 1,024 files by default.
SILENT = 500
_GOOD = {"input": "a test", "model": MODEL}
_JSON = {
    "no JSON": b"hello",
    "an empty body": b"",
    "half of an object": b'{"input": "a te',
    "two objects": json.dumps(_GOOD).encode() * 2,
    "a list": b'["a test"]',
    "null": b"null",
    "no UTF-8": b'{"input": "\xff\xfe", "model": "demo"}',
    "UTF-16": json.dumps(_GOOD).encode("utf-16"),
    "a key twice": b'{"input": "a", "input": "b", "model": "demo"}',
    "NaN": b'{"input": "a", "model": "demo", "dimensions": NaN}',
    "an infinite number": b'{"input": "a", "model": "demo", "dimensions": 1e999}',
    "a number of 5,000 digits": b'{"input": "a", "dimensions": ' + b"9" * 5000 + b"}",
    "lists 100,000 deep": b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "half a surrogate pair": b'{"input": "\\ud800", "model": "demo"}',
    "a text that is a number": b'{"input": 5, "model": "demo"}',
    "a text that is an object": b'{"input": {"a": "b"}, "model": "demo"}',
    "texts and numbers": b'{"input": ["a", 5], "model": "demo"}',
    "no texts": b'{"input": [], "model": "demo"}',
    "an empty text": b'{"input": "", "model": "demo"}',
    "an empty text among others": b'{"input": ["a", ""], "model": "demo"}',
    "dimensions 0": b'{"input": "a", "model": "demo", "dimensions": 0}',
    "dimensions true": b'{"input": "a", "model": "demo", "dimensions": true}',
    "too many dimensions": b'{"input": "a", "model": "demo", "dimensions": 100000}',
    "an unknown format": b'{"input": "a", "model": "demo", "encoding_format": "hex"}',
    "token ids": b'{"input": [101, 102], "model": "demo"}',
    "a million texts": json.dumps({"input": ["a"] * 1_000_000, "model": "demo"}).encode(),
}
_LINE = b"POST /v1/embeddings HTTP/1.1\r\n"
_HOST = b"Host: localhost\r\n"
# Each is answered by 400 or another refusal, or by the end of the connection.
_HTTP = {
    "no HTTP": b"hello\r\n\r\n",
    "zeros": bytes(4096),
    "the beginning of TLS": bytes.fromhex("160301020001000001fc0303") + bytes(500),
    "the beginning of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "a header without a colon": _LINE + _HOST + b"what\r\n\r\n",
    "a header of 1 MB": _LINE + _HOST + b"X: " + b"x" * 2**20 + b"\r\n\r\n",
    "100,000 headers": _LINE + _HOST + b"X: x\r\n" * 100_000 + b"\r\n",
    "a path of 1 MB": b"GET /" + b"x" * 2**20 + b" HTTP/1.1\r\n" + _HOST + b"\r\n",
    "a length that is no number": _LINE + _HOST + b"Content-Length: many\r\n\r\n",
    "a length below zero": _LINE + _HOST + b"Content-Length: -1\r\n\r\n",
    "two lengths": _LINE + _HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "a chunk of no size": _LINE + _HOST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n",
    "an unknown coding": _LINE + _HOST + b"Transfer-Encoding: brotli\r\n\r\n{}",
}
_ROUTES = {
    "GET for POST": (b"GET /v1/embeddings HTTP/1.1\r\n" + _HOST + b"\r\n", "405"),
    "an unknown method": (b"BREW /v1/embeddings HTTP/1.1\r\n" + _HOST + b"\r\n", "405"),
    "an unknown path": (get("/v1/completions"), "404"),
    "a path above the root": (get("/../../etc/passwd"), "404"),
    "a path of escapes": (get("/v1/models/%00%0d%0a%ff"), "404"),
}


class Attack(NamedTuple):
    """Something that is sent.

    Attributes
    ----------
    name : str
        What a table calls it.
    send : callable
        Gets the port, and seconds of patience; returns what came: the status, "closed" for a
        connection that ended without one, or "nothing".
    allowed : set of str
        What may come.
    is_slow : bool
        Whether the service's own patience has to end before it answers.
    """

    name: str
    send: Callable[[int, float], str]
    allowed: frozenset[str]
    is_slow: bool = False


def connected(port: int, patience: float) -> closing[socket.socket]:
    """Return a connection that is closed at the end of a block."""
    return closing(socket.create_connection((HOST, port), patience))


def outcome(connection: socket.socket, patience: float) -> str:
    """Read one answer and return its status, "closed", or "nothing" when the patience ends."""
    end, found = time.monotonic() + patience, b""
    while b"\r\n" not in found:
        connection.settimeout(max(end - time.monotonic(), 0.001))
        try:
            data = connection.recv(2**16)
        except TimeoutError:
            return "nothing"
        except OSError:
            return "closed"
        if not data:
            return "closed"
        found += data
    words = found.split(b" ", 2)
    return words[1].decode("latin-1") if len(words) > 1 else "no HTTP"


def _sent(data: bytes) -> Callable[[int, float], str]:
    """Return what sends these bytes at once and reads an answer."""

    def send(port: int, patience: float) -> str:
        with connected(port, patience) as connection:
            with suppress(OSError):  # refused before all was read; an answer may be there
                connection.sendall(data)
            return outcome(connection, patience)

    return send


def _dripped(data: bytes, tail: bytes) -> Callable[[int, float], str]:
    """Return what sends the first bytes at once and then one a tenth of a second, for ever."""

    def send(port: int, patience: float) -> str:
        end = time.monotonic() + patience
        with connected(port, patience) as connection:
            connection.sendall(data)
            while time.monotonic() < end:
                if select.select([connection], [], [], 0.1)[0]:
                    return outcome(connection, patience)
                try:
                    connection.sendall(tail)
                except OSError:
                    return outcome(connection, patience)
        return "nothing"

    return send


def _endless(port: int, patience: float) -> str:
    """Send chunks of a body until an answer comes."""
    chunk = b"10000\r\n" + b" " * 2**16 + b"\r\n"
    with connected(port, patience) as connection:
        connection.sendall(_LINE + _HOST + b"Transfer-Encoding: chunked\r\n\r\n")
        sent = 0
        while not select.select([connection], [], [], 0)[0]:
            if sent > MOST_SENT:
                return f"nothing after {sent / 1e6:.0f} MB"
            try:
                connection.sendall(chunk)
            except OSError:
                break
            sent += len(chunk)
        return outcome(connection, patience)


def _reset(port: int, patience: float) -> str:
    """Leave by a reset in the middle of a request, and after a whole one."""
    whole = post("/v1/embeddings", {**_GOOD, "input": ["a test of some words"] * 32})
    for data in (whole[:40], whole[:-9], whole):
        with connected(port, patience) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(data)
    return _sent(get("/health"))(port, patience)


def _half_closed(port: int, patience: float) -> str:
    """End the sending side in the middle of a body."""
    with connected(port, patience) as connection:
        connection.sendall(_LINE + _HOST + b"Content-Length: 1000\r\n\r\n{")
        connection.shutdown(socket.SHUT_WR)
        return outcome(connection, patience)


def _pipelined(port: int, patience: float) -> str:
    """Send two requests at once and read both answers, which must come in order."""
    with connected(port, patience) as connection:
        connection.sendall(get("/health") + get("/v1/nothing"))
        connection.settimeout(patience)
        found = b""
        while found.count(b"HTTP/1.1 ") < 2:
            data = connection.recv(2**16)
            if not data:
                return "closed"
            found += data
    return "+".join(part[:3].decode("latin-1") for part in found.split(b"HTTP/1.1 ")[1:])


def _unread(port: int, patience: float) -> str:
    """Ask for large answers on many connections and read none; then ask for the health."""
    asks = post("/v1/embeddings", {"input": ["a test"] * 64, "model": MODEL}) * 50
    with ExitStack() as stack:
        for _ in range(5):
            connection = stack.enter_context(connected(port, patience))
            connection.settimeout(0)
            with suppress(OSError):
                connection.send(asks)
        return _sent(get("/health"))(port, patience)


def _crowded(port: int, patience: float) -> str:
    """Hold many connections that say nothing; then ask for the health."""
    with ExitStack() as stack:
        for _ in range(SILENT):
            stack.enter_context(connected(port, patience))
        return _sent(get("/health"))(port, patience)


def _attacks() -> Iterator[Attack]:
    refused = frozenset({"400", "422"})
    for name, body in _JSON.items():
        allowed = refused | {"413"} if len(body) > 2**20 else refused
        yield Attack(name, _sent(post("/v1/embeddings", body)), allowed)
    ended = frozenset({"400", "404", "413", "414", "431", "501", "505", "closed"})
    for name, data in _HTTP.items():
        yield Attack(name, _sent(data), ended)
    for name, (data, status) in _ROUTES.items():
        yield Attack(name, _sent(data), frozenset({status}))
    announced = _LINE + _HOST + b"Content-Length: 1000000000\r\n\r\n" + b" " * 1000
    yield Attack("1 GB announced", _sent(announced), frozenset({"413"}))
    expects = _LINE + _HOST + b"Expect: 100-continue\r\nContent-Length: 1000000000\r\n\r\n"
    yield Attack("1 GB announced, asking first", _sent(expects), frozenset({"413"}))
    packed = post("/v1/embeddings", b"\x1f\x8b\x08" + bytes(99), Content_Encoding="gzip")
    yield Attack("a body that is packed", _sent(packed), frozenset({"400", "415"}))
    yield Attack("chunks without end", _endless, frozenset({"413"}))
    yield Attack("left by a reset", _reset, frozenset({"200"}))
    yield Attack("half closed in the body", _half_closed, frozenset({"400", "408", "closed"}))
    yield Attack("two requests at once", _pipelined, frozenset({"200+404"}))
    yield Attack("answers that nobody reads", _unread, frozenset({"200"}))
    yield Attack(f"{SILENT} silent connections", _crowded, frozenset({"200"}))
    length = b"Content-Length: 100000\r\n\r\n"
    slow = {
        "connected, silent": _sent(b""),
        "half a header, then silence": _sent(_LINE + _HOST),
        "a header, drop by drop": _dripped(_LINE + _HOST + b"X: ", b"x"),
        "half a body, then silence": _sent(_LINE + _HOST + length + b"{"),
        "a body, drop by drop": _dripped(_LINE + _HOST + length, b" "),
    }
    for name, send in slow.items():
        yield Attack(name, send, frozenset({"400", "408", "closed"}), is_slow=True)


ATTACKS = list(_attacks())
