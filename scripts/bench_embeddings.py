"""How fast the input embedding is: against torch, ONNX Runtime, naive NumPy and a bare gather.

All contenders embed the same ids with the same tables of BERT-base's sizes (H 768, random values)
in float32, in one process, in turn; each is first shown to give the same result. Printed are the
median time of numpy_bert and, as medians over the rounds, how many times as long the others take:

- torch: transformers' BertEmbeddings in evaluation mode, eager, under inference_mode;
- ORT: ONNX Runtime's fused CPU operator EmbedLayerNormalization (com.microsoft);
- naive: the same in plain NumPy, a line a step;
- gather: numpy_bert over ``np.take`` of the word rows alone into a warm buffer, which is the floor;
  "warm" is the same with numpy_bert writing into a buffer that is used again (``out=``).

    pip install -e ".[bench]"
    python scripts/bench_embeddings.py
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from bench_machine import print_machine
from bench_programs import fused_graph

import numpy_bert
from numpy_bert.config import BertConfig
from numpy_bert.model.embeddings import BertEmbeddings
from numpy_bert.parameters import (
    BertEmbeddingsParameters,
    EmbeddingParameters,
    LayerNormParameters,
)

Ids = npt.NDArray[np.int64]
Contender = Callable[[], object]

SHAPES = ("1x7", "1x128", "8x128", "32x128", "64x512")
CONFIG = BertConfig(
    vocab_size=30522,
    hidden_size=768,
    num_hidden_layers=12,
    num_attention_heads=12,
    intermediate_size=3072,
    max_position_embeddings=512,
    type_vocab_size=2,
)
# A turn of one contender: calls for this long to get warm, then as long again, measured.
TURN = 0.03


def main() -> None:
    """Print a table for each number of threads."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="BxT")
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--rounds", type=int, default=15, help="turns of each contender")
    options = parser.parse_args()
    print_machine("transformers", "torch", "onnxruntime")
    parameters = random_parameters(np.random.default_rng(0))
    ours = BertEmbeddings(parameters, CONFIG)
    for threads in options.threads:
        numpy_bert.set_num_threads(threads)
        rivals = (Torch(parameters, threads), OnnxRuntime(parameters, threads), Naive(parameters))
        print(f"{threads} thread{'s' * (threads > 1)}, times as long as numpy_bert")
        print(
            f"{'B x T':>8} {'segments':>8} {'numpy_bert':>12} {'torch':>7} {'ORT':>7}"
            f" {'naive':>7} | {'over gather':>11} {'warm':>5}"
        )
        ratios: dict[str, list[float]] = {rival.name: [] for rival in rivals}
        for shape in options.shapes:
            for mixed in (False, True):
                found = compare(ours, rivals, shape, mixed, threads, options.rounds)
                for name in ratios:
                    ratios[name].append(found[name])
                print(line(shape, mixed, found), flush=True)
        for label, summary in (("geometric mean", statistics.geometric_mean), ("least", min)):
            values = " ".join(f"{summary(ratios[rival.name]):7.2f}" for rival in rivals)
            print(f"{label:>30} {values}")
        print()


def random_parameters(rng: np.random.Generator) -> BertEmbeddingsParameters:
    """Draw tables with about the statistics of a trained BERT's."""

    def table(rows: int, mean: float, spread: float) -> EmbeddingParameters:
        values = rng.normal(mean, spread, (rows, CONFIG.hidden_size))
        return EmbeddingParameters(weight=values.astype(np.float32))

    return BertEmbeddingsParameters(
        word_embeddings=table(CONFIG.vocab_size, -0.028, 0.042),
        position_embeddings=table(CONFIG.max_position_embeddings, 0.0, 0.02),
        token_type_embeddings=table(CONFIG.type_vocab_size, 0.0, 0.01),
        LayerNorm=LayerNormParameters(
            weight=rng.normal(0.9, 0.1, CONFIG.hidden_size).astype(np.float32),
            bias=rng.normal(0.0, 0.05, CONFIG.hidden_size).astype(np.float32),
        ),
    )


class Torch:
    """transformers' BertEmbeddings, eager."""

    name = "torch"

    def __init__(self, parameters: BertEmbeddingsParameters, threads: int) -> None:
        import torch
        import transformers
        from transformers.models.bert.modeling_bert import BertEmbeddings as Module

        torch.set_num_threads(threads)
        config = transformers.BertConfig(layer_norm_eps=CONFIG.layer_norm_eps)
        self.module = Module(config).eval()
        state = {
            f"{name}.weight": torch.from_numpy(getattr(parameters, name).weight)
            for name in ("word_embeddings", "token_type_embeddings", "position_embeddings")
        }
        state["LayerNorm.weight"] = torch.from_numpy(parameters.LayerNorm.weight)
        state["LayerNorm.bias"] = torch.from_numpy(parameters.LayerNorm.bias)
        self.module.load_state_dict(state, strict=False)
        self.torch = torch

    def prepare(self, ids: Ids, segments: Ids) -> Contender:
        """Return the call to be timed; segments are given, which takes torch less time."""
        inputs = self.torch.from_numpy(ids), self.torch.from_numpy(segments)

        def call() -> object:
            with self.torch.inference_mode():
                return self.module(*inputs)

        return call


