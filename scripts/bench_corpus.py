"""How much memory a large corpus takes: many short texts into vectors, in a process of its own.

Printed are the peak of resident memory with the model loaded and one text encoded, the peak after
all texts, and the rate. The vectors go to a memory-mapped file (`out=`), as one would write them;
its pages count as resident too.

    pip install -e ".[threads]"
    python scripts/bench_corpus.py PATH_OF_MINILM [--texts 100000] [--data FOLDER]
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_machine import print_machine

from numpy_bert import SentenceEncoder

__all__ = ["peak"]

DATA = Path(__file__).parent.parent.parent / "shared" / "data"


def main() -> None:
    """Encode, and print three lines below what the machine is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path, metavar="PATH_OF_MINILM")
    parser.add_argument("--data", type=Path, default=DATA, help="the third-party test data")
    parser.add_argument("--texts", type=int, default=100_000)
    options = parser.parse_args()
    print_machine()
    texts = short_texts(options.data, options.texts)
    encoder = SentenceEncoder.from_pretrained(options.checkpoint)
    encoder.encode(texts[0])
    loaded = peak()
    print(f"with the model loaded {loaded:7.0f} MB", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        shape = len(texts), encoder.get_embedding_dimension()
        out = np.lib.format.open_memmap(f"{folder}/vectors.npy", "w+", np.float32, shape)
        start = time.perf_counter()
        encoder.encode(texts, out=out)
        seconds = time.perf_counter() - start
    after = peak()
    print(f"  after {len(texts):,} texts {after:7.0f} MB, {after - loaded:.0f} more")
    print(f"{len(texts) / seconds:,.0f} texts/s, {seconds:.0f} s")


def short_texts(data: Path, count: int) -> list[str]:
    """Return distinct sentences of Tatoeba, numbered anew each time that they run out."""
    lines = (data / "text" / "tatoeba_english.txt").read_text("utf-8").strip().split("\n")
    numbered = (f"{line} {turn}" if turn else line for turn in itertools.count() for line in lines)
    return list(itertools.islice(numbered, count))


def peak() -> float:
    """Return the most memory that this process ever had resident, in MB, as Linux counts it."""
    # Not ru_maxrss: that is never less than what the process had before it became this program.
    status = Path("/proc/self/status").read_text("ascii", errors="replace")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    main()
