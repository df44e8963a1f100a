"""numpy_bert.progress: a bar for whoever waits at a terminal, silence for everybody else."""

from __future__ import annotations

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
    options: dict[str, int],
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
