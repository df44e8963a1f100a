"""Measures which of the ways to compute the same is the fastest here, for the table of choices.py.

Every contender computes the same in turn, in one process, several times over, and their medians are
compared. A way that changes results, or is not the plain one, must be clearly faster to be taken.
Weights are cold, as those of a model are: their copies together are larger than the caches.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.inputs import ModelInputs
from numpy_bert.kernels.activation import ActivationKernel
from numpy_bert.kernels.choices import ACTIVATION_FORMS, Choices, Cut, block_rows
from numpy_bert.kernels.dense import blocks_of, cut_product
from numpy_bert.kernels.embeddings import EmbeddingsKernel
from numpy_bert.kernels.threads import one_blas_thread
from numpy_bert.parameters import (
    BertEmbeddingsParameters,
    EmbeddingParameters,
    LayerNormParameters,
)

__all__ = ["Measurement", "Sizes", "measure", "steps"]

Way = TypeVar("Way")

# A way must take less than this share of the plain one's time to be taken.
_CLEARLY = 0.95
_BLOCKS = (96 << 10, 192 << 10, 384 << 10, 768 << 10)
_PIECES = tuple(itertools.product((4, 8, 16, 32), (32, 64, 128)))


class Sizes(NamedTuple):
    """What is measured; by default the sizes of MiniLM, BERT-base and BERT-large.

    Attributes
    ----------
    products : mapping of int to tuple of int
        The features of x, and those of each product's result.
    rows : tuple of int
        The numbers of rows of x, rising.
    cold : int
        The bytes of all copies of a weight, where rows are few; with many rows they matter less.
    features, tokens : int
        The sizes of the embedding and the activation that are measured.
    rounds : int
        How often every contender takes its turn.
    """

    products: Mapping[int, tuple[int, ...]] = {
        384: (384, 1536),
        768: (768, 3072),
        1024: (1024, 4096),
        1536: (384,),
        3072: (768,),
        4096: (1024,),
    }
    rows: tuple[int, ...] = (8, 16, 32, 64, 128, 512, 2048)
    cold: int = 48 << 20
    features: int = 768
    tokens: int = 4096
    rounds: int = 7


class Measurement(NamedTuple):
    """The choices that were the fastest, and what was measured, in lines to be read."""

    choices: Choices
    lines: list[str]


def measure(
    sizes: Sizes | None = None, report: Callable[[int], object] = lambda _: None
) -> Measurement:
    """Measure all choices with one thread, where BLAS can be held to one.

    It takes about two minutes.

    Parameters
    ----------
    sizes : Sizes, optional
        What to measure.
    report : callable, optional
        A function that is called with 1 after each of `steps` parts.

    Examples
    --------
    >>> tiny = Sizes({16: (32,)}, rows=(8,), cold=1, features=16, tokens=64, rounds=1)
    >>> measure(tiny).choices.activation in ("tanh", "exp")
    True
    """
    sizes = sizes or Sizes()
    rng = np.random.default_rng(0)
    with one_blas_thread() as held, np.errstate(all="ignore"):
        form, lines = _activation(sizes, rng)
        if not held:
            lines.append("products: with all threads of BLAS, which cannot be held to one here")
        report(1)
        block, more = _block(sizes, rng)
        report(1)
        lines += more
        cuts: list[Cut] = []
        for features, outs in sizes.products.items():
            found: list[tuple[int, tuple[int, int] | None]] = []
            for rows in sizes.rows:
                piece, line = _piece(sizes, rng, features, outs, rows, found)
                found.append((rows, piece))
                lines.append(line)
                report(1)
            cuts += _merged(features, found)
    # No cut is as good as a list of cuts that are none.
    chosen = tuple(cuts) if any(cut.columns for cut in cuts) else ()
    return Measurement(Choices(chosen, form, block), lines)


def steps(sizes: Sizes) -> int:
    """Return how often `measure` reports."""
    return 2 + len(sizes.products) * len(sizes.rows)


def _medians(calls: Mapping[Way, Callable[[], object]], rounds: int) -> dict[Way, float]:
    """Return the median seconds of each call; all take turns."""
    seconds: dict[Way, list[float]] = {way: [] for way in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for way, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[way].append(time.perf_counter() - start)
    return {way: statistics.median(times) for way, times in seconds.items()}


def _fastest(seconds: Mapping[Way, float], *preferred: Way) -> Way:
    """Return the way that is clearly the fastest, or else the first of those that are preferred."""
    best = min(seconds, key=lambda way: seconds[way])
    for way in preferred:
        if seconds[best] >= _CLEARLY * seconds[way]:
            return way
    return best


def _activation(sizes: Sizes, rng: np.random.Generator) -> tuple[str, list[str]]:
    """Return the activation's form."""
    wide = 4 * sizes.features
    rows = block_rows(wide, _BLOCKS[1])
    x = rng.standard_normal((max(rows, sizes.tokens // 4), wide), dtype=np.float32)
    bias, memory = np.zeros((rows, wide), np.float32), np.empty((2, rows * wide), np.float32)
    into = np.empty_like(x)

    def call(form: str) -> Callable[[], object]:
        kernel = ActivationKernel("gelu", form)

        def run() -> None:
            np.add(x, 0.0, into)  # an activation of an activation would soon be no number
            kernel(into, bias, memory)

        return run

    seconds = _medians({form: call(form) for form in ACTIVATION_FORMS}, sizes.rounds)
    shown = ", ".join(f"by {form} {seconds[form] / x.size * 1e9:.2f} ns" for form in seconds)
    return _fastest(seconds, "tanh"), [f"activation, an element: {shown}"]


def _block(sizes: Sizes, rng: np.random.Generator) -> tuple[int, list[str]]:
    """Return the bytes of a block of rows."""
    features, tokens = sizes.features, sizes.tokens
    words, positions, segments, weight, bias = (
        rng.standard_normal(shape, dtype=np.float32)
        for shape in ((8192, features), (128, features), (2, features), features, features)
    )
    parameters = BertEmbeddingsParameters(
        word_embeddings=EmbeddingParameters(weight=words),
        position_embeddings=EmbeddingParameters(weight=positions),
        token_type_embeddings=EmbeddingParameters(weight=segments),
        LayerNorm=LayerNormParameters(weight=weight, bias=bias),
    )
    length = min(128, tokens)
    inputs = ModelInputs(words=rng.integers(0, len(words), (tokens // length, length)))
    out = np.empty((*inputs.shape, features), np.float32)

    def call(block: int) -> Callable[[], object]:
        kernel = EmbeddingsKernel(parameters, eps=1e-12, rows=block_rows(features, block, least=8))
        return lambda: kernel(inputs, out)

    seconds = _medians({block: call(block) for block in _BLOCKS}, sizes.rounds)
    shown = ", ".join(
        f"{block >> 10} KiB {seconds[block] / out.size * 1e9:.2f} ns" for block in seconds
    )
    return _fastest(seconds), [f"embedding in blocks, an element: {shown}"]


def _piece(
    sizes: Sizes,
    rng: np.random.Generator,
    features: int,
    outs: tuple[int, ...],
    rows: int,
    before: list[tuple[int, tuple[int, int] | None]],
) -> tuple[tuple[int, int] | None, str]:
    """Return the best piece, rows and columns, of products of so many rows; None if uncut."""
    x = rng.standard_normal((rows, features), dtype=np.float32)
    cold = sizes.cold * min(1, sizes.rows[0] / rows)
    weights = [list(_copies(rng, features, out, cold)) for out in outs]
    results = [np.empty((rows, out), np.float32) for out in outs]

    def plain() -> None:
        for copies, into in zip(weights, results, strict=True):
            for weight in copies:
                np.matmul(x, weight, into)

    def call(piece: tuple[int, int]) -> Callable[[], object]:
        def run() -> None:
            for copies, into in zip(weights, results, strict=True):
                for weight in copies:
                    cut_product(x, blocks_of(weight, piece[1]), piece[0], into)

        return run

    calls: dict[tuple[int, int] | None, Callable[[], object]] = {None: plain}
    for piece in _PIECES:
        if piece[0] <= rows and all(out % piece[1] == 0 for out in outs):
            calls[piece] = call(piece)
    once = _medians(calls, 1)
    close = {way: run for way, run in calls.items() if way is None or once[way] < 1.3 * once[None]}
    seconds = _medians(close, sizes.rounds)
    # The one that fewer rows take is as good as a slightly faster one, and shorter to write.
    last = before[-1][1] if before else None
    best = _fastest(seconds, None, *({last} & seconds.keys()))
    terms = (
        rows * features * sum(len(copies) * out for copies, out in zip(weights, outs, strict=True))
    )
    speed = {way: 2e-9 * terms / taken for way, taken in seconds.items()}
    fastest = max(speed, key=lambda way: speed[way])
    name = "one call" if fastest is None else f"pieces of {fastest[0]} x {fastest[1]}"
    return best, (
        f"{rows:4} rows, {features} to {' and '.join(map(str, outs))}: one call "
        f"{speed[None]:.0f} GFLOP/s; the fastest, {name}, {speed[fastest]:.0f}"
    )


def _copies(rng: np.random.Generator, features: int, outs: int, cold: float) -> Iterator[Array]:
    """Return copies of a weight (in, outs) that together have so many bytes."""
    weight = rng.standard_normal((features, outs), dtype=np.float32)
    for _ in range(max(1, int(cold / weight.nbytes))):
        yield weight.copy()


def _merged(features: int, found: list[tuple[int, tuple[int, int] | None]]) -> list[Cut]:
    """Return the cuts for so many features from the best piece for each number of rows."""
    cuts: list[Cut] = []
    for piece, some in itertools.groupby(found, key=lambda item: item[1]):
        cuts.append(Cut(features, max(rows for rows, _ in some), *(piece or (0, 0))))
    last = cuts.pop()  # a micro-batch has no more rows
    return [*cuts, replace(last, most_rows=0)]
