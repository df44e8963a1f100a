"""What is measured becomes choices."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from numpy_bert.kernels import measure as module
from numpy_bert.kernels.choices import Cut
from numpy_bert.kernels.measure import Sizes, measure, steps

TINY = Sizes({48: (64, 32), 64: (96,)}, (8, 16), cold=1, features=16, tokens=256, rounds=1)


def test_every_part_is_measured_and_reported() -> None:
    reports: list[int] = []
    found = measure(TINY, reports.append)
    assert len(reports) == sum(reports) == steps(TINY) == 6
    assert len(found.lines) == 6
    assert found.choices.block_bytes in module._BLOCKS
    assert found.lines[2].startswith("   8 rows, 48 to 64 and 32: one call ")


def test_it_says_where_blas_is_not_held_to_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "one_blas_thread", lambda: nullcontext(False))
    assert any("all threads of BLAS" in line for line in measure(TINY).lines)


def test_what_is_not_clearly_faster_is_not_taken() -> None:
    assert module._fastest({"a": 1.0, "b": 0.96}, "a") == "a"
    assert module._fastest({"a": 1.0, "b": 0.94}, "a") == "b"
    assert module._fastest({"a": 1.0, "b": 0.92, "c": 0.90}, "a", "b") == "b"
    assert module._fastest({"a": 1.0, "b": 0.99}) == "b"


@pytest.mark.parametrize(
    ("found", "cuts"),
    [
        ([(8, None), (16, None)], [(0, 0, 0)]),
        ([(8, (8, 64)), (16, (8, 64))], [(0, 8, 64)]),
        ([(8, (8, 64)), (16, None)], [(8, 8, 64), (0, 0, 0)]),
        ([(8, None), (16, (8, 32)), (32, (8, 64))], [(8, 0, 0), (16, 8, 32), (0, 8, 64)]),
    ],
)
def test_neighbours_of_one_piece_are_one_cut(
    found: list[tuple[int, tuple[int, int] | None]], cuts: list[tuple[int, int, int]]
) -> None:
    assert module._merged(384, found) == [Cut(384, *values) for values in cuts]


def test_the_fastest_piece_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock by which pieces of 8 x 32 take half the time."""

    def medians(calls, rounds):  # type: ignore[no-untyped-def]
        for call in calls.values():
            call()
        return {way: 0.5 if way == (8, 32) else 1.0 for way in calls}

    monkeypatch.setattr(module, "_medians", medians)
    found = measure(TINY).choices
    assert found.cuts == (Cut(48, 0, 8, 32), Cut(64, 0, 8, 32))
    assert found.activation == "tanh"
