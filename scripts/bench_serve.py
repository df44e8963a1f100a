"""What `numpy-bert serve` does under load: the service on one core, its clients on another.

    pip install -e ".[serve,bench]"
    python scripts/bench_serve.py PATH_OF_MINILM [--only batch single overload hostile soak]

- batch: requests of 32 texts in base64, 4 at a time, in turn with bare `encode` of the same texts
  on the same core with one thread: the share of its rate that is left.
- single: one text a request, from 1, 8 and 64 clients: latencies and rates, in turn with the same
  service on sentence-transformers (service_on_torch.py), which encodes each request in a thread by
  itself, or what waits together.
- overload: far more requests than can be computed, from 100 and from 300 clients: what each got,
  and how soon /health answers.
- hostile: slow, broken, huge and malformed requests (hostile_requests.py), and what each got.
- soak: mixed load for --seconds, and the memory at the start, in the middle and at the end.

Everything is on the loopback interface of this machine, and ends by itself. The exit code is 1 if a
request was lost, or answered otherwise than it may be.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import bench_clients
import numpy as np
from bench_clients import Answer, Load, embedding_request, get, post, together
from bench_machine import print_machine
from bench_rivals import mixed_texts
from bench_servers import Server, held_to_core, ours, rival
from hostile_requests import ATTACKS, MODEL

__all__ = ["Health", "main", "overload", "soak"]

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
TEXTS_A_REQUEST = 32
AT_ONCE = 4
CLIENTS = (1, 8, 64)
# Clients of the overloads, each of which waits so many seconds after an answer.
CROWDS, PAUSE = (100, 300), 0.05
PARTS = ("batch", "single", "overload", "hostile", "soak")
# What clients call the model.
NAME = "minilm"
# A queue that is soon full, and patience that soon ends; a head that does not come is waited for
# 20 s at most.
SMALL = ("--queue-requests", "16")
IMPATIENT = ("--timeout", "3")
LONGEST = 30.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table for each part; return 1 if something went wrong that must not."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", metavar="PATH_OF_MINILM")
    parser.add_argument("--data", type=Path, default=DATA, help="the third-party test data")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement (20)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of batch and single (3)")
    parser.add_argument("--texts", type=int, default=600, help="texts of mixed lengths (600)")
    parser.add_argument("--without-rivals", action="store_true", help="measure numpy_bert alone")
    options = parser.parse_args(arguments)
    rivals = () if options.without_rivals else ("sentence-transformers", "torch")
    print_machine(*rivals, "starlette", "uvicorn")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("one processor alone: the clients' work is in all figures")
    texts = mixed_texts(options.data, options.texts)
    with held_to_core(cores[-1]):
        found = [PART[part](options, texts, cores[0]) for part in PARTS if part in options.only]
    return int(not all(found))


def service(options: argparse.Namespace, core: int, *more: str) -> Server:
    """Return our service, with one thread on a core."""
    return Server(ours(options.checkpoint, "--name", NAME, "--threads", "1", *more), core)


def heading(text: str) -> None:
    """Print what a table is about."""
    print(f"\n{text}", flush=True)


# --- batch


def bare(checkpoint: str, core: int, receiver: Any) -> None:
    """Encode what comes through a pipe with one thread on a core, and send back the seconds."""
    from numpy_bert import SentenceEncoder, set_num_threads

    os.sched_setaffinity(0, {core})
    set_num_threads(1)
    encoder = SentenceEncoder(checkpoint)
    while (texts := receiver.recv()) is not None:
        start = time.perf_counter()
        vectors = encoder.encode(texts, show_progress_bar=False)
        receiver.send((time.perf_counter() - start, vectors))


def vectors_of(answer: Answer) -> np.ndarray:
    """Return the vectors of an answer in base64."""
    rows = [base64.b64decode(one["embedding"]) for one in answer.json()["data"]]
    return np.stack([np.frombuffer(row, "<f4") for row in rows])


def batch(options: argparse.Namespace, texts: list[str], core: int) -> bool:
    """Print the rate of requests of 32 texts beside that of bare `encode`."""
    parts = [texts[at : at + TEXTS_A_REQUEST] for at in range(0, len(texts), TEXTS_A_REQUEST)]
    requests = [embedding_request(part, NAME) for part in parts]
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=bare, args=(options.checkpoint, core, there), daemon=True)
    process.start()
    rates = dict[str, list[float]](encode=[], served=[])
    worst = 0.0

    def check(place: int, answer: Answer) -> str | None:
        nonlocal worst
        if answer.status != 200:
            return str(answer.status)
        at = place * TEXTS_A_REQUEST
        found = vectors_of(answer)
        worst = max(worst, float(np.abs(found - expected[at : at + len(found)]).max()))
        return None

    with service(options, core) as server:
        here.send(texts)  # to warm up, and for the vectors
        expected = here.recv()[1]
        ask = partial(together, server.port, requests, clients=AT_ONCE, most=len(requests))
        wrong = asyncio.run(ask(check=check)).wrong
        for _ in range(options.rounds):
            here.send(texts)
            rates["encode"].append(len(texts) / here.recv()[0])
            load = asyncio.run(ask())
            rates["served"].append(len(texts) / load.elapsed)
    here.send(None)
    process.join()
    shares = [got / alone for got, alone in zip(rates["served"], rates["encode"], strict=True)]
    heading(f"{len(requests)} requests of {TEXTS_A_REQUEST} texts in base64, {AT_ONCE} at a time")
    print(f"      encode {statistics.median(rates['encode']):7.1f} texts/s, 1 thread")
    share = f"{statistics.median(shares):.2f} of it ({min(shares):.2f} to {max(shares):.2f})"
    print(f"      served {statistics.median(rates['served']):7.1f} texts/s, {share}")
    print(f"the vectors differ by at most {worst:.1e}")
    return not wrong and worst < 1e-6


# --- single


def single(options: argparse.Namespace, texts: list[str], core: int) -> bool:
    """Print latencies and rates of requests of one text, beside sentence-transformers."""
    contenders: dict[str, Callable[[], Server]] = {"numpy_bert": lambda: service(options, core)}
    if not options.without_rivals:
        plain, joint = (rival(options.checkpoint, batch=batch) for batch in (False, True))
        contenders["sentence-transformers"] = lambda: Server(plain, core)
        contenders["the same, batched"] = lambda: Server(joint, core)
    requests = [embedding_request(text, NAME) for text in texts]
    heading("one text a request")
    print(f"{'clients':>7} {'':>22} {'p50, ms':>9} {'p99, ms':>9} {'requests/s':>11}")
    good, seconds = True, options.seconds / options.rounds
    with ExitStack() as stack:  # all are there all the time; only one is asked
        ports = {name: stack.enter_context(make()).port for name, make in contenders.items()}
        for clients in CLIENTS:
            loads = {name: list[Load]() for name in ports}
            for turn in range(options.rounds):
                for name in list(ports)[:: 1 if turn % 2 else -1]:
                    ask = partial(together, ports[name], requests, clients=clients)
                    asyncio.run(ask(most=clients))
                    loads[name].append(asyncio.run(ask(seconds=seconds)))
            for name, rounds in loads.items():
                load = joined(rounds)
                row = f"{clients:7} {name:>22} {load.quantile(0.5):9.1f} {load.quantile(0.99):9.1f}"
                print(f"{row} {load.rate:11.1f}{complaints(load)}", flush=True)
                good = good and not complaints(load)
    return good


def joined(rounds: Sequence[Load]) -> Load:
    """Return what several loads got together."""
    total = Load()
    for load in rounds:
        total.seconds += load.seconds
        total.statuses += load.statuses
        total.wrong += load.wrong
        total.elapsed += load.elapsed
    return total


def complaints(load: Load) -> str:
    """Return what was not answered by 200, if anything."""
    others = {status: count for status, count in load.statuses.items() if status != 200}
    return f"  {others or ''} {dict(load.wrong) or ''}".rstrip()


# --- overload


class Health:
    """Asks for /health meanwhile, in a process of its own, and keeps the seconds and statuses."""

    def __init__(self, port: int) -> None:
        self.seconds, self.statuses = list[float](), Counter[str]()
        command = [sys.executable, bench_clients.__file__, str(port)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Health:
        assert self._process.stdout is not None
        self._process.stdout.readline()
        return self

    def __exit__(self, *_: object) -> None:
        written, _ignored = self._process.communicate()
        self.seconds, statuses = json.loads(written)
        self.statuses.update(statuses)


class Crowded(NamedTuple):
    """What an overload came to."""

    load: Load
    health: Health
    without_retry_after: int


def overload(port: int, requests: Sequence[bytes], *, seconds: float, clients: int) -> Crowded:
    """Ask for far more than can be computed, and for /health meanwhile."""
    missing = 0

    def check(_: int, answer: Answer) -> str | None:
        nonlocal missing
        if answer.status == 429:
            missing += not answer.headers.get("retry-after", "").isdigit()
        if answer.status not in (200, 429, 503):
            return f"{answer.status}: {answer.body[:100]!r}"
        return None

    with Health(port) as health:
        load = asyncio.run(
            together(port, requests, clients=clients, seconds=seconds, pause=PAUSE, check=check)
        )
    return Crowded(load, health, missing)


def crowds(options: argparse.Namespace, texts: list[str], core: int) -> bool:
    """Print what overloads got, and what they cost."""
    parts = [texts[at : at + 8] for at in range(0, len(texts), 8)]
    requests = [embedding_request(part, NAME) for part in parts]
    good = [crowd(options, requests, core, clients) for clients in CROWDS]
    return all(good)


def crowd(options: argparse.Namespace, requests: Sequence[bytes], core: int, clients: int) -> bool:
    """Print what so many clients got."""
    with service(options, core, *SMALL) as server:
        before = server.memory()
        found = overload(server.port, requests, seconds=options.seconds, clients=clients)
        peak = server.memory("VmHWM")
    load, health = found.load, found.health
    heading(f"{clients} clients with 8 texts a request, {options.seconds:g} s: overload")
    answers = ", ".join(f"{count:,} x {status}" for status, count in sorted(load.statuses.items()))
    print(f"answers: {answers}; {found.without_retry_after} x 429 without Retry-After")
    print(f"computed: {8 * load.statuses[200] / load.elapsed:.0f} texts/s")
    if load.wrong:
        print(f"WRONG: {dict(load.wrong)}")
    times = Load(seconds=health.seconds)
    middle, late, slowest = (times.quantile(part) for part in (0.5, 0.99, 1.0))
    print(f"/health: {dict(health.statuses)}; p50 {middle:.0f} ms, p99 {late:.0f} ms", end="")
    print(f", at most {slowest:.0f} ms")
    print(f"memory: {before:.0f} MB before, {peak:.0f} MB at most")
    return not load.wrong and not found.without_retry_after and set(health.statuses) == {"200"}


# --- hostile


def hostile(options: argparse.Namespace, _: list[str], core: int) -> bool:
    """Print what hostile requests got, and what the service was like meanwhile."""
    heading(f"{len(ATTACKS)} hostile requests: what came, and for how many")
    came, wrong, longest = Counter[str](), list[str](), 0.0
    with service(options, core, "--name", MODEL, *IMPATIENT) as server:
        before = server.memory()
        with Health(server.port) as health:
            for attack in ATTACKS:
                start = time.perf_counter()
                answer = attack.send(server.port, LONGEST)
                taken = time.perf_counter() - start
                if attack.is_slow:
                    print(f"  {attack.name}: {answer} after {taken:.1f} s", flush=True)
                else:
                    came[answer] += 1
                    longest = max(longest, taken)
                if answer not in attack.allowed:
                    wrong.append(f"{attack.name}: {answer}")
        peak = server.memory("VmHWM")
    print("  " + ", ".join(f"{status} x {count}" for status, count in came.most_common()), end="")
    print(f"; the slowest {1e3 * longest:.0f} ms")
    print(f"/health: {dict(health.statuses)}, {1e3 * max(health.seconds):.0f} ms at most")
    print(f"memory: {before:.0f} MB before, {peak:.0f} MB at most")
    wrong += [line for line in server.lines if "Traceback" in line or "Error" in line]
    print(*(f"WRONG: {what}" for what in wrong), sep="\n", end="\n" if wrong else "")
    return not wrong and set(health.statuses) == {"200"}


# --- soak


def mixture(texts: list[str], model: str) -> list[bytes]:
    """Return requests of every kind, in an order by chance: good, bad, large, small."""
    draw = random.Random(0)  # noqa: S311
    made = [get("/health"), get("/metrics"), get("/v1/models"), get("/nothing")]
    for _ in range(60):
        some = draw.sample(texts, draw.choice((1, 1, 1, 2, 8, 32)))
        made.append(embedding_request(some, model))
        made.append(post("/v1/embeddings", {"input": some[0], "model": model, "dimensions": 9}))
        made.append(post("/v1/embeddings", {"input": some[0], "model": model, "user": some[0]}))
        made.append(post("/embed", {"inputs": some, "truncate": True}))
        made.append(post("/v1/embeddings", {"input": [1, 2, 3], "model": model}))
        made.append(post("/v1/embeddings", b"{" + draw.randbytes(99)))
    draw.shuffle(made)
    return made


def soak(server: Server, requests: Sequence[bytes], *, seconds: float, clients: int) -> list[float]:
    """Ask for a time; return the memory at the start, in the middle and at the end, in MB."""
    asyncio.run(together(server.port, requests, clients=clients, most=len(requests)))
    sizes = [server.memory()]
    for _ in range(2):
        load = asyncio.run(together(server.port, requests, clients=clients, seconds=seconds / 2))
        sizes.append(server.memory())
        assert set(load.statuses) <= {200, 400, 404, 422, 429}, load.statuses
        assert not load.wrong, load.wrong
    return sizes


def mixed(options: argparse.Namespace, texts: list[str], core: int) -> bool:
    """Print the memory in the course of a mixed load."""
    with service(options, core) as server:
        requests = mixture(texts, NAME)
        sizes = soak(server, requests, seconds=options.seconds, clients=8)
    heading(f"mixed load from 8 clients, {options.seconds:g} s")
    print(f"memory: {sizes[0]:.0f} MB, then {sizes[1]:.0f} MB, at the end {sizes[2]:.0f} MB")
    return True


PART = {"batch": batch, "single": single, "overload": crowds, "hostile": hostile, "soak": mixed}


if __name__ == "__main__":
    sys.exit(main())
