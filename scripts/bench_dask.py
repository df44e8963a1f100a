"""How fast Dask's workers make vectors, beside one process; and what a billion texts would take.

The texts are Tatoeba's English sentences. The ways of working take turns, each in a cluster of its
own, since one that has computed a table may still have it. Each is warmed up before its time is
taken, which ends when all vectors are in the process that asked for them; they are held to those
of one process, text by text. The last way is the one that was not chosen: a worker runs one task
at a time, which computes with two threads.

    pip install -e ".[dask]"
    python scripts/bench_dask.py PATH_OF_MINILM [--texts 20000] [--data FOLDER]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dask.dataframe
import numpy as np
import pandas as pd
import pyarrow as pa
from bench_corpus import short_texts
from bench_machine import print_machine
from distributed import Client, LocalCluster

from numpy_bert import SentenceEncoder, set_num_threads
from numpy_bert.arrays import Array
from numpy_bert.integrations.dask import encode_dataframe
from numpy_bert.integrations.frames import encode_texts, load, to_numpy
from numpy_bert.kernels.threads import one_thread

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
BILLION = 1_000_000_000


def main() -> None:
    """Print a line for each way of working, and the reckoning."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path, metavar="PATH_OF_MINILM")
    parser.add_argument("--data", type=Path, default=DATA, help="the third-party test data")
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--partitions", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print_machine("dask", "distributed", "pandas", "pyarrow")
    encoder = SentenceEncoder(options.checkpoint)
    texts = short_texts(options.data, options.texts)
    tokens = int(encoder.ids(texts).lengths.sum())
    print(f"{len(texts):,} texts of {tokens / len(texts):.1f} tokens in {options.partitions} parts")
    rates = report(options, encoder, texts, tokens)
    reckon(rates["Dask, 2 workers of 1 thread"] / 2, tokens / len(texts), encoder)


def report(
    options: argparse.Namespace, encoder: SentenceEncoder, texts: Sequence[str], tokens: int
) -> dict[str, float]:
    """Print how fast each way of working is, and how far its vectors are from one process's."""
    frame = pd.DataFrame({"text": texts})
    checkpoint, parts = str(options.checkpoint), options.partitions
    with one_thread():
        expected = encoder.encode(texts)
    df = dask.dataframe.from_pandas(frame, npartitions=parts)
    chosen = encode_dataframe(df, "text", checkpoint)
    other = df.map_partitions(with_two_threads, checkpoint, meta=chosen._meta)
    ways: dict[str, tuple[int, int, Any]] = {
        "one process, 1 thread": (0, 1, None),
        "one process, 2 threads": (0, 2, None),
        "Dask, 1 worker of 1 thread": (1, 1, chosen),
        "Dask, 2 workers of 1 thread": (2, 1, chosen),
        "Dask, 1 worker of 2 threads": (1, 2, chosen),
        "Dask, 1 worker, a task of 2 threads": (1, 1, other),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, Array] = {}
    for _ in range(options.rounds):
        for name, (workers, threads, lazy) in ways.items():
            if lazy is None:
                set_num_threads(threads)
                taken, found[name] = timed(partial(encoder.encode, texts))
            else:
                with cluster(workers, threads, checkpoint) as client:
                    taken, table = timed(partial(client.compute, lazy, sync=True))
                    found[name] = to_numpy(table["vector"])
            seconds[name].append(taken)
    rates = {name: len(texts) / statistics.median(seconds[name]) for name in ways}
    for name, rate in rates.items():
        most = float(np.abs(found[name] - expected).max())
        print(
            f"{name:<35} {rate:7,.0f} texts/s  {rate * tokens / len(texts):9,.0f} tokens/s  "
            f"{rate / rates['one process, 1 thread']:.2f} times one thread, "
            f"largest difference {most:.1e}"
        )
    return rates


def with_two_threads(frame: pd.DataFrame, checkpoint: str) -> pd.DataFrame:
    """Encode a partition with two threads."""
    set_num_threads(2)
    vectors = load(checkpoint).encode(frame["text"], show_progress_bar=False)
    lists = pa.FixedSizeListArray.from_arrays(vectors.ravel(), vectors.shape[1])
    return frame.assign(vector=pd.arrays.ArrowExtensionArray(lists))


@contextmanager
def cluster(workers: int, threads: int, checkpoint: str) -> Iterator[Any]:
    """Yield the client of a cluster of processes that have loaded the model."""
    sizes: Any = {"n_workers": workers, "threads_per_worker": threads}
    with LocalCluster(**sizes, dashboard_address="127.0.0.1:0") as made, Client(made) as client:
        client.run(encode_texts, ["a text"], checkpoint)
        yield client


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds of a call, and what it returned."""
    start = time.perf_counter()
    found = call()
    return time.perf_counter() - start, found


def reckon(rate: float, tokens: float, encoder: SentenceEncoder) -> None:
    """Print what a billion texts take at a rate for each core."""
    hours = BILLION / rate / 3600
    size: Array = np.empty(encoder.get_embedding_dimension(), encoder.dtype)
    print(f"\na billion such texts, at {rate:,.0f} texts/s for each core (that of 2 workers):")
    print(f"  {hours:,.0f} core-hours, {BILLION * size.nbytes / 1e12:.2f} TB of vectors")
    for cores in (2, 64, 1024):
        print(f"  on {cores:>5,} cores {hours / cores:9,.1f} hours")
    print(f"  for texts of another length: {rate * tokens:,.0f} tokens/s for each core")


if __name__ == "__main__":
    main()
