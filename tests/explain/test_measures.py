"""Shares make one, and say what comes from where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from numpy_bert.explain.measures import cosines, parts_of, scale_of
from tests.support.pages import PARTS, SENTENCE, read


@pytest.mark.parametrize("which", ["demo", "MiniLM"])
def test_norms_and_shares_are_those_of_the_trace(which: str, minilm: Path) -> None:
    reading = read(minilm if which == "MiniLM" else which, SENTENCE)
    parts = parts_of(reading)
    rows = [reading.embeddings[name].astype(np.float64) for name in PARTS]
    total = reading.embeddings["embeddings.sum"].astype(np.float64)
    for column, row in enumerate(rows):
        assert np.allclose(parts.norms[:, column], np.linalg.norm(row, axis=1), rtol=1e-12)
        share = (row * total).sum(axis=1) / np.square(total).sum(axis=1)
        assert np.allclose(parts.shares[:, column], share, atol=1e-6)
    assert np.allclose(parts.shares.sum(axis=1), 1.0, atol=1e-12)
    assert np.allclose(parts.total, np.linalg.norm(total, axis=1), rtol=1e-6)


def test_a_part_that_points_away_has_a_share_below_nothing() -> None:
    reading = read("demo", "")
    shape = reading.embeddings["embeddings.sum"].shape
    rows = dict(zip(PARTS, (np.full(shape, value) for value in (3.0, -1.0, 0.0)), strict=True))
    parts = parts_of(replace(reading, embeddings={**reading.embeddings, **rows}))
    assert np.allclose(parts.shares, [[1.5, -0.5, 0.0]] * shape[0])


def test_a_sum_of_nothing_has_no_shares() -> None:
    reading = read("demo", "")
    zero = np.zeros_like(reading.embeddings["embeddings.sum"])
    parts = parts_of(replace(reading, embeddings=dict.fromkeys(PARTS, zero)))
    assert not parts.shares.any()
    assert not parts.norms.any()


def test_enormous_rows_are_measured() -> None:
    reading = read("demo", "")
    shape = reading.embeddings["embeddings.sum"].shape
    parts = parts_of(replace(reading, embeddings=dict.fromkeys(PARTS, np.full(shape, 1e200))))
    assert np.allclose(parts.shares, 1 / 3)
    assert np.allclose(parts.norms, 1e200 * np.sqrt(shape[1]))


def test_one_value_in_a_hundred_may_be_beyond_the_scale() -> None:
    values = np.linspace(0.01, 1.0, 100)
    assert scale_of(values) == pytest.approx(1.0)
    assert scale_of(np.append(np.full(500, -2.0), 1e9)) == 2.0
    assert scale_of(np.append(np.zeros(999), 0.05)) == 0.05
    assert scale_of(np.zeros(0)) == scale_of(np.zeros(3)) == 1.0


def test_a_row_of_zeros_is_like_nothing() -> None:
    found = cosines(np.array([[0.0, 0.0], [1.0, 1.0], [-2.0, -2.0]], np.float32))
    assert np.allclose(found, [[0, 0, 0], [0, 1, -1], [0, -1, 1]])
