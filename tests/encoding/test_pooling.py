"""numpy_bert.encoding.pooling: each mode equals its definition, and no text knows another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numpy_bert import InputError
from numpy_bert.encoding.pooling import MODES, normalize, pool

LENGTHS = np.array([9, 5, 5, 5, 2, 1])


def by_definition(states: Any, mode: str, skip: int) -> Any:
    counted = states[skip:].astype(np.float64)
    n = len(counted)
    if mode == "cls":
        return (counted if n else states)[0]
    if not n:
        return np.zeros(states.shape[1])
    places = np.arange(skip + 1, len(states) + 1)[:, None]
    return {
        "max": counted.max(0),
        "mean": counted.sum(0) / n,
        "mean_sqrt_len": counted.sum(0) / np.sqrt(n),
        "weightedmean": (counted * places).sum(0) / places.sum(),
        "lasttoken": counted[-1],
    }[mode]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("skip", [0, 2, 6])
def test_each_mode(mode: str, skip: int, dtype: str) -> None:
    hidden = np.random.default_rng(0).standard_normal((LENGTHS.sum(), 7)).astype(dtype)
    hidden.flags.writeable = False
    found = pool(hidden, LENGTHS, (mode,), skip=skip)
    assert found.shape == (6, 7)
    assert found.dtype == dtype
    stops = np.cumsum(LENGTHS)
    for row, (stop, length) in enumerate(zip(stops, LENGTHS, strict=True)):
        states = hidden[stop - length : stop]
        reference = by_definition(states, mode, skip)
        assert np.abs(found[row] - reference).max() < (1e-6 if dtype == "float32" else 1e-14)
        alone = pool(states, np.array([length]), (mode,), skip=skip)[0]
        assert np.array_equal(found[row], alone)


def test_modes_are_joined_in_order() -> None:
    hidden = np.random.default_rng(0).standard_normal((LENGTHS.sum(), 7))
    modes = ("lasttoken", "cls", "mean")
    parts = [pool(hidden, LENGTHS, (mode,)) for mode in modes]
    assert np.array_equal(pool(hidden, LENGTHS, modes), np.hstack(parts))


def test_no_texts() -> None:
    assert pool(np.zeros((0, 7)), np.array([], dtype=np.intp), ("mean",)).shape == (0, 7)


def test_normalize(dtype: str) -> None:
    vectors = np.array([[3.0, 4.0], [0.0, 0.0], [1e-20, 0.0]], dtype)
    assert np.allclose(normalize(vectors), [[0.6, 0.8], [0.0, 0.0], [1e-8, 0.0]], atol=1e-12)
    assert normalize(vectors).dtype == dtype
    assert vectors[0, 0] == 3


@pytest.mark.parametrize("modes", ["max", ("mean", "sum"), ("",), (None,)])
def test_pool_refuses_an_unknown_mode(modes: Any) -> None:
    with pytest.raises(
        InputError, match=r"^modes must be some of cls, max, mean, mean_sqrt_len.*; got "
    ):
        pool(np.ones((2, 3)), np.array([2]), modes)
