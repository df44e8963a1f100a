"""Clients that cost little, for bench_serve.py: bytes that are ready, on connections kept open."""

from __future__ import annotations

import asyncio
import json
import select
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any, NamedTuple

__all__ = [
    "Answer",
    "Load",
    "ask",
    "embedding_request",
    "get",
    "post",
    "read_answer",
    "together",
    "watch",
]

HOST = "127.0.0.1"


class Answer(NamedTuple):
    """An answer by HTTP: the status, headers by their names in lower case, and the body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return what the body says."""
        return json.loads(self.body)


def post(path: str, value: object, **headers: str) -> bytes:
    """Return the bytes of a request with a JSON body, or with bytes as they are."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    fields = {
        "Host": "localhost",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {text}" for name, text in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def get(path: str) -> bytes:
    """Return the bytes of a request without a body."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def embedding_request(texts: str | Sequence[str], model: str) -> bytes:
    """Return a request of the vectors of texts in base64, as the openai client makes it."""
    given = texts if isinstance(texts, str) else list(texts)
    return post("/v1/embeddings", {"input": given, "model": model, "encoding_format": "base64"})


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read one answer; IncompleteReadError if the connection ends before it does."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    fields = [line.split(":", 1) for line in lines]
    headers = {name.strip().lower(): text.strip() for name, text in fields}
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Answer(int(first.split()[1]), headers, body)


async def ask(port: int, request: bytes) -> Answer:
    """Send one request on a connection of its own, and return the answer."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(request)
        return await read_answer(reader)
    finally:
        writer.close()


@dataclass
class Load:
    """What some clients got: seconds of each good answer, statuses, and what had no answer."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    elapsed: float = 0.0

    def quantile(self, part: float) -> float:
        """Return the time in which this part of the good answers came, in milliseconds."""
        ordered = sorted(self.seconds)
        place = min(int(part * len(ordered)), len(ordered) - 1)
        return 1e3 * ordered[place] if ordered else float("nan")

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return len(self.seconds) / self.elapsed


async def together(
    port: int,
    requests: Sequence[bytes],
    *,
    clients: int,
    seconds: float = float("inf"),
    most: int | None = None,
    pause: float = 0.0,
    check: Callable[[int, Answer], str | None] | None = None,
) -> Load:
    """Let clients ask in turn what there is to ask, each with one request at a time.

    Parameters
    ----------
    port : int
        Where the service listens.
    requests : sequence of bytes
        What is asked, one after another by whoever is free, and from the start again.
    clients : int
        How many ask at the same time.
    seconds, most
        When they stop: no request begins after so many seconds, or after so many in all.
    pause : float
        Seconds that a client waits between an answer and its next request.
    check : callable, optional
        Gets a request's place and its answer; what it returns, if anything, is counted as wrong.
    """
    load, number = Load(), 0
    start = time.perf_counter()

    async def client() -> None:
        nonlocal number
        reader, writer = await asyncio.open_connection(HOST, port)
        while time.perf_counter() - start < seconds and (most is None or number < most):
            place, number = number % len(requests), number + 1
            sent = time.perf_counter()
            try:
                writer.write(requests[place])
                answer = await read_answer(reader)
            except (OSError, asyncio.IncompleteReadError):
                load.wrong["no answer"] += 1
                reader, writer = await asyncio.open_connection(HOST, port)
                continue
            load.statuses[answer.status] += 1
            if answer.status == 200:
                load.seconds.append(time.perf_counter() - sent)
            if check is not None and (complaint := check(place, answer)):
                load.wrong[complaint] += 1
            if answer.headers.get("connection") == "close":
                writer.close()
                reader, writer = await asyncio.open_connection(HOST, port)
            if pause:
                await asyncio.sleep(pause)
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    load.elapsed = time.perf_counter() - start
    return load


def watch(port: int) -> None:
    """Ask for /health until standard input ends; then write the seconds and statuses as JSON.

    It is a process of its own, so that what its fellows do is not in the times.
    """
    seconds, statuses = list[float](), list[str]()
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0.02)[0]:
        start = time.perf_counter()
        connection = HTTPConnection(HOST, port, timeout=10)
        try:
            connection.request("GET", "/health")
            answer = connection.getresponse()
            answer.read()
            statuses.append(str(answer.status))
        except OSError as failure:
            statuses.append(type(failure).__name__)
        finally:
            connection.close()
        seconds.append(time.perf_counter() - start)
    print(json.dumps([seconds, statuses]))


if __name__ == "__main__":
    watch(int(sys.argv[1]))
