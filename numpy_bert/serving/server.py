"""A server of our own: the model loaded, the port, slow clients, signals, and several processes."""

from __future__ import annotations

import contextlib
import logging
import math
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path
from typing import Any

from numpy_bert.encoding.cross_encoder import CrossEncoder
from numpy_bert.encoding.sentence_encoder import SentenceEncoder
from numpy_bert.errors import CheckpointError, NumpyBertError, OutputError
from numpy_bert.extras import optional
from numpy_bert.files import is_listed, read_json
from numpy_bert.kernels.threads import get_num_threads, set_num_threads
from numpy_bert.loading.cache import local_folder
from numpy_bert.loading.modules import MODULES, cross_encoder_settings
from numpy_bert.loading.sentence import find_sentence_model
from numpy_bert.messages import quoted
from numpy_bert.serving.app import KEY, create_app
from numpy_bert.serving.batching import Limits
from numpy_bert.serving.protocol import protocol

__all__ = ["Settings", "load_model", "serve"]

Note = Callable[[str], None]

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Idle connections are kept longer than by clients, which would else meet a closed one.
_KEEP_ALIVE = 75
_CONNECTIONS = 1000
_ENDING = 50
# Seconds after which the parent of workers looks whether it has been told to end.
_TICK = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `serve` is told.

    Attributes
    ----------
    model : str
        A folder, or a repository on the hub.
    name : str, optional
        What clients call it; by default its name on the hub, or its folder's.
    dtype, source
        How it is loaded, as `BertModel.from_pretrained` takes it.
    host, port
        Where the service listens; port 0 is one that the system chooses.
    threads : int, optional
        How many threads compute, in all processes; by default one for each processor.
    workers : int
        How many processes there are.
    limits, truncate, token_ids
        What `create_app` is given.
    """

    model: str
    name: str | None = None
    dtype: str = "float32"
    source: Mapping[str, Any] = field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = 8080
    threads: int | None = None
    workers: int = 1
    limits: Limits = field(default_factory=Limits)
    truncate: bool = False
    token_ids: bool = False

    @property
    def served_name(self) -> str:
        """What clients call the model; never a path of this machine."""
        if self.name is not None:
            return self.name
        folder = local_folder(self.model)
        return self.model if folder is None or self.model == "demo" else folder.resolve().name


def load_model(
    name: str, dtype: str = "float32", source: Mapping[str, Any] | None = None
) -> SentenceEncoder | CrossEncoder:
    """Load a sentence model or a cross-encoder, whichever its files say it is.

    Parameters
    ----------
    name, dtype : str
        The model, and what it computes in.
    source : mapping, optional
        Where it comes from: `revision`, `cache_dir`, `local_files_only` and `token`, as
        `numpy_bert.fetch` takes them.

    Examples
    --------
    >>> load_model("demo")
    SentenceEncoder(384 features, pooling mean, max_seq_length 512, float32)
    """
    folder = find_sentence_model(name, **(source or {}))
    if _is_cross_encoder(folder):
        return CrossEncoder(folder, dtype=dtype)
    return SentenceEncoder(folder, dtype=dtype)


def serve(settings: Settings, note: Note) -> int:
    """Serve a model until a signal ends it; return the exit status.

    Parameters
    ----------
    settings : Settings
        What is served, and where.
    note : callable
        Who is told where the service is, and what it takes.

    Raises
    ------
    OutputError
        If the port is taken, or the host is none of this machine.
    """
    optional("uvicorn", "serve", "A service")
    threads = settings.threads or get_num_threads()
    each = max(threads // settings.workers, 1)
    with _bound(settings.host, settings.port) as bound:
        # The tokenizer's own threads, which are made at its first batch.
        os.environ.setdefault("RAYON_NUM_THREADS", str(each))
        if settings.workers == 1:
            _run(settings, bound, each, lambda: _announce(settings, bound, note), note)
            return 0
        return _Workers(settings, bound, each, note).run()


def _is_cross_encoder(folder: Path) -> bool:
    """Tell whether a model's files are a cross-encoder's."""
    if cross_encoder_settings(folder, error=CheckpointError) is not None:
        return True
    if is_listed(folder / MODULES):
        return False
    stated = read_json(folder / "config.json", error=CheckpointError, finite=False)
    names = stated.get("architectures")
    kinds = names if isinstance(names, list) else []
    return any(str(kind).endswith("ForSequenceClassification") for kind in kinds)


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket that has its address and does not listen yet."""
    where = quoted(f"{host}:{port}")
    try:
        family, kind, protocol_, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as failure:
        reason = getattr(failure, "strerror", None) or failure
        raise OutputError(f"--host {where}: is no address of this machine ({reason}).") from None
    bound = socket.socket(family, kind, protocol_)
    try:
        if os.name == "posix":  # elsewhere it would let two services have the same port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, OverflowError) as failure:
        bound.close()
        reason = getattr(failure, "strerror", None) or failure
        raise OutputError(f"{where}: cannot be listened at ({reason}).") from None
    return bound


