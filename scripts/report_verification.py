"""What `verify` says of known mistakes, made in torch and in ONNX Runtime, on a real checkpoint.

    python scripts/report_verification.py PATH_OF_MINILM

Three tables. How much of their budgets the clean runs of torch and ONNX Runtime need, by which the
one constant of the budgets was chosen. Every mistake of port_mistakes.py, made in the first, a
middle and the last layer: the step and the cause that are named in float32, and what is said in
float16; beside it whether the gates that projects use would have seen it: the cosine of the
sentence vector above 0.999, five values of it within 1e-3, all of the last hidden state within
1e-4. And what is said of ONNX Runtime's optimized graphs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # two processes share the work

import numpy as np
import numpy.typing as npt
import torch
import transformers
from port_mistakes import MISTAKES, Arrays, PortMistake, dump
from port_onnx import export, run_graph, with_fast_gelu
from tokenizers.normalizers import BertNormalizer

from numpy_bert import BertModel, BertTokenizer
from numpy_bert.comparison.report import Report
from numpy_bert.traces.reading import as_trace
from numpy_bert.verification.verify import verify

__all__ = ["Bench", "Outcome", "outcomes"]

PAIRS = [
    ("this is a test sentence", "with another"),
    ("a much shorter one", "so"),
    ("words of the river bank and the river", "but longer here"),
]
CAPITALS = ["Alice met Bob in Paris.", "A Cat", "The Bank of England"]
TEXTS = ["The bank of the river was steep, and nobody came. " * 9, "naïve café 東京 🙂", "a"]


class Outcome(NamedTuple):
    """What was said of one mistake in one layer."""

    mistake: PortMistake
    layer: int
    report: Report
    gates: tuple[bool, bool, bool]

    @property
    def is_right(self) -> bool:
        """Whether the step and the cause are those of the mistake."""
        first = None if self.mistake.cause is None else self.mistake.first.format(self.layer)
        return (self.report.first, self.report.cause) == (first, self.mistake.cause)

    @property
    def is_wrong(self) -> bool:
        """Whether a cause is named that is not the mistake's."""
        return self.report.cause is not None and not self.is_right


class Bench:
    """The checkpoint, in numpy_bert and in torch, with each of two activations."""

    def __init__(self, checkpoint: Path, folder: Path, dtype: str = "float32") -> None:
        self.tokenizer = BertTokenizer.from_pretrained(checkpoint)
        self.cased = transformers.AutoTokenizer.from_pretrained(checkpoint)
        self.cased.backend_tokenizer.normalizer = BertNormalizer(lowercase=False)
        other = _with_activation(checkpoint, folder / "gelu_new", "gelu_new")
        places = {"gelu": checkpoint, "gelu_new": other}
        self.ours = {k: BertModel.from_pretrained(p, dtype="float64") for k, p in places.items()}
        self.theirs = {
            name: transformers.BertModel.from_pretrained(
                path, attn_implementation="eager", dtype=getattr(torch, dtype)
            ).eval()
            for name, path in places.items()
        }
        self.layers = self.ours["gelu"].config.num_hidden_layers

    def batch(
        self, texts: Sequence[Any] = PAIRS, *, left: bool = False, cased: bool = False
    ) -> Arrays:
        """Return padded ids; on the right, or on the left; of capital letters as they stand."""
        tokenizer: Any = self.cased if cased else self.tokenizer
        batch: Arrays = dict(tokenizer(list(texts), padding=True, return_tensors="np"))
        if left:
            gaps = (batch["attention_mask"] == 0).sum(axis=1)
            for rows in batch.values():
                rows[:] = [np.roll(row, gap) for row, gap in zip(rows, gaps, strict=True)]
        return batch

    def trace(self, model: Any, batch: Arrays) -> Arrays:
        """Run a torch model and return what its modules return."""
        return dump(model, **{name: torch.from_numpy(rows) for name, rows in batch.items()})

    def verify(self, trace: Arrays, activation: str = "gelu", **options: Any) -> Report:
        """Verify a trace."""
        return verify(as_trace(trace), self.ours[activation], **options)


