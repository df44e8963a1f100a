"""What transformers must be told before its answers do not depend on what was asked before."""

from __future__ import annotations

import importlib

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_fast_classes() -> None:
    """Import DPR's fast tokenizers before anybody looks up the slow ones.

    To look up a slow one puts it in the place of the fast ones for the rest of the process, unless
    these are there; they lower-case where it does not.
    """
    importlib.import_module("transformers.models.dpr.tokenization_dpr_fast")
