"""How often `verify` calls a port wrong that is right, and how small an error it still sees.

    python scripts/report_rounding.py PATH_OF_MINILM [--runs 2000]

Clean runs: torch (eager and SDPA), ONNX Runtime and NumPy with its sums in shuffled orders run
demo, MiniLM and random models whose weights have standard deviations from 0.02 to 3, on 1 to 512
random ids without padding or with it on the left or the right; their traces, of every step, of
hooks, of hidden states or of the last one, are verified. Printed are the alarms, which should be
none, and the largest share of a budget that was needed.

Sensitivity: for each kind of step of MiniLM, the smallest error that differs: all numbers too large
by a factor, or one number of middling size off by a part of the root mean square.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # two processes share the work

import numpy as np
import torch
import transformers
from bench_machine import print_machine
from port_mistakes import Arrays, dump
from port_onnx import export, run_graph
from report_verification import be_quiet, largest_share

from numpy_bert import BertModel
from numpy_bert.progress import progress
from numpy_bert.traces.reading import as_trace
from numpy_bert.traces.trace_inputs import inputs_of
from numpy_bert.verification.steps import Step, steps_of
from numpy_bert.verification.verify import verify

__all__ = ["Clean", "clean_runs", "shuffled", "smallest_errors"]

DEVIATIONS = (0.02, 0.1, 0.5, 1.0, 3.0)
SIZES = {
    "vocab_size": 600,
    "hidden_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "intermediate_size": 224,
}
# A batch of 512 tokens costs as much as forty of the others.
TOKENS = 700


class Clean(NamedTuple):
    """What was said of one clean run."""

    engine: str
    model: str
    kept: str
    verdict: str
    share: float
    where: str


def shuffled(model: BertModel, inputs: Arrays, rng: np.random.Generator) -> Arrays:
    """Run every step in float32, with the terms of each sum in an order drawn at random."""
    given = inputs_of(inputs, model)
    found: Arrays = {}
    for name, step in steps_of(model.config, model.parameters, given).items():
        found[name] = _shuffled(step, rng).run(found, np.float32)
    return {**inputs, **found}


def _shuffled(step: Step, rng: np.random.Generator) -> Step:
    """Return a step whose sums are taken in another order, some of them term by term."""
    inner = step.function
    ways: dict[str, Callable[..., Any]] = {
        "linear": lambda x, **given: _linear(x, given["weight"], given["bias"], rng),
        "pooler.dense": lambda x, **given: _linear(x[:, 0], given["weight"], given["bias"], rng),
        "scores": lambda query, key, **given: _scores(inner, query, key, given, rng),
        "probs": lambda x: _over_last(inner, x, rng),
        "context": lambda probs, value, **given: _context(inner, probs, value, given, rng),
        "layer_norm": lambda x, **given: _layer_norm(inner, x, given, rng),
    }
    return replace(step, function=ways.get(step.kind, inner))


def _linear(x: Any, weight: Any, bias: Any, rng: np.random.Generator) -> Any:
    """Add up pieces of the terms, of one term or many each."""
    order = rng.permutation(x.shape[-1])
    pieces = np.array_split(order, rng.choice([1, 3, 17, len(order)]))
    total = np.zeros((*x.shape[:-1], len(weight)), x.dtype)
    for piece in pieces:
        total += x[..., piece] @ weight[:, piece].T
    return total + bias


def _scores(
    inner: Callable[..., Any], query: Any, key: Any, given: Any, rng: np.random.Generator
) -> Any:
    size = query.shape[-1] // given["heads"]
    order = np.concatenate([head * size + rng.permutation(size) for head in range(given["heads"])])
    return inner(query[..., order], key[..., order], **given)


def _over_last(inner: Callable[..., Any], x: Any, rng: np.random.Generator) -> Any:
    order = rng.permutation(x.shape[-1])
    return inner(x[..., order])[..., np.argsort(order)]


def _context(
    inner: Callable[..., Any], probs: Any, value: Any, given: Any, rng: np.random.Generator
) -> Any:
    order = rng.permutation(value.shape[1])
    mask = given["mask"][:, order]
    return inner(probs[..., order], value[:, order], **{**given, "mask": mask})


def _layer_norm(inner: Callable[..., Any], x: Any, given: Any, rng: np.random.Generator) -> Any:
    """Permute the features, and take the sums term by term every other time."""
    order = rng.permutation(x.shape[-1])
    back = np.argsort(order)
    chosen = {key: given[key][order] for key in ("weight", "bias")}
    rows = x[..., order]
    if rng.random() < 0.5:
        found = _norm_by_terms(rows, **{**given, **chosen})
    else:
        found = inner(rows, **{**given, **chosen})
    return found if found.shape[-1] == 1 else found[..., back]


def _norm_by_terms(x: Any, *, weight: Any, bias: Any, eps: float, part: str) -> Any:
    """LayerNorm of a loop over the features, its variance a mean of squares less a squared mean."""
    one = np.float32(1.0)
    total, squares = (np.zeros_like(x[..., :1]) for _ in range(2))
    for k in range(x.shape[-1]):
        term = x[..., k : k + 1]
        total, squares = total + term, squares + term * term
    count = np.float32(x.shape[-1])
    mean = total / count
    variance = squares / count - mean * mean
    rstd = one / np.sqrt(variance + np.float32(eps))
    normalized = (x - mean) * rstd
    parts = {"mean": mean, "variance": variance, "rstd": rstd, "normalized": normalized}
    return parts[part] if part in parts else normalized * weight + bias


class Subject:
    """One model, in numpy_bert, in torch and as a graph."""

    def __init__(self, name: str, folder: Path, graph: Path | None) -> None:
        self.name = name
        self.graph = graph
        self.exact = BertModel.from_pretrained(folder, dtype="float64")
        self.torch = {
            kind: transformers.BertModel.from_pretrained(
                folder, attn_implementation=kind, dtype=torch.float32
            ).eval()
            for kind in ("eager", "sdpa")
        }

    @property
    def engines(self) -> list[str]:
        """What runs it."""
        graphs = ["ONNX Runtime"] if self.graph is not None else []
        return ["torch, eager", "torch, SDPA", "NumPy, shuffled", *graphs]

    def run(self, engine: str, inputs: Arrays, rng: np.random.Generator) -> Arrays:
        """Return the trace of an engine."""
        if engine == "NumPy, shuffled":
            return shuffled(self.exact, inputs, rng)
        if engine == "ONNX Runtime":
            assert self.graph is not None
            return run_graph(self.graph, inputs, every=True)
        model = self.torch["eager" if engine.endswith("eager") else "sdpa"]
        return dump(model, **{name: torch.from_numpy(rows) for name, rows in inputs.items()})


def inputs_at_random(vocabulary: int, rng: np.random.Generator) -> Arrays:
    """Draw ids of 1 to 512 tokens, and padding on the left, on the right or none."""
    length = int(np.exp(rng.uniform(0.0, np.log(512.5))))
    rows = int(rng.integers(1, max(2, min(5, TOKENS // length + 1))))
    ids = rng.integers(0, vocabulary, (rows, length))
    mask = np.ones_like(ids)
    side = rng.choice(["none", "left", "right"])
    for row in range(rows if side != "none" else 0):
        used = int(rng.integers(1, length + 1)) if row else length
        mask[row, used:] = 0
        if side == "left":
            mask[row] = mask[row, ::-1]
    ids[mask == 0] = 0
    types = (np.arange(length) >= rng.integers(1, length + 1)) * np.ones_like(ids)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types * mask}


KEPT: dict[str, Callable[[str], bool]] = {
    "all": lambda _name: True,
    "hidden states": lambda name: name == "embeddings" or name.rpartition(".")[2].isdigit(),
    "last state": lambda name: name == "encoder",
}
LAST = "/encoder/layer.{}/output/LayerNorm/LayerNormalization_output_0"


def clean_runs(subject: Subject, runs: int, seed: int) -> Iterator[Clean]:
    """Verify runs of a subject by engines that take turns."""
    for number in range(runs):
        rng = np.random.default_rng((seed, number))
        inputs = inputs_at_random(subject.exact.config.vocab_size, rng)
        engine = subject.engines[number % len(subject.engines)]
        trace = subject.run(engine, inputs, rng)
        kept = str(rng.choice(["all", "all", *KEPT]))
        if engine == "ONNX Runtime":
            kept = "all"  # its names are known to `verify` by their pattern
        chosen = {k: a for k, a in trace.items() if k in inputs or KEPT[kept](k)}
        report = verify(as_trace(chosen), subject.exact, look_for_hidden=False)
        yield Clean(engine, subject.name, kept, report.verdict, *largest_share(report))


def random_model(folder: Path, deviation: float, seed: int) -> Path:
    """Write a model whose weights are normal with one standard deviation."""
    torch.manual_seed(seed)
    model = transformers.BertModel(transformers.BertConfig(**SIZES))
    for name, weight in model.named_parameters():
        is_norm = name.endswith("LayerNorm.weight")
        weight.data.normal_(1.0 if is_norm else 0.0, min(deviation, 0.5) if is_norm else deviation)
    model.save_pretrained(folder)
    return folder


def worked(name: str, folder: Path, graph: Path | None, runs: int, seed: int) -> list[Clean]:
    """Verify the runs of one model; in a process of its own."""
    be_quiet()
    torch.set_num_threads(1)
    return list(clean_runs(Subject(name, folder, graph), runs, seed))


def all_runs(checkpoint: Path, folder: Path, runs: int, seed: int) -> list[Clean]:
    """Verify the runs of all models, in two processes."""
    demo = Path(str(BertModel.from_pretrained("demo").loading_info.files[0])).parent
    places = {"demo": demo, "MiniLM": checkpoint}
    for deviation in DEVIATIONS:
        places[f"random, {deviation:g}"] = random_model(folder / str(deviation), deviation, seed)
    graphs = {
        name: export(place, folder / f"{number}.onnx")
        for number, (name, place) in enumerate(places.items())
        if name in ("demo", "MiniLM", "random, 0.5")
    }
    # Half of them with demo, where alarms were; pieces, so that two processes end together.
    shares = {name: runs // 8 if name == "MiniLM" else runs // 16 for name in places}
    shares["demo"] = runs - sum(shares.values()) + shares["demo"]
    size = 25
    jobs = [
        (name, places[name], graphs.get(name), min(size, count - first), seed + first)
        for name, count in shares.items()
        for first in range(0, count, size)
    ]
    found: list[Clean] = []
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(2, context) as pool,
        progress(len(jobs), "clean runs", least=2, unit="parts") as tick,
    ):
        for done in as_completed([pool.submit(worked, *job) for job in jobs]):
            found += done.result()
            tick(1)
    return found


def print_runs(found: Sequence[Clean]) -> None:
    """Print a line for each engine and model."""
    print("| engine | model | runs | alarms | largest share | at |")
    print("|---|---|---|---|---|---|")
    for engine, model in sorted({(run.engine, run.model) for run in found}):
        own = [run for run in found if (run.engine, run.model) == (engine, model)]
        worst = max(own, key=lambda run: run.share)
        alarms = sum(run.verdict != "pass" for run in own)
        print(
            f"| {engine} | {model} | {len(own)} | {alarms} | {worst.share:.2f} | `{worst.where}` |"
        )
    alarms = sum(run.verdict != "pass" for run in found)
    worst = max(found, key=lambda run: run.share)
    # The rule of three: what 95 of 100 such counts would not show.
    bound = f"; at most {3.0 / len(found):.2%} of runs with 95 % confidence" if not alarms else ""
    print(f"\n{len(found)} clean runs, {alarms} alarms{bound}; largest share {worst.share:.2f}")


def smallest_errors(model: BertModel, layer: int = 2) -> Iterator[tuple[str, float, float]]:
    """Yield steps with the smallest errors that are seen: of a factor, and of one number."""
    rng = np.random.default_rng(0)
    ids = rng.integers(1000, 20000, (3, 24))
    inputs: Arrays = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    inputs["attention_mask"][1, 16:] = 0
    given = inputs_of(inputs, model)
    steps = steps_of(model.config, model.parameters, given)
    trace: Arrays = {}
    for name, step in steps.items():
        trace[name] = step.run(trace, np.float32)
    prefix = f"encoder.layer.{layer}"
    names = [n for n in steps if n.startswith((f"{prefix}.", "embeddings.LayerNorm", "pooler"))]
    for name in names:
        if steps[name].kind in ("same", "dropout"):
            continue
        held = {n: trace[n] for n in (*steps[name].inputs, name)}
        yield name, *_smallest(held, name, inputs, model)


def _smallest(held: Arrays, name: str, inputs: Arrays, model: BertModel) -> tuple[float, float]:
    """Return the smallest factor less 1, and the smallest part of the root mean square."""
    array = held[name].astype(np.float64)
    real = np.abs(array) < 1e29
    size = np.sqrt(np.square(array[real]).mean())
    middling = np.abs(np.where(real, np.abs(array), np.inf)[0] - np.median(np.abs(array[0])))
    place = (0, *np.unravel_index(middling.argmin(), middling.shape))

    def is_seen(changed: Any) -> bool:
        given = {**inputs, **held, name: changed.astype(np.float32)}
        report = verify(as_trace(given), model, look_for_hidden=False)
        return any(row.name == name and row.verdict == "differs" for row in report.steps)

    def scaled(part: float) -> Any:
        return np.where(real, array * (1.0 + part), array)

    def moved(part: float) -> Any:
        changed = array.copy()
        changed[place] += part * size
        return changed

    return _least(lambda part: is_seen(scaled(part))), _least(lambda part: is_seen(moved(part)))


def _least(is_seen: Callable[[float], bool]) -> float:
    """Return the smallest power of the root of two that is seen."""
    low, high = -60, 10  # powers of the root of two: 1e-9 to 32
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_seen(2.0 ** (middle / 2.0)) else (middle, high)
    return float(2.0 ** (high / 2.0))


def print_smallest(model: BertModel) -> None:
    """Print the smallest errors that are seen."""
    print("\n| step | all numbers too large by | one number off by, of the root mean square |")
    print("|---|---|---|")
    for name, factor, part in smallest_errors(model):
        print(f"| `{name}` | {factor:.1e} | {part:.1e} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkpoint", type=Path, help="the folder of all-MiniLM-L6-v2")
    parser.add_argument("--runs", type=int, default=2000, help="how many clean runs (2000)")
    parser.add_argument("--seed", type=int, default=0, help="what the runs are drawn by")
    parser.add_argument("--only", choices=("clean", "sensitivity"), help="one of the two alone")
    options = parser.parse_args()
    be_quiet()
    print_machine()
    alarms = 0
    start = time.perf_counter()
    if options.only != "sensitivity":
        with tempfile.TemporaryDirectory() as folder:
            found = all_runs(options.checkpoint, Path(folder), options.runs, options.seed)
        print_runs(found)
        print(f"{time.perf_counter() - start:.0f} s")
        alarms = sum(run.verdict != "pass" for run in found)
    if options.only != "clean":
        print_smallest(BertModel.from_pretrained(options.checkpoint, dtype="float64"))
    raise SystemExit(1 if alarms else 0)


if __name__ == "__main__":
    main()
