"""How long tracing and verifying take, and how much memory, as whole processes.

    python scripts/bench_verification.py PATH_OF_MINILM

A text of 128 tokens: `numpy-bert trace` in float64, `numpy-bert verify` of that trace and of a
float32 one that torch's size of rounding is in; in each the model is loaded and checked anew.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_machine import print_machine

__all__ = ["measure"]

PROGRAM = (sys.executable, "-m", "numpy_bert")


def measure(*arguments: str) -> tuple[float, float]:
    """Run a command; return its seconds and its largest memory in MB."""
    start = time.perf_counter()
    process = subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(arguments)} failed")
    return seconds, used.ru_maxrss / 1024


def main() -> None:
    """Print a line for each command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkpoint", help="the folder of all-MiniLM-L6-v2")
    parser.add_argument("--tokens", type=int, default=128)
    options = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ids = [101, *(2000 + number for number in range(options.tokens - 2)), 102]
        given = folder / "ids.json"
        given.write_text(json.dumps({"input_ids": [ids]}), "utf-8")
        wide, narrow = (str(folder / f"{n}.safetensors") for n in ("float64", "float32"))
        base = ("--ids", str(given), "--model", options.checkpoint)
        runs = {
            "trace, float64": ("trace", *base, "-o", wide),
            "trace, float32": ("trace", *base, "--dtype", "float32", "-o", narrow),
            "verify, float64": ("verify", wide, "--model", options.checkpoint),
            "verify, float32": ("verify", narrow, "--model", options.checkpoint),
            "compare the two": ("compare", wide, narrow),
        }
        size = 0.0
        print(f"{options.tokens} tokens")
        for what, arguments in runs.items():
            seconds, memory = measure(*arguments)
            size = Path(wide).stat().st_size / 1e6
            print(f"{what:>16}  {seconds:5.2f} s  {memory:5.0f} MB at most")
        print(f"the float64 trace has {size:.0f} MB")


if __name__ == "__main__":
    main()
