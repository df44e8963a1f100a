"""A real server: where it listens, how it ends, and clients that are slow."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import CrossEncoder, SentenceEncoder
from numpy_bert.cli import main
from numpy_bert.serving.protocol import protocol
from numpy_bert.serving.server import Settings, _memory, _Workers, load_model
from tests.support.platforms import linux

PATIENCE = 60.0
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")
# What takes the built-in model a second or more.
LARGE = {"input": ["word " * 400] * 100}


def post(port: int, asked: Any, path: str = "/v1/embeddings") -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", json.dumps(asked).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


def get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as answer:
        return str(answer.read().decode())


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def in_this_process(
    monkeypatch: pytest.MonkeyPatch, options: list[str], visit: Callable[[int], None]
) -> tuple[int, list[str]]:
    """Run the command here, and `visit` in a thread; a signal ends it, as it ends a process."""
    notes, failures, ready = list[str](), list[BaseException](), threading.Event()

    def note(text: str) -> None:
        notes.append(text)
        if ADDRESS.search(text):
            ready.set()

    def come() -> None:
        try:
            assert ready.wait(PATIENCE)
            found = ADDRESS.search("\n".join(notes))
            assert found is not None
            visit(int(found[1]))
        except BaseException as failure:  # noqa: BLE001
            failures.append(failure)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("numpy_bert.cli.serve.note", note)
    monkeypatch.setenv("RAYON_NUM_THREADS", "1")  # which the command would set, and leave
    visitor = threading.Thread(target=come)
    visitor.start()
    try:
        status = main(["serve", "--model", "demo", "--port", "0", *options])
    finally:
        visitor.join(PATIENCE)
    assert not failures, failures
    return status, notes


def test_it_serves_until_a_signal_comes(
    monkeypatch: pytest.MonkeyPatch, encoder: SentenceEncoder, threads: None
) -> None:
    found: dict[str, Any] = {}

    def visit(port: int) -> None:
        found["answer"] = post(port, {"input": "a test"})
        found["health"] = get(port, "/health")

    options = ["--threads", "1", "--name", "mine", "--max-texts", "7", "--timeout", "9"]
    status, notes = in_this_process(monkeypatch, options, visit)
    assert status == 0
    assert re.fullmatch(r"serving mine at http://127.0.0.1:\d+ \(Ctrl-C ends it\).", notes[0])
    assert notes[1].startswith("a request may have 7 texts, 300,000 tokens and 4,194,304 bytes")
    assert len(notes) == 2
    assert found["health"] == ""
    assert found["answer"]["model"] == "mine"
    vector = np.array(found["answer"]["data"][0]["embedding"], np.float32)
    np.testing.assert_array_equal(vector, encoder.encode("a test"))


def test_what_is_asked_before_the_signal_is_answered(
    monkeypatch: pytest.MonkeyPatch, threads: None
) -> None:
    answers: list[Any] = []
    asking: list[threading.Thread] = []

    def visit(port: int) -> None:
        ask = threading.Thread(target=lambda: answers.append(post(port, LARGE)))
        asking.append(ask)
        ask.start()
        until(lambda: "numpy_bert_queue_requests 1.0" in get(port, "/metrics"))

    status, _ = in_this_process(monkeypatch, ["--threads", "1"], visit)
    asking[0].join(PATIENCE)
    assert status == 0
    assert len(answers[0]["data"]) == 100


def test_connections_are_told_whether_the_service_is_full_or_ends(
    monkeypatch: pytest.MonkeyPatch, threads: None
) -> None:
    told = list[Callable[[], bool]]()

    def made(patience: float, most: int, *functions: Callable[[], bool]) -> type[Any]:
        told.extend(functions)
        return protocol(patience, most, *functions)

    monkeypatch.setattr("numpy_bert.serving.server.protocol", made)

    def visit(port: int) -> None:
        is_full, is_ending = told
        assert (is_full(), is_ending()) == (False, False)
        ask = threading.Thread(target=post, args=(port, LARGE))
        ask.start()
        until(is_full)
        ask.join(PATIENCE)
        assert not is_full()

    in_this_process(monkeypatch, ["--threads", "1", "--queue-requests", "1"], visit)
    assert told[1]()


def test_slow_clients_are_not_waited_for(monkeypatch: pytest.MonkeyPatch, threads: None) -> None:
    heads = (b"", b"POST /embed HTTP/1.1\r\nHost: a\r\n", b"half a line")
    body = b"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{"
    found: dict[bytes, bytes] = {}

    def visit(port: int) -> None:
        connections = {
            sent: socket.create_connection(("127.0.0.1", port), PATIENCE) for sent in (*heads, body)
        }
        for sent, connection in connections.items():
            connection.sendall(sent)
        for sent, connection in connections.items():
            with closing(connection), connection.makefile("rb") as answer:
                try:
                    found[sent] = answer.readline()
                except ConnectionResetError:
                    found[sent] = b""
        found[b"a good one"] = get(port, "/health").encode()

    in_this_process(monkeypatch, ["--timeout", "0.3"], visit)
    assert found[body].startswith(b"HTTP/1.1 408 ")
    assert [found[sent] for sent in heads] == [b"", b"", b""]
    assert found[b"a good one"] == b""


def test_a_client_that_ends_its_side_is_answered(
    monkeypatch: pytest.MonkeyPatch, threads: None
) -> None:
    found = list[bytes]()

    def visit(port: int) -> None:
        for _ in range(5):
            with closing(socket.create_connection(("127.0.0.1", port), PATIENCE)) as connection:
                connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n")
                connection.shutdown(socket.SHUT_WR)
                found.append(connection.makefile("rb").read())

    in_this_process(monkeypatch, [], visit)
    assert all(answer.startswith(b"HTTP/1.1 200 OK\r\n") for answer in found)


def test_the_end_does_not_wait_for_half_a_body(
    monkeypatch: pytest.MonkeyPatch, threads: None
) -> None:
    opened, begun = list[socket.socket](), list[float]()
    monkeypatch.setattr("numpy_bert.serving.app._HURRY", 0.1)

    def visit(port: int) -> None:
        half = socket.create_connection(("127.0.0.1", port), PATIENCE)
        opened.append(half)
        half.sendall(b"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{")
        until(lambda: "numpy_bert_held_bytes 1.0" in get(port, "/metrics"))

        begun.append(time.monotonic())

    assert in_this_process(monkeypatch, ["--timeout", "50"], visit)[0] == 0
    assert time.monotonic() - begun[0] < 20  # seconds; without a signal a body may take 30
    with closing(opened[0]), opened[0].makefile("rb") as answer:
        assert answer.readline() == b"HTTP/1.1 503 Service Unavailable\r\n"


def test_who_only_connects_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch, threads: None) -> None:
    monkeypatch.setattr("numpy_bert.serving.server._CONNECTIONS", 10)
    monkeypatch.setattr("numpy_bert.serving.server._ENDING", 2)
    found: list[str] = []

    def visit(port: int) -> None:
        with ExitStack() as stack:
            for _ in range(30):
                silent = socket.create_connection(("127.0.0.1", port), PATIENCE)
                stack.enter_context(closing(silent))
            found.append(get(port, "/health"))

    in_this_process(monkeypatch, [], visit)
    assert found == [""]


def test_a_port_that_is_taken_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--model", "demo", "--port", str(port)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"numpy-bert serve: error: 127.0.0.1:{port}: cannot be listened at (Address already in use"
    )


@pytest.mark.parametrize("host", ["300.1.1.1", "no.such.invalid", "192.0.2.1", "\udcff", "a" * 300])
def test_a_host_that_is_not_here_is_one_line(
    host: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    if host == "no.such.invalid":  # nobody is asked
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert main(["serve", "--model", "demo", "--port", "0", "--host", host]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("numpy-bert serve: error: ")


def test_beyond_loopback_a_key_is_advised(monkeypatch: pytest.MonkeyPatch, threads: None) -> None:
    notes = in_this_process(monkeypatch, [], lambda _: None)[1]
    assert not any("warning" in line for line in notes)
    monkeypatch.setattr("numpy_bert.serving.server._LOOPBACK", ())
    notes = in_this_process(monkeypatch, [], lambda _: None)[1]
    assert notes[-1].startswith("warning: whoever reaches 127.0.0.1 may use it")
    assert "NUMPY_BERT_API_KEY" in notes[-1]


def test_which_model_it_is_goes_by_its_files(reranker_folder: Path) -> None:
    assert isinstance(load_model("demo"), SentenceEncoder)
    assert isinstance(load_model(str(reranker_folder)), CrossEncoder)
    assert Settings(model=str(reranker_folder)).served_name == "reranker"  # no path of this machine
    assert Settings(model="demo").served_name == "demo"
    assert Settings(model="owner/model").served_name == "owner/model"


@contextmanager
def process(*options: str) -> Iterator[tuple[subprocess.Popen[str], int, list[str]]]:
    """Run the command as a process of its own; yield it, its port, and what it says."""
    command = [sys.executable, "-m", "numpy_bert", "serve", "--model", "demo", "--port", "0"]
    running = subprocess.Popen(
        [*command, *options], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert running.stderr is not None
    said = list[str]()
    try:
        for line in running.stderr:
            said.append(line)
            found = ADDRESS.search(line)
            if found:
                break
        assert found is not None, said
        reader = threading.Thread(target=said.extend, args=(iter(running.stderr),))
        reader.start()
        yield running, int(found[1]), said
        reader.join(PATIENCE)
    finally:
        running.kill()
        running.wait(PATIENCE)
        running.stderr.close()


@linux
@pytest.mark.slow
def test_a_second_signal_ends_it_at_once() -> None:
    with process("--threads", "1") as (running, port, _):
        thread = threading.Thread(target=ask_in_vain, args=(port,))
        thread.start()
        until(lambda: "numpy_bert_queue_requests 1.0" in get(port, "/metrics"))
        running.send_signal(signal.SIGTERM)
        until(lambda: not listens(port))
        running.send_signal(signal.SIGTERM)
        assert running.wait(PATIENCE) == -signal.SIGTERM
        thread.join(PATIENCE)


def ask_in_vain(port: int) -> None:
    """Ask what takes long, of a service that ends before."""
    with suppress(OSError):
        post(port, {"input": ["word " * 400] * 300})


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE).close()
    except OSError:
        return False
    return True


@linux
@pytest.mark.slow
def test_what_is_wrong_with_a_model_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text("{}")
    status = main(["serve", "--workers", "2", "--model", str(tmp_path), "--port", "0"])
    (line,) = capsys.readouterr().err.splitlines()
    assert status == 1
    assert line.startswith(f"numpy-bert serve: error: {tmp_path}: has neither model.safetensors")


@linux
def test_the_memory_of_a_process() -> None:
    assert re.fullmatch(r"\d+ MB of memory, \d+ MB of it shared", _memory(os.getpid()))
    assert _memory(2**22 + 1) == "memory not known on this system"


@linux
@pytest.mark.slow
def test_workers_share_a_port_and_are_replaced() -> None:
    with process("--workers", "2") as (running, port, said):
        until(lambda: sum("MB of it shared" in line for line in said) == 2)
        numbers = [int(n) for n in re.findall(r"worker (\d+): 1 threads", "".join(said))]
        assert len(numbers) == 2
        assert len(post(port, {"input": "a"})["data"]) == 1
        os.kill(numbers[0], signal.SIGKILL)
        until(lambda: any(f"worker {numbers[0]} ended (-9)" in line for line in said))
        assert len(post(port, {"input": "a"})["data"]) == 1
        running.send_signal(signal.SIGTERM)
        assert running.wait(PATIENCE) == 0
        until(lambda: not listens(port))
    with process("--workers", "2") as (running, port, said):
        until(lambda: sum("MB of it shared" in line for line in said) == 2)
        running.kill()
        until(lambda: not listens(port))  # none is left without its parent


def test_a_worker_that_begins_does_not_hear_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would break off with a traceback; it is the parent that ends it."""
    found: list[Any] = []

    class Begun:
        def __init__(self, **_: object) -> None: ...

        def start(self) -> None:
            found.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    with closing(socket.create_server(("127.0.0.1", 0))) as bound:
        workers = _Workers(Settings(model="demo"), bound, 1, found.append)
        monkeypatch.setattr(workers._context, "Process", Begun)
        workers._start().close()
    assert found == [signal.SIG_IGN]
    assert signal.getsignal(signal.SIGINT) is before


