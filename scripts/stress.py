"""Use shared objects from many threads, and from processes that are forked under load.

    python scripts/stress.py --seconds 30 --threads 16
    python scripts/stress.py --children 40 --seed 1

Each call's result is held to the bits that it has alone. BLAS has one thread, by variables that the
script starts itself again with: what several threads of BLAS make differs by roundings. Then
children are started in each way that Python has, after use and while threads compute, and must find
the same bits within --limit seconds. It prints two tables; the exit code is 1 if anything differed,
or did not end.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from bench_machine import print_machine

import numpy_bert
from numpy_bert import BertForMaskedLM, BertModel, BertTokenizer, CrossEncoder, SentenceEncoder
from numpy_bert.loading.cache import demo_folder
from numpy_bert.training import new_classifier

__all__ = ["jobs", "main", "start_children", "use_threads"]

# Encodes what it is given and says what came out.
Job = Callable[[], bytes]
TEXTS = ["The sun is shining.", "He drives a car.", "", "a" * 300, "one two three " * 40] * 3
METHODS = ("fork", "forkserver", "spawn")
ONE_BLAS_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"), "1"
)


def _bits(*arrays: Any) -> bytes:
    """Return what arrays of other bits would not have."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.digest()


def jobs(seed: int) -> dict[str, Job]:
    """Return calls on objects that they share; each returns the bits of its result."""
    rng = np.random.default_rng(seed)
    bert, exact = (BertModel.from_pretrained("demo", dtype=t) for t in ("float32", "float64"))
    words, tokenizer = (
        BertForMaskedLM.from_pretrained("demo"),
        BertTokenizer.from_pretrained("demo"),
    )
    encoder = SentenceEncoder("demo")
    with tempfile.TemporaryDirectory() as folder:
        new_classifier(bert, ["score"], demo_folder()).save_pretrained(folder)
        ranker = CrossEncoder(folder, mmap=False)
    ids, long = rng.integers(5, 8000, (9, 21)), rng.integers(5, 8000, (12, 128))
    many = np.tile(long, (20, 1))  # so many that threads share them
    mask = (np.arange(21) < rng.integers(1, 22, (9, 1))).astype(int)
    labels = {"input_ids": ids, "attention_mask": mask, "labels": ids}

    def gradients() -> bytes:
        found = words.loss_and_gradients(labels)
        return _bits(found.loss, *(array for _, array in found.named()))

    def dropout() -> bytes:
        return _bits(bert(ids, mask, rng=np.random.default_rng(seed)).last_hidden_state)

    return {
        "embedding": lambda: _bits(bert.embeddings(many)),
        "model": lambda: _bits(*bert(ids, mask, output_attentions=True).to_tuple()[:2]),
        "long rows": lambda: _bits(bert(long).last_hidden_state),
        "dropout": dropout,
        "float64": lambda: _bits(exact(ids, mask).last_hidden_state),
        "trace": lambda: _bits(*(array for _, array in bert.trace(ids[:2]))),
        "masked words": lambda: _bits(words(ids, mask).logits),
        "gradients": gradients,
        "tokenizer": lambda: _bits(*tokenizer(TEXTS, padding=True, return_tensors="np").values()),
        "sentences": lambda: _bits(encoder.encode(TEXTS)),
        "one sentence": lambda: _bits(encoder.encode(TEXTS[4])),
        "pairs": lambda: _bits(ranker.predict([(text, TEXTS[0]) for text in TEXTS])),
    }


