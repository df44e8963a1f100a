"""What `verify` says of known mistakes, made in torch and in ONNX Runtime, on a real checkpoint.

    python scripts/report_verification.py PATH_OF_MINILM [--only GLOB] [--dtype float16]
        [--kinds hooks last] [--layers 0 2 5] [--limit SECONDS]

Three tables. How much of their budgets the clean runs of torch and ONNX Runtime need. Every mistake
of port_mistakes.py, as four kinds of trace have it: made in a middle layer, all that torch can
hold, what hooks see, the hidden states; made in every layer, the last state alone. A cell says
whether the first step that differs is right, and its cause; beside them stands which gates that
projects use would have seen it: the cosine of the sentence vector above 0.999, five values of it
within 1e-3, all of the last hidden state within 1e-4. Then the same counted, with the time that it
took, and in half precision. And what is said of ONNX Runtime's optimized graphs.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import os
import statistics
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # two processes share the work

import numpy as np
import numpy.typing as npt
import torch
import transformers
from bench_machine import print_machine
from port_mistakes import KINDS, MISTAKES, Arrays, PortMistake, dump, kept
from port_onnx import export, run_graph, with_fast_gelu
from tokenizers.normalizers import BertNormalizer

from numpy_bert import BertModel, BertTokenizer
from numpy_bert.comparison.report import Report
from numpy_bert.traces.layout import INPUTS, place_of
from numpy_bert.traces.reading import as_trace
from numpy_bert.verification.verify import verify

__all__ = ["Bench", "Outcome", "be_quiet", "largest_share", "outcomes"]

DTYPES = ("float32", "float16", "bfloat16")
PAIRS = [
    ("this is a test sentence", "with another"),
    ("a much shorter one", "so"),
    ("words of the river bank and the river", "but longer here"),
]
CAPITALS = ["Alice met Bob in Paris.", "A Cat", "The Bank of England"]
TEXTS = ["The bank of the river was steep, and nobody came. " * 9, "naïve café 東京 🙂", "a"]


WORDS = ("right", "step", "passed", "elsewhere", "WRONG")


class Outcome(NamedTuple):
    """What was said of one mistake in one layer, in a trace of one kind."""

    mistake: PortMistake
    kind: str
    first: str
    report: Report
    gates: tuple[bool, bool, bool]
    seconds: float

    @property
    def is_harmless(self) -> bool:
        """Whether the mistake makes no difference that such a trace could show."""
        return not self.mistake.causes or self.kind in self.mistake.hidden_in

    @property
    def word(self) -> str:
        """One of WORDS: what came of it."""
        if self.report.cause is not None:
            is_right = not self.is_harmless and self.report.cause in self.mistake.causes.split("|")
            return "WRONG" if not is_right else "right" if self.is_at_its_step else "elsewhere"
        if self.report.verdict == "pass":
            return "right" if self.is_harmless else "passed"
        return "step" if self.is_at_its_step else "elsewhere"

    @property
    def is_at_its_step(self) -> bool:
        """Whether the first step that differs is the first one held at or after the mistake."""
        return self.report.first == self.first

    @property
    def is_right(self) -> bool:
        """Whether the step and the cause are those of the mistake."""
        return self.word == "right"

    @property
    def is_wrong(self) -> bool:
        """Whether a cause is named that is not the mistake's."""
        return self.word == "WRONG"


