"""Which examples are read together."""

from __future__ import annotations

import numpy as np
import pytest

from numpy_bert.training.order import batches


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(("examples", "size"), [(1, 4), (7, 3), (1000, 8), (64, 8)])
def test_each_example_comes_once(examples: int, size: int, grouped: bool) -> None:
    lengths = np.random.default_rng(1).integers(1, 99, examples) if grouped else None
    found = batches(examples, size, np.random.default_rng(0), lengths)
    assert sorted(np.concatenate(found).tolist()) == list(range(examples))
    assert len(found) == -(-examples // size)
    assert max(map(len, found)) <= size
    again = batches(examples, size, np.random.default_rng(0), lengths)
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))


def test_lengths_are_alike_and_batches_come_in_any_order() -> None:
    lengths = np.random.default_rng(1).integers(1, 500, 4000)
    found = batches(4000, 8, np.random.default_rng(0), lengths)
    spread = np.mean([np.ptp(lengths[batch]) for batch in found])
    loose = np.mean([np.ptp(lengths[b]) for b in batches(4000, 8, np.random.default_rng(0))])
    assert spread < loose / 20
    means = [lengths[batch].mean() for batch in found]
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.2