def use_threads(
    calls: Mapping[str, Job], *, threads: int, seconds: float, seed: int
) -> tuple[Counter[str], Counter[str]]:
    """Let threads make calls by chance for some time; return how many, and how many differed."""
    alone = {name: call() for name, call in calls.items()}
    made, wrong = Counter[str](), Counter[str]()
    together, lock = threading.Barrier(threads), threading.Lock()
    end = time.monotonic() + seconds

    def use(number: int) -> None:
        own = random.Random(f"{seed} {number}")  # noqa: S311
        together.wait()
        while time.monotonic() < end:
            name = own.choice(list(calls))
            try:
                same = calls[name]() == alone[name]
            except Exception as failure:  # noqa: BLE001 which would end this thread alone
                print(f"{name}: {type(failure).__name__}: {failure}")
                same = False
            with lock:
                made[name] += 1
                wrong[name] += not same

    users = [threading.Thread(target=use, args=(number,)) for number in range(threads)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    return made, wrong


def _child(encoder: SentenceEncoder, model: BertModel, sender: Any) -> None:
    """Use what a child was given, in each way that has threads or memory of its own."""
    ids = np.arange(40 * 128).reshape(40, 128) % 8000
    sender.send_bytes(_bits(encoder.encode(TEXTS), model.embeddings(ids), model(ids[:2, :9])[0]))


def start_children(method: str, count: int, *, limit: float) -> Counter[str]:
    """Start children one after another; return how many were right, wrong, or did not end."""
    context: Any = multiprocessing.get_context(method)
    encoder, model = SentenceEncoder("demo"), BertModel.from_pretrained("demo")
    found = Counter[str]()
    receiver, sender = context.Pipe(duplex=False)
    _child(encoder, model, sender)
    expected = receiver.recv_bytes()
    for _ in range(count):
        receiver, sender = context.Pipe(duplex=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12's, of a fork
            child = context.Process(target=_child, args=(encoder, model, sender))
            child.start()
        sender.close()
        kind = "hung"
        if receiver.poll(limit):
            try:
                kind = "same bits" if receiver.recv_bytes() == expected else "other bits"
            except EOFError:
                kind = "died"
        child.join(limit if kind != "hung" else 0)
        if child.is_alive():
            kind = "hung"
            child.kill()
        found[kind] += 1
    return found


@contextmanager
def _load(calls: Mapping[str, Job], threads: int) -> Iterator[None]:
    """Let threads compute while the block runs."""
    stop = threading.Event()

    def compute(number: int) -> None:
        own = random.Random(number)  # noqa: S311
        while not stop.is_set():
            calls[own.choice(list(calls))]()

    users = [threading.Thread(target=compute, args=(number,)) for number in range(threads)]
    for user in users:
        user.start()
    try:
        yield
    finally:
        stop.set()
        for user in users:
            user.join()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of threads, in all (10)")
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--children", type=int, default=12, help="of each kind (12)")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds that are a hang (120)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    print_machine()
    calls, failed = jobs(options.seed), 0
    numbers, before = (1, 2, 4), numpy_bert.get_num_threads()
    print(
        f"| {options.threads} threads, set_num_threads | " + " | ".join(calls) + " | other bits |"
    )
    print("|---" * (len(calls) + 2) + "|", flush=True)
    for number in numbers:
        numpy_bert.set_num_threads(number)
        made, wrong = use_threads(
            calls,
            threads=options.threads,
            seconds=options.seconds / len(numbers),
            seed=options.seed,
        )
        failed += wrong.total()
        counts = " | ".join(str(made[name]) for name in calls)
        print(f"| {number} | {counts} | {wrong.total()} |", flush=True)
    numpy_bert.set_num_threads(2)
    print("\n| children | after use | while 4 threads compute |\n|---|---|---|", flush=True)
    for method in METHODS:
        if method not in multiprocessing.get_all_start_methods():
            continue
        after = start_children(method, options.children, limit=options.limit)
        with _load(calls, 4):
            under = start_children(method, options.children, limit=options.limit)
        failed += 2 * options.children - after["same bits"] - under["same bits"]
        cells = (", ".join(f"{n} {kind}" for kind, n in each.items()) for each in (after, under))
        print(f"| {method} | {' | '.join(cells)} |", flush=True)
    numpy_bert.set_num_threads(before)
    return int(failed > 0)


if __name__ == "__main__":
    if not ONE_BLAS_THREAD.items() <= os.environ.items():  # before NumPy reads them
        words = [sys.executable, *sys.argv]
        os.execve(sys.executable, words, {**os.environ, **ONE_BLAS_THREAD})  # noqa: S606
    sys.exit(main())