class Bench:
    """The checkpoint, in numpy_bert and in torch, with each of two activations."""

    def __init__(self, checkpoint: Path, folder: Path, dtype: str = "float32") -> None:
        self.tokenizer = BertTokenizer.from_pretrained(checkpoint)
        self.theirs_tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
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

    def batch(self, texts: Sequence[Any] = PAIRS, *, left: bool = False, how: str = "") -> Arrays:
        """Return ids padded on the right or the left; `how` the tokenizer is wrong."""
        batch: Arrays = dict(self.tokenizer(list(texts), padding=True, return_tensors="np"))
        if how:
            batch = wrong_ids(self.theirs_tokenizer, texts, how)
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
    kinds: Sequence[str] = ("hooks",),
    limit: float | None = None,
) -> Iterator[Outcome]:
    """Make each mistake in a middle layer, or in these, and verify its traces of these kinds."""
    places = (bench.layers // 2 - 1,) if layers is None else layers
    clean: dict[tuple[str, bool], Arrays] = {}
    for mistake in mistakes:
        model = bench.theirs[mistake.activation]
        texts: Sequence[Any] = PAIRS[:1] if mistake.tokenizer else PAIRS
        if mistake.tokenizer == "cased":
            texts = CAPITALS
        batch = bench.batch(texts, left=mistake.left, how=mistake.tokenizer)
        key = (mistake.activation, mistake.left)
        if key not in clean:
            clean[key] = bench.trace(model, bench.batch(left=mistake.left))
        known: dict[str, Any] = {}
        if mistake.tokenizer:
            is_pair = not isinstance(texts[0], str)
            known.update(tokenizer=bench.tokenizer, texts=texts[0] if is_pair else texts)
            known["pair"] = is_pair
        if limit is not None:
            known["time_limit"] = limit
        for layer in places if mistake.in_layers else (0,):
            trace = bench.trace(mistake.port(model, layer), batch)
            at = mistake.at.format(layer, last=bench.layers - 1)
            gates = (True,) * 3 if mistake.tokenizer else _gates(trace, clean[key])
            for kind in kinds:
                if kind == "last" and mistake.in_layers:
                    trace = bench.trace(mistake.port(model, *range(bench.layers)), batch)
                own = kept(trace, kind)
                start = time.perf_counter()
                report = bench.verify(
                    own, mistake.activation, look_for_hidden=False, fail_fast=True, **known
                )
                seconds = time.perf_counter() - start
                yield Outcome(mistake, kind, first_held(at, own), report, gates, seconds)


def first_held(at: str, trace: Arrays) -> str:
    """Return the first step of a trace at or after another one."""
    if at in INPUTS:
        return at
    behind = [name for name in trace if place_of(at) <= place_of(name) < (3, 0, 0)]
    return min(behind, key=place_of, default="")


def wrong_ids(tokenizer: Any, texts: Sequence[Any], how: str) -> Arrays:
    """Return the padded ids of a tokenizer that is wrong in one way."""
    tokenizer = copy.deepcopy(tokenizer)
    if how == "cased":
        tokenizer.backend_tokenizer.normalizer = BertNormalizer(lowercase=False)
    rows = [tokenizer(*([text] if isinstance(text, str) else text)) for text in texts]
    separator = tokenizer.sep_token_id
    found = []
    for row in rows:
        ids, kinds = list(row["input_ids"]), list(row["token_type_ids"])
        middle = ids.index(separator)
        if how == "without [CLS] and [SEP]":
            kept_ids = [n for n, i in enumerate(ids) if i not in tokenizer.all_special_ids]
            ids, kinds = [ids[n] for n in kept_ids], [kinds[n] for n in kept_ids]
        elif how == "without the last [SEP]":
            ids, kinds = ids[:-1], kinds[:-1]
        elif how == "[CLS] doubled":
            ids, kinds = ids[:1] + ids, kinds[:1] + kinds
        elif how == "[SEP] doubled between the texts":
            ids.insert(middle, separator)
            kinds.insert(middle, 0)
        elif how == "cut too short":
            ids, kinds = [*ids[:7], separator] if len(ids) > 8 else ids, kinds[:8]
        elif how == "token types all 0":
            kinds = [0] * len(ids)
        found.append((ids, kinds))
    width = max(len(ids) for ids, _ in found)
    columns = zip(*(_padded(ids, kinds, width) for ids, kinds in found), strict=True)
    names = ("input_ids", "token_type_ids", "attention_mask")
    return {name: np.array(rows) for name, rows in zip(names, columns, strict=True)}


def _padded(ids: list[int], kinds: list[int], width: int) -> tuple[list[int], ...]:
    gap = [0] * (width - len(ids))
    return ids + gap, kinds + gap, [1] * len(ids) + gap


def _gates(trace: Arrays, clean: Arrays) -> tuple[bool, bool, bool]:
    """Tell which of the usual gates see a difference."""
    states = [_wide(arrays["encoder"]) for arrays in (trace, clean)]
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


def _wide(array: Any) -> npt.NDArray[Any]:
    """Return an array of NumPy, or of torch in bfloat16, in float64."""
    wide: npt.NDArray[Any] = (array.float().numpy() if torch.is_tensor(array) else array).astype(
        "f8"
    )
    return wide


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


def largest_share(report: Report) -> tuple[float, str]:
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
            share, step = largest_share(report)
            print(f"{name:>15}  {what:<17} {report.verdict:<8} {share:5.2f}  {step}")


class Said(NamedTuple):
    """What the table says of one mistake in one layer, in a trace of one kind."""

    name: str
    kind: str
    word: str
    gates: tuple[bool, bool, bool]
    seconds: float
    sentence: str


_BENCHES: dict[str, Bench] = {}


def said_of(
    checkpoint: Path, dtype: str, names: Sequence[str], given: Mapping[str, Any]
) -> list[Said]:
    """Make some mistakes in torch in one dtype; run in a process of its own."""
    if dtype not in _BENCHES:
        be_quiet()
        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory() as folder:
            _BENCHES[dtype] = Bench(checkpoint, Path(folder), dtype)
    made = [mistake for mistake in MISTAKES if mistake.name in names]
    return [
        Said(o.mistake.name, o.kind, o.word, o.gates, o.seconds, o.report.sentence)
        for o in outcomes(_BENCHES[dtype], made, **given)
    ]


_TOGETHER = 6


def said_of_all(options: argparse.Namespace) -> dict[str, list[Said]]:
    """Make the mistakes that were asked for, in two processes; return what is said, by dtype."""
    names = [m.name for m in MISTAKES if fnmatch(m.name, options.only)]
    given = {"kinds": options.kinds, "layers": options.layers, "limit": options.limit}
    parts = [names[start : start + _TOGETHER] for start in range(0, len(names), _TOGETHER)]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        runs = {
            dtype: [pool.submit(said_of, options.checkpoint, dtype, part, given) for part in parts]
            for dtype in options.dtype
        }
        return {
            dtype: [said for run in submitted for said in run.result()]
            for dtype, submitted in runs.items()
        }


_HEADS = {
    "full": "every step",
    "hooks": "hooks",
    "hidden": "hidden states",
    "last": "last state, in every layer",
}
_GATES = ("cosine 0.999", "5 values 1e-3", "all 1e-4")


def print_mistakes(options: argparse.Namespace) -> int:
    """Print the table of mistakes and the counts; return how many causes are wrong."""
    found = said_of_all(options)
    shown = next(iter(found.values()))
    print("\nMistakes\n")
    head = ("mistake", *(_HEADS[kind] for kind in options.kinds), "gates that see it")
    rows = [head, tuple("---" for _ in head)]
    for name in dict.fromkeys(said.name for said in shown):
        made = [said for said in shown if said.name == name]
        cells = [_cell([said for said in made if said.kind == kind]) for kind in options.kinds]
        gates = [gate for n, gate in enumerate(_GATES) if all(said.gates[n] for said in made)]
        rows.append((name, *cells, ", ".join(gates) or "none"))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()
    print("| dtype | trace | runs |" + "".join(f" {word} |" for word in WORDS), end="")
    print(" median, s | worst, s |")
    print("|" + " --- |" * (len(WORDS) + 5))
    for dtype, every in found.items():
        for kind in options.kinds:
            _print_counts(dtype, kind, [said for said in every if said.kind == kind])
    if options.verbose:
        for dtype, every in found.items():
            for said in every:
                if said.word != "right":
                    print(f"{dtype} {said.kind} {said.name}: {said.word}: {said.sentence}")
    return sum(said.word == "WRONG" for every in found.values() for said in every)


def _cell(made: Sequence[Said]) -> str:
    """Say what came of a mistake in a kind of trace: a word, or several with their counts."""
    words = Counter(said.word for said in made)
    return ", ".join(
        word if len(words) == 1 else f"{count} {word}" for word, count in words.items()
    )


def _print_counts(dtype: str, kind: str, made: Sequence[Said]) -> None:
    """Print a line of counts and times."""
    words = Counter(said.word for said in made)
    counts = " | ".join(str(words[word]) for word in WORDS)
    seconds = [said.seconds for said in made]
    print(f"| {dtype} | {_HEADS[kind]} | {len(made)} | {counts} |", end="")
    print(f" {statistics.median(seconds):.1f} | {max(seconds):.1f} |")


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


def be_quiet() -> None:
    """Keep transformers from talking."""
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkpoint", type=Path, help="the folder of all-MiniLM-L6-v2")
    parser.add_argument("--only", default="*", metavar="GLOB", help="the names of mistakes")
    parser.add_argument("--dtype", nargs="+", default=DTYPES, choices=DTYPES)
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--layers", nargs="+", type=int, help="where: a middle layer by default")
    parser.add_argument("--limit", type=float, help="seconds for the search of each cause")
    parser.add_argument("--mistakes", action="store_true", help="print only the mistakes")
    parser.add_argument("--verbose", action="store_true", help="print the sentences not right")
    options = parser.parse_args()
    print_machine()
    if options.mistakes:
        raise SystemExit(1 if print_mistakes(options) else 0)
    be_quiet()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a").mkdir()
        (folder / "b").mkdir()
        bench = Bench(options.checkpoint, folder / "a")
        half = Bench(options.checkpoint, folder / "b", "float16")
        graph = export(options.checkpoint, folder / "model.onnx")
        print_calibration(bench, half, graph)
        wrong = print_mistakes(options)
        print_graphs(bench, graph, folder)
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
