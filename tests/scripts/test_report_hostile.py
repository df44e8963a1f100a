"""scripts/report_hostile.py: what hostile files cost, and what the script makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import report_hostile
from report_hostile import CASES, Case, Cost, fault, measured

from tests.support.platforms import linux


@linux
def test_a_hostile_file_is_refused_without_being_parsed(tmp_path: Path) -> None:
    name = "a header of 24 MB of empty lists"
    cost = measured(CASES[name], tmp_path)
    assert fault(CASES[name], cost) == ""
    assert cost.mebibytes < 60


@pytest.mark.parametrize(
    ("said", "cost", "words"),
    [
        ("", Cost("x.json: is wrong", 0, 0), "must say 'nothing'; it said 'x.json: is wrong'"),
        ("is wrong", Cost("", 0, 0), "must say 'is wrong'; it said 'nothing'"),
        ("is wrong", Cost("exit code 1: KeyError: 3", 0, 0), "it said 'exit code 1: KeyError: 3'"),
        ("", Cost("", 0, 5000), "costs more than"),
        ("", Cost("", 50, 5), "costs more than"),
        ("is wrong", Cost("x.json: is wrong.", 1, 5), ""),
        ("", Cost("", 1, 5), ""),
    ],
)
def test_what_is_a_fault(said: str, cost: Cost, words: str) -> None:
    found = fault(Case(lambda _: None, said), cost)
    assert words in found
    assert bool(found) == bool(words)


@linux
def test_an_error_that_is_not_ours_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report_hostile, "PROGRAM", "raise KeyError(3)")
    monkeypatch.setattr(report_hostile, "CASES", {"some file": Case(lambda _: None, "is wrong")})
    assert report_hostile.main([]) == 1
    assert "some file: must say 'is wrong'; it said 'exit code 1: KeyError: 3'" in (
        capsys.readouterr().out
    )


@pytest.mark.slow
@linux
def test_no_hostile_file_costs_much(capsys: pytest.CaptureFixture[str]) -> None:
    assert report_hostile.main([]) == 0
    assert capsys.readouterr().out.count("| refused: ") + 4 == len(CASES)
