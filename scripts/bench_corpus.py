"""A corpus of millions of short texts into vectors: memory, rate, and what kills leave of it.

The texts are Tatoeba's English sentences, repeated with variations, a line each. `numpy-bert encode
--input` makes a file of vectors of them, as a process of its own, whose peak of resident memory and
rate are printed. Then it does so again and is killed (SIGKILL) --kills times, at moments drawn over
the time that is left, each time given again until it ends. The bytes must be the same; the exit
code is 1 where they are not.

    python scripts/bench_corpus.py PATH_OF_MINILM [--texts 1000000] [--kills 10] [--data FOLDER]
                                                  [--work FOLDER] [--output vectors.npy] [OPTION...]

Further options are passed to `numpy-bert encode`, such as --precision float16. Linux only.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from bench_machine import print_machine

__all__ = ["short_texts"]

DATA = Path(__file__).parent.parent.parent / "shared" / "data"


class Run(NamedTuple):
    """A process that has ended: its status, peak of resident memory in MB, seconds, and report."""

    status: int
    peak: float
    seconds: float
    report: dict[str, Any]


def main() -> int:
    """Encode undisturbed, then under kills, and print both below what the machine is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", metavar="PATH_OF_MINILM")
    parser.add_argument("--data", type=Path, default=DATA, help="the third-party test data")
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--work", type=Path, help="a folder on the disk to be used")
    parser.add_argument("--output", default="vectors.npy", help="its end is the format")
    options, more = parser.parse_known_args()
    print_machine()
    with tempfile.TemporaryDirectory(prefix="corpus-", dir=options.work) as name:
        folder = Path(name)
        corpus = folder / "corpus.txt"
        with corpus.open("w", encoding="utf-8") as file:
            file.writelines(f"{text}\n" for text in _texts(options.data, options.texts))
        print(f"{options.texts:,} texts, {corpus.stat().st_size / 1e6:.1f} MB", flush=True)
        command = [sys.executable, "-m", "numpy_bert", "encode", "--json", *more]
        command += ["--model", options.checkpoint, "--input", str(corpus), "-o"]
        whole = run([*command, str(folder / f"whole-{options.output}")])
        if whole.status:
            return 1
        rate = whole.report["texts_per_second"]
        print(
            f"undisturbed: {whole.seconds:,.0f} s, {rate:,.0f} texts/s, peak of resident memory "
            f"{whole.peak:,.0f} MB",
            flush=True,
        )
        path = folder / options.output
        same = killed([*command, str(path)], path, whole, options.kills, options.seed)
        same &= digest(path) == digest(folder / f"whole-{options.output}")
    print(f"the bytes are {'the same' if same else 'OTHER ONES'}")
    return int(not same)


def killed(command: list[str], path: Path, whole: Run, kills: int, seed: int) -> bool:
    """Kill a command again and again, then let it end; tell whether it went on each time."""
    draw = np.random.default_rng(seed)
    done, spent, most, lost = 0, 0.0, 0.0, 0
    for number in range(kills):
        # On average as many kills as are left fall into the time that is left.
        left = whole.seconds - whole.seconds * done / whole.report["texts"]
        ended = run(command, after=draw.uniform(0.0, 2 * left / (kills - number + 1)))
        spent, most = spent + ended.seconds, max(most, ended.peak)
        if ended.status != -signal.SIGKILL:
            print(f"kill {number + 1} came too late", flush=True)
            return ended.status == 0
        journal = path.with_name(f"{path.name}.part") / "journal.jsonl"
        lines = journal.read_text().split("\n")[:-1] if journal.is_file() else []
        now = json.loads(lines[-1])["texts"] if lines else 0
        lost += now < done
        done = now
        print(f"kill {number + 1:2} after {ended.seconds:6.1f} s: {done:,} are whole", flush=True)
    last = run(command)
    spent, most = spent + last.seconds, max(most, last.peak)
    print(
        f"killed {kills} times: {spent:,.0f} s in all, peak {most:,.0f} MB; the last run went on "
        f"after {last.report.get('went_on_after', 0):,} texts"
    )
    return last.status == 0 and not lost and last.report["went_on_after"] == done


def run(command: list[str], after: float | None = None) -> Run:
    """Run a command, which is killed after some seconds if they are given."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        with subprocess.Popen(command, stdout=out, stderr=said) as process:
            status, usage = _waited(process, start, after)
        seconds = time.perf_counter() - start
        out.seek(0)
        report = json.loads(out.read() or b"{}")
        if status not in (0, -signal.SIGKILL):
            said.seek(0)
            print(said.read().decode(errors="replace"), file=sys.stderr)
    return Run(status, usage.ru_maxrss * 1024 / 1e6, seconds, report)


def _waited(process: subprocess.Popen[bytes], start: float, after: float | None) -> tuple[int, Any]:
    """Wait for a process, and kill it when it is time; return its status and what it used."""
    while True:
        number, status, usage = os.wait4(process.pid, 0 if after is None else os.WNOHANG)
        if number:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage
        if after is not None and time.perf_counter() - start >= after:
            process.send_signal(signal.SIGKILL)
            after = None
        else:
            time.sleep(0.005)


def short_texts(data: Path, count: int) -> list[str]:
    """Return distinct sentences of Tatoeba, numbered anew each time that they run out."""
    return list(_texts(data, count))


def _texts(data: Path, count: int) -> Iterator[str]:
    """Yield them: what this process holds would count in the peak of those that it starts."""
    lines = (data / "text" / "tatoeba_english.txt").read_text("utf-8").strip().split("\n")
    numbered = (f"{line} {turn}" if turn else line for turn in itertools.count() for line in lines)
    return itertools.islice(numbered, count)


def digest(path: Path) -> str:
    """Return a hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
