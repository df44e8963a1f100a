"""A report as one HTML file: a chart of every step's error beside its budget, and the table.

Nothing is fetched: styles, the drawing and the few lines of script are in the file.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from string import Template

from numpy_bert.arrays import place
from numpy_bert.comparison.report import Report, StepReport

__all__ = ["as_html"]

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 1000, 300, 56, 22
_DECADES = 18

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$verdict: $candidate</title>
<style>
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --faint: #6b7280;
  --line: #d9dde3; --good: #1a7f4b; --bad: #c02b2b; --own: #35588c; --inherited: #b3c0d3;
  --budget: #1a7f4b; --shade: #f5f6f8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --paper: #14171b; --faint: #98a1ad;
  --line: #333a43; --good: #4cc38a; --bad: #ff7b72; --own: #8fb4e8; --inherited: #46566c;
  --budget: #4cc38a; --shade: #1c2127; } }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.35rem; margin: 0 0 .25rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
.against { color: var(--faint); overflow-wrap: anywhere; margin: 0; }
.sentence { border-left: 4px solid var(--$tone); background: var(--shade); padding: .7rem 1rem;
  margin: 1rem 0; overflow-wrap: anywhere; }
.sentence b { color: var(--$tone); }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--faint); font-size: 11px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th { text-align: left; border-bottom: 2px solid var(--line); white-space: nowrap; }
th, td { padding: .22rem .6rem .22rem 0; vertical-align: top; }
td { border-bottom: 1px solid var(--line); } .n { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; } .name { font-family: ui-monospace, monospace; }
.why { color: var(--faint); } td.differs { color: var(--bad); font-weight: 600; }
td.pass { color: var(--good); } td.allowed { color: var(--faint); }
.key i { display: inline-block; width: .8em; height: .8em; margin: 0 .35em 0 1em; }
body.few tr.pass { display: none; }
@media print { label { display: none; } }
</style>
</head>
<body>
<h1>$title</h1>
<p class="against">$candidate against $against</p>
<p class="sentence"><b>$verdict</b> $sentence</p>
$chart
<h2>Every step</h2>
<p><label><input type="checkbox" id="few"> only what differs</label></p>
<div class="wide"><table>
<thead><tr>$head</tr></thead>
<tbody>
$rows
</tbody>
</table></div>
$notes
<script>
const box = document.getElementById("few");
box.addEventListener("change", () => document.body.classList.toggle("few", box.checked));
</script>
</body>
</html>
""")


def as_html(report: Report) -> str:
    """Return a report as one HTML file that opens from the disk.

    Parameters
    ----------
    report : Report
        What `compare` or `verify` found.

    Examples
    --------
    >>> row = StepReport(name="<b>", verdict="pass", max_abs=1e-7, budget=1e-5)
    >>> "<td class='name'>&lt;b&gt;" in as_html(Report(candidate="a", against="b", steps=[row]))
    True
    """
    same = report.verdict == "pass"
    is_split = any(row.own is not None for row in report.steps)
    sizes = ("own", "inherited") if is_split else ("max rel", "ULP")
    head = ("step", "shape", "dtype", "max abs", *sizes, "budget", "worst place", "verdict")
    return _PAGE.substitute(
        title="Verification of a trace" if is_split else "Comparison of two traces",
        candidate=html.escape(report.candidate),
        against=html.escape(report.against),
        verdict="Passes." if same else "Differs.",
        tone="good" if same else "bad",
        sentence=html.escape(report.sentence),
        chart=_chart(report),
        head="".join(f"<th>{text}</th>" for text in head),
        rows="\n".join(_row(row, is_split=is_split) for row in report.steps),
        notes=_list("Notes", report.notes)
        + _list("Mistakes that this trace could not have shown", report.hidden),
    )


def _row(row: StepReport, *, is_split: bool) -> str:
    """Return a row of the table."""
    pair = (row.own, row.inherited) if is_split else (row.max_rel, row.ulp)
    numbers = "".join(f"<td class='n'>{_number(x)}</td>" for x in (row.max_abs, *pair, row.budget))
    worst = ""
    if row.worst is not None and row.value is not None and row.expected is not None:
        worst = f"{place(row.worst)} {row.value:.7g}, not {row.expected:.7g}"
    why = f"<div class='why'>{html.escape(row.text)}</div>" if row.text else ""
    shape = "x".join(str(n) for n in row.shape)
    return (
        f"<tr class='{row.verdict}'><td class='name'>{html.escape(row.name)}{why}</td>"
        f"<td class='n'>{shape}</td><td>{html.escape(row.dtype)}</td>{numbers}"
        f"<td class='n'>{worst}</td><td class='{row.verdict}'>{row.verdict}</td></tr>"
    )


