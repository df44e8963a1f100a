"""Try hostile inputs made by chance: each is taken for what it is, or refused by an error of ours.

    python scripts/fuzz.py TARGET [TARGET ...] --inputs N --seed S
    python scripts/fuzz.py all --inputs 20000
    python scripts/fuzz.py TARGET --seed S --only INDEX

An input is made from the seed, the target's name and its number alone, so that `--only` makes one
again and tries it in this process, with the traceback. The inputs of a target are tried in
processes of their own: what ends one (a crash), or takes longer than --limit (a hang), is one
finding, and the rest goes on after it. The exit code is 1 if there is a finding.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from bench_machine import print_machine
from fuzz_target import Difference, Target

from numpy_bert.progress import progress

# The modules of targets: every fuzz_*.py beside this file but the one that says what a target is.
MODULES = sorted({path.stem for path in Path(__file__).parent.glob("fuzz_*.py")} - {"fuzz_target"})
KINDS = ("not ours", "differ", "crashed", "hung")
# Findings of one target that are printed; the table counts all.
_PRINTED = 20
# The places of the numbers that a worker and this process share.
_AT, _TAKEN, _REFUSED, _PEAK = range(4)


class Finding(NamedTuple):
    """An input that was neither taken for what it is nor refused by an error of ours."""

    number: int
    kind: str
    text: str


@dataclass
class Tally:
    """What became of the inputs of a target."""

    taken: int = 0
    refused: int = 0
    slowest: float = 0.0
    peak: int = 0
    findings: list[Finding] = field(default_factory=list)


def targets(modules: Sequence[str] = MODULES) -> dict[str, tuple[str, Target]]:
    """Return all targets by their names, each with the module that has it."""
    found = dict[str, tuple[str, Target]]()
    for module in modules:
        for target in importlib.import_module(module).TARGETS:
            assert target.name not in found, f"two targets are called {target.name}"
            found[target.name] = (module, target)
    return found


def generator(seed: int, name: str, index: int) -> random.Random:
    """Return the generator that decides what an input is."""
    return random.Random(f"{seed} {name} {index}")  # noqa: S311


def work(
    module: str,
    name: str,
    seed: int,
    rows: range,
    shared: Any,
    times: Any,
    findings: Connection,
) -> None:
    """Try inputs in a process of their own, and say at each moment which one it is at."""
    warnings.simplefilter("ignore")
    silence = os.open(os.devnull, os.O_WRONLY)
    for place in (1, 2):  # what libraries print; --only shows it
        os.dup2(silence, place)
    with tempfile.TemporaryDirectory() as folder:
        target = targets([module])[name][1]
        state = target.prepare(Path(folder))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for index in rows:
            shared[_AT], times[0] = index, time.monotonic()
            try:
                taken = target.attempt(state, generator(seed, name, index))
            except Difference as failure:
                findings.send(Finding(index, "differ", str(failure)))
            except Exception as failure:  # noqa: BLE001 what is looked for
                findings.send(Finding(index, "not ours", f"{type(failure).__name__}: {failure}"))
            else:
                shared[_TAKEN if taken else _REFUSED] += 1
            times[1] = max(times[1], time.monotonic() - times[0])
            shared[_PEAK] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        shared[_AT], times[0] = rows.stop, 0.0


class Worker:
    """A stretch of a target's inputs, tried in a process that is started anew after each fault."""

    def __init__(self, module: str, name: str, seed: int, rows: range, limit: float) -> None:
        self.rows, self.tally = rows, Tally()
        self._arguments, self._limit = (module, name, seed), limit
        self._context = multiprocessing.get_context("spawn")
        self._done = rows.start
        self._start(rows)

    def _start(self, rows: range) -> None:
        self._shared = self._context.Array("q", [rows.start - 1, 0, 0, 0], lock=False)
        self._times = self._context.Array("d", [0.0, 0.0], lock=False)
        self._receiver, sender = self._context.Pipe(duplex=False)
        self._process = self._context.Process(
            target=work, args=(*self._arguments, rows, self._shared, self._times, sender)
        )
        self._process.start()
        sender.close()

    @property
    def done(self) -> int:
        """How many inputs have been tried so far."""
        at = int(self._shared[_AT])
        return max(at, self._done) - self.rows.start

    def look(self) -> bool:
        """Gather what was found, and go on after a fault; tell whether there is more to come."""
        ended = not self._process.is_alive()  # before the pipe is read, so that nothing is missed
        self._gather()
        at, since = int(self._shared[_AT]), self._times[0]
        if not ended:
            if since and time.monotonic() - since > self._limit:
                self._process.kill()
                self._process.join()
                self._gather()
                self._after(at, "hung", f"not done after {self._limit:g} s")
            return True
        if at < self.rows.stop:
            if at < self._done or not since:
                raise SystemExit(f"{self._arguments[1]}: could not be prepared; try --only 0.")
            self._after(at, "crashed", f"the process ended with {self._process.exitcode}")
            return True
        self._add()
        return False

    def _gather(self) -> None:
        try:
            while self._receiver.poll():
                self.tally.findings.append(self._receiver.recv())
        except (EOFError, OSError):
            pass

    def _after(self, at: int, kind: str, text: str) -> None:
        """Count a fault and start again behind it."""
        self.tally.findings.append(Finding(at, kind, text))
        self._add()
        self._done = at + 1
        self._start(range(at + 1, self.rows.stop))

    def _add(self) -> None:
        self.tally.taken += int(self._shared[_TAKEN])
        self.tally.refused += int(self._shared[_REFUSED])
        self.tally.peak = max(self.tally.peak, int(self._shared[_PEAK]))
        self.tally.slowest = max(self.tally.slowest, self._times[1])


