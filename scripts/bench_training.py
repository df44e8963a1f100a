"""Time a training step of MiniLM beside torch, and its memory.

    python scripts/bench_training.py PATH_OF_MINILM [--threads 2] [--rounds 9] [--memory]

A step is forward and backward of a classifier with dropout, clipping and AdamW, in float32; torch
runs transformers' eager attention. The two take turns in one process; with --memory each runs in a
process of its own, whose peak beyond what it had when all was loaded is printed. Needs the extras
`test` and `threads`.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bench_machine import print_machine

SIZES = ((16, 128), (8, 64), (32, 32))
MEMORY = (16, 128)


def main() -> None:
    """Print how long, and how much."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("minilm", metavar="PATH_OF_MINILM")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--only", choices=("numpy_bert", "torch"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(peak(options))
        return
    print_machine("transformers", "torch")
    if options.memory:
        memory(options)
    else:
        times(options)


def times(options: argparse.Namespace) -> None:
    """Time both in turn, and print the medians and the median of the ratios."""
    print(f"{options.threads} threads, a step      numpy_bert     torch  torch takes")
    steps = {"numpy_bert": ours(options), "torch": theirs(options)}
    for size in SIZES:
        batch = batch_of(size)
        taken: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(options.rounds + 1):
            for name, step in steps.items():
                started = time.perf_counter()
                step(*batch)
                taken[name].append(time.perf_counter() - started)
        first, second = (values[1:] for values in taken.values())  # the first one warms up
        ratios = [b / a for a, b in zip(first, second, strict=True)]
        print(
            f"{size[0]:>10} x {size[1]:<4} {statistics.median(first):>15.2f} s "
            f"{statistics.median(second):>7.2f} s  {statistics.median(ratios):.2f} times as long "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


def memory(options: argparse.Namespace) -> None:
    """Run each alone and print how much its steps take beyond the loaded model."""
    found = {}
    for name in ("numpy_bert", "torch"):
        command = [sys.executable, __file__, options.minilm, "--only", name]
        command += ["--threads", str(options.threads)]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        found[name] = float(result.stdout.split()[-1])
    size = " x ".join(map(str, MEMORY))
    ratio = found["numpy_bert"] / found["torch"]
    print(
        f"{size}, peak of a step: numpy_bert {found['numpy_bert']:.0f} MB, torch "
        f"{found['torch']:.0f} MB; {ratio:.2f} of torch's"
    )


def peak(options: argparse.Namespace) -> float:
    """Return by how many MB three steps raise the peak of this process."""
    step = (ours if options.only == "numpy_bert" else theirs)(options)
    before = resident()
    for _ in range(3):
        step(*batch_of(MEMORY))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3 - before


def resident() -> float:
    """Return how many MB this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def batch_of(size: tuple[int, int]) -> tuple[Any, Any]:
    """Return token ids and labels."""
    rng = np.random.default_rng(0)
    return rng.integers(1000, 30_000, size), rng.integers(0, 2, size[0])


def ours(options: argparse.Namespace) -> Callable[[Any, Any], None]:
    """Return a step of numpy_bert's."""
    from numpy_bert import BertModel, set_num_threads
    from numpy_bert.training.heads import new_classifier
    from numpy_bert.training.optimizer import AdamW, clip_grad_norm
    from numpy_bert.training.trainable import trainable

    set_num_threads(options.threads)
    folder = Path(options.minilm)
    new = new_classifier(BertModel.from_pretrained(folder), ["no", "yes"], folder)
    model, arrays = trainable(new)
    optimizer, rng = AdamW(arrays, lr=1e-5), np.random.default_rng(1)

    def step(ids: Any, labels: Any) -> None:
        found = model.loss_and_gradients({"input_ids": ids, "labels": labels}, rng=rng)
        gradients = {name: array for name, array in found.named() if name in arrays}
        clip_grad_norm(gradients, 1.0)
        optimizer.step(gradients)

    return step


def theirs(options: argparse.Namespace) -> Callable[[Any, Any], None]:
    """Return a step of torch's."""
    import torch
    import transformers

    torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()
    model = transformers.BertForSequenceClassification.from_pretrained(
        options.minilm, num_labels=2, attn_implementation="eager"
    ).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step(ids: Any, labels: Any) -> None:
        optimizer.zero_grad()
        inputs = {"input_ids": torch.from_numpy(ids), "labels": torch.from_numpy(labels)}
        model(**inputs).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
