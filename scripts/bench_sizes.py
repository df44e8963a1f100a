"""Larger models and longer texts: seconds and memory beside torch, ONNX Runtime and OpenVINO.

Batches of token ids, no padding among them, become the means of their last hidden states, in
float32: models of MiniLM's, BERT-base's and BERT-large's sizes (random weights but MiniLM's), 128
and 512 tokens, 1, 8 and 64 texts. The contenders take turns in one process; printed are
numpy_bert's median seconds and, as medians over the rounds, how many times as long the others
take. The peak of memory is that of a process that does nothing but load the model and run that
batch once; mapped files count in it, and what Python and its packages take.

A batch takes from hundredths of a second to minutes (BERT-large, 64 x 512), so those that need
more than ``--most`` tera-operations are left out, and the table says so. What is left by default
takes some ten minutes for each number of threads.

    pip install -e ".[bench]"
    python scripts/bench_sizes.py PATH_OF_MINILM [--sizes base] [--tokens 128] [--texts 8]
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from bench_latency import alternate, medians
from bench_machine import print_machine, resident
from bench_rivals import (
    BARE,
    PACKAGES,
    SIZES,
    Encoder,
    Ids,
    Ours,
    exported,
    hold_threads,
    random_model,
)

from numpy_bert import BertConfig

__all__ = ["tera_operations"]

CONTENDERS = (Ours.name, *(rival.name for rival in BARE))


def main() -> None:
    """Print a table for each number of threads."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path, metavar="PATH_OF_MINILM")
    sizes = ("minilm", *SIZES)
    parser.add_argument("--sizes", nargs="+", choices=sizes, default=sizes)
    parser.add_argument("--tokens", nargs="+", type=int, default=(128, 512))
    parser.add_argument("--texts", nargs="+", type=int, default=(1, 8, 64), help="of a batch")
    parser.add_argument("--threads", nargs="+", type=int, default=(2,))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--most",
        type=float,
        default=0.75,
        help="the tera-operations of a batch beyond which it is left out; 0.75 is seconds of "
        "two cores, and BERT-large with 64 texts of 512 tokens takes 21",
    )
    parser.add_argument("--only", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(run_once(options))
        return
    print_machine(*PACKAGES[1:])
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = options.checkpoint.resolve()
            if size in SIZES:
                progress(f"{size}: drawing it")
                checkpoint = random_model(size, checkpoint, Path(folder))
            for threads in options.threads:
                measure(options, size, checkpoint, Path(folder), threads)


def measure(
    options: argparse.Namespace, size: str, checkpoint: Path, folder: Path, threads: int
) -> None:
    """Print the table of a model's batches with so many threads."""
    config = BertConfig.from_json_file(checkpoint / "config.json")
    batches = list(itertools.product(options.texts, options.tokens))
    left_out = [b for b in batches if tera_operations(config, *b) > options.most]
    print(f"{size}, {threads} thread{'s' * (threads > 1)}: times as long as numpy_bert; peak, MB")
    print(
        f"{'texts':>6} {'tokens':>6} {'numpy_bert':>12}"
        + "".join(f" {rival.name:>12}" for rival in BARE)
        + " |"
        + "".join(f" {name:>12}" for name in CONTENDERS)
    )
    peaks: dict[tuple[int, int], list[float]] = {}
    for batch in batches:
        if batch not in left_out:
            progress(f"{size}, {batch[0]} x {batch[1]}: memory")
            exported(checkpoint, folder)
            peaks[batch] = [peak_of(n, checkpoint, folder, batch, threads) for n in CONTENDERS]
    held = hold_threads(threads)
    others = [rival(checkpoint, folder, threads) for rival in BARE] if peaks else []
    contenders: list[Encoder] = [Ours(checkpoint), *others]
    for batch in peaks:
        progress(f"{size}, {batch[0]} x {batch[1]}: seconds")
        seconds, ratios = medians(alternate(contenders, ids_of(*batch), options.rounds))
        cells = [f"{ratio:12.2f}" for ratio in ratios]
        cells += ["|", *(f"{megabytes:12.0f}" for megabytes in peaks[batch])]
        print(f"{batch[0]:6} {batch[1]:6} {seconds:10.3f} s", *cells, flush=True)
    held.restore_original_limits()
    for batch in left_out:
        operations = tera_operations(config, *batch)
        print(f"{batch[0]:6} {batch[1]:6} left out: {operations:.1f} tera-operations")
    print(flush=True)


def tera_operations(config: BertConfig, texts: int, tokens: int) -> float:
    """Return how many trillion additions and multiplications the products of a batch are."""
    hidden, wide = config.hidden_size, config.intermediate_size
    dense = 4 * hidden * hidden + 2 * hidden * wide
    attention = 2 * tokens * hidden
    return 2e-12 * config.num_hidden_layers * texts * tokens * (dense + attention)


def ids_of(texts: int, tokens: int) -> Ids:
    """Return the ids of a batch."""
    return np.random.default_rng(tokens).integers(1000, 2000, (texts, tokens))


def peak_of(
    name: str, checkpoint: Path, folder: Path, batch: tuple[int, int], threads: int
) -> float:
    """Return the peak of memory of a contender's own process, in MB."""
    texts, tokens = map(str, batch)
    command = [sys.executable, __file__, str(checkpoint), "--only", name, "--threads", str(threads)]
    command += ["--folder", str(folder), "--texts", texts, "--tokens", tokens]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def run_once(options: argparse.Namespace) -> float:
    """Run a contender once on one batch; return the peak of memory."""
    (threads,), (texts,), (tokens,) = options.threads, options.texts, options.tokens
    held = hold_threads(threads)
    given = options.checkpoint, options.folder, threads
    rival = next((rival for rival in BARE if rival.name == options.only), None)
    contender: Encoder = rival(*given) if rival else Ours(options.checkpoint)
    contender.vectors(ids_of(texts, tokens))
    held.restore_original_limits()
    return resident("VmHWM")


def progress(text: str) -> None:
    """Say on stderr what is going on."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