def _chart(report: Report) -> str:
    """Draw each step's error and its budget, on a logarithmic scale, in execution order."""
    rows = [row for row in report.steps if row.max_abs is not None and row.budget]
    if not rows:
        return ""
    top = max(max(_finite(row.max_abs), _finite(row.budget)) for row in rows)
    highest = math.ceil(math.log10(top)) if top > 0 else 0
    values = [x for row in rows for x in (row.own, row.max_abs, row.budget) if x]
    lowest = max(math.floor(math.log10(min(map(_finite, values)))), highest - _DECADES)
    step = (_WIDTH - _LEFT) / len(rows)

    def y(value: float | None) -> float:
        size = _finite(value)
        share = 0.0 if size <= 0 else (math.log10(size) - lowest) / max(highest - lowest, 1)
        return _HEIGHT - _BOTTOM - (_HEIGHT - 2 * _BOTTOM) * min(max(share, 0.0), 1.0)

    marks = _layers(rows, step)
    marks += [_grid(exponent, y(10.0**exponent)) for exponent in range(lowest, highest + 1)]
    for number, row in enumerate(rows):
        x = _LEFT + step * number
        label = f"<title>{html.escape(_label(row))}</title>"
        bars = [("inherited", row.max_abs, 0.8)] if row.own is not None else []
        kind = "bad" if row.verdict == "differs" else "own"
        bars.append((kind, row.max_abs if row.own is None else row.own, 0.45))
        drawn = "".join(_bar(x, step, kind, y(value), part) for kind, value, part in bars if value)
        limit = y(row.budget)
        mark = (
            f"<path d='M{x:.2f} {limit:.1f}h{step:.2f}' stroke='var(--budget)' stroke-width='2'/>"
        )
        marks.append(f"<g>{label}{drawn}{mark}</g>")
    title = "Largest error of every step, in execution order"
    is_split = any(row.own is not None for row in rows)
    key = [("own", "its own" if is_split else "the difference"), ("bad", "beyond its budget")]
    key += [("inherited", "with what it inherits")] * is_split + [("budget", "budget")]
    keys = "".join(f"<i style='background:var(--{kind})'></i>{text}" for kind, text in key)
    return (
        f"<h2>{title}</h2><p class='key'>{keys}</p>"
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' aria-label='{title}'>"
        f"{''.join(marks)}</svg>"
    )


def _layers(rows: Sequence[StepReport], step: float) -> list[str]:
    """Mark where each layer begins."""
    marks, last = [], ""
    for number, row in enumerate(rows):
        parts = row.name.split(".")
        layer = parts[2] if row.name.startswith("encoder.layer.") and len(parts) > 2 else ""
        if layer and layer != last:
            x = _LEFT + step * number
            line = f"<path d='M{x:.2f} {_BOTTOM}V{_HEIGHT - _BOTTOM}' stroke='var(--line)'/>"
            text = f"<text x='{x:.2f}' y='{_HEIGHT - 6}'>{html.escape(layer)}</text>"
            marks.append(line + text)
        last = layer
    return marks


def _grid(exponent: int, y: float) -> str:
    line = f"<path d='M{_LEFT} {y:.1f}H{_WIDTH}' stroke='var(--line)' stroke-width='1'/>"
    return f"{line}<text x='{_LEFT - 6}' y='{y + 4:.1f}' text-anchor='end'>1e{exponent}</text>"


def _bar(x: float, step: float, kind: str, y: float, part: float) -> str:
    left, width = x + step * (1 - part) / 2, step * part
    height = max(_HEIGHT - _BOTTOM - y, 1.0)
    return (
        f"<rect x='{left:.2f}' y='{_HEIGHT - _BOTTOM - height:.1f}' width='{width:.2f}' "
        f"height='{height:.1f}' fill='var(--{kind})'/>"
    )


def _label(row: StepReport) -> str:
    own = "" if row.own is None else f", own {_number(row.own)}"
    return (
        f"{row.name}: max abs {_number(row.max_abs)}{own}, budget {_number(row.budget)} "
        f"({row.verdict})"
    )


def _list(title: str, texts: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(text)}</li>" for text in texts)
    return f"<h2>{title}</h2><ul>{items}</ul>" if items else ""


def _number(value: float | None) -> str:
    return "" if value is None else "0" if value == 0.0 else f"{value:.2e}"


def _finite(value: float | None) -> float:
    return 0.0 if value is None else min(value, 1e300)
