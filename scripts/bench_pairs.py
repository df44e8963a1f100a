"""Train MiniLM on pairs of STS-B beside sentence-transformers: the same losses, and the time.

    python scripts/bench_pairs.py PATH_OF_MINILM STSB_CSV [--steps 8] [--batch-size 16]
                                  [--threads 2] [--dtype float32]

A step is forward and backward, clipping and AdamW. Both read the same batches, without dropout, and
take turns in one process, in another order each time. sentence-transformers tokenizes in each step,
numpy_bert has done so before; that is a thousandth of a step. With every loss a training of its own
begins at MiniLM. Needs the extras `test` and `threads`.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bench_machine import print_machine

RATE = 2e-5
LOSSES = ("MultipleNegativesRankingLoss", "CoSENTLoss", "CosineSimilarityLoss")

Step = Callable[[list[int]], float]


def main() -> None:
    """Print a line for each loss."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("minilm", metavar="PATH_OF_MINILM")
    parser.add_argument("stsb", metavar="STSB_CSV", help="two sentences and a score from 0 to 5")
    parser.add_argument("--steps", type=int, default=8, help="of each loss; the first warms up")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    options = parser.parse_args()
    print_machine("sentence_transformers", "transformers", "torch")
    print(f"{options.threads} threads, batches of {options.batch_size} pairs, {options.dtype}")
    for name in LOSSES:
        print(compared(name, options))


def compared(name: str, options: argparse.Namespace) -> str:
    """Train both by a loss, and say how far apart the losses are and how long a step takes."""
    columns = stsb(options.stsb)
    if name == LOSSES[0]:
        del columns["score"]  # every pair counts as one that belongs together
    rng = np.random.default_rng(0)
    order = [
        rng.choice(len(columns["sentence1"]), options.batch_size, replace=False).tolist()
        for _ in range(options.steps)
    ]
    contenders = [ours(name, columns, options), theirs(name, columns, options)]
    losses, seconds = np.empty((options.steps, 2)), np.empty((options.steps, 2))
    for number, batch in enumerate(order):
        for who in (0, 1) if number % 2 else (1, 0):
            started = time.perf_counter()
            losses[number, who] = contenders[who](batch)
            seconds[number, who] = time.perf_counter() - started
    apart = float(np.abs(losses[:, 0] - losses[:, 1]).max())
    taken = seconds[1:]  # the first one warms up
    ratios = taken[:, 1] / taken[:, 0]
    return (
        f"{name}\n  losses from {losses[0, 0]:.4f} to {losses[-1, 0]:.4f}, at most {apart:.1e} "
        f"apart\n  a step: numpy_bert {statistics.median(taken[:, 0]):.3f} s, "
        f"sentence-transformers {statistics.median(ratios):.2f} times as long "
        f"({ratios.min():.2f} to {ratios.max():.2f})"
    )


def stsb(path: str) -> dict[str, Any]:
    """Read two sentences and a score from 0 to 1."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    return {
        "sentence1": [row[0] for row in rows],
        "sentence2": [row[1] for row in rows],
        "score": [float(row[2]) / 5 for row in rows],
    }


def ours(name: str, columns: dict[str, Any], options: argparse.Namespace) -> Step:
    """Return a step of numpy_bert's."""
    from numpy_bert import SentenceEncoder, set_num_threads, training
    from numpy_bert.training.optimizer import clip_grad_norm
    from numpy_bert.training.pairs import PairedTexts, PairModel
    from numpy_bert.training.trainable import trainable

    set_num_threads(options.threads)
    encoder = SentenceEncoder.from_pretrained(options.minilm, dtype=options.dtype)
    data = PairedTexts(columns, encoder)
    model, arrays = trainable(PairModel(encoder, getattr(training, name)(encoder)))
    optimizer, rng = training.AdamW(arrays, lr=RATE, weight_decay=0.0), np.random.default_rng(0)

    def step(batch: list[int]) -> float:
        found = model.loss_and_gradients(data.batch(np.array(batch), rng))
        gradients = {key: array for key, array in found.named() if key in arrays}
        clip_grad_norm(gradients, 1.0)
        optimizer.step(gradients)
        return found.loss

    return step


def theirs(name: str, columns: dict[str, Any], options: argparse.Namespace) -> Step:
    """Return a step of sentence-transformers'."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import losses

    torch.set_num_threads(options.threads)
    dtype = getattr(torch, options.dtype)
    model = SentenceTransformer(options.minilm, device="cpu").to(dtype).eval()  # no dropout
    loss = getattr(losses, name)(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    sides = [key for key in columns if key != "score"]
    scores = torch.tensor(columns.get("score", [0.0] * len(columns[sides[0]])), dtype=dtype)

    def step(batch: list[int]) -> float:
        optimizer.zero_grad()
        features = [model.preprocess([columns[side][n] for n in batch]) for side in sides]
        value = loss(features, scores[batch])
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return float(value.detach())

    return step


if __name__ == "__main__":
    main()