def worker_of(connection: http.client.HTTPConnection) -> float:
    """Return when the worker was started that has a connection."""
    connection.request("GET", "/metrics")
    found = re.search(
        r"^process_start_time_seconds (\S+)", connection.getresponse().read().decode(), re.M
    )
    assert found is not None
    return float(found[1])


@linux
@pytest.mark.slow
@pytest.mark.parametrize("is_terminal", [True, False], ids=["Ctrl-C", "SIGTERM"])
def test_workers_answer_what_was_asked(is_terminal: bool) -> None:
    """Ctrl-C comes to each process by the terminal, too; or a worker is being replaced."""
    with process("--workers", "2") as (running, port, said), ExitStack() as stack:
        until(lambda: sum("MB of it shared" in line for line in said) == 2)
        second = int(re.findall(r"worker (\d+):", "".join(said))[1])
        by_start: dict[float, http.client.HTTPConnection] = {}
        while len(by_start) < 2:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            by_start[worker_of(stack.enter_context(closing(connection)))] = connection
        asked = by_start[min(by_start)]  # of the first
        asked.request("POST", "/v1/embeddings", json.dumps({"input": ["word " * 400] * 300}))
        if is_terminal:
            until(lambda: "numpy_bert_queue_requests 1.0" in get(port, "/metrics"))
            os.killpg(running.pid, signal.SIGINT)
        else:
            os.kill(second, signal.SIGKILL)
            until(lambda: any("another one starts" in line for line in said))
            running.send_signal(signal.SIGTERM)
        until(lambda: not listens(port))
        assert running.poll() is None  # it works still, and nobody waits in vain for a worker
        answer = asked.getresponse()
        assert answer.status == 200
        assert len(json.load(answer)["data"]) == 300
        assert running.wait(PATIENCE) == 0
