"""What loading hostile files costs: peak memory and seconds, each in a process of its own.

    python scripts/report_hostile.py            # half a minute, and some MB in a temporary folder

Every file is put into a small sentence model, which SentenceEncoder.from_pretrained then loads or
refuses. Memory is the peak beyond what Python takes with the package imported, and mapped files
count in it; Linux alone tells it. Prints the machine, and a table. The exit code is 1 if a file is
taken that must be refused, or the other way round, or costs more than LIMITS.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from bench_machine import print_machine

from numpy_bert.loading.cache import demo_folder

__all__ = ["CASES", "Case", "Cost", "main", "measured"]

LIMITS = {"MiB": 300.0, "seconds": 20.0}
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
WORDS = "embeddings.word_embeddings.weight"
PROGRAM = """
import json, re, sys, time
from pathlib import Path
from numpy_bert import NumpyBertError, SentenceEncoder

def peak():
    # Not getrusage, whose peak begins with that of the process that started this one.
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

start, before = time.process_time(), peak()
try:
    SentenceEncoder.from_pretrained(sys.argv[1])
    said = ""
except NumpyBertError as failure:
    said = str(failure)
print(json.dumps([said, time.process_time() - start, peak() - before]))
"""


class Case(NamedTuple):
    """A hostile file: how it is made in a folder, and what must be said of it, "" if it is fine."""

    make: Callable[[Path], object]
    said: str


class Cost(NamedTuple):
    """What was said of a folder, in how many seconds, with how much memory at the peak."""

    said: str
    seconds: float
    mebibytes: float


def pack(header: bytes, size: int = 0) -> bytes:
    """Return a safetensors file: the header's length, the header, and zeros."""
    return struct.pack("<Q", len(header)) + header + bytes(size)


def more_tensors(folder: Path, more: Mapping[str, Sequence[int]]) -> None:
    """Add tensors of U8 to the weights, by their names and shapes, all of zeros and sparse."""
    path, tensors, end = folder / WEIGHTS, dict[str, Any](), 0
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    tensors = json.loads(data[8 : 8 + length])
    body = data[8 + length :]
    end = len(body)
    for name, shape in more.items():
        size = int(np.prod(shape, dtype=object))
        offsets = [end, end := end + size]
        tensors[name] = {"dtype": "U8", "shape": list(shape), "data_offsets": offsets}
    start = pack(json.dumps(tensors).encode())
    path.write_bytes(start + body)
    os.truncate(path, len(start) + end)


def twice(folder: Path) -> None:
    """Add a second name of one parameter, which must be compared with the first."""
    size = 1 << 26
    more_tensors(folder, {f"bert.{WORDS}x": [size], f"{WORDS}x": [size]})


def listed(folder: Path, text: str) -> None:
    """Put an index in the place of the weights."""
    (folder / WEIGHTS).unlink()
    (folder / INDEX).write_text(text)


def header(text: bytes, size: int = 0) -> Callable[[Path], object]:
    """Return what writes weights of that header and as many zeros."""
    return lambda folder: (folder / WEIGHTS).write_bytes(pack(text, size))


def stated(name: str, text: str) -> Callable[[Path], object]:
    """Return what writes a file of that text."""
    return lambda folder: (folder / name).write_text(text)


def changed(name: str, **members: Any) -> Callable[[Path], object]:
    """Return what writes a settings file with some members changed."""

    def make(folder: Path) -> None:
        values = json.loads((folder / name).read_text()) | members
        (folder / name).write_text(json.dumps(values))

    return make


def device(folder: Path) -> None:
    """Put a link to an endless device in the place of the weights."""
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to("/dev/zero")


def claimed(folder: Path) -> None:
    """Write a file of 64 GB on paper, and a header that claims as much as may be read of one."""
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", 25_000_000) + b'{"a":')
    os.truncate(folder / WEIGHTS, 64 << 30)


