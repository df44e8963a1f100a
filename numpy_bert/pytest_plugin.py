"""A pytest fixture; pytest finds it by itself wherever numpy_bert is installed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

__all__ = ["matches_bert"]


@pytest.fixture(scope="session")
def matches_bert() -> Callable[..., None]:
    """`numpy_bert.testing.assert_matches_bert`: a port's trace is what BERT's arithmetic gives.

    ::

        def test_my_port(matches_bert):
            matches_bert("my_trace.safetensors", model="bert-base-uncased")
    """
    from numpy_bert.testing import assert_matches_bert

    return assert_matches_bert
