"""Services as processes of their own, for bench_serve.py: ours, and the same on torch."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench_machine import resident

__all__ = ["Server", "held_to_core", "ours", "rival"]

RIVAL = Path(__file__).parent / "service_on_torch.py"


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
        return resident(name, self.pid)


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
    return [sys.executable, str(RIVAL), model, "--port", "0", *(["--batch"] if batch else [])]
