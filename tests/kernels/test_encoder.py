"""The packed encoder against the readable one."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from numpy_bert.blocks.encoder import encoder
from numpy_bert.config import BertConfig
from numpy_bert.inputs import ModelInputs, Packing
from numpy_bert.kernels import dense
from numpy_bert.kernels import encoder as kernel
from numpy_bert.kernels.choices import Cut
from numpy_bert.kernels.encoder import EncoderKernel, Read, Rows, fits
from numpy_bert.kernels.threads import get_num_threads, set_num_threads
from numpy_bert.kernels.tuning import tuning
from numpy_bert.parameters import (
    BertEncoderParameters,
    EmbeddingParameters,
    arrays_of,
    build,
    shapes,
)
from tests.tolerances import ACROSS_BATCHES, FAST_ENCODER

Floats = npt.NDArray[np.floating[Any]]

ODD = BertConfig(
    vocab_size=99,
    hidden_size=24,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=37,
    max_position_embeddings=512,
    type_vocab_size=2,
)
# Sizes that the blocks of columns divide.
EVEN = dataclasses.replace(ODD, hidden_size=64, intermediate_size=96, num_attention_heads=2)
LENGTHS = [
    [1],
    [7],
    [3, 3, 3],
    [1, 2, 2, 5, 5, 5, 9],
    [9, 1, 9, 2],  # not sorted
    [300, 2],
]


def random_parameters(config: BertConfig, seed: int = 0) -> BertEncoderParameters:
    rng = np.random.default_rng(seed)
    table = shapes(BertEncoderParameters, config, "encoder.")

    def get(key: str) -> Floats:
        array = rng.standard_normal(table[key]) * (0.02 if "bias" in key else 0.15)
        array += 1.0 if key.endswith("LayerNorm.weight") else 0.0
        array = array.astype(np.float32)
        array.flags.writeable = False
        return array

    return build(BertEncoderParameters, config, get, "encoder.")


def biased(parameters: BertEncoderParameters, config: BertConfig) -> BertEncoderParameters:
    """Return parameters that add something to the scores, by distance."""
    table = np.random.default_rng(9).standard_normal((32, config.num_attention_heads))
    bias = EmbeddingParameters(weight=2 * table.astype(np.float32))
    return dataclasses.replace(parameters, relative_attention_bias=bias)


def widened(parameters: BertEncoderParameters, config: BertConfig) -> BertEncoderParameters:
    arrays = dict(arrays_of(parameters, "encoder."))
    wide = build(
        BertEncoderParameters, config, lambda key: arrays[key].astype(np.float64), "encoder."
    )
    bias = parameters.relative_attention_bias
    if bias is None:
        return wide
    table = EmbeddingParameters(weight=bias.weight.astype(np.float64))
    return dataclasses.replace(wide, relative_attention_bias=table)


def embedded(lengths: list[int], config: BertConfig) -> Floats:
    rng = np.random.default_rng(sum(lengths))
    return rng.standard_normal((sum(lengths), config.hidden_size)).astype(np.float32)


def one_by_one(
    parameters: BertEncoderParameters, hidden: Floats, lengths: list[int], config: BertConfig
) -> list[Floats]:
    """Return every layer's output, computed sequence by sequence by the readable code."""
    ends = np.cumsum(lengths)
    done = [
        encoder(parameters, hidden[np.newaxis, end - n : end], config=config)
        for n, end in zip(lengths, ends, strict=True)
    ]
    layers = range(config.num_hidden_layers)
    return [np.concatenate([s.layer[i].output.output[0] for s in done]) for i in layers]


def budget(exact: Floats, readable: Floats) -> float:
    return float(max(1e-6, 2.0 * np.abs(readable - exact).max()) + FAST_ENCODER)


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("config", [ODD, EVEN], ids=["odd", "even"])
@pytest.mark.parametrize("with_bias", [False, True])
def test_every_layer_is_the_readable_one(
    with_bias: bool, config: BertConfig, lengths: list[int]
) -> None:
    parameters = random_parameters(config)
    if with_bias:
        parameters = biased(parameters, config)
    x = embedded(lengths, config)
    exact = one_by_one(widened(parameters, config), x.astype(np.float64), lengths, config)
    readable = one_by_one(parameters, x, lengths, config)
    states = [np.full_like(x, np.nan) for _ in range(config.num_hidden_layers)]
    assert fits(parameters, config)
    assert EncoderKernel(parameters, config)(Rows(x, lengths, states))
    for found, right, plain in zip(states, exact, readable, strict=True):
        assert np.abs(found - right).max() <= budget(right, plain)
    np.testing.assert_array_equal(x, states[-1])


