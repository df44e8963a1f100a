"""How fast one text becomes a vector, from its token ids: against torch and ONNX Runtime.

All contenders run the same checkpoint on the same ids, in one process, in turn; each is first shown
to give the same vector. Printed are the median milliseconds of numpy_bert and, as medians over the
rounds, how many times as long the others take.

    pip install -e ".[bench]"
    python scripts/bench_latency.py PATH_OF_MINILM [--base]
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_rivals import Encoder, Ids, Ours, base_model, hold_threads, rivals

TOKENS = (8, 32, 128)
# A turn of one contender: calls for this long to get warm, then as long again, measured.
TURN = 0.1
REST = 0.05


def main() -> None:
    """Print a table for each number of threads."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path, metavar="PATH_OF_MINILM")
    parser.add_argument("--base", action="store_true", help="a random model of BERT-base's sizes")
    parser.add_argument("--tokens", nargs="+", type=int, default=TOKENS)
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        checkpoint = options.checkpoint.resolve()
        if options.base:
            (Path(name) / "base").mkdir()
            checkpoint = base_model(checkpoint, Path(name) / "base")
        ours = Ours(checkpoint)
        for threads in options.threads:
            held = hold_threads(threads)
            others = [r for r in rivals(checkpoint, Path(name), threads) if hasattr(r, "hidden")]
            print(f"\n{threads} thread{'s' * (threads > 1)}, times as long as numpy_bert")
            print(f"{'tokens':>8} {ours.name:>12}" + "".join(f" {r.name:>12}" for r in others))
            for tokens in options.tokens:
                ids = np.random.default_rng(tokens).integers(1000, 2000, tokens)
                seconds = alternate([ours, *others], ids, options.rounds)
                print(line(tokens, seconds), flush=True)
            held.restore_original_limits()


def alternate(contenders: list[Encoder], ids: Ids, rounds: int) -> list[list[float]]:
    """Return the seconds a call of each contender in each round, in another order each time."""
    expected = contenders[0].vector(ids)
    for rival in contenders[1:]:
        worst = float(np.abs(rival.vector(ids) - expected).max())
        assert worst < 2e-5, f"{rival.name} differs by {worst}"
    seconds: list[list[float]] = [[] for _ in contenders]
    order = list(range(len(contenders)))
    shuffle = random.Random(0).shuffle  # noqa: S311
    for _ in range(rounds):
        shuffle(order)
        for number in order:
            time.sleep(REST)
            seconds[number].append(turn(contenders[number], ids))
    return seconds


def turn(contender: Encoder, ids: Ids) -> float:
    """Return the seconds of a call, warm."""
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < TURN:
        contender.vector(ids)
        calls += 1
    start = time.perf_counter()
    for _ in range(calls):
        contender.vector(ids)
    return (time.perf_counter() - start) / calls


def line(tokens: int, seconds: list[list[float]]) -> str:
    """Write one row of the table."""
    own, *others = seconds
    ratios = [
        statistics.median(theirs / mine for theirs, mine in zip(times, own, strict=True))
        for times in others
    ]
    return f"{tokens:8} {statistics.median(own) * 1e3:9.2f} ms" + "".join(
        f" {ratio:12.2f}" for ratio in ratios
    )


if __name__ == "__main__":
    main()
