"""How fast numpy_bert is on other processors, as far as this one can play them.

OpenBLAS, NumPy's own loops and torch have code for several generations of processors, and take the
newest that runs. Environment variables hold them to an older one. Under each kernel of OpenBLAS
that this processor can run, processes of their own measure numpy_bert and torch in turn, both held
to one generation: `encode` (the texts of bench_encode.py) and the input embedding (the shapes of
bench_embeddings.py). Every other process has NUMPY_BERT_TUNING=plain, where numpy_bert takes each
product as one large one.

Printed are numpy_bert's median seconds and how many times as long it takes with the plain products,
and torch; in the end a line for each kernel says whether numpy_bert is slower there than one of
them. A product of one size by both libraries, in GFLOP/s, shows whether torch was held: where its
product did not slow down, the two are not comparable, and the line says so. ONNX Runtime is left
out.

    pip install -e ".[bench]"
    python scripts/bench_processors.py PATH_OF_MINILM [--kernels Haswell Nehalem]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from bench_embeddings import CONFIG, SHAPES, Torch, compare, random_parameters
from bench_encode import DATA, alternate
from bench_machine import print_machine
from bench_rivals import Ours, hold_threads, mixed_texts
from bench_rivals import Torch as TorchModel

import numpy_bert
from numpy_bert.model.embeddings import BertEmbeddings

__all__ = ["KERNELS", "Found", "is_held", "missing_flags", "settings", "verdict"]

# Rows, features in and features out of the product that shows what a library runs.
PRODUCT = (2048, 384, 1536)
# What is called slower: more than two measurements of one thing differ by.
SLOWER = 0.97
# torch was held if its product lost a fifth of its speed, or about as much as NumPy's did: an
# older generation may be as fast.
HELD, ABOUT = 0.8, 1.15


@dataclass(frozen=True)
class Level:
    """A generation of instructions, as each library names it.

    `numpy` has what it adds to the generations before it, in NumPy's names until 2.3 and since.
    """

    numpy: tuple[str, ...]
    aten: str
    mkl: str
    onednn: str


LEVELS = {
    "SSE3": Level(("SSE", "SSE2", "SSE3"), "default", "SSE4_2", "SSE41"),
    "SSE4.2": Level(("SSSE3", "SSE41", "POPCNT", "SSE42", "X86_V2"), "default", "SSE4_2", "SSE41"),
    "AVX": Level(("AVX",), "default", "AVX", "AVX"),
    "AVX2": Level(("F16C", "FMA3", "AVX2", "X86_V3"), "avx2", "AVX2", "AVX2"),
    "AVX-512": Level(
        (
            *("AVX512F", "AVX512CD", "AVX512_SKX", "AVX512_CLX", "AVX512_CNL"),
            *("X86_V4", "AVX512_ICL", "AVX512_SPR"),
        ),
        *("avx512", "AVX512", "AVX512_CORE"),
    ),
}


@dataclass(frozen=True)
class Kernel:
    """A kernel of OpenBLAS: its generation, and the flags that the processor must have.

    `also` are names of older kernels by which a build without those reports it.
    """

    level: str
    flags: frozenset[str]
    also: tuple[str, ...] = ()


_AVX2 = frozenset({"avx2", "fma"})
_AVX512 = _AVX2 | {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}
# By the name that OPENBLAS_CORETYPE takes; flags are those of /proc/cpuinfo, where SSE3 is pni.
KERNELS = {
    "Prescott": Kernel("SSE3", frozenset({"pni"}), ("Katmai", "Coppermine", "Northwood")),
    "Nehalem": Kernel("SSE4.2", frozenset({"sse4_2"})),
    "Sandybridge": Kernel("AVX", frozenset({"avx"})),
    "Haswell": Kernel("AVX2", _AVX2),
    "Zen": Kernel("AVX2", _AVX2),
    "SkylakeX": Kernel("AVX-512", _AVX512),
    "Cooperlake": Kernel("AVX-512", _AVX512 | {"avx512_bf16"}),
    "SapphireRapids": Kernel("AVX-512", _AVX512 | {"avx512_bf16", "amx_tile"}),
}
AS_IT_IS = "as it is"
# What the processes measure: encode's seconds, the geometric mean of the embeddings' ones.
WORK = ("encode", "embedding")


@dataclass(frozen=True)
class Found:
    """What was measured under a kernel: GFLOP/s by library, seconds and ratios by work.

    `tuning` is what numpy_bert says of such a process: the running kernel, the choices in force;
    `is_plain` whether they are those of the plain products, whose ratios are then noise.
    """

    products: Mapping[str, float]
    seconds: Mapping[str, float]
    plain: Mapping[str, float]
    torch: Mapping[str, float]
    tuning: str = ""
    is_plain: bool = False


def main() -> None:
    """Print a table for each kernel, and the verdicts."""
    options = arguments()
    if options.child:
        print(json.dumps(measured(options)))
        return
    print_machine("torch", "transformers")
    flags, vendor = processor()
    simd: Any = np.show_config(mode="dicts")
    features = simd["SIMD Extensions"].get("found", [])
    native = run(options, {})
    report(AS_IT_IS, native)
    verdicts = [verdict(AS_IT_IS, native, native)]
    for name in options.kernels:
        missing = missing_flags(name, flags)
        environment = settings(name, features, vendor)
        running = "" if missing else running_kernel(environment)
        if missing:
            verdicts.append(f"{name}: not run, the processor is without {', '.join(missing)}")
        elif running.casefold() not in (n.casefold() for n in (name, *KERNELS[name].also)):
            verdicts.append(f"{name}: not run, NumPy's BLAS takes its kernel {running} for it")
        else:
            found = run(options, environment)
            report(f"{name}, {' '.join(f'{k}={v}' for k, v in environment.items())}", found)
            verdicts.append(verdict(name, found, native))
    print("\n".join(verdicts))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path, metavar="PATH_OF_MINILM")
    parser.add_argument("--data", type=Path, default=DATA, help="the third-party test data")
    parser.add_argument("--kernels", nargs="+", choices=KERNELS, default=tuple(KERNELS))
    parser.add_argument(
        "--texts", type=int, default=300, help="with few, torch computes mostly padding"
    )
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="BxT")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3, help="turns within a process")
    parser.add_argument("--turns", type=int, default=3, help="of the two kinds of processes")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def processor() -> tuple[set[str], str]:
    """Return the processor's flags and its maker, as Linux on x86 names them; nothing elsewhere."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text("utf-8", errors="replace").splitlines() if path.exists() else []
    members = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    return set(members.get("flags", "").split()), members.get("vendor_id", "")


