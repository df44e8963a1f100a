"""Reports: lines of at most 100 columns, strict JSON, a page that fetches nothing."""

from __future__ import annotations

import json
import math
from html.parser import HTMLParser

import pytest

from numpy_bert.comparison.report import Report, StepReport, Verdict, as_html, as_text

LONG = "encoder.layer.11.attention.output.LayerNorm.normalized"


def row(name: str = LONG, verdict: Verdict = "pass", **values: object) -> StepReport:
    given = {
        "shape": (4, 12, 128, 128),
        "dtype": "float32",
        "max_abs": 1.234e-5,
        "max_rel": 2.3e-3,
        "ulp": 1234567.0,
        "own": 1e-6,
        "inherited": 1e-5,
        "budget": 3e-6,
        "worst": (3, 11, 127, 126),
        "value": -0.123456789012,
        "expected": -0.123456701234,
    }
    return StepReport(name=name, verdict=verdict, **{**given, **values})  # type: ignore[arg-type]


BAD = row(verdict="differs", own=math.inf, max_abs=math.nan, text="why " * 60, cause="gelu_tanh")
REPORT = Report(
    candidate="x" * 150,
    against="model.safetensors",
    steps=[row("input_ids"), row(), row(reference=1e-6), BAD, row("pooler", "allowed")],
    notes=["a note " * 30],
    hidden=["the mask is left out (no row is padded: give a batch)", "epsilon (at 2 of 9 steps)"],
)


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("split", [False, True])
def test_no_line_is_longer_than_100_columns(verbose: bool, split: bool) -> None:
    steps = REPORT.steps if split else [row(own=None, inherited=None, text="t " * 90), row()]
    report = Report(candidate="x" * 150, against="y", steps=steps, notes=REPORT.notes)
    lines = as_text(report, verbose=verbose).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[-1].endswith(".")


def test_what_differs_is_shown_with_its_worst_place() -> None:
    text = as_text(REPORT)
    assert "worst at [3, 11, 127, 126]: -0.123456789, not -0.123456701" in text
    assert "This trace could not have shown:" in text
    assert "no row is padded" in text
    assert "at 2 of 9 steps" not in text
    assert "at 2 of 9 steps" in as_text(REPORT, verbose=True)
    assert text.count("worst at") == 2
    assert as_text(REPORT, verbose=True).count("worst at") == len(REPORT.steps)


def test_the_verdict_is_that_of_the_steps() -> None:
    assert (REPORT.verdict, REPORT.first, REPORT.cause) == ("differs", LONG, "gelu_tanh")
    good = Report(candidate="a", against="b", steps=[row(), row(verdict="allowed")])
    assert (good.verdict, good.first, good.cause) == ("pass", None, None)
    assert good.sentence == "The same: all 1 are within their budgets; 1 were allowed to differ."


def test_the_json_is_strict_and_has_the_documented_members() -> None:
    found = json.loads(json.dumps(REPORT.as_dict(), allow_nan=False))
    assert found["verdict"] == "differs"
    assert (found["first"], found["cause"]) == (LONG, "gelu_tanh")
    members = {"name", "max_abs", "max_rel", "ulp", "own", "inherited", "budget", "verdict"}
    assert all(members <= set(step) for step in found["steps"])
    assert found["steps"][3]["own"] is None


class Page(HTMLParser):
    """What a page would fetch or run, and whether its tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.scripts = 0
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [f"{k}={v}" for k, v in attrs if k in ("src", "href", "data", "action")]
        self.fetched += [k for k, _ in attrs if k.startswith("on")]
        self.scripts += tag == "script"
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ("path", "rect")


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>'\"&"


def test_the_page_is_one_file_and_shows_hostile_names_as_text() -> None:
    report = Report(
        candidate=HOSTILE,
        against=HOSTILE,
        steps=[row(HOSTILE, "differs", text=HOSTILE, dtype=HOSTILE), *REPORT.steps],
        notes=[HOSTILE],
        hidden=[HOSTILE],
    )
    text = as_html(report)
    page = Page()
    page.feed(text)
    page.close()
    assert not page.open
    assert not page.fetched
    assert page.scripts == 1
    assert "<img" not in text
    assert "http" not in text
    assert "url(" not in text


def test_the_picture_has_a_bar_for_each_step() -> None:
    text = as_html(REPORT)
    assert text.count("<title>") == 1 + len(REPORT.steps)
    assert "own 1.00e-06, budget 3.00e-06 (pass)" in text
    empty = Report(candidate="a", against="b", steps=[StepReport(name="x", verdict="differs")])
    assert "<svg" not in as_html(empty)


def test_the_unit_of_a_steps_own_error_stands_beside_it_and_its_budget() -> None:
    bad = row(verdict="differs", own=2e-5, unit="rms")
    report = Report(candidate="a", against="b", steps=[row("pooler"), bad])
    line = next(line for line in as_text(report).splitlines() if line.endswith("differs"))
    assert line.split()[-6:] == ["2.0e-05", "rms", "1.0e-05", "3.0e-06", "rms", "differs"]
    page = as_html(report)
    assert "<td class='n'>2.00e-05 rms</td>" in page
    assert "<td class='n'>3.00e-06 rms</td>" in page
    assert "own 2.00e-05 rms, budget 3.00e-06 rms (differs)" in page
    assert "by 2e-05 rms of its own (its budget is 3e-06 rms)" in report.sentence
    assert "rms" not in as_text(Report(candidate="a", against="b", steps=[row()]))