def fuzz(module: str, name: str, *, seed: int, inputs: int, processes: int, limit: float) -> Tally:
    """Try inputs of one target and return what became of them."""
    bounds = [inputs * part // processes for part in range(processes + 1)]
    stretches = [range(*pair) for pair in pairwise(bounds)]
    workers = [Worker(module, name, seed, rows, limit) for rows in stretches if rows]
    running, done = list(workers), 0
    with progress(inputs, name, least=1, unit="input", delay=2) as report:
        while running:
            time.sleep(0.05)
            running = [worker for worker in running if worker.look()]
            now = sum(worker.done for worker in workers)
            report(now - done)
            done = now
    total = Tally()
    for worker in workers:
        tally = worker.tally
        total.taken += tally.taken
        total.refused += tally.refused
        total.slowest = max(total.slowest, tally.slowest)
        total.peak = max(total.peak, tally.peak)
        total.findings += tally.findings
    return total


def row(target: Target, inputs: int, tally: Tally) -> str:
    """Return a line of the table."""
    counts = Counter(finding.kind for finding in tally.findings)
    cells = [target.name, target.against, f"{inputs:,}", f"{tally.taken:,}", f"{tally.refused:,}"]
    cells += [str(counts[kind]) for kind in KINDS]
    cells += [f"{tally.slowest:.2f}", f"{tally.peak / 1024:.0f}"]
    return f"| {' | '.join(cells)} |"


def described(name: str, tally: Tally) -> Iterator[str]:
    """Yield a line for each of the first findings."""
    for finding in tally.findings[:_PRINTED]:
        yield f"{name} --only {finding.number}: {finding.kind}: {finding.text[:500]}"
    if len(tally.findings) > _PRINTED:
        yield f"{name}: and {len(tally.findings) - _PRINTED} more"


def main(arguments: Sequence[str] | None = None, modules: Sequence[str] = MODULES) -> int:
    """Run the script; return its exit code."""
    known = targets(modules)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", nargs="+", choices=["all", *known])
    parser.add_argument("--inputs", type=int, default=1000, help="of each quick target (1000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of the one input that is tried")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds that are a hang (60)")
    options = parser.parse_args(arguments)
    names = list(known) if "all" in options.target else options.target
    if options.only is not None:
        return _one(known[names[0]][1], options.seed, options.only)
    print_machine()
    print("| target | held to | inputs | taken, the same | refused | " + " | ".join(KINDS), end="")
    print(" | slowest, s | memory, MiB |")
    print("|---" * (7 + len(KINDS)) + "|", flush=True)
    tallies, total = dict[str, Tally](), 0
    for name in names:
        module, target = known[name]
        inputs = max(options.inputs // target.cost, 1)
        tallies[name] = fuzz(
            module,
            name,
            seed=options.seed,
            inputs=inputs,
            processes=options.processes,
            limit=options.limit,
        )
        print(row(target, inputs, tallies[name]), flush=True)
        total += inputs
    found = sum(len(tally.findings) for tally in tallies.values())
    print(f"\n{total:,} inputs, {found} findings (seed {options.seed})")
    for name, tally in tallies.items():
        print(*described(name, tally), sep="\n", end="\n" if tally.findings else "")
    return int(found > 0)


def _one(target: Target, seed: int, index: int) -> int:
    """Try one input here, so that what it raises is seen."""
    with tempfile.TemporaryDirectory() as folder:
        state = target.prepare(Path(folder))
        taken = target.attempt(state, generator(seed, target.name, index))
    print(f"{target.name} {index}: {'taken, the same' if taken else 'refused'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
