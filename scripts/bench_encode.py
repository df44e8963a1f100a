"""How fast texts become vectors: against sentence-transformers, torch, ONNX Runtime and OpenVINO.

All contenders encode the same texts of mixed lengths with the same checkpoint, in one process, in
turn. Those in float32 are first shown to give the same vectors; of those that lose digits for
speed, int8 and bfloat16, the lowest cosine of a text's vector to numpy_bert's is printed. Printed
are the median seconds of numpy_bert and, as medians over the rounds, how many times as long the
others take; and the share of its time that bare matrix products of the same sizes take.

    pip install -e ".[bench]"
    python scripts/bench_encode.py PATH_OF_MINILM [--data FOLDER] [--base | --large]
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from bench_machine import print_machine
from bench_rivals import (
    EXACT,
    PACKAGES,
    Encoder,
    Ours,
    add_checkpoint,
    checkpoint_of,
    hide_threadpoolctl,
    hold_threads,
    lossy_rivals,
    mixed_texts,
)

from numpy_bert.config import BertConfig
from numpy_bert.kernels.encoder import MICRO_BATCH

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
# Seconds between two turns: the threads of torch and ONNX Runtime go on spinning for a while.
REST = 0.2


def main() -> None:
    """Print a line for each contender, for each number of threads."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_checkpoint(parser)
    parser.add_argument("--data", type=Path, default=DATA, help="the third-party test data")
    parser.add_argument("--texts", type=int, default=600)
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--without-threadpoolctl",
        action="store_true",
        help="run numpy_bert as where its extra `threads` is not installed",
    )
    options = parser.parse_args()
    texts = mixed_texts(options.data, options.texts)
    if options.without_threadpoolctl:
        hide_threadpoolctl()
    print_machine(*PACKAGES)
    if options.without_threadpoolctl:
        print("threadpoolctl is kept from numpy_bert")
    with tempfile.TemporaryDirectory() as name:
        checkpoint = checkpoint_of(options, Path(name))
        ours = Ours(checkpoint)
        lengths = token_counts(ours, texts)
        print(
            f"{len(texts)} texts of {min(lengths)} to {max(lengths)} tokens, {sum(lengths):,} in "
            f"all; {ours.encoder.model.config.num_hidden_layers} layers of "
            f"{ours.encoder.model.config.hidden_size} features"
        )
        for threads in options.threads:
            held = hold_threads(threads)
            exact = [rival(checkpoint, Path(name), threads) for rival in EXACT]
            lossy = [rival(checkpoint, Path(name), threads) for rival in lossy_rivals()]
            cosines = check(ours, exact, lossy, texts)
            calls: dict[str, Callable[[], object]] = {
                one.name: partial(one.encode, texts) for one in (ours, *exact, *lossy)
            }
            calls["matrix products"] = products(ours.encoder.model.config, lengths)
            report(threads, alternate(calls, options.rounds), sum(lengths), cosines)
            held.restore_original_limits()


def token_counts(ours: Ours, texts: Sequence[str]) -> list[int]:
    """Return how many tokens each text has, special ones included, as far as they are read."""
    ids = ours.encoder.tokenizer(list(texts))["input_ids"]
    return [min(len(row), ours.encoder.max_seq_length) for row in ids]


def check(
    ours: Encoder, exact: Sequence[Encoder], lossy: Sequence[Encoder], texts: Sequence[str]
) -> dict[str, float]:
    """Hold the vectors against numpy_bert's; return the lowest cosines of those that lose digits.

    This also warms all of them up.
    """
    expected = ours.encode(texts)
    for rival in exact:
        worst = float(np.abs(rival.encode(texts) - expected).max())
        assert worst < 2e-5, f"{rival.name} differs by {worst}"
    return {rival.name: lowest_cosine(rival.encode(texts), expected) for rival in lossy}


def lowest_cosine(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the least of the cosines between the rows of two arrays."""
    a, b = found.astype(np.float64), expected.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(axis=1) / lengths).min())


def products(config: BertConfig, lengths: Sequence[int]) -> Callable[[], None]:
    """Return a call of all matrix products that such texts take, on contiguous arrays."""
    wide, hidden = config.intermediate_size, config.hidden_size
    heads, size = config.num_attention_heads, hidden // config.num_attention_heads
    batches: list[list[int]] = [[]]
    for length in sorted(lengths, reverse=True):
        if batches[-1] and sum(batches[-1]) + length > MICRO_BATCH:
            batches.append([])
        batches[-1].append(length)
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    dense = [(hidden, 3 * hidden), (hidden, hidden), (hidden, wide), (wide, hidden)]
    pairs = []
    for batch in batches:
        tokens = sum(batch)
        pairs += [
            (draw(tokens, a), draw(a, b), np.empty((tokens, b), np.float32)) for a, b in dense
        ]
        for length in sorted(set(batch)):
            shape = batch.count(length), heads
            scores = draw(*shape, length, length)
            parts = draw(*shape, length, size), draw(*shape, length, size)
            pairs.append((parts[0], parts[1].swapaxes(-1, -2), scores.copy()))
            pairs.append((scores, parts[0], parts[1].copy()))

    def call() -> None:
        for left, right, out in pairs:
            for _ in range(config.num_hidden_layers):
                np.matmul(left, right, out)

    return call


def alternate(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each contender in each round, in another order each time."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    shuffle = random.Random(0).shuffle  # noqa: S311
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            time.sleep(REST)
            start = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def report(
    threads: int, seconds: dict[str, list[float]], tokens: int, cosines: dict[str, float]
) -> None:
    """Print medians, the ratios round by round, and the lowest cosines."""
    own = seconds["numpy_bert"]
    print(f"\n{threads} thread{'s' * (threads > 1)}")
    for name, times in seconds.items():
        ratios = sorted(theirs / mine for theirs, mine in zip(times, own, strict=True))
        middle = statistics.median(times)
        text = f"{name:>22} {middle:6.2f} s  {tokens / middle:8,.0f} tokens/s"
        if name != "numpy_bert":
            spread = f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
            text += f"  {statistics.median(ratios):5.2f} times as long {spread}"
        if name in cosines:
            text += f", lowest cosine {cosines[name]:.4f}"
        print(text, flush=True)


if __name__ == "__main__":
    main()