def _announce(settings: Settings, bound: socket.socket, note: Note) -> None:
    """Say where the service is, and what it takes."""
    limits = settings.limits
    host, port = bound.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    note(f"serving {quoted(settings.served_name)} at http://{shown}:{port} (Ctrl-C ends it).")
    note(
        f"a request may have {limits.texts:,} texts, {limits.tokens:,} tokens and {limits.body:,} "
        f"bytes, and wait for {limits.timeout:g} s; {limits.queue_tokens:,} tokens may wait."
    )
    if settings.host not in _LOOPBACK and not os.environ.get(KEY):
        note(f"warning: whoever reaches {quoted(host)} may use it; {KEY} sets a key.")


def _run(
    settings: Settings, bound: socket.socket, threads: int, ready: Callable[[], None], note: Note
) -> None:
    """Load the model, and serve it in this process until a signal comes."""
    import uvicorn

    set_num_threads(threads)
    encoder = load_model(settings.model, settings.dtype, settings.source)
    for line in encoder.notes:
        note(line)
    app = create_app(
        encoder,
        name=settings.served_name,
        limits=settings.limits,
        truncate=settings.truncate,
        token_ids=settings.token_ids,
    )
    # The first text reads the weights from the disk, which no client need wait for.
    if isinstance(encoder, CrossEncoder):
        encoder.predict(("a", "a"))
    else:
        encoder.encode("a")
    connections, service = _connections(), app.state.service
    told = (lambda: service.is_full, lambda: service.is_draining)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    config = uvicorn.Config(
        app,
        http=protocol(settings.limits.timeout, connections, *told),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        # Those that end are still counted for a moment.
        limit_concurrency=connections + _ENDING,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=math.ceil(settings.limits.timeout),
    )
    try:
        _server(config, service, ready).run(sockets=[bound])
    except OSError as failure:
        raise OutputError(f"The port cannot be listened at ({failure.strerror}).") from None


def _server(config: Any, service: Any, ready: Callable[[], None]) -> Any:
    """Return uvicorn's server, which drains at the first signal and ends at the second."""
    import uvicorn

    class Server(uvicorn.Server):  # type: ignore[misc]
        should_exit: bool

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready()

        def handle_exit(self, sig: int, frame: object) -> None:  # noqa: ARG002
            if sig == signal.SIGINT and multiprocessing.parent_process() is not None:
                return  # the terminal's Ctrl-C, of which the parent says it, too
            if self.should_exit:
                _die(sig)
            # Not kept for uvicorn, which would raise it anew when all is answered.
            self.should_exit = True
            service.drain()

    return Server(config)


