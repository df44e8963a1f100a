"""How long whole processes take: from nothing to the input embedding of one sentence.

Runs numpy_bert, ONNX Runtime with tokenizers, and torch with transformers in turn on one
checkpoint (see bench_programs.py), and prints the median of each and numpy_bert's part of it, run
by run; then what ``import numpy_bert`` takes beyond ``import numpy``.

    pip install -e ".[bench]"
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

from bench_machine import print_machine
from bench_programs import PROGRAMS, places

IMPORTS = {
    "import numpy": "import numpy",
    "import numpy, numpy_bert": "import numpy, numpy_bert",
    "... and from numpy_bert import BertModel": "import numpy; from numpy_bert import BertModel",
}


def main() -> None:
    """Measure the programs, then the imports."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="a folder with a BERT checkpoint")
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    options = parser.parse_args()
    print_machine("transformers", "torch", "onnxruntime")
    with tempfile.TemporaryDirectory() as folder:
        names = list(dict.fromkeys(["numpy_bert", *options.programs]))
        given = places(names, options.checkpoint, Path(folder))
        commands = {
            name: [sys.executable, "-c", "".join(PROGRAMS[name]), place]
            for name, place in given.items()
        }
        report(alternate(commands, options.runs))
    print()
    imports = {name: [sys.executable, "-c", code] for name, code in IMPORTS.items()}
    seconds = alternate(imports, 3 * options.runs)
    base = seconds["import numpy"]
    for name, times in seconds.items():
        more = statistics.median(a - b for a, b in zip(times, base, strict=True))
        print(f"{name:>42} {statistics.median(times) * 1e3:6.0f} ms, {more * 1e3:+4.0f} ms")


def alternate(commands: dict[str, list[str]], runs: int) -> dict[str, list[float]]:
    """Run the commands in turn, after one warm-up of each; return the seconds of each."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for run in range(runs + 1):
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, env=environment)
            if run:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def report(seconds: dict[str, list[float]]) -> None:
    """Print the medians, and numpy_bert's part of each other, run by run."""
    for name, times in seconds.items():
        parts = sorted(a / b for a, b in zip(seconds["numpy_bert"], times, strict=True))
        print(
            f"{name:>14} {statistics.median(times):5.2f} s; numpy_bert takes "
            f"{statistics.median(parts):.3f} of it ({parts[0]:.3f} to {parts[-1]:.3f})"
        )


if __name__ == "__main__":
    main()
