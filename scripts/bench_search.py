"""How long a search of a million vectors takes, and what memory: random ones, and sentences'.

An index is made of random vectors of length 1 in float32 and float16, and with PATH_OF_MINILM one
of Tatoeba's sentences, of which some are encoded and repeated. Each is searched by one query, by
ten and by a hundred together, beside NumPy's product on an array in memory with argpartition, and
beside faiss's IndexFlatIP where faiss-cpu is installed (it is in no extra: install it beside this
package in an environment of its own). All find the same rows. The contenders take turns, and a time
is the median of the rounds; the first query after opening, which maps the pages, is printed apart.
Memory is what another process has resident after its searches: its own, and what it maps.

    python scripts/bench_search.py [PATH_OF_MINILM] [--vectors 1000000] [--rounds 7]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from bench_corpus import short_texts
from bench_machine import print_machine, resident

from numpy_bert import SentenceEncoder, open_index
from numpy_bert.corpora import write_index

__all__ = ["QUERIES", "measure", "memory"]

Floats = npt.NDArray[Any]
DATA = Path(__file__).parent.parent.parent / "shared" / "data"
QUERIES = (1, 10, 100)
K = 10
_WIDTH = 384
_CHILD = """
import json, sys
from bench_search import memory
print(json.dumps(memory(sys.argv[1], int(sys.argv[2]))))
"""


def main() -> None:
    """Make the indexes, search them, and print a table of each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path, nargs="?", metavar="PATH_OF_MINILM")
    parser.add_argument("--data", type=Path, default=DATA, help="the third-party test data")
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--distinct", type=int, default=20_000, help="how many texts are encoded")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where the indexes stand meanwhile")
    options = parser.parse_args()
    print_machine(*(["faiss-cpu"] if find_spec("faiss") else []))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        encoder = SentenceEncoder("demo")
        vectors = random_vectors(options.vectors)
        texts = [str(row) for row in range(len(vectors))]
        for precision in ("float32", "float16"):
            path = Path(folder) / precision
            write_index(path, texts, vectors, encoder, "demo", precision=precision)
            print_table(f"random, {precision}", path, random_vectors(100, seed=1), options.rounds)
        if options.checkpoint is not None:
            path, queries = sentences(options, Path(folder))
            print_table("sentences, float32", path, queries, options.rounds)


def random_vectors(count: int, seed: int = 0) -> Floats:
    """Return vectors of length 1 in all directions."""
    vectors = np.random.default_rng(seed).standard_normal((count, _WIDTH), np.float32)
    for start in range(0, count, 1 << 14):
        block = vectors[start : start + (1 << 14)]
        block /= np.linalg.norm(block, axis=1)[:, None]
    return vectors


def sentences(options: argparse.Namespace, folder: Path) -> tuple[Path, Floats]:
    """Make an index of sentences, which are encoded once and then repeated; return queries, too."""
    encoder = SentenceEncoder(options.checkpoint)
    distinct = min(options.distinct, options.vectors)
    known = encoder.encode_document(short_texts(options.data, distinct))
    times = -(-options.vectors // distinct)
    vectors = np.tile(known, (times, 1))[: options.vectors]
    texts = short_texts(options.data, options.vectors)
    write_index(folder / "sentences", texts, vectors, encoder, options.checkpoint)
    queries = [f"Is it true that {text}" for text in texts[:100]]
    return folder / "sentences", encoder.encode_query(queries)


def print_table(title: str, path: Path, queries: Floats, rounds: int) -> None:
    """Print a line for each number of queries, and what memory a search takes."""
    found = measure(path, queries, rounds)
    names = list(next(iter(found.values())))
    print(f"{title}: {len(open_index(path)):,} vectors of {queries.shape[1]}, k = {K}, seconds")
    print("| queries | " + " | ".join(names) + " |")
    print("|---" * (1 + len(names)) + "|")
    for count, times in found.items():
        print(f"| {count} | " + " | ".join(f"{times[name]:.3f}" for name in names) + " |")
    for count in QUERIES:
        command = [sys.executable, "-c", _CHILD, str(path), str(count)]
        here = Path(__file__).parent
        said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=here)
        of = json.loads(said.stdout)
        print(
            f"{count} queries: {of['before']:.0f} MB before, {of['own']:.0f} MB after beside "
            f"{of['mapped']:.0f} MB of mapped pages"
        )
    print(flush=True)


def measure(path: Path, queries: Floats, rounds: int) -> dict[int, dict[str, float]]:
    """Return the seconds of each contender by the number of queries, all held to the same rows."""
    found: dict[int, dict[str, float]] = {}
    start = time.perf_counter()
    index = open_index(path)
    index.search(queries[0], K)
    first = time.perf_counter() - start
    plain = np.array(index.vectors, np.float32)
    contenders: dict[str, Callable[[Floats], Floats]] = {
        "numpy_bert": lambda some: index.search(some, K).indices,
        "NumPy in memory": lambda some: best(some @ plain.T),
    }
    if find_spec("faiss"):
        flat = import_module("faiss").IndexFlatIP(plain.shape[1])
        flat.add(plain)
        contenders["faiss IndexFlatIP"] = lambda some: flat.search(some, K)[1]
    for count in QUERIES:
        some = queries[:count]
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        rows = {name: search(some) for name, search in contenders.items()}  # and to warm up
        for name, of in rows.items():
            check(plain, some, of, rows["numpy_bert"], name)
        for turn in range(rounds):
            names = list(contenders)
            for name in names if turn % 2 else reversed(names):
                start = time.perf_counter()
                contenders[name](some)
                seconds[name].append(time.perf_counter() - start)
        found[count] = {name: statistics.median(each) for name, each in seconds.items()}
    print(f"the first query, the opening included: {first:.3f} s")
    return found


def best(scores: Floats) -> Floats:
    """Return the columns of the K largest of each row, the largest first."""
    rows = np.argpartition(-scores, K, axis=1)[:, :K]
    order = np.argsort(-np.take_along_axis(scores, rows, 1), axis=1, kind="stable")
    found: Floats = np.take_along_axis(rows, order, 1)
    return found


def check(plain: Floats, queries: Floats, rows: Floats, ours: Floats, name: str) -> None:
    """Raise AssertionError unless two contenders find rows of the same scores."""
    theirs, mine = (np.einsum("qkh,qh->qk", plain[each], queries) for each in (rows, ours))
    assert np.allclose(theirs, mine, atol=1e-5), f"{name} finds other rows"


def memory(path: str, count: int) -> dict[str, float]:
    """Return what this process has resident in MB: its own before and after, and mapped pages."""
    index, queries = open_index(path), random_vectors(count, seed=1)
    queries = queries[:, : index.vectors.shape[1]]
    index.search(queries[0], K)  # what is made once
    before = resident("RssAnon")
    index.search(queries, K)
    return {"before": before, "own": resident("RssAnon"), "mapped": resident("RssFile")}


if __name__ == "__main__":
    main()