def outcomes(
    bench: Bench,
    mistakes: Sequence[PortMistake] = MISTAKES,
    *,
    layers: Sequence[int] | None = None,
) -> Iterator[Outcome]:
    """Make each mistake in the first, a middle and the last layer, or in these, and verify it."""
    places = (0, bench.layers // 2 - 1, bench.layers - 1) if layers is None else layers
    clean: dict[tuple[str, bool, bool], Arrays] = {}
    for mistake in mistakes:
        model, key = (
            bench.theirs[mistake.activation],
            (mistake.activation, mistake.left, mistake.cased),
        )
        texts = CAPITALS if mistake.cased else PAIRS
        batch = bench.batch(texts, left=mistake.left, cased=mistake.cased)
        if key not in clean:
            clean[key] = bench.trace(model, bench.batch(texts, left=mistake.left))
        for layer in places if mistake.in_layers else (0,):
            trace = bench.trace(mistake.port(model, layer), batch)
            known = {"tokenizer": bench.tokenizer, "texts": texts} if mistake.cased else {}
            report = bench.verify(
                trace, mistake.activation, look_for_hidden=False, fail_fast=True, **known
            )
            yield Outcome(mistake, layer, report, _gates(trace, clean[key]))


def _gates(trace: Arrays, clean: Arrays) -> tuple[bool, bool, bool]:
    """Tell which of the usual gates see a difference."""
    states = [arrays["encoder"].astype(np.float64) for arrays in (trace, clean)]
    masks = [arrays["attention_mask"][:, :, np.newaxis] for arrays in (trace, clean)]
    a, b = (
        _unit((x * mask).sum(axis=1) / mask.sum(axis=1))
        for x, mask in zip(states, masks, strict=True)
    )
    same = states[0].shape == states[1].shape
    return (
        bool(((a * b).sum(axis=1) <= 0.999).any()),
        bool((np.abs(a - b)[:, :5] > 1e-3).any()),
        not same or bool((np.abs(states[0] - states[1]) * masks[1] > 1e-4).any()),
    )


def _unit(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    unit: npt.NDArray[Any] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _with_activation(checkpoint: Path, folder: Path, name: str) -> Path:
    """Return the checkpoint with another activation in its config."""
    folder.mkdir()
    for path in checkpoint.iterdir():
        if path.name != "config.json":
            (folder / path.name).symlink_to(path.resolve())
    config = json.loads((checkpoint / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"hidden_act": name}), "utf-8")
    return folder


def _share(report: Report) -> tuple[float, str]:
    """Return the largest share of its budget that a step needs, and the step."""
    shares = [(row.own / row.budget, row.name) for row in report.steps if row.own and row.budget]
    return max(shares, default=(0.0, ""))


def print_calibration(bench: Bench, half: Bench, graph: Path) -> None:
    """Print how much of the budgets the clean runs need."""
    print("Clean runs: verdict, and the largest share of its budget that a step needs\n")
    batches = {
        "pairs, padded": bench.batch(),
        "padded left": bench.batch(left=True),
        "up to 128 tokens": bench.batch(TEXTS),
    }
    for what, batch in batches.items():
        runs = {
            "torch": bench.trace(bench.theirs["gelu"], batch),
            "ONNX Runtime": run_graph(graph, batch, every=True),
            "torch, float16": half.trace(half.theirs["gelu"], batch),
        }
        for name, trace in runs.items():
            report = bench.verify(trace, look_for_hidden=False)
            share, step = _share(report)
            print(f"{name:>15}  {what:<17} {report.verdict:<8} {share:5.2f}  {step}")


class Said(NamedTuple):
    """What the table says of one mistake in one layer."""

    name: str
    is_right: bool
    is_wrong: bool
    in_a_word: str
    gates: tuple[bool, bool, bool]


def said_of_all(checkpoint: Path, dtype: str) -> list[Said]:
    """Make all mistakes in torch in one dtype; run in a process of its own."""
    _be_quiet()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(checkpoint, Path(folder), dtype)
        return [
            Said(o.mistake.name, o.is_right, o.is_wrong, _in_a_word(o), o.gates)
            for o in outcomes(bench)
        ]


def print_mistakes(checkpoint: Path) -> int:
    """Print the table of mistakes; return how many were not named rightly."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        runs = [pool.submit(said_of_all, checkpoint, dtype) for dtype in ("float32", "float16")]
        whole, halves = (run.result() for run in runs)
    print("\nMistakes, each in the first, a middle and the last layer where it can be\n")
    head = ("mistake", "first step named", "cause named", "float32", "float16", "gates that see it")
    rows = [head, tuple("-" * 3 for _ in head)]
    for mistake in MISTAKES:
        made = [said for said in whole if said.name == mistake.name]
        in_half = Counter(said.in_a_word for said in halves if said.name == mistake.name)
        gates = [
            gate
            for number, gate in enumerate(("cosine 0.999", "5 values 1e-3", "all 1e-4"))
            if all(said.gates[number] for said in made)
        ]
        cause = mistake.cause
        rows.append(
            (
                mistake.name,
                f"`{mistake.first.format('N')}`" if cause else "none",
                f"`{cause}`" if cause else "none: it cannot be told",
                f"{sum(said.is_right for said in made)} of {len(made)} right",
                ", ".join(f"{count} {word}" for word, count in in_half.items()),
                ", ".join(gates) or "none",
            )
        )
    for row in rows:
        print("| " + " | ".join(row) + " |")
    right, wrong = sum(said.is_right for said in whole), sum(said.is_wrong for said in halves)
    print(
        f"\nfloat32: {right} of {len(whole)} right; float16: {wrong} of {len(halves)} named wrongly"
    )
    return len(whole) - right + wrong


def _in_a_word(outcome: Outcome) -> str:
    """Say in a word what came of it."""
    if outcome.is_right:
        return "right"
    if outcome.report.verdict == "pass":
        return "hidden by rounding"
    return "WRONG" if outcome.is_wrong else "not told"


def print_graphs(bench: Bench, graph: Path, folder: Path) -> None:
    """Print what is said of ONNX Runtime's graphs."""
    batch = bench.batch()
    fast = with_fast_gelu(graph, folder / "fast.onnx")
    graphs = {
        "as exported, every step": run_graph(graph, batch, every=True),
        "optimized, hidden states": run_graph(graph, batch, every=False, optimized=True),
        "optimized with FastGelu": run_graph(fast, batch, every=False, optimized=True),
    }
    print("\nONNX Runtime's graphs\n")
    for name, trace in graphs.items():
        print(f"{name}: {bench.verify(trace, look_for_hidden=False).sentence}")


def _be_quiet() -> None:
    """Keep transformers from talking."""
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkpoint", type=Path, help="the folder of all-MiniLM-L6-v2")
    options = parser.parse_args()
    _be_quiet()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a").mkdir()
        (folder / "b").mkdir()
        bench = Bench(options.checkpoint, folder / "a")
        half = Bench(options.checkpoint, folder / "b", "float16")
        graph = export(options.checkpoint, folder / "model.onnx")
        print_calibration(bench, half, graph)
        wrong = print_mistakes(options.checkpoint)
        print_graphs(bench, graph, folder)
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
