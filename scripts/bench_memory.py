"""The peak of resident memory of whole processes that embed one sentence.

Each program (see bench_programs.py) runs with its imports alone, and to the input embedding of one
sentence. The peak is Linux's VmHWM at the end; the median of some runs.

    pip install -e ".[bench]"
    python scripts/bench_memory.py PATH_OF_A_CHECKPOINT
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_machine import print_machine
from bench_programs import PROGRAMS, places

# Not ru_maxrss: that is never less than what the process had before it became this program.
PEAK = "\nprint(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"


def main() -> None:
    """Print a line for each program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="a folder with a BERT checkpoint")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    options = parser.parse_args()
    print_machine("transformers", "torch", "onnxruntime")
    with tempfile.TemporaryDirectory() as folder:
        given = places(options.programs, options.checkpoint, Path(folder))
        print(f"{'peak, MB':>14} {'imports':>8} {'one sentence':>13} {'more':>6}")
        for name, place in given.items():
            imports, work = PROGRAMS[name]
            before = peak(imports, place, options.runs)
            after = peak(imports + work, place, options.runs)
            print(f"{name:>14} {before:8.1f} {after:13.1f} {after - before:6.1f}")


def peak(code: str, place: str, runs: int) -> float:
    """Return the median peak of a program, in MB of 2**20 bytes."""
    command = [sys.executable, "-c", code + PEAK, place]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    peaks = []
    for _ in range(runs):
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        peaks.append(int(done.stdout.split()[-1]) / 1024)
    return statistics.median(peaks)


if __name__ == "__main__":
    main()
