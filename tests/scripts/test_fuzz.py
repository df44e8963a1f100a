"""scripts/fuzz.py: what it finds, and a few inputs of every target that needs no other package."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import fuzz
import pytest
from fuzz_target import Difference, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_bert import InputError

FAKES = ["tests.support.fuzz_fakes"]
TARGETS = {name: target for name, (_, target) in fuzz.targets().items() if not target.rival}


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_few_inputs_of_each_target(name: str, tmp_path: Path) -> None:
    target, state, outcomes = TARGETS[name], TARGETS[name].prepare(tmp_path), set[bool]()

    @given(st.integers(0, 2**64))
    @settings(max_examples=40)
    def attempt(seed: int) -> None:
        outcomes.add(target.attempt(state, random.Random(seed)))

    attempt()
    assert outcomes == {True, False}  # else no more than one of its two sides is tried


def bad(name: str, inputs: int) -> list[int]:
    """Return the numbers of the bad inputs of a fake."""
    return [i for i in range(inputs) if fuzz.generator(1, name, i).random() < 0.1]


@pytest.mark.parametrize(
    ("name", "kind", "inputs"),
    [("raises", "not ours", 60), ("differs", "differ", 60), ("ends", "crashed", 20)],
)
def test_each_kind_of_finding_is_counted_and_can_be_made_again(
    capsys: pytest.CaptureFixture[str], name: str, kind: str, inputs: int
) -> None:
    numbers = bad(name, inputs)
    assert numbers
    options = [name, "--inputs", str(inputs), "--seed", "1", "--processes", "2"]
    assert fuzz.main(options, FAKES) == 1
    lines = capsys.readouterr().out.splitlines()
    found = [line for line in lines if line.startswith(f"{name} --only ")]
    assert sorted(int(line.split()[2].rstrip(":")) for line in found) == numbers
    assert all(f": {kind}: " in line for line in found)
    (row,) = [line.split(" | ") for line in lines if line.startswith(f"| {name}")]
    counts = dict(zip(fuzz.KINDS, row[5:9], strict=True))
    assert counts.pop(kind) == str(len(numbers))
    assert set(counts.values()) == {"0"}
    assert int(row[3]) + int(row[4]) == inputs - len(numbers)


def test_a_hang_is_ended_and_the_rest_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    inputs = bad("hangs", 100)[0] + 2
    options = ["hangs", "--inputs", str(inputs), "--seed", "1", "--processes", "1"]
    assert fuzz.main([*options, "--limit", "0.5"], FAKES) == 1
    assert f"hangs --only {inputs - 2}: hung: not done after 0.5 s" in capsys.readouterr().out


def test_one_input_is_tried_here(capsys: pytest.CaptureFixture[str]) -> None:
    number = str(bad("raises", 100)[0])
    with pytest.raises(ValueError, match="not one of ours"):
        fuzz.main(["raises", "--seed", "1", "--only", number], FAKES)


def test_nothing_found_is_exit_code_0(capsys: pytest.CaptureFixture[str]) -> None:
    first = str(bad("raises", 100)[0])
    assert fuzz.main(["raises", "--seed", "1", "--inputs", first], FAKES) == 0
    assert f"{first} inputs, 0 findings (seed 1)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ("x.json: is wrong.", "does not name config.json"),
        ("config.json: " + "9" * 3000, "has 3,013 characters"),
        ("config.json: \x1b[2J", "cannot be printed"),
    ],
    ids=["another file", "long", "escape"],
)
def test_a_refusal_must_be_one_to_be_read(message: str, complaint: str) -> None:
    def call() -> Any:
        raise InputError(message)

    with pytest.raises(Difference, match=complaint):
        refused(call, naming="config.json")
