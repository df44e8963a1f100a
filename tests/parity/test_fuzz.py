"""scripts/fuzz.py: the first inputs of every target that is held to another package."""

from __future__ import annotations

from pathlib import Path

import fuzz
import pytest

TARGETS = {name: target for name, (_, target) in fuzz.targets().items() if target.rival}


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_the_first_inputs_of_each_target(name: str, tmp_path: Path) -> None:
    pytest.importorskip(TARGETS[name].rival)
    target, state = TARGETS[name], TARGETS[name].prepare(tmp_path)
    taken = [target.attempt(state, fuzz.generator(0, name, index)) for index in range(12)]
    assert True in taken  # else nothing was held to the other package
