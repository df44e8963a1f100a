"""The random numbers that dropout's masks on the page are made of."""

from __future__ import annotations

import numpy as np

from numpy_bert.arrays import Array

__all__ = ["SEEDS", "dropout_draws"]

# How many seeds the page has the masks of, from 0.
SEEDS = 20


def dropout_draws(features: int) -> Array:
    """Return what `numpy_bert.ops.dropout.draw_keep` compares with p, for each seed, (SEEDS, H).

    Examples
    --------
    >>> from numpy_bert.ops.dropout import draw_keep
    >>> keep = draw_keep((8,), 0.5, np.random.default_rng(3))
    >>> np.array_equal(dropout_draws(8)[3] >= 0.5, keep)
    True
    """
    draws = [np.random.default_rng(seed).random(features, np.float32) for seed in range(SEEDS)]
    return np.stack(draws)