def _die(number: int) -> None:
    """End at once by a signal."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def _connections() -> int:
    """Return how many connections may be open: fewer than the process may have files."""
    try:
        import resource
    except ImportError:  # not on Windows
        return _CONNECTIONS
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _CONNECTIONS if most < 0 else max(min(_CONNECTIONS, most - 100 - _ENDING), 10)


class _Workers:
    """Several processes that share a port, each with a model of its own."""

    def __init__(self, settings: Settings, bound: socket.socket, threads: int, note: Note) -> None:
        self._settings, self._bound, self._threads, self._note = settings, bound, threads, note
        self._context = multiprocessing.get_context("spawn")
        self._processes: dict[Any, connection.Connection] = {}
        self._is_ending = False

    def run(self) -> int:
        """Start them, start one anew that dies, and end them all at a signal."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self._end) for number in numbers}
        try:
            # The first alone: if the model has to be downloaded, or is wrong, once is enough.
            if not self._is_ready(self._start()):
                return self._failed()
            others = [self._start() for _ in range(self._settings.workers - 1)]
            if not all(list(map(self._is_ready, others))):
                return self._failed()
            _announce(self._settings, self._bound, self._note)
            for process in self._processes:
                self._note(f"worker {process.pid}: {self._threads} threads, {_memory(process.pid)}")
            return self._watch()
        finally:
            self._bound.close()
            if not self._is_ending:  # else they know, and a second signal would end them at once
                for process in self._processes:
                    process.terminate()
            for process in self._processes:
                process.join()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start(self) -> connection.Connection:
        """Start a process, and return the pipe by which it says that it is ready."""
        ours, theirs = self._context.Pipe()
        arguments = self._settings, self._bound, self._threads, theirs
        process = self._context.Process(target=_work, args=arguments)
        # What it inherits: the terminal's Ctrl-C must not break it off before it can say so.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        process.start()
        signal.signal(signal.SIGINT, before)
        theirs.close()
        self._processes[process] = ours
        if self._is_ending:  # since the signal was sent to the others
            process.terminate()
        return ours

    def _is_ready(self, pipe: connection.Connection) -> bool:
        """Wait until a process serves; raise what it has raised, if it does not."""
        while True:
            try:
                message = pipe.recv()
            except (EOFError, OSError):
                return False
            if message is None:
                return True
            if isinstance(message, NumpyBertError):
                raise message
            self._note(str(message))

    def _failed(self) -> int:
        """Return the status where a process did not come to serve."""
        return 0 if self._is_ending else 1

    def _watch(self) -> int:
        """Wait until all processes have ended; one that ends unasked is replaced."""
        status = 0
        while self._processes:
            ended = connection.wait([process.sentinel for process in self._processes], _TICK)
            if self._is_ending:  # else who connects would wait for a worker that never accepts
                self._bound.close()
            for process in [p for p in self._processes if p.sentinel in ended]:
                process.join()
                self._processes.pop(process).close()
                if self._is_ending:
                    # One that did not serve yet is ended by the signal itself.
                    status = status or int(process.exitcode not in (0, -signal.SIGTERM))
                    continue
                self._note(f"worker {process.pid} ended ({process.exitcode}); another one starts.")
                if not (self._is_ready(self._start()) or self._is_ending):
                    return 1
        return status

    def _end(self, number: int, _: object) -> None:
        """End the processes: at the first signal when they have answered, at the second at once."""
        is_second, self._is_ending = self._is_ending, True
        for process in list(self._processes):
            with contextlib.suppress(ProcessLookupError, TypeError):  # it has ended, or not begun
                os.kill(process.pid, signal.SIGKILL if is_second else signal.SIGTERM)
        if is_second:
            _die(number)


def _work(
    settings: Settings, bound: socket.socket, threads: int, pipe: connection.Connection
) -> None:
    """Serve in a process of several."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C; the parent says it
    threading.Thread(target=_outlive, args=(pipe,), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        try:
            _run(settings, bound, threads, lambda: pipe.send(None), pipe.send)
        except NumpyBertError as failure:
            pipe.send(failure)


def _outlive(pipe: connection.Connection) -> None:
    """End when the parent is gone, however it went."""
    with contextlib.suppress(EOFError, OSError):
        pipe.recv()
    signal.raise_signal(signal.SIGTERM)


def _memory(number: int) -> str:
    """Say how much memory a process has, and how much of it others may share."""
    try:
        lines = Path(f"/proc/{number}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        shared = sizes["Shared_Clean"] + sizes["Shared_Dirty"]
    except (OSError, LookupError, ValueError):
        return "memory not known on this system"
    return f"{sizes['Rss'] / 1e6:.0f} MB of memory, {shared / 1e6:.0f} MB of it shared"
