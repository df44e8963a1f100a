"""What a comparison found: its rows, verdict and first fault; as text, as JSON, as a page."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from string import Template
from typing import Any, Literal, NamedTuple

from numpy_bert.arrays import place
from numpy_bert.comparison.differences import Difference
from numpy_bert.messages import listed, quoted
from numpy_bert.reprs import short_repr
from numpy_bert.traces.layout import block_of
from numpy_bert.traces.names import matches
from numpy_bert.traces.reading import TraceArray

__all__ = ["Report", "StepReport", "Verdict", "as_html", "as_text", "measured"]

Verdict = Literal["pass", "differs", "allowed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """A row of a report: one input, weight or step.

    Attributes
    ----------
    name : str
        The name of the input, weight or step.
    verdict : {"pass", "differs", "allowed"}
        Whether it is within its budget; "allowed" if it is not, but was named as allowed.
    shape, dtype
        The shape and dtype of the candidate's array; empty where it has none.
    max_abs, max_rel, ulp : float or None
        The largest distance from the reference, in three units; None where nothing was compared.
    own, inherited : float or None
        What the step itself makes from the candidate's own input, where that takes the largest
        share of its budget, and the largest difference that comes from the steps before it; None
        in a comparison of two traces.
    measure : float or None
        What the check of a comparison of two traces has measured; None in a verification.
    budget : float or None
        The largest value that `error` may have there, in the same `unit`.
    unit : str
        The unit of `error` and `budget`: "abs" of a distance, "rms" of the root of the mean square
        of all, or what a check of a comparison counts in.
    worst, value, expected
        Where the largest difference is, what stands there and what should stand there.
    cause : str or None
        The name of the mistake that gives the candidate's numbers.
    text : str
        What is wrong, as a sentence.
    reference : float or None
        How far a second trace, the reference, is from the float64 result.
    """

    name: str
    verdict: Verdict
    shape: tuple[int, ...] = ()
    dtype: str = ""
    max_abs: float | None = None
    max_rel: float | None = None
    ulp: float | None = None
    own: float | None = None
    inherited: float | None = None
    measure: float | None = None
    budget: float | None = None
    unit: str = "abs"
    worst: tuple[int, ...] | None = None
    value: float | None = None
    expected: float | None = None
    cause: str | None = None
    text: str = ""
    reference: float | None = None

    @classmethod
    def of(cls, name: str, array: TraceArray, text: str = "") -> StepReport:
        """Return the row of a candidate's array, which differs until it is found to be right."""
        shape, dtype = array.stored.shape, array.dtype
        return cls(name=name, verdict="differs", shape=shape, dtype=dtype, text=text)

    @property
    def error(self) -> float | None:
        """What is held against `budget`: the step's own error, or what a check has measured."""
        measures = (self.own, self.measure, self.max_abs)
        return next((value for value in measures if value is not None), None)

    @property
    def is_missing(self) -> bool:
        """Whether the candidate has no array for the row."""
        return not self.dtype

    def as_dict(self) -> dict[str, Any]:
        """Return the row as JSON has it; a number that is not finite becomes None."""
        found = {**asdict(self), "error": self.error}
        del found["measure"]
        return {name: _plain(value) for name, value in found.items()}

    def allowed_by(self, globs: Sequence[str]) -> StepReport:
        """Return the row as one that is allowed to differ, if it differs and a glob fits its name.

        Examples
        --------
        >>> StepReport(name="pooler", verdict="differs").allowed_by(["pool*"]).verdict
        'allowed'
        """
        is_allowed = self.verdict == "differs" and matches(self.name, globs)
        return replace(self, verdict="allowed") if is_allowed else self


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of a comparison or a verification.

    Attributes
    ----------
    candidate, against : str
        The name of the candidate, and of what it was held against.
    steps : sequence of StepReport
        The rows: inputs, weights, then steps in execution order.
    notes : sequence of str
        What else a reader must know, as sentences.
    hidden : sequence of str
        Mistakes that could not have been seen in this trace, whatever the port does.
    not_looked_at : sequence of str
        The candidate's arrays that nothing was held against, by the names that it gives them.
    strict : bool
        Whether such an array is a failure.
    """

    __repr__ = short_repr

    candidate: str
    against: str
    steps: Sequence[StepReport]
    notes: Sequence[str] = ()
    hidden: Sequence[str] = ()
    not_looked_at: Sequence[str] = ()
    strict: bool = False

    @property
    def verdict(self) -> Literal["pass", "differs"]:
        """Whether every step passed or was allowed to differ and, if strict, all was looked at."""
        return "pass" if self.first is None else "differs"

    @property
    def guilty(self) -> StepReport | None:
        """The first row that differs; a row that the candidate lacks only if no other differs."""
        wrong = [step for step in self.steps if step.verdict == "differs"]
        return next((step for step in wrong if not step.is_missing), next(iter(wrong), None))

    @property
    def first(self) -> str | None:
        """The name of the first row that differs, None if none does.

        If strict, it may be that of an array that was not looked at, for which there is no row.
        """
        if self.guilty is not None:
            return self.guilty.name
        return next(iter(self.not_looked_at), None) if self.strict else None

    @property
    def cause(self) -> str | None:
        """The name of the mistake that explains the first difference, None if it is not known."""
        return None if self.guilty is None else self.guilty.cause

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it; a number that is not finite becomes None."""
        return {
            "verdict": self.verdict,
            "first": self.first,
            "cause": self.cause,
            "sentence": self.sentence,
            "candidate": self.candidate,
            "against": self.against,
            "steps": [step.as_dict() for step in self.steps],
            "notes": list(self.notes),
            "hidden": list(self.hidden),
            "not_looked_at": list(self.not_looked_at),
        }

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        guilty = self.guilty
        unseen = self._unseen
        if guilty is None:
            count = sum(step.verdict == "pass" for step in self.steps)
            allowed = len(self.steps) - count
            more = f"; {allowed} were allowed to differ" if allowed else ""
            if unseen and self.strict:
                others = f"all {count} others are within their budgets"
                return f"No pass where all must be looked at: {unseen}; {others}{more}."
            more += f"; {unseen}" if unseen else ""
            return f"The same: all {count} are within their budgets{more}."
        rest = [s for s in self.steps if s.verdict == "differs" and s is not guilty]
        missing = sum(step.is_missing for step in rest)
        left = len(rest) - missing
        more = f"; {left} after it differ too" if left else ""
        if missing:
            others = f"{missing} more" if guilty.is_missing else f"{missing}"
            more += f"; {others} {'is' if missing == 1 else 'are'} missing in the candidate"
        more += f"; {unseen}" if unseen else ""
        reason = f": {guilty.text}" if guilty.text else ""
        second = next((s for s in rest if s.cause not in (None, guilty.cause)), None)
        if second is not None:
            reason += f"; and at {quoted(second.name)}: {second.text}"
        return f"The first to differ is {quoted(guilty.name)}{_size(guilty)}{reason}{more}."

    @property
    def _unseen(self) -> str:
        """Which arrays were not looked at, "" if all were."""
        if not self.not_looked_at:
            return ""
        one = len(self.not_looked_at) == 1
        what = "1 array was" if one else f"{len(self.not_looked_at)} arrays were"
        return f"{what} not looked at: {listed(self.not_looked_at)}"