MANY = "holds more than 1,000,000 values"
LISTS = "[]," * 8_000_000
CASES: Mapping[str, Case] = {
    "no hostile file": Case(lambda _: None, ""),
    "100,000 tensors, all but BERT's unused": Case(
        lambda folder: more_tensors(folder, {str(n): [0] for n in range(99_900)}), ""
    ),
    "300,000 tensors": Case(
        lambda folder: more_tensors(folder, {str(n): [0] for n in range(300_000)}),
        "holds more than 100,000 tensors",
    ),
    "an unused tensor of 64 GiB, sparse": Case(
        lambda folder: more_tensors(folder, {"x": [1 << 36]}), ""
    ),
    "one parameter twice, 64 MiB each": Case(twice, ""),
    "a header of 24 MB of empty lists": Case(
        header(b'{"__metadata__":[' + LISTS.encode() + b"0]}"), MANY
    ),
    "a header of 25 MB that begins in a file of 64 GiB": Case(claimed, "is not JSON"),
    "a header nested 200,000 deep": Case(header(b'{"a":' + b"[" * 200_000), "nested too deeply"),
    "a name of 20 MB": Case(header(b'{"%s":0}' % (b"n" * 20_000_000)), "must have a dtype"),
    "the weights a link to /dev/zero": Case(device, "is not a regular file"),
    "an index of 4 MB of empty lists": Case(
        lambda folder: listed(folder, f'{{"weight_map":[{LISTS[:3_999_999]}0]}}'), MANY
    ),
    "an index of 100,000 shards": Case(
        lambda folder: listed(
            folder,
            json.dumps({"weight_map": {str(n): f"{n}.safetensors" for n in range(100_000)}}),
        ),
        "lists shards that are not there",
    ),
    "config.json of 1 MB of empty lists": Case(
        stated("config.json", '{"x":[' + "[]," * 349_000 + "0]}"), "hidden_size"
    ),
    "config.json of 24 MB": Case(stated("config.json", f'{{"x":[{LISTS}0]}}'), "are read"),
    "a config of 1,024 layers of 2**24": Case(
        changed("config.json", num_hidden_layers=1024, hidden_size=1 << 24), "keys missing"
    ),
    "modules.json of 1 MB of empty lists": Case(
        stated("modules.json", "[" + "[]," * 349_000 + "0]"), "is not a list of modules"
    ),
    "tokenizer.json of 24 MB of empty lists": Case(
        changed("tokenizer.json", x=[[]] * 6_000_000), "is no tokenizer"
    ),
}


def measured(case: Case, folder: Path) -> Cost:
    """Make the model with a hostile file in a new folder, and load it in a new process."""
    demo = demo_folder()
    for path in demo.rglob("*.*"):
        copy = folder / path.relative_to(demo)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    case.make(folder)
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if result.returncode:
        said = (result.stderr.strip().splitlines() or ["nothing"])[-1]
        return Cost(f"exit code {result.returncode}: {said}", 0.0, 0.0)
    return Cost(*json.loads(result.stdout))


def fault(case: Case, cost: Cost) -> str:
    """Say what is wrong with the outcome of a case; "" for nothing."""
    if bool(case.said) != bool(cost.said) or case.said not in cost.said:
        return f"must say {case.said or 'nothing'!r}; it said {cost.said[:300] or 'nothing'!r}"
    if cost.mebibytes > LIMITS["MiB"] or cost.seconds > LIMITS["seconds"]:
        return f"costs more than {LIMITS}"
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Load every hostile file, print what it cost, and return the exit code."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None).parse_args(
        arguments
    )
    print_machine("tokenizers")
    print("| file | outcome | seconds | peak, MiB |")
    print("|---|---|---|---|")
    faults = list[str]()
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            cost = measured(case, Path(folder))
        outcome = f"refused: {case.said}" if case.said else "taken"
        print(f"| {name} | {outcome} | {cost.seconds:.2f} | {cost.mebibytes:.0f} |", flush=True)
        if fault(case, cost):
            faults.append(f"{name}: {fault(case, cost)}")
    print(*faults, sep="\n")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
