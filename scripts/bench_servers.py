"""Services as processes of their own, for bench_serve.py: ours, and the same on torch.

Run as a program it is the rival: `/v1/embeddings` on sentence-transformers, as its users write it
with starlette and uvicorn. Without `--batch` each request is encoded in a thread by itself; with it
whatever waits is encoded together, as our service does.

    python scripts/bench_servers.py PATH_OF_MINILM --port 0 [--batch]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Server", "held_to_core", "ours", "rival"]

# Texts that the rival encodes together, sentence-transformers' own number.
BATCH = 32


class Server:
    """A service in a process of its own, which ends with the block that it is used in.

    Parameters
    ----------
    command : sequence of str
        What is run. It must write the address, as http://127.0.0.1:8080, when it can be asked.
    core : int, optional
        The processor that it is held to.
    environment : dict, optional
        Variables beside those of this process.

    Attributes
    ----------
    port : int
        Where it listens on this machine.
    pid : int
        Its process.
    lines : list of str
        What it has written so far.
    """

    port: int
    pid: int

    def __init__(
        self,
        command: Sequence[str],
        core: int | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.lines = list[str]()
        variables = {**os.environ, **(environment or {})}
        with held_to_core(core):  # which a child inherits
            self.process = subprocess.Popen(
                list(command),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env=variables,
            )
        self.pid = self.process.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._listens = threading.Event()
        self._reader.start()

    def _read(self) -> None:
        """Gather what it writes, until it ends."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            address = re.search(r"http://[^\s/]+:(\d+)", line)
            if address and not self._listens.is_set():
                self.port = int(address.group(1))
                self._listens.set()
        self._listens.set()

    def __enter__(self) -> Server:
        self._listens.wait(120)
        if not hasattr(self, "port"):
            self.__exit__()
            raise SystemExit("the service did not start:\n" + "".join(self.lines))
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def memory(self, name: str = "VmRSS") -> float:
        """Return its resident memory in MB, or with VmHWM the most that it ever was."""
        status = Path(f"/proc/{self.pid}/status").read_text("ascii", errors="replace")
        return int(status.split(f"{name}:")[1].split()[0]) * 1024 / 1e6


@contextmanager
def held_to_core(core: int | None) -> Iterator[None]:
    """Hold this process, and what it starts meanwhile, to one processor."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def ours(model: str, *options: str) -> list[str]:
    """Return the command of our service, on a port that the system gives."""
    command = [sys.executable, "-m", "numpy_bert", "serve", "--model", model, "--port", "0"]
    return [*command, *options]


def rival(model: str, *, batch: bool) -> list[str]:
    """Return the command of the service on sentence-transformers."""
    return [sys.executable, __file__, model, "--port", "0", *(["--batch"] if batch else [])]


def application(model: Any, *, batch: bool) -> Any:
    """Return the rival's ASGI application."""
    from contextlib import asynccontextmanager

    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    waiting = asyncio.Queue[tuple[list[str], asyncio.Future[Any]]]()

    def encode(texts: list[str]) -> Any:
        return model.encode(texts, batch_size=BATCH, show_progress_bar=False)

    async def work() -> None:
        """Encode together what waits, up to BATCH texts of whole requests."""
        while True:
            taken = [await waiting.get()]
            while not waiting.empty() and sum(len(texts) for texts, _ in taken) < BATCH:
                taken.append(waiting.get_nowait())
            vectors = await run_in_threadpool(encode, [text for one, _ in taken for text in one])
            for texts, future in taken:
                part, vectors = vectors[: len(texts)], vectors[len(texts) :]
                if not future.done():
                    future.set_result(part)

    async def embeddings(request: Any) -> Any:
        given = (await request.json())["input"]
        texts = [given] if isinstance(given, str) else given
        if batch:
            future = asyncio.get_running_loop().create_future()
            waiting.put_nowait((texts, future))
            vectors = await future
        else:
            vectors = await run_in_threadpool(encode, texts)
        rows = [
            {"object": "embedding", "index": i, "embedding": base64.b64encode(v.tobytes()).decode()}
            for i, v in enumerate(vectors)
        ]
        return JSONResponse({"object": "list", "data": rows})

    @asynccontextmanager
    async def lifespan(_: Any) -> Any:
        worker = asyncio.create_task(work())
        yield
        worker.cancel()

    routes = [Route("/v1/embeddings", embeddings, methods=["POST"])]
    return Starlette(routes=routes, lifespan=lifespan)


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", metavar="PATH_OF_MINILM")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--batch", action="store_true", help="encode together what waits")
    options = parser.parse_args()
    import torch
    import uvicorn
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    model = SentenceTransformer(options.checkpoint, device="cpu")
    model.encode(["warm"], show_progress_bar=False)
    app = application(model, batch=options.batch)
    # At this level uvicorn writes its address.
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="info", access_log=False)


if __name__ == "__main__":
    main()