@pytest.mark.parametrize(
    "name", ["gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish", "tanh"]
)
def test_every_activation(name: str) -> None:
    config = dataclasses.replace(ODD, hidden_act=name, layer_norm_eps=1e-5)
    parameters, lengths = random_parameters(config), [4, 6]
    x = embedded(lengths, config)
    exact = one_by_one(widened(parameters, config), x.astype(np.float64), lengths, config)[-1]
    readable = one_by_one(parameters, x, lengths, config)[-1]
    assert EncoderKernel(parameters, config)(Rows(x, lengths))
    assert np.abs(x - exact).max() <= budget(exact, readable)


@pytest.mark.parametrize("tokens", [1, 5, 9, 10, 1000])
def test_micro_batches_change_nothing_but_roundings(
    monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    lengths = [1, 2, 2, 5, 5, 5, 9]
    run = EncoderKernel(random_parameters(EVEN), EVEN)
    whole = embedded(lengths, EVEN)
    states = [np.empty_like(whole) for _ in range(3)]
    cut = whole.copy()
    run(Rows(whole, lengths))
    monkeypatch.setattr(kernel, "MICRO_BATCH", tokens)
    assert run(Rows(cut, lengths, states))
    assert np.abs(cut - whole).max() <= ACROSS_BATCHES
    np.testing.assert_array_equal(states[-1], cut)


def test_the_same_bits_again_and_and_in_threads() -> None:
    lengths = [3, 8, 8, 70]
    run = EncoderKernel(random_parameters(EVEN), EVEN)
    given = embedded(lengths, EVEN)
    first = given.copy()
    run(Rows(first, lengths))
    results: list[Floats] = []

    def work() -> None:
        for size in (lengths, lengths[:2], lengths):
            x = given[: sum(size)].copy()
            run(Rows(x, size))
            if len(size) == 4:
                results.append(x)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    work()
    assert len(results) == 18
    for found in results:
        np.testing.assert_array_equal(found, first)


def padded(
    parameters: BertEncoderParameters,
    tokens: Floats,
    others: Floats,
    work: Work,
    config: BertConfig,
) -> list[tuple[list[Floats], list[Floats], list[Floats], list[Floats]]]:
    """Return each layer's outputs and weights of tokens and of padding, by the readable code."""
    found = []
    token = other = 0
    for length, count in work:
        rows = np.concatenate([tokens[token : token + length], others[other : other + count]])
        mask = (np.arange(length + count) < length)[np.newaxis]
        found.append((length, encoder(parameters, rows[np.newaxis], mask, config=config)))
        token, other = token + length, other + count
    layers = []
    for number in range(config.num_hidden_layers):
        parts: tuple[list[Floats], ...] = ([], [], [], [])
        for length, steps in found:
            layer = steps.layer[number]
            output, probs = layer.output.output[0], layer.attention.self.probs[0]
            parts[0].append(output[:length])
            parts[1].append(output[length:])
            parts[2].append(probs[:, :length, :length].ravel())
            parts[3].append(probs[:, length:, :length].ravel())
        layers.append(parts)
    return layers  # type: ignore[return-value]


Work = list[tuple[int, int]]
WORKS: list[Work] = [
    [(1, 6), (3, 4), (3, 4), (7, 0)],
    [(3, 4), (3, 1), (1, 0), (2, 5), (2, 5), (9, 9)],
    [(100, 70), (2, 30)],
]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("most", [1, 7, 2048])
@pytest.mark.parametrize("work", WORKS, ids=str)
@pytest.mark.parametrize("config", [ODD, EVEN], ids=["odd", "even"])
def test_padding_follows_and_changes_no_token(
    monkeypatch: pytest.MonkeyPatch, config: BertConfig, work: Work, most: int, workers: int
) -> None:
    monkeypatch.setattr(kernel, "MICRO_BATCH", most)
    parameters, layers = random_parameters(config), config.num_hidden_layers
    lengths, counts = ([pair[place] for pair in work] for place in (0, 1))
    heads = config.num_attention_heads
    given = embedded([sum(lengths) + sum(counts)], config)
    x, y = given[: sum(lengths)].copy(), given[sum(lengths) :].copy()
    exact = padded(widened(parameters, config), x.astype("f8"), y.astype("f8"), work, config)
    rows = [
        Rows(
            array.copy(),
            several,
            [np.full_like(array, np.nan) for _ in range(layers)],
            [
                np.full(heads * int(np.dot(several, lengths)), np.nan, np.float32)
                for _ in range(layers)
            ],
        )
        for array, several in ((x, lengths), (y, counts))
    ]
    set_num_threads(workers)
    run, alone = EncoderKernel(parameters, config), x.copy()
    assert run(Rows(alone, lengths))
    assert run(rows[0], rows[1])
    np.testing.assert_array_equal(rows[0].hidden, alone)
    np.testing.assert_array_equal(rows[1].hidden, rows[1].states[-1])
    for number, parts in enumerate(exact):
        for found, right in zip(
            (rows[0].states, rows[1].states, rows[0].weights, rows[1].weights), parts, strict=True
        ):
            assert np.abs(found[number] - np.concatenate(right)).max(initial=0.0) <= 2e-5


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("most", [1, 7, 2048])
@pytest.mark.parametrize(
    "places", [[0], [0, 1, 3, 6], [5, 6, 7], [], list(range(11)), [2] * 30 + [10]], ids=str
)
@pytest.mark.parametrize("config", [ODD, EVEN], ids=["odd", "even"])
def test_the_rows_that_are_read_are_those_of_all(
    monkeypatch: pytest.MonkeyPatch,
    config: BertConfig,
    places: list[int],
    most: int,
    workers: int,
) -> None:
    monkeypatch.setattr(kernel, "MICRO_BATCH", most)
    lengths = [1, 2, 3, 3, 2]
    ends = np.cumsum(lengths)
    counts = np.bincount(
        np.searchsorted(ends, np.array(places, int), "right"), minlength=5
    ).tolist()
    run, whole = EncoderKernel(random_parameters(config), config), embedded(lengths, config)
    some, out = whole.copy(), np.full((len(places), config.hidden_size), np.nan, np.float32)
    set_num_threads(workers)
    assert run(Rows(whole, lengths))
    assert run(Rows(some, lengths), read=Read(np.array(places, int), counts, out))
    assert np.abs(out - whole[places]).max(initial=0.0) <= ACROSS_BATCHES


# Padding on the right, on the left and in holes; neighbours of one length alike, and not.
COLUMNS = [
    ["1110000", "1110000", "1111100", "1111111"],
    ["0000111", "0000111", "0011111", "1111111"],
    ["0001110", "0111000", "1010100", "1010100", "1100101", "0110111"],
]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("most", [1, 9, 2048])
@pytest.mark.parametrize("rows", COLUMNS, ids=["right", "left", "holes"])
def test_distances_are_those_of_the_columns_wherever_padding_is(
    monkeypatch: pytest.MonkeyPatch, rows: list[str], most: int, workers: int
) -> None:
    monkeypatch.setattr(kernel, "MICRO_BATCH", most)
    set_num_threads(workers)
    parameters = biased(random_parameters(ODD), ODD)
    mask = np.array([[letter == "1" for letter in row] for row in rows])
    batch = embedded([mask.size], ODD).reshape(*mask.shape, -1)
    exact = encoder(widened(parameters, ODD), batch.astype("f8"), mask, config=ODD)
    packing = Packing.of(ModelInputs(words=batch, mask=None if mask.all() else mask))
    places = np.arange(mask.size) if packing.tokens is None else packing.tokens
    heads, flat = ODD.num_attention_heads, batch.reshape(mask.size, -1)

    def rows_at(some: npt.NDArray[Any], counts: list[int]) -> Rows:
        size = heads * int(np.dot(counts, packing.lengths))
        weights = [np.full(size, np.nan, np.float32) for _ in range(3)]
        return Rows(flat[some], counts, (), weights, some % 7)

    parts = rows_at(places, packing.lengths), rows_at(packing.padding, packing.counts)
    run = EncoderKernel(parameters, ODD)
    assert run(*parts)
    last = exact.layer[-1].output.output.reshape(mask.size, -1)
    assert np.abs(parts[0].hidden - last[places]).max() <= 2e-5
    assert np.abs(parts[1].hidden - last[packing.padding]).max(initial=0.0) <= 2e-5
    probs = packing.put_back_weights(heads, parts[0].weights[2], parts[1].weights[2])
    assert np.abs(probs - exact.layer[2].attention.self.probs).max() <= 2e-5
    asked = np.array([0, 1, 4, 4, len(places) - 1])
    counts = np.bincount(
        np.searchsorted(np.cumsum(packing.lengths), asked, "right"), minlength=len(mask)
    ).tolist()
    out = np.full((5, ODD.hidden_size), np.nan, np.float32)
    tokens = rows_at(places, packing.lengths)._replace(weights=())
    assert run(tokens, read=Read(asked, counts, out))
    assert np.abs(out - last[places][asked]).max() <= 2e-5


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_told_and_stays_in_its_sequence(value: float) -> None:
    lengths = [3, 5, 5]
    run = EncoderKernel(random_parameters(ODD), ODD)
    x = embedded(lengths, ODD)
    clean = x.copy()
    assert run(Rows(clean, lengths))
    x[5, 2] = value
    assert not run(Rows(x, lengths))
    assert not np.isfinite(x[3:8]).any()
    assert np.abs(x[:3] - clean[:3]).max() <= ACROSS_BATCHES
    assert np.abs(x[8:] - clean[8:]).max() <= ACROSS_BATCHES


@pytest.mark.parametrize("lengths", [[300, 300], [600, 600, 600, 600]], ids=str)
def test_threads_warn_of_no_number_that_is_not_finite(lengths: list[int]) -> None:
    """NumPy's warnings, which are errors here, are each thread's own to silence."""
    run = EncoderKernel(random_parameters(EVEN), EVEN)
    before = get_num_threads()
    try:
        set_num_threads(2)
        for value in (np.inf, 3e38):
            x = embedded(lengths, EVEN)
            x[::2], x[1::2] = value, -value
            assert not run(Rows(x, lengths))
    finally:
        set_num_threads(before)


def test_what_the_kernel_cannot_stand_in_for() -> None:
    assert not fits(widened(random_parameters(ODD), ODD), ODD)
    for key in ("attention.self.key.bias", "output.LayerNorm.weight"):
        arrays = dict(arrays_of(random_parameters(ODD), "encoder."))
        name = f"encoder.layer.1.{key}"
        arrays[name] = arrays[name].copy()
        arrays[name][2] = np.nan
        assert not fits(build(BertEncoderParameters, ODD, arrays.__getitem__, "encoder."), ODD)


def test_nothing_to_do() -> None:
    assert EncoderKernel(random_parameters(ODD), ODD)(Rows(np.empty((0, 24), np.float32), []))


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize(
    "lengths", [[16], [33], [128], [5, 5, 60], [300, 40], [600] * 2, [70] * 25], ids=str
)
def test_threads_change_nothing_but_roundings(
    monkeypatch: pytest.MonkeyPatch, lengths: list[int], small: bool, held: bool
) -> None:
    """Whether products are cut or not, and whether BLAS can be held to one thread or not."""
    cuts = (Cut(99, 0, 8, 32),) if small else ()
    monkeypatch.setattr(dense, "tuning", lambda: dataclasses.replace(tuning(), cuts=cuts))
    if not held:
        monkeypatch.setattr(kernel, "blas_threads", lambda _: nullcontext(False))
    run = EncoderKernel(random_parameters(EVEN), EVEN)
    assert run._is_cut(1) == small
    alone = embedded(lengths, EVEN)
    others = [alone.copy() for _ in range(3)]
    before = get_num_threads()
    try:
        set_num_threads(1)
        assert run(Rows(alone, lengths))
        for threads, x in zip((2, 2, 5), others, strict=True):
            set_num_threads(threads)
            assert run(Rows(x, lengths))
            assert np.abs(x - alone).max() <= ACROSS_BATCHES
    finally:
        set_num_threads(before)
    np.testing.assert_array_equal(others[0], others[1])


FRESH = """
import hashlib
from numpy_bert import set_num_threads
from numpy_bert.kernels.encoder import EncoderKernel, Rows
from tests.kernels.test_encoder import EVEN, embedded, random_parameters
run = EncoderKernel(random_parameters(EVEN), EVEN)
for threads in (1, 2):
    set_num_threads(threads)
    for lengths in ([16], [60, 60], [300, 40], [70] * 25):
        x = embedded(lengths, EVEN)
        assert run(Rows(x, lengths))
        print(hashlib.sha256(x).hexdigest())
"""


def test_two_fresh_processes_give_the_same_bits() -> None:
    """However threads share: those of BLAS, by rows and heads, by micro-batches."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2"}
    command = [sys.executable, "-c", FRESH]
    started = [
        subprocess.Popen(
            command,
            cwd=Path(__file__).parents[2],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    first, second = (process.communicate(timeout=120)[0] for process in started)
    assert first.count("\n") == 8
    assert first == second
