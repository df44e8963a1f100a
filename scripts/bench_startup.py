"""How long a whole process takes from nothing to the input embedding of one sentence.

Runs ``numpy-bert embed`` and the same with torch and transformers in turn, on one checkpoint, by
its path and by its name in a cache, and prints the medians and the ratio of each pair of runs.

    python scripts/bench_startup.py PATH_OF_A_CHECKPOINT
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TEXT = "this is a test sentence"
NAME = "sentence-transformers/all-MiniLM-L6-v2"
COMMIT = "c" * 40

WITH_TORCH = """
import sys, torch
from transformers import AutoTokenizer, BertModel
name, text = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(name)
model = BertModel.from_pretrained(name)
inputs = tokenizer(text, return_tensors="pt")
with torch.no_grad():
    print(model.embeddings(inputs["input_ids"], inputs["token_type_ids"]))
"""


def main() -> None:
    """Measure both programs, by path and by name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("checkpoint", type=Path, help="a folder with a BERT checkpoint")
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        link_into_cache(options.checkpoint.resolve(), Path(cache))
        environment = {**os.environ, "HF_HUB_CACHE": cache, "HF_HUB_OFFLINE": "1"}
        for label, model in (("by path", str(options.checkpoint)), ("by cached name", NAME)):
            ours = [sys.executable, "-m", "numpy_bert", "embed", TEXT, "--model", model]
            theirs = [sys.executable, "-c", WITH_TORCH, model, TEXT]
            report(label, *alternate(ours, theirs, environment, options.runs))


def link_into_cache(checkpoint: Path, cache: Path) -> None:
    """Make a cache in which the checkpoint has its name, as a download would."""
    repository = cache / f"models--{NAME.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(checkpoint, target_is_directory=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT, "ascii")


def alternate(
    ours: list[str], theirs: list[str], environment: dict[str, str], runs: int
) -> tuple[list[float], list[float]]:
    """Run the two in turn, after one warm-up of each."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for run in range(runs + 1):
        for command, times in zip((ours, theirs), seconds, strict=True):
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, env=environment)
            if run:
                times.append(time.perf_counter() - start)
    return seconds


def report(label: str, ours: list[float], theirs: list[float]) -> None:
    """Print medians, and the ratio pair by pair."""
    ratios = sorted(b / a for a, b in zip(ours, theirs, strict=True))
    print(
        f"{label:>15}: numpy-bert {statistics.median(ours):.2f} s, "
        f"torch and transformers {statistics.median(theirs):.2f} s, "
        f"ratio {statistics.median(ratios):.1f} (from {ratios[0]:.1f} to {ratios[-1]:.1f})"
    )


if __name__ == "__main__":
    main()