def missing_flags(name: str, flags: Collection[str]) -> list[str]:
    """Return what a kernel needs and the processor has not."""
    return sorted(KERNELS[name].flags.difference(flags))


def settings(name: str, features: Iterable[str], vendor: str) -> dict[str, str]:
    """Return the environment that holds all three libraries to a kernel's generation.

    NumPy refuses to disable what it was not built to choose, so `features` must be those that its
    configuration says it found.
    """
    level = KERNELS[name].level
    allowed = set[str]()
    for each, names in LEVELS.items():
        allowed.update(names.numpy)
        if each == level:
            break
    held = LEVELS[level]
    environment = {
        "OPENBLAS_CORETYPE": name,
        "ATEN_CPU_CAPABILITY": held.aten,
        "MKL_ENABLE_INSTRUCTIONS": held.mkl,
        "ONEDNN_MAX_CPU_ISA": held.onednn,
    }
    if off := [feature for feature in features if feature not in allowed]:
        environment["NPY_DISABLE_CPU_FEATURES"] = " ".join(off)
    if vendor != "GenuineIntel" and held.mkl == "SSE4_2":
        # MKL documents the other one for Intel's processors, and an AMD EPYC did not slow down by
        # it; this one's oldest code it takes on all.
        environment["MKL_CBWR"] = "COMPATIBLE"
    return environment


def running_kernel(environment: Mapping[str, str]) -> str:
    """Return the kernel that OpenBLAS runs in such a process, as threadpoolctl reads it."""
    code = (
        "import numpy, threadpoolctl\n"
        "print(*(b.get('architecture', 'none') for b in threadpoolctl.threadpool_info()))"
    )
    return python(("-c", code), environment).split()[0]


def run(options: argparse.Namespace, environment: Mapping[str, str]) -> Found:
    """Measure in processes of their own, every other one with plain products."""
    command = [__file__, str(options.checkpoint), "--child", "--data", str(options.data)]
    command += ["--texts", str(options.texts), "--threads", str(options.threads)]
    command += ["--rounds", str(options.rounds), "--shapes", *options.shapes]
    plain = {**environment, "NUMPY_BERT_TUNING": "plain"}
    what, pairs = environment.get("OPENBLAS_CORETYPE", AS_IT_IS), []
    for turn in range(options.turns):
        print(f"{what}: turn {turn + 1} of {options.turns}", file=sys.stderr, flush=True)
        tuned, one_large = (
            json.loads(python(command, held).splitlines()[-1]) for held in (environment, plain)
        )
        pairs.append((tuned, one_large))
    return Found(
        products={k: max(tuned[k] for tuned, _ in pairs) for k in ("numpy", "torch")},
        seconds={w: statistics.median(tuned[w] for tuned, _ in pairs) for w in WORK},
        plain={w: statistics.median(other[w] / tuned[w] for tuned, other in pairs) for w in WORK},
        torch={w: statistics.median(tuned[f"{w} torch"] for tuned, _ in pairs) for w in WORK},
        tuning=pairs[0][0]["tuning"],
        is_plain=choices(pairs[0][0]["tuning"]) == choices(pairs[0][1]["tuning"]),
    )


