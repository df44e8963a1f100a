"""How fast one text becomes a vector, from its ids: against torch, ONNX Runtime and OpenVINO.

All contenders run the same checkpoint on the same ids, in one process, in turn; each is first shown
to give the same vector. Printed are the median milliseconds of numpy_bert and, as medians over the
rounds, how many times as long the others take.

    pip install -e ".[bench]"
    python scripts/bench_latency.py PATH_OF_MINILM [--base | --large]
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bench_machine import print_machine
from bench_rivals import (
    BARE,
    PACKAGES,
    Encoder,
    Ids,
    Ours,
    add_checkpoint,
    checkpoint_of,
    hold_threads,
)

__all__ = ["alternate", "medians"]

TOKENS = (8, 32, 128)
# A turn of one contender: calls for this long to get warm, then as long again, measured. A call
# that takes longer than `LONG` is a turn: getting warm is nothing to it.
TURN = 0.1
LONG = 1.0
REST = 0.05


def main() -> None:
    """Print a table for each number of threads."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_checkpoint(parser)
    parser.add_argument("--tokens", nargs="+", type=int, default=TOKENS)
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print_machine(*PACKAGES[1:])
    with tempfile.TemporaryDirectory() as name:
        checkpoint = checkpoint_of(options, Path(name))
        ours = Ours(checkpoint)
        for threads in options.threads:
            held = hold_threads(threads)
            others = [rival(checkpoint, Path(name), threads) for rival in BARE]
            print(f"{threads} thread{'s' * (threads > 1)}, times as long as numpy_bert")
            print(f"{'tokens':>8} {ours.name:>12}" + "".join(f" {r.name:>12}" for r in others))
            for tokens in options.tokens:
                ids = np.random.default_rng(tokens).integers(1000, 2000, (1, tokens))
                own, ratios = medians(alternate([ours, *others], ids, options.rounds))
                cells = "".join(f" {ratio:12.2f}" for ratio in ratios)
                print(f"{tokens:8} {own * 1e3:9.2f} ms{cells}", flush=True)
            print()
            held.restore_original_limits()


def alternate(contenders: Sequence[Encoder], ids: Ids, rounds: int) -> list[list[float]]:
    """Return the seconds a call of each contender in each round, in another order each time."""
    expected = contenders[0].vectors(ids)
    for rival in contenders[1:]:
        worst = float(np.abs(rival.vectors(ids) - expected).max())
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
    calls, taken, start = 0, 0.0, time.perf_counter()
    while taken < TURN:
        contender.vectors(ids)
        calls += 1
        taken = time.perf_counter() - start
    if taken > LONG:
        return taken / calls
    start = time.perf_counter()
    for _ in range(calls):
        contender.vectors(ids)
    return (time.perf_counter() - start) / calls


def medians(seconds: list[list[float]]) -> tuple[float, list[float]]:
    """Return the first contender's median seconds, and how many times as long the others take."""
    own, *others = seconds
    return statistics.median(own), [
        statistics.median(theirs / mine for theirs, mine in zip(times, own, strict=True))
        for times in others
    ]


if __name__ == "__main__":
    main()