class OnnxRuntime:
    """A graph of one node, the fused operator."""

    name = "ORT"

    def __init__(self, parameters: BertEmbeddingsParameters, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            fused_graph(parameters, CONFIG.layer_norm_eps),
            options,
            providers=["CPUExecutionProvider"],
        )

    def prepare(self, ids: Ids, segments: Ids) -> Contender:
        """Return the call to be timed, on ids of the operator's own type."""
        feed = {"input_ids": ids.astype(np.int32), "token_type_ids": segments.astype(np.int32)}
        return lambda: self.session.run(["embeddings"], feed)[0]


class Naive:
    """What one writes first."""

    name = "naive"

    def __init__(self, parameters: BertEmbeddingsParameters) -> None:
        self.parameters = parameters

    def prepare(self, ids: Ids, segments: Ids) -> Contender:
        """Return the call to be timed."""
        words = self.parameters.word_embeddings.weight
        positions = self.parameters.position_embeddings.weight
        assert self.parameters.token_type_embeddings is not None
        types = self.parameters.token_type_embeddings.weight
        norm = self.parameters.LayerNorm
        eps = np.float32(CONFIG.layer_norm_eps)

        def call() -> object:
            total = words[ids] + types[segments] + positions[: ids.shape[1]]
            mean = total.mean(axis=-1, keepdims=True)
            variance = total.var(axis=-1, keepdims=True)
            return (total - mean) / np.sqrt(variance + eps) * norm.weight + norm.bias

        return call


def compare(
    ours: BertEmbeddings,
    rivals: Sequence[Torch | OnnxRuntime | Naive],
    shape: str,
    mixed: bool,
    threads: int,
    rounds: int,
) -> dict[str, float]:
    """Return numpy_bert's median seconds and the median ratios of the others to it."""
    batch, length = (int(n) for n in shape.split("x"))
    rng = np.random.default_rng(batch * length)
    ids = rng.integers(0, CONFIG.vocab_size, (batch, length))
    segments = np.zeros_like(ids)
    if mixed:  # a pair of texts: some zeros, then ones
        segments[:] = np.arange(length) >= rng.integers(1, length, (batch, 1))
    given = segments if mixed else None
    table = ours.parameters.word_embeddings.weight
    rows = np.empty((ids.size, CONFIG.hidden_size), np.float32)
    out = np.empty((*ids.shape, CONFIG.hidden_size), np.float32)
    flat = ids.ravel()
    contenders: dict[str, Contender] = {
        "numpy_bert": lambda: ours(ids, given),
        **{rival.name: rival.prepare(ids, segments) for rival in rivals},
        "warm": lambda: ours(ids, given, out=out),
        "gather": lambda: np.take(table, flat, axis=0, out=rows, mode="clip"),
    }
    expected = np.asarray(ours(ids, given))
    for rival in rivals:
        worst = float(np.abs(np.asarray(contenders[rival.name]()) - expected).max())
        assert worst < 1e-5, f"{rival.name} differs by {worst}"
    seconds = alternate(contenders, threads, rounds)
    found = {
        name: statistics.median(
            theirs / own for theirs, own in zip(times, seconds["numpy_bert"], strict=True)
        )
        for name, times in seconds.items()
    }
    warm = [a / b for a, b in zip(seconds["warm"], seconds["gather"], strict=True)]
    return {
        **found,
        "seconds": statistics.median(seconds["numpy_bert"]),
        "gather": 1 / found["gather"],
        "warm": statistics.median(warm),
    }


def alternate(
    contenders: dict[str, Contender], threads: int, rounds: int
) -> dict[str, list[float]]:
    """Return the seconds a call of each contender in each round, in another order each time."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders)
    shuffle = random.Random(0).shuffle  # noqa: S311
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            call = contenders[name]
            if threads > 1:  # torch's and ONNX Runtime's threads go on spinning for a while
                time.sleep(0.05)
            calls, start = 0, time.perf_counter()
            while time.perf_counter() - start < TURN:
                call()
                calls += 1
            start = time.perf_counter()
            for _ in range(calls):
                call()
            seconds[name].append((time.perf_counter() - start) / calls)
    return seconds


def line(shape: str, mixed: bool, found: dict[str, float]) -> str:
    """Write one row of the table."""
    taken = found["seconds"]
    text = f"{taken * 1e6:9.1f} us" if taken < 1e-3 else f"{taken * 1e3:9.2f} ms"
    return (
        f"{shape:>8} {'mixed' if mixed else 'one':>8} {text} {found['torch']:7.2f} "
        f"{found['ORT']:7.2f} {found['naive']:7.2f} | {found['gather']:11.2f} {found['warm']:5.2f}"
    )


if __name__ == "__main__":
    main()