def choices(tuning: str) -> list[str]:
    """Return what numpy_bert says of a process without who chose."""
    return [line for line in tuning.splitlines() if "choices:" not in line]


def python(arguments: Iterable[str], environment: Mapping[str, str]) -> str:
    """Run Python in a process of its own and return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    if done.returncode:
        held = " ".join(f"{name}={value}" for name, value in environment.items())
        raise SystemExit(f"with {held} a process ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Measure this process: both libraries' products, both works of numpy_bert and torch."""
    held = hold_threads(options.threads)
    texts = mixed_texts(options.data, options.texts)
    checkpoint = options.checkpoint.resolve()
    contenders = Ours(checkpoint), TorchModel(checkpoint, checkpoint, options.threads)
    vectors = [contender.encode(texts) for contender in contenders]
    worst = float(np.abs(vectors[0] - vectors[1]).max())
    assert worst < 2e-5, f"torch differs by {worst}"
    calls: dict[str, Callable[[], object]] = {c.name: partial(c.encode, texts) for c in contenders}
    own, theirs = alternate(calls, options.rounds).values()
    parameters = random_parameters(np.random.default_rng(0))
    ours, rivals = BertEmbeddings(parameters, CONFIG), (Torch(parameters, options.threads),)
    embeddings = [
        compare(ours, rivals, shape, mixed, options.threads, 3 * options.rounds)
        for shape in options.shapes
        for mixed in (False, True)
    ]
    found = {
        "tuning": str(numpy_bert.tuning()),
        **products(),
        "encode": statistics.median(own),
        "encode torch": statistics.median(b / a for a, b in zip(own, theirs, strict=True)),
        "embedding": statistics.geometric_mean(one["seconds"] for one in embeddings),
        "embedding torch": statistics.geometric_mean(one["torch"] for one in embeddings),
    }
    held.restore_original_limits()
    return found


def products() -> dict[str, float]:
    """Return the GFLOP/s of one product by NumPy and by torch, the best of some calls."""
    import torch

    rows, features, wide = PRODUCT
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, features), np.float32)
    weight = rng.standard_normal((wide, features), np.float32)
    across, out = np.ascontiguousarray(weight.T), np.empty((rows, wide), np.float32)
    given = torch.from_numpy(x), torch.from_numpy(weight)
    calls: dict[str, Callable[[], object]] = {
        "numpy": lambda: np.matmul(x, across, out),
        "torch": lambda: torch.nn.functional.linear(*given),
    }
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(6):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - start)
    return {name: 2e-9 * rows * features * wide / seconds for name, seconds in best.items()}


def report(name: str, found: Found) -> None:
    """Print the table of a kernel, below what numpy_bert says of it."""
    print(name)
    print(textwrap.indent(found.tuning, "  "))
    speeds = ", ".join(f"{library} {speed:.0f}" for library, speed in found.products.items())
    print(f"  a product of {' x '.join(map(str, PRODUCT))}, GFLOP/s: {speeds}")
    print(f"  {'times as long:':>14} {'numpy_bert':>12} {'plain':>7} {'torch':>7}")
    for work, seconds in found.seconds.items():
        print(
            f"  {work:>14} {seconds * 1e3:9.2f} ms {found.plain[work]:7.2f} "
            f"{found.torch[work]:7.2f}"
        )
    print(flush=True)


def verdict(name: str, found: Found, native: Found) -> str:
    """Say whether numpy_bert is slower under a kernel than the plain product, or than torch."""
    plain = "the choices are the plain product's"
    parts = [plain if found.is_plain else _compared("the plain product", found.plain)]
    shares = {k: speed / native.products[k] for k, speed in found.products.items()}
    if is_held(shares["numpy"], shares["torch"]):
        parts.append(_compared("torch", found.torch))
    else:
        parts.append(f"torch is not comparable: it keeps {shares['torch']:.0%} of its speed")
    return f"{name}: {'; '.join(parts)}"


def is_held(numpy: float, torch: float) -> bool:
    """Tell from what is left of the speed of either's product whether torch was held, too."""
    return torch <= max(HELD, ABOUT * numpy)


def _compared(other: str, ratios: Mapping[str, float]) -> str:
    """Say whether one of the ratios is less than 1."""
    values = ", ".join(f"{work} {ratio:.2f}" for work, ratio in ratios.items())
    slower = min(ratios.values()) < SLOWER
    return f"{'SLOWER than' if slower else 'no slower than'} {other} ({values})"


if __name__ == "__main__":
    main()
