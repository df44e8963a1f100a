"""SPLADE's pooling of words' scores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from numpy_bert.ops.word_pooling import LOGARITHMS, STRATEGIES, saturated, word_pooling


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", list(LOGARITHMS))
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_it_is_its_definition(strategy: str, activation: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    scores = (4 * rng.standard_normal((5, 13))).astype(dtype)
    scores[0] = [-0.0, 1e-8, *scores[0, 2:]]  # log(1 + x) of what 1 + x rounds away
    scores.flags.writeable = False
    found = word_pooling(scores, strategy=strategy, activation=activation)
    assert found.dtype == dtype

    def weight(score: float) -> float:
        first = math.log1p(max(score, 0.0))
        return first if activation == "relu" else math.log1p(first)

    pooled: Any = max if strategy == "max" else math.fsum
    wanted = np.array([pooled([weight(float(x)) for x in column]) for column in scores.T])
    np.testing.assert_allclose(found, wanted, rtol=4 * float(np.finfo(dtype).eps))


def test_weights_can_take_the_place_of_scores() -> None:
    scores = np.array([-1.0, 2.0])
    assert saturated(scores, out=scores) is scores
    np.testing.assert_allclose(scores, [0.0, math.log(3.0)])
