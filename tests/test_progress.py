"""numpy_bert.progress: a bar for whoever waits at a terminal or in a notebook, else silence."""

from __future__ import annotations

import io
import re
import time
from typing import Any

import pytest

from numpy_bert.progress import progress

LARGE = 1 << 30


@pytest.mark.parametrize(
    ("total", "options", "terminal", "drawn"),
    [
        (LARGE, {}, True, True),
        (LARGE, {}, False, False),
        (1000, {}, True, False),
        (1000, {"least": 1000}, True, True),
        (999, {"least": 1000}, True, False),
        (1000, {"least": 1000}, False, False),
    ],
)
def test_a_bar_is_drawn_for_large_totals_on_a_terminal(
    total: int,
    options: dict[str, Any],
    terminal: bool,
    drawn: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    with progress(total, "checking", **options) as report:
        for _ in range(4):
            report(total // 4)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("checking: 100%" in err) is drawn
    assert bool(err) is drawn


@pytest.mark.parametrize("delay", [0.0, 60.0])
def test_other_units_have_a_rate_and_may_wait(
    delay: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress(12, "encoding", least=0, unit="texts", delay=delay) as report:
        report(12)
    err = capsys.readouterr().err
    assert ("12/12" in err) is (delay == 0)
    assert ("texts/s" in err) is (delay == 0)
    assert bool(err) is (delay == 0)


def test_items_of_unlike_work_are_counted_and_their_work_is_the_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress(1000, "encoding", least=1, unit="texts", items=11) as report:
        time.sleep(0.2)  # it is drawn ten times a second at most
        report(900, done=1)
        shown = capsys.readouterr().err
        report(100, done=10)
    assert "encoding:  90%|" in shown
    assert "1/11 texts]" in shown
    assert "11/11 texts]" in capsys.readouterr().err


def test_what_has_no_known_end_is_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress(None, "encoding", unit="texts") as report:
        report(7)
    err = capsys.readouterr().err
    assert "encoding: 7 texts [" in err
    assert "%" not in err


def test_what_was_done_before_makes_no_rate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress(10_000_000, "encoding", least=1, unit="rows", initial=9_999_000) as report:
        time.sleep(0.2)
        report(1000, "12 texts/s")
    last = capsys.readouterr().err.split("\r")[-1]
    assert "10000000/10000000 [" in last
    assert float(re.findall(r"([\d.]+) rows/s", last)[0]) <= 1000 / 0.2
    assert last.rstrip().endswith("12 texts/s]")


def test_a_notebook_is_watched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class OutStream(io.StringIO):
        __module__ = "ipykernel.iostream"

    shown = OutStream()
    monkeypatch.setattr("sys.stderr", shown)
    with progress(12, "encoding", least=0) as report:
        report(12)
    assert "12.0/12.0" in shown.getvalue()