def measured(found: Difference) -> dict[str, Any]:
    """Return the members of a row that a difference fills."""
    return {
        "max_abs": found.max_abs,
        "max_rel": found.max_rel,
        "ulp": found.ulp,
        "worst": found.worst,
        "value": found.value,
        "expected": found.expected,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return list(value) if isinstance(value, tuple) else value


# What the two forms of a report write alike.


class _Column(NamedTuple):
    """A column of numbers: its head, the number of a row that stands in it, and in what unit."""

    head: str
    of: Callable[[StepReport], float | None]
    unit: str = "abs"
    # Whether the unit is the row's own and stands behind the number, unless it is a distance.
    is_rows: bool = False

    def cell(self, row: StepReport, digits: int = 1) -> str:
        """Return the number of a row as it is shown."""
        text = _number(self.of(row), digits, self.unit)
        return f"{text} {row.unit}" if self.is_rows and text and row.unit != "abs" else text


def _columns(rows: Sequence[StepReport]) -> list[_Column]:
    """Return the columns of numbers, of which the budget and what is held against it are the last.

    Own and inherited errors are known in a verification alone.
    """
    found = [_Column("max abs", lambda row: row.max_abs)]
    if _is_split(rows):
        found.append(_Column("own", lambda row: row.own, is_rows=True))
        found.append(_Column("inherited", lambda row: row.inherited))
        return [*found, _Column("budget", lambda row: row.budget, is_rows=True)]
    found += [_Column("max rel", lambda r: r.max_rel), _Column("ULP", lambda r: r.ulp, "ULP")]
    unit = _unit_of(rows)
    if unit not in ("abs", "ULP"):
        found.append(_Column(unit, lambda row: row.measure, unit))
    head = "budget" if unit == "abs" else f"budget ({unit})"
    return [*found, _Column(head, lambda row: row.budget, unit)]


def _is_split(rows: Sequence[StepReport]) -> bool:
    """Tell whether own and inherited errors are known, as they are in a verification."""
    return any(row.own is not None for row in rows)


def _unit_of(rows: Sequence[StepReport]) -> str:
    """Return the unit of the budgets of a comparison, which is one for all rows that have one."""
    return next((row.unit for row in rows if row.budget is not None), "abs")


def _size(row: StepReport) -> str:
    """Say by how much a row differs, and its budget in the same unit."""
    if row.budget is None or row.error is None:
        return ""
    unit = "" if row.unit == "abs" else f" {row.unit}"
    error, budget = (f"{_short(number, row.unit)}{unit}" for number in (row.error, row.budget))
    whose = "" if row.own is None else " of its own"
    return f", by {error}{whose} (its budget is {budget})"


def _short(value: float, unit: str) -> str:
    """Return a number with two digits; ULPs are counted out."""
    return f"{value:.0f}" if unit == "ULP" and 10.0 <= value < 1e5 else f"{value:.2g}"


def _shape(row: StepReport) -> str:
    return "x".join(str(n) for n in row.shape)


def _worst(row: StepReport, digits: int, mark: str = "") -> str:
    """Say where a row differs most and what stands there, "" if nothing was compared."""
    if row.worst is None or row.value is None or row.expected is None:
        return ""
    return f"{place(row.worst)}{mark} {row.value:.{digits}g}, not {row.expected:.{digits}g}"


def _number(value: float | None, digits: int = 1, unit: str = "abs") -> str:
    if value is None or value == 0.0:
        return "" if value is None else "0"
    return _short(value, unit) if unit == "ULP" else f"{value:.{digits}e}"


# A report as text.
_COLUMNS = 100
_SHORT = {
    "float64": "f64",
    "float32": "f32",
    "float16": "f16",
    "bfloat16": "bf16",
    "int64": "i64",
    "int32": "i32",
}
_LONGEST_LIST = 12


def as_text(report: Report, *, verbose: bool = False) -> str:
    """Return a report as lines of at most 100 columns.

    Parameters
    ----------
    report : Report
        What `compare` or `verify` found.
    verbose : bool
        Whether to show the worst place of every step, not only of those that differ, and every
        mistake that could not have been seen.

    Examples
    --------
    >>> row = StepReport(name="pooler", verdict="pass", shape=(1, 4), dtype="float32",
    ...                  max_abs=1e-7, max_rel=1e-6, ulp=2.0, budget=1e-5)
    >>> print(as_text(Report(candidate="a", against="b", steps=[row])))
    a against b
    <BLANKLINE>
    step      shape  dtype  max abs  max rel  ULP   budget
    pooler
      pooler  1x4    f32    1.0e-07  1.0e-06    2  1.0e-05  pass
    <BLANKLINE>
    The same: all 1 are within their budgets.
    """
    lines = [*_wrapped(f"{quoted(report.candidate)} against {quoted(report.against)}"), ""]
    lines += _table(report.steps, verbose=verbose)
    lines += ["", *(line for note in report.notes for line in _wrapped(f"note: {note}"))]
    lines += _hidden(report.hidden, verbose=verbose)
    if lines[-1]:
        lines.append("")
    lines += _wrapped(report.sentence)
    return "\n".join(lines)


def _table(rows: Sequence[StepReport], *, verbose: bool) -> list[str]:
    """Return the lines of the table, with the worst place of a step under its row."""
    columns = _columns(rows)
    if any(row.reference is not None for row in rows):
        columns.append(_Column("reference", lambda row: row.reference))
    head = ["step", "shape", "dtype", *(column.head for column in columns), ""]
    cells = [head]
    for row in rows:
        texts = [column.cell(row) for column in columns]
        name = _shown(row.name)
        cells.append([name, _shape(row), _SHORT.get(row.dtype, row.dtype), *texts, row.verdict])
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    spare = _COLUMNS - sum(widths[1:]) - 2 * (len(head) - 1)
    widths[0] = min(widths[0], max(spare, 20))
    lines, block = [_line(cells[0], widths)], ""
    for row, line in zip(rows, cells[1:], strict=True):
        if block_of(row.name) != block:
            block = block_of(row.name)
            lines += [block] * bool(block)
        lines.append(_line(line, widths))
        if row.verdict != "pass" or verbose:
            lines += _details(row)
    return lines


def _shown(name: str) -> str:
    """Return a step's name as it stands under its block's heading."""
    name = quoted(name)
    block = block_of(name)
    return f"  {name[len(block) + 1 :] or name}" if block else name


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Align a row: names and shapes to the left, numbers to the right."""
    name = cells[0]
    if len(name) > widths[0]:  # the end of a name says more than its middle
        name = f"  ..{name[len(name) - widths[0] + 4 :]}"
    left = [name.ljust(widths[0]), cells[1].ljust(widths[1]), cells[2].ljust(widths[2])]
    right = [cell.rjust(width) for cell, width in zip(cells[3:-1], widths[3:-1], strict=True)]
    return "  ".join([*left, *right, cells[-1]]).rstrip()


def _details(row: StepReport) -> Iterator[str]:
    """Yield the lines under a row."""
    worst = _worst(row, 9, ":")
    if worst:
        yield f"    worst at {worst}"
    if row.text:
        yield from _wrapped(row.text, "    ")


def _hidden(hidden: Sequence[str], *, verbose: bool) -> list[str]:
    """List the mistakes that could not have been seen."""
    never = [text for text in hidden if " steps)" not in text]
    shown = list(hidden) if verbose else never
    if not shown:
        return []
    lines = ["This trace could not have shown:"]
    limit = len(shown) if verbose else _LONGEST_LIST
    lines += [line for text in shown[:limit] for line in _wrapped(text, "  - ")]
    left = len(hidden) - min(len(shown), limit)
    if left and not verbose:
        lines.append(f"  - and {left} that show at some steps only (--verbose lists them)")
    return lines


def _wrapped(text: str, start: str = "") -> list[str]:
    """Break a sentence into lines."""
    import textwrap

    blank = " " * len(start)
    return textwrap.wrap(text, _COLUMNS, initial_indent=start, subsequent_indent=blank) or [start]


# A report as a page: its chart, and what stands around it.
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
    is_split, columns = _is_split(report.steps), _columns(report.steps)
    numbers = (column.head for column in columns)
    head = ("step", "shape", "dtype", *numbers, "worst place", "verdict")
    return _PAGE.substitute(
        title="Verification of a trace" if is_split else "Comparison of two traces",
        candidate=html.escape(report.candidate),
        against=html.escape(report.against),
        verdict="Passes." if same else "Differs.",
        tone="good" if same else "bad",
        sentence=html.escape(report.sentence),
        chart=_chart(report),
        head="".join(f"<th>{text}</th>" for text in head),
        rows="\n".join(_row(row, columns) for row in report.steps),
        notes=_list("Notes", report.notes)
        + _list("Mistakes that this trace could not have shown", report.hidden),
    )


def _row(row: StepReport, columns: Sequence[_Column]) -> str:
    """Return a row of the table."""
    cells = (column.cell(row, 2) for column in columns)
    numbers = "".join(f"<td class='n'>{cell}</td>" for cell in cells)
    why = f"<div class='why'>{html.escape(row.text)}</div>" if row.text else ""
    return (
        f"<tr class='{row.verdict}'><td class='name'>{html.escape(row.name)}{why}</td>"
        f"<td class='n'>{_shape(row)}</td><td>{html.escape(row.dtype)}</td>{numbers}"
        f"<td class='n'>{_worst(row, 7)}</td><td class='{row.verdict}'>{row.verdict}</td></tr>"
    )


def _chart(report: Report) -> str:
    """Draw each step's error and its budget, on a logarithmic scale, in execution order."""
    rows = [row for row in report.steps if row.max_abs is not None and row.budget]
    if not rows:
        return ""
    is_split = _is_split(rows)
    every = [(row.error, row.max_abs if is_split else None, row.budget) for row in rows]
    values = [x for numbers in every for x in numbers if x]
    top = max(map(_finite, values))
    highest = math.ceil(math.log10(top)) if top > 0 else 0
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
        bars.append((kind, row.error, 0.45))
        drawn = "".join(_bar(x, step, kind, y(value), part) for kind, value, part in bars if value)
        limit = y(row.budget)
        mark = (
            f"<path d='M{x:.2f} {limit:.1f}h{step:.2f}' stroke='var(--budget)' stroke-width='2'/>"
        )
        marks.append(f"<g>{label}{drawn}{mark}</g>")
    unit = "abs" if is_split else _unit_of(rows)
    what = "Largest error" if unit == "abs" else f"Difference ({unit})"
    title = f"{what} of every step, in execution order"
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
    columns = [column for column in _columns([row]) if column.head != "inherited"]
    cells = ((column.head, column.cell(row, 2)) for column in columns)
    told = (f"{head} {cell}" for head, cell in cells if cell)
    return f"{row.name}: {', '.join(told)} ({row.verdict})"


def _list(title: str, texts: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(text)}</li>" for text in texts)
    return f"<h2>{title}</h2><ul>{items}</ul>" if items else ""


def _finite(value: float | None) -> float:
    return 0.0 if value is None else value if value < 1e300 else 1e300  # a NaN is no less
