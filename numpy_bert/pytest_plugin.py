"""A pytest fixture; pytest finds it by itself wherever numpy_bert is installed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

__all__ = ["matches_bert"]


@pytest.fixture(scope="session")
def matches_bert() -> Callable[..., None]:
    """Return `numpy_bert.testing.assert_matches_bert`, which checks the trace of a port.

    ::

        def test_my_port(matches_bert):
            matches_bert("my_trace.safetensors", model="bert-base-uncased")
    """
    from numpy_bert.testing import assert_matches_bert

    return assert_matches_bert
